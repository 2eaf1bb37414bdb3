"""A long run in short time: `python -m tests.soak --hours 24` (or `make soak-up`). Prints one JSON document.

Four simulated venues on stepped clocks trade one cycle a minute of market time, at the settings of the demo, against
one Prefect server. Afterwards it is counted, not believed: each minute has one cycle in the ledger and no minute two,
each of them has its completed flow run in Prefect, and the server's own log of answers holds no 503. Exit status 1
where one of these is not so.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cli.prefect_server import PrefectServer, prefect_server
from cli.settings import logged
from cli.trader import leave, run_cycles
from config.loader import DEMO_FILE, load_settings
from config.settings import EXCHANGES, ExchangeName, Settings
from services.ledger import CycleRecord, Ledger
from services.simulated import simulated_venues
from tests.cli.accounts import certify
from trading.cycle import CycleReport


def main() -> int:
    """Run it and print what was counted."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--hours", type=float, default=24.0, help="hours of market time")
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    wanted = round(asked.hours * 60)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="crypto-bot-soak-") as folder:
        home = Path(folder)
        os.environ["CRYPTO_BOT_HOME"] = str(home)
        os.environ["CRYPTO_BOT_CONFIG"] = str(DEMO_FILE)
        os.environ["PREFECT_LOGGING_LEVEL"] = "WARNING"
        os.environ["PREFECT_SERVER_LOGGING_LEVEL"] = "INFO"  # the server then writes a line for each answer
        settings = logged(load_settings())
        words = ("--clock", "stepped", "--seed", str(asked.seed))
        with (
            prefect_server(home / "prefect") as server,
            simulated_venues(home, dict.fromkeys(EXCHANGES, words)),
        ):
            import flows.trading_cycle  # noqa: F401  before the loop: it would stand still meanwhile

            server.wait_until_up()
            asyncio.run(_trade_all(settings, server, wanted))
            told = asyncio.run(_count(settings, server, wanted))
    told = {"market_hours": asked.hours, "seconds": round(time.monotonic() - began, 1), **told}
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
    return 0 if told["clean"] else 1


async def _trade_all(settings: Settings, server: PrefectServer, wanted: int) -> None:
    await asyncio.gather(*(_trade(name, settings, server, wanted) for name in EXCHANGES))


async def _trade(name: ExchangeName, settings: Settings, server: PrefectServer, wanted: int) -> None:
    from tasks.session import trading

    done = 0

    def told(report: CycleReport) -> None:
        nonlocal done
        done += 1
        if done % 60 == 0:
            sys.stderr.write(f"{name}: {done} of {wanted} cycles, market time {report.started_at:%m-%d %H:%M}\n")

    certify(settings.home, name, files=(DEMO_FILE,))
    async with trading(name, settings) as here:
        await run_cycles(here, asyncio.Event(), api=server.api, told=told, enough=lambda begun: begun >= wanted)
        await leave(here)


async def _count(settings: Settings, server: PrefectServer, wanted: int) -> dict[str, Any]:
    runs = await _completed_runs()
    told: dict[str, Any] = {}
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        for name in EXCHANGES:
            account = settings.account(name)
            traded = ledger.cycles(account) + ledger.cycles(f"{account}:paper")  # where the rung went down to paper
            told[name] = _count_cycles(traded, runs)
        chain = ledger.verify_chain()
    answers = _answers(server.log)
    clean = (
        all(
            each["cycles"] == wanted
            and not (each["missed"] or each["doubled"] or each["without_completed_run"] or each["failed"])
            for each in told.values()
        )
        and answers["503"] == 0
        and answers["all"] > wanted  # a log without answers would show no 503 either
        and chain is None
    )
    return {"clean": clean, "exchanges": told, "server_answers": answers, "ledger_chain": chain or "whole"}


def _count_cycles(cycles: tuple[CycleRecord, ...], runs: dict[str, str]) -> dict[str, int]:
    minutes = Counter(datetime.fromisoformat(cycle.cycle_id.replace("Z", "+00:00")) for cycle in cycles)
    first, last = min(minutes), max(minutes)
    expected = {first + timedelta(minutes=number) for number in range(int((last - first).total_seconds()) // 60 + 1)}
    return {
        "cycles": len(cycles),
        "missed": len(expected - set(minutes)),
        "doubled": sum(count - 1 for count in minutes.values()),
        "failed": sum(bool(cycle.report.get("error")) for cycle in cycles),
        "with_discrepancies": sum(not cycle.ok for cycle in cycles),
        "orders_sent": sum(bool(cycle.report.get("order_state")) for cycle in cycles),
        "without_completed_run": sum(runs.get(cycle.flow_run_id or "") != "COMPLETED" for cycle in cycles),
    }


async def _completed_runs() -> dict[str, str]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort

    found: dict[str, str] = {}
    async with get_client() as client:
        while page := await client.read_flow_runs(sort=FlowRunSort.ID_DESC, limit=200, offset=len(found)):
            found |= {str(run.id): run.state_type.value for run in page if run.state_type}
    return found


def _answers(log: Path) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        request, quote, rest = line.rpartition('" ')
        if quote and "HTTP/1." in request:
            counted[rest.split()[0]] += 1
    return {"all": sum(counted.values()), "503": counted["503"], **dict(sorted(counted.items()))} | {
        "503": counted["503"]
    }


if __name__ == "__main__":
    sys.exit(main())
