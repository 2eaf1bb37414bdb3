"""`crypto-bot up`: Prefect server and UI, deployments, a worker, simulated venues where configured, one trader each.
With `prefect.api_url` it joins a server of another machine: a worker and traders alone.

All of it starts at once, is a child of this process and is started again when it dies. It goes down in the order that
is safe: traders first, each proving that it left no order, then what the worker runs, the worker, the server, the
venues.
"""

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from cli.heartbeat import beat_file, last_beat
from cli.output import say
from cli.prefect_auth import api_password, password_file
from cli.prefect_server import (
    PrefectServer,
    api_is_up,
    joined_api,
    prefect_server,
    refuse_absent_api,
    refuse_used_port,
)
from cli.signs_of_life import SignsOfLife
from cli.supervisor import Child, Process, Supervisor, end_all, wait_or_kill
from cli.telling import tell_death, tell_stop
from cli.venues import venues_ready
from cli.worker import CHECKOUT, absolute_places, end_worker, log_of, start_module, start_worker
from config.errors import ConfigurationError
from config.guide import EMERGENCY, KILL_SWITCH, see
from config.loader import load_settings
from config.settings import ExchangeName, Settings
from execution.hold import holder_elsewhere, holder_here
from execution.latch import kill_switch
from services.children import ending_signals
from services.clock import WallClock
from services.ledger import Ledger, LedgerUnavailable
from trading.stages import PAPER

_TRADER_SECONDS = 60.0  # a trader's stop reads its venue until it is proved empty
_SILENT_CYCLES = 3
_PULSE_SECONDS = 5.0
_OUR_SERVER = "Prefect's server, its deployments"
_HUNG_SECONDS = (15.0, 60.0)  # a busy machine, or a long look into the ledger, stops an event loop for seconds
_FIRST_CYCLE_SECONDS = 600.0  # three checks at the smallest budget come before it
# The simulated venues that start here keep their published limits, which are wider than what the configuration asks
# of a real account: OKJ's three checks at 20 requests a minute would take three minutes.
_SIMULATED_REQUESTS = 240


