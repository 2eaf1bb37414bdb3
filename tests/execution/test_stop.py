import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from exchanges.errors import AuthenticationError
from execution.place import PlacementHeld
from execution.stop import StopReport, StopTarget, kill_switch, stop_all
from services.ledger import Ledger, LedgerUnavailable
from tests.execution.conftest import Workplace
from tests.execution.test_latch import DeadLedger
from tests.execution.venue import BEGIN, PERPETUAL, PRICE, SPOT
from trading.instruments import Side
from trading.market import Position
from trading.orders import Event, Order, OrderIntent, State

MakeWorkplace = Callable[..., Workplace]


async def stop(work: Workplace, *, ledger: Ledger | str | None = "own", close: bool = False) -> StopReport:
    return await stop_all(
        [target(work)],
        work.ledger if ledger == "own" else ledger,  # type: ignore[arg-type]
        work.clock,
        "ann",
        "drill",
        close,
        home=work.home,
    )


def target(work: Workplace, *symbols: str) -> StopTarget:
    return StopTarget(work.venue.name, work.venue, symbols or (SPOT, PERPETUAL), clock=work.clock)


async def test_twenty_resting_orders_are_gone_and_proved_gone(work: Workplace) -> None:
    for number in range(20):
        await work.place(f"order {number}", price=PRICE - number)
    report = await stop(work)
    assert report.clean
    assert not work.venue.resting()
    assert len(report.venues[0].cancelled) == 20
    assert not work.ledger.in_flight("bitbank")
    assert {order.state for order in work.ledger.orders("bitbank")} == {State.CANCELLED}


async def test_nothing_can_be_placed_after_the_stop(work: Workplace) -> None:
    await stop(work)
    latch = kill_switch(work.home, work.ledger, "bitbank")
    assert latch is not None and latch.by == "ann"
    with pytest.raises(PlacementHeld, match="drill"):
        await work.place()


async def test_an_order_that_the_ledger_does_not_know_is_cancelled_too(work: Workplace) -> None:
    number = work.venue.by_hand()
    report = await stop(work)
    assert report.clean and report.venues[0].cancelled == (number,)
    assert not work.venue.resting()


async def test_orders_in_a_symbol_that_is_no_longer_configured_are_cancelled_too(work: Workplace) -> None:
    await work.place(symbol=PERPETUAL)
    report = await stop_all([target(work, SPOT)], work.ledger, work.clock, "ann", "drill", home=work.home)
    assert report.clean
    assert not work.venue.resting()


async def test_failing_cancels_are_repeated_with_growing_pauses(work: Workplace) -> None:
    await work.place()
    work.venue.cancel_all_fails = 3
    work.venue.cancelling.extend(["fail"] * 3)
    report = await stop(work)
    assert report.clean
    assert any("502" in problem for problem in report.venues[0].problems)


async def test_an_order_that_cannot_be_cancelled_is_reported_as_left(work: Workplace) -> None:
    await work.place()
    work.venue.cancel_all_fails = 1000
    work.venue.cancelling.extend(["fail"] * 1000)
    report = await stop(work)
    assert not report.clean
    assert [told.venue_order_id for told in report.venues[0].left] == ["1000"]
    assert work.venue.requests["cancel_all"] <= 2 * 14  # bounded, in each of the two symbols
    assert any("times)" in problem for problem in report.venues[0].problems)


async def test_a_list_that_cannot_be_read_proves_nothing(work: Workplace) -> None:
    await work.place()
    work.venue.list_fails = 1000
    report = await stop(work)
    assert not work.venue.resting()  # cancelled all the same
    assert not report.clean and not report.venues[0].verified


async def test_without_a_ledger_more_than_two_empty_lists_are_needed(work: Workplace) -> None:
    await work.place()
    work.venue.visible_after = 1.4  # accepted a moment ago, in no list yet
    assert (await stop(work, ledger=None)).clean
    assert not work.venue.resting()


@pytest.mark.parametrize("venue", ["bybit", "bitflyer"])
async def test_an_accepted_order_that_no_list_shows_yet_is_waited_for(workplace: MakeWorkplace, venue: str) -> None:
    work = workplace(name=venue)
    await work.place()
    work.venue.visible_after = 20.0
    assert (await stop(work)).clean
    assert not work.venue.resting()


async def test_an_accepted_order_that_has_ended_is_not_waited_for(work: Workplace) -> None:
    work.venue.placing.append("fill")
    await work.place()
    assert (await stop(work)).clean
    assert (work.clock.now() - BEGIN).total_seconds() < 5
    assert work.ledger.orders("bitbank")[0].state is State.FILLED


async def test_an_order_on_its_way_is_waited_for_and_cancelled(work: Workplace) -> None:
    work.venue.placing.append("lost_ack")
    await work.place()
    work.venue.visible_after = 20.0
    assert (await stop(work)).clean
    assert not work.venue.resting()


