"""The doorways to the order path: whose account, whose coins, whose orders and whose evidence a cycle goes by."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas
import pytest

from config.loader import load_settings
from config.settings import Settings
from execution.desk import Desk
from execution.ladder import demote, evidence_of
from execution.paper import PaperExchange
from execution.place import place
from execution.standing import standing_of
from services.ledger import CycleRecord, Ledger, RungRecord
from tasks import session as sessions
from tasks.carry_out import reconcile_account
from tasks.decide import account_standing, decide
from tasks.ladder import grant_rung, place_of, review_rung
from tasks.market import MarketView
from tasks.minimal_order import try_minimal_order
from tasks.session import TradingSession
from tests.certificates import certify
from tests.execution.venue import BEGIN, PERPETUAL, PRICE, SPOT, ScriptedVenue, SteppedClock, an_intent, instrument
from trading.checks import Check, StageReport
from trading.instruments import Side
from trading.market import Candle, Ticker, VenueStatus
from trading.orders import State
from trading.risk import Approved, Refused
from trading.sizing import Target

NAME = "bitbank"


class Room:
    """A trading session of real parts at a scripted venue, as the cycle's tasks find it."""

    def __init__(self, home: Path, symbol: str = SPOT) -> None:
        self.clock = SteppedClock()
        self.venue = ScriptedVenue(self.clock, name=NAME)
        self.symbol = symbol
        self.wanted = Decimal(0)
        settings = load_settings(environ={}, overrides=[f"home={home}", f"exchanges.{NAME}.symbol={symbol}"])
        self.ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
        on_paper = f"{NAME}:paper"
        paper = PaperExchange(self.venue, self.ledger, on_paper, {"JPY": Decimal(5_000_000)})
        self.here = TradingSession(
            NAME,
            settings,
            self.ledger,
            self.clock,
            self._desk(NAME, self.venue, settings, home),
            self._desk(on_paper, paper, settings, home),
            self._strategy,
        )

    def _desk(self, account: str, exchange: object, settings: Settings, home: Path) -> Desk:
        lease = self.ledger.take_lease(account, "test", BEGIN, 3600)
        return Desk(account, exchange, self.ledger, self.clock, lease, settings.execution, home=home)  # type: ignore[arg-type]

    def _strategy(self, candles: pandas.DataFrame, position: Decimal) -> Target:
        return Target(self.wanted, "a test")

    def certify(self, rung: str, quantity: str = "0.01", days: int = 30) -> None:
        now = self.clock.now()
        self.ledger.issue_rung(
            RungRecord(
                NAME,
                self.symbol,
                rung,
                Decimal(quantity),
                {},
                "a test",
                now,
                now + timedelta(days=days),
                asdict(self.here.running(instrument(self.symbol, NAME))),
            )
        )

    async def market(self, candle_age: timedelta = timedelta(seconds=60)) -> MarketView:
        book = await self.venue.order_book(self.symbol)
        opened = self.clock.now() - candle_age
        candle = Candle(opened, PRICE, PRICE, PRICE, PRICE, Decimal(1))
        now = self.clock.now()
        told = instrument(self.symbol, NAME)
        return MarketView(told, VenueStatus(True, "NORMAL"), (candle,), book, None, now, timedelta(minutes=1))

    async def trade_by_hand(self, quantity: str, side: Side = Side.BUY) -> None:
        await self.clock.sleep(60)
        number = self.venue.by_hand(quantity, self.symbol)
        self.venue.booked[number].told = replace(self.venue.booked[number].told, side=side)
        self.venue.fill(number)

    async def buy(self, name: str = "one", quantity: str = "0.002") -> None:
        await self.clock.sleep(60)
        self.venue.placing.append("fill")
        intent = an_intent(name, quantity=quantity, symbol=self.symbol)
        record = self.ledger.rung(NAME, self.symbol)
        assert record is not None
        await place(self.here.desk, Approved(intent, record.rung), cycle_id=None, known_ids=frozenset())

    def cycle(self, number: int, *, account: str = NAME, **told: object) -> None:
        at = BEGIN + timedelta(seconds=number)
        report = {"breach": "", "discrepancies": [], "error": "", **told}
        ok = not (report["discrepancies"] or report["error"])
        self.ledger.record_cycle(CycleRecord(f"c{number}", account, self.symbol, "", at, at, ok, None, report))


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Callable[..., Room]]:
    made: list[Room] = []

    def make(symbol: str = SPOT) -> Room:
        made.append(Room(tmp_path, symbol))
        sessions._traders[NAME] = made[-1].here
        return made[-1]

    yield make
    sessions._traders.pop(NAME, None)
    for room in made:
        room.ledger.close()


