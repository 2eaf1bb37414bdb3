"""Cancel an order. The answer to the cancel is never the end: the order's own state is."""

import logging

from exchanges.errors import Busy, VenueError
from execution.desk import Desk
from execution.follow import follow
from trading.orders import Event, Order, State

log = logging.getLogger(__name__)

_ATTEMPTS = 3
_LOOK_SECONDS = 4.0
_CANCELLABLE = frozenset({State.OPEN, State.PARTIALLY_FILLED, State.CANCEL_SENT})


async def cancel(desk: Desk, order: Order) -> Order:
    """Ask for the cancel and read the order until it has ended; ask again (3 times at most) while it still
    rests.

    A refused, failed or lost cancel is noted and repeated: what the order itself says decides. Fills that
    came in between are recorded. The returned order may still be CANCEL_SENT (bitFlyer takes its time):
    reconcile goes on from there. An order of unknown outcome, or one that has ended, is returned as it is.
    Costs 2 requests where all goes well.
    """
    for _ in range(_ATTEMPTS):
        # Another process (the emergency stop) may have ended it meanwhile.
        order = desk.ledger.order(order.account, order.intent.client_order_id) or order
        if order.state not in _CANCELLABLE or order.venue_order_id is None:
            break
        order = desk.ledger.record(order.account, order.intent.client_order_id, Event.CANCEL_SENT, desk.clock.now())
        try:
            await desk.exchange.cancel(order.intent.symbol, str(order.venue_order_id))
        except Busy as error:
            # Certainly not done, and the venue has no time: looking would only ask more of it.
            log.warning("%s: cancel of %s: %s", desk.account, order.venue_order_id, error)
            await desk.clock.sleep(_LOOK_SECONDS)
            continue
        except VenueError as error:
            log.warning("%s: cancel of %s: %s", desk.account, order.venue_order_id, error)
        order = await follow(desk, order, _LOOK_SECONDS)
    return order
