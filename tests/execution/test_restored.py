"""The ledger is lost, restored from its last backup and reconciled with the venue, at each of the four."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest

from config.secret import Secret
from config.settings import EXCHANGES, ExchangeName
from execution.audit import audit_books
from execution.cancel import cancel
from execution.follow import follow
from execution.latch import KillSwitchSet, kill_switch, rearm, refuse_unreconciled
from execution.place import PlacementHeld, place
from execution.reconcile import reconcile
from execution.restored import reconcile_restored
from services.backup import make_backup
from services.ledger import CertificateRefused
from services.restore import restore
from services.simulated import RunningVenue, simulated_venues
from tasks.session import TradingSession, trading
from tests.certificates import certify
from tests.cli.accounts import settings_of
from tests.cli.command import control
from trading.audit import AuditReport
from trading.identifiers import client_order_id
from trading.instruments import Side
from trading.orders import Order, OrderIntent, OrderType, State, TimeInForce
from trading.risk import Approved

SECRET = Secret("a secret for the tests of backups")
NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
KEEPS_NO_ID_OF_OURS = ("bitbank", "bitflyer")
TAKING, RESTING = "-0.002", "0.01"  # how far behind the book a price lies, as a fraction


async def trade(here: TradingSession, cycle: str, side: Side, off: str) -> Order:
    """One order of twice the smallest size, as a cycle of this name would place it."""
    found = await reconcile(here.desk, here.symbol)
    assert found.is_clean, found
    instrument = await here.reader.instrument(here.symbol)
    ticker = await here.reader.ticker(here.symbol)
    touch = ticker.bid if side is Side.BUY else ticker.ask
    price = instrument.passive_price(side, touch * (1 - side.sign * Decimal(off)))
    intent = OrderIntent(
        client_order_id=client_order_id(here.account, cycle),
        venue=here.name,
        symbol=here.symbol,
        side=side,
        type=OrderType.LIMIT,
        quantity=instrument.smallest_quantity(price) * 2,
        price=price,
        time_in_force=TimeInForce.GOOD_TILL_CANCELLED,
        decision_price=ticker.middle,
        decided_at=here.clock.now(),
        reason="a test",
    )
    order = await place(here.desk, Approved(intent, "minimal"), cycle_id=cycle, known_ids=found.known_ids)
    return await follow(here.desk, order, 5)


async def audit(here: TradingSession) -> AuditReport:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{here.configured.control_url}/truth") as reply,
    ):
        return await audit_books(here.desk, await reply.json())


@contextlib.asynccontextmanager
async def trader(home: Path, exchange: ExchangeName) -> AsyncIterator[TradingSession]:
    async with trading(exchange, settings_of(home)) as here:
        yield here


async def back_up_and_go_on(home: Path, exchange: ExchangeName) -> Path:
    """Trade, back up, trade on: one order filled, one resting. Then the ledger is lost and restored."""
    async with trader(home, exchange) as here:
        certify(here.ledger, here.account, here.symbol, here.clock.now())
        await trade(here, "2026-11-22T02:00Z", Side.BUY, TAKING)
        backup = make_backup(settings_of(home), {}, SECRET, NOW).path
        await here.clock.sleep(90)
        await trade(here, "2026-11-22T02:02Z", Side.SELL, TAKING)
        await trade(here, "2026-11-22T02:03Z", Side.BUY, RESTING)
    lose_the_ledger(home)
    restored(home, backup)
    return backup


@pytest.fixture(params=EXCHANGES)
def exchange(request: pytest.FixtureRequest) -> ExchangeName:
    name: ExchangeName = request.param
    return name


@pytest.fixture
def venue(tmp_path: Path, exchange: ExchangeName):  # type: ignore[no-untyped-def]
    with simulated_venues(tmp_path, {exchange: ("--clock", "stepped")}) as running:
        yield running[exchange]


def lose_the_ledger(home: Path) -> None:
    for path in home.glob("ledger.db*"):
        path.unlink()


def restored(home: Path, backup: Path) -> None:
    settings = settings_of(home)
    accounts = [settings.account(name) for name in EXCHANGES]
    restore(backup, SECRET, home=home, url=settings.ledger_url, accounts=accounts, now=NOW)


def whose(exchange: ExchangeName) -> tuple[str, ...]:
    """Where the venue keeps no id of ours, a person says that all of it is the bot's."""
    return ("all",) if exchange in KEEPS_NO_ID_OF_OURS else ()


