"""Many schedules, or one again: `python -m tests.simulation --seeds N`, or `--seed N -v` to replay one and see it."""

import argparse
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator

import cli  # noqa: F401  collects as rarely as our own processes do
from tests.simulation.room import EXCHANGES, a_room
from tests.simulation.schedule import Outcome, run

_PROGRESS = 250


def _play(work: tuple[range, str | None]) -> Iterator[Outcome]:
    seeds, exchange = work
    with a_room() as room:
        for seed in seeds:
            yield run(seed, room, exchange)  # type: ignore[arg-type]


def _play_some(work: tuple[range, str | None]) -> list[Outcome]:
    outcomes = []
    for outcome in _play(work):
        if not outcome.violations:
            outcome.events.clear()
        outcomes.append(outcome)
    return outcomes


def main() -> int:
    """Search or replay; give the exit status: 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many schedules")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--exchange", choices=EXCHANGES, help="one venue; without it seeds take turns")
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("-v", action="store_true", dest="verbose", help="print every event of a replay")
    asked = parser.parse_args()
    if asked.seed is not None:
        return _replay(asked.seed, asked.exchange, asked.verbose)
    return _search(range(asked.first, asked.first + asked.seeds), asked.exchange, asked.processes)


def _replay(seed: int, exchange: str | None, verbose: bool) -> int:
    (outcome,) = _play((range(seed, seed + 1), exchange))
    if verbose or outcome.violations:
        print("\n".join(outcome.events))
    print(f"seed {seed} {outcome.exchange} {outcome.symbol}: {'; '.join(outcome.violations) or 'every promise kept'}")
    return int(bool(outcome.violations))


def _search(seeds: range, exchange: str | None, processes: int) -> int:
    began, total, broken, halted = time.monotonic(), Counter[str](), 0, 0
    work = [(seeds[at : at + _PROGRESS // 10], exchange) for at in range(0, len(seeds), _PROGRESS // 10)]
    done = 0
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for outcomes in pool.imap_unordered(_play_some, work):
            for outcome in outcomes:
                done += 1
                total.update(
                    orders=outcome.orders, fills=outcome.fills, requests=outcome.requests, deaths=outcome.deaths
                )
                halted += bool(outcome.halted)
                if outcome.violations:
                    broken += 1
                    print("\n".join(outcome.events))
                    print(f"VIOLATION seed {outcome.seed} {outcome.exchange} {outcome.symbol}:")
                    print("\n".join(f"    {each}" for each in outcome.violations))
                    print(f"    replay: python -m tests.simulation --seed {outcome.seed} -v", flush=True)
            if done % _PROGRESS == 0:
                print(f"{done} of {len(seeds)} in {time.monotonic() - began:.0f} s, {broken} broken", flush=True)
    seconds = time.monotonic() - began
    counts = ", ".join(f"{count} {what}" for what, count in total.items())
    print(f"{done} schedules in {seconds:.1f} s ({done / seconds:.1f} a second): {counts}, {halted} halted by name")
    print(f"{broken} with a broken promise")
    return int(bool(broken))
