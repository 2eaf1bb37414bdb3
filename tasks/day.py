"""The report of a trading day: read from our ledger, shown as Prefect artifacts."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from prefect import task
from prefect.artifacts import acreate_image_artifact, acreate_markdown_artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from config.loader import load_settings
from config.settings import ExchangeName, Settings
from execution.standing import Standing, standing_of
from services.clock import WallClock
from services.ledger import Ledger
from services.logs import configure_logging
from tasks.chart import Mark, Point, data_url, line_chart
from tasks.report import artifact_key
from trading.day import JAPAN, CyclePoint, DaySummary, bounds_of, cycle_point, drawdowns, summarise
from trading.money import plain
from trading.orders import Fill
from trading.stages import PAPER


@dataclass(frozen=True)
class Day:
    """A day at one exchange: its cycles (of the account in which it traded last) and its fills, oldest first."""

    exchange: ExchangeName
    symbol: str
    account: str
    begin: datetime
    end: datetime
    points: tuple[CyclePoint, ...]
    fills: tuple[Fill, ...]
    summary: DaySummary
    standing: Standing

    @property
    def quote(self) -> str:
        return self.symbol.partition("/")[2].partition(":")[0]

    @property
    def name(self) -> str:
        return f"{self.begin.astimezone(JAPAN):%Y-%m-%d}"


def today_in_japan() -> date:
    """The day that it is in Japan by the wall clock."""
    return WallClock().now().astimezone(JAPAN).date()


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def report_day(exchange: ExchangeName, day: date) -> str:
    """Leave verdict, tables and pictures of a day (in Japan) at one exchange; returns the verdict."""
    settings = load_settings()
    configure_logging(settings)
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        found = day_of(settings, ledger, exchange, *bounds_of(day))
    await _publish(found)
    return found.summary.verdict


def day_of(settings: Settings, ledger: Ledger, exchange: ExchangeName, begin: datetime, end: datetime) -> Day:
    """Read a stretch of time at one exchange from the ledger: on paper, while paper is where it traded last."""
    symbol, venue_account = settings.symbol(exchange), settings.account(exchange)
    candidates = [
        (account, ledger.cycles(account, symbol, since=begin))
        for account in (venue_account, f"{venue_account}:{PAPER}")
    ]
    account, cycles = max(
        candidates, key=lambda each: each[1][0].started_at if each[1] else datetime.min.replace(tzinfo=begin.tzinfo)
    )
    points = tuple(cycle_point(cycle) for cycle in reversed(cycles) if cycle.started_at < end)
    fills = tuple(fill for fill in ledger.fills(account, symbol, since=begin) if fill.at < end)
    return Day(
        exchange=exchange,
        symbol=symbol,
        account=account,
        begin=begin,
        end=end,
        points=points,
        fills=fills,
        summary=summarise(points, settings.execution.cycle_seconds),
        standing=standing_of(settings, ledger, exchange, WallClock().now()),
    )


async def _publish(day: Day) -> None:
    key = artifact_key("day", day.exchange)
    await acreate_markdown_artifact(key=key, markdown=verdict(day), description=f"{day.name} at {day.exchange}")
    hours = [
        {
            "hour (JST)": f"{begin.astimezone(JAPAN):%H}:00",
            "cycles": str(hour.cycles),
            "failed": str(hour.failed),
            "refused": str(hour.refused),
            "equity": "" if hour.last_equity is None else plain(hour.last_equity.quantize(Decimal("0.01"))),
            "p95 ms": "" if hour.latency_p95_ms is None else f"{hour.latency_p95_ms:g}",
            "last error": hour.last_error,
        }
        for begin, hour in _hours(day)
        if hour.cycles
    ]
    await acreate_table_artifact(key=f"{key}-hours", table=hours, description=f"{day.name}, hour by hour")
    fills = [
        {
            "at (JST)": f"{fill.at.astimezone(JAPAN):%H:%M:%S}",
            "side": str(fill.side),
            "quantity": plain(fill.quantity),
            "price": plain(fill.price),
            "fee": f"{plain(fill.fee)} {fill.fee_currency}",
        }
        for fill in day.fills
    ]
    await acreate_table_artifact(key=f"{key}-fills", table=fills, description=f"{day.name}, our fills")
    for name, svg in pictures(day).items():
        await acreate_image_artifact(
            key=f"{key}-{name}", image_url=data_url(svg), description=f"{day.name} at {day.exchange}: {name}"
        )


def verdict(day: Day) -> str:
    """One screen of markdown: how the day was, in words and in one small table."""
    told = day.summary
    change = "unknown" if told.change is None else f"{plain(told.change.quantize(Decimal('0.01')))} {day.quote}"
    latency = "unknown" if told.latency_p95_ms is None else f"{told.latency_p95_ms:g} ms"
    stands = day.standing
    rows = [
        ("state now", f"{stands.state}: {stands.cause}" if stands.cause else str(stands.state)),
        ("rung", told.rung or "none"),
        ("certificate holds until", f"{stands.record.expires_at:%Y-%m-%d %H:%M} UTC" if stands.record else "none"),
        ("account", day.account),
        ("cycles / failed / missed", f"{told.cycles} / {told.failed} / {told.missed}"),
        ("orders refused by a risk rule", str(told.refused)),
        ("fills", str(len(day.fills))),
        ("equity", f"{change} over the day" if told.change is not None else change),
        ("deepest fall from a peak", f"{float(told.drawdown):.2%}"),
        ("latency, 95 % below", latency),
        ("last error", told.last_error or "none"),
    ]
    table = "".join(f"| {name} | {value} |\n" for name, value in rows)
    return f"# {day.name} at {day.exchange} {day.symbol}: {told.verdict}\n\n| | |\n|---|---|\n{table}"


def pictures(day: Day) -> dict[str, str]:
    """The day's charts as SVG, by name."""
    equity = [(point.at, float(point.equity)) for point in day.points if point.equity is not None]
    falls = drawdowns([point.equity for point in day.points if point.equity is not None])
    price = [(point.at, float(point.price)) for point in day.points if point.price is not None]
    latency = [(point.at, point.latency_ms) for point in day.points if point.latency_ms is not None]
    errors: list[Point] = [
        (begin + timedelta(minutes=30), 100 * hour.error_rate) for begin, hour in _hours(day) if hour.cycles
    ]
    marks = [Mark(fill.at, float(fill.price), str(fill.side) == "buy") for fill in day.fills]
    where = f"{day.exchange} {day.symbol}, {day.name}"
    begin, end = _shown(day)

    def chart(
        title: str, name: str, points: Sequence[Point], *, from_zero: bool = False, marks: Sequence[Mark] = ()
    ) -> str:
        return line_chart(f"{title}: {where}", begin, end, [(name, points)], marks, from_zero=from_zero)

    return {
        "equity": chart(f"Equity in {day.quote}", "equity", equity),
        "drawdown": chart(
            "Fall from the peak in %",
            "drawdown",
            [(at, 100 * float(fall)) for (at, _), fall in zip(equity, falls, strict=True)],
            from_zero=True,
        ),
        "price": chart(f"Price in {day.quote} and our fills", "price", price, marks=marks),
        "latency": chart("Latency in ms, 95 % of a cycle's requests below", "p95", latency, from_zero=True),
        "errors": chart("Failed cycles in %, by hour", "failed", errors, from_zero=True),
    }


def _shown(day: Day) -> tuple[datetime, datetime]:
    """The whole hours in which cycles ran; a day of a few hours fills the picture too."""
    if not day.points:
        return day.begin, day.end
    first, last = (point.at.replace(minute=0, second=0, microsecond=0) for point in (day.points[0], day.points[-1]))
    return first, last + timedelta(hours=1)


def _hours(day: Day) -> list[tuple[datetime, DaySummary]]:
    found, begin, hour = [], day.begin, timedelta(hours=1)
    while begin < day.end:
        points = [point for point in day.points if begin <= point.at < begin + hour]
        found.append((begin, summarise(points, hour.total_seconds())))
        begin += hour
    return found