@pytest.fixture
def room(rooms: Callable[..., Room]) -> Room:
    return rooms()


async def decided(room: Room, name: str = "c1") -> object:
    return (await decide.fn(NAME, name, await reconcile_account.fn(NAME), await room.market())).verdict


async def test_coins_that_a_person_bought_are_never_sold(room: Room) -> None:
    room.certify("ramp_100")
    await reconcile_account.fn(NAME)
    await room.buy()
    await reconcile_account.fn(NAME)
    await room.trade_by_hand("0.05")
    verdict = await decided(room)  # the strategy wants nothing: sell
    assert isinstance(verdict, Approved)
    assert (verdict.intent.side, verdict.intent.quantity) == (Side.SELL, Decimal("0.002"))


async def test_what_a_person_sold_out_of_the_account_is_no_longer_held(room: Room) -> None:
    room.venue.totals["BTC"] = Decimal(0)
    room.certify("ramp_100")
    await reconcile_account.fn(NAME)
    await room.buy()
    await reconcile_account.fn(NAME)
    await room.trade_by_hand("0.002", Side.SELL)
    room.wanted = Decimal("0.2")
    verdict = await decided(room)  # nothing is left: the position is built anew, not taken to be there
    assert isinstance(verdict, Approved)
    assert (verdict.intent.side, verdict.intent.quantity) == (Side.BUY, Decimal("0.002"))


async def test_an_order_that_still_rests_counts_towards_the_target(room: Room) -> None:
    room.certify("ramp_100")
    await reconcile_account.fn(NAME)
    intent = an_intent("one", quantity="0.004", price=PRICE - 100)
    await place(room.here.desk, Approved(intent, "ramp_100"), cycle_id=None, known_ids=frozenset())
    room.venue.cancelling.extend(["ignore"] * 3)
    room.wanted = Decimal("0.6")
    verdict = await decided(room)
    assert isinstance(verdict, Approved) and verdict.intent.quantity == Decimal("0.002")


async def test_an_unknown_order_stays_in_sight_when_the_rung_falls_to_paper(room: Room) -> None:
    room.certify("minimal")
    await reconcile_account.fn(NAME)
    room.venue.placing.append("lost_ack")
    order = await place(room.here.desk, Approved(an_intent("one"), "minimal"), cycle_id=None, known_ids=frozenset())
    assert order.state is State.UNKNOWN
    room.certify("paper")
    for _ in range(2):  # found, then taken back
        await reconcile_account.fn(NAME)
    assert not room.venue.resting()
    assert not room.ledger.in_flight(NAME)


async def test_an_order_stays_in_sight_when_another_symbol_is_configured(room: Room) -> None:
    room.certify("minimal")
    certify(room.ledger, NAME, PERPETUAL, room.clock.now())
    intent = an_intent("one", symbol=PERPETUAL)
    await place(room.here.desk, Approved(intent, "minimal"), cycle_id=None, known_ids=frozenset())
    assert room.venue.resting(PERPETUAL)
    await reconcile_account.fn(NAME)
    assert not room.venue.resting() and not room.ledger.in_flight(NAME)


async def test_a_fall_to_paper_tells_what_is_left_in_the_account(room: Room) -> None:
    room.certify("minimal")
    await reconcile_account.fn(NAME)
    await room.buy()
    await reconcile_account.fn(NAME)
    room.cycle(60, discrepancies=["balance JPY"])
    review = await review_rung.fn(NAME)
    assert (review.verdict, review.after) == ("demote", "paper")
    assert any("0.002 BTC stay in the account" in reason for reason in review.reasons)


class AskedMeanwhile:
    """The venue, and what happens elsewhere while its price is asked for."""

    def __init__(self, venue: ScriptedVenue, meanwhile: Callable[[], object]) -> None:
        self._venue = venue
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._venue, name)

    async def ticker(self, symbol: str) -> Ticker:
        self._meanwhile()
        return await self._venue.ticker(symbol)


def demoted_meanwhile(room: Room, to: str) -> Any:
    def demotion() -> object:
        return demote(place_of(room.here), to, "Aoki", "it looks wrong", room.clock.now())

    return AskedMeanwhile(room.venue, demotion)


