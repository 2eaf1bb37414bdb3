"""What metrics and alerts cost a trader's cycle when every sink and channel hangs, and when none is there.

    python -m scripts.dead_sinks [--cycles N] [--latency MS] [--json]        (make dead-sinks)

Three traders of bitbank, each a process with a simulated venue of its own, take turns in one run, in an order that
changes with every round, so that what else the machine does hits all alike:

- none: no sink, no channel;
- healthy: file, Prometheus (scraped) and Cloud Monitoring (a stand-in on loopback that keeps the service's rules);
- dead: the file's disk is full, Prometheus's scrapers connect and never read, the stand-in for Cloud Monitoring takes
  every call and never answers, and so does the alert channel, which is told something after every cycle.

Measured are the cycle (its five steps, and what the trader pushes after it) and the order path (the step that places,
follows and cancels). Without Prefect, whose own time would be the larger part and is the same for all. `--latency`:
milliseconds that the venue takes for each answer. Exit status 1 when p99 of the dead side is 5 % above another's.
"""

import argparse
import asyncio
import contextlib
import json
import math
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from config.loader import load_settings
from config.settings import ExchangeName
from services import monitoring
from services.ledger import RungRecord
from services.simulated import simulated_venues
from tests.google.metric_server import SERVICE, metric_server
from trading.sizing import Target

NAME: ExchangeName = "bitbank"
SIDES = ("none", "healthy", "dead")
MOST = 1.05
FLUSH_SECONDS = 10  # the shortest: three times as often as the default
_PORTS = {"healthy": 19464, "dead": 19564}


# -- one trader, a child process


async def _trade(home: Path, words: Sequence[str], told_alerts: bool) -> None:
    """Run a cycle for each line on stdin and print what it took."""
    from tasks.books import close_books
    from tasks.carry_out import carry_out, reconcile_account
    from tasks.decide import decide
    from tasks.market import read_market
    from tasks.measures import Measures
    from tasks.session import trading

    os.environ["CRYPTO_BOT_HOME"] = str(home)
    settings = load_settings(environ=dict(os.environ), overrides=words)
    wanted = Decimal(0)
    async with trading(NAME, settings) as here:
        _certify(here, await here.listed())
        here.strategy = lambda candles, position: Target(wanted, "in and out")
        if settings.monitoring.sinks:
            monitoring.start(settings, f"trader-{NAME}")
        measures, number = Measures(here), 0
        _say({"ready": os.getpid()})
        while (await asyncio.to_thread(sys.stdin.readline)).strip():
            await here.clock.sleep(60)
            number, wanted = number + 1, 1 - wanted
            began = time.perf_counter()
            started_at = here.clock.now()
            books = await reconcile_account.fn(NAME)
            market = await read_market.fn(NAME)
            decision = await decide.fn(NAME, f"c{number}", books, market)
            ordered = time.perf_counter()
            outcome = await carry_out.fn(NAME, f"c{number}", decision, books)
            order_ms = (time.perf_counter() - ordered) * 1000
            report = await close_books.fn(NAME, f"c{number}", started_at, books, market, decision, outcome)
            measures.after_cycle(report)
            if told_alerts:
                monitoring.alert(f"dead-sinks-{number}", f"cycle {number}", settings=settings)
            cycle_ms = (time.perf_counter() - began) * 1000
            _say({"cycle_ms": cycle_ms, "order_ms": order_ms if outcome.order else None, "note": outcome.note})
    monitoring.stop()


def _certify(here: Any, instrument: Any) -> None:
    now = here.clock.now()
    record = RungRecord(
        account=here.account,
        symbol=here.symbol,
        rung="ramp_100",
        max_quantity=Decimal("0.01"),
        evidence={},
        approved_by="a drill",
        issued_at=now,
        expires_at=now + timedelta(days=400),
        fingerprint=asdict(here.running(instrument)),
    )
    here.ledger.issue_rung(record)


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


