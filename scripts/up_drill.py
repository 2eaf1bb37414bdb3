"""The drill of `crypto-bot up`: how fast it starts and ends, and what becomes of orders when a part of it is killed.

    python scripts/up_drill.py [--exchange NAME ...] [--cycle-seconds N] [--json]

First a cold start: an empty home, the default configuration, from the command to "ready", then Ctrl+C. Then a home in
which the traders hold orders that rest: `kill -9` of the server, the worker and a trader, each alone, and Ctrl+C at the
end. Every order at the simulated venues is watched from outside, through their control side. Exit status 1 when a bound
is missed: 60 s to ready, 20 s from Ctrl+C to the end, no order at rest for longer than two cycles after a kill, none
left at the end.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import psutil

from cli.prefect_server import api_is_up, free_port
from config.settings import EXCHANGES, ExchangeName
from services.simulated import simulated_venues
from trading.sizing import Target

if TYPE_CHECKING:
    import pandas

READY_SECONDS = 60.0
DOWN_SECONDS = 20.0
MOST_CYCLES = 2.0
_PATIENCE = 300.0
_LOOK_SECONDS = 0.25
_BUDGET = 240  # requests a minute, as `up` gives to the venues that it starts


def restless(candles: "pandas.DataFrame", position: Decimal) -> Target:
    """A strategy that always wants what it has not (a fee in base leaves dust): an order in each cycle."""
    return Target(Decimal(0) if position > Decimal("0.5") else Decimal(1), f"{len(candles)} candles")


@dataclass(frozen=True)
class Kill:
    """What became of a `kill -9`; seconds of the wall clock."""

    process: str
    again_after: float  # until it ran again (the server: until it answered)
    orders: int  # that rested when it was killed
    longest_rest: float  # of those orders and of all that came until it was well again, counted from the kill
    cycles: float  # the same in trading cycles
    trades_after: float  # until every exchange had a new order


@dataclass
class Figures:
    """What the drill found. Seconds of the wall clock; `load` is the machine's, at the beginning and the end."""

    exchanges: tuple[str, ...]
    cycle_seconds: int
    load: list[float]
    ready_after: float = 0.0
    idle_down_after: float = 0.0
    kills: list[Kill] = field(default_factory=list)
    orders_at_end: int = 0  # that rested when Ctrl+C was sent
    down_after: float = 0.0
    orders_left: int = 0
    exit_status: int = 0

    def missed(self) -> list[str]:
        """The bounds that were missed, in words."""
        found = [f"ready after {self.ready_after:.0f} s"] if self.ready_after > READY_SECONDS else []
        found += [f"down after {each:.0f} s" for each in (self.idle_down_after, self.down_after) if each > DOWN_SECONDS]
        found += [f"{each.process}: {each.cycles:.1f} cycles" for each in self.kills if each.cycles > MOST_CYCLES]
        found += [f"{self.orders_left} orders left"] if self.orders_left else []
        return found + ([f"exit status {self.exit_status}"] if self.exit_status else [])


class Watch:
    """Looks at the orders of all venues, several times a second, until it is closed."""

    def __init__(self, control_urls: Mapping[str, str]) -> None:
        self._urls = control_urls
        self._seen: dict[tuple[str, str], tuple[float, float]] = {}  # first and last seen, of all that ever rested
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def resting(self) -> set[tuple[str, str]]:
        """Venue and id of the orders that rest now."""
        return {
            (name, order["id"])
            for name, url in self._urls.items()
            for order in _truth(url)["orders"]
            if order["status"] in ("open", "partially_filled")
        }

    def exchanges_with_new_orders(self, since: float) -> set[str]:
        with self._lock:
            return {name for (name, _), (first, _) in self._seen.items() if first > since}

    def longest_rest(self, since: float) -> float:
        """The longest rest of an order that was seen at or after `since`, counted from then at the soonest."""
        with self._lock:
            return max((last - max(first, since) for first, last in self._seen.values() if last >= since), default=0.0)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            now, resting = time.monotonic(), self.resting()
            with self._lock:
                for each in resting:
                    self._seen[each] = (self._seen.get(each, (now, now))[0], now)


