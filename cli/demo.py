"""`crypto-bot demo`: everything embedded. Simulated venues, the whole ladder, trading, and the audit of the books."""

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.output import cell, print_json, print_table, remarks, say
from cli.prefect_server import PrefectServer, prefect_server
from cli.running import run_until_stopped
from cli.settings import fresh_folder, logged
from cli.trader import cycle_pace, leave, run_cycles
from config.loader import DEMO_FILE, load_settings
from config.settings import ExchangeName, Settings
from services.simulated import RunningVenue, simulated_venues
from trading.cycle import CycleReport
from trading.money import ZERO, plain

if TYPE_CHECKING:
    from tasks.session import Session, TradingSession

_MOST_LADDER_CYCLES = 60
_SHOWN = {
    "rung reached": "rung",
    "trading cycles": "cycles",
    "orders": "orders",
    "fills": "fills",
    "refused orders": "refusals",
    "unresolved orders": "unresolved",
    "duplicate orders": "duplicates",
    "differences": "differences",
    "requests": "requests",
    "refused for rate": "rate_limit_breaches",
}


@dataclass(frozen=True)
class VenueResult:
    """What the demo came to at one exchange; amounts in the quote currency."""

    rung: str
    cycles: int
    orders: int
    fills: int
    refusals: int
    unresolved: int
    duplicates: int
    differences: int
    requests: int
    rate_limit_breaches: int
    peak_requests_per_minute: int
    budget_per_minute: int
    pnl: Decimal
    quote: str
    found: tuple[str, ...]  # the differences in words

    @property
    def is_clean(self) -> bool:
        return not (self.unresolved or self.duplicates or self.differences or self.rate_limit_breaches)


def run_demo(
    *, exchanges: Sequence[ExchangeName], candles: Path | None, cycles: int, seed: int, keep_ui: bool, as_json: bool
) -> int:
    """Run the demo under <home>/demo; exit status 0 when every venue's books and ours agree."""
    began = time.monotonic()
    home = load_settings().home / "demo"
    words = ["--clock", "stepped", "--seed", str(seed)]
    if candles is not None:
        words += ["--candles", str(candles)]
        _refuse_bad_candles(exchanges[0], words)
    with fresh_folder(home, "demo"):
        os.environ["CRYPTO_BOT_HOME"] = str(home)
        os.environ["CRYPTO_BOT_CONFIG"] = str(DEMO_FILE)
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
        settings = logged(load_settings())
        remarks.print(f"{len(exchanges)} simulated venues and a Prefect server are starting; state is in {home}")
        with (
            prefect_server(home / "prefect") as server,
            simulated_venues(home, dict.fromkeys(exchanges, words)) as venues,
        ):
            demo = _Demo(settings, venues, server, cycles)
            status = run_until_stopped(demo.run)
            seconds = round(time.monotonic() - began, 1)
            results = {name: demo.results[name] for name in exchanges if name in demo.results}
            _print(results, demo.counts, seconds, as_json=as_json)
            if keep_ui and status == 0:
                remarks.print(f"Prefect's UI: {server.ui} (Ctrl+C ends)")
                with contextlib.suppress(KeyboardInterrupt):
                    server.process.wait()
        if not as_json:
            prefect = Path(sys.executable).with_name("prefect")
            say(
                "to look at these runs in Prefect's UI (http://127.0.0.1:4200): "
                f"PREFECT_SERVER_ANALYTICS_ENABLED=false PREFECT_HOME={home / 'prefect'} {prefect} server start"
            )
    return status