async def test_a_lost_ledger_is_restored_and_agrees_with_the_venue_and_no_order_is_doubled(
    tmp_path: Path, exchange: ExchangeName, venue: RunningVenue
) -> None:
    settings = settings_of(tmp_path)
    async with trader(tmp_path, exchange) as here:
        certify(here.ledger, here.account, here.symbol, here.clock.now())
        assert (await trade(here, "2026-11-22T02:00Z", Side.BUY, TAKING)).state is State.FILLED
        resting = await trade(here, "2026-11-22T02:01Z", Side.BUY, RESTING)
        backup = make_backup(settings, {}, SECRET, NOW).path
        # what the backup will not know: an order of before ends, one is filled, one rests
        await here.clock.sleep(90)
        assert (await cancel(here.desk, resting)).state is State.CANCELLED
        assert (await trade(here, "2026-11-22T02:03Z", Side.SELL, TAKING)).state is State.FILLED
        assert (await trade(here, "2026-11-22T02:04Z", Side.BUY, TAKING)).state is State.FILLED
        assert (await trade(here, "2026-11-22T02:05Z", Side.BUY, RESTING)).state is State.OPEN
        wanted = await audit(here)
        assert wanted.is_clean and wanted.orders == 5

    lose_the_ledger(tmp_path)
    restored(tmp_path, backup)
    async with trader(tmp_path, exchange) as here:
        assert len(here.ledger.orders(here.account)) == 2
        with pytest.raises(KillSwitchSet, match="restore --reconcile"):
            refuse_unreconciled(here.ledger, here.account)
        told = await reconcile_restored(here.desk, (here.symbol,), by="hanako", ours=whose(exchange))
        assert told.is_clean, told.problems
        assert [order.state for order in told.adopted] == [State.FILLED, State.FILLED, State.OPEN]
        report = await audit(here)
        assert report.is_clean, report
        assert (report.orders, report.fills, report.duplicates) == (wanted.orders, wanted.fills, 0)
        assert here.ledger.verify_chain() is None
        refuse_unreconciled(here.ledger, here.account)  # a person may re-arm now
        assert kill_switch(tmp_path, here.ledger, here.account) is not None  # and nobody has yet

        # Nothing goes out before a person has re-armed, nor on what was earned before; once it is earned anew, a new
        # cycle has a name of its own.
        with pytest.raises(PlacementHeld):
            await trade(here, "2026-11-22T02:19Z", Side.SELL, TAKING)
        rearm(tmp_path, here.ledger, here.account, "hanako", "the books agree", here.clock.now())
        with pytest.raises(CertificateRefused):
            await trade(here, "2026-11-22T02:20Z", Side.SELL, TAKING)
        certify(here.ledger, here.account, here.symbol, here.clock.now())
        if exchange not in KEEPS_NO_ID_OF_OURS:  # the cycle that the backup did not know, run again
            again = await trade(here, "2026-11-22T02:04Z", Side.BUY, TAKING)
            assert again.venue_order_id == told.adopted[1].venue_order_id  # it is known by its id: nothing was sent
        assert (await trade(here, "2026-11-22T02:21Z", Side.SELL, TAKING)).state is State.FILLED
        report = await audit(here)
        assert report.is_clean and report.orders == wanted.orders + 1, report


