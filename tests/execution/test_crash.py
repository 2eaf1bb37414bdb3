"""The process dies at every step of the order path; a new one reconciles and finds no difference."""

from collections.abc import Callable

import pytest

from execution.follow import follow
from tests.execution.conftest import Workplace
from tests.execution.venue import ScriptedVenue
from trading.orders import Event, State


class Killed(BaseException):
    """The process is gone: nothing after this runs."""


STEPS = [
    "before the intent",
    "after the intent",
    "before the request",
    "while the request is out, accepted",
    "while the request is out, filled",
    "after the answer, before it is written",
    "after the answer is written",
]


def die(*_: object, **__: object) -> None:
    raise Killed


def kill_at(work: Workplace, step: str) -> None:
    """Let the process die at a step; from there on neither ledger nor venue hear from it."""
    ledger, venue = work.ledger, work.venue
    write_intent, record, place = ledger.write_intent, ledger.record, venue.place

    def dead() -> None:
        for name in ("write_intent", "record", "record_fills"):
            setattr(ledger, name, die)
        raise Killed

    def writing(*arguments: object, **named: object) -> None:
        if step == "before the intent":
            dead()
        write_intent(*arguments, **named)  # type: ignore[arg-type]
        if step == "after the intent":
            dead()

    def recording(account: str, client_order_id: str, event: Event, *rest: object, **named: object) -> object:
        if event is Event.ACKED and step == "after the answer, before it is written":
            dead()
        order = record(account, client_order_id, event, *rest, **named)  # type: ignore[arg-type]
        if (event, step) in {
            (Event.SENT, "before the request"),
            (Event.ACKED, "after the answer is written"),
        }:
            dead()
        return order

    async def placing(intent: object) -> str:
        number = await place(intent)  # type: ignore[arg-type]
        if step == "while the request is out, filled":
            venue.fill(number)
        if step.startswith("while the request is out"):
            dead()
        return number

    ledger.write_intent = writing  # type: ignore[assignment, method-assign]
    ledger.record = recording  # type: ignore[assignment, method-assign]
    venue.place = placing  # type: ignore[assignment, method-assign]


def revive(work: Workplace, venue: ScriptedVenue) -> None:
    venue.__dict__.pop("place", None)
    work.restart()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("venue", ["bybit", "bitbank"])
async def test_after_a_crash_at_any_step_ledger_and_venue_agree(
    workplace: Callable[..., Workplace], venue: str, step: str
) -> None:
    work = workplace(name=venue, knows_client_ids=venue == "bybit")
    await work.reconcile()
    kill_at(work, step)
    with pytest.raises(Killed):
        await work.place()
    revive(work, work.venue)

    found = await work.reconcile()
    assert found.is_clean, found
    assert work.ledger.verify_chain() is None

    # The same cycle runs again: whatever exists at the venue exists once.
    order = await work.place()
    order = await follow(work.desk, order, 1.0)
    assert len(work.venue.booked) <= 1
    resting = {told.venue_order_id for told in work.venue.resting()}
    assert resting == {one.venue_order_id for one in work.ledger.in_flight(venue)}
    assert (await work.reconcile()).is_clean


async def test_an_intent_that_was_never_sent_is_abandoned_without_asking_the_venue(
    work: Workplace,
) -> None:
    await work.reconcile()
    kill_at(work, "after the intent")
    with pytest.raises(Killed):
        await work.place()
    revive(work, work.venue)
    work.venue.requests.clear()
    found = await work.reconcile()
    assert [order.state for order in found.orders_resolved] == [State.REJECTED]
    assert work.venue.requests == {"open_orders": 1, "balances": 1}
