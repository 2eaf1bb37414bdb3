"""What a day of trading cycles came to. Pure: points in, numbers out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from typing import Any, Protocol

JAPAN = timezone(timedelta(hours=9), "JST")  # no summer time since 1951
_P95 = 0.95


@dataclass(frozen=True)
class CyclePoint:
    """One cycle as the day sees it. `at`: its start, market time (UTC); price and equity in quote; latency in ms."""

    at: datetime
    ok: bool
    rung: str
    price: Decimal | None
    equity: Decimal | None
    latency_ms: float | None  # 95th percentile of the requests in this cycle
    refused: str
    error: str


@dataclass(frozen=True)
class DaySummary:
    """A day in numbers. Money in quote; `drawdown` is the deepest fall from a peak before it, as a fraction."""

    cycles: int
    failed: int
    missed: int
    refused: int
    rung: str
    first_equity: Decimal | None
    last_equity: Decimal | None
    drawdown: Decimal
    latency_p95_ms: float | None
    last_at: datetime | None
    last_error: str

    @property
    def error_rate(self) -> float:
        """Share of cycles that failed; 0 for a day without cycles."""
        return self.failed / self.cycles if self.cycles else 0.0

    @property
    def change(self) -> Decimal | None:
        """Equity at the end less equity at the start (quote); None where it was never known."""
        if self.first_equity is None or self.last_equity is None:
            return None
        return self.last_equity - self.first_equity

    @property
    def verdict(self) -> str:
        """The day in one sentence, trouble first."""
        if not self.cycles:
            return "no cycle ran"
        trouble = []
        if self.failed:
            trouble.append(f"{self.failed} of {self.cycles} cycles failed")
        if self.missed:
            trouble.append(f"{self.missed} cycles missed")
        return "; ".join(trouble) or f"{self.cycles} cycles, none failed, none missed"


class StoredCycle(Protocol):
    """A cycle as the ledger gives it back: amounts inside its report are text."""

    @property
    def started_at(self) -> datetime: ...
    @property
    def ok(self) -> bool: ...
    @property
    def rung(self) -> str: ...
    @property
    def report(self) -> Mapping[str, Any]: ...


def cycle_point(cycle: StoredCycle) -> CyclePoint:
    """The point that a stored cycle makes."""
    told = cycle.report

    def money(name: str) -> Decimal | None:
        return None if told.get(name) is None else Decimal(told[name])

    return CyclePoint(
        at=cycle.started_at,
        ok=cycle.ok,
        rung=cycle.rung,
        price=money("price"),
        equity=money("equity"),
        latency_ms=told.get("latency_p95_ms"),
        refused=told.get("refused", ""),
        error=told.get("error", ""),
    )


def bounds_of(day: date) -> tuple[datetime, datetime]:
    """Begin and end (UTC) of a day in Japan."""
    begin = datetime.combine(day, time(), JAPAN)
    return begin, begin + timedelta(days=1)


def summarise(points: Sequence[CyclePoint], cycle_seconds: float) -> DaySummary:
    """Sum up the cycles of a day, oldest first. Missed are the cycles that should have stood between the first and the
    last one, as far as the trader was up: a pause of more than an hour is a trader that was down, not missed cycles.
    """
    equities = [(point.at, point.equity) for point in points if point.equity is not None]
    latencies = sorted(point.latency_ms for point in points if point.latency_ms is not None)
    errors = [point.error for point in points if point.error]
    return DaySummary(
        cycles=len(points),
        failed=sum(not point.ok for point in points),
        missed=_missed([point.at for point in points], cycle_seconds),
        refused=sum(bool(point.refused) for point in points),
        rung=points[-1].rung if points else "",
        first_equity=equities[0][1] if equities else None,
        last_equity=equities[-1][1] if equities else None,
        drawdown=max(drawdowns([equity for _, equity in equities]), default=Decimal(0)),
        latency_p95_ms=latencies[min(len(latencies) - 1, int(_P95 * len(latencies)))] if latencies else None,
        last_at=points[-1].at if points else None,
        last_error=errors[-1] if errors else "",
    )


def drawdowns(equities: Sequence[Decimal]) -> list[Decimal]:
    """For each value its fall from the highest one until then, as a fraction of that; 0 where the peak is not above
    zero.
    """
    found, peak = [], Decimal(0)
    for equity in equities:
        peak = max(peak, equity)
        found.append((peak - equity) / peak if peak > 0 else Decimal(0))
    return found


def _missed(times: Sequence[datetime], cycle_seconds: float) -> int:
    missed = 0
    for before, after in pairwise(times):
        gap = (after - before).total_seconds()
        if gap <= 3600:
            missed += max(0, round(gap / cycle_seconds) - 1)
    return missed
