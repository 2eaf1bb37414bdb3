"""Signs of life: every process of a bot writes into the ledger that it lives, and which code it was started with."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from config.settings import Settings
from services.clock import WallClock
from services.ledger import Ledger, LedgerUnavailable
from services.ledger_upkeep import Heartbeat
from trading.checks import Check

log = logging.getLogger(__name__)

BEAT_SECONDS = 30.0
_FORGET = timedelta(days=7)
_ROOT = Path(__file__).resolve().parents[1]
_CODE_LENGTH = 12


def code_on_disk() -> str:
    """A short hash of the sources as they are now: what a process that starts now would run."""
    told = sha256()
    for path in sorted(_ROOT.glob("*/*.py")):
        if path.parent.name != "tests":
            told.update(f"{path.relative_to(_ROOT)}\n".encode())
            told.update(path.read_bytes())
    return told.hexdigest()[:_CODE_LENGTH]


@cache
def running_code() -> str:
    """That hash as this process found it first: what it runs itself."""
    return code_on_disk()


def heartbeat_of(process: str, pid: int, code: str, started_at: datetime, now: datetime) -> Heartbeat:
    """A sign of life of a process of this host."""
    return Heartbeat(socket.gethostname()[:128], process, pid, version("crypto-bot"), code, started_at, now)


@contextlib.asynccontextmanager
async def showing_life(process: str, ledger: Ledger) -> AsyncIterator[None]:
    """Beat for this process while the block runs, in its own event loop: a loop that hangs falls silent."""
    started_at, code = WallClock().now(), running_code()

    async def beat() -> None:
        while True:
            write_beat(ledger, heartbeat_of(process, os.getpid(), code, started_at, WallClock().now()))
            await asyncio.sleep(BEAT_SECONDS)

    task = asyncio.ensure_future(beat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        end_beat(ledger, process, os.getpid())


def write_beat(ledger: Ledger, beat: Heartbeat) -> None:
    """Store a sign of life; a ledger that does not answer now gets the next one."""
    try:
        ledger.beat(beat)
    except LedgerUnavailable as error:
        log.warning("%s: no sign of life could be written: %s", beat.process, error)


def end_beat(ledger: Ledger, process: str, pid: int) -> None:
    """Take the sign of life away: the process ends in order."""
    try:
        ledger.end_beat(socket.gethostname()[:128], process, pid)
    except LedgerUnavailable as error:
        log.warning("%s: its sign of life stays behind: %s", process, error)


def heartbeat_checks(settings: Settings, beats: tuple[Heartbeat, ...], code: str, now: datetime) -> tuple[Check, ...]:
    """Judge the signs of life: is every process alive, and does it run what is installed (`code`)? Times wall, UTC.

    A process that died and was not started again is told for a week.
    """
    oldest = timedelta(seconds=settings.maintenance.heartbeat_max_age_seconds)
    known = [beat for beat in beats if now - beat.seen_at < _FORGET]
    if not known:
        return (Check("processes", True, "none has left a sign of life: nothing runs here, or it ended in order"),)
    checks = []
    for beat in known:
        age = max(timedelta(0), now - beat.seen_at)
        who = f"{beat.process} on {beat.host}"
        seen = f"process {beat.pid}, version {beat.version} ({beat.code}), seen {age.total_seconds():.0f} s ago"
        if age > oldest:
            checks.append(Check(who, False, f"{seen}: it is gone or hangs"))
        elif (beat.version, beat.code) != (version("crypto-bot"), code):
            checks.append(Check(who, False, f"{seen}: installed is {version('crypto-bot')} ({code}); start it again"))
        else:
            checks.append(Check(who, True, seen))
    return tuple(checks)
