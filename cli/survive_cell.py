"""One cell of the survival table: a fresh venue, a fresh home, a trader that meets one fault, and the judgement."""

import contextlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from random import Random
from typing import Any

from cli.survive_catalogue import NOT_APPLICABLE, Drill
from cli.survive_processes import CYCLE_SECONDS, Trader, TraderGone, begin, ended
from cli.survive_trader import Orders, other_command, serve_venue, trade
from config.loader import DEMO_FILE, load_settings
from config.settings import EXCHANGES, ExchangeName, Settings
from execution.latch import kill_switch
from services.clock import WallClock
from services.ledger import Ledger
from services.simulated import VenueAddress, note_venue
from trading.orders import State
from trading.survival import judge, verdict

_CALM_CYCLES = 2
_MOST_SETTLING_CYCLES = 25
_OUTCOME_UNKNOWN = frozenset({State.INTENDED, State.SENT, State.UNKNOWN})
_LIFETIME_MINUTES = 5  # of bitFlyer's orders, so that one of unknown outcome is proved within a few cycles


@dataclass(frozen=True)
class CellResult:
    """One cell. `passed` None: it does not apply, `note` says why. `seconds`: of the wall."""

    exchange: str
    fault: str
    passed: bool | None
    duplicates: int
    lost: int
    unresolved: int
    halted: str
    seconds: float
    note: str


class _NotApplicable(Exception):
    """The venue says that it has no such thing; the text says why."""