def in_force(room: Room) -> str:
    record = room.ledger.rung(NAME, room.symbol)
    assert record is not None
    return record.rung


async def test_a_review_does_not_undo_a_demotion_that_came_while_it_asked_the_venue(room: Room) -> None:
    room.certify("minimal_order")
    room.here.reader = demoted_meanwhile(room, "read_only")
    review = await review_rung.fn(NAME)
    assert in_force(room) == "read_only"
    assert (review.verdict, review.after) == ("hold", "read_only"), review


async def test_a_check_does_not_undo_a_demotion_that_came_while_it_asked_the_venue(room: Room) -> None:
    room.certify("read_only", "0")
    room.here.reader = demoted_meanwhile(room, "compatibility")
    now = room.clock.now()
    passed = StageReport("minimal_order", NAME, SPOT, (Check("a check", True, "seen"),), now, now)
    assert await grant_rung.fn(NAME, passed) == "compatibility"
    assert in_force(room) == "compatibility"


async def test_a_losing_day_costs_one_rung_however_often_it_is_reviewed(room: Room) -> None:
    room.certify("ramp_100")
    await reconcile_account.fn(NAME)
    room.ledger.record_equity(NAME, "JPY", Decimal(5_020_000), room.clock.now())  # 20,000 yen ago, today
    room.wanted = Decimal(1)

    async def reviewed_after_an_hour(number: int) -> tuple[str, str]:
        await room.clock.sleep(3600)
        verdict = await decided(room, f"c{number}")
        assert isinstance(verdict, Refused) and verdict.rule == "daily_loss", verdict
        room.cycle(round((room.clock.now() - BEGIN).total_seconds()), breach=verdict.rule)
        review = await review_rung.fn(NAME)
        return review.verdict, review.after

    assert await reviewed_after_an_hour(1) == ("demote", "ramp_50")
    for number in (2, 3):
        assert await reviewed_after_an_hour(number) == ("hold", "ramp_50")
    await room.clock.sleep(86_400)
    room.ledger.record_equity(NAME, "JPY", Decimal(5_020_000), room.clock.now())
    assert await reviewed_after_an_hour(4) == ("demote", "ramp_25")  # another day, another loss


async def test_a_target_that_has_become_too_small_keeps_no_rung_up(room: Room) -> None:
    smaller = room.here.configured.model_copy(update={"target_quantity": Decimal("0.0005")})
    room.here.settings = room.here.settings.model_copy(update={"exchanges": {NAME: smaller}})
    room.certify("ramp_100", "0.0005")
    room.cycle(60, discrepancies=["balance JPY"])
    review = await review_rung.fn(NAME)
    assert (review.verdict, review.after) == ("demote", "paper"), review
    assert any("target_quantity 0.0005 could not be bought and sold again" in reason for reason in review.reasons)


async def test_nothing_goes_up_to_real_money_over_an_order_of_unknown_outcome(room: Room) -> None:
    await room.here.desk.exchange.balances()
    room.certify("minimal")
    room.venue.placing.append("lost_ack")
    await place(room.here.desk, Approved(an_intent("one"), "minimal"), cycle_id=None, known_ids=frozenset())
    room.certify("paper")
    record = room.ledger.rung(NAME, SPOT)
    assert record is not None
    assert evidence_of(place_of(room.here), record, room.clock.now()).unresolved == 1


@pytest.mark.parametrize("passed", ["compatibility", "read_only"])
async def test_a_check_is_passed_by_checking_and_not_by_waiting(room: Room, passed: str) -> None:
    room.certify(passed, "0")
    assert (await review_rung.fn(NAME)).after == passed


async def test_the_last_check_leads_to_paper(room: Room) -> None:
    room.certify("minimal_order")
    assert (await review_rung.fn(NAME)).after == "paper"


async def test_a_persons_trades_are_no_evidence(room: Room) -> None:
    room.certify("minimal")
    await reconcile_account.fn(NAME)
    await room.buy()
    await room.trade_by_hand("0.05")
    await reconcile_account.fn(NAME)
    record = room.ledger.rung(NAME, SPOT)
    assert record is not None
    assert evidence_of(place_of(room.here), record, room.clock.now()).fills == 1


