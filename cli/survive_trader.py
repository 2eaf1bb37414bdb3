"""The processes of one drill: the trader, the venue, another command. Each begins in a fork of a warm interpreter.

The trader is the one of `crypto-bot trade`: its loop, its cycle, its leaving. Two things are different: before each
cycle it asks the drill whether to go on, and its ledger and exchange can be watched (cli/survive_points.py).
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.running import run_until_stopped
from cli.survive_points import Watch, Watched
from cli.trader import leave, run_cycles
from config.settings import ExchangeName, Settings
from services.clock import WallClock, WallWatch
from services.ledger import RungRecord
from services.logs import configure_logging
from trading.cycle import CycleReport

if TYPE_CHECKING:
    from tasks.session import TradingSession

# Imported once, before the first fork.
HEAVY = (
    "ccxt.async_support",
    "pandas",
    "flows.trading_cycle",
    "flows.ramp_up",
    "execution.stop",
    "strategies.drill",
    "simvenue.server",
    "simvenue.bybit",
    "simvenue.bitbank",
    "simvenue.bitflyer",
    "simvenue.okcoinjp",
    "exchanges.bybit",
    "exchanges.bitbank",
    "exchanges.bitflyer",
    "exchanges.okcoinjp",
    "cli.survive_trader",
)
_STEPS = ("reconcile_account", "read_market", "decide", "carry_out", "close_books")


@dataclass(frozen=True)
class Orders:
    """What the drill tells the trader before a cycle."""

    point: str = ""  # arm the watch for this point,
    nth: int = 1  # the n-th time from now,
    act: str = "die"  # and then: die, hold (until the drill says go), slow (tell, and hold the answer up)
    jump_seconds: float | None = None  # how far the wall clock of this process is off from now on


class _JumpingWall:
    """The machine's clock, as it reads after it has jumped."""

    def __init__(self) -> None:
        self.off = timedelta(0)
        self._wall = WallClock()

    def now(self) -> datetime:
        return self._wall.now() + self.off

    async def sleep(self, seconds: float) -> None:
        await self._wall.sleep(seconds)


def trade(
    exchange: ExchangeName, settings: Settings, api: str, control_url: str, line: Connection, *, prefect: bool
) -> None:
    """The trader's process: exit status 0 when it left no order. `line` leads to the drill; when that has ended, the
    trader does too. Without `prefect` the bodies of the cycle's flow and tasks run, without their record.
    """
    _words_to(settings.home / "logs" / "trader.log")
    configure_logging(settings)
    if not prefect:
        _without_prefect()
    drilled = _Drilled(line, Watch(control_url), _JumpingWall())
    sys.exit(run_until_stopped(lambda stop: drilled.trade(exchange, settings, api, stop)))


@dataclass
class _Drilled:
    """One trader under drill."""

    line: Connection
    watch: Watch
    wall: _JumpingWall
    report: CycleReport | None = None

    async def trade(self, exchange: ExchangeName, settings: Settings, api: str, stop: asyncio.Event) -> int:
        from tasks.session import trading

        async with trading(exchange, settings) as here:
            await _certify(here)
            self._put_watch_on(here)
            try:
                await run_cycles(here, stop, api=api, told=self._told, enough=lambda done: self._no_more(done, stop))
            finally:
                report = await leave(here)
        return 0 if report.clean else 1

    def _put_watch_on(self, here: "TradingSession") -> None:
        ledger: Any = Watched(here.ledger, self.watch.ledger_call, "ledger")
        exchange: Any = Watched(here.desk.exchange, self.watch.exchange_call, "exchange")
        here.ledger = here.desk.ledger = ledger
        here.reader = here.desk.exchange = exchange
        here.wall_watch = WallWatch(self.wall)

    def _told(self, report: CycleReport) -> None:
        self.report = report

    def _no_more(self, done: int, stop: asyncio.Event) -> bool:
        """Tell the drill how the last cycle went and wait for its word; the event loop waits with us."""
        orders = self._ask({"done": done, "report": self.report})
        self.report = None
        if orders is None:
            return True
        if orders.jump_seconds is not None:
            self.wall.off = timedelta(seconds=orders.jump_seconds)
        if orders.point:
            acts: dict[str, Callable[[], float] | None] = {"die": None, "hold": self._hold, "slow": self._slow}
            self.watch.arm(orders.point, orders.nth, acts[orders.act])
        return stop.is_set()

    def _hold(self) -> float:
        self._ask({"reached": True})
        return 0.0

    def _slow(self) -> float:
        self.line.send({"reached": True})
        return 4.0  # longer than the trader waits for a cycle before it cancels it

    def _ask(self, told: dict[str, Any]) -> Orders | None:
        try:
            self.line.send(told)
            orders: Orders | None = self.line.recv()
        except (EOFError, OSError):  # the drill has ended
            return None
        return orders


async def _certify(here: "TradingSession") -> None:
    """A certificate for the full size, without the climb: the endpoint is a simulation. The first trader of a cell
    writes it, for what it runs; one that comes after it goes by the same.
    """
    if here.ledger.rung(here.account, here.symbol) is not None:
        return
    now = here.clock.now()
    here.ledger.issue_rung(
        RungRecord(
            account=here.account,
            symbol=here.symbol,
            rung="ramp_100",
            max_quantity=Decimal("0.01"),
            evidence={},
            approved_by="crypto-bot survive, for a simulated venue",
            issued_at=now,
            expires_at=now + timedelta(days=3650),
            fingerprint=asdict(here.running(await here.listed())),
        )
    )


def _without_prefect() -> None:
    """Take Prefect's wrappers off the cycle's flow and its steps: the same code, without their record. Nor are events
    sent: nobody takes them, and a trader would wait ten seconds for that at its end.
    """
    import flows.trading_cycle as cycle
    from tasks import events

    events.tell = lambda *_, **__: None
    for name in _STEPS:
        setattr(cycle, name, getattr(cycle, name).fn)
    flow: Any = cycle.trading_cycle
    cycle.trading_cycle = flow.fn


def serve_venue(exchange: ExchangeName, seed: int, home: Path, parent: int, out: Connection) -> None:
    """The venue's process: its first line goes to the drill."""
    from simvenue.server import run

    _words_to(home / "logs" / f"venue-{exchange}.log")
    os.dup2(out.fileno(), 1)
    out.close()
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 it lives as long as the process
    sys.exit(run(exchange, seed=seed, clock="stepped", parent=parent))


def other_command(words: tuple[str, ...], environment: dict[str, str], told: Path) -> None:
    """Another `crypto-bot` command under the same home, as a person would start it; what it says goes to `told`."""
    from cli.main import main

    os.environ.update(environment)
    _words_to(told)
    main(list(words))


def _words_to(path: Path) -> None:
    """Let what this process prints go to a file: stdout belongs to the command."""
    path.parent.mkdir(parents=True, exist_ok=True)
    words = path.open("a")
    for number in (1, 2):
        os.dup2(words.fileno(), number)
    with contextlib.suppress(OSError):
        words.close()
    sys.stdout = open(1, "w", closefd=False, buffering=1)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