@dataclass
class Up:
    """A running `crypto-bot up`."""

    process: "subprocess.Popen[bytes]"
    port: int
    told: Path

    def ready(self) -> bool:
        if self.process.poll() is not None:
            raise SystemExit(f"crypto-bot up ended: {self.told.read_text()}")
        return "ready after" in self.told.read_text()

    def child(self, words: str) -> int | None:
        """The child with these words in its command line."""
        for each in psutil.Process(self.process.pid).children():
            try:
                if each.status() != psutil.STATUS_ZOMBIE and words in " ".join(each.cmdline()):
                    return int(each.pid)
            except psutil.NoSuchProcess:
                continue
        return None

    def end(self) -> float:
        """Send Ctrl+C and wait; seconds until it had ended."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=_PATIENCE)
        return time.monotonic() - began


def _truth(url: str) -> dict[str, list[dict[str, str]]]:
    with urlopen(f"{url}/truth", timeout=30) as reply:
        found: dict[str, list[dict[str, str]]] = json.load(reply)
        return found


def _until(condition: Callable[[], object], what: str) -> float:
    """Wait for a condition; seconds that it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > _PATIENCE:
            raise SystemExit(f"{_PATIENCE:g} s have passed without {what}")
        time.sleep(0.05)
    return time.monotonic() - began


def _start(home: Path, exchanges: tuple[ExchangeName, ...], environment: Mapping[str, str]) -> Up:
    home.mkdir(parents=True, exist_ok=True)
    port, told = free_port(), home / "up.told"
    names = [word for name in exchanges for word in ("--exchange", name)]
    with told.open("w") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "up", "--port", str(port), *names],
            env={**_clean_environment(), "CRYPTO_BOT_HOME": str(home), **environment},
            stdout=words,
            stderr=subprocess.STDOUT,
        )
    return Up(process, port, told)


