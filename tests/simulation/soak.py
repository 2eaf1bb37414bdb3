"""Many cycles with trouble at random: `python -m tests.simulation.soak --cycles 2000`.

A simulated venue and a trader as in a cell of the survival table (cli/survive_cell.py): two processes that talk HTTP,
a strategy that wants an order in every cycle. A share of all requests is struck by a fault that the venue draws; then
come calm cycles, the trader's own leave and the judgement. What the trader's process holds is measured meanwhile.
"""

import argparse
import contextlib
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from cli.survive_catalogue import Drill
from cli.survive_cell import Cell, CellResult
from cli.survive_gate import healthy_stand_in
from cli.survive_processes import Trader
from cli.survive_trader import HEAVY
from config.settings import EXCHANGES, ExchangeName
from services.ledger import Ledger
from trading.survival import judge

SAMPLE_CYCLES = 10
FLAT = 0.05  # how far the memory of the last quarter may be from that of the second
_AT_ONCE = 2
_TELL_CYCLES = 100
_COLUMNS = (
    *("venue", "cycles", "orders", "fills", "requests", "struck", "duplicates", "lost", "unresolved", "differences"),
    *("MiB, quarter 2", "MiB, quarter 4", "change", "cycles/s, quarters 1, 4", "CPU ms a cycle, quarters 1, 4"),
    "seconds",
)


@dataclass(frozen=True)
class Sample:
    """The trader's process after so many cycles: resident memory (bytes), CPU it has used and the wall (seconds)."""

    cycles: int
    memory: int
    cpu: float
    seconds: float


@dataclass
class Soak(Cell):
    """A soak at one venue: a cell whose fault is drawn anew for each request, for as many cycles as the drill says."""

    samples: list[Sample] = field(default_factory=list)
    orders: int = 0
    fills: int = 0
    requests: int = 0
    struck: int = 0
    differences: int = 0  # of ledger and venue
    came_to: Counter[str] = field(default_factory=Counter)  # what the cycles ended with

    def _under_fault(self, trader: Trader) -> Trader:
        self._set_fault()
        pid, began = trader.process.pid or 0, time.monotonic()
        self.samples.append(Sample(0, resident(pid), cpu_seconds(pid), 0.0))
        for done in range(1, self.drill.cycles + 1):
            trader.one_cycle()
            self._count(trader)
            if done % SAMPLE_CYCLES == 0:
                self.samples.append(Sample(done, resident(pid), cpu_seconds(pid), time.monotonic() - began))
            if done % _TELL_CYCLES == 0:
                self._tell()
        self.struck = int(self._control("faults")["struck"].get(self.drill.fault, 0))
        if not self.struck:
            self.problems.append("no request was struck")
        self._control("faults", method="DELETE")
        return trader

    def _count(self, trader: Trader) -> None:
        report = trader.report
        if report is None:
            self.came_to["failed"] += 1
        elif report.refused:
            self.came_to[f"refused: {report.refused.split(' ')[0]}"] += 1
        else:
            self.came_to[report.order_state or "no order"] += 1

    def _tell(self) -> None:
        last = self.samples[-1]
        outcomes = ", ".join(f"{count} {what}" for what, count in self.came_to.most_common())
        words = f"{self.exchange}: {last.cycles} of {self.drill.cycles} in {last.seconds:.0f} s, "
        print(f"{words}{last.memory / 2**20:.1f} MiB; {outcomes}", file=sys.stderr, flush=True)

    def _judged(self, began: float, went_on: bool) -> CellResult:
        account = self.settings.account(self.exchange)
        orders, fills, truth = self.ledger.orders(account), self.ledger.fills(account), self._control("truth")
        opening = self.ledger.opening(account)
        found = judge(orders, fills, opening[0] if opening else {}, truth)
        self.orders, self.fills, self.differences = len(orders), len(fills), len(found.differences)
        self.requests = int(truth["requests"]["total"])
        return super()._judged(began, went_on)


