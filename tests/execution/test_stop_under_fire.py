"""The emergency stop when the venue, the ledger or the disk are in trouble; the venue is scripted, in memory."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from exchanges.budget import NoRoom, RequestBudget, Window
from exchanges.errors import BadRequest, Busy, NoAnswer, PermissionDenied, RateLimitExceeded
from execution.clearing import PATIENCE
from execution.latch import kill_switch
from execution.place import PlacementHeld
from execution.reach import LedgerInReach
from execution.stop import StopReport, StopTarget, stop_all
from services.ledger import Ledger, LedgerUnavailable
from tests.execution.conftest import Workplace
from tests.execution.test_latch import DeadLedger
from tests.execution.venue import BEGIN, PERPETUAL, PRICE, SPOT, SteppedClock
from trading.orders import Order, State, VenueOrder

MakeWorkplace = Callable[..., Workplace]


async def stop(work: Workplace, ledger: object = "own", **more: object) -> StopReport:
    target = StopTarget(work.venue.name, work.venue, (SPOT,), clock=work.clock)
    books = work.ledger if ledger == "own" else ledger
    more = {"home": work.home, **more}
    return await stop_all([target], books, work.clock, "ann", "drill", **more)  # type: ignore[arg-type]


def seconds(work: Workplace) -> float:
    return (work.clock.now() - BEGIN).total_seconds()


async def until(condition: Callable[[], bool], pause: float = 0.02) -> None:
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(pause)
    raise AssertionError("it has not come about")


def in_trouble(work: Workplace, until: float, error: Exception, *, done: bool = False) -> list[float]:
    """Every cancel fails until so many seconds have passed; returns the moments of all requests."""
    asked: list[float] = []
    cancel, cancel_all, open_orders = work.venue.cancel, work.venue.cancel_all, work.venue.open_orders

    async def failing(really: Callable[..., object], *words: str) -> None:
        asked.append(seconds(work))
        if seconds(work) < until:
            if done:
                await really(*words)  # type: ignore[misc]
            raise error
        await really(*words)  # type: ignore[misc]

    async def counted(symbol: str) -> tuple[VenueOrder, ...]:
        asked.append(seconds(work))
        return await open_orders(symbol)

    work.venue.cancel = lambda *words: failing(cancel, *words)  # type: ignore[method-assign,assignment,return-value]
    work.venue.cancel_all = lambda *words: failing(cancel_all, *words)  # type: ignore[method-assign,assignment,return-value]
    work.venue.open_orders = counted  # type: ignore[method-assign]
    return asked


@pytest.mark.parametrize(
    "error",
    [NoAnswer("bitbank", "502"), Busy("bitbank", "maintenance"), RateLimitExceeded("bitbank", "429")],
    ids=["no answer", "busy", "rate limited"],
)
async def test_with_cancels_failing_for_ten_seconds_it_still_ends_at_zero(work: Workplace, error: Exception) -> None:
    for number in range(20):
        await work.place(f"order {number}", price=PRICE - number)
    in_trouble(work, 10, error)
    report = await stop(work)
    assert report.clean and len(report.venues[0].cancelled) == 20
    assert not work.venue.resting()
    assert 10 < seconds(work) < 30


@pytest.mark.parametrize(
    "error", [NoAnswer("bitbank", "502"), RateLimitExceeded("bitbank", "429")], ids=["no answer", "rate limited"]
)
async def test_a_venue_in_trouble_is_asked_less_often_than_a_calm_one(
    workplace: MakeWorkplace, error: Exception
) -> None:
    calm, stormy = workplace(), workplace()
    for work in (calm, stormy):
        for number in range(20):
            await work.place(f"order {number}", price=PRICE - number)
    in_calm, in_storm = in_trouble(calm, 0, error), in_trouble(stormy, 60, error)
    await stop(calm)
    await stop(stormy)
    for window in (0.5, 1, 2):
        busiest_in_calm = max(sum(at <= one < at + window for one in in_calm) for at in in_calm)
        trouble = [one for one in in_storm if one < 60]
        assert max(sum(at <= one < at + window for one in trouble) for at in trouble) <= busiest_in_calm
    assert sum(one < 60 for one in in_storm) <= 2 * 17  # pauses grow to 5 s and stay there


async def test_a_cancel_that_was_done_although_its_answer_was_lost_is_seen_in_the_list(work: Workplace) -> None:
    await work.place()
    in_trouble(work, 1000, NoAnswer("bitbank", "connection reset"), done=True)
    report = await stop(work)
    assert report.clean and report.venues[0].cancelled == ("1000",)


async def test_where_the_cancel_of_all_is_refused_each_order_is_cancelled_by_itself_at_once(work: Workplace) -> None:
    for number in range(20):
        await work.place(f"order {number}", price=PRICE - number)

    async def refused(symbol: str) -> None:
        raise BadRequest("bitbank", "no such call")

    work.venue.cancel_all = refused  # type: ignore[method-assign]
    report = await stop(work)
    assert report.clean and not work.venue.resting()
    assert seconds(work) < 5


async def test_a_key_that_may_not_cancel_is_not_tried_for_each_order(work: Workplace) -> None:
    for number in range(20):
        await work.place(f"order {number}", price=PRICE - number)

    async def refused(*_: str) -> None:
        work.venue.requests["refused"] += 1
        raise PermissionDenied("bitbank", "key expired")

    work.venue.cancel_all = refused  # type: ignore[method-assign]
    work.venue.cancel = refused  # type: ignore[method-assign]
    report = await stop(work)
    assert not report.clean and len(report.venues[0].left) == 20
    assert work.venue.requests["refused"] < 40
    assert seconds(work) < (PATIENCE + timedelta(seconds=15)).total_seconds()


async def test_a_single_cancel_that_hangs_holds_up_neither_other_orders_nor_other_venues(
    workplace: MakeWorkplace,
) -> None:
    work, other = workplace(), workplace(name="bybit")
    for number in range(5):
        await work.place(f"order {number}", price=PRICE - number)
    await other.place()
    released = asyncio.Event()
    really = work.venue.cancel

    async def no_such_call(symbol: str) -> None:
        raise BadRequest("bitbank", "no such call")

    async def hangs_for_the_first(symbol: str, number: str) -> None:
        if number == "1000":
            await released.wait()
        await really(symbol, number)

    work.venue.cancel_all = no_such_call  # type: ignore[method-assign]
    work.venue.cancel = hangs_for_the_first  # type: ignore[method-assign]
    targets = [StopTarget(one.venue.name, one.venue, (SPOT,), clock=one.clock) for one in (work, other)]
    stopping = asyncio.ensure_future(stop_all(targets, work.ledger, work.clock, "ann", "drill", home=work.home))
    await until(lambda: len(work.venue.resting()) == 1)
    assert [told.venue_order_id for told in work.venue.resting()] == ["1000"]
    assert not other.venue.resting()
    released.set()
    report = await stopping
    assert report.clean and not work.venue.resting()


async def test_a_list_that_hangs_does_not_hold_up_the_cancel(work: Workplace) -> None:
    await work.place()

    async def hangs(symbol: str) -> tuple[VenueOrder, ...]:
        await asyncio.Event().wait()
        raise AssertionError

    work.venue.open_orders = hangs  # type: ignore[method-assign]
    interrupted = asyncio.Event()
    stopping = asyncio.ensure_future(stop(work, interrupted=interrupted))
    await until(lambda: not work.venue.resting())
    interrupted.set()
    assert not (await stopping).clean


async def test_where_the_list_cannot_be_read_the_orders_that_the_ledger_knows_are_cancelled_one_by_one(
    work: Workplace,
) -> None:
    await work.place("one")
    await work.place("two", price=PRICE - 1)
    work.venue.list_fails = 1000
    work.venue.cancel_all_fails = 1000  # bitbank and OKJ list before they cancel all
    report = await stop(work)
    assert not work.venue.resting()
    assert not report.clean and any("not proved" in problem for problem in report.venues[0].problems)


async def test_what_is_left_is_told_order_by_order_when_patience_is_over(work: Workplace) -> None:
    await work.place()
    in_trouble(work, 100_000, NoAnswer("bitbank", "502"))
    report = await stop(work)
    (left,) = report.venues[0].left
    assert (left.venue_order_id, left.price) == ("1000", PRICE)
    assert not report.clean
    assert PATIENCE.total_seconds() <= seconds(work) <= PATIENCE.total_seconds() + 10


async def test_orders_that_a_lagging_list_still_shows_are_not_called_left(work: Workplace) -> None:
    await work.place()
    work.venue.list_lag = 3600.0
    report = await stop(work)
    assert report.clean and report.venues[0].left == ()
    assert seconds(work) < 30


async def test_an_order_that_is_filled_while_it_is_cancelled_is_told_as_filled(work: Workplace) -> None:
    await work.reconcile()
    await work.place("one")
    number = work.venue.by_hand()
    await work.place("two", price=PRICE - 1)
    really = work.venue.cancel_all

    async def fills_first(symbol: str) -> None:
        for filled in ("1000", number):
            if work.venue.booked[filled].told.state is State.OPEN:
                work.venue.fill(filled)
        await really(symbol)

    work.venue.cancel_all = fills_first  # type: ignore[method-assign]
    report = await stop(work)
    assert report.clean
    assert report.venues[0].filled == ("1000", number)
    assert report.venues[0].cancelled == ("1002",)
    assert {order.venue_order_id: order.state for order in work.ledger.orders("bitbank")} == {
        "1000": State.FILLED,
        "1002": State.CANCELLED,
    }


async def test_a_fill_that_the_list_of_fills_does_not_show_yet_does_not_make_the_order_cancelled(
    work: Workplace,
) -> None:
    await work.reconcile()
    await work.place()
    really = work.venue.cancel_all

    async def fills_first(symbol: str) -> None:
        if work.venue.resting():
            work.venue.fill("1000")
        await really(symbol)

    work.venue.cancel_all = fills_first  # type: ignore[method-assign]
    work.venue.fills_lag = 60.0
    report = await stop(work)
    assert report.venues[0].filled == ("1000",)
    order = work.ledger.orders("bitbank")[0]
    assert (order.state, order.filled) == (State.FILLED, Decimal("0.002"))
    await work.clock.sleep(60)
    assert (await work.reconcile()).is_clean
    assert work.ledger.orders("bitbank")[0].fills


async def test_orders_of_a_symbol_that_the_ledger_learns_of_during_the_stop_are_cancelled_too(work: Workplace) -> None:
    await work.place()
    really = work.venue.cancel_all
    late: list[Order] = []

    async def another_comes_up(symbol: str) -> None:
        await really(symbol)
        if not late:
            late.append(await work.place("late", symbol=PERPETUAL))

    work.venue.cancel_all = another_comes_up  # type: ignore[method-assign]
    report = await stop(work, latch=False)
    assert report.clean and not work.venue.resting()
    assert report.venues[0].cancelled == ("1000", "1001")


async def test_without_a_ledger_the_list_must_stay_empty_as_long_as_an_order_may_be_under_way(work: Workplace) -> None:
    await work.place()
    work.venue.visible_after = 30.0
    report = await stop(work, DeadLedger())
    assert report.clean and not work.venue.resting()
    assert seconds(work) >= 35


class ComesBack:
    """Opens the ledger only after some questions."""

    def __init__(self, work: Workplace, fails: int) -> None:
        self.url = f"sqlite:///{work.home / 'ledger.db'}"
        self.fails = fails

    def __call__(self) -> Ledger:
        self.fails -= 1
        if self.fails >= 0:
            raise LedgerUnavailable("locked")
        return Ledger(self.url)


async def test_a_ledger_that_comes_back_is_used_again(work: Workplace) -> None:
    await work.place()
    books = LedgerInReach(ComesBack(work, 2))
    report = await stop(work, books)
    books.close()
    assert report.clean and report.latched and report.problems
    assert work.ledger.orders("bitbank")[0].state is State.CANCELLED


async def test_a_ledger_that_goes_away_half_way_stops_no_stop(work: Workplace) -> None:
    await work.place()
    asked = 0

    class GoesAway(Ledger):
        def __init__(self) -> None:
            pass

        def __getattribute__(self, name: str) -> object:
            nonlocal asked
            if name.startswith("__"):
                return super().__getattribute__(name)
            asked += 1
            if asked > 2:
                raise LedgerUnavailable("the disk is full")
            return getattr(work.ledger, name)

    report = await stop(work, GoesAway())
    assert report.clean and not work.venue.resting()
    assert any("the disk is full" in problem for problem in report.venues[0].problems)
    assert work.ledger.orders("bitbank")[0].state is State.OPEN  # left to the next reconcile
    assert (await work.reconcile()).orders_resolved[0].state is State.CANCELLED


async def test_a_row_of_the_ledger_that_cannot_be_read_stops_no_stop(work: Workplace) -> None:
    await work.place()
    with contextlib.closing(sqlite3.connect(work.home / "ledger.db")) as by_hand, by_hand:
        by_hand.execute("UPDATE orders SET state = 'OF A NEWER VERSION'")
    report = await stop(work)
    assert report.clean and not work.venue.resting()
    assert report.venues[0].cancelled == ("1000",)
    assert any("OF A NEWER VERSION" in problem for problem in report.venues[0].problems)


async def test_a_latch_that_the_ledger_does_not_take_holds_by_a_file(work: Workplace) -> None:
    await work.place()
    target = StopTarget(work.venue.name, work.venue, (SPOT,), clock=work.clock)
    unwritable = "typed in another encoding: \udc8b"
    report = await stop_all([target], work.ledger, work.clock, "ann", unwritable, home=work.home)
    assert report.clean and not work.venue.resting()
    assert kill_switch(work.home, None, "bitbank") is not None


async def test_a_ledger_that_never_answers_is_waited_for_only_a_moment(work: Workplace) -> None:
    await work.place()
    released = threading.Event()

    def hangs() -> Ledger:
        released.wait(60)
        raise LedgerUnavailable("gone")

    report = await stop(work, LedgerInReach(hangs))
    released.set()
    assert report.clean and report.latched
    assert kill_switch(work.home, None, "bitbank") is not None


async def test_a_home_that_cannot_be_written_and_no_ledger_still_cancels_and_says_so(work: Workplace) -> None:
    await work.place()
    (work.home / "latches").write_text("not a folder")
    report = await stop(work, DeadLedger())
    assert not work.venue.resting()
    assert not report.latched and not report.clean
    assert any("could not be latched" in problem for problem in report.problems)


async def test_an_order_that_waits_for_the_budget_when_the_latch_is_set_never_leaves(work: Workplace) -> None:
    waiting, go = asyncio.Event(), asyncio.Event()

    async def room_for_an_order() -> None:
        waiting.set()
        await go.wait()

    work.venue.room_for_an_order = room_for_an_order  # type: ignore[method-assign]
    placing = asyncio.ensure_future(work.place())
    await waiting.wait()
    assert (await stop(work)).clean
    go.set()
    with pytest.raises(PlacementHeld, match="drill"):
        await placing
    assert not work.venue.booked


async def test_an_order_that_was_on_its_way_when_the_latch_was_set_is_caught(work: Workplace) -> None:
    work.venue.placing.append("hang")
    work.venue.visible_after = 3.0
    placing = asyncio.ensure_future(work.place())
    await work.venue.arrived.wait()
    report = await stop(work)
    work.venue.answer.set()
    await placing
    assert report.clean and not work.venue.resting()


async def test_two_stops_at_once_are_both_clean(work: Workplace) -> None:
    for number in range(5):
        await work.place(f"order {number}", price=PRICE - number)
    one, two = await asyncio.gather(stop(work), stop(work, latch=False))
    assert one.clean and two.clean
    assert not work.venue.resting() and not work.ledger.in_flight("bitbank")


@pytest.mark.parametrize("holds", ["nobody", "a trader"])
@pytest.mark.parametrize("hosts", [1, 2])
async def test_of_two_stops_only_one_closes_the_position(
    workplace: MakeWorkplace, tmp_path: Path, hosts: int, holds: str
) -> None:
    work = workplace(name="bitflyer")  # where there is no reduce-only, closing twice is a new position
    work.venue.placing.append("fill")
    await work.place(symbol=PERPETUAL)
    if holds == "nobody":
        work.ledger.release_lease(work.desk.lease)
    else:
        work.ledger.renew_lease(work.desk.lease, work.clock.now().replace(year=2100), 60)
    really, arrived, go = work.venue.place, asyncio.Event(), asyncio.Event()

    async def slowly(intent: object) -> str:
        arrived.set()
        await go.wait()
        return await really(intent)  # type: ignore[arg-type]

    work.venue.place = slowly  # type: ignore[method-assign,assignment]
    work.venue.requests.clear()
    first = asyncio.ensure_future(stop(work, close_positions=True))
    await arrived.wait()
    home = work.home if hosts == 1 else tmp_path / "of the second host"
    second = asyncio.ensure_future(stop(work, close_positions=True, home=home))
    done, _ = await asyncio.wait({second}, timeout=10)
    go.set()
    await asyncio.wait({first, second})
    assert done and work.venue.requests["place"] == 1
    assert work.venue.position == 0
    assert any("another stop is closing" in problem for problem in second.result().venues[0].problems)


async def test_a_stop_on_another_host_does_not_close_what_the_first_has_read_and_not_yet_ordered(
    workplace: MakeWorkplace, tmp_path: Path
) -> None:
    work = workplace(name="bitflyer")
    work.venue.placing += ["fill", "fill", "fill"]
    await work.place(symbol=PERPETUAL)
    work.ledger.release_lease(work.desk.lease)
    really, arrived, go = work.venue.positions, asyncio.Event(), asyncio.Event()

    async def slowly(symbol: str) -> object:
        read = await really(symbol)
        if not arrived.is_set():
            arrived.set()
            await go.wait()
        return read

    work.venue.positions = slowly  # type: ignore[method-assign,assignment]
    work.venue.requests.clear()
    first = asyncio.ensure_future(stop(work, close_positions=True))
    await arrived.wait()
    await stop(work, close_positions=True, home=tmp_path / "of the second host")
    go.set()
    await first
    assert work.venue.requests["place"] == 1 and work.venue.position == 0


async def test_an_interrupted_stop_tells_what_is_left_and_is_not_clean(work: Workplace) -> None:
    await work.place()
    in_trouble(work, 100_000, NoAnswer("bitbank", "502"))
    interrupted = asyncio.Event()
    stopping = asyncio.ensure_future(stop(work, interrupted=interrupted))
    await until(lambda: seconds(work) >= 5, pause=0)
    interrupted.set()
    report = await stopping
    assert not report.clean
    assert [told.venue_order_id for told in report.venues[0].left] == ["1000"]
    assert any("interrupted before it was proved" in problem for problem in report.venues[0].problems)


WINDOW = Window("a minute", 20, 60.0)


def a_budget(folder: Path, clock: SteppedClock) -> RequestBudget:
    return RequestBudget(folder / "budget.requests", (WINDOW,), clock)


async def test_a_torn_budget_file_keeps_no_cancel_waiting(tmp_path: Path) -> None:
    clock = SteppedClock()
    (tmp_path / "budget.requests").write_text("torn")
    budget = a_budget(tmp_path, clock)
    reserved = budget.allowed(WINDOW, cancelling=True) - budget.allowed(WINDOW)
    for _ in range(reserved):  # what is kept back for cancelling may go at once
        assert await budget.acquire((WINDOW,), cancelling=True) == 0
    with pytest.raises(NoRoom):
        await budget.acquire((WINDOW,), cancelling=True, at_most=10)
    with pytest.raises(NoRoom):
        await budget.acquire((WINDOW,), at_most=10)


@pytest.mark.parametrize("answers", [True, False])
async def test_a_clock_that_is_set_back_by_an_hour_keeps_nobody_waiting(work: Workplace, answers: bool) -> None:
    slept, really, read = list[float](), work.clock.sleep, work.venue.open_orders

    async def sleep(pause: float) -> None:
        slept.append(pause)
        await really(pause)
        if len(slept) == 2:
            work.clock._now -= timedelta(hours=1)

    async def open_orders(symbol: str) -> tuple[VenueOrder, ...]:
        if len(slept) == 0 or not answers:  # the first list fails, so that the proof spans the moment
            raise NoAnswer("bitbank", "502")
        return await read(symbol)

    work.clock.sleep = sleep  # type: ignore[method-assign]
    work.venue.open_orders = open_orders  # type: ignore[method-assign]
    report = await stop(work)
    assert report.clean is answers
    assert len(slept) >= 2 and sum(slept) < 2 * PATIENCE.total_seconds()
