import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import pytest

from exchanges.errors import NoAnswer, OrderNotFound
from execution.cancel import cancel
from tests.execution.conftest import Workplace
from tests.execution.test_tally import a_fill
from tests.execution.venue import BEGIN, PERPETUAL, SPOT, an_intent
from trading.instruments import Instrument, Side
from trading.orders import OrderIntent, State, VenueOrder

KINDS = ["bybit", "okcoinjp", "bitbank", "bitflyer"]
MakeWorkplace = Callable[..., Workplace]


def at(workplace: MakeWorkplace, venue: str) -> Workplace:
    return workplace(name=venue, knows_client_ids=venue in ("bybit", "okcoinjp"))


async def test_the_first_reconcile_sets_the_opening_and_finds_nothing(work: Workplace) -> None:
    found = await work.reconcile()
    assert found.is_clean
    assert work.ledger.opening("bitbank") == (
        {"JPY": Decimal(5_000_000), "BTC": Decimal("0.1")},
        work.clock.now(),
    )
    assert found.at == work.clock.now()


async def test_the_quiet_case_costs_two_requests(work: Workplace) -> None:
    await work.reconcile()
    work.venue.requests.clear()
    await work.reconcile()
    assert work.venue.requests == {"open_orders": 1, "balances": 1}


async def test_a_resting_order_costs_no_further_request(work: Workplace) -> None:
    await work.reconcile()
    await work.place()
    work.venue.requests.clear()
    found = await work.reconcile()
    assert work.venue.requests == {"open_orders": 1, "balances": 1}
    assert [told.venue_order_id for told in found.open_orders] == ["1000"]
    assert found.is_clean and "1000" in found.known_ids


async def test_an_order_filled_meanwhile_ends_with_its_fills_and_explained_balances(work: Workplace) -> None:
    await work.reconcile()
    await work.place()
    work.venue.fill("1000")
    found = await work.reconcile()
    (order,) = found.orders_resolved
    assert (order.state, order.filled) == (State.FILLED, Decimal("0.002"))
    assert len(order.fills) == 1
    assert found.is_clean


async def test_a_partial_fill_is_recorded_with_its_fill(work: Workplace) -> None:
    await work.reconcile()
    await work.place()
    work.venue.fill("1000", Decimal("0.001"))
    found = await work.reconcile()
    (order,) = work.ledger.in_flight("bitbank")
    assert (order.state, order.filled, len(order.fills)) == (State.PARTIALLY_FILLED, Decimal("0.001"), 1)
    assert found.is_clean and not found.orders_resolved


async def test_fills_that_the_venue_lists_late_are_fetched_until_they_are_all_there(work: Workplace) -> None:
    await work.reconcile()
    await work.place()
    work.venue.fills_lag = 60.0
    work.venue.fill("1000")
    assert not (await work.reconcile()).is_clean  # filled, but the fill itself is not listed yet
    await work.clock.sleep(60)
    found = await work.reconcile()
    assert found.is_clean
    assert len(work.ledger.fills("bitbank")) == 1


@pytest.mark.parametrize("venue", KINDS)
async def test_a_lost_answer_is_resolved_by_finding_the_order(workplace: MakeWorkplace, venue: str) -> None:
    work = at(workplace, venue)
    await work.reconcile()
    work.venue.placing.append("lost_ack")
    order = await work.place()
    found = await work.reconcile()
    assert [one.intent for one in found.orders_resolved] == [order.intent]
    assert found.orders_resolved[0].venue_order_id == "1000"
    assert found.is_clean and not found.orphans
    assert len(work.venue.booked) == 1


@pytest.mark.parametrize("venue", KINDS)
async def test_an_order_that_filled_behind_a_lost_answer_is_found_with_its_fills(
    workplace: MakeWorkplace, venue: str
) -> None:
    work = at(workplace, venue)
    await work.reconcile()
    work.venue.placing.append("lost_ack_filled")
    await work.place()
    found = await work.reconcile()
    assert found.orders_resolved[0].state is State.FILLED
    assert found.is_clean and not found.foreign_fills


