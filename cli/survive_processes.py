"""The processes of a drill, as the drill holds them: begun, asked, ended."""

import contextlib
import os
import signal
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Any

from cli.survive_trader import Orders
from trading.cycle import CycleReport

CYCLE_SECONDS = 90.0  # of the wall, for one cycle of a trader that lives
_one_reads = threading.Lock()


class TraderGone(Exception):
    """The trader's process ended while the drill waited for it."""


def begin(process: ForkServerProcess) -> None:
    """Start a process."""
    with _one_reads:
        process.start()


def ended(process: ForkServerProcess, seconds: float) -> int | None:
    """The exit status of a process, waited for so long; None while it runs.

    An exit status can be read once. Starting any process reads those of all that have ended, and where two threads read
    the same one, Python takes it for 255.
    """
    wait([process.sentinel], seconds)
    with _one_reads:
        process.join(0)
        return process.exitcode


@dataclass
class Trader:
    """A trader's process, and the line to it."""

    process: ForkServerProcess
    line: Connection
    report: CycleReport | None = None  # of its last cycle; None: it failed, or there was none

    def until_asked(self) -> dict[str, Any]:
        """Wait until the trader asks whether to go on, or says that a point is reached. Raises TraderGone."""
        ready = wait([self.line, self.process.sentinel], timeout=CYCLE_SECONDS)
        if self.line in ready:
            with contextlib.suppress(EOFError, OSError):
                told: dict[str, Any] = self.line.recv()
                self.report = told.get("report")
                return told
        code = ended(self.process, 5 if ready else 0)
        raise TraderGone("the trader hangs" if code is None else f"the trader ended by itself with {code}")

    def one_cycle(self, orders: Orders | None = None) -> dict[str, Any]:
        """Let it run one cycle, which may end early with a point that is reached."""
        self.line.send(orders or Orders())
        return self.until_asked()

    def end(self) -> int | None:
        """SIGTERM, and its exit status."""
        os.kill(self.process.pid or 0, signal.SIGTERM)
        with contextlib.suppress(OSError):
            self.line.send(Orders())
        return ended(self.process, CYCLE_SECONDS)