@dataclass
class Cell:
    """A cell under way."""

    exchange: ExchangeName
    drill: Drill
    home: Path
    api: str  # of Prefect, ending in /api
    processes: ForkServerContext
    seed: int
    prefect_away: Callable[[], contextlib.AbstractContextManager[None]]
    new_ledger: Path  # an empty one, copied: making the tables anew takes longer than a cycle
    problems: list[str] = field(default_factory=list)

    def run(self) -> CellResult:
        """Run the cell; what goes wrong in the drill itself is told in the note of a cell that has not passed."""
        began = time.monotonic()
        why = ""
        try:
            return self._run(began)
        except _NotApplicable as not_here:
            why = str(not_here)
        except TraderGone as gone:
            self.problems.append(str(gone))
        passed, note = (False, "; ".join(self.problems)) if self.problems else (None, f"does not apply: {why}")
        return CellResult(self.exchange, self.drill.fault, passed, 0, 0, 0, "", _since(began), note)

    def _run(self, began: float) -> CellResult:
        settings = _settings(self.home, self.exchange, self.drill.style)
        self.home.mkdir(parents=True)
        shutil.copy(self.new_ledger, self.home / "ledger.db")
        with self._venue() as venue, contextlib.closing(Ledger(settings.ledger_url)) as ledger:
            self.venue, self.ledger, self.settings = venue, ledger, settings
            with self._trader() as trader:
                for _ in range(_CALM_CYCLES):
                    trader.one_cycle()
                trader = self._under_fault(trader)
                went_on = self._settle(trader)
                status = trader.end()
                if status != 0:
                    self.problems.append(f"the trader ended with {status} after SIGTERM")
            return self._judged(began, went_on)

    def _judged(self, began: float, went_on: bool) -> CellResult:
        account = self.settings.account(self.exchange)
        opening = self.ledger.opening(account)
        found = judge(
            self.ledger.orders(account),
            self.ledger.fills(account),
            opening[0] if opening else {},
            self._control("truth"),
        )
        fault_in_ledger = self.ledger.verify_chain()
        if fault_in_ledger is not None:
            self.problems.append(fault_in_ledger)
        halted = self._halted()
        told = verdict(
            found, halted=halted, must_halt=self.drill.must_halt, went_on=went_on, problems=tuple(self.problems)
        )
        return CellResult(
            self.exchange,
            self.drill.fault,
            told.passed,
            found.duplicates,
            found.lost,
            found.unresolved,
            halted,
            _since(began),
            told.note,
        )

    # --- the fault

    def _under_fault(self, trader: Trader) -> Trader:
        """Do what the drill is about; returns the trader that lives afterwards."""
        calm = self._requests_of(trader) if self.drill.fewer_requests else 0
        before = self._orders_at_venue()
        kind = self.drill.kind
        if kind == "kill":
            return self._killed(trader)
        if kind == "sigterm":
            return self._terminated(trader)
        if kind == "venue":
            self._set_fault()
            for _ in range(self.drill.cycles):
                sent = self._requests_of(trader)
                if self.drill.fewer_requests and sent >= calm:
                    self.problems.append(f"{sent} requests in a cycle, {calm} in a calm one")
            self._forbid_new_orders(before)
            told = self._control("faults")
            if self.drill.times is not None and told["set"]:
                self.problems.append("the fault did not strike as often as it should")
            if not told["struck"].get(self.drill.fault):
                self.problems.append("the fault never struck")
            self._control("faults", method="DELETE")
        else:
            {
                "second_instance": self._second_instance,
                "withdraw_permission": self._withdraw_permission,
                "ledger_locked": self._ledger_locked,
                "disk_full": self._disk_full,
                "prefect_down": self._prefect_down,
                "clock_jump": self._clock_jump,
            }[kind](trader)
            self._forbid_new_orders(before)
        return trader

    def _killed(self, trader: Trader) -> Trader:
        point = self.drill.fault.partition(":")[2]
        orders = Orders(point, nth=1 + Random(f"{self.seed}:{self.exchange}:{point}").randrange(3))
        try:
            for _ in range(self.drill.cycles):
                trader.one_cycle(orders)
                orders = Orders()
        except TraderGone:
            if trader.process.exitcode == -signal.SIGKILL:
                return self._restarted(trader)
            raise
        self.problems.append(f"{point} was not reached in {self.drill.cycles} cycles")
        return trader

    def _terminated(self, trader: Trader) -> Trader:
        """SIGTERM while the answer to an order is on its way."""
        told = trader.one_cycle(Orders("place.request_out", act="slow"))
        if not told.get("reached"):
            self.problems.append("no order was placed to be interrupted")
        elif trader.end() != 0:
            self.problems.append(f"the trader ended with {trader.process.exitcode} after SIGTERM during a placement")
        else:
            return self._restarted(trader)
        return trader

    def _second_instance(self, trader: Trader) -> None:
        status, said = self._other_command(trader, "trade", self.exchange, "--once")
        if status != 1 or not any("is traded by" in line for line in said):
            self.problems.append(f"the second trader ended with {status} and said: {said[-1] if said else 'nothing'}")
        trader.one_cycle()

    def _withdraw_permission(self, trader: Trader) -> None:
        """No key that may withdraw gets past the checks. The trader itself asks once a day."""
        self._set_fault()
        status, said = self._other_command(trader, "check", self.exchange)
        self._control("faults", method="DELETE")
        if status != 1 or not any("withdraw" in line for line in said):
            self.problems.append(f"the checks ended with {status} and said: {said[-1] if said else 'nothing'}")

    def _other_command(self, trader: Trader, *words: str) -> tuple[int | None, list[str]]:
        """Run another command under the same home, while the trader goes on; its exit status and its lines."""
        path = self.home / "logs" / f"{words[0]}.log"
        environment = {"CRYPTO_BOT_HOME": str(self.home), "PREFECT_API_URL": self.api}
        other = self.processes.Process(target=other_command, args=(words, environment, path))
        begin(other)
        trader.one_cycle()
        return ended(other, CYCLE_SECONDS), path.read_text().strip().splitlines() if path.exists() else []

    def _ledger_locked(self, trader: Trader) -> None:
        """Another process writes, from just before the intent on, for longer than the order path waits."""
        told = trader.one_cycle(Orders("place.before_intent", act="hold"))
        if not told.get("reached"):
            self.problems.append("no order was about to be placed")
            return
        other = sqlite3.connect(self.home / "ledger.db", isolation_level=None, check_same_thread=False)
        try:
            other.execute("BEGIN IMMEDIATE")
            trader.line.send(Orders())
            time.sleep(6.0)
            other.execute("ROLLBACK")
        finally:
            other.close()
        trader.until_asked()

    def _disk_full(self, trader: Trader) -> None:
        """No file of the trader can grow or be written beyond its first page."""
        pid = trader.process.pid or 0
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))
        try:
            for _ in range(self.drill.cycles):
                trader.one_cycle()
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)

    def _prefect_down(self, trader: Trader) -> None:
        with self.prefect_away():
            for _ in range(self.drill.cycles):
                trader.one_cycle()
            resting = [row for row in self._control("truth")["orders"] if row["status"] in ("open", "partially_filled")]
            if resting:
                self.problems.append(f"{len(resting)} orders rest while Prefect is away")

    def _clock_jump(self, trader: Trader) -> None:
        orders = Orders(jump_seconds=90.0)
        for _ in range(self.drill.cycles):
            trader.one_cycle(orders)
            orders = Orders()
            refused = trader.report.refused if trader.report else ""
            if not refused.startswith("clock_skew"):
                self.problems.append(
                    f"the jump was not noticed before the next order (refused: {refused or 'nothing'})"
                )
        trader.one_cycle(Orders(jump_seconds=0.0))

    def _forbid_new_orders(self, before: int) -> None:
        grown = self._orders_at_venue() - before
        if self.drill.no_orders and self.drill.kind != "clock_jump" and grown:
            self.problems.append(f"{grown} orders were sent under the fault")

    # --- afterwards

    def _settle(self, trader: Trader) -> bool:
        """Calm cycles until nothing is open to question and an order was placed again; False when none was."""
        account = self.settings.account(self.exchange)
        before = {order.intent.client_order_id for order in self.ledger.orders(account)}
        for done in range(1, _MOST_SETTLING_CYCLES + 1):
            trader.one_cycle()
            orders = self.ledger.orders(account)
            new = [order for order in orders if order.intent.client_order_id not in before and order.venue_order_id]
            open_questions = [order for order in orders if order.state in _OUTCOME_UNKNOWN]
            if new and not open_questions and done > 1:
                return True
            if self.drill.must_halt and done >= 2 and not open_questions:
                break
        return bool(new)

    def _halted(self) -> str:
        """Why trading stands still after the last cycle; "" when it does not."""
        account = self.settings.account(self.exchange)
        latch = kill_switch(self.settings.home, self.ledger, account)
        if latch is not None:
            return f"kill switch: {latch.reason}"
        cycles = self.ledger.cycles(account, limit=1)
        if not cycles:
            return ""
        report = cycles[0].report
        reasons = (report["refused"], "; ".join(report["discrepancies"]), report["error"])
        told = next((reason for reason in reasons if reason), "")
        return str(told) or (str(report["reason"]) if report["unknown_orders"] else "")

    # --- processes and the venue

    @contextlib.contextmanager
    def _venue(self) -> Iterator[VenueAddress]:
        reading, writing = os.pipe()
        ours, theirs = Connection(reading, writable=False), Connection(writing, readable=False)
        process = self.processes.Process(
            target=serve_venue, args=(self.exchange, self.seed, self.home, os.getpid(), theirs)
        )
        begin(process)
        theirs.close()
        try:
            with open(reading, closefd=False) as words:
                line = words.readline()
            if not line:
                raise TraderGone("the simulated venue did not start")
            yield note_venue(self.home, line, process.pid or 0)
        finally:
            process.terminate()
            ended(process, 5)
            ours.close()

    @contextlib.contextmanager
    def _trader(self) -> Iterator[Trader]:
        trader = self._start_trader()
        self._living = [trader]
        try:
            trader.until_asked()
            yield trader
        finally:
            for each in self._living:
                if ended(each.process, 0) is None:
                    each.process.kill()
                ended(each.process, 5)
                each.line.close()

    def _start_trader(self) -> Trader:
        ours, theirs = self.processes.Pipe()
        process = self.processes.Process(
            target=trade,
            args=(self.exchange, self.settings, self.api, self.venue.control_url, theirs),
            kwargs={"prefect": self.drill.prefect},
        )
        begin(process)
        theirs.close()
        return Trader(process, ours)

    def _restarted(self, dead: Trader) -> Trader:
        """A new trader on the home of one that is dead."""
        self._give_leases_back(dead.process.pid or 0)
        trader = self._start_trader()
        self._living.append(trader)
        trader.until_asked()
        return trader

    def _give_leases_back(self, pid: int) -> None:
        """Leases of a killed trader run out by themselves, which a new one waits for (15 s at most): here it has died
        before our eyes, so that they can be given back for it.
        """
        now, account = WallClock().now(), self.settings.account(self.exchange)
        for name in (account, f"{account}:paper"):
            holder = self.ledger.holder(name, now)
            if holder is not None and holder.startswith(f"{os.uname().nodename}:{pid} "):
                self.ledger.release_lease(self.ledger.take_lease(name, holder, now, 0))

    def _set_fault(self) -> None:
        known = self._control("faults")
        here = (self.exchange, self.drill.fault)
        why = NOT_APPLICABLE.get(here) or known["not_applicable"].get(self.drill.fault)
        if why:
            raise _NotApplicable(why)
        if self.drill.fault not in known["known"]:
            raise TraderGone(f"the simulated venue knows no fault {self.drill.fault}")
        drill = self.drill
        asked = {"name": drill.fault, "value": drill.value, "times": drill.times, "match": drill.match}
        self._control("faults", {name: value for name, value in asked.items() if value is not None})

    def _requests_of(self, trader: Trader) -> int:
        """Let it run one cycle; the requests that the venue has counted in it."""
        before = self._control("truth")["requests"]["total"]
        trader.one_cycle()
        return int(self._control("truth")["requests"]["total"] - before)

    def _orders_at_venue(self) -> int:
        return len([row for row in self._control("truth")["orders"] if not row.get("by_hand")])

    def _control(self, path: str, body: dict[str, object] | None = None, *, method: str | None = None) -> Any:
        request = urllib.request.Request(
            f"{self.venue.control_url}/{path}", data=json.dumps(body).encode() if body else None, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            raise TraderGone(f"the venue's control side: {error.read().decode()[:200]}") from None


def _settings(home: Path, exchange: ExchangeName, style: str) -> Settings:
    chosen = {
        "CRYPTO_BOT_HOME": str(home),
        "CRYPTO_BOT_CONFIG": str(DEMO_FILE),
        "CRYPTO_BOT__STRATEGY__NAME": "strategies.drill.in_and_out",
        "CRYPTO_BOT__STRATEGY__PARAMETERS": "{}",
        "CRYPTO_BOT__EXECUTION__ORDER_STYLE": style,
        "CRYPTO_BOT__EXECUTION__TIMEOUT": "2",
        # The rung is never reviewed: that is a Prefect flow, and an order of unknown outcome rightly lowers the rung.
        "CRYPTO_BOT__LADDER__REVIEW_CYCLES": "1000000",
        "CRYPTO_BOT__LOGGING__HANDLERS": '["file"]',
        f"CRYPTO_BOT__EXCHANGES__{exchange.upper()}__ORDER_LIFETIME_MINUTES": str(_LIFETIME_MINUTES),
    }
    if style == "maker":
        # Within a minute the market fills most of what rests at its price, and cancels are to meet orders that rest.
        # Such cycles need more requests than the guide's budgets; the venues' published limits allow them.
        chosen["CRYPTO_BOT__EXECUTION__CYCLE_SECONDS"] = "10"
        for name in EXCHANGES:  # the settings are examined as a whole
            chosen[f"CRYPTO_BOT__EXCHANGES__{name.upper()}__REQUESTS_PER_MINUTE"] = "120"
    return load_settings(environ=chosen)


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)


def clear_away(home: Path) -> None:
    """Remove what a cell has left."""
    shutil.rmtree(home, ignore_errors=True)
