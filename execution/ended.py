"""After the stop: write down how the orders that it ended came out, filled or cancelled, with their fills.

The market is empty by now, so this takes its time only up to a point: what is not written, the next reconcile writes.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal

from exchanges.errors import VenueError
from execution.clearing import Stopping
from services.ledger import Ledger, LedgerConflict, LedgerUnavailable
from trading.money import ZERO
from trading.orders import SEEN, TERMINAL, Event, Fill, IllegalTransition, Order, State, VenueOrder

_SECONDS = 5.0  # of the wall; on a small budget twenty orders would take minutes
_UNSEEN = frozenset({State.INTENDED, State.SENT, State.UNKNOWN})
_BEFORE = timedelta(minutes=2)


async def record_ends(stopping: Stopping, symbol: str) -> None:
    """Record the symbol's fills, then how each order of ours ended, as the order itself tells.

    Costs 1 request for the fills, and 1 for each order that they do not show to be filled. Orders by hand are looked at
    only for the report, where a fill is theirs.
    """
    if stopping.left.get(symbol) != ():
        return
    orders = [order for order in await stopping.in_flight() or () if order.intent.symbol == symbol]
    ours = {order.venue_order_id: order for order in orders if order.venue_order_id and order.state not in _UNSEEN}
    foreign = [told for told in stopping.seen.values() if told.symbol == symbol and told.venue_order_id not in ours]
    if not ours and not foreign:
        return
    waiting = dict.fromkeys(ours)
    try:
        async with asyncio.timeout(_SECONDS):
            fills = await _fills(stopping, symbol, list(ours.values()))
            await stopping.books.ask(
                lambda ledger: ledger.record_fills(
                    stopping.account, [fill for fill in fills if fill.venue_order_id in ours], stopping.clock.now()
                )
            )
            sums = _sums(fills)
            for number, order in ours.items():
                await _record_end(stopping, order, str(number), sums.get(str(number), ZERO))
                waiting.pop(number)
            for told in foreign:
                if told.venue_order_id in sums and await _state_of(stopping, told) is State.FILLED:
                    stopping.filled.add(told.venue_order_id)
    except TimeoutError:
        pass  # told below
    except (VenueError, LedgerUnavailable, OSError) as error:
        stopping.note(f"writing down the end of {symbol}", error)
    if waiting:
        stopping.problems[f"{symbol}: the next reconcile writes down how {len(waiting)} orders ended"] += 1


async def _fills(stopping: Stopping, symbol: str, ours: Sequence[Order]) -> tuple[Fill, ...]:
    moments = [order.sent_at or order.intent.decided_at for order in ours]
    since = min((stopping.began, *moments)) - _BEFORE
    return await stopping.exchange.fills(symbol, since=since)


def _sums(fills: Sequence[Fill]) -> Mapping[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for fill in fills:
        sums[fill.venue_order_id] = sums.get(fill.venue_order_id, ZERO) + fill.quantity
    return sums


async def _record_end(stopping: Stopping, order: Order, number: str, in_fills: Decimal) -> None:
    filled = max(order.filled, in_fills)
    if filled >= order.intent.quantity:
        event = Event.SEEN_FILLED
    else:
        # Lists of fills lag: the order itself says whether it was cancelled or filled while being cancelled.
        told = await stopping.exchange.order(order.intent.symbol, number)
        filled = max(filled, told.filled)
        event = SEEN[told.state] if told.state in TERMINAL else Event.CANCEL_SENT
    if event is Event.SEEN_FILLED:
        stopping.filled.add(number)

    def record(ledger: Ledger) -> None:
        ledger.record(
            stopping.account,
            order.intent.client_order_id,
            event,
            stopping.clock.now(),
            filled=filled,
            note="emergency stop: no longer open at the venue",
        )

    try:
        await stopping.books.ask(record)
    except (LedgerConflict, IllegalTransition) as error:  # about this order alone: a person, or reconcile, must look
        stopping.note(f"writing down the end of {number}", error)


async def _state_of(stopping: Stopping, told: VenueOrder) -> State:
    return (await stopping.exchange.order(told.symbol, told.venue_order_id)).state