def test_the_evidence_of_many_cycles_is_what_each_of_them_told(room: Room) -> None:
    room.certify("minimal")
    room.cycle(1, breach="daily_loss")
    room.cycle(2, discrepancies=["balance JPY"])
    room.cycle(3, breach="drawdown")
    room.cycle(4, discrepancies=["balance JPY", 'said "breach":"" and "error":""'])
    room.cycle(5, error="NoAnswer: 503")
    room.cycle(6, account=f"{NAME}:paper", breach="repeated_execution")
    record = room.ledger.rung(NAME, SPOT)
    assert record is not None
    found = evidence_of(place_of(room.here), record, room.clock.now())
    assert (found.cycles, found.failed_cycles, found.discrepancies) == (5, 3, 2)
    assert found.breaches == ("drawdown", "daily_loss")


async def test_books_of_another_account_decide_nothing(room: Room) -> None:
    room.certify("paper")
    books = await reconcile_account.fn(NAME)
    room.certify("minimal")
    decision = await decide.fn(NAME, "c1", books, await room.market())
    assert decision.verdict is None and "rung changed" in decision.reason


async def test_an_announced_maintenance_places_no_order(room: Room) -> None:
    window = "{starts_at: 2026-01-05T09:00:00+09:00, ends_at: 2026-01-05T09:10:00+09:00, why: an upgrade}"
    announced = load_settings(environ={}, overrides=[f"exchanges.{NAME}.maintenance=[{window}]"]).exchanges
    room.here.settings = room.here.settings.model_copy(update={"exchanges": announced})
    room.certify("ramp_100")
    room.wanted = Decimal(1)
    verdict = await decided(room)
    assert isinstance(verdict, Refused)
    assert (verdict.rule, verdict.observed) == ("venue_state", "an upgrade")
    await room.clock.sleep(600)
    assert isinstance(await decided(room, "c2"), Approved)


async def test_candles_that_stand_still_place_no_order(room: Room) -> None:
    room.certify("ramp_100")
    room.wanted = Decimal(1)
    books = await reconcile_account.fn(NAME)
    fresh = await decide.fn(NAME, "c1", books, await room.market(timedelta(minutes=2)))
    assert isinstance(fresh.verdict, Approved)
    stale = await decide.fn(NAME, "c2", books, await room.market(timedelta(minutes=10)))
    assert isinstance(stale.verdict, Refused) and stale.verdict.rule == "data_age"


async def test_the_equity_of_a_cfd_stands_on_its_collateral(rooms: Callable[..., Room]) -> None:
    room = rooms(PERPETUAL)
    room.ledger.set_opening(NAME, {"JPY": Decimal(7), "collateral:JPY": Decimal(1_000_000)}, BEGIN)
    standing = await account_standing(room.here.desk, instrument(PERPETUAL, NAME), PRICE, BEGIN)
    assert standing.equity == 1_000_000


async def test_a_change_from_spot_to_a_cfd_is_no_loss(rooms: Callable[..., Room]) -> None:
    room = rooms(PERPETUAL)
    room.ledger.set_opening(NAME, {"JPY": Decimal(5_000_000), "collateral:JPY": Decimal(1_000_000)}, BEGIN)
    room.ledger.record_equity(NAME, "JPY", Decimal(5_000_000), BEGIN)  # while BTC/JPY was traded
    standing = await account_standing(room.here.desk, instrument(PERPETUAL, NAME), PRICE, BEGIN)
    assert (standing.equity, standing.daily_loss, standing.drawdown) == (1_000_000, 0, 0)


async def test_what_was_made_with_another_symbol_stays_made(room: Room) -> None:
    certify(room.ledger, NAME, SPOT, room.clock.now())
    await reconcile_account.fn(NAME)
    for name, side, price in (("one", Side.BUY, PRICE), ("two", Side.SELL, 2 * PRICE)):
        await room.clock.sleep(60)
        room.venue.placing.append("fill")
        intent = an_intent(name, quantity="0.01", side=side, price=price)
        await place(room.here.desk, Approved(intent, "minimal"), cycle_id=None, known_ids=frozenset())
        await reconcile_account.fn(NAME)
    before = await account_standing(room.here.desk, instrument(SPOT, NAME), PRICE, room.clock.now())
    assert before.equity == 5_000_000 + 100_000 - 100 - 200
    room.ledger.record_equity(NAME, "JPY", before.equity, room.clock.now())
    after = await account_standing(room.here.desk, instrument(PERPETUAL, NAME), PRICE, room.clock.now())
    assert (after.equity, after.daily_loss, after.drawdown) == (before.equity, 0, 0)


