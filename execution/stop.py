"""The emergency stop: latch, cancel everything, read until the venues show nothing, say what is left.

Plain functions, no Prefect, from any process. All venues at once; one that fails hides none of the others.
Nothing here waits for the trader: the latch keeps it from placing, the venue's own answer says whether that
held.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from exchanges.base import Exchange
from exchanges.errors import OrderNotFound, VenueError
from execution.desk import absence_after
from execution.flatten import flatten
from execution.latch import kill_switch as kill_switch
from execution.latch import set_latch
from services.clock import Clock
from services.ledger import Lease, Ledger, LedgerUnavailable
from trading.market import Position
from trading.money import ZERO
from trading.orders import TERMINAL, Event, Order, State, VenueOrder

log = logging.getLogger(__name__)

_ROUNDS = 14
_LONGEST_PAUSE_SECONDS = 5.0
_PATIENCE_SECONDS = 35.0  # the widest request window of the venues (OKJ 30 s): later copies are refused by the venue
_UNSEEN = frozenset({State.INTENDED, State.SENT, State.UNKNOWN})


@dataclass(frozen=True)
class StopTarget:
    """One venue account to stop. `symbols`: the configured ones; those in flight in the ledger are added.

    `lease`: the trader's own, when it stops itself; `clock`: this venue's market time, where it has its own.
    """

    account: str
    exchange: Exchange
    symbols: tuple[str, ...]
    lease: Lease | None = None
    clock: Clock | None = None
    order_lifetime_minutes: int = 60


@dataclass(frozen=True)
class VenueStop:
    """What the stop came to at one venue.

    `cancelled`: ids that were open and are no longer listed; `left`: open when last seen. `verified`: the
    venue was read until it showed no open order, more than once.
    """

    account: str
    cancelled: tuple[str, ...]
    left: tuple[VenueOrder, ...]
    positions: tuple[Position, ...]
    verified: bool
    problems: tuple[str, ...]
    flat_as_asked: bool = True

    @property
    def is_clean(self) -> bool:
        return self.verified and not self.left and self.flat_as_asked


@dataclass(frozen=True)
class StopReport:
    """The whole stop. `latched`: the kill switch holds, in the ledger or by a file under home."""

    by: str
    reason: str
    at: datetime
    latched: bool
    venues: tuple[VenueStop, ...]
    problems: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Nothing is left in any market, every venue has shown it, and nothing new can be placed."""
        return self.latched and all(venue.is_clean for venue in self.venues)


@dataclass
class _Stopping:
    """One account while it is being stopped."""

    target: StopTarget
    ledger: Ledger | None
    clock: Clock
    seen: set[str] = field(default_factory=set)  # ids that a list of open orders has shown
    ended: set[str] = field(default_factory=set)  # ids that were read as ended
    left: dict[str, tuple[VenueOrder, ...]] = field(default_factory=dict)
    problems: Counter[str] = field(default_factory=Counter)

    @property
    def looks_needed(self) -> int:
        """Empty lists that make a proof; more without the ledger, which tells what is on its way."""
        return 2 if self.ledger is not None else 4

    def told_problems(self) -> tuple[str, ...]:
        """Each problem once, and how often it came up."""
        return tuple(text if times == 1 else f"{text} ({times} times)" for text, times in self.problems.items())

    def note(self, doing: str, error: Exception) -> None:
        self.problems[f"{doing}: {error}"] += 1
        log.warning("%s: %s: %s", self.target.account, doing, error)


async def stop_all(
    accounts: Sequence[StopTarget],
    ledger: Ledger | None,
    clock: Clock,
    by: str,
    reason: str,
    close_positions: bool = False,
    *,
    home: Path | None = None,
    latch: bool = True,
) -> StopReport:
    """Latch the kill switch of every account, cancel all orders at all venues, and prove by reading that
    none is left. A trader that ends by itself leaves the switch as it is (`latch=False`): it places no more.

    Works without a ledger (None, or one that does not answer): the latch is then a file under `home`.
    Positions are reported, and closed by reduce-only market orders if `close_positions`. Never raises for
    what a venue or the ledger does; what went wrong stands in the report. Per symbol: 1 cancel-all, at least
    3 lists of open orders, 1 fills and 1 positions; cancelling draws on the reserved share of the budget.
    """
    latched = True
    problems: list[str] = []
    for target in accounts if latch else ():
        try:
            problems += set_latch(home, ledger, target.account, reason, by, clock.now())
        except (LedgerUnavailable, OSError) as error:
            latched = False
            problems.append(f"the kill switch of {target.account} could not be latched: {error}")
    venues = await asyncio.gather(
        *(_stop_one(target, ledger, target.clock or clock, by, close_positions) for target in accounts)
    )
    return StopReport(
        by=by, reason=reason, at=clock.now(), latched=latched, venues=tuple(venues), problems=tuple(problems)
    )