def resident(pid: int) -> int:
    """The resident memory of a process, bytes (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """The CPU that a process has used, seconds (Linux)."""
    behind_its_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(behind_its_name[11]) + int(behind_its_name[12])) / os.sysconf("SC_CLK_TCK")


def quarter(samples: Sequence[Sample], number: int) -> Sequence[Sample]:
    """The samples of one quarter of the cycles, 1 to 4, without the one from before the first cycle."""
    last = samples[-1].cycles
    return [each for each in samples if (number - 1) * last < 4 * each.cycles <= number * last]


def memory(samples: Sequence[Sample], number: int) -> float:
    """The mean resident memory of one quarter, bytes."""
    some = quarter(samples, number)
    return sum(each.memory for each in some) / len(some)


def grown(samples: Sequence[Sample]) -> float:
    """By what share the memory of the last quarter is above that of the second."""
    return memory(samples, 4) / memory(samples, 2) - 1


def pace(samples: Sequence[Sample], number: int) -> tuple[float, float]:
    """Cycles in a second of the wall in one quarter, and the trader's CPU for a cycle (ms)."""
    some = quarter(samples, number)
    before, last = samples[samples.index(some[0]) - 1], some[-1]
    cycles = last.cycles - before.cycles
    return cycles / (last.seconds - before.seconds), 1000 * (last.cpu - before.cpu) / cycles


def problems_of(run: Soak, result: CellResult) -> list[str]:
    """What speaks against a soak, in words."""
    problems = [] if result.passed else [result.note or "it did not pass"]
    if result.halted:
        problems.append(f"trading stands still: {result.halted}")
    if result.unresolved:
        problems.append(f"{result.unresolved} orders of unknown outcome")
    if run.samples and run.samples[-1].cycles == run.drill.cycles and abs(grown(run.samples)) > FLAT:
        problems.append(f"memory changed by {grown(run.samples):+.1%}")
    return problems


def soak(
    exchanges: Sequence[ExchangeName], cycles: int, share: str, home: Path, *, seed: int = 0, style: str = "taker"
) -> list[tuple[Soak, CellResult]]:
    """Run a soak at each venue, two at a time. `share`: of requests that are struck (0 to 1)."""
    drill = Drill("random", "soak", value=share, style=style, cycles=cycles)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(list(HEAVY))
    new_ledger = home / "new-ledger.db"
    Ledger(f"sqlite:///{new_ledger}").close()
    with healthy_stand_in() as api, ThreadPoolExecutor(_AT_ONCE) as pool:

        def one(exchange: ExchangeName) -> tuple[Soak, CellResult]:
            place = home / exchange
            run = Soak(exchange, drill, place, api, processes, seed, contextlib.nullcontext, new_ledger)
            return run, run.run()

        return list(pool.map(one, exchanges))


def _row(run: Soak, result: CellResult) -> tuple[object, ...]:
    samples = run.samples
    done = samples[-1].cycles if samples else 0
    measured = ("",) * 5
    if done == run.drill.cycles:
        (first_pace, first_cpu), (last_pace, last_cpu) = (pace(samples, number) for number in (1, 4))
        measured = (
            *(f"{memory(samples, number) / 2**20:.1f}" for number in (2, 4)),
            f"{grown(samples):+.1%}",
            f"{first_pace:.1f}, {last_pace:.1f}",
            f"{first_cpu:.0f}, {last_cpu:.0f}",
        )
    return (
        *(run.exchange, done, run.orders, run.fills, run.requests, run.struck),
        *(result.duplicates, result.lost, result.unresolved, run.differences, *measured, round(result.seconds)),
    )


@contextlib.contextmanager
def _passing_folder() -> Iterator[Path]:
    """In memory where there is any: a soak is no test of the disk."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="crypto-bot-soak-", dir=shared if shared.is_dir() else None) as place:
        yield Path(place)


def main() -> int:
    """Run it and print the table; exit status 1 where a promise was broken or the memory is not flat."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.soak", description=__doc__)
    parser.add_argument("--cycles", type=int, default=2000, help="under the faults, at each venue; at least 40")
    parser.add_argument("--exchange", choices=EXCHANGES, action="append", help="default: all")
    parser.add_argument("--share", default="0.05", help="of requests that are struck, 0 to 1")
    parser.add_argument("--style", choices=("taker", "maker"), default="taker", help="of the orders")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for what the soaks leave (ledgers, logs)")
    asked = parser.parse_args()
    if asked.cycles < 4 * SAMPLE_CYCLES:
        parser.error("fewer cycles have no quarters")
    with contextlib.nullcontext(asked.keep) if asked.keep else _passing_folder() as home:
        home.mkdir(parents=True, exist_ok=True)
        chosen = asked.exchange or EXCHANGES
        runs = soak(chosen, asked.cycles, asked.share, home.resolve(), seed=asked.seed, style=asked.style)
    for cells in (_COLUMNS, ("---",) * len(_COLUMNS), *(_row(*each) for each in runs)):
        print(f"| {' | '.join(map(str, cells))} |")
    broken = [f"{run.exchange}: {problem}" for run, result in runs for problem in problems_of(run, result)]
    print("\n".join(broken) or "every promise kept")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