async def test_at_bitflyer_an_order_of_unknown_outcome_keeps_the_stop_from_being_clean(
    workplace: MakeWorkplace,
) -> None:
    work = workplace(name="bitflyer")
    work.venue.placing.append("lost_request")
    await work.place()
    report = await stop(work)
    assert not report.clean
    assert any("not proved" in problem for problem in report.venues[0].problems)


@pytest.mark.parametrize("ledger", [None, DeadLedger()])
async def test_without_a_ledger_everything_is_cancelled_and_a_file_holds_the_latch(
    work: Workplace, ledger: Ledger | None
) -> None:
    await work.place()
    report = await stop(work, ledger=ledger)
    assert report.clean and report.latched
    assert not work.venue.resting()
    with pytest.raises(PlacementHeld, match="drill"):
        await work.place("two")


async def test_a_stop_that_could_not_latch_is_not_clean(work: Workplace) -> None:
    await work.place()
    report = await stop_all([target(work)], None, work.clock, "ann", "drill")
    assert not work.venue.resting()
    assert not report.latched and not report.clean


async def test_one_venue_that_fails_hides_none_of_the_others(workplace: MakeWorkplace) -> None:
    good, refusing, broken = workplace(), workplace(name="bybit"), workplace(name="okcoinjp")
    for work in (good, refusing, broken):
        await work.place()

    async def refuses(*_: object) -> None:
        raise AuthenticationError("bybit", "key expired")

    async def breaks(*_: object) -> None:
        raise TypeError("a defect")

    refusing.venue.open_orders = refuses  # type: ignore[assignment, method-assign]
    refusing.venue.cancel_all = refuses  # type: ignore[assignment, method-assign]
    broken.venue.open_orders = breaks  # type: ignore[assignment, method-assign]
    report = await stop_all(
        [target(work) for work in (refusing, broken, good)],
        good.ledger,
        good.clock,
        "ann",
        "drill",
        home=good.home,
    )
    verified = {venue.account: venue.verified for venue in report.venues}
    assert verified == {"bybit": False, "okcoinjp": False, "bitbank": True}
    assert not good.venue.resting()
    assert any("TypeError" in problem for problem in report.venues[1].problems)
    assert not report.clean


async def test_a_fill_during_the_stop_is_in_the_ledger(work: Workplace) -> None:
    await work.reconcile()
    await work.place("one")
    await work.place("two", price=PRICE - 1)
    real = work.venue.cancel_all

    async def fills_first(symbol: str) -> None:
        if work.venue.resting(symbol):
            work.venue.fill("1000")
            work.venue.fill("1001", Decimal("0.001"))
        await real(symbol)

    work.venue.cancel_all = fills_first  # type: ignore[method-assign]
    assert (await stop(work)).clean
    states = {order.venue_order_id: (order.state, order.filled) for order in work.ledger.orders("bitbank")}
    assert states == {
        "1000": (State.FILLED, Decimal("0.002")),
        "1001": (State.CANCELLED, Decimal("0.001")),
    }
    assert (await work.reconcile()).is_clean


async def test_positions_are_reported_and_left_unless_asked(work: Workplace) -> None:
    work.venue.placing.append("fill")
    await work.place(symbol=PERPETUAL)
    report = await stop(work)
    assert report.clean
    assert [held.signed_quantity for held in report.venues[0].positions] == [Decimal("0.002")]


@pytest.mark.parametrize("side", list(Side))
async def test_positions_are_closed_when_asked_and_the_books_still_add_up(work: Workplace, side: Side) -> None:
    await work.reconcile(PERPETUAL)
    work.venue.placing.append("fill")
    await work.place(symbol=PERPETUAL, side=side)
    work.ledger.release_lease(work.desk.lease)  # the trader has ended
    report = await stop(work, close=True)
    assert report.clean and report.venues[0].positions == ()
    assert all(booked.reduce_only for number, booked in work.venue.booked.items() if number != "1000")
    work.restart()
    assert (await work.reconcile(PERPETUAL)).is_clean


async def with_a_position_and_a_trader(workplace: MakeWorkplace, venue: str = "bybit") -> Workplace:
    work = workplace(name=venue)
    await work.reconcile(PERPETUAL)
    work.venue.placing.append("fill")
    await work.place(symbol=PERPETUAL)
    work.ledger.renew_lease(work.desk.lease, work.clock.now().replace(year=2100), 60)
    return work


@pytest.mark.parametrize("venue", ["bybit", "bitflyer"])
async def test_where_a_trader_holds_the_account_the_closing_order_is_one_of_its_own(
    workplace: MakeWorkplace, venue: str
) -> None:
    work = await with_a_position_and_a_trader(workplace, venue)
    report = await stop(work, close=True)
    assert report.clean and not report.venues[0].problems
    assert len(work.venue.booked) == 2
    closing = work.ledger.order_by_venue_id(venue, "1001")
    assert closing is not None and closing.state is State.FILLED
    assert closing.intent.reason == "emergency stop by ann: close the position"
    found = await work.reconcile(PERPETUAL)
    assert found.is_clean and not found.positions


