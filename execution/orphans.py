"""Orders that rest at the venue and are not in the ledger: a person's, another program's, or ours from a lost ledger.

`execution.orphans` says what becomes of them. alert: they stay, and nothing new is placed while they rest. cancel: they
are cancelled. adopt: they are written into the ledger as orders of the bot; the next cycle takes them back as it does
with every order of its own, and their fills count as its own.
"""

import logging
from collections.abc import Sequence

from exchanges.errors import VenueError
from execution.desk import Desk
from execution.follow import note_seen, with_its_fills
from trading.certificates import ADOPTED
from trading.identifiers import client_order_id
from trading.money import ZERO
from trading.orders import Event, OrderIntent, TimeInForce, VenueOrder

log = logging.getLogger(__name__)

_REASON = "adopted: it rested at the venue and was not in the ledger"


async def treat_orphans(
    desk: Desk, symbol: str, orphans: Sequence[VenueOrder], listed: tuple[VenueOrder, ...]
) -> tuple[VenueOrder, ...]:
    """Do with the orphans what the settings say; return the list of open orders as it is then.

    A cancel that fails is told in the log and tried again by the next reconcile. Costs nothing for alert; 1 request an
    orphan and 1 list for cancel; 1 request for each adopted order that is partly filled. Raises the errors of the
    ledger, and of exchanges for the reads.
    """
    policy = desk.settings.orphans
    if policy == "adopt":
        for told in orphans:
            await adopt(desk, told, _REASON)
    if policy != "cancel":
        return listed
    for told in orphans:
        log.warning("%s: cancelling %s, which is not in the ledger", desk.account, told.venue_order_id)
        try:
            await desk.exchange.cancel(symbol, told.venue_order_id)
        except VenueError as error:
            log.warning("%s: cancel of %s: %s", desk.account, told.venue_order_id, error)
    return await desk.exchange.open_orders(symbol)


async def adopt(desk: Desk, told: VenueOrder, reason: str, *, keep_client_order_id: bool = False) -> bool:
    """Write the venue's order down as one of ours. False where the books would then count a fill twice or an id again.

    `keep_client_order_id`: it bears an id that we made; else it gets one. Costs 1 request where it has fills.
    """
    opening = desk.ledger.opening(desk.account)
    filled_before_the_opening = told.filled > 0 and (opening is None or told.created_at < opening[1])
    has_our_id = told.client_order_id is not None and desk.ledger.order(desk.account, told.client_order_id) is not None
    if filled_before_the_opening or has_our_id:
        return False  # it stays an orphan: a person decides
    now = desk.clock.now()
    own_id = told.client_order_id if keep_client_order_id else None
    intent = OrderIntent(
        client_order_id=own_id or client_order_id(desk.account, f"adopted {now.isoformat()}", told.venue_order_id),
        venue=desk.exchange.name,
        symbol=told.symbol,
        side=told.side,
        type=told.type,
        quantity=told.quantity,
        price=told.price,
        time_in_force=TimeInForce.GOOD_TILL_CANCELLED,
        decision_price=told.price or told.average_price or ZERO,
        decided_at=told.created_at,
        reason=reason,
    )
    name, account = intent.client_order_id, desk.account
    desk.ledger.write_intent(intent, desk.lease, rung=ADOPTED, cycle_id=None, known_ids=frozenset(), now=now)
    # It was sent, if not by us: should this process end between the lines, it is looked for like any other.
    desk.ledger.record(account, name, Event.SENT, now)
    order = desk.ledger.record(account, name, Event.ACKED, now, venue_order_id=told.venue_order_id)
    log.warning("%s: adopted %s as %s", account, told.venue_order_id, name)
    await with_its_fills(desk, note_seen(desk, order, told))
    return True
