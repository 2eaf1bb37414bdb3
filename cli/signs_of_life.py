"""What `crypto-bot up` writes of itself and of those children that are Prefect's: that they live, and with which code.

Traders write their own, from their own event loop.
"""

import os
import time
from collections.abc import Mapping
from datetime import datetime

from services.clock import WallClock
from services.heartbeat import BEAT_SECONDS, code_on_disk, end_beat, heartbeat_of, running_code, write_beat
from services.ledger import Ledger

SUPERVISOR = "supervisor"


class SignsOfLife:
    """Beats every half minute for the processes that it is shown."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._beaten_at = float("-inf")
        # process id -> the code on the disk and the time when it was first seen
        self._known: dict[int, tuple[str, datetime]] = {os.getpid(): (running_code(), WallClock().now())}
        self._last: dict[str, int] = {}

    def beat(self, running: Mapping[str, int | None]) -> None:
        """Write that these live (process ids by name; None: it does not run now), twice a minute."""
        if time.monotonic() - self._beaten_at < BEAT_SECONDS:
            return
        self._beaten_at = time.monotonic()
        now = WallClock().now()
        for name, pid in {SUPERVISOR: os.getpid(), **running}.items():
            if pid is None:
                continue
            if pid not in self._known:
                self._known[pid] = (code_on_disk(), now)
            code, started_at = self._known[pid]
            self._last[name] = pid
            write_beat(self._ledger, heartbeat_of(name, pid, code, started_at, now))

    def end(self) -> None:
        """Take all of them away: they end in order."""
        for name, pid in self._last.items():
            end_beat(self._ledger, name, pid)