async def test_a_drawdown_is_not_forgotten_over_days_off(room: Room) -> None:
    room.ledger.set_opening(NAME, {"JPY": Decimal(900_000)}, BEGIN)
    room.ledger.record_equity(NAME, "JPY", Decimal(1_000_000), BEGIN)
    later = BEGIN + timedelta(days=3)
    standing = await account_standing(room.here.desk, instrument(SPOT, NAME), PRICE, later)
    assert standing.drawdown == Decimal("0.1")


@pytest.mark.parametrize(
    ("opening", "deposit", "fall"),
    [("0", "1000000", "0.01"), ("1000000", "-500000", "0.02"), ("1000000", "0.5", "0.01")],
)
async def test_a_fall_is_measured_by_what_is_there_after_a_deposit_or_a_withdrawal(
    room: Room, opening: str, deposit: str, fall: str
) -> None:
    room.certify("ramp_100")
    room.ledger.set_opening(NAME, {"JPY": Decimal(opening)}, BEGIN)
    asset = "JPY" if "." not in deposit else "BTC"
    room.ledger.adjust(NAME, asset, Decimal(deposit), "Aoki", "between banks", BEGIN)
    made = Decimal(opening) + 10_000  # and lost again since
    for worth in (made, Decimal(opening)):
        room.ledger.record_equity(NAME, "JPY", worth, BEGIN)
    standing = await account_standing(room.here.desk, instrument(SPOT, NAME), PRICE, BEGIN)
    record = room.ledger.rung(NAME, SPOT)
    assert record is not None
    shown = evidence_of(place_of(room.here), record, BEGIN).drawdown
    assert (round(standing.drawdown, 3), round(shown, 3)) == (Decimal(fall), Decimal(fall))
    below = standing_of(room.here.settings, room.ledger, NAME, BEGIN).below_peak
    assert below is not None and round(below, 3) == Decimal(fall)


class CountedLedger:
    """The ledger, and how many points of equity were read from it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.points = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def equity(self, *words: Any, **named: Any) -> Any:
        found = self._ledger.equity(*words, **named)
        self.points += len(found)
        return found


async def test_a_cycle_reads_no_more_of_the_ledger_late_in_the_day_and_the_next_day_begins_anew(room: Room) -> None:
    room.ledger.set_opening(NAME, {"JPY": Decimal(1_000_000)}, BEGIN)
    counted: Any = CountedLedger(room.ledger)
    desk = room.here.desk
    desk.ledger = counted

    async def loss_at(now: datetime) -> Decimal:
        return (await account_standing(desk, instrument(SPOT, NAME), PRICE, now)).daily_loss

    assert await loss_at(BEGIN) == 0  # there is no point yet
    for minute in range(100):
        room.ledger.record_equity(NAME, "JPY", Decimal(1_000_300 + minute), BEGIN + timedelta(minutes=minute))
    at = BEGIN + timedelta(minutes=100)
    assert await loss_at(at) == 300  # from the day's first point
    before = counted.points
    assert await loss_at(at) == 300
    assert counted.points - before == 1  # the newest, for its peak
    tomorrow = at + timedelta(days=1)
    assert await loss_at(tomorrow) == 0  # its own day has no point, the day before none from its last hour
    room.ledger.record_equity(NAME, "JPY", Decimal(1_000_500), tomorrow)
    assert await loss_at(tomorrow) == 500


async def test_a_minimal_order_whose_answer_is_lost_is_found_and_taken_back(room: Room) -> None:
    room.certify("read_only", "0")
    room.venue.placing.append("lost_ack")
    checks = await try_minimal_order.fn(NAME)
    assert not all(check.passed for check in checks)
    assert len(room.venue.booked) == 1
    assert not room.venue.resting() and not room.ledger.in_flight(NAME)


async def test_a_minimal_order_is_taken_back_however_often_its_check_is_cancelled(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.certify("read_only", "0")
    asked, answer, cancel = asyncio.Event(), asyncio.Event(), room.venue.cancel

    async def slow(*words: str) -> None:
        asked.set()
        await answer.wait()
        await cancel(*words)

    monkeypatch.setattr(room.venue, "cancel", slow)
    check = asyncio.ensure_future(try_minimal_order.fn(NAME))
    await asked.wait()
    for _ in range(3):
        check.cancel()
        done, _ = await asyncio.wait({check}, timeout=0.05)
        assert not done and room.venue.resting()
    answer.set()
    with pytest.raises(asyncio.CancelledError):
        await check
    assert not room.venue.resting() and not room.ledger.in_flight(NAME)