def run_up(exchanges: Sequence[ExchangeName], *, port: int) -> int:
    """Run all of it until Ctrl+C; exit status 0 when every account was proved empty."""
    began = time.monotonic()
    settings = load_settings()
    if not (CHECKOUT / "prefect.yaml").is_file():
        raise ConfigurationError(f"{CHECKOUT / 'prefect.yaml'} is missing: run `crypto-bot up` from a checkout")
    joined = settings.prefect.api_url
    if joined:
        refuse_absent_api(settings.prefect)
    else:
        refuse_used_port(port, settings.prefect.listen_on)
    absolute_places(settings)
    with contextlib.ExitStack() as stack:
        stack.enter_context(venues_ready(settings, exchanges, trading=True, requests_per_minute=_SIMULATED_REQUESTS))
        server: PrefectServer | None = None
        if joined:
            api = stack.enter_context(joined_api(settings.home, joined))
        else:
            password = api_password(settings.home)
            server = stack.enter_context(prefect_server(settings.home / "prefect", port, password, settings.prefect))
            api = server.api
        stopped = threading.Event()
        for each in ending_signals():
            signal.signal(each, lambda *_: stopped.set())
        clean = _Operation(settings, tuple(exchanges), api, server, stopped, began).run()
    say("all is down" if clean else f"[red]an account is not proved empty: crypto-bot stop[/]{see(EMERGENCY)}")
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
    api: str
    server: PrefectServer | None  # None: it runs on another machine
    stopped: threading.Event
    began: float
    supervisor: Supervisor = field(default_factory=lambda: Supervisor(say))
    traders: dict[ExchangeName, Child] = field(default_factory=dict)
    pulses: dict[ExchangeName, _Pulse] = field(default_factory=dict)
    at_start: dict[ExchangeName, str] = field(default_factory=dict)
    ledger: Ledger = field(init=False)

    def run(self) -> bool:
        """Start, look after, and take down; True when every account was proved empty."""
        say(f"starting {f'a worker at {self.api}' if self.server is None else _OUR_SERVER} and the traders")
        self.ledger = Ledger(self.settings.ledger_url)
        # A server of another machine has been set up there, once for all that join it.
        provisioning = None if self.server is None else self._start("provision", "cli.provision")
        worker = Child(
            "the worker", lambda: start_worker(self.settings), clear_up=lambda: self._tell_death("the worker")
        )
        try:
            self.at_start = {name: self._newest_cycle(name) for name in self.exchanges}
            for name in self.exchanges:
                self._add_trader(name)
            if self.server is not None and provisioning is not None:
                self._set_up(self.server, provisioning)
            if not self.stopped.is_set():
                self.supervisor.add(worker)
            self.supervisor.watch(self.stopped, self._all_trade)
            if not self.stopped.is_set():
                trading = [name for name in self.exchanges if not self.traders[name].waits_for]
                say(
                    f"ready after {time.monotonic() - self.began:.0f} s: {', '.join(trading) or 'none here'} trade · "
                    "Ctrl+C stops all"
                )
            signs = SignsOfLife(self.ledger)
            self.supervisor.watch(self.stopped, lambda: self._beat(signs, worker))
            signs.end()
        finally:
            clean = self._take_down(worker, provisioning)
            self.ledger.close()
        return clean

    def _set_up(self, server: PrefectServer, provisioning: Process) -> None:
        """Wait for our own server and for what it needs to run this bot."""

        def is_up() -> bool:
            if server.process.poll() is not None:
                raise ConfigurationError(f"Prefect's server did not start; its last words are in {server.log}")
            return api_is_up(server.api)

        self.supervisor.watch(self.stopped, is_up)
        self.supervisor.children.append(
            Child(
                "Prefect's server",
                server.start_again,
                clear_up=lambda: self._tell_death("Prefect's server"),
                process=server.process,
            )
        )
        say(f"Prefect's UI: {server.ui} (log in with the text in {password_file(self.settings.home)})")
        self.supervisor.watch(self.stopped, lambda: provisioning.poll() is not None)
        if not self.stopped.is_set() and provisioning.returncode != 0:
            words = log_of(self.settings, "provision")
            raise ConfigurationError(f"setting up Prefect failed; its words are in {words}")

    def _beat(self, signs: SignsOfLife, worker: Child) -> bool:
        """Write that those live which do not write it themselves; never enough."""
        server = None if self.server is None else self.server.process
        signs.beat(
            {
                "prefect server": server.pid if server is not None and server.poll() is None else None,
                "worker": worker.process.pid if worker.is_running and worker.process is not None else None,
            }
        )
        return False

    def _add_trader(self, name: ExchangeName) -> None:
        def start() -> Process:
            beat_file(self.settings.home, name).unlink(missing_ok=True)  # its predecessor's
            self.pulses[name] = _Pulse(time.monotonic(), time.monotonic())
            return self._start(f"trader-{name}", "cli.main", "trade", name, "--supervisor", str(os.getpid()))

        child = Child(
            f"the trader of {name}",
            start,
            clear_up=lambda: self._after_death(name),
            may_start=lambda: self._latched(name) or self._held_elsewhere(name),
            is_silent=lambda: self._is_silent(name),
            give_up=lambda: self._give_up(name),
        )
        self.traders[name] = child
        self.supervisor.add(child)

    def _tell_death(self, what: str) -> None:
        tell_death(self.settings, f"{what} has died and starts again", f"up:{what}")

    def _after_death(self, name: ExchangeName) -> None:
        if self._held_elsewhere(name):
            return
        tell_death(
            self.settings,
            f"the trader of {name} has died: its orders are taken back, then it starts again",
            f"{name}:trader",
        )
        self._take_back((name,), f"the trader of {name} died")

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
        tell_stop(self.settings, names, stop.report, latched=False, to_do=stop.to_do)
        return stop.clean

    def _give_up(self, name: ExchangeName) -> None:
        from execution.emergency import stop_exchanges

        if self._held_elsewhere(name):
            return
        reason = f"the trader of {name} died again and again"
        tell_death(self.settings, f"{reason}: it is given up and the exchange is stopped", f"{name}:trader")
        stop = asyncio.run(
            stop_exchanges(self.settings, (name,), by="crypto-bot up", reason=reason, close_positions=False)
        )
        tell_stop(self.settings, (name,), stop.report, latched=stop.report.latched, to_do=stop.to_do)

    def _held_elsewhere(self, name: ExchangeName) -> str:
        """Why a trader that is not ours is in the way, of another host or of another terminal; its orders are not ours
        to take back. Asked while our own does not run.
        """
        account = self.settings.account(name)
        try:
            holder = holder_here(self.settings.home, account) or holder_elsewhere(
                self.settings.home, self.ledger, account, WallClock().now()
            )
        except LedgerUnavailable as error:
            return str(error)
        return f"{account} is traded by {holder}" if holder else ""

    def _latched(self, name: ExchangeName) -> str:
        account = self.settings.account(name)
        try:
            latch = kill_switch(self.settings.home, self.ledger, account)
        except LedgerUnavailable as error:
            return str(error)
        if latch is None:
            return ""
        return (
            f"the kill switch was set by {latch.by} ({latch.reason}); "
            f"crypto-bot rearm {name} --by NAME --reason TEXT{see(KILL_SWITCH)}"
        )

    def _newest_cycle(self, name: ExchangeName) -> str:
        account, symbol = self.settings.account(name), self.settings.symbol(name)
        found = [self.ledger.cycles(each, symbol, limit=1) for each in (account, f"{account}:{PAPER}")]
        return " ".join(cycles[0].cycle_id for cycles in found if cycles)

    def _all_trade(self) -> bool:
        return all(
            child.waits_for or self._newest_cycle(name) != self.at_start[name] for name, child in self.traders.items()
        )

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
        if newest != pulse.newest or not api_is_up(self.api):
            pulse.newest, pulse.seen_at = newest, now
        waited_for: float = self.settings.execution.cycle_seconds * _SILENT_CYCLES
        if pulse.newest == self.at_start[name]:
            waited_for = max(waited_for, _FIRST_CYCLE_SECONDS)
        return now - pulse.seen_at > waited_for

    def _start(self, log: str, module: str, *words: str) -> Process:
        return start_module(self.settings, log, module, *words)

    def _take_down(self, worker: Child, provisioning: Process | None) -> bool:
        """Traders, then the worker's runs, then the worker; True when every account was proved empty."""
        say("going down: traders first")
        pausing = None
        if provisioning is not None:
            if provisioning.poll() is None:
                provisioning.kill()
            with contextlib.suppress(OSError):  # a disk that takes no log: the traders end all the same
                pausing = self._start("provision", "cli.provision", "--pause")
        statuses = end_all([child.process for child in self.traders.values()], signal.SIGTERM, _TRADER_SECONDS)
        self.supervisor.finish_clearing()
        unproved = [
            name
            for name, status in zip(self.traders, statuses, strict=True)
            if status != 0 and not self._held_elsewhere(name)
        ]
        clean = not unproved or self._take_back(unproved, f"no proof from the trader of {', '.join(unproved)}")
        if pausing is not None:
            wait_or_kill(pausing, 5)
        end_worker(worker)
        return clean


def hung_after(cycle_seconds: float) -> float:
    """How long a trader may give no sign of life (seconds): a cycle, and no more than is needed to be sure."""
    least, most = _HUNG_SECONDS
    return max(least, min(most, cycle_seconds))
