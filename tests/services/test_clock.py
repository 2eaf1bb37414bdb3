import asyncio
from datetime import UTC, datetime, timedelta

from services.clock import MarketClock, WallWatch
from tests.simvenue.running import RunningVenue


async def test_those_who_sleep_at_the_same_time_sleep_through_the_same_time():
    with RunningVenue("bitbank") as venue:
        clock = await MarketClock.connect(f"{venue.url}/_control")
        began = clock.now()
        await asyncio.gather(clock.sleep(60), clock.sleep(45), clock.sleep(60))
        assert (clock.now() - began).total_seconds() == 60
        await clock.sleep(5)
        assert (clock.now() - began).total_seconds() == 65


class SetWall:
    """A wall clock that somebody sets, beside one that nobody can."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.off = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 5, tzinfo=UTC) + timedelta(seconds=self.passed + self.off)

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds


async def test_a_wall_clock_that_is_set_is_noticed_and_time_that_passes_is_not():
    wall = SetWall()
    watch = WallWatch(wall, lambda: wall.passed)
    await wall.sleep(3600)
    assert watch.jumped_seconds() == 0
    wall.off = -90
    assert watch.jumped_seconds() == -90
    wall.off = 0
    assert watch.jumped_seconds() == 0