async def test_a_closing_order_that_was_lost_while_a_trader_holds_the_account_is_not_sent_by_the_next_stop(
    workplace: MakeWorkplace,
) -> None:
    work = await with_a_position_and_a_trader(workplace, "bitflyer")
    work.venue.placing.append("lost_ack")
    work.venue.requests.clear()
    really, position = work.venue.positions, work.venue.position

    async def late(symbol: str) -> tuple[Position, ...]:  # the venue shows the position as it was for a while
        work.venue.position, now = position, work.venue.position
        try:
            return await really(symbol)
        finally:
            work.venue.position = now

    work.venue.positions = late  # type: ignore[method-assign]
    await stop(work, close=True)
    report = await stop(work, close=True)
    assert work.venue.requests["place"] == 1 and work.venue.position == 0
    assert not report.clean
    assert any("no second order to close it" in problem for problem in report.venues[0].problems)
    work.venue.positions = really  # type: ignore[method-assign]
    found = await work.reconcile(PERPETUAL)  # the trader finds it, by its looks
    assert found.is_clean and not found.foreign_fills
    assert [order.state for order in found.orders_resolved][-1] is State.FILLED


async def test_a_trader_that_ends_while_the_closing_order_is_out_leaves_it_to_the_next_reconcile(
    workplace: MakeWorkplace,
) -> None:
    work = await with_a_position_and_a_trader(workplace)
    really = work.venue.place

    async def ends_meanwhile(intent: OrderIntent) -> str:
        work.ledger.release_lease(work.desk.lease)
        return await really(intent)

    work.venue.place = ends_meanwhile  # type: ignore[method-assign]
    report = await stop(work, close=True)
    assert report.clean and work.venue.position == 0
    assert [order.state for order in work.ledger.in_flight("bybit")] == [State.SENT]
    work.venue.knows_client_ids = True
    work.venue.booked["1001"].told = replace(
        work.venue.booked["1001"].told, client_order_id=work.ledger.in_flight("bybit")[0].intent.client_order_id
    )
    work.restart()
    found = await work.reconcile(PERPETUAL)
    assert found.is_clean and not work.ledger.in_flight("bybit")


async def test_a_closing_order_that_could_only_be_intended_is_sent_under_an_id_of_which_nothing_untrue_is_written(
    work: Workplace,
) -> None:
    work.venue.knows_client_ids = True
    await work.reconcile(PERPETUAL)
    work.venue.placing.append("fill")
    await work.place(symbol=PERPETUAL)
    work.ledger.release_lease(work.desk.lease)
    really = work.ledger.record

    def disk_full(account: str, client_order_id: str, event: Event, *more: object, **words: object) -> Order:
        if event is Event.SENT:
            raise LedgerUnavailable("the disk is full")
        return really(account, client_order_id, event, *more, **words)  # type: ignore[arg-type]

    work.ledger.record = disk_full  # type: ignore[method-assign]
    report = await stop(work, close=True)
    assert report.clean and work.venue.position == 0
    work.restart()
    (abandoned,) = (await work.reconcile(PERPETUAL)).orders_resolved
    assert (abandoned.state, abandoned.note) == (State.REJECTED, "intended, never sent: the process ended before")
    assert abandoned.intent.client_order_id != work.venue.booked["1001"].told.client_order_id


async def test_a_closing_order_without_an_answer_is_not_sent_a_second_time(work: Workplace) -> None:
    work.venue.placing.append("fill")
    await work.place(symbol=PERPETUAL)
    work.ledger.release_lease(work.desk.lease)
    work.venue.placing.append("lost_request")
    work.venue.requests.clear()
    report = await stop(work, close=True)
    assert work.venue.requests["place"] == 1
    assert not report.clean and len(report.venues[0].positions) == 1
    assert any("closing of" in problem and "unknown" in problem for problem in report.venues[0].problems)


async def test_where_a_closing_order_may_still_come_up_the_next_stop_sends_no_second_one(
    workplace: Callable[..., Workplace],
) -> None:
    work = workplace(name="bitflyer")  # no request window: what had no answer may come up as long as it may live
    work.venue.placing += ["fill", "lost_request"]
    await work.place(symbol=PERPETUAL)
    work.ledger.release_lease(work.desk.lease)
    work.venue.requests.clear()
    await stop(work, close=True)
    report = await stop(work, close=True)
    assert work.venue.requests["place"] == 1
    assert not report.clean and len(report.venues[0].positions) == 1
    assert any("no second order to close it" in problem for problem in report.venues[0].problems)

    await work.clock.sleep(2 * 3600)  # longer than an order lives there
    assert (await stop(work, close=True)).clean and work.venue.position == 0


def test_the_stop_imports_neither_prefect_nor_ccxt_nor_pandas() -> None:
    program = "import sys, execution.stop; print({'prefect', 'ccxt', 'pandas'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
