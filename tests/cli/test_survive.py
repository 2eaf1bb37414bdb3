"""The survival table: a few cells from end to end, and what the command says."""

import json
import subprocess
from pathlib import Path

import pytest

from cli.survive import _write_markdown
from cli.survive_catalogue import CATALOGUE, KILL, drills
from cli.survive_cell import CellResult
from cli.survive_points import POINTS
from config.errors import ConfigurationError
from tests.cli.command import Command, one_line


def cells(ended: "subprocess.CompletedProcess[str]") -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(ended.stdout)["cells"]
    return found


def test_a_killed_trader_leaves_no_difference_and_the_document_has_its_shape(command: Command) -> None:
    ended = command.run(
        "survive", "--exchange", "bitbank", "--fault", "kill_9:place.request_out", "--seeds", "2", "--json"
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    document = json.loads(ended.stdout)
    assert document["summary"] == {"cells": 2, "passed": 2, "duplicates": 0, "lost": 0, "not_applicable": 0}
    keys = {"exchange", "fault", "passed", "duplicates", "lost", "unresolved", "halted", "seconds", "note"}
    assert all(set(cell) == keys for cell in document["cells"])


def test_a_ledger_that_cannot_be_written_and_a_clock_that_jumps_send_no_order(command: Command) -> None:
    ended = command.run("survive", "--exchange", "okj", "--fault", "disk_full", "--fault", "clock_jump", "--json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [cell["passed"] for cell in cells(ended)] == [True, True]


@pytest.mark.slow
def test_a_second_trader_is_refused_and_the_first_goes_on(command: Command) -> None:
    ended = command.run("survive", "--exchange", "bybit", "--fault", "second_instance", "--json")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_an_unknown_fault_is_told_in_one_line(command: Command) -> None:
    ended = command.run("survive", "--fault", "earthquake")
    assert ended.returncode == 2
    assert "earthquake" in one_line(ended.stderr)
    assert not command.home.exists()


def test_the_list_names_every_fault_without_running_one(command: Command) -> None:
    ended = command.run("survive", "--list")
    assert ended.returncode == 0
    assert all(drill.fault in ended.stdout for drill in CATALOGUE)


def test_kill_9_means_every_point_of_the_order_path() -> None:
    assert [each.fault for each in drills([KILL])] == [f"{KILL}:{name}" for name in POINTS]
    assert len(POINTS) >= 12


def test_the_table_goes_into_its_place_of_a_document_and_nothing_else_is_touched(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- the table: begin -->old<!-- the table: end -->\nafter\n")
    good = CellResult("bybit", "lost_ack", True, 0, 0, 0, "", 1.0, "")
    bad = CellResult("bybit", "hang", False, 1, 0, 0, "", 1.0, "1 duplicate orders")
    _write_markdown(page, ("bybit",), [good, bad], 3)
    told = page.read_text()
    assert told.startswith("before\n") and told.endswith("\nafter\n") and "old" not in told
    assert "| `lost_ack` | passed |" in told and "| `hang` | FAILED |" in told
    _write_markdown(page, ("bybit",), [good], 3)
    assert "hang" not in page.read_text()


def test_a_document_without_the_place_is_refused_before_anything_runs(tmp_path: Path) -> None:
    from cli.survive import run_survive

    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(ConfigurationError, match="the table: begin"):
        run_survive(("bybit",), (), seed=7, seeds=1, as_json=False, markdown=page)
