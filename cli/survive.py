"""`crypto-bot survive`: the survival table. Every fault at every venue, a real trader each, judged by the venue."""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.output import print_json, print_table, remarks, say
from cli.prefect_server import CLIENT_ENVIRONMENT, free_port, prefect_server
from cli.settings import fresh_folder
from cli.survive_catalogue import CATALOGUE, Drill, drills
from cli.survive_cell import Cell, CellResult, clear_away
from cli.survive_gate import Gate, healthy_stand_in
from cli.survive_trader import HEAVY
from config.errors import ConfigurationError
from config.loader import load_settings
from config.settings import ExchangeName
from services.ledger import Ledger

AT_ONCE = 2  # cells; a cell is two processes, of which mostly one works
_BEGIN, _END = "<!-- the table: begin -->", "<!-- the table: end -->"


def list_drills() -> None:
    """Print the catalogue."""
    rows = [(each.fault, each.group, each.style, "yes" if each.must_halt else "") for each in CATALOGUE]
    print_table("the faults", ("fault", "group", "orders", "must halt"), rows, "none")


def run_survive(
    exchanges: Sequence[ExchangeName],
    faults: Sequence[str],
    *,
    seed: int,
    seeds: int,
    as_json: bool,
    markdown: Path | None,
) -> int:
    """Run the cells and show what came of them; exit status 0 when all that apply have passed.

    `seeds`: with how many seeds each cell is run, from `seed` on. Raises ConfigurationError for an unknown fault and
    a `markdown` file without the place for the table.
    """
    chosen = drills(faults)
    if markdown is not None:
        _split(markdown)
    home = load_settings().home / "survive"
    began = time.monotonic()
    with fresh_folder(home, "survive"):
        results = _run_all(exchanges, chosen, range(seed, seed + seeds), home.resolve())
    seconds = round(time.monotonic() - began)
    apply = [each for each in results if each.passed is not None]
    passed = sum(bool(each.passed) for each in apply)
    if markdown is not None:
        _write_markdown(markdown, exchanges, results, seconds)
    if as_json:
        summary = {
            "cells": len(apply),
            "passed": passed,
            "duplicates": sum(each.duplicates for each in apply),
            "lost": sum(each.lost for each in apply),
            "not_applicable": len(results) - len(apply),
        }
        print_json({"cells": [asdict(each) for each in results], "summary": summary})
    else:
        _show(exchanges, results, home, seconds)
    return 0 if passed == len(apply) else 1