@pytest.mark.parametrize("venue", ["bybit", "okcoinjp", "bitbank"])
async def test_a_lost_request_is_called_absent_only_after_patience_and_several_looks(
    workplace: MakeWorkplace, venue: str
) -> None:
    work = at(workplace, venue)
    await work.reconcile()
    work.venue.placing.append("lost_request")
    order = await work.place()
    found = await work.reconcile()
    assert (work.clock.now() - BEGIN).total_seconds() >= work.desk.settings.unknown_patience
    assert work.venue.requests["find_order"] >= 3
    assert found.orders_resolved[0].intent == order.intent
    assert found.orders_resolved[0].state is State.REJECTED
    assert found.is_clean
    assert (await work.place("two")).state is State.OPEN


async def test_after_a_long_absence_one_look_is_still_no_proof(work: Workplace) -> None:
    await work.reconcile()
    work.venue.placing.append("lost_request")
    await work.place()
    await work.clock.sleep(86_400)
    work.venue.requests.clear()
    begun = work.clock.now()
    assert (await work.reconcile()).orders_resolved[0].state is State.REJECTED
    assert work.venue.requests["find_order"] == 3
    assert (work.clock.now() - begun).total_seconds() >= 30


async def test_while_the_venue_is_not_trading_nothing_is_called_absent(work: Workplace) -> None:
    await work.reconcile()
    work.venue.placing.append("lost_request")
    order = await work.place()
    work.venue.trading = False
    found = await work.reconcile()
    assert [one.intent for one in found.unknown] == [order.intent]
    assert "not trading (HALT)" in found.discrepancies[0].found
    assert "buy 0.002 BTC/JPY at 10000000, sent 2026-01-05 00:00:00 UTC" in found.discrepancies[0].found
    work.venue.trading = True
    assert (await work.reconcile()).orders_resolved[0].state is State.REJECTED


async def test_a_look_that_failed_is_no_look(work: Workplace) -> None:
    await work.reconcile()
    work.venue.placing.append("lost_request")
    await work.place()

    async def silent(*_: object) -> None:
        raise NoAnswer("bitbank", "timed out")

    work.venue.find_order = silent  # type: ignore[assignment, method-assign]
    found = await work.reconcile()
    assert len(found.unknown) == 1
    assert "0 looks" in found.discrepancies[0].found


async def test_a_fill_whose_order_cannot_be_read_yet_is_looked_at_again(work: Workplace) -> None:
    await work.reconcile()
    work.venue.placing.append("lost_ack_filled")
    await work.place()
    really, looks = work.venue.find_order, []

    async def late(intent: OrderIntent, sent_at: datetime, known_ids: frozenset[str]) -> tuple[VenueOrder, ...]:
        looks.append(work.clock.now())
        if len(looks) == 1:  # bitbank and OKJ find the order's number among the fills, and read the order by it
            raise OrderNotFound("bitbank", "no such order", code="50009")
        return await really(intent, sent_at, known_ids)

    work.venue.find_order = late  # type: ignore[method-assign]
    found = await work.reconcile()
    assert found.is_clean and len(looks) == 2
    assert [order.state for order in found.orders_resolved] == [State.FILLED]


async def test_an_order_on_its_way_is_not_taken_for_the_leftover_of_a_crash(work: Workplace) -> None:
    await work.reconcile()
    work.venue.placing.append("hang")
    placing = asyncio.create_task(work.place())
    await work.venue.arrived.wait()
    reconciling = asyncio.create_task(work.reconcile())
    await asyncio.sleep(0.02)
    assert not reconciling.done()
    work.venue.answer.set()
    assert (await placing).state is State.OPEN
    assert (await reconciling).is_clean
    assert (await placing).note == ""


async def test_balances_that_follow_a_fill_late_are_waited_for(work: Workplace) -> None:
    await work.reconcile()
    work.venue.balances_lag = 3.0
    await work.place()
    work.venue.fill("1000")
    assert (await work.reconcile()).is_clean


