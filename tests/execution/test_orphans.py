"""Orders that rest at the venue and are not in the ledger."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from execution.settle import settle
from tests.execution.conftest import Workplace
from tests.execution.venue import SPOT
from trading.orders import State

MakeWorkplace = Callable[..., Workplace]


def with_policy(work: Workplace, policy: str) -> Workplace:
    work.desk.settings = work.desk.settings.model_copy(update={"orphans": policy})
    return work


async def test_an_orphan_is_left_alone_and_told_unless_something_else_is_configured(work: Workplace) -> None:
    await work.reconcile()
    number = work.venue.by_hand()
    found = await work.reconcile()
    assert [told.venue_order_id for told in found.orphans] == [number]
    assert len(work.venue.resting()) == 1 and not found.is_clean


async def test_an_orphan_is_cancelled_where_that_is_configured(work: Workplace) -> None:
    with_policy(work, "cancel")
    await work.reconcile()
    work.venue.by_hand()
    found = await work.reconcile()
    assert found.is_clean and not work.venue.resting()


async def test_an_orphan_whose_cancel_fails_stays_an_orphan(work: Workplace) -> None:
    with_policy(work, "cancel")
    await work.reconcile()
    number = work.venue.by_hand()
    work.venue.cancelling.append("fail")
    found = await work.reconcile()
    assert [told.venue_order_id for told in found.orphans] == [number]
    assert (await work.reconcile()).is_clean


async def test_an_adopted_orphan_is_an_order_of_ours_from_then_on(work: Workplace) -> None:
    with_policy(work, "adopt")
    await work.reconcile()
    number = work.venue.by_hand()
    assert (await work.reconcile()).is_clean
    (order,) = work.ledger.in_flight("bitbank")
    assert (order.state, order.venue_order_id) == (State.OPEN, number)
    assert work.ledger.rung_of_order("bitbank", order.intent.client_order_id) == "adopted"
    work.venue.fill(number, Decimal("0.001"))
    found = await settle(work.desk, SPOT)
    assert found.is_clean and not found.foreign_fills and not work.venue.resting()
    ended = work.ledger.order("bitbank", order.intent.client_order_id)
    assert ended is not None and (ended.state, ended.filled) == (State.CANCELLED, Decimal("0.001"))


async def test_an_orphan_that_was_partly_filled_since_the_opening_is_adopted_with_its_fills(work: Workplace) -> None:
    with_policy(work, "adopt")
    await work.reconcile()
    work.venue.fill(work.venue.by_hand(), Decimal("0.001"))
    assert not (await work.reconcile()).discrepancies
    (order,) = work.ledger.in_flight("bitbank")
    assert (order.state, order.filled, len(order.fills)) == (State.PARTIALLY_FILLED, Decimal("0.001"), 1)


async def test_an_orphan_with_fills_from_before_the_opening_is_not_adopted(work: Workplace) -> None:
    with_policy(work, "adopt")
    number = work.venue.by_hand()
    work.venue.fill(number, Decimal("0.001"))
    await work.clock.sleep(1)
    await work.reconcile()
    assert [told.venue_order_id for told in (await work.reconcile()).orphans] == [number]
    assert not work.ledger.in_flight("bitbank")


@pytest.mark.parametrize("policy", ["cancel", "adopt"])
async def test_while_an_order_is_looked_for_no_orphan_is_touched(work: Workplace, policy: str) -> None:
    with_policy(work, policy)
    await work.reconcile()
    work.venue.placing.append("lost_ack")
    await work.place()
    work.venue.by_hand("0.002")  # as like ours as one egg to another
    found = await work.reconcile()
    assert len(found.unknown) == 1 and len(found.orphans) == 2
    assert len(work.venue.resting()) == 2


async def test_an_order_that_bears_our_id_though_we_hold_it_refused_is_not_adopted_a_second_time(
    workplace: MakeWorkplace,
) -> None:
    work = with_policy(workplace(name="bybit", knows_client_ids=True), "adopt")
    await work.reconcile()
    work.venue.placing.append("refuse")
    refused = await work.place()
    number = work.venue.book_order(replace(refused.intent))
    found = await work.reconcile()
    assert [told.venue_order_id for told in found.orphans] == [number]
    assert not work.ledger.in_flight("bybit")