@pytest.mark.parametrize("exchange", ["bitbank"])
async def test_where_no_id_tells_a_person_says_whose_an_order_is(
    tmp_path: Path, exchange: ExchangeName, venue: RunningVenue
) -> None:
    await back_up_and_go_on(tmp_path, exchange)
    async with trader(tmp_path, exchange) as here:
        asked = await reconcile_restored(here.desk, (here.symbol,), by="hanako")
        sold, rests = asked.undecided
        assert [each for each in asked.problems if "whose is" in each] and not asked.is_clean
        with pytest.raises(KillSwitchSet):
            refuse_unreconciled(here.ledger, here.account)
        told = await reconcile_restored(
            here.desk, (here.symbol,), by="hanako", ours=(rests.venue_order_id,), not_ours=(sold.venue_order_id,)
        )
        assert told.is_clean, told.problems
        assert (told.adopted, told.foreign) == ((rests,), (sold,))
        here.desk.tally.take_in(here.ledger, here.account, await here.reader.instruments())
        bought = (await here.reader.instrument(here.symbol)).smallest_quantity(sold.price or Decimal(1)) * 2
        assert here.desk.tally.own[here.symbol].quantity == bought  # what a person sold is not ours


@pytest.mark.parametrize("exchange", ["bybit"])
async def test_a_deposit_of_after_the_backup_must_be_answered_for_again(
    tmp_path: Path, exchange: ExchangeName, venue: RunningVenue
) -> None:
    await back_up_and_go_on(tmp_path, exchange)
    control(venue.address.control_url, "faults", name="foreign_balance_change")
    async with trader(tmp_path, exchange) as here:
        told = await reconcile_restored(here.desk, (here.symbol,), by="hanako")
        (problem,) = told.problems
        assert "balance" in problem and not told.is_clean
        with pytest.raises(KillSwitchSet):
            refuse_unreconciled(here.ledger, here.account)
        (found,) = told.after[here.symbol].discrepancies
        change = Decimal(found.found) - Decimal(found.expected)
        here.ledger.adjust(here.account, found.subject, change, "hanako", "a deposit", here.clock.now())
        told = await reconcile_restored(here.desk, (here.symbol,), by="hanako")
        assert told.is_clean and told.adopted == (), told.problems
        refuse_unreconciled(here.ledger, here.account)


@pytest.mark.parametrize("exchange", ["bitflyer"])
async def test_reconciling_ends_in_a_minute_in_which_no_order_was_made(
    tmp_path: Path, exchange: ExchangeName, venue: RunningVenue
) -> None:
    """A cycle is named after its minute: where the venue knows no id of ours, nothing else tells a repetition."""
    await back_up_and_go_on(tmp_path, exchange)
    async with trader(tmp_path, exchange) as here:
        told = await reconcile_restored(here.desk, (here.symbol,), by="hanako", ours=("all",))
        newest = max(order.created_at for order in told.adopted)
        assert here.clock.now() >= newest.replace(second=0, microsecond=0) + timedelta(minutes=1)


@pytest.mark.parametrize("exchange", ["okcoinjp"])
async def test_an_order_that_a_person_placed_stays_theirs(
    tmp_path: Path, exchange: ExchangeName, venue: RunningVenue
) -> None:
    await back_up_and_go_on(tmp_path, exchange)
    async with trader(tmp_path, exchange) as here:
        price = (await here.reader.ticker(here.symbol)).bid * Decimal("0.98")
        instrument = await here.reader.instrument(here.symbol)
        price = instrument.passive_price(Side.BUY, price)
        order = {"side": "buy", "type": "limit", "price": str(price)}
        quantity = str(instrument.smallest_quantity(price))
        control(venue.address.control_url, "orders", symbol=here.symbol, quantity=quantity, **order)
        told = await reconcile_restored(here.desk, (here.symbol,), by="hanako")
        assert told.is_clean and len(told.adopted) == 2 and len(told.foreign) == 1
        assert [each.venue_order_id for each in told.after[here.symbol].orphans] == [told.foreign[0].venue_order_id]