def _clean_environment() -> dict[str, str]:
    """Ours without what an operator has set for a bot of theirs: the drill runs the defaults."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("CRYPTO_BOT", "PREFECT_"))}


def cold_start(home: Path, exchanges: tuple[ExchangeName, ...], figures: Figures) -> None:
    """From an empty home to ready, and down again."""
    up = _start(home, exchanges, {})
    try:
        figures.ready_after = _until(up.ready, "ready")
        figures.idle_down_after = up.end()
        figures.exit_status |= up.process.returncode
    finally:
        _kill(up)


def kills(home: Path, exchanges: tuple[ExchangeName, ...], figures: Figures) -> None:
    """Kill each part alone while orders rest, then end all of it."""
    with simulated_venues(home, dict.fromkeys(exchanges, ()), requests_per_minute=_BUDGET) as venues:
        up = _start(home, exchanges, _trading_environment(figures.cycle_seconds))
        watch = Watch({name: venue.address.control_url for name, venue in venues.items()})
        try:
            _until(up.ready, "ready")
            for name, words in (
                ("server", "cli.prefect_server"),
                ("worker", "cli.prefect_worker"),
                ("trader", f"trade {exchanges[0]}"),
            ):
                figures.kills.append(_kill_one(up, watch, name, words, figures))
            _until(lambda: _all_rest(watch, exchanges), "an order at each exchange")
            figures.orders_at_end = len(watch.resting())
            figures.down_after = up.end()
            figures.exit_status |= up.process.returncode
            figures.orders_left = len(watch.resting())
        finally:
            watch.close()
            _kill(up)


def _kill_one(up: Up, watch: Watch, name: str, words: str, figures: Figures) -> Kill:
    """Kill a child while every exchange has an order, and watch until every exchange has a new one."""
    victim = up.child(words)
    if victim is None:
        raise SystemExit(f"the {name} does not run: {up.told.read_text()}")
    _until(lambda: _all_rest(watch, figures.exchanges), "an order at each exchange")
    orders, at = len(watch.resting()), time.monotonic()
    os.kill(victim, signal.SIGKILL)
    again_after = _until(lambda: up.child(words) not in (None, victim), f"another {name}")
    if name == "server":
        again_after += _until(lambda: api_is_up(f"http://127.0.0.1:{up.port}/api"), "the API")
    _until(lambda: watch.exchanges_with_new_orders(at) >= set(figures.exchanges), "a new order at each exchange")
    trades_after = time.monotonic() - at
    rest = watch.longest_rest(at)
    return Kill(name, again_after, orders, rest, rest / figures.cycle_seconds, trades_after)


def _all_rest(watch: Watch, exchanges: tuple[str, ...]) -> bool:
    return {name for name, _ in watch.resting()} >= set(exchanges)


def _trading_environment(cycle_seconds: int) -> dict[str, str]:
    """Real orders soon after the start: paper is earned in one cycle, then the smallest size rests at our side."""
    settings = {
        "EXECUTION__CYCLE_SECONDS": cycle_seconds,
        "EXECUTION__ORDER_STYLE": "maker",
        "STRATEGY__NAME": "up_drill.restless",
        "STRATEGY__PARAMETERS": "{}",
        "RISK__DUPLICATE_WINDOW_SECONDS": 0,
        "RISK__REPEATED_EXECUTION_LIMIT": 100000,
        "RISK__MAX_ORDERS_PER_DAY": 100000,
        "LADDER__REVIEW_CYCLES": 1,
        "LADDER__PAPER__MIN_SECONDS": 1,
        "LADDER__PAPER__MIN_CYCLES": 1,
        "LADDER__PAPER__MIN_FILLS": 0,
        "LADDER__PAPER__MAX_LATENCY_P95_MS": 60000,
        "LADDER__PAPER__MAX_WARNINGS": 1000,
        "LADDER__MINIMAL__MAX_ORDERS_PER_DAY": 100000,
        **{f"EXCHANGES__{name.upper()}__REQUESTS_PER_MINUTE": _BUDGET * 4 for name in EXCHANGES},
    }
    environment = {f"CRYPTO_BOT__{name}": str(value) for name, value in settings.items()}
    folder = str(Path(__file__).resolve().parent)
    return {**environment, "PYTHONPATH": os.pathsep.join((folder, os.environ.get("PYTHONPATH", "")))}


def _kill(up: Up) -> None:
    if up.process.poll() is None:
        up.process.kill()  # its children end with it
        up.process.wait()


def _load() -> float:
    return round(os.getloadavg()[0], 1)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _print(found: Figures) -> None:
    _say(f"{', '.join(found.exchanges)}; a cycle each {found.cycle_seconds} s; load {found.load[0]}, {found.load[1]}")
    _say(f"cold start to ready            {found.ready_after:6.1f} s (at most {READY_SECONDS:g})")
    _say(f"Ctrl+C to all down, no order   {found.idle_down_after:6.1f} s (at most {DOWN_SECONDS:g})")
    for each in found.kills:
        _say(
            f"kill -9 of the {each.process:<7} again after {each.again_after:5.1f} s · {each.orders} orders rested, "
            f"the longest for {each.longest_rest:5.1f} s = {each.cycles:.1f} cycles (at most {MOST_CYCLES:g}) · "
            f"new orders everywhere after {each.trades_after:.1f} s"
        )
    _say(
        f"Ctrl+C with {found.orders_at_end} orders at rest    {found.down_after:6.1f} s (at most {DOWN_SECONDS:g}), "
        f"{found.orders_left} orders left, exit status {found.exit_status}"
    )
    _say(f"missed: {'; '.join(found.missed()) or 'nothing'}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--exchange", action="append", choices=EXCHANGES, help="all four unless named")
    parser.add_argument("--cycle-seconds", type=int, default=20, help="of the part with orders (default 20)")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    exchanges = tuple(asked.exchange or EXCHANGES)
    figures = Figures(exchanges, asked.cycle_seconds, [_load()])
    with tempfile.TemporaryDirectory() as folder:
        cold_start(Path(folder) / "cold", exchanges, figures)
        kills(Path(folder) / "trading", exchanges, figures)
    figures.load.append(_load())
    if asked.json:
        _say(json.dumps({**asdict(figures), "missed": figures.missed()}, indent=2))
    else:
        _print(figures)
    return 1 if figures.missed() else 0


if __name__ == "__main__":
    sys.exit(main())