async def _stop_one(
    target: StopTarget, ledger: Ledger | None, clock: Clock, by: str, close_positions: bool
) -> VenueStop:
    stopping = _Stopping(target, ledger, clock)
    verified, flat = False, not close_positions
    positions: tuple[Position, ...] = ()
    try:
        in_flight = _in_flight(stopping)
        symbols = dict.fromkeys((*target.symbols, *(order.intent.symbol for order in in_flight)))
        proofs = await asyncio.gather(*(_clear(stopping, symbol) for symbol in symbols))
        verified = all(proofs)
        for symbol in symbols:
            await _write_down(stopping, symbol)
        positions, flat = await flatten(target, ledger, clock, tuple(symbols), by, close_positions, stopping.note)
    except Exception as error:  # a defect at one venue must not keep the others from being reported
        log.exception("%s: the stop failed", target.account)
        stopping.problems[f"the stop itself failed: {type(error).__name__}: {error}"] += 1
        verified = False
    left = tuple(order for orders in stopping.left.values() for order in orders)
    still_there = {order.venue_order_id for order in left}
    return VenueStop(
        account=target.account,
        cancelled=tuple(sorted(stopping.seen - still_there)),
        left=left,
        positions=positions,
        verified=verified,
        problems=stopping.told_problems(),
        flat_as_asked=flat,
    )


async def _clear(stopping: _Stopping, symbol: str) -> bool:
    """Cancel and read until the symbol's list has been empty more than once; True when that is proved."""
    exchange, pause, empty, asked = stopping.target.exchange, 0.5, 0, False
    for _ in range(_ROUNDS):
        listed = await _list(stopping, symbol)
        empty = empty + 1 if listed == () else 0
        if asked and empty >= stopping.looks_needed and not await _may_still_appear(stopping, symbol):
            return True
        if listed != () or not asked:
            await _cancel(stopping, symbol, listed or ())
            asked = True
        await stopping.clock.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    if not stopping.left.get(symbol):
        stopping.problems[f"{exchange.name} {symbol}: not proved that no order is left"] += 1
    return False


async def _list(stopping: _Stopping, symbol: str) -> tuple[VenueOrder, ...] | None:
    """The symbol's open orders, None when they could not be read."""
    try:
        listed = await stopping.target.exchange.open_orders(symbol)
    except VenueError as error:
        stopping.note(f"open orders of {symbol}", error)
        return None
    stopping.seen |= {order.venue_order_id for order in listed}
    stopping.left[symbol] = listed
    return listed


async def _cancel(stopping: _Stopping, symbol: str, listed: Sequence[VenueOrder]) -> None:
    """Ask for the cancel of everything; where that fails, of each order by itself."""
    exchange = stopping.target.exchange
    try:
        await exchange.cancel_all(symbol)
        return
    except VenueError as error:
        stopping.note(f"cancel all of {symbol}", error)
    for order in listed:
        try:
            await exchange.cancel(symbol, order.venue_order_id)
        except VenueError as error:
            stopping.note(f"cancel of {order.venue_order_id}", error)


def _in_flight(stopping: _Stopping) -> tuple[Order, ...]:
    if stopping.ledger is None:
        return ()
    try:
        return stopping.ledger.in_flight(stopping.target.account)
    except LedgerUnavailable as error:
        stopping.note("orders in flight", error)
        return ()


async def _may_still_appear(stopping: _Stopping, symbol: str) -> bool:
    """Whether an order of ours that no list has shown may yet come up: sent not too long ago, end not seen.

    Costs 1 request for each order that was accepted a moment ago and is not listed.
    """
    now, target = stopping.clock.now(), stopping.target
    for order in _in_flight(stopping):
        number = order.venue_order_id
        if order.intent.symbol != symbol or number in stopping.seen or number in stopping.ended:
            continue
        bound = absence_after(
            target.exchange.name,
            _PATIENCE_SECONDS,
            order_lifetime_minutes=target.order_lifetime_minutes,
            accepted=number is not None,
        )
        if now >= (order.sent_at or order.intent.decided_at) + bound:
            continue
        if number is None or not await _has_ended(stopping, symbol, number):
            return True
    return False


async def _has_ended(stopping: _Stopping, symbol: str, venue_order_id: str) -> bool:
    try:
        told = await stopping.target.exchange.order(symbol, venue_order_id)
    except OrderNotFound:
        return False  # not visible yet
    except VenueError as error:
        stopping.note(f"order {venue_order_id}", error)
        return False
    if told.state in TERMINAL:
        stopping.ended.add(venue_order_id)
    return told.state in TERMINAL


async def _write_down(stopping: _Stopping, symbol: str) -> None:
    """Record how our own orders ended: fills since the oldest of them, then filled or cancelled. 1 request.

    Only where the list was proved empty; what this cannot settle, the next reconcile does.
    """
    ledger, account = stopping.ledger, stopping.target.account
    ours = [
        order
        for order in _in_flight(stopping)
        if order.intent.symbol == symbol and order.venue_order_id is not None and order.state not in _UNSEEN
    ]
    if ledger is None or not ours or stopping.left.get(symbol) != ():
        return
    try:
        since = min(order.sent_at or order.intent.decided_at for order in ours) - timedelta(minutes=2)
        ledger.record_fills(
            account,
            [
                fill
                for fill in await stopping.target.exchange.fills(symbol, since=since)
                if any(order.venue_order_id == fill.venue_order_id for order in ours)
            ],
            stopping.clock.now(),
        )
        for before in ours:
            order = ledger.order(account, before.intent.client_order_id) or before
            filled = max(order.filled, sum((fill.quantity for fill in order.fills), ZERO))
            whole = filled >= order.intent.quantity
            ledger.record(
                account,
                order.intent.client_order_id,
                Event.SEEN_FILLED if whole else Event.SEEN_CANCELLED,
                stopping.clock.now(),
                filled=filled,
                note="emergency stop: no longer open at the venue",
            )
    except (VenueError, LedgerUnavailable) as error:
        stopping.note(f"writing down the end of {symbol}", error)