async def test_a_list_that_still_shows_a_cancelled_order_is_read_again(work: Workplace) -> None:
    await work.reconcile()
    work.venue.list_lag = 1.5
    await cancel(work.desk, await work.place())
    found = await work.reconcile()
    assert found.is_clean and found.open_orders == ()


async def test_at_bitflyer_a_lost_request_stays_unknown_until_no_order_could_live_any_longer(
    workplace: MakeWorkplace,
) -> None:
    work = at(workplace, "bitflyer")
    await work.reconcile()
    work.venue.placing.append("lost_request")
    order = await work.place()
    found = await work.reconcile()
    assert [one.intent for one in found.unknown] == [order.intent]
    assert [one.kind for one in found.discrepancies] == ["unproved_order"]
    await work.clock.sleep(work.desk.order_lifetime_minutes * 60)
    assert (await work.reconcile()).orders_resolved[0].state is State.REJECTED


@pytest.mark.parametrize("venue", KINDS)
async def test_an_order_that_shows_late_is_found_and_not_called_absent(workplace: MakeWorkplace, venue: str) -> None:
    work = at(workplace, venue)
    await work.reconcile()
    work.venue.visible_after = 40.0
    work.venue.placing.append("lost_ack")
    await work.place()
    found = await work.reconcile()
    assert found.orders_resolved[0].state is State.OPEN
    assert found.is_clean


async def test_an_accepted_order_that_shows_late_is_waited_for(work: Workplace) -> None:
    await work.reconcile()
    work.venue.visible_after = 30.0
    order = await work.place()
    found = await work.reconcile()
    assert found.is_clean
    now = work.ledger.order("bitbank", order.intent.client_order_id)
    assert now is not None and now.state is State.OPEN


async def test_an_unknown_order_is_not_called_absent_while_the_books_show_a_change(work: Workplace) -> None:
    await work.reconcile()
    work.venue.placing.append("lost_request")
    await work.place()
    work.venue.totals["BTC"] += Decimal("0.002")  # as if it had been filled
    found = await work.reconcile()
    assert len(found.unknown) == 1
    assert {one.kind for one in found.discrepancies} == {"balance", "unproved_order"}


async def test_a_deposit_of_quote_currency_does_not_keep_an_order_unknown(work: Workplace) -> None:
    await work.reconcile()
    work.venue.placing.append("lost_request")
    await work.place()
    work.venue.totals["JPY"] += 1000
    found = await work.reconcile()
    assert not found.unknown
    assert [(one.kind, one.subject) for one in found.discrepancies] == [("balance", "JPY")]


async def test_two_candidates_leave_the_order_unknown_and_call_a_human(work: Workplace) -> None:
    await work.reconcile()
    work.venue.placing.append("lost_ack")
    await work.place()
    work.venue.by_hand("0.002")
    found = await work.reconcile()
    assert len(found.unknown) == 1
    assert [one.kind for one in found.discrepancies] == ["several_candidates"]
    assert len(found.orphans) == 2


async def test_an_order_of_unknown_outcome_is_never_sent_twice(work: Workplace) -> None:
    await work.reconcile()
    work.venue.placing.append("lost_ack")
    order = await work.place()
    await work.reconcile()
    again = await work.place()  # the same cycle, repeated
    assert again.intent == order.intent
    assert work.venue.requests["place"] == 1


async def test_another_order_of_the_same_looks_from_before_is_not_mistaken_for_ours(work: Workplace) -> None:
    await work.reconcile()
    work.venue.by_hand("0.002")
    work.venue.placing.append("lost_request")
    await work.place()
    found = await work.reconcile()
    assert [told.venue_order_id for told in found.orphans] == ["1000"]
    assert found.orders_resolved[0].state is State.REJECTED


async def test_an_order_by_hand_is_an_orphan_and_its_fill_is_foreign(work: Workplace) -> None:
    await work.reconcile()
    number = work.venue.by_hand()
    assert [told.venue_order_id for told in (await work.reconcile()).orphans] == [number]
    work.venue.fill(number)
    found = await work.reconcile()
    assert [fill.venue_order_id for fill in found.foreign_fills] == [number]
    assert not found.discrepancies  # the books know why


