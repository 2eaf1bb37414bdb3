"""Schedules of faults, deaths and stops: whatever the seed, no order is doubled and none is lost from sight."""

from collections.abc import Iterator

import pytest

from tests.simulation.room import EXCHANGES, Room, a_room
from tests.simulation.schedule import run

SEEDS = 300
_AT_ONCE = 25  # schedules a case, so that two workers share the work


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    with a_room() as opened:
        yield opened


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, _AT_ONCE))
def test_every_promise_is_kept_whatever_the_seed(room: Room, first: int) -> None:
    broken = {}
    for seed in range(first, first + _AT_ONCE):
        outcome = run(seed, room)
        if outcome.violations:
            broken[f"python -m tests.simulation --seed {seed} -v"] = outcome.violations
    assert not broken


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_seed_replays_to_the_letter(room: Room, exchange: str) -> None:
    first, again = (run(4, room, exchange) for _ in range(2))  # type: ignore[arg-type]
    assert first.events == again.events
    assert len(first.events) > 50
