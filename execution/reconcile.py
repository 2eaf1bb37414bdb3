"""Reconcile: settle every order that is in flight, and prove that the account's books add up.

The ledger is corrected from the venue, never the other way round. In the quiet case (nothing in flight,
nothing moved) it costs 2 requests: the open orders and the balances (a perpetual: the position too).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from execution.books import base_is_unexplained, compare_books, foreign_fills, record_missing_fills
from execution.desk import Desk
from execution.follow import note_seen
from execution.orphans import treat_orphans
from execution.search import Sought, conclude_absent, in_words, search
from execution.tally import instrument_of
from trading.market import Balance, Position
from trading.orders import Event, Fill, Order, State, VenueOrder
from trading.reconcile import Discrepancy, compare_open_orders

log = logging.getLogger(__name__)

_LIST_LAG_SECONDS = 2.0
_CLOCKS_DIFFER = timedelta(seconds=5)  # a fill bears the venue's time, an order ours
_BASELINE_REACH = timedelta(hours=1)  # how far back an id could be mistaken for a new order's


@dataclass(frozen=True)
class Reconciliation:
    """All that one reconcile found for one account and symbol. `known_ids` is the baseline for the next
    order.

    `orders_resolved`: orders that were in flight before and have ended, or whose unknown outcome is now known.
    `unknown`: orders that block the symbol; a human is called. `orphans`: open at the venue, not in the ledger, and
    left so (`execution.orphans`). `foreign_fills`: trades of this account that no order of ours made (by hand, or by
    another program).
    """

    account: str
    symbol: str
    at: datetime
    orders_resolved: tuple[Order, ...]
    unknown: tuple[Order, ...]
    orphans: tuple[VenueOrder, ...]
    discrepancies: tuple[Discrepancy, ...]
    open_orders: tuple[VenueOrder, ...]
    balances: Mapping[str, Balance]
    positions: tuple[Position, ...]
    known_ids: frozenset[str]
    new_fills: tuple[Fill, ...] = ()
    foreign_fills: tuple[Fill, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether ledger and venue agree, with nothing left to explain."""
        return not (self.unknown or self.orphans or self.discrepancies or self.foreign_fills)


async def reconcile(desk: Desk, symbol: str) -> Reconciliation:
    """Settle the symbol's orders in flight, record fills, find orphans, compare the books; say everything.

    Every start and every cycle begins with this. An order of unknown outcome is looked for here until found
    or until `unknown_patience` is over, so this may take that long. Needs the account's lease: two processes
    that settle the same orders contradict each other.

    Costs 2 requests in the quiet case (perpetual 3, bitFlyer's 4); 1 more for fills when something was
    filled; 1 or 2 for each order in flight that the venue does not list; for an unknown order what `search`
    says, and 1 or 2 before it is called absent; for a difference in the books what `compare_books` says; for
    an orphan what `treat_orphans` says. Raises the errors of exchanges and of the
    ledger; what was recorded until then stays.
    """
    async with desk.turn:
        before = _settle_leftovers(desk, symbol)
        listed = await desk.exchange.open_orders(symbol)
        unlisted = _note_listed(desk, before, listed)
        sought = await search(desk, unlisted)
        was_searched = any(order.state is State.UNKNOWN for order in unlisted)
        new_fills = await record_missing_fills(desk, symbol, even_if_none_missing=was_searched)
        books = await compare_books(desk, symbol)
        unknown, discrepancies = await _conclude(desk, sought, books.discrepancies)
        if _resting_though_ended(desk, listed):
            await desk.clock.sleep(_LIST_LAG_SECONDS)  # lists lag: a second look decides
            listed = await desk.exchange.open_orders(symbol)
        discrepancies += _resting_though_ended(desk, listed)
        orphans = tuple(told for told in listed if _ours(desk, told) is None)
        if orphans and not unknown:  # else one of them may be the order that is looked for
            listed = await treat_orphans(desk, symbol, orphans, listed)
        new_fills += books.new_fills
        result = Reconciliation(
            account=desk.account,
            symbol=symbol,
            at=desk.clock.now(),
            orders_resolved=_resolved(desk, before),
            unknown=unknown,
            orphans=tuple(told for told in listed if _ours(desk, told) is None),
            discrepancies=discrepancies,
            open_orders=listed,
            balances=books.balances,
            positions=books.positions,
            known_ids=_baseline(desk, symbol, listed),
            new_fills=new_fills,
            foreign_fills=foreign_fills(desk, new_fills),
        )
    _tell(result)
    return result


def _settle_leftovers(desk: Desk, symbol: str) -> tuple[Order, ...]:
    """Orders in flight, after what an ended process left between two steps has got its proper state. No
    request.
    """
    orders = []
    for order in desk.ledger.in_flight(desk.account, symbol):
        client_order_id = order.intent.client_order_id
        if order.state is State.INTENDED:
            # SENT is committed before the request leaves, so this one never left.
            order = desk.ledger.record(
                desk.account,
                client_order_id,
                Event.ABANDONED,
                desk.clock.now(),
                note="intended, never sent: the process ended before",
            )
        elif order.state is State.SENT:
            order = desk.ledger.record(
                desk.account,
                client_order_id,
                Event.NO_ANSWER,
                desk.clock.now(),
                note="sent, the answer is not in the ledger: the process or the ledger failed in between",
            )
        orders.append(order)
    return tuple(orders)


