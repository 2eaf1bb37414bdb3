"""Read what became of an order, and write down what the venue tells."""

import logging

from exchanges.errors import Busy, NoAnswer, OrderNotFound
from execution.desk import Desk
from trading.money import ZERO
from trading.orders import SEEN, Order, VenueOrder

log = logging.getLogger(__name__)

_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 8.0


async def follow(desk: Desk, order: Order, seconds: float) -> Order:
    """Read the order until it has ended or `seconds` of market time are over; record its state and its fills.

    Waits double from 0.5 s to 8 s between looks. A look that fails (no answer, busy, not listed yet) is
    logged and repeated, after the longest wait where the venue did not answer; the returned order is what the
    ledger then knows. An order without a venue id cannot be read: reconcile finds it. Costs 1 request a look,
    and 1 more when it was filled.
    """
    began = desk.clock.now()
    wait = _FIRST_WAIT_SECONDS
    while order.venue_order_id is not None and not order.is_finished:
        try:
            order = await look(desk, order)
        except (NoAnswer, Busy, OrderNotFound) as error:
            log.warning("%s: order %s could not be read: %s", desk.account, order.venue_order_id, error)
            if not isinstance(error, OrderNotFound):
                wait = _LONGEST_WAIT_SECONDS  # a venue in trouble is asked less often, not more
        now = desk.clock.now()
        began = min(began, now)  # of a clock that was set back only the time since counts
        left = seconds - (now - began).total_seconds()
        if order.is_finished or left <= 0:
            break
        await desk.clock.sleep(min(wait, left))
        wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
    # Its end may have been read and recorded, and only its fills not.
    return desk.ledger.order(order.account, order.intent.client_order_id) or order


async def look(desk: Desk, order: Order) -> Order:
    """Read one order once and record what is new, its fills included.

    Raises the errors of exchanges; OrderNotFound proves nothing. Costs 1 request, and 1 more when it was
    filled.
    """
    if order.venue_order_id is None:
        raise ValueError(f"order {order.intent.client_order_id} has no venue id to read it by")
    told = await desk.exchange.order(order.intent.symbol, order.venue_order_id)
    return await with_its_fills(desk, note_seen(desk, order, told))


def note_seen(desk: Desk, order: Order, told: VenueOrder, note: str = "") -> Order:
    """Record what the venue told about the order, where it is news. No request."""
    return desk.ledger.record(
        order.account,
        order.intent.client_order_id,
        SEEN[told.state],
        desk.clock.now(),
        venue_order_id=told.venue_order_id,
        filled=told.filled,
        note=note,
    )


async def with_its_fills(desk: Desk, order: Order) -> Order:
    """The order with every fill that the venue lists for it, read only while fills are missing. Costs 0 or 1
    request.

    Fill lists may lag behind the order; reconcile asks again while the sum is short.
    """
    if order.venue_order_id is None or not lacks_fills(order):
        return order
    fills = await desk.exchange.fills(order.intent.symbol, venue_order_id=order.venue_order_id)
    desk.ledger.record_fills(order.account, fills, desk.clock.now())
    return desk.ledger.order(order.account, order.intent.client_order_id) or order


def lacks_fills(order: Order) -> bool:
    """Whether more is filled than the ledger holds fills for."""
    return order.filled > sum((fill.quantity for fill in order.fills), ZERO)
