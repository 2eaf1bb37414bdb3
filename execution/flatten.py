"""Close perpetual positions in the emergency stop: reduce-only market orders, each sent once, then read
again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from config.settings import ExecutionSettings
from exchanges.errors import VenueError
from execution.desk import Desk, see_through
from execution.follow import follow
from execution.place import send_once, write_intent
from services.clock import Clock, WallClock
from services.ledger import Lease, LeaseLost, Ledger, LedgerConflict, LedgerUnavailable
from trading.certificates import EMERGENCY_STOP
from trading.identifiers import client_order_id
from trading.market import Position
from trading.orders import Event, IllegalTransition, Order, OrderIntent, OrderType, State, TimeInForce
from trading.risk import Approved

if TYPE_CHECKING:
    from execution.stop import StopTarget

_LOOKS = 5
_LEASE_SECONDS = 60.0
_FOLLOW_SECONDS = 4.0
_LONGEST_HOLDER = 200  # characters, as the ledger keeps
# What the ledger says where a trader has ended, begun, or settled the order, while we were at it.
_OVERTAKEN = (LeaseLost, LedgerConflict, IllegalTransition)

Note = Callable[[str, Exception | str], None]


async def flatten(
    target: StopTarget,
    ledger: Ledger | None,
    clock: Clock,
    symbols: tuple[str, ...],
    by: str,
    close: bool,
    note: Note,
    home: Path | None = None,
    awaited: Mapping[str, Sequence[Order]] = MappingProxyType({}),
) -> tuple[tuple[Position, ...], bool]:
    """Read the positions and, if asked, close them. Returns what is held at the end and whether that is as
    asked.

    Without `close` any position is as asked, as long as it could be read or none was to be closed. Of two
    stops, on this host or on two that share the ledger, only one closes, the other watches: bitFlyer knows no
    reduce-only, and closing twice is a new position. For the same reason nothing is sent where one of `awaited`, our
    orders by symbol that may still come up, would close the position too. Costs 1 request per symbol of a perpetual,
    and 1 order and some reads for each position that is closed.
    """
    held: list[Position] = []
    as_asked = True
    with _sole_closer(home, ledger, target.account, note) if close else contextlib.nullcontext(False) as we_close:
        for symbol in symbols:
            if ":" not in symbol:  # spot holds no position, and the venue need not be asked to know that
                continue
            try:
                positions = await target.exchange.positions(symbol)
                for position in positions if we_close else ():
                    if not _closes_already(position, awaited.get(symbol, ()), note):
                        await _close(target, ledger, clock, position, by, note)
                if close and positions:
                    positions = await _until_flat(target, clock, symbol)
            except VenueError as error:
                note(f"position of {symbol}", error)
                as_asked = as_asked and not close
                continue
            held += positions
    return tuple(held), as_asked and not (close and held)


def _closes_already(position: Position, awaited: Sequence[Order], note: Note) -> bool:
    for order in awaited:
        if order.intent.side is position.side.opposite:
            why = f"{order.intent.client_order_id} ({order.state}) may still come up: look at the venue's page"
            note(f"{position.symbol}: no second order to close it", why)
            return True
    return False


@contextlib.contextmanager
def _sole_closer(home: Path | None, ledger: Ledger | None, account: str, note: Note) -> Iterator[bool]:
    """Whether we are the one stop that closes the account's positions: by a file on this host, and beyond it by a
    lease in the ledger, which is not the trader's. Where neither can be had, yes.
    """
    with _closer_here(home, account, note) as here:
        if not here or ledger is None:
            yield here
            return
        # The same name for every stop of this home, of which the file lets in one: what a killed one left is ours.
        holder = f"a stop on {socket.gethostname()} in {home}"[:_LONGEST_HOLDER]
        try:
            now = ledger.shared_time(WallClock().now())
            lease = ledger.take_lease(f"{account}:closing", holder, now, _LEASE_SECONDS)
        except LeaseLost as error:
            other = str(error).partition(";")[0]  # without what to do about a trader
            note("another stop is closing the positions of this account", other)
            yield False
            return
        except LedgerUnavailable as error:
            note("closing without a lock against a stop on another host", error)
            yield True
            return
        try:
            yield True
        finally:
            _give_back(ledger, lease, note)


@contextlib.contextmanager
def _closer_here(home: Path | None, account: str, note: Note) -> Iterator[bool]:
    if home is None:
        yield True
        return
    path = home / "locks" / f"{account.replace(':', '_').replace('/', '_')}.closing.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        note("closing without a lock against a second stop", error)
        yield True
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            note("another stop is closing the positions of this account", error)
            yield False
            return
        yield True
    finally:
        os.close(handle)  # gives the lock back


def _give_back(ledger: Ledger, lease: Lease, note: Note) -> None:
    try:
        ledger.release_lease(lease)
    except LedgerUnavailable as error:
        note(f"giving {lease.account} back", error)


async def _close(
    target: StopTarget, ledger: Ledger | None, clock: Clock, position: Position, by: str, note: Note
) -> None:
    now = clock.now()
    intent = OrderIntent(
        client_order_id=client_order_id(target.account, f"stop {now.isoformat()}", position.symbol),
        venue=target.exchange.name,
        symbol=position.symbol,
        side=position.side.opposite,
        type=OrderType.MARKET,
        quantity=position.quantity,
        price=None,
        time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL,
        decision_price=position.entry_price,
        decided_at=now,
        reason=f"emergency stop by {by}: close the position",
        reduce_only=True,
        target_quantity=Decimal(0),
    )
    with _desk(target, ledger, clock, by, note) as desk:
        if desk is not None and _written_down(desk, intent, note):
            try:
                order = await see_through(send_once(desk, intent))
                order = await follow(desk, order, _FOLLOW_SECONDS)
                if order.state is not State.FILLED:
                    note(f"closing of {position.symbol}", f"{order.state}: {order.note}")
            except (LedgerUnavailable, *_OVERTAKEN, VenueError) as error:
                note(f"following the closing of {position.symbol}", error)
            return
    # The ledger does not answer: being flat comes first. One request all the same; the next reconcile finds its fill
    # and reports it as foreign. Under an id of its own: of what was only intended the ledger says that it never left.
    leg = f"{position.symbol} without a line"
    unwritten = replace(intent, client_order_id=client_order_id(target.account, f"stop {now.isoformat()}", leg))
    try:
        await target.exchange.place(unwritten)
    except VenueError as error:
        note(f"closing of {position.symbol}", error)


@contextlib.contextmanager
def _desk(target: StopTarget, ledger: Ledger | None, clock: Clock, by: str, note: Note) -> Iterator[Desk | None]:
    """A desk that may write: with the trader's own lease, else with one taken for the moment; or None.

    Where a trader holds the account the order is written in its name: latched it writes none itself, and it settles
    this one with its own. A closing order that is not written down would be sent again by the next stop.
    """
    lease, taken = target.lease, None
    if ledger is not None and lease is None:
        try:
            holder = f"emergency stop by {by}"
            now = ledger.shared_time(WallClock().now())
            try:
                lease = taken = ledger.take_lease(target.account, holder, now, _LEASE_SECONDS)
            except LeaseLost as error:
                lease = ledger.lease_in_force(target.account)
                if lease is None:
                    note("closing without a line in the ledger", error)
        except LedgerUnavailable as error:
            note("closing without a line in the ledger", error)
    if ledger is None or lease is None:
        yield None
        return
    try:
        yield Desk(target.account, target.exchange, ledger, clock, lease, ExecutionSettings())
    finally:
        if taken is not None:
            _give_back(ledger, taken, note)


def _written_down(desk: Desk, intent: OrderIntent, note: Note) -> bool:
    try:
        write_intent(desk, Approved(intent, EMERGENCY_STOP), cycle_id=None, known_ids=frozenset())
        desk.ledger.record(desk.account, intent.client_order_id, Event.SENT, desk.clock.now())
    except (LedgerUnavailable, *_OVERTAKEN) as error:
        note("closing without a line in the ledger", error)
        return False
    return True


async def _until_flat(target: StopTarget, clock: Clock, symbol: str) -> tuple[Position, ...]:
    pause = 0.5
    for _ in range(_LOOKS):
        positions = await target.exchange.positions(symbol)
        if not positions:
            break
        await clock.sleep(pause)
        pause *= 2
    return positions
