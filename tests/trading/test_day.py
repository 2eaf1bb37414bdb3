"""What a day of cycles comes to."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from trading.day import CyclePoint, bounds_of, drawdowns, summarise

BEGIN, END = bounds_of(date(2026, 11, 26))
FIRST = CyclePoint(
    at=BEGIN,
    ok=True,
    rung="paper",
    price=Decimal(100),
    equity=Decimal(1000),
    latency_ms=10.0,
    refused="",
    error="",
)


def minutes(*at: int) -> list[CyclePoint]:
    return [replace(FIRST, at=BEGIN + timedelta(minutes=each)) for each in at]


def test_a_day_runs_from_midnight_to_midnight_in_japan() -> None:
    assert datetime(2026, 11, 25, 15, tzinfo=UTC) == BEGIN
    assert timedelta(hours=24) == END - BEGIN


def test_a_cycle_that_is_not_there_was_missed() -> None:
    told = summarise(minutes(0, 1, 2, 5, 6), 60)
    assert (told.cycles, told.missed) == (5, 2)
    assert "2 cycles missed" in told.verdict


def test_cycles_that_begin_a_little_late_are_not_missed() -> None:
    points = [replace(FIRST, at=BEGIN + timedelta(seconds=at)) for at in (0, 75, 121, 179)]
    assert summarise(points, 60).missed == 0


def test_a_trader_that_was_down_for_hours_missed_nothing() -> None:
    assert summarise(minutes(0, 1, 300), 60).missed == 0


def test_failures_stand_first_in_the_verdict() -> None:
    good, bad = minutes(0, 1)
    told = summarise([good, replace(bad, ok=False, error="NoAnswer: gone")], 60)
    assert told.verdict == "1 of 2 cycles failed"
    assert told.error_rate == 0.5 and told.last_error == "NoAnswer: gone"


def test_the_deepest_fall_is_from_the_peak_before_it() -> None:
    equities = [Decimal(each) for each in (100, 120, 90, 130, 125)]
    assert max(drawdowns(equities)) == Decimal("0.25")
    points = [replace(point, equity=equity) for point, equity in zip(minutes(0, 1, 2, 3, 4), equities, strict=True)]
    told = summarise(points, 60)
    assert told.drawdown == Decimal("0.25") and told.change == Decimal(25)


def test_a_day_without_cycles_says_so() -> None:
    told = summarise([], 60)
    assert told.verdict == "no cycle ran" and told.change is None and told.latency_p95_ms is None
