"""`crypto-bot check` and the operations guide's script: the first three rungs."""

import json
import subprocess
from typing import Any

import pytest

from config.settings import EXCHANGES
from tests.cli.command import PATIENCE, ROOT, Command, control, resting
from tests.cli.conftest import Venues

pytestmark = pytest.mark.prefect

STAGES = ["compatibility", "read_only", "minimal_order"]


@pytest.fixture
def checking(command: Command, prefect_url: str) -> Command:
    command.environment["PREFECT_API_URL"] = prefect_url
    return command


def test_three_stages_pass_at_every_venue(checking: Command, venues: Venues) -> None:
    running = venues(*EXCHANGES)
    done = checking.run("check", "--all", "--orders", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["passed"]
    assert [(each["exchange"], each["stage"]) for each in told["reports"]] == [
        (exchange, stage) for exchange in EXCHANGES for stage in STAGES
    ]
    assert all(report["passed"] and report["checks"] for report in told["reports"])
    for venue in running.values():
        truth = control(venue.address.control_url, "truth")
        assert [order["status"] for order in truth["orders"]] == ["cancelled"]
        assert truth["fills"] == [] and resting(venue.address.control_url) == []
    status = json.loads(checking.run("status", "--json").stdout)
    assert {status[name]["rung"] for name in EXCHANGES} == {"minimal_order"}


def test_a_stage_that_fails_is_named_with_its_check_and_ends_in_1(checking: Command, venues: Venues) -> None:
    venues("bitbank")
    small = "--set=exchanges.bitbank.target_quantity=0.00001"
    done = checking.run("check", "bitbank", "--orders", small)
    assert done.returncode == 1
    assert "compatibility: FAILED" in done.stdout
    assert "target size" in done.stdout and "could not be bought and sold again" in done.stdout
    assert "read_only" not in done.stdout  # what comes after a failure is not tried
    assert done.stderr == ""
    told = json.loads(checking.run("check", "bitbank", "--json", small).stdout)
    failed = [check["name"] for report in told["reports"] for check in report["checks"] if not check["passed"]]
    assert not told["passed"] and failed == ["target size"]
    assert json.loads(checking.run("status", "--json").stdout)["bitbank"]["rung"] is None


def test_the_operations_guides_script_checks_and_exits_alike(checking: Command, venues: Venues) -> None:
    venues("bybit")
    assert _script(checking, "-c", "-v", "bybit").returncode == 0
    failed = _script(checking, "-c", "bybit", CRYPTO_BOT__EXCHANGES__BYBIT__TARGET_QUANTITY="0.0000001")
    assert failed.returncode == 1 and "compatibility: FAILED" in failed.stdout
    assert _script(checking, "-x").returncode == 2
    assert _script(checking).returncode == 2
    shown = _script(checking, "-h")
    assert shown.returncode == 0 and "usage:" in shown.stdout


def _script(command: Command, *words: str, **more: str) -> "subprocess.CompletedProcess[Any]":
    return subprocess.run(
        [ROOT / "scripts" / "run_production_tests.sh", *words],
        env=command.environ(more),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
