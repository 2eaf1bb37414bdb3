"""Bars that do not open at multiples of their length since the epoch: weeks, months, days of another zone."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby

from simvenue.values import Bar

Opening = Callable[[int], int]

DAY_MS = 86_400_000


def monday(at_ms: int) -> int:
    """Give the ms of Monday 00:00 UTC at or before `at_ms`."""
    day = datetime.fromtimestamp(at_ms / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((day - timedelta(days=day.weekday())).timestamp()) * 1000


def first_of_month(at_ms: int) -> int:
    """Give the ms of the first day of the month, 00:00 UTC, at or before `at_ms`."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp()) * 1000


def shifted(length_ms: int, zone_ms: int) -> Opening:
    """Give the opening rule of bars of `length_ms` counted from midnight of a zone `zone_ms` east of UTC."""
    return lambda at_ms: (at_ms + zone_ms) // length_ms * length_ms - zone_ms


def grouped(bars: list[Bar], opening: Opening, now_ms: int) -> list[Bar]:
    """Join bars (oldest first) into those that open where `opening` says; the one at `now_ms` still runs."""
    joined = []
    for open_ms, members in groupby(bars, key=lambda bar: opening(bar.open_ms)):
        parts = list(members)
        joined.append(
            Bar(
                open_ms,
                parts[0].open,
                max(part.high for part in parts),
                min(part.low for part in parts),
                parts[-1].close,
                sum((part.volume for part in parts), Decimal(0)),
                closed=open_ms != opening(now_ms),
            )
        )
    return joined


def turnover(bar: Bar) -> Decimal:
    """Estimate the quote volume of a bar from its typical price: the tape is not kept for long bars."""
    return (bar.volume * (bar.high + bar.low + bar.close) / 3).quantize(Decimal("0.00000001"))
