"""A run that begins too late is not made up for."""

from datetime import UTC, datetime, timedelta

import pytest

from tasks.staleness import LATEST, is_stale

DUE = datetime(2026, 11, 26, 15, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("late", "runs_before", "stale"),
    [
        (timedelta(0), 0, False),
        (LATEST, 0, False),
        (LATEST + timedelta(seconds=1), 0, True),
        (timedelta(days=3), 0, True),
        (timedelta(days=3), 1, False),  # a person retried it, or it waited for a person
        (timedelta(minutes=-1), 0, False),
    ],
)
def test_a_run_more_than_ten_minutes_late_is_stale_unless_it_has_run_before(
    late: timedelta, runs_before: int, stale: bool
) -> None:
    assert is_stale(DUE, DUE + late, runs_before) is stale
