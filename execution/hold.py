"""Hold an account: one writer, on this host by a file lock, beyond it by a lease in the ledger.

The file lock answers at once and dies with its process; the lease carries a fencing token that every intent
is checked against, so that even a process that slept through the loss of its lease writes nothing.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path

from config.settings import ExecutionSettings
from services.clock import Clock, WallClock
from services.ledger import Lease, LeaseLost, Ledger, LedgerUnavailable

log = logging.getLogger(__name__)

LEASE_SECONDS = 15.0
_NAMES_KEPT = 10  # those of processes whose lease may still run


class AccountHeld(Exception):
    """Another process trades this account; the message names it."""


@contextlib.asynccontextmanager
async def hold_account(
    home: Path,
    account: str,
    ledger: Ledger,
    holder: str,
    *,
    clock: Clock | None = None,
    lease_seconds: float = LEASE_SECONDS,
) -> AsyncIterator[Lease]:
    """Hold the account for the length of the block; the lease is renewed meanwhile.

    `holder` says who we are (host and process). `clock` is the wall: processes share it, while the market
    time of a simulated venue leaps. A lease that a killed process left behind is waited for, `lease_seconds`
    at most. Raises AccountHeld, naming the holder, when another process has the account, and also out of the
    block when another takes it while we hold it.
    """
    wall = clock or WallClock()
    with _file_lock(home, account, holder):
        lease = await _take_lease(ledger, account, holder, wall, lease_seconds)
        body = asyncio.current_task()
        assert body is not None
        renewal = asyncio.create_task(_renew(ledger, lease, wall, lease_seconds, body))
        try:
            yield lease
        except asyncio.CancelledError:
            if _lost(renewal) is None:
                raise
            body.uncancel()
            raise AccountHeld(str(_lost(renewal))) from None
        finally:
            renewal.cancel()
            with contextlib.suppress(asyncio.CancelledError, LeaseLost):
                await renewal
            try:
                ledger.release_lease(lease)
            except LedgerUnavailable as error:
                log.warning("%s: the lease could not be given back, it expires by itself: %s", account, error)


def holder_elsewhere(home: Path, ledger: Ledger, account: str, now: datetime) -> str:
    """Who trades the account from another host (or another home) now; "" when nobody does, or a process of this home.

    A process of this home may have died with its lease: the names in the lock file tell it apart. Raises
    LedgerUnavailable.
    """
    holder = ledger.holder(account, ledger.shared_time(now))
    if holder is None:
        return ""
    try:
        here = _lock_path(home, account).read_text(encoding="utf-8").splitlines()
    except OSError:  # none there, or not ours to read: what is not known to be of this home counts as another's
        here = []
    return "" if holder in here else holder


def holder_here(home: Path, account: str) -> str:
    """Which process of this home holds the account now; "" when none does. Not for the process that may hold it."""
    try:
        handle = os.open(_lock_path(home, account), os.O_RDONLY)
    except OSError:  # nobody has held it yet
        return ""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return (_names(handle) or ["another process"])[0]
    finally:
        os.close(handle)
    return ""


def beside_the_holder(execution: ExecutionSettings) -> ExecutionSettings:
    """The request budget of a process whose account is traded from another host, where it cannot be counted with.

    Reads get what the holder leaves of the limit (1 - `rate_limit_margin`), what gets us out the holder's cancel
    reserve as well: the two hosts together stay within the limit.
    """
    left = max(0.05, 1 - execution.rate_limit_margin)
    reserve = execution.rate_limit_margin * execution.cancel_reserve
    return execution.model_copy(
        update={"rate_limit_margin": left + reserve, "cancel_reserve": reserve / (left + reserve)}
    )


async def _take_lease(ledger: Ledger, account: str, holder: str, wall: Clock, seconds: float) -> Lease:
    waited = 0.0
    while True:
        try:
            return ledger.take_lease(account, holder, ledger.shared_time(wall.now()), seconds)
        except LeaseLost as error:
            # The lock on this host is ours: its last holder here is dead, or the living one is on another
            # host.
            if waited > seconds:
                raise AccountHeld(str(error)) from error
        await wall.sleep(0.5)
        waited += 0.5


async def _renew(ledger: Ledger, lease: Lease, wall: Clock, seconds: float, body: "asyncio.Task[object]") -> None:
    while True:
        await wall.sleep(seconds / 3)
        try:
            ledger.renew_lease(lease, ledger.shared_time(wall.now()), seconds)
        except LedgerUnavailable as error:
            # Nothing can be placed without the ledger either; the token still guards the first write after
            # it is back.
            log.warning("%s: the lease could not be renewed: %s", lease.account, error)
        except LeaseLost as error:
            log.critical("%s", error)
            body.cancel()
            raise


def _lost(renewal: "asyncio.Task[None]") -> BaseException | None:
    if not renewal.done() or renewal.cancelled():
        return None
    return renewal.exception()


def _lock_path(home: Path, account: str) -> Path:
    return home / "locks" / f"{account.replace(':', '_').replace('/', '_')}.lock"


@contextlib.contextmanager
def _file_lock(home: Path, account: str, holder: str) -> Iterator[None]:
    path = _lock_path(home, account)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = (_names(handle) or ["another process"])[0]
            raise AccountHeld(f"{account} is traded by {other}; stop that process first") from None
        names = [holder, *_names(handle)][:_NAMES_KEPT]
        os.ftruncate(handle, 0)
        os.pwrite(handle, "\n".join(names).encode(), 0)
        yield
    finally:
        os.close(handle)  # gives the lock back


def _names(handle: int) -> list[str]:
    """Who has held the lock, the newest first."""
    return os.pread(handle, 2000, 0).decode("utf-8", "replace").split("\n") if os.fstat(handle).st_size else []