async def test_what_was_filled_before_the_opening_is_in_the_opening(work: Workplace) -> None:
    work.venue.fill(work.venue.by_hand())
    await work.reconcile()
    assert (await work.reconcile()).is_clean
    work.venue.fill(work.venue.by_hand())
    found = await work.reconcile()
    assert [fill.venue_order_id for fill in found.foreign_fills] == ["1001"]
    assert not found.discrepancies
    work.venue.fill(work.venue.by_hand())
    found = await work.reconcile()
    assert [fill.venue_order_id for fill in found.foreign_fills] == ["1002"]
    assert not found.discrepancies


async def test_a_trade_by_hand_that_is_listed_late_explains_a_difference_that_was_told_before(
    work: Workplace,
) -> None:
    await work.reconcile()
    work.venue.fills_lag = 60.0
    work.venue.fill(work.venue.by_hand())
    assert {one.subject for one in (await work.reconcile()).discrepancies} == {"BTC", "JPY"}
    await work.clock.sleep(60)
    found = await work.reconcile()
    assert not found.discrepancies and len(found.foreign_fills) == 1


async def test_a_trade_by_hand_is_read_though_a_younger_fill_was_read_for_its_order_alone(work: Workplace) -> None:
    await work.reconcile()
    work.venue.fill(work.venue.by_hand())
    await work.clock.sleep(700)
    work.venue.placing.append("lost_ack_filled")
    await work.place()
    await work.clock.sleep(700)
    found = await work.reconcile()
    assert found.orders_resolved[0].state is State.FILLED
    assert len(found.foreign_fills) == 1
    assert not found.discrepancies


async def test_a_partly_filled_order_that_the_venue_forgot_keeps_its_fills(work: Workplace) -> None:
    await work.reconcile()
    await work.place()
    work.venue.fill("1000", Decimal("0.001"))
    work.venue.end("1000")
    work.venue.forgets_ended = True
    found = await work.reconcile()
    assert found.is_clean
    (order,) = found.orders_resolved
    assert (order.state, order.filled) == (State.CANCELLED, Decimal("0.001"))


async def test_a_withdrawal_is_a_difference_until_somebody_answers_for_it(work: Workplace) -> None:
    await work.reconcile()
    work.venue.totals["JPY"] -= 1000
    assert [one.subject for one in (await work.reconcile()).discrepancies] == ["JPY"]
    work.venue.requests.clear()
    assert [one.subject for one in (await work.reconcile()).discrepancies] == ["JPY"]
    # told before: not looked into again beyond its fills
    assert work.venue.requests == {"open_orders": 1, "balances": 1, "fills": 1}
    work.ledger.adjust("bitbank", "JPY", Decimal(-1000), "ann", "withdrawn", BEGIN)
    assert (await work.reconcile()).is_clean


async def test_a_difference_within_the_configured_tolerance_is_rounding(work: Workplace) -> None:
    allowed = {"balance_tolerance": {"JPY": Decimal("0.5")}}
    work.desk.settings = work.desk.settings.model_copy(update=allowed)
    await work.reconcile()
    work.venue.totals["JPY"] += Decimal("0.5")
    assert (await work.reconcile()).is_clean
    work.venue.totals["JPY"] += Decimal("0.1")
    assert [one.subject for one in (await work.reconcile()).discrepancies] == ["JPY"]


async def test_an_order_whose_record_expired_is_resolved_by_its_fills(work: Workplace) -> None:
    await work.reconcile()
    await work.place()
    work.venue.fill("1000")
    work.venue.forgets_ended = True
    found = await work.reconcile()
    assert found.orders_resolved[0].state is State.FILLED
    assert found.is_clean


