"""The scheduled look at the bot: what the ledger and the process table say, judged by the five watches."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from config.errors import ConfigurationError
from config.loader import load_settings
from config.settings import EXCHANGES, Endpoint, ExchangeName, Settings
from exchanges.errors import VenueError
from execution.latch import kill_switch
from services import monitoring
from services.clock import WallClock
from services.ledger import CycleRecord, Ledger
from services.logs import configure_logging, mask_secrets
from services.monitoring import push_custom_metric
from services.processes import account_holder, host_network_bytes, our_processes, usage
from services.simulated import find_venue
from tasks.books import percentile
from tasks.session import reading
from trading.day import cycle_point
from trading.stages import PAPER, rungs
from trading.watches import WATCHES, Bounds, Finding, OpenOrder, Watched, watch

PROCESS = "monitoring"
_SAMPLE_SECONDS = 0.5
_ASK_SECONDS = 30.0
_FLUSH_SECONDS = 15.0
_P95 = 0.95


@dataclass(frozen=True)
class Look:
    """One exchange as this run found it."""

    exchange: ExchangeName
    rung: str
    is_latched: bool
    newest: CycleRecord | None
    seen: Watched
    findings: tuple[Finding, ...]

    @property
    def found(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.found)


@dataclass(frozen=True)
class ProcessRow:
    """What one of our processes takes; `cpu_cores` over half a second."""

    name: str
    pid: int
    memory_bytes: int
    cpu_cores: float


@dataclass(frozen=True)
class Machine:
    """Our processes, and the bytes through this machine's interfaces since it started."""

    processes: tuple[ProcessRow, ...]
    bytes_sent: int
    bytes_received: int


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def look_at(exchange: ExchangeName) -> Look:
    """Read what the ledger knows of an exchange and let the watches judge. A venue is asked for its status, once, only
    where no trader runs: 1 or 2 requests of its budget.
    """
    settings = _own_settings()
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        look = await _look(settings, ledger, exchange)
    _push(settings, look)
    return look


async def _look(settings: Settings, ledger: Ledger, exchange: ExchangeName) -> Look:
    account, symbol = settings.account(exchange), settings.symbol(exchange)
    bounds, now = settings.monitoring.watches, WallClock().now()
    record = ledger.rung(account, symbol)
    traded = f"{account}:{PAPER}" if record is not None and record.rung == PAPER else account
    # A bot that looks every quarter of an hour is not unreachable in between.
    two_cycles = timedelta(seconds=2 * settings.execution.cycle_seconds)
    unreachable = max(timedelta(minutes=bounds.unreachable_minutes), two_cycles)
    window = max(timedelta(minutes=bounds.window_minutes), unreachable)
    cycles = ledger.cycles(traded, symbol, since=now - window)
    holder = account_holder(settings.home, account)
    trouble, asked_ms = None, None
    if holder is None and record is not None:
        trouble, asked_ms = await _ask(settings, exchange)
    latencies = tuple(float(told) for cycle in cycles if (told := cycle.report.get("latency_p95_ms")) is not None)
    seen = Watched(
        now=now,
        points=tuple(cycle_point(cycle) for cycle in reversed(cycles)),
        trader_since=None if holder is None else datetime.fromtimestamp(holder[1], UTC),
        trouble=trouble,
        latency_ms=percentile(latencies, _P95) if latencies else asked_ms,
        differences=tuple(cycles[0].report.get("discrepancies", ())) if cycles else (),
        orders=tuple(
            OpenOrder(order.intent.client_order_id, order.intent.decided_at, order.state == "unknown")
            for order in ledger.in_flight(account)
        ),
    )
    limits = Bounds(
        unreachable=unreachable,
        open_order=timedelta(minutes=bounds.open_order_minutes),
        latency_p95_ms=bounds.latency_p95_ms,
        error_rate=bounds.error_rate,
        fewest_cycles=bounds.fewest_cycles,
    )
    newest = cycles[0] if cycles else next(iter(ledger.cycles(traded, symbol, limit=1)), None)
    latched = kill_switch(settings.home, ledger, account) is not None
    return Look(exchange, record.rung if record else "", latched, newest, seen, watch(seen, limits))


async def _ask(settings: Settings, exchange: ExchangeName) -> tuple[str | None, float | None]:
    """What a venue says of itself, and in how many milliseconds; (None, None) where it cannot be asked from here."""
    configured = settings.exchanges[exchange]
    simulated = configured.endpoint is Endpoint.SIMULATED
    if simulated and configured.base_url is None and find_venue(settings.home, exchange) is None:
        return None, None
    try:
        async with asyncio.timeout(_ASK_SECONDS), reading(exchange, settings) as here:
            began = time.perf_counter()
            status = await here.reader.status(here.symbol)
            took = (time.perf_counter() - began) * 1000
    except ConfigurationError:
        return None, None  # no keys in this environment, say: that is no trouble of the venue's
    except (VenueError, TimeoutError) as error:
        return mask_secrets(f"{type(error).__name__}: {error}"), None
    return "" if status.trading else f"it takes no orders ({status.state})", round(took, 1)


