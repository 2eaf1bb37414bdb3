"""The emergency stop: latch, cancel everything, read until the venues show nothing, say what is left.

Plain functions, no Prefect, from any process. All venues and symbols at once; one that fails, or hangs, holds up
none of the others. Nothing here waits for the trader or for the ledger: the latch keeps the trader from placing, the
venue's own answer says whether that held. docs/emergency-stop.md tells the whole.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from exchanges.base import Exchange
from exchanges.budget import urgent
from execution.clearing import Stopping, clear
from execution.ended import record_ends
from execution.flatten import flatten
from execution.latch import kill_switch as kill_switch
from execution.latch import set_latch
from execution.reach import LedgerInReach
from services.clock import Clock
from services.ledger import Lease, Ledger, LedgerConflict, LedgerUnavailable
from trading.market import Position
from trading.orders import VenueOrder

log = logging.getLogger(__name__)


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

    `cancelled`: ids that were open and are no longer listed; `filled`: those of them that were wholly filled before the
    cancel came; `left`: open when last seen. `verified`: the venue was read until it showed no open order, more than
    once. Seconds are market time from the beginning: `empty_after` until every list was first seen empty,
    `proved_after` until that was proved; None where it never was.
    """

    account: str
    cancelled: tuple[str, ...]
    left: tuple[VenueOrder, ...]
    positions: tuple[Position, ...]
    verified: bool
    problems: tuple[str, ...]
    flat_as_asked: bool = True
    filled: tuple[str, ...] = ()
    empty_after: float | None = None
    proved_after: float | None = None

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


async def stop_all(
    accounts: Sequence[StopTarget],
    ledger: Ledger | LedgerInReach | None,
    clock: Clock,
    by: str,
    reason: str,
    close_positions: bool = False,
    *,
    home: Path | None = None,
    latch: bool = True,
    interrupted: asyncio.Event | None = None,
) -> StopReport:
    """Latch the kill switch of every account, cancel all orders at all venues, and prove by reading that
    none is left. A trader that ends by itself leaves the switch as it is (`latch=False`): it places no more.

    Works without a ledger (None, or one that does not answer): the latch is then a file under `home`.
    Positions are reported, and closed by reduce-only market orders if `close_positions`. Never raises for
    what a venue or the ledger does; what went wrong stands in the report. `interrupted`, once set, ends it at
    once with a report of what was last seen. Per symbol: 1 cancel-all, at least 3 lists of open orders, 1 fills
    and 1 positions; up to the proof every request may draw on the reserved share of the budget.
    """
    books = LedgerInReach.of(ledger)
    latched, problems = True, list[str]()
    if latch:
        latched, problems = await latch_all([target.account for target in accounts], books, home, by, reason, clock)
    stops = [asyncio.ensure_future(_stop_one(each, books, clock, by, close_positions, home)) for each in accounts]
    await _end_or_interruption(stops, interrupted)
    return StopReport(
        by=by,
        reason=reason,
        at=clock.now(),
        latched=latched,
        venues=tuple(stop.result() for stop in stops),
        problems=tuple(problems),
    )


async def latch_all(
    accounts: Sequence[str],
    books: LedgerInReach,
    home: Path | None,
    by: str,
    reason: str,
    clock: Clock,
    *,
    shared: bool = False,
) -> tuple[bool, list[str]]:
    """Latch the accounts, in the ledger or, from the first that it fails, each by a file. Returns whether all hold, and
    what went wrong. Where other hosts share the ledger a file does not hold: a trader there does not see it.
    """
    latched, problems, away = True, list[str](), ""
    for account in accounts:
        if not away:
            try:
                await books.ask(lambda known, name=account: known.latch(name, reason, by, clock.now()))  # type: ignore[misc]
                continue
            except (LedgerUnavailable, LedgerConflict) as error:
                away = str(error)  # cancelling does not wait for the same answer four times
        try:
            set_latch(home, None, account, reason, by, clock.now())
            problems.append(f"the kill switch of {account} was latched by a file under {home}/latches: {away}")
            if shared:
                latched = False
                problems.append(f"a trader of {account} on another host does not see that file")
        except (LedgerUnavailable, OSError) as error:
            latched = False
            problems.append(f"the kill switch of {account} could not be latched: {away}; {error}")
    return latched, problems


