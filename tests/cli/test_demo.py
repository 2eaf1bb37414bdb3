"""`crypto-bot demo`: the main job, small; its books must agree to the last digit."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from services.ledger import Ledger
from tests.cli.command import ROOT, Command, processes_of, until

KEYS = {
    "rung",
    "cycles",
    "orders",
    "fills",
    "refusals",
    "unresolved",
    "duplicates",
    "differences",
    "requests",
    "rate_limit_breaches",
    "peak_requests_per_minute",
    "budget_per_minute",
    "pnl",
}
NOTHING = ("unresolved", "duplicates", "differences", "rate_limit_breaches")
RECORDED = ROOT.parent / "shared" / "data" / "bitflyer_btc_jpy_1m_20180121_20180130.csv"


def demo(command: Command, *words: str) -> Any:
    """Run a demo that must end clean; return its document."""
    done = command.run("demo", "--json", *words, env={"PREFECT_LOGGING_LEVEL": ""}, patience=300)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert set(told) == {"exchanges", "prefect", "seconds"}
    assert told["prefect"]["failed_runs"] == 0
    for name, result in told["exchanges"].items():
        assert set(result) == KEYS
        assert [result[key] for key in NOTHING] == [0, 0, 0, 0], (name, result)
        assert result["rung"] == "ramp_100", (name, result)
        assert result["peak_requests_per_minute"] <= result["budget_per_minute"], (name, result)
    ledger = Ledger(f"sqlite:///{command.home / 'demo' / 'ledger.db'}")
    assert ledger.verify_chain() is None
    ledger.close()
    assert processes_of(command.home / "demo") == processes_of(command.home) == []
    return told


@pytest.mark.slow
def test_one_exchange_climbs_the_whole_ladder_and_the_books_agree(command: Command) -> None:
    told = demo(command, "--exchange", "bybit", "--cycles", "3")
    assert set(told["exchanges"]) == {"bybit"}
    result = told["exchanges"]["bybit"]
    assert result["cycles"] >= 3 and result["fills"] >= 1
    assert told["prefect"]["flow_runs"] >= result["cycles"] + 3
    orders = json.loads(command.run("orders", "--home", str(command.home / "demo"), "--json").stdout)
    assert orders


@pytest.mark.slow
@pytest.mark.skipif(not RECORDED.is_file(), reason=f"{RECORDED.name} is not beside this checkout")
def test_a_slice_of_recorded_days_with_a_maintenance_gap_ends_clean(command: Command, tmp_path: Path) -> None:
    lines = RECORDED.read_text().splitlines()
    rows = lines[1:]
    times = [int(row.partition(",")[0]) for row in rows]
    first_gap = next(place for place in range(1, len(times)) if times[place] - times[place - 1] >= 5 * 60_000)
    begin = max(0, first_gap - 300)
    part = tmp_path / "slice.csv"
    part.write_text("\n".join([lines[0], *rows[begin : begin + 600]]) + "\n")
    told = demo(command, "-e", "bitflyer", "-e", "bitbank", "--candles", str(part), "--cycles", "30")
    assert set(told["exchanges"]) == {"bitflyer", "bitbank"}
    assert all(result["cycles"] >= 30 for result in told["exchanges"].values())


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["while the server starts", "while it trades"])
def test_ctrl_c_ends_a_demo_soon_and_leaves_no_process(command: Command, moment: str) -> None:
    process = command.start("demo", "--exchange", "bitbank", "--cycles", "2000", "--json")
    log = command.home / "demo" / "logs" / "venue-bitbank.log"
    until(log.exists, "the venue")
    if moment == "while it trades":
        until(lambda: _cycles(command) > 0 or process.poll() is not None, "a trading cycle", 180)
    assert process.poll() is None, command.said(process)
    process.send_signal(signal.SIGINT)
    assert command.ended(process, 30) != 0
    assert processes_of(command.home / "demo") == processes_of(command.home) == []
    assert "Traceback" not in command.said(process), command.said(process)


def _cycles(command: Command) -> int:
    if not (command.home / "demo" / "ledger.db").exists():
        return 0
    ledger = Ledger(f"sqlite:///{command.home / 'demo' / 'ledger.db'}")
    try:
        return len(ledger.cycles("bitbank"))
    finally:
        ledger.close()
