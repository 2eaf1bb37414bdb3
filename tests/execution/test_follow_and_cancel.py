from datetime import timedelta
from decimal import Decimal

import pytest

from exchanges.errors import Busy, NoAnswer
from execution.cancel import cancel
from execution.follow import follow
from tests.execution.conftest import Workplace
from tests.execution.venue import BEGIN
from trading.orders import State


async def test_following_an_order_that_filled_at_once_costs_two_requests(work: Workplace) -> None:
    work.venue.placing.append("fill")
    order = await work.place()
    work.venue.requests.clear()
    order = await follow(work.desk, order, 5.0)
    assert (order.state, order.filled, len(order.fills)) == (State.FILLED, Decimal("0.002"), 1)
    assert work.venue.requests == {"order": 1, "fills": 1}


async def test_following_ends_when_its_time_is_over(work: Workplace) -> None:
    order = await follow(work.desk, await work.place(), 5.0)
    assert order.state is State.OPEN
    assert (work.clock.now() - BEGIN).total_seconds() == 5.0
    assert work.venue.requests["order"] <= 6


async def test_following_does_not_wait_for_a_clock_that_was_set_back(work: Workplace) -> None:
    order, slept, really = await work.place(), list[float](), work.clock.sleep

    async def sleep(pause: float) -> None:
        slept.append(pause)
        await really(pause)
        if len(slept) == 2:
            work.clock._now -= timedelta(hours=1)

    work.clock.sleep = sleep  # type: ignore[method-assign]
    assert (await follow(work.desk, order, 5.0)).state is State.OPEN
    assert 5.0 <= sum(slept) <= 10.0


async def test_following_an_order_that_is_not_listed_yet_goes_on(work: Workplace) -> None:
    work.venue.visible_after = 2.0
    work.venue.placing.append("fill")
    order = await follow(work.desk, await work.place(), 5.0)
    assert order.state is State.FILLED


async def test_following_survives_a_busy_venue_and_tells_what_is_known(work: Workplace) -> None:
    order = await work.place()

    async def busy(*_: object) -> None:
        raise Busy("bitbank", "too many requests")

    work.venue.order = busy  # type: ignore[assignment, method-assign]
    assert (await follow(work.desk, order, 5.0)).state is State.OPEN


async def test_an_order_that_filled_is_told_as_filled_although_its_fills_cannot_be_read(work: Workplace) -> None:
    order = await work.place()
    work.venue.fill(str(order.venue_order_id))

    async def no_answer(*_: object, **__: object) -> None:
        raise NoAnswer("bitbank", "502")

    work.venue.fills = no_answer  # type: ignore[assignment, method-assign]
    order = await follow(work.desk, order, 5.0)
    assert (order.state, order.filled) == (State.FILLED, Decimal("0.002"))


async def test_an_order_of_unknown_outcome_is_left_to_reconcile(work: Workplace) -> None:
    work.venue.placing.append("lost_ack")
    order = await work.place()
    work.venue.requests.clear()
    assert await follow(work.desk, order, 5.0) == order
    assert await cancel(work.desk, order) == order
    assert not work.venue.requests


async def test_a_cancelled_order_is_cancelled_when_the_venue_says_so(work: Workplace) -> None:
    order = await cancel(work.desk, await work.place())
    assert order.state is State.CANCELLED
    assert work.venue.requests["cancel"] == 1


@pytest.mark.parametrize("word", ["fail", "lost_ack", "ignore"])
async def test_a_cancel_that_went_wrong_is_repeated_until_the_order_has_ended(work: Workplace, word: str) -> None:
    work.venue.cancelling.append(word)
    order = await cancel(work.desk, await work.place())
    assert order.state is State.CANCELLED
    assert not work.venue.resting()


async def test_a_venue_without_time_is_asked_to_cancel_three_times_and_nothing_else(work: Workplace) -> None:
    order = await work.place()
    work.venue.requests.clear()
    work.venue.cancelling.extend(["busy"] * 10)
    assert (await cancel(work.desk, order)).state is State.CANCEL_SENT
    assert work.venue.requests == {"cancel": 3}


async def test_a_busy_moment_does_not_keep_an_order_in_the_market(work: Workplace) -> None:
    order = await work.place()
    work.venue.cancelling.append("busy")
    assert (await cancel(work.desk, order)).state is State.CANCELLED


async def test_a_venue_that_does_not_answer_is_looked_at_less_often(work: Workplace) -> None:
    order = await work.place()
    looks = 0

    async def silent(*_: object) -> None:
        nonlocal looks
        looks += 1
        raise NoAnswer("bitbank", "503")

    work.venue.order = silent  # type: ignore[assignment, method-assign]
    await follow(work.desk, order, 5.0)
    assert looks == 2


async def test_a_cancel_that_never_works_leaves_the_order_in_flight(work: Workplace) -> None:
    work.venue.cancelling.extend(["fail"] * 10)
    order = await cancel(work.desk, await work.place())
    assert order.state is State.CANCEL_SENT
    assert work.venue.requests["cancel"] == 3
    assert work.ledger.in_flight("bitbank") == (order,)


async def test_a_fill_during_the_cancel_is_recorded_as_a_fill(work: Workplace) -> None:
    work.venue.cancelling.append("fill_first")
    order = await cancel(work.desk, await work.place())
    assert (order.state, len(order.fills)) == (State.FILLED, 1)


async def test_a_partial_fill_before_the_cancel_stays_with_the_cancelled_order(work: Workplace) -> None:
    work.venue.placing.append("half")
    order = await cancel(work.desk, await work.place())
    assert (order.state, order.filled, len(order.fills)) == (State.CANCELLED, Decimal("0.001"), 1)


async def test_an_order_that_another_process_ended_is_not_cancelled_again(work: Workplace) -> None:
    order = await work.place()
    await cancel(work.desk, order)
    work.venue.requests.clear()
    assert (await cancel(work.desk, order)).state is State.CANCELLED
    assert not work.venue.requests