def _note_listed(desk: Desk, orders: Sequence[Order], listed: Sequence[VenueOrder]) -> tuple[Order, ...]:
    """Record what the list of open orders says of ours; return those in flight that it does not show. No
    request.
    """
    by_id = {told.venue_order_id: told for told in listed}
    by_client_id = {told.client_order_id: told for told in listed if told.client_order_id is not None}
    unlisted = []
    for order in orders:
        if order.is_finished:
            continue
        told = by_id.get(order.venue_order_id or "") or by_client_id.get(order.intent.client_order_id)
        if told is None:
            unlisted.append(order)
        else:
            note_seen(desk, order, told)
    return tuple(unlisted)


async def _conclude(
    desk: Desk, sought: Sought, differences: tuple[Discrepancy, ...]
) -> tuple[tuple[Order, ...], tuple[Discrepancy, ...]]:
    """Call those orders absent that were found nowhere, unless the books show a change that may be theirs."""
    unknown, discrepancies = list(sought.unknown), [*sought.discrepancies, *differences]
    instruments = await desk.exchange.instruments()
    for order in sought.nowhere:
        doubt = ""
        if alike := _fills_that_may_be(desk, order):
            ids = ", ".join(fill.venue_order_id for fill in alike)
            doubt = f"fills of {ids}, which may be this order"
        elif base_is_unexplained(order, instrument_of(order.intent.symbol, instruments), differences):
            doubt = "a change that may be this order's"
        elif not (status := await desk.exchange.status(order.intent.symbol)).trading:
            # A venue in trouble may work off what it has taken when the trouble is over.
            doubt = f"a venue that is not trading ({status.state})"
        if not doubt:
            conclude_absent(desk, order)
            continue
        discrepancies.append(
            Discrepancy(
                kind="unproved_order",
                subject=order.intent.client_order_id,
                expected="books that agree, at a venue that trades, once the order is found nowhere",
                found=f"{in_words(order)} found nowhere, but {doubt}",
            )
        )
        unknown.append(order)
    return tuple(unknown), tuple(discrepancies)


def _fills_that_may_be(desk: Desk, order: Order) -> tuple[Fill, ...]:
    """Fills of no order of ours that this one, whose id at the venue nobody knows, could have made. No request."""
    intent = order.intent
    if order.venue_order_id is not None:
        return ()
    since = (order.sent_at or intent.decided_at) - _CLOCKS_DIFFER
    return tuple(
        fill
        for fill in foreign_fills(desk, desk.ledger.fills(desk.account, intent.symbol, since=since))
        if fill.side is intent.side
        and fill.quantity <= intent.quantity
        and (intent.price is None or (fill.price - intent.price) * intent.side.sign <= 0)
    )


def _resting_though_ended(desk: Desk, listed: Sequence[VenueOrder]) -> tuple[Discrepancy, ...]:
    ours = [order for told in listed if (order := _ours(desk, told)) is not None]
    return compare_open_orders(ours, [told for told in listed if _ours(desk, told) is not None])


def _ours(desk: Desk, told: VenueOrder) -> Order | None:
    return desk.ledger.order_by_venue_id(desk.account, told.venue_order_id)


def _resolved(desk: Desk, before: Sequence[Order]) -> tuple[Order, ...]:
    resolved = []
    for then in before:
        order = desk.ledger.order(then.account, then.intent.client_order_id) or then
        was_unknown = then.state is State.UNKNOWN and order.state is not State.UNKNOWN
        if order.is_finished or was_unknown:
            resolved.append(order)
    return tuple(resolved)


def _baseline(desk: Desk, symbol: str, listed: Sequence[VenueOrder]) -> frozenset[str]:
    """Venue ids that no future order of ours can have; the ledger adds those of all our other orders by
    itself.
    """
    recent = desk.ledger.fills(desk.account, symbol, since=desk.clock.now() - _BASELINE_REACH)
    return frozenset(told.venue_order_id for told in listed) | {fill.venue_order_id for fill in recent}


def _tell(result: Reconciliation) -> None:
    for orphan in result.orphans:
        log.warning(
            "%s: order %s (%s %s %s) is open at the venue and not in the ledger",
            result.account,
            orphan.venue_order_id,
            orphan.side,
            orphan.remaining,
            orphan.symbol,
        )
    for fill in result.foreign_fills:
        log.warning(
            "%s: fill %s (%s %s %s at %s) is of no order of ours: somebody else trades this account",
            result.account,
            fill.id,
            fill.side,
            fill.quantity,
            fill.symbol,
            fill.price,
        )
    for discrepancy in result.discrepancies:
        log.warning("%s %s: %s", result.account, result.symbol, discrepancy)
