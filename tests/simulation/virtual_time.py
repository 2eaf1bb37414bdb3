"""An event loop whose time is market time: it stands still while anything can run, then leaps to the next timer."""

import asyncio
import math
import selectors
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any


class Deadlock(RuntimeError):
    """Nothing can run, and no timer is set: everybody waits for somebody."""


class _LeapingSelector(selectors.SelectSelector):
    """Instead of waiting it moves the time on."""

    def __init__(self, leap: Callable[[float], None]) -> None:
        super().__init__()
        self._leap = leap

    def select(self, timeout: float | None = None) -> list[Any]:
        # The loop's own wake-up pipe is all that is registered: with one thread and no socket it stays silent.
        if timeout is None:
            raise Deadlock("nothing can run and no timer is set")
        if timeout > 0:
            self._leap(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its `time()` is market time in seconds since the start.

    `on_leap` is told each step in ms, before what is due then runs.
    """

    def __init__(self, start_ms: int) -> None:
        self._start_ms = self.now_ms = start_ms
        self.on_leap: Callable[[int], object] = lambda milliseconds: None
        super().__init__(_LeapingSelector(self._leap))
        # What is due within this is due now; seconds since 1970 would be too coarse for it in a float.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return (self.now_ms - self._start_ms) / 1000

    def _leap(self, seconds: float) -> None:
        # Whole milliseconds, as venues count; at least one, or a timer a hair away would be asked for for ever.
        milliseconds = max(1, math.ceil(seconds * 1000 - 1e-3))
        self.now_ms += milliseconds
        self.on_leap(milliseconds)


class VirtualClock:
    """Market time of a VirtualLoop, as `services.clock.Clock` has it."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=self._loop.now_ms)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
