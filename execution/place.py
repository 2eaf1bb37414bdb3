"""Place an order: written first, sent once, and whatever comes of it is written again.

    intent committed -> SENT committed -> one request -> ACKED | REFUSED | NO_ANSWER committed

There is no retry here and none below. A process that ends between the steps leaves INTENDED (never sent) or
SENT (outcome unknown), and the next reconcile settles it.
"""

import logging

from exchanges.errors import Busy, NoAnswer, Refused
from exchanges.leaving import written_down
from execution.desk import Desk, see_through
from execution.latch import kill_switch
from services.ledger import LedgerUnavailable
from trading.certificates import ADOPTED
from trading.orders import Event, Order, OrderIntent, State
from trading.risk import Approved

log = logging.getLogger(__name__)

# Asked for, and the venue's answer not in the ledger: the symbol waits for reconcile.
_UNSETTLED = frozenset({State.INTENDED, State.SENT, State.UNKNOWN})


class PlacementHeld(Exception):
    """Nothing was written and nothing was sent; the message says what must be settled first."""


async def place(desk: Desk, approved: Approved, *, cycle_id: str | None, known_ids: frozenset[str]) -> Order:
    """Write the approved intent down, send it exactly once, and return the order as the ledger then knows it.

    The state tells the outcome: OPEN (accepted), REJECTED (the venue said no, or was busy; see `note`),
    UNKNOWN (no answer heard; the symbol is blocked until reconcile has proved what became of it). An intent
    that is already in the ledger is not sent again: its order is returned. `known_ids` is the baseline of
    venue order ids that are not this order (`Reconciliation.known_ids`). Costs 1 request.

    Raises PlacementHeld before anything is sent (kill switch, unsettled order), LeaseLost (after the send: the
    account's new holder settles the order), CertificateRefused (no valid
    certificate covers the order; nothing is written), LedgerUnavailable
    (before the send: nothing was sent; after it: the order stays SENT in the ledger and the next reconcile
    finds it).
    """
    # Before anything is written: an order that is down as sent and then waits for the budget could leave after an
    # emergency stop has proved the market empty.
    await desk.exchange.room_for_an_order()
    return await see_through(_in_turn(desk, approved, cycle_id, known_ids))


async def _in_turn(desk: Desk, approved: Approved, cycle_id: str | None, known_ids: frozenset[str]) -> Order:
    intent = approved.intent
    async with desk.turn:
        if (known := desk.ledger.order(desk.account, intent.client_order_id)) is not None:
            return _already_known(known, intent)
        _refuse_when_held(desk, intent)
        write_intent(desk, approved, cycle_id=cycle_id, known_ids=known_ids)
        if (latch := kill_switch(desk.home, desk.ledger, desk.account)) is not None:
            # Pulled since we asked: a stop that saw no order then sees this one, or we see its switch. One of the two.
            why = f"not sent: the kill switch was latched by {latch.by} ({latch.reason})"
            return _recorded(desk, intent, Event.ABANDONED, note=why)
        with written_down():
            _recorded(desk, intent, Event.SENT)
            return await send_once(desk, intent)


def write_intent(desk: Desk, approved: Approved, *, cycle_id: str | None, known_ids: frozenset[str]) -> None:
    """Commit the intent. Raises LeaseLost, CertificateRefused, LedgerUnavailable; then nothing may be sent."""
    if approved.certificate_rung == ADOPTED:
        raise PlacementHeld("an adopted order rests at the venue already; it is never sent")
    desk.ledger.write_intent(
        approved.intent,
        desk.lease,
        rung=approved.certificate_rung,
        cycle_id=cycle_id,
        known_ids=known_ids,
        now=desk.clock.now(),
        certificate=approved.certificate,
        own_cap=approved.own_cap,
        running=desk.running,
    )


async def send_once(desk: Desk, intent: OrderIntent) -> Order:
    """Send what has been committed as SENT, once, and record what came of it; `place` and the emergency stop
    come here.
    """
    try:
        venue_order_id = await desk.exchange.place(intent)
        if not venue_order_id:
            raise NoAnswer(desk.exchange.name, "the answer to the order holds no order id")
    except (Refused, Busy) as error:
        return _recorded(desk, intent, Event.REFUSED, note=str(error))
    except NoAnswer as error:
        return _not_heard(desk, intent, str(error))
    except BaseException as error:
        # A defect, or the end of the process while the request was out: the venue may have the order.
        _not_heard(desk, intent, f"{type(error).__name__} while the order was on its way")
        raise
    try:
        return _recorded(desk, intent, Event.ACKED, venue_order_id=venue_order_id)
    except LedgerUnavailable:
        log.critical(
            "%s accepted order %s as %s, and the ledger could not note it; it stays SENT until reconcile",
            desk.exchange.name,
            intent.client_order_id,
            venue_order_id,
        )
        raise


def _not_heard(desk: Desk, intent: OrderIntent, note: str) -> Order:
    log.warning("%s: order %s has an unknown outcome: %s", desk.account, intent.client_order_id, note)
    return _recorded(desk, intent, Event.NO_ANSWER, note=note)


def _recorded(
    desk: Desk, intent: OrderIntent, event: Event, *, venue_order_id: str | None = None, note: str = ""
) -> Order:
    """Record what became of our own request, as long as the account is ours: a process that woke behind its lease has
    nothing to add to what its successor has found out.
    """
    return desk.ledger.record(
        desk.account,
        intent.client_order_id,
        event,
        desk.clock.now(),
        venue_order_id=venue_order_id,
        note=note,
        lease=desk.lease,
    )


def _already_known(known: Order, intent: OrderIntent) -> Order:
    then = known.intent
    if (then.symbol, then.side, then.quantity) != (intent.symbol, intent.side, intent.quantity):
        raise PlacementHeld(
            f"client order id {intent.client_order_id} already belongs to "
            f"{then.side} {then.quantity} {then.symbol}; "
            f"{intent.side} {intent.quantity} {intent.symbol} needs an id of its own"
        )
    return known


def _refuse_when_held(desk: Desk, intent: OrderIntent) -> None:
    # Risk has asked too; between its answer and this line another process may have pulled the switch.
    if (latch := kill_switch(desk.home, desk.ledger, desk.account)) is not None:
        raise PlacementHeld(
            f"{desk.account}: the kill switch is latched by {latch.by} ({latch.reason}); re-arm it first"
        )
    unsettled = [order for order in desk.ledger.in_flight(desk.account, intent.symbol) if order.state in _UNSETTLED]
    if unsettled:
        told = ", ".join(f"{order.intent.client_order_id} ({order.state})" for order in unsettled)
        raise PlacementHeld(f"{desk.account} {intent.symbol}: not settled yet: {told}; reconcile first")
