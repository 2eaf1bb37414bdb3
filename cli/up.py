"""`crypto-bot up`: Prefect server and UI, deployments, a worker, simulated venues where configured, one trader each.

Everything is a child of this process. It goes down in the order that is safe: traders first, each proving that it left
no order, then the worker, the server and the venues.
"""

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from cli.checking import run_checks
from cli.output import say
from cli.prefect_server import PrefectServer, prefect_server, refuse_used_port
from cli.venues import venues_ready
from config.errors import ConfigurationError
from config.loader import load_settings
from config.settings import Endpoint, ExchangeName, Settings
from services.ledger import Ledger
from trading.stages import CHECKS

_CHECKOUT = Path(__file__).resolve().parents[1]
_POOL = "local"
_TRADER_SECONDS = 60  # a trader's stop reads its venue until it is proved empty
_STAGES = ("compatibility", "read_only", "minimal_order")


def run_up(exchanges: Sequence[ExchangeName], *, port: int) -> int:
    """Run all of it until Ctrl+C; exit status 0 when every trader left its account empty."""
    settings = load_settings()
    if not (_CHECKOUT / "prefect.yaml").is_file():
        raise ConfigurationError(f"{_CHECKOUT / 'prefect.yaml'} is missing: run `crypto-bot up` from a checkout")
    refuse_used_port(port)
    with venues_ready(settings, exchanges, trading=True), prefect_server(settings.home / "prefect", port) as server:
        say("starting Prefect's server")
        server.wait_until_up()
        _deploy(settings)
        with _worker(settings):
            if not _climb_simulated(settings, exchanges):
                return 1
            clean = _trade_until_stopped(settings, exchanges, server)
    say("all is down" if clean else "[red]a trader did not prove its account empty: crypto-bot stop[/]")
    return 0 if clean else 1


def _trade_until_stopped(settings: Settings, exchanges: Sequence[ExchangeName], server: PrefectServer) -> bool:
    """Run the traders until Ctrl+C or SIGTERM; True when each then proved its account empty."""
    stopped = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: stopped.set())
    traders = {name: _trader(settings, name) for name in exchanges}
    try:
        say(f"Prefect's UI: {server.ui} · traders: {', '.join(traders)} · Ctrl+C stops all")
        _watch(traders, stopped)
    finally:
        clean = _stop_traders(traders)
    return clean


def _deploy(settings: Settings) -> None:
    """Make the work pool and register every deployment; both may exist already."""
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    log = _log(settings, "deploy")
    for words in (
        ["work-pool", "create", _POOL, "--type", "process", "--overwrite"],
        ["deploy", "--all"],
    ):
        with log.open("a") as told:
            done = subprocess.run([*prefect, *words], cwd=_CHECKOUT, stdout=told, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            raise ConfigurationError(f"prefect {' '.join(words)} failed; its words are in {log}")


@contextlib.contextmanager
def _worker(settings: Settings) -> Iterator[None]:
    with _log(settings, "worker").open("w") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", _POOL, "--type", "process"],
            cwd=_CHECKOUT,
            stdout=told,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        _end(process, 15)


def _climb_simulated(settings: Settings, exchanges: Sequence[ExchangeName]) -> bool:
    """A simulated exchange without a rung, or back at the first checks, gets them now; a real one waits for a person.

    False when a check failed or was interrupted.
    """
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        fresh = [
            name
            for name in exchanges
            if settings.exchanges[name].endpoint is Endpoint.SIMULATED and _must_be_checked(ledger, settings, name)
        ]
    return not fresh or run_checks(fresh, _STAGES, verbose=False, as_json=False) == 0


def _must_be_checked(ledger: Ledger, settings: Settings, exchange: ExchangeName) -> bool:
    record = ledger.rung(settings.account(exchange), settings.symbol(exchange))
    return record is None or record.rung in CHECKS[:-1]


def _trader(settings: Settings, exchange: ExchangeName) -> "subprocess.Popen[bytes]":
    with _log(settings, f"trader-{exchange}").open("a") as told:
        return subprocess.Popen(
            [sys.executable, "-m", "cli.main", "trade", exchange],
            stdout=told,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _watch(traders: "dict[ExchangeName, subprocess.Popen[bytes]]", stopped: threading.Event) -> None:
    told: set[str] = set()
    while not stopped.wait(0.5):
        for name, process in traders.items():
            if process.poll() is not None and name not in told:
                told.add(name)
                say(f"[red]the trader of {name} ended with status {process.returncode}; see its log[/]")


def _stop_traders(traders: "dict[ExchangeName, subprocess.Popen[bytes]]") -> bool:
    """End all traders at once and wait for their proof; True when each exited clean."""
    for process in traders.values():
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    statuses = [_end(process, _TRADER_SECONDS, ask=False) for process in traders.values()]
    return not any(statuses)


def _end(process: "subprocess.Popen[bytes]", seconds: float, *, ask: bool = True) -> int:
    if ask and process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _log(settings: Settings, name: str) -> Path:
    path = settings.home / "logs" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
