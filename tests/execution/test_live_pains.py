"""Pains of other bots in live operation (docs/live-pains.md) that no other test tells."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from execution.cancel import cancel
from services.ledger import LedgerUnavailable
from tests.execution.conftest import Workplace
from trading.orders import Event, State


async def test_a_restart_keeps_what_rests_and_what_was_bought(work: Workplace) -> None:
    await work.reconcile()
    order = await work.place()
    work.venue.fill("1000", Decimal("0.001"))
    await work.reconcile()
    for _ in range(3):
        work.restart()
        found = await work.reconcile()
        assert found.is_clean and not found.orders_resolved
        known = work.ledger.order("bitbank", order.intent.client_order_id)
        assert known is not None
        assert (known.state, known.filled, len(known.fills)) == (State.PARTIALLY_FILLED, Decimal("0.001"), 1)
        instruments = await work.venue.instruments()
        work.desk.tally.take_in(work.ledger, "bitbank", instruments)
        assert work.desk.tally.inventory(instruments["BTC/JPY"]).quantity == Decimal("0.001")
    assert len(work.venue.booked) == 1


async def test_an_old_fill_of_the_same_looks_is_never_tied_to_a_new_order(work: Workplace) -> None:
    await work.reconcile()
    first = await work.place("one")
    work.venue.fill("1000")
    await work.reconcile()
    work.venue.placing.append("lost_request")
    second = await work.place("two")  # the same side, quantity and price
    found = await work.reconcile()
    assert found.is_clean
    old, new = (work.ledger.order("bitbank", each.intent.client_order_id) for each in (first, second))
    assert old is not None and new is not None
    assert (old.state, len(old.fills)) == (State.FILLED, 1)
    assert (new.state, new.filled, new.fills) == (State.REJECTED, Decimal(0), ())


@pytest.mark.parametrize("milliseconds", [-4, 4])
async def test_a_fill_stamped_milliseconds_before_its_order_was_sent_is_found(
    work: Workplace, milliseconds: int
) -> None:
    await work.reconcile()
    await work.clock.sleep(60)
    await work.place()
    work.venue.fill("1000")
    work.venue.trades[-1] = replace(work.venue.trades[-1], at=work.clock.now() + timedelta(milliseconds=milliseconds))
    await work.clock.sleep(1)
    work.restart()
    found = await work.reconcile()
    assert found.is_clean, found
    assert (found.orders_resolved[0].state, len(found.orders_resolved[0].fills)) == (State.FILLED, 1)


async def test_an_order_whose_answer_could_not_be_written_is_found_by_the_next_reconcile(work: Workplace) -> None:
    await work.reconcile()
    record = work.ledger.record

    def full(account: str, client_order_id: str, event: Event, *rest: object, **named: object) -> object:
        if event is Event.ACKED:
            raise LedgerUnavailable("disk full")
        return record(account, client_order_id, event, *rest, **named)  # type: ignore[arg-type]

    work.ledger.record = full  # type: ignore[assignment, method-assign]
    with pytest.raises(LedgerUnavailable):
        await work.place()
    assert [order.state for order in work.ledger.in_flight("bitbank")] == [State.SENT]
    work.ledger.record = record  # type: ignore[method-assign]
    found = await work.reconcile()
    assert (found.orders_resolved[0].state, found.orders_resolved[0].venue_order_id) == (State.OPEN, "1000")
    assert found.is_clean and len(work.venue.booked) == 1


async def test_a_partial_fill_below_the_minimum_is_booked_and_blocks_nothing(work: Workplace) -> None:
    await work.reconcile()
    order = await work.place()
    work.venue.fill("1000", Decimal("0.0001"))  # the smallest order is 0.001
    order = await cancel(work.desk, order)
    assert (order.state, order.filled, len(order.fills)) == (State.CANCELLED, Decimal("0.0001"), 1)
    assert (await work.reconcile()).is_clean
    assert (await work.place("two")).state is State.OPEN
