"""The sign of life of a trader: it changes while the event loop runs, and stands still when that hangs."""

import asyncio
import time
from pathlib import Path

import pytest

from cli import heartbeat
from cli.heartbeat import beat_file, beating, last_beat
from cli.up import hung_after


async def test_it_changes_while_the_loop_runs_and_stands_still_while_it_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "_BEAT_SECONDS", 0.01)
    file = beat_file(tmp_path, "bitbank")
    assert last_beat(file) is None
    async with beating(file):
        await asyncio.sleep(0.05)
        first = last_beat(file)
        await asyncio.sleep(0.05)
        second = last_beat(file)
        assert first is not None and first != second
        time.sleep(0.1)  # noqa: ASYNC251 the loop hangs
        assert last_beat(file) == second
    await asyncio.sleep(0.05)
    assert last_beat(file) == second


async def test_a_disk_that_takes_no_sign_of_life_ends_no_trader(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("no folder")
    file = beat_file(tmp_path, "bitbank")
    async with beating(file):
        await asyncio.sleep(0.01)
        assert last_beat(file) is None


@pytest.mark.parametrize("cycle_seconds", [20, 60, 300])
def test_a_trader_that_hangs_is_found_well_before_two_cycles(cycle_seconds: float) -> None:
    assert 15 <= hung_after(cycle_seconds) <= 1.01 * cycle_seconds
