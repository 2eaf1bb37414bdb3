"""What we measure: every metric by name, and the newest value of each of its series.

The catalogue is the one list. Descriptors, dashboard, alert policies and the table in docs/monitoring-setup.md are
checked against it. A metric that is not in it (a user's own) is a gauge; a name that ends in `_total` counts up.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.logs import mask_secrets

PREFIX = "crypto_bot/"
MOST_SERIES = 1000  # of one process: a label that holds an id would else grow for ever
# Of Cloud Monitoring, the narrowest of the sinks.
MOST_LABELS = 10
LONGEST_LABEL = 1024

_NAME = re.compile(r"crypto_bot/[a-z][a-z0-9_]{0,99}")
_KEY = re.compile(r"[a-z][a-z0-9_]{0,99}")


class Kind(StrEnum):
    GAUGE = "gauge"  # the newest value counts
    COUNTER = "counter"  # what is pushed is added up from the start of the process


@dataclass(frozen=True)
class Metric:
    """One metric: its name with prefix, its unit in UCUM, the labels that tell its series apart."""

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    description: str


def _gauge(name: str, unit: str, labels: str, description: str) -> Metric:
    return Metric(PREFIX + name, Kind.GAUGE, unit, tuple(labels.split()), description)


def _counter(name: str, unit: str, labels: str, description: str) -> Metric:
    return Metric(PREFIX + name, Kind.COUNTER, unit, tuple(labels.split()), description)


# `mode` is paper, simulated, testnet or live; `process` is trader-EXCHANGE, venue-EXCHANGE, server, worker, up,
# monitoring.
CATALOGUE: tuple[Metric, ...] = (
    _counter("trade_executed", "1", "exchange symbol side mode", "fills of our orders"),
    _counter("order", "1", "exchange state mode", "orders, by the state in which their cycle left them"),
    _counter("order_refused", "1", "exchange rule", "orders that a risk rule or the certificate refused"),
    _counter("cycle", "1", "exchange result", "trading cycles: ok, unexplained or failed"),
    _counter("api_request", "1", "exchange", "requests sent to the venue"),
    _counter("api_error", "1", "exchange error_type", "requests that failed, by class of exchanges.errors"),
    _counter("http_bytes", "By", "exchange direction", "URLs and bodies sent, bodies received, without headers"),
    _gauge("cycle_seconds", "s", "exchange", "market time from begin to end of the newest cycle"),
    _gauge("last_cycle_age_seconds", "s", "exchange", "time since the newest cycle"),
    _gauge("response_latency_p95_ms", "ms", "exchange", "95 % of the newest requests were answered within"),
    _gauge("error_rate", "1", "exchange", "share of cycles that failed in monitoring.watches.window_minutes"),
    _gauge("api_reachable", "1", "exchange", "1 when the venue was last reached, 0 when not"),
    _gauge("equity", "1", "exchange currency mode", "worth of the account as far as the bot's trades made it"),
    _gauge("drawdown", "1", "exchange mode", "fall of equity from its peak, as a fraction"),
    _gauge("position", "1", "exchange symbol mode", "what the bot holds, in base currency"),
    _gauge("rung", "1", "exchange", "place on the ladder: 0 none, 1 compatibility, 4 paper, 5 minimal, then the ramp"),
    _gauge("kill_switch", "1", "exchange", "1 while the kill switch is set"),
    _gauge("open_orders", "1", "exchange", "orders open at the venue as the ledger knows them"),
    _gauge("unknown_orders", "1", "exchange", "orders of unknown outcome"),
    _gauge("balance_differences", "1", "exchange", "differences between ledger and venue in the newest cycle"),
    _gauge("rate_budget_used", "1", "exchange", "share of our own requests a minute that is used"),
    _gauge("clock_skew_seconds", "s", "exchange", "this machine's clock less the venue's"),
    _gauge("watch_finding", "1", "exchange watch", "1 where a watch has found something, else 0"),
    _gauge("process_memory_bytes", "By", "process", "resident memory of one of our processes"),
    _gauge("process_cpu_cores", "1", "process", "cores that one of our processes kept busy"),
    _gauge("host_network_bytes", "By", "direction", "bytes through this machine's interfaces since it started"),
    _counter("metrics_dropped", "1", "sink reason", "points that never reached a sink"),
)
BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in CATALOGUE}

Labels = tuple[tuple[str, str], ...]
SeriesKey = tuple[str, Labels]


class NotAMetric(ValueError):
    """A value that no sink could take; the message is a short reason, and the label of the count of drops."""


@dataclass(frozen=True)
class Point:
    """The newest value of one series. `fresh`: pushed since the flush before; a counter always is."""

    name: str
    kind: Kind
    labels: Labels
    value: float
    fresh: bool


@dataclass(frozen=True)
class Snapshot:
    """What one process has to tell at one moment (wall clock, UTC). Counters began at `since`."""

    process: str
    since: datetime
    at: datetime
    points: tuple[Point, ...]

    @property
    def fresh(self) -> tuple[Point, ...]:
        return tuple(point for point in self.points if point.fresh)


class Table:
    """The newest value of every series of a process. Not for several threads at once."""

    def __init__(self, process: str, since: datetime) -> None:
        self._process = process
        self._since = since
        self._values: dict[SeriesKey, float] = {}
        self._fresh: set[SeriesKey] = set()

    def take(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Take in one pushed value. Raises NotAMetric."""
        key, number = checked(name, value, labels)
        if key not in self._values and len(self._values) >= MOST_SERIES:
            raise NotAMetric("too many series")
        if kind_of(key[0]) is Kind.COUNTER:
            if number < 0:
                raise NotAMetric("counts down")
            number += self._values.get(key, 0.0)
        self._values[key] = number
        self._fresh.add(key)

    def set_total(self, name: str, total: float, labels: Mapping[str, str]) -> None:
        """Say what a counter of our own has come to."""
        key, number = checked(name, total, labels)
        self._values[key] = number

    def snapshot(self, at: datetime) -> Snapshot:
        """Everything as it stands; what is pushed from now on is fresh for the next one."""
        points = tuple(
            Point(key[0], kind, key[1], value, fresh=kind is Kind.COUNTER or key in self._fresh)
            for key, value in self._values.items()
            for kind in (kind_of(key[0]),)
        )
        self._fresh.clear()
        return Snapshot(self._process, self._since, at, points)


