"""A short soak: with trouble at random, no order is doubled, none is lost, and the books are equal at the end."""

from pathlib import Path

import pytest

from tests.simulation.soak import Sample, grown, memory, pace, soak


@pytest.mark.slow
def test_after_many_cycles_with_trouble_at_random_the_books_are_equal(tmp_path: Path) -> None:
    ((run, result),) = soak(["bitbank"], 60, "0.05", tmp_path, seed=3)
    assert result.passed, result.note
    assert (result.duplicates, result.lost, result.unresolved, result.halted) == (0, 0, 0, "")
    assert run.struck and run.orders > 30 and run.fills
    assert 0 < run.struck < run.requests / 5
    assert [each.cycles for each in run.samples] == [0, 10, 20, 30, 40, 50, 60]


def test_the_last_quarter_is_compared_with_the_second_and_the_start_counts_for_nothing() -> None:
    held = [999, 10, 20, 30, 41, 43, 45, 42, 42]
    samples = [Sample(10 * at, size, at * 0.5, at * 2.0) for at, size in enumerate(held)]
    assert (memory(samples, 1), memory(samples, 2), memory(samples, 4)) == (15, 35.5, 42)
    assert grown(samples) == 42 / 35.5 - 1
    assert pace(samples, 1) == pace(samples, 4) == (5, 50)