async def test_an_order_cancelled_and_forgotten_by_the_venue_ends_after_patience(work: Workplace) -> None:
    await work.reconcile()
    await work.place()
    work.venue.end("1000")
    work.venue.forgets_ended = True
    found = await work.reconcile()
    assert (work.clock.now() - BEGIN).total_seconds() >= work.desk.settings.unknown_patience
    assert found.orders_resolved[0].state is State.CANCELLED
    assert found.is_clean


async def test_an_order_that_cannot_be_found_blocks_its_symbol(workplace: MakeWorkplace) -> None:
    work = at(workplace, "bitflyer")
    await work.reconcile()
    await work.place()
    work.venue.visible_after = 300.0
    found = await work.reconcile()
    assert found.unknown[0].state is State.UNKNOWN
    await work.clock.sleep(300)
    assert (await work.reconcile()).orders_resolved[0].state is State.OPEN


async def test_an_order_that_rests_though_it_ended_in_the_ledger_is_told(work: Workplace) -> None:
    await work.reconcile()
    await work.place()
    booked = work.venue.booked["1000"]
    alive = booked.told
    work.venue.end("1000")
    await work.reconcile()
    booked.told = alive
    assert [one.kind for one in (await work.reconcile()).discrepancies] == ["order_rests"]


async def test_a_perpetuals_position_and_profit_are_explained_by_the_fills(work: Workplace) -> None:
    await work.reconcile(PERPETUAL)
    work.venue.placing.append("fill")
    await work.place(symbol=PERPETUAL)
    found = await work.reconcile(PERPETUAL)
    assert found.positions[0].signed_quantity == Decimal("0.002")
    assert found.is_clean
    work.venue.position += Decimal("0.001")
    found = await work.reconcile(PERPETUAL)
    assert [(one.kind, one.subject) for one in found.discrepancies] == [("position", PERPETUAL)]


@pytest.mark.parametrize("gone", ["ETH/JPY", PERPETUAL])
async def test_the_books_still_add_up_when_a_pair_that_was_traded_once_is_listed_no_more(
    work: Workplace, gone: str
) -> None:
    await work.reconcile()
    bought = a_fill(1, minute=1, symbol=gone)
    work.ledger.record_fills("bitbank", [bought], work.clock.now())
    if gone == PERPETUAL:
        work.venue.totals["JPY"] -= bought.fee
    else:
        work.venue.totals["ETH"] = bought.quantity
        work.venue.totals["JPY"] -= bought.quote_quantity + bought.fee
    listed = await work.venue.instruments()

    async def instruments(**_: object) -> Mapping[str, Instrument]:
        return {SPOT: listed[SPOT]}

    work.venue.instruments = instruments  # type: ignore[method-assign,assignment]
    work.restart()
    assert (await work.reconcile()).is_clean


@pytest.mark.parametrize("symbol", [SPOT, PERPETUAL])
async def test_a_fee_in_a_third_currency_is_in_the_books_like_any_other(work: Workplace, symbol: str) -> None:
    work.venue.totals["MNT"] = Decimal(5)
    await work.reconcile(symbol)
    number = work.venue.book_order(an_intent("one", symbol=symbol))
    work.venue.fill(number)
    took = work.venue.trades[-1]
    work.venue.trades[-1] = replace(took, fee=Decimal("0.1"), fee_currency="MNT")
    work.venue.totals["JPY"] += took.fee
    work.venue.totals["MNT"] -= Decimal("0.1")
    for _ in range(2):
        assert not (await work.reconcile(symbol)).discrepancies


async def test_a_fill_between_the_two_reads_is_no_difference(work: Workplace) -> None:
    await work.reconcile()
    await work.place(side=Side.SELL)
    real = work.venue.balances

    async def filled_just_before():  # type: ignore[no-untyped-def]
        if work.venue.resting():
            work.venue.fill("1000")
        return await real()

    work.venue.balances = filled_just_before  # type: ignore[method-assign]
    found = await work.reconcile(SPOT)
    assert found.is_clean and len(found.new_fills) == 1
    assert not found.foreign_fills
    assert (await work.reconcile(SPOT)).orders_resolved[0].state is State.FILLED
