"""The skew of this machine's clock: asked rarely, and at once when the wall has been set."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from services.clock import WallWatch
from tasks.session import Session


class Wall:
    """A wall clock that somebody sets, beside one that nobody can."""

    def __init__(self) -> None:
        self.passed = self.off = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 5, tzinfo=UTC) + timedelta(seconds=self.passed + self.off)

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds


def session(wall: Wall, *, tells_time: bool) -> tuple[Session, list[float]]:
    asked: list[float] = []

    async def server_time() -> datetime | None:
        asked.append(wall.passed)
        return datetime(2026, 1, 5, tzinfo=UTC) + timedelta(seconds=wall.passed) if tells_time else None

    nothing: Any = None
    reader: Any = SimpleNamespace(server_time=server_time)
    here = Session("bitbank", nothing, nothing, nothing, reader)
    here.wall_watch = WallWatch(wall, lambda: wall.passed)
    return here, asked


async def test_after_a_jump_of_the_wall_the_venue_is_asked_at_once() -> None:
    wall = Wall()
    here, asked = session(wall, tells_time=True)
    assert await here.clock_skew_seconds() == 0
    await wall.sleep(60)
    assert await here.clock_skew_seconds() == 0
    assert len(asked) == 1  # kept for ten minutes
    wall.off = 90
    assert await here.clock_skew_seconds() == 90
    wall.off = 0
    assert await here.clock_skew_seconds() == 0
    assert len(asked) == 3


async def test_where_the_venue_tells_no_time_the_jump_itself_is_the_skew() -> None:
    wall = Wall()
    here, _ = session(wall, tells_time=False)
    assert await here.clock_skew_seconds() is None
    wall.off = -30
    assert await here.clock_skew_seconds() == -30