def _run_all(
    exchanges: Sequence[ExchangeName], chosen: Sequence[Drill], seeds: Sequence[int], home: Path
) -> list[CellResult]:
    """All cells, in the order of the catalogue; two at a time, those that shut Prefect's door one by one at the end."""
    jobs = [(drill, name, seed) for drill in chosen for name in exchanges for seed in seeds]
    results: dict[tuple[Drill, ExchangeName, int], CellResult] = {}
    columns = (TextColumn("{task.description:<40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=remarks) as progress,
        healthy_stand_in() as healthy,
        _prefect_behind(Gate(free_port()), home, needed=any(drill.prefect for drill in chosen)) as gate,
    ):
        bar = progress.add_task("starting", total=len(jobs))
        processes = multiprocessing.get_context("forkserver")
        processes.set_forkserver_preload(list(HEAVY))
        new_ledger = home / "new-ledger.db"
        Ledger(f"sqlite:///{new_ledger}").close()

        def one(drill: Drill, exchange: ExchangeName, seed: int) -> CellResult:
            place = home / exchange / f"{drill.fault.replace(':', '-')}-{seed}"
            api = gate.api if drill.prefect else healthy
            result = Cell(exchange, drill, place, api, processes, seed, gate.shut, new_ledger).run()
            if result.passed is not False:
                clear_away(place)
            return result

        def batch(some: Sequence[tuple[Drill, ExchangeName, int]], at_once: int) -> None:
            with ThreadPoolExecutor(at_once) as pool:
                running: dict[Future[CellResult], tuple[Drill, ExchangeName, int]] = {
                    pool.submit(one, *job): job for job in some
                }
                try:
                    while running:
                        for ended in wait(running, return_when=FIRST_COMPLETED).done:
                            job = running.pop(ended)
                            results[job] = ended.result()
                            progress.update(bar, advance=1, description=f"{job[1]} {job[0].fault}")
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise

        batch([job for job in jobs if not job[0].prefect], AT_ONCE)
        batch([job for job in jobs if job[0].prefect and job[0].kind != "prefect_down"], AT_ONCE)
        batch([job for job in jobs if job[0].kind == "prefect_down"], 1)
    return [results[job] for job in jobs]


@contextlib.contextmanager
def _prefect_behind(gate: Gate, home: Path, *, needed: bool) -> Iterator[Gate]:
    """Have the gate lead to a Prefect server, where one is needed. What is forked meanwhile finds the gate."""
    for name, value in CLIENT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if not needed:
        os.environ["PREFECT_API_URL"] = gate.api
        yield gate
        return
    with prefect_server(home / "prefect") as server:
        os.environ["PREFECT_API_URL"] = gate.api
        server.wait_until_up()
        gate.leads_to(server.api)
        try:
            yield gate
        finally:
            gate.close()


def _show(exchanges: Sequence[ExchangeName], results: Sequence[CellResult], home: Path, seconds: int) -> None:
    rows = [(fault, *(_word(cells) for cells in row)) for fault, row in _by_fault(exchanges, results)]
    print_table("the survival table", ("fault", *exchanges), rows, "no cell")
    for each in results:
        if each.passed is False:
            place = home / each.exchange / each.fault.replace(":", "-")
            say(f"[red]{each.exchange} {each.fault}: {escape(each.note)}[/] (its home: {place}-SEED)")
    apply = [each for each in results if each.passed is not None]
    say(
        f"{sum(bool(each.passed) for each in apply)} of {len(apply)} cells passed, {len(results) - len(apply)} do not "
        f"apply; {sum(each.duplicates for each in apply)} duplicate orders, {sum(each.lost for each in apply)} lost; "
        f"{seconds} s"
    )


def _by_fault(
    exchanges: Sequence[ExchangeName], results: Sequence[CellResult]
) -> Iterator[tuple[str, list[list[CellResult]]]]:
    for fault in dict.fromkeys(each.fault for each in results):
        of_fault = [each for each in results if each.fault == fault]
        yield fault, [[each for each in of_fault if each.exchange == name] for name in exchanges]


def _word(cells: Sequence[CellResult]) -> str:
    """One word for a fault at a venue, for all its seeds."""
    if any(each.passed is False for each in cells):
        return "FAILED"
    if all(each.passed is None for each in cells):
        return "-"
    return "halted" if any(each.halted for each in cells) else "passed"


def _write_markdown(path: Path, exchanges: Sequence[ExchangeName], results: Sequence[CellResult], seconds: int) -> None:
    """Put the table into its marked place of a document."""
    before, after = _split(path)
    apply = [each for each in results if each.passed is not None]
    lines = [
        f"{sum(bool(each.passed) for each in apply)} of {len(apply)} cells passed; {len(results) - len(apply)} do not "
        f"apply. {sum(each.duplicates for each in apply)} duplicate orders, {sum(each.lost for each in apply)} lost. "
        f"{seconds} s on this machine.",
        "",
        f"| fault | {' | '.join(exchanges)} |",
        f"|---|{'---|' * len(exchanges)}",
        *(
            f"| `{fault}` | {' | '.join(_word(cells) for cells in row)} |"
            for fault, row in _by_fault(exchanges, results)
        ),
        "",
    ]
    for title, told in (
        ("Halted, with the reason", [(each, each.halted) for each in results if each.passed and each.halted]),
        ("Does not apply", [(each, each.note) for each in results if each.passed is None]),
        ("Failed", [(each, each.note) for each in results if each.passed is False]),
    ):
        if told:
            lines += [f"**{title}**", ""]
            lines += [f"- `{each.fault}` at {each.exchange}: {' '.join(text.split())}" for each, text in told]
            lines.append("")
    path.write_text("\n".join([f"{before}{_BEGIN}", "", *lines, f"{_END}{after}"]), encoding="utf-8")


def _split(path: Path) -> tuple[str, str]:
    """What stands before and after the place for the table. Raises ConfigurationError where there is none."""
    try:
        before, _, rest = path.read_text(encoding="utf-8").partition(_BEGIN)
    except OSError as error:
        raise ConfigurationError(f"--markdown {path}: {error.strerror}") from None
    _, found, after = rest.partition(_END)
    if not found:
        raise ConfigurationError(f"--markdown {path}: it needs the lines {_BEGIN} and {_END}, in this order")
    return before, after