class Trader:
    """A child that runs one cycle each time it is asked."""

    def __init__(self, side: str, home: Path, words: Sequence[str]) -> None:
        self.cycles: list[float] = []
        self.orders: list[float] = []
        self.log = home / "trader.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scripts.dead_sinks", "--child", side, "--home", str(home), *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._hear()

    def cycle(self, *, counted: bool = True) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        told = self._hear()
        if counted:
            self.cycles.append(told["cycle_ms"])
            if told["order_ms"] is not None:
                self.orders.append(told["order_ms"])

    def end(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a trader ended: {self.log.read_text()[-2000:]}")
        found: dict[str, Any] = json.loads(line)
        return found


# -- what is dead, and what is well


@contextlib.contextmanager
def _black_hole() -> Iterator[int]:
    """A port that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        taken: list[socket.socket] = []

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(server.accept()[0])

        threading.Thread(target=take, daemon=True).start()
        yield server.getsockname()[1]
        for each in taken:
            each.close()


@contextlib.contextmanager
def _hanging_service() -> Iterator[str]:
    """A gRPC server that takes every write of metrics and never answers."""
    import grpc

    released = threading.Event()
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: released.wait(3600))
    server = grpc.server(ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"CreateTimeSeries": handler}),))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield address
    finally:
        released.set()
        server.stop(0)


def _scrape(stopped: threading.Event, port: int) -> None:
    """What Prometheus does every few seconds."""
    while not stopped.wait(5):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as it:
            it.read()


def _scrape_and_hang(stopped: threading.Event, port: int) -> None:
    """A scraper that connects, asks, and never reads; a new one every five seconds."""
    held: list[socket.socket] = []
    while not stopped.wait(5):
        with contextlib.suppress(OSError):
            each = socket.create_connection(("127.0.0.1", port), timeout=1)
            each.sendall(b"GET /metrics HTTP/1.1\r\n")
            held.append(each)


def _words(side: str, target: str) -> list[str]:
    # An order in every cycle, for a day and more, whatever it loses.
    orders = ["max_orders_per_day=100000", "max_daily_loss.JPY=100000000", "max_drawdown=1"]
    words = [f"risk.{each}" for each in orders]
    if side == "none":
        return [*words, "monitoring.sinks=[]"]
    words += [
        "monitoring.sinks=[file, prometheus, cloud_monitoring]",
        f"monitoring.flush_seconds={FLUSH_SECONDS}",
        "monitoring.project_id=dead-sinks-drill",
        f"monitoring.prometheus_port={_PORTS[side]}",
        f"monitoring.target={target}",
    ]
    if side == "healthy":
        return words
    channels = "[{name: hanging, url_secret: ALERTS_HANGING}]"
    return [*words, "monitoring.file_path=/dev/full", f"alerts.channels={channels}", "alerts.timeout_seconds=60"]


# -- the run


def run(cycles: int, latency_ms: float, seed: int) -> tuple[dict[str, Trader], dict[str, Any]]:
    """Let the three take turns; returns them with their times, and what the sinks saw."""
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(metric_server())
        os.environ["ALERTS_HANGING"] = f"json://127.0.0.1:{stack.enter_context(_black_hole())}/hooks"
        targets = {"none": "", "healthy": service.address, "dead": stack.enter_context(_hanging_service())}
        stopped = threading.Event()
        stack.callback(stopped.set)
        for work, side in ((_scrape, "healthy"), (_scrape_and_hang, "dead")):
            threading.Thread(target=work, args=(stopped, _PORTS[side]), daemon=True).start()
        faults = (f"--fault=slow={latency_ms / 1000:g}",) if latency_ms else ()
        traders: dict[str, Trader] = {}
        for side in SIDES:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            stack.enter_context(simulated_venues(home, {NAME: ("--clock", "stepped", *faults)}))
            traders[side] = Trader(side, home, _words(side, targets[side]))
            stack.callback(traders[side].end)
        chance = random.Random(seed)
        for number in range(cycles + 20):  # the first twenty warm up
            for side in chance.sample(SIDES, len(SIDES)):
                traders[side].cycle(counted=number >= 20)
        return traders, {"points_written": service.points, "refused": len(service.refusals)}


def _percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def summary(traders: dict[str, Trader]) -> dict[str, Any]:
    """Percentiles in milliseconds of each side, and the dead side's against the others'."""
    told: dict[str, Any] = {}
    for what in ("cycles", "orders"):
        sides = {
            side: {f"p{round(100 * share)}": _percentile(getattr(trader, what), share) for share in (0.5, 0.95, 0.99)}
            for side, trader in traders.items()
        }
        told[what] = {
            side: {"count": len(getattr(traders[side], what)), **{key: round(value, 2) for key, value in each.items()}}
            for side, each in sides.items()
        }
        told[what]["dead against"] = {
            side: {key: round(sides["dead"][key] / value, 3) for key, value in sides[side].items()}
            for side in SIDES[:2]
        }
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cycles", type=int, default=1500, help="of each side")
    parser.add_argument("--latency", type=float, default=0.0, metavar="MS")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        asyncio.run(_trade(asked.home, asked.words, asked.child == "dead"))
        return 0
    traders, seen = run(asked.cycles, asked.latency, asked.seed)
    told = {**summary(traders), "cloud monitoring, healthy side": seen}
    if asked.json:
        _say(told)
    else:
        _print(told)
    worst = max(against["p99"] for what in ("cycles", "orders") for against in told[what]["dead against"].values())
    return 1 if worst >= MOST else 0


def _print(told: dict[str, Any]) -> None:
    for what in ("cycles", "orders"):
        sys.stdout.write(f"{what:<10}{'count':>8}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}\n")
        for side in SIDES:
            row = told[what][side]
            sys.stdout.write(f"{side:<10}{row['count']:>8}{row['p50']:>10}{row['p95']:>10}{row['p99']:>10}\n")
        for side, row in told[what]["dead against"].items():
            sys.stdout.write(f"{'dead / ' + side:<18}{row['p50']:>10}{row['p95']:>10}{row['p99']:>10}\n")
    sys.stdout.write(f"cloud monitoring, healthy side: {told['cloud monitoring, healthy side']}\n")


if __name__ == "__main__":
    sys.exit(main())
