"""The one seam for time. Everything that counts time asks a Clock; only this file reads the wall.

Market time is the wall clock, except at a simulated venue whose clock is stepped: there `sleep` moves the
venue's clock on, so that days of market pass in a minute. Signatures are always made on the wall clock
(docs/adr/0005-market-time-and-the-clock-seam.md).
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import aiohttp


class Clock(Protocol):
    def now(self) -> datetime:
        """Market time, aware UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` of market time have passed. Raises ClockGone."""
        ...


class WallClock:
    """Market time is the machine's time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


def seconds_since_boot() -> float:
    """A clock that nobody can set: it goes on while the machine sleeps, where the system has such a one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class WallWatch:
    """Notices when the machine's wall clock is set: it is compared with one that cannot be."""

    def __init__(self, wall: Clock | None = None, steady: Callable[[], float] = seconds_since_boot) -> None:
        """`wall` is the clock that is watched (default: the machine's), `steady` gives seconds that only go on."""
        self.wall = wall or WallClock()
        self._steady = steady
        self._began = self.apart()

    def jumped_seconds(self) -> float:
        """How far the wall has been moved since this watch began; positive: ahead."""
        return self.apart() - self._began

    def apart(self) -> float:
        """How far the wall, as it is set now, is ahead of the clock that cannot be set (seconds)."""
        return self.wall.now().timestamp() - self._steady()


@dataclass(frozen=True)
class DateHeard:
    """The `Date` header of a venue's answer: whole seconds, the rest cut off (RFC 9110). It was written between two
    moments of `seconds_since_boot`, so that it counts whatever the wall has been set to since.
    """

    asked_at: float
    heard_at: float
    told: datetime


def skew_bounds(apart: float, heard: Sequence[DateHeard]) -> tuple[float, float] | None:
    """The least and the most that the wall can be ahead of the venue (seconds); None where no date was heard.

    `apart` is `WallWatch.apart()`. Each date narrows it; dates that contradict each other widen it to all they say.
    """
    if not heard:
        return None
    least = [each.asked_at + apart - each.told.timestamp() - 1 for each in heard]
    most = [each.heard_at + apart - each.told.timestamp() for each in heard]
    if max(least) <= min(most):
        return max(least), min(most)
    return min(least), max(most)


class ClockGone(Exception):
    """The simulated venue whose clock is followed does not answer: market time stands still."""


class MarketClock:
    """Follows the clock of a simulated venue at `control_url`.

    On a stepped clock `sleep` advances the venue by that much market time, at once; on a wall clock it waits.
    """

    def __init__(self, control_url: str, *, now_ms: int, stepped: bool) -> None:
        self._control_url = control_url
        self._now_ms = now_ms
        self._stepped = stepped
        self._stepping = asyncio.Lock()

    @classmethod
    async def connect(cls, control_url: str) -> "MarketClock":
        """Read the venue's clock once: `GET {control_url}/clock`, `{"now_ms", "mode": "wall"|"stepped"}`."""
        async with aiohttp.ClientSession() as session, session.get(f"{control_url}/clock") as reply:
            reply.raise_for_status()
            told = await reply.json()
        return cls(control_url, now_ms=int(told["now_ms"]), stepped=told["mode"] == "stepped")

    def now(self) -> datetime:
        if not self._stepped:
            return datetime.now(UTC)
        return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=self._now_ms)

    async def sleep(self, seconds: float) -> None:
        if not self._stepped:
            await asyncio.sleep(max(0.0, seconds))
            return
        # Those who sleep at the same time sleep through the same time: only what is left is stepped.
        awake_ms = self._now_ms + max(0, round(seconds * 1000))
        async with self._stepping:
            await self._step(max(0, awake_ms - self._now_ms))

    async def _step(self, milliseconds: int) -> None:
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"{self._control_url}/clock", json={"advance_ms": milliseconds}) as reply,
            ):
                reply.raise_for_status()
                self._now_ms = int((await reply.json())["now_ms"])
        except aiohttp.ClientError as error:
            raise ClockGone(f"the simulated venue at {self._control_url} is gone ({type(error).__name__})") from error