def kind_of(name: str) -> Kind:
    """Whether a metric's values are added up."""
    known = BY_NAME.get(name)
    if known is not None:
        return known.kind
    return Kind.COUNTER if name.endswith("_total") else Kind.GAUGE


def checked(name: str, value: float, labels: Mapping[str, str]) -> tuple[SeriesKey, float]:
    """The series and the number that a push means; secrets in labels are masked. Raises NotAMetric."""
    if not isinstance(name, str):
        raise NotAMetric("bad name")
    full = name if name.startswith(PREFIX) else PREFIX + name
    if not _NAME.fullmatch(full):
        raise NotAMetric("bad name")
    try:
        number = float(value)  # what every sink takes; a metric is shown, and no money is reckoned with it
    except (TypeError, ValueError, OverflowError):
        raise NotAMetric("bad value") from None
    if not math.isfinite(number):
        raise NotAMetric("bad value")
    known = BY_NAME.get(full)
    if len(labels) > MOST_LABELS or (known is not None and not set(labels) <= set(known.labels)):
        raise NotAMetric("bad labels")
    # A name is the program's own text, and its form leaves little room; a label may hold what a venue said.
    told = {key: mask_secrets(str(text))[:LONGEST_LABEL] for key, text in labels.items() if _is_key(key)}
    if len(told) < len(labels) or mask_secrets(full) != full:
        raise NotAMetric("bad labels")
    if known is not None:
        # All of them from the first point on: Cloud Monitoring makes a metric's form of what it sees first.
        told = {key: told.get(key, "") for key in known.labels}
    return (full, tuple(sorted(told.items()))), number


def _is_key(key: object) -> bool:
    return isinstance(key, str) and _KEY.fullmatch(key) is not None and mask_secrets(key) == key


class NotDelivered(Exception):
    """A sink gave up; `lost` points of the snapshot did not arrive."""

    def __init__(self, message: str, lost: int) -> None:
        self.lost = lost
        super().__init__(message)