def _push(settings: Settings, look: Look) -> None:
    def push(name: str, value: float, **labels: str) -> None:
        push_custom_metric(name, value, {"exchange": look.exchange, **labels})

    ladder = rungs(settings.ladder.ramp_steps)
    push("rung", 1 + ladder.index(look.rung) if look.rung in ladder else 0)
    push("kill_switch", look.is_latched)
    push("open_orders", sum(not order.is_unknown for order in look.seen.orders))
    push("unknown_orders", sum(order.is_unknown for order in look.seen.orders))
    push("balance_differences", len(look.seen.differences))
    push("error_rate", look.seen.error_rate)
    push("api_reachable", all(each.watch != "api_connectivity" for each in look.found))
    if look.seen.latency_ms is not None:
        push("response_latency_p95_ms", look.seen.latency_ms)
    if look.newest is not None:
        push("last_cycle_age_seconds", (look.seen.now - look.newest.finished_at).total_seconds())
    for finding in look.findings:
        push("watch_finding", finding.found, watch=finding.watch)


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def look_at_processes() -> Machine:
    """Memory and CPU (over half a second) of every process of ours on this machine, and the machine's network bytes."""
    settings = _own_settings()
    found = our_processes(settings.home, {name: settings.account(name) for name in EXCHANGES})
    before = {name: usage(process) for name, process in found.items()}
    began = time.perf_counter()
    await asyncio.sleep(_SAMPLE_SECONDS)
    passed = time.perf_counter() - began
    rows = []
    for name, process in found.items():
        first, now = before[name], usage(process)
        if first is None or now is None:
            continue
        rows.append(ProcessRow(name, now.pid, now.memory_bytes, (now.cpu_seconds - first.cpu_seconds) / passed))
        if not name.startswith("trader-"):  # a trader tells of itself
            push_custom_metric("process_memory_bytes", now.memory_bytes, {"process": name})
            push_custom_metric("process_cpu_cores", rows[-1].cpu_cores, {"process": name})
    sent, received = host_network_bytes()
    push_custom_metric("host_network_bytes", sent, {"direction": "sent"})
    push_custom_metric("host_network_bytes", received, {"direction": "received"})
    return Machine(tuple(rows), sent, received)


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def tell_findings(looks: Sequence[Look], machine: Machine) -> str:
    """Leave the artifact, alert for each finding, send the metrics; returns the verdict."""
    for look in looks:
        for finding in look.findings:
            said = f"{look.exchange}: {finding.watch}: {finding.detail}"
            monitoring.alert(f"{look.exchange}:{finding.watch}", said, over=not finding.found)
    await acreate_markdown_artifact(
        key=PROCESS, markdown=page(looks, machine), description="the five watches, the standing and the processes"
    )
    # The only flush of this run, so it has the time to import and to connect; in a thread.
    await asyncio.to_thread(monitoring.stop, _FLUSH_SECONDS)
    return verdict(looks)


def verdict(looks: Sequence[Look]) -> str:
    """What was found, in one line."""
    found = [f"{look.exchange}: {', '.join(finding.watch for finding in look.found)}" for look in looks if look.found]
    return "; ".join(found) or "nothing found"


def page(looks: Sequence[Look], machine: Machine) -> str:
    """The artifact: verdict, findings, standing, processes."""
    said = "".join(
        f"- **{look.exchange} {finding.watch}**: {finding.detail}\n" for look in looks for finding in look.found
    )
    watched = markdown_table(
        ["", *(look.exchange for look in looks)],
        [
            [name, *(("FOUND: " if look.findings[row].found else "") + look.findings[row].detail for look in looks)]
            for row, name in enumerate(WATCHES)
        ],
    )
    standing = markdown_table(["", *(look.exchange for look in looks)], _standing(looks))
    processes = markdown_table(
        ["process", "pid", "memory", "CPU", "network"],
        [
            [
                row.name,
                str(row.pid),
                f"{row.memory_bytes / 1e6:.0f} MB",
                f"{row.cpu_cores:.2f} cores",
                "crypto_bot/http_bytes" if row.name.startswith("trader-") else "not told by the system",
            ]
            for row in machine.processes
        ],
    )
    network = f"{machine.bytes_sent / 1e6:.0f} MB sent, {machine.bytes_received / 1e6:.0f} MB received"
    at = f"{looks[0].seen.now:%Y-%m-%d %H:%M:%S} UTC"
    return mask_secrets(
        f"# Monitoring: {verdict(looks)}\n\n{at}\n\n{said}\n## Watches\n\n{watched}\n## Standing\n\n{standing}\n"
        f"## Processes\n\n{processes}\nThis machine's interfaces since it started: {network}.\n"
    )


def _standing(looks: Sequence[Look]) -> list[list[str]]:
    def told(look: Look, name: str, form: str = "{}") -> str:
        value = None if look.newest is None else look.newest.report.get(name)
        return "" if value is None else form.format(value)

    def drawdown(look: Look) -> str:
        equities = [point.equity for point in look.seen.points if point.equity is not None]
        peak = max(equities, default=None)
        return "" if peak is None or peak <= 0 else f"{float((peak - equities[-1]) / peak):.2%}"

    rows = {
        "trader": lambda look: "runs" if look.seen.trader_since else "does not run",
        "rung": lambda look: look.rung or "none",
        "kill switch": lambda look: "SET" if look.is_latched else "off",
        "last cycle": lambda look: f"{look.newest.finished_at:%m-%d %H:%M:%S}" if look.newest else "",
        "equity": lambda look: told(look, "equity"),
        "fall from the window's peak": drawdown,
        "rate budget used": lambda look: (
            "" if not told(look, "budget_used") else f"{float(told(look, 'budget_used')):.0%}"
        ),
        "clock skew": lambda look: told(look, "clock_skew_seconds", "{:.3f} s"),
        "last error": lambda look: told(look, "error"),
    }
    return [[name, *(cell(look) for look in looks)] for name, cell in rows.items()]


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in row) + " |\n" for row in lines
    )


def _own_settings() -> Settings:
    """The settings of this run, its log masked and its metrics begun."""
    settings = load_settings()
    configure_logging(settings)
    monitoring.start(settings, PROCESS)
    return settings
