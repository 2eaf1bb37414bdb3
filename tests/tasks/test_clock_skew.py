"""The skew of this machine's clock: asked rarely, and at once when the wall has been set."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from services.clock import DateHeard, WallWatch
from tasks.session import Session


class Wall:
    """A wall clock that somebody sets, beside one that nobody can."""

    def __init__(self) -> None:
        self.passed = self.off = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 5, tzinfo=UTC) + timedelta(seconds=self.passed + self.off)

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds


def session(wall: Wall, *, tells_time: bool, dates: Sequence[DateHeard] = ()) -> tuple[Session, list[float]]:
    asked: list[float] = []

    async def server_time() -> datetime | None:
        asked.append(wall.passed)
        return datetime(2026, 1, 5, tzinfo=UTC) + timedelta(seconds=wall.passed) if tells_time else None

    nothing: Any = None
    reader: Any = SimpleNamespace(server_time=server_time, dates_heard=lambda: tuple(dates))
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


def heard(wall: Wall, *, ahead: float = 0.0, took: float = 0.2) -> DateHeard:
    """A date that a venue, so many seconds ahead of true time, writes in the middle of a request."""
    written = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(seconds=wall.passed + took / 2 + ahead)
    wall.passed += took
    return DateHeard(wall.passed - took, wall.passed, written.replace(microsecond=0))


async def test_after_the_wall_is_set_right_the_dates_of_the_venues_answers_let_it_trade_again() -> None:
    wall, dates = Wall(), list[DateHeard]()
    wall.off = -300
    here, _ = session(wall, tells_time=False, dates=dates)
    dates.append(heard(wall))
    assert await here.clock_skew_seconds() == pytest.approx(-299.8, abs=1)  # seen before anybody sets it
    wall.off = 0
    skew = await here.clock_skew_seconds()
    assert skew is not None and abs(skew) <= 1.2


@pytest.mark.parametrize("off", [-300.0, -3.5, 3.5, 300.0])
async def test_after_a_jump_to_a_wrong_time_the_dates_keep_it_from_trading(off: float) -> None:
    wall, dates = Wall(), list[DateHeard]()
    here, _ = session(wall, tells_time=False, dates=dates)
    dates += [heard(wall), heard(wall)]
    assert await here.clock_skew_seconds() == 0
    wall.off = off
    skew = await here.clock_skew_seconds()
    assert skew is not None and abs(skew) > 2  # risk.max_clock_skew_seconds
    assert skew * off > 0


async def test_after_a_jump_dates_that_contradict_each_other_prove_nothing() -> None:
    wall, dates = Wall(), list[DateHeard]()
    here, _ = session(wall, tells_time=False, dates=dates)
    dates += [heard(wall), heard(wall, ahead=-60)]
    wall.off = 1.5
    skew = await here.clock_skew_seconds()
    assert skew is not None and skew > 60


async def test_a_date_out_of_a_request_that_hung_proves_no_more_than_its_length() -> None:
    wall, dates = Wall(), list[DateHeard]()
    here, _ = session(wall, tells_time=False, dates=dates)
    dates.append(heard(wall, took=10))
    wall.off = 0.6
    skew = await here.clock_skew_seconds()
    assert skew is not None and abs(skew) > 2


async def test_where_the_venue_tells_no_time_the_jump_itself_is_the_skew() -> None:
    wall = Wall()
    here, _ = session(wall, tells_time=False)
    assert await here.clock_skew_seconds() is None
    wall.off = -30
    assert await here.clock_skew_seconds() == -30
