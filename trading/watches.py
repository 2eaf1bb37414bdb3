"""The five watches over a running bot: what they look at comes in, what they found goes out. Pure.

API connectivity, unexpected balance changes, orders left open, response latency, error rate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trading.day import CyclePoint

# How a cycle's error begins when the venue gave no answer or had no time (exchanges/errors.py).
_NOT_REACHED = ("NoAnswer", "Busy", "Maintenance", "RateLimitExceeded")


@dataclass(frozen=True)
class Bounds:
    """From which value on a watch speaks; a bound itself is still in order."""

    unreachable: timedelta
    open_order: timedelta
    latency_p95_ms: float
    error_rate: float  # fraction of cycles
    fewest_cycles: int  # below it no error rate is judged


@dataclass(frozen=True)
class OpenOrder:
    """An order that has not ended. `since`: when it was decided on (market time)."""

    name: str
    since: datetime
    is_unknown: bool


@dataclass(frozen=True)
class Watched:
    """One exchange as the watches see it. Times are market time, UTC.

    `points`: its cycles in the time looked back on, oldest first. `trader_since`: since when a trader runs, None: none
    does; the venue itself may then have been asked: `trouble` None: it was not, "": it answered, else what it said.
    `differences`: between ledger and venue, in the newest cycle.
    """

    now: datetime
    points: Sequence[CyclePoint]
    trader_since: datetime | None
    trouble: str | None
    latency_ms: float | None
    differences: Sequence[str]
    orders: Sequence[OpenOrder]

    @property
    def error_rate(self) -> float:
        """Share of the cycles that failed."""
        return sum(not point.ok for point in self.points) / len(self.points) if self.points else 0.0

    @property
    def reached_at(self) -> datetime | None:
        """When a cycle last reached the venue."""
        reached = [point.at for point in self.points if not point.error.startswith(_NOT_REACHED)]
        return reached[-1] if reached else None


@dataclass(frozen=True)
class Finding:
    """What one watch says. `found`: a person should look."""

    watch: str
    found: bool
    detail: str


def watch(seen: Watched, bounds: Bounds) -> tuple[Finding, ...]:
    """Ask all five watches."""
    return tuple(Finding(name, *judge(seen, bounds)) for name, judge in WATCHES.items())


def _connectivity(seen: Watched, bounds: Bounds) -> tuple[bool, str]:
    if seen.trader_since is None:
        if seen.trouble is None:
            return False, "no trader runs; the venue was not asked"
        return bool(seen.trouble), f"no trader runs; the venue was asked: {seen.trouble or 'it answers'}"
    last = max(seen.trader_since, seen.reached_at or seen.trader_since)
    silent = seen.now - last
    errors = [point.error for point in seen.points if point.error]
    said = f"; last error: {errors[-1]}" if errors and silent > bounds.unreachable else ""
    return silent > bounds.unreachable, f"last reached {_minutes(silent)} ago{said}"


def _balances(seen: Watched, bounds: Bounds) -> tuple[bool, str]:
    told = "; ".join(seen.differences[:5])
    more = f" and {len(seen.differences) - 5} more" if len(seen.differences) > 5 else ""
    return bool(seen.differences), f"{told}{more}" or "balances are what our fills explain"


def _open_orders(seen: Watched, bounds: Bounds) -> tuple[bool, str]:
    unknown = [order for order in seen.orders if order.is_unknown]
    old = [order for order in seen.orders if seen.now - order.since > bounds.open_order and not order.is_unknown]
    left = [order for order in seen.orders if seen.trader_since is None and order not in (*unknown, *old)]
    said = [
        f"{what}: {', '.join(order.name for order in orders[:3])}{' ...' if len(orders) > 3 else ''}"
        for what, orders in (
            ("of unknown outcome", unknown),
            (f"open for more than {_minutes(bounds.open_order)}", old),
            ("open while no trader runs", left),
        )
        if orders
    ]
    return bool(said), "; ".join(said) or f"{len(seen.orders)} open"


def _latency(seen: Watched, bounds: Bounds) -> tuple[bool, str]:
    if seen.latency_ms is None:
        return False, "not measured"
    return seen.latency_ms > bounds.latency_p95_ms, (
        f"95 % within {seen.latency_ms:g} ms, bound {bounds.latency_p95_ms:g} ms"
    )


def _errors(seen: Watched, bounds: Bounds) -> tuple[bool, str]:
    failed = sum(not point.ok for point in seen.points)
    said = f"{failed} of {len(seen.points)} cycles failed, bound {bounds.error_rate:.0%}"
    return len(seen.points) >= bounds.fewest_cycles and seen.error_rate > bounds.error_rate, said


def _minutes(time: timedelta) -> str:
    return f"{time.total_seconds() / 60:.1f} min"


WATCHES: dict[str, Callable[[Watched, Bounds], tuple[bool, str]]] = {
    "api_connectivity": _connectivity,
    "balance_changes": _balances,
    "open_orders": _open_orders,
    "response_latency": _latency,
    "error_rate": _errors,
}