@dataclass
class _Demo:
    """One demo under way: what its venues share, and what came of each."""

    settings: Settings
    venues: dict[ExchangeName, RunningVenue]
    server: PrefectServer
    cycles: int
    results: dict[ExchangeName, VenueResult] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    async def run(self, stop: asyncio.Event) -> int:
        """Take every venue up the ladder and trade; returns the exit status."""
        # The heavy imports, while the server starts: later they would hold up this loop, and every answer in it.
        import ccxt.async_support  # noqa: F401

        import flows.trading_cycle  # noqa: F401

        await asyncio.to_thread(self.server.wait_until_up)
        columns = (
            TextColumn("{task.fields[exchange]:<9} {task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=remarks, transient=False) as progress:
            await self._all_venues(progress, stop)
        self.counts.update(await _count_runs())
        clean = len(self.results) == len(self.venues) and all(each.is_clean for each in self.results.values())
        return 0 if clean and not self.counts["failed_runs"] and not stop.is_set() else 1

    async def _all_venues(self, progress: Progress, stop: asyncio.Event) -> None:
        """All venues at once; when one fails, the others end their cycle and clear up before that is told."""
        venues = [asyncio.ensure_future(self._venue(name, progress, stop)) for name in self.venues]
        await asyncio.wait(venues, return_when=asyncio.FIRST_EXCEPTION)
        if any(venue.done() and venue.exception() for venue in venues):
            stop.set()
        for end in await asyncio.gather(*venues, return_exceptions=True):
            if isinstance(end, BaseException):
                raise end

    async def _venue(self, exchange: ExchangeName, progress: Progress, stop: asyncio.Event) -> None:
        from flows.compatibility import compatibility
        from flows.minimal_order import minimal_order
        from flows.ramp_up import ramp_up
        from flows.read_only import read_only
        from tasks.session import reading, trading

        bar = progress.add_task("waiting for the market", total=self.cycles, exchange=exchange)

        def note(what: str, **more: Any) -> None:
            progress.update(bar, description=what, **more)

        async with reading(exchange, self.settings) as reader:
            await _wait_for_open_market(reader)
            note("compatibility")
            await compatibility(exchange)
            note("read_only")
            await read_only(exchange)
        async with trading(exchange, self.settings) as here:
            note("minimal_order")
            await minimal_order(exchange)
            await ramp_up(exchange)
            pace = cycle_pace(self.settings, await _market_seconds_left(self.venues[exchange]), self.cycles)
            await self._climb_and_trade(here, stop, pace, note)
            note("audit")
            await leave(here)
            self.results[exchange] = await _audit(here, self.venues[exchange])
            note(f"done, on {self.results[exchange].rung}")

    async def _climb_and_trade(self, here: "TradingSession", stop: asyncio.Event, pace: float, note: Any) -> None:
        """Cycles up the ladder, then `cycles` more at its top."""
        from trading.stages import rungs

        top = rungs(here.settings.ladder.ramp_steps)[-1]
        at_top = 0

        def told(report: CycleReport) -> None:
            nonlocal at_top
            if report.rung == top:
                at_top += 1
                note(f"trading at {top}", completed=at_top)
            else:
                note(f"ladder: {report.rung}")

        most = self.cycles + _MOST_LADDER_CYCLES
        await run_cycles(
            here,
            stop,
            api=self.server.api,
            pace_seconds=pace,
            told=told,
            enough=lambda done: at_top >= self.cycles or done >= most,
        )


async def _audit(here: "TradingSession", venue: RunningVenue) -> VenueResult:
    """Settle for the last time, ask the venue for the truth, and compare."""
    from execution.audit import audit_books
    from execution.settle import settle
    from trading.pnl import inventory_of
    from trading.stages import PAPER

    await settle(here.desk, here.symbol)
    async with aiohttp.ClientSession() as web, web.get(f"{venue.address.control_url}/truth") as reply:
        document = await reply.json()
    report = await audit_books(here.desk, document)
    ledger, name = here.ledger, here.account
    orders, fills = ledger.orders(name), ledger.fills(name)
    instruments = await here.reader.instruments()
    cycles = (*ledger.cycles(name), *ledger.cycles(f"{name}:{PAPER}"))
    inventory = inventory_of(ledger.fills(name, here.symbol), instruments[here.symbol])
    price = (await here.reader.ticker(here.symbol)).last
    chain = ledger.verify_chain()
    rung = ledger.rung(name, here.symbol)
    counted = document["requests"]
    return VenueResult(
        rung=rung.rung if rung else "",
        cycles=len(cycles),
        orders=len(orders),
        fills=len(fills),
        refusals=sum(bool(cycle.report["refused"]) for cycle in cycles)
        + sum(order.state == "rejected" for order in orders),
        unresolved=report.unresolved,
        duplicates=report.duplicates,
        differences=len(report.differences) + (chain is not None),
        requests=counted["total"],
        rate_limit_breaches=counted["refused_for_rate"],
        peak_requests_per_minute=max(counted["by_minute"].values(), default=0),
        budget_per_minute=int(here.configured.requests_per_minute * here.settings.execution.rate_limit_margin),
        pnl=inventory.profit(price).quantize(Decimal("0.01")) if fills else ZERO,
        quote=instruments[here.symbol].quote,
        found=(*(str(each) for each in report.differences), *([chain] if chain else [])),
    )


async def _wait_for_open_market(here: "Session") -> None:
    """A replay may begin in the venue's maintenance: wait for its end, as a person would, and for a candle after it."""
    newest = here.settings.risk.max_data_age_seconds
    for _ in range(180):
        candles = await here.candles()
        fresh = bool(candles) and (here.clock.now() - candles[-1].opened_at).total_seconds() <= newest
        if fresh and (await here.reader.status(here.symbol)).trading:
            return
        await here.clock.sleep(60)


async def _market_seconds_left(venue: RunningVenue) -> float | None:
    """Seconds of recorded market ahead (a replayed file ends), None for a generator that goes on for ever."""
    async with aiohttp.ClientSession() as web, web.get(f"{venue.address.control_url}/clock") as reply:
        told = await reply.json()
    return None if told["ends_ms"] is None else (told["ends_ms"] - told["now_ms"]) / 1000


async def _count_runs() -> dict[str, int]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    failed = FlowRunFilter.model_validate(
        {"state": {"type": {"any_": [StateType.FAILED, StateType.CRASHED, StateType.CANCELLED]}}}
    )
    async with get_client() as client:
        every, bad, order = 0, 0, FlowRunSort.ID_DESC
        while page := await client.read_flow_runs(sort=order, limit=200, offset=every):
            every += len(page)
        while page := await client.read_flow_runs(flow_run_filter=failed, sort=order, limit=200, offset=bad):
            bad += len(page)
    return {"flow_runs": every, "failed_runs": bad}


def _print(results: dict[ExchangeName, VenueResult], counts: dict[str, int], seconds: float, *, as_json: bool) -> None:
    if as_json:
        hidden = {"quote", "found"}
        told = {
            name: {key: getattr(each, key) for key in VenueResult.__dataclass_fields__ if key not in hidden}
            for name, each in results.items()
        }
        print_json({"exchanges": told, "prefect": counts, "seconds": seconds})
        return
    rows = [(label, *(cell(getattr(each, field)) for each in results.values())) for label, field in _SHOWN.items()]
    budget = [f"{each.peak_requests_per_minute} of {each.budget_per_minute}" for each in results.values()]
    rows += [
        ("most requests a minute", *budget),
        ("profit", *(f"{plain(each.pnl)} {each.quote}" for each in results.values())),
    ]
    print_table("our ledger against each venue's own books", ("", *results), rows, "no venue got so far")
    for name, each in results.items():
        for difference in each.found[:10]:
            say(f"[red]{name}: {escape(difference)}[/]")
    say(f"Prefect: {counts.get('flow_runs', 0)} flow runs, {counts.get('failed_runs', 0)} failed; {seconds} s in all")
    say("demo thresholds (config/demo.yml): they show that the ladder works, not that a strategy does")


def _refuse_bad_candles(exchange: ExchangeName, words: Sequence[str]) -> None:
    """Have a venue read the file before the last demo's folder is emptied. Raises ConfigurationError."""
    with tempfile.TemporaryDirectory() as elsewhere, simulated_venues(Path(elsewhere), {exchange: words}):
        pass