async def _end_or_interruption(stops: Sequence["asyncio.Task[VenueStop]"], interrupted: asyncio.Event | None) -> None:
    """Wait for the stops; an interruption, or our own cancellation, makes each report at once what it last saw."""
    if not stops:
        return
    watch = asyncio.ensure_future((interrupted or asyncio.Event()).wait())
    all_of_them = asyncio.ensure_future(asyncio.wait(stops))
    try:
        await asyncio.wait({all_of_them, watch}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in (watch, all_of_them, *stops):
            each.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await all_of_them
        await asyncio.wait(stops)


async def _stop_one(
    target: StopTarget, books: LedgerInReach, clock: Clock, by: str, close_positions: bool, home: Path | None
) -> VenueStop:
    clock = target.clock or clock
    here = Stopping(target.account, target.exchange, books, clock, target.order_lifetime_minutes, clock.now())
    symbols: dict[str, bool] = dict.fromkeys(target.symbols, False)
    verified, flat = False, not close_positions
    positions: tuple[Position, ...] = ()
    try:
        with urgent():  # reading what is left serves getting out as much as cancelling does
            verified = await _clear_all(here, symbols)
            positions, flat = await flatten(
                target, books.opened, clock, tuple(symbols), by, close_positions, here.note, home, here.awaited
            )
        for symbol in symbols:
            await record_ends(here, symbol)
    except asyncio.CancelledError:
        unread = [symbol for symbol in symbols if symbol not in here.left]
        told = f"; never read: {', '.join(unread)}" if unread else ""
        if not verified:
            here.problems[f"interrupted before it was proved that no order is left{told}"] += 1
        elif not flat:
            here.problems["interrupted before the positions were closed"] += 1
        else:
            here.problems["interrupted while writing down how the orders ended; the next reconcile does that"] += 1
    except Exception as error:  # a defect at one venue must not keep the others from being reported
        log.exception("%s: the stop failed", target.account)
        here.problems[f"the stop itself failed: {type(error).__name__}: {error}"] += 1
        flat = not close_positions
    return _told(here, symbols, positions, verified, flat)


async def _clear_all(here: Stopping, symbols: dict[str, bool]) -> bool:
    """Clear the given symbols at once, and with them every other in which the ledger knows an order in flight; also
    those that come up meanwhile. `symbols` tells in the end which were cleared and whether that was proved.
    """
    clearing = {symbol: asyncio.ensure_future(clear(here, symbol)) for symbol in symbols}
    try:
        while True:
            for order in await here.in_flight() or ():
                symbol = order.intent.symbol
                if symbol not in clearing:
                    symbols[symbol] = False
                    clearing[symbol] = asyncio.ensure_future(clear(here, symbol))
            waiting = [task for task in clearing.values() if not task.done()]
            if not waiting:
                break
            await asyncio.wait(waiting)
    finally:
        for task in clearing.values():
            task.cancel()
        await asyncio.gather(*clearing.values(), return_exceptions=True)
    for symbol, task in clearing.items():
        symbols[symbol] = task.result()
    return all(symbols.values())


def _told(
    here: Stopping, symbols: dict[str, bool], positions: tuple[Position, ...], verified: bool, flat: bool
) -> VenueStop:
    left = tuple(order for orders in here.left.values() for order in orders)
    still_there = {order.venue_order_id for order in left}

    def seconds(moments: dict[str, datetime]) -> float | None:
        if not all(symbol in moments for symbol in symbols):
            return None
        return max((moments[symbol] - here.began for symbol in symbols), default=timedelta(0)).total_seconds()

    return VenueStop(
        account=here.account,
        cancelled=tuple(sorted(set(here.seen) - still_there - here.filled)),
        left=left,
        positions=positions,
        verified=verified,
        problems=here.told_problems(),
        flat_as_asked=flat,
        filled=tuple(sorted(here.filled)),
        empty_after=seconds(here.empty_at),
        proved_after=seconds(here.proved_at),
    )
