"""`crypto-bot up`: Prefect server and UI, deployments, a worker, simulated venues where configured, one trader each.

All of it starts at once, is a child of this process and is started again when it dies. It goes down in the order that
is safe: traders first, each proving that it left no order, then what the worker runs, the worker, the server, the
venues.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.heartbeat import beat_file, last_beat
from cli.output import say
from cli.prefect_auth import api_password, password_file
from cli.prefect_server import PrefectServer, api_is_up, prefect_server, refuse_used_port
from cli.provision import POOL
from cli.supervisor import Child, Process, Supervisor, end_all, end_in_order, wait_or_kill
from cli.venues import venues_ready
from config.errors import ConfigurationError
from config.loader import load_settings
from config.settings import ExchangeName, Settings
from execution.latch import kill_switch
from services.ledger import Ledger, LedgerUnavailable
from trading.stages import PAPER

_CHECKOUT = Path(__file__).resolve().parents[1]
_TRADER_SECONDS = 60.0  # a trader's stop reads its venue until it is proved empty
_RUN_SECONDS = 20.0  # what a deployment's run may take to clear up behind itself
_WORKER_SECONDS = 10.0
_SILENT_CYCLES = 3
_PULSE_SECONDS = 5.0
_HUNG_SECONDS = (15.0, 60.0)  # a busy machine, or a long look into the ledger, stops an event loop for seconds
_FIRST_CYCLE_SECONDS = 600.0  # three checks at the smallest budget come before it
# The simulated venues that start here keep their published limits, which are wider than what the configuration asks
# of a real account: OKJ's three checks at 20 requests a minute would take three minutes.
_SIMULATED_REQUESTS = 240
# What the worker's runs carry in their environment, so that they are found also when the worker has died.
_MARK = "CRYPTO_BOT_UP"


def run_up(exchanges: Sequence[ExchangeName], *, port: int) -> int:
    """Run all of it until Ctrl+C; exit status 0 when every account was proved empty."""
    began = time.monotonic()
    settings = load_settings()
    if not (_CHECKOUT / "prefect.yaml").is_file():
        raise ConfigurationError(f"{_CHECKOUT / 'prefect.yaml'} is missing: run `crypto-bot up` from a checkout")
    refuse_used_port(port)
    _absolute_places(settings)
    with venues_ready(settings, exchanges, trading=True, requests_per_minute=_SIMULATED_REQUESTS):
        password = api_password(settings.home)
        with prefect_server(settings.home / "prefect", port, password) as server:
            stopped = threading.Event()
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, lambda *_: stopped.set())
            clean = _Operation(settings, tuple(exchanges), server, stopped, began).run()
    say("all is down" if clean else "[red]an account is not proved empty: crypto-bot stop[/]")
    return 0 if clean else 1


@dataclass
class _Pulse:
    """When the newest cycle of an exchange was first seen, in seconds of the monotonic clock."""

    seen_at: float
    looked_at: float
    newest: str = ""
    beat: str | None = None  # the last sign of life, and when it was first seen
    beat_at: float = 0.0


@dataclass
class _Operation:
    """One `crypto-bot up` under way."""

    settings: Settings
    exchanges: tuple[ExchangeName, ...]
    server: PrefectServer
    stopped: threading.Event
    began: float
    supervisor: Supervisor = field(default_factory=lambda: Supervisor(say))
    traders: dict[ExchangeName, Child] = field(default_factory=dict)
    pulses: dict[ExchangeName, _Pulse] = field(default_factory=dict)
    at_start: dict[ExchangeName, str] = field(default_factory=dict)
    ledger: Ledger = field(init=False)

    def run(self) -> bool:
        """Start, look after, and take down; True when every account was proved empty."""
        say("starting Prefect's server, its deployments and the traders")
        self.ledger = Ledger(self.settings.ledger_url)
        provisioning = self._start("provision", "cli.provision")
        worker = Child("the worker", self._start_worker)
        try:
            self.at_start = {name: self._newest_cycle(name) for name in self.exchanges}
            for name in self.exchanges:
                self._add_trader(name)
            self.supervisor.watch(self.stopped, self._is_server_up)
            self.supervisor.children.append(
                Child("Prefect's server", self.server.start_again, process=self.server.process)
            )
            say(f"Prefect's UI: {self.server.ui} (log in with the text in {password_file(self.settings.home)})")
            self.supervisor.watch(self.stopped, lambda: provisioning.poll() is not None)
            if not self.stopped.is_set() and provisioning.returncode != 0:
                raise ConfigurationError(f"setting up Prefect failed; its words are in {self._log('provision')}")
            if not self.stopped.is_set():
                self.supervisor.add(worker)
            self.supervisor.watch(self.stopped, self._all_trade)
            if not self.stopped.is_set():
                say(
                    f"ready after {time.monotonic() - self.began:.0f} s: {', '.join(self.exchanges)} trade · "
                    "Ctrl+C stops all"
                )
            self.supervisor.watch(self.stopped)
        finally:
            clean = self._take_down(worker, provisioning)
            self.ledger.close()
        return clean

    def _is_server_up(self) -> bool:
        if self.server.process.poll() is not None:
            raise ConfigurationError(f"Prefect's server did not start; its last words are in {self.server.log}")
        return api_is_up(self.server.api)

    def _add_trader(self, name: ExchangeName) -> None:
        def start() -> Process:
            beat_file(self.settings.home, name).unlink(missing_ok=True)  # its predecessor's
            self.pulses[name] = _Pulse(time.monotonic(), time.monotonic())
            return self._start(f"trader-{name}", "cli.main", "trade", name, "--supervisor", str(os.getpid()))

        child = Child(
            f"the trader of {name}",
            start,
            clear_up=lambda: self._take_back((name,), f"the trader of {name} died"),
            may_start=lambda: self._latched(name),
            is_silent=lambda: self._is_silent(name),
            give_up=lambda: self._give_up(name),
        )
        self.traders[name] = child
        self.supervisor.add(child)

    def _take_back(self, names: Sequence[ExchangeName], why: str) -> bool:
        """Cancel what dead traders left and prove it; the kill switch stays as it is. False when it is not proved."""
        from execution.emergency import stop_exchanges

        say(f"{why}: its orders are taken back")
        stop = asyncio.run(
            stop_exchanges(self.settings, names, by="crypto-bot up", reason=why, close_positions=False, latch=False)
        )
        for venue in stop.report.venues:
            say(f"{venue.account}: {len(venue.cancelled)} cancelled, {len(venue.left)} left")
        for problem in stop.problems:
            say(f"[red]{problem}[/]")
        return stop.clean

    def _give_up(self, name: ExchangeName) -> None:
        from execution.emergency import stop_exchanges

        reason = f"the trader of {name} died again and again"
        asyncio.run(stop_exchanges(self.settings, (name,), by="crypto-bot up", reason=reason, close_positions=False))

    def _latched(self, name: ExchangeName) -> str:
        account = self.settings.account(name)
        try:
            latch = kill_switch(self.settings.home, self.ledger, account)
        except LedgerUnavailable as error:
            return str(error)
        if latch is None:
            return ""
        return (
            f"the kill switch was set by {latch.by} ({latch.reason}); crypto-bot rearm {name} --by NAME --reason TEXT"
        )

    def _newest_cycle(self, name: ExchangeName) -> str:
        account, symbol = self.settings.account(name), self.settings.symbol(name)
        found = [self.ledger.cycles(each, symbol, limit=1) for each in (account, f"{account}:{PAPER}")]
        return " ".join(cycles[0].cycle_id for cycles in found if cycles)

    def _all_trade(self) -> bool:
        return all(self._newest_cycle(name) != self.at_start[name] for name in self.exchanges)

    def _is_silent(self, name: ExchangeName) -> bool:
        """Whether a trader hangs, or has shown no cycle for three of them (without Prefect's API it rightly runs none).

        One that hangs is found within a cycle: its orders are taken back before they lie there for two.
        """
        pulse, now = self.pulses[name], time.monotonic()
        if now - pulse.looked_at < _PULSE_SECONDS:
            return False
        pulse.looked_at = now
        beat = last_beat(beat_file(self.settings.home, name))
        if beat != pulse.beat:
            pulse.beat, pulse.beat_at = beat, now
        if beat is not None and now - pulse.beat_at > hung_after(self.settings.execution.cycle_seconds):
            return True
        try:
            newest = self._newest_cycle(name)
        except LedgerUnavailable:
            newest = pulse.newest
        if newest != pulse.newest or not api_is_up(self.server.api):
            pulse.newest, pulse.seen_at = newest, now
        waited_for: float = self.settings.execution.cycle_seconds * _SILENT_CYCLES
        if pulse.newest == self.at_start[name]:
            waited_for = max(waited_for, _FIRST_CYCLE_SECONDS)
        return now - pulse.seen_at > waited_for

    def _start_worker(self) -> Process:
        words = (str(os.getpid()), "worker", "start", "--pool", POOL, "--type", "process", "--name", "crypto-bot up")
        return self._start("worker", "cli.prefect_worker", *words)

    def _start(self, log: str, module: str, *words: str) -> Process:
        with self._log(log).open("a") as told:
            return subprocess.Popen(
                [sys.executable, "-m", module, *words],
                cwd=_CHECKOUT if module != "cli.main" else None,
                env={**os.environ, _MARK: str(os.getpid())},
                stdout=told,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _log(self, name: str) -> Path:
        path = self.settings.home / "logs" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _take_down(self, worker: Child, provisioning: Process) -> bool:
        """Traders, then the worker's runs, then the worker; True when every account was proved empty."""
        say("going down: traders first")
        if provisioning.poll() is None:
            provisioning.kill()
        pausing = self._start("provision", "cli.provision", "--pause")
        statuses = end_all([child.process for child in self.traders.values()], signal.SIGTERM, _TRADER_SECONDS)
        self.supervisor.finish_clearing()
        unproved = [name for name, status in zip(self.traders, statuses, strict=True) if status != 0]
        clean = not unproved or self._take_back(unproved, f"no proof from the trader of {', '.join(unproved)}")
        wait_or_kill(pausing, 5)
        _end_runs()
        end_in_order(worker.process, signal.SIGINT, _WORKER_SECONDS)
        return clean


def hung_after(cycle_seconds: float) -> float:
    """How long a trader may give no sign of life (seconds): a cycle, and no more than is needed to be sure."""
    least, most = _HUNG_SECONDS
    return max(least, min(most, cycle_seconds))


def _end_runs() -> None:
    """Ask the worker's runs to end and wait for them: a worker that stops kills its runs before they can clear up, and
    those of a worker that died go on by themselves.
    """
    running = list(_runs())
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _RUN_SECONDS
    while time.monotonic() < deadline and any(pid in running for pid in _runs()):
        time.sleep(0.2)


def _runs() -> Iterator[int]:
    """Processes of flow runs that began under this `crypto-bot up` (read from /proc; elsewhere none)."""
    mark = f"{_MARK}={os.getpid()}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environ = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended, or is somebody else's
        if mark in environ and any(each.startswith(b"PREFECT__FLOW_RUN_ID=") for each in environ):
            yield int(process.name)


def _absolute_places(settings: Settings) -> None:
    """The worker's runs have another working directory: what is named in the environment must be found from there."""
    os.environ["CRYPTO_BOT_HOME"] = str(settings.home.resolve())
    files = os.environ.get("CRYPTO_BOT_CONFIG")
    if files:
        os.environ["CRYPTO_BOT_CONFIG"] = os.pathsep.join(str(Path(each).resolve()) for each in files.split(os.pathsep))
