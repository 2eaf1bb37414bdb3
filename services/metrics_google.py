"""Metrics for Google Cloud Monitoring, by its own client.

The service's rules, kept here: at most 200 series a call, one point each, no series twice in a call, points of a series
at least 10 s apart and newer than the last. A call that fails in part has stored the rest: nothing is ever sent again,
what was refused is counted by its reason. Resource: generic_task, whose task_id tells our processes apart.
"""

import hashlib
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from config.settings import Settings
from config.settings_monitoring import SHORTEST_FLUSH_SECONDS
from services.metrics import CATALOGUE, Kind, Metric, NotDelivered, Point, Snapshot

if TYPE_CHECKING:
    from google.cloud import monitoring_v3

MOST_SERIES_A_CALL = 200
TYPE_PREFIX = "custom.googleapis.com/"
_SPACING = timedelta(seconds=SHORTEST_FLUSH_SECONDS)
_CALL_SECONDS = 5.0


@dataclass(frozen=True)
class Resource:
    """The monitored resource generic_task that a process reports as."""

    project_id: str
    location: str
    namespace: str
    job: str
    task_id: str

    @classmethod
    def of(cls, settings: Settings, process: str) -> "Resource":
        """The task id is the same after a restart, and another for each process, host and home."""
        chosen = settings.monitoring
        home = hashlib.sha256(str(settings.home.resolve()).encode()).hexdigest()[:6]
        return cls(
            project_id=chosen.project_id or "",
            location=chosen.location,
            namespace=chosen.namespace,
            job=chosen.job,
            task_id=f"{socket.gethostname()}/{home}/{process}",
        )


def metric_client(target: str | None) -> "monitoring_v3.MetricServiceClient":
    """A client of the service, or of a stand-in on loopback at `target`.

    Raises DefaultCredentialsError where this machine has no credentials for Google Cloud.
    """
    from google.cloud import monitoring_v3

    if target is None:
        return monitoring_v3.MetricServiceClient()
    import grpc
    from google.cloud.monitoring_v3.services.metric_service.transports import MetricServiceGrpcTransport

    transport = MetricServiceGrpcTransport(channel=grpc.insecure_channel(target))
    return monitoring_v3.MetricServiceClient(transport=transport)


class CloudMonitoringSink:
    """Writes each snapshot's fresh points in as few calls as the service allows."""

    name = "cloud_monitoring"

    def __init__(self, resource: Resource, *, target: str | None = None, call_seconds: float = _CALL_SECONDS) -> None:
        self._resource = resource
        self._target = target
        self._call_seconds = call_seconds
        self._client: monitoring_v3.MetricServiceClient | None = None
        self._sent_at: datetime | None = None

    def send(self, snapshot: Snapshot) -> Mapping[str, int]:
        """Write the snapshot; returns the points that were refused, by reason. Raises NotDelivered, or what keeps the
        client from being made.
        """
        fresh = snapshot.fresh
        # Also after the wall clock was set back: the service takes no point that is older than the last.
        if self._sent_at is not None and snapshot.at - self._sent_at < _SPACING:
            return {"too soon": len(fresh)}
        if self._client is None:
            self._client = metric_client(self._target)
        self._sent_at = snapshot.at
        refused: dict[str, int] = {}
        for start in range(0, len(fresh), MOST_SERIES_A_CALL):
            self._write(fresh[start : start + MOST_SERIES_A_CALL], snapshot, len(fresh) - start, refused)
        return refused

    def close(self) -> None:
        if self._client is not None:
            self._client.transport.close()

    def _write(self, points: Sequence[Point], snapshot: Snapshot, left: int, refused: dict[str, int]) -> None:
        from google.api_core.exceptions import GoogleAPICallError

        assert self._client is not None
        try:
            self._client.create_time_series(
                request=write_request(points, snapshot, self._resource), retry=None, timeout=self._call_seconds
            )
        except GoogleAPICallError as error:
            told = _refused_in_part(error)
            if not told:
                raise NotDelivered(f"{type(error).__name__}: {error.message}", left + sum(refused.values())) from None
            for reason, count in told.items():
                refused[reason] = refused.get(reason, 0) + count


def _refused_in_part(error: Any) -> dict[str, int]:
    """Points that the service refused, by reason, where it says that it has stored the others."""
    from google.cloud.monitoring_v3 import CreateTimeSeriesSummary
    from google.rpc.code_pb2 import Code

    summary = CreateTimeSeriesSummary.pb()()
    for detail in error.details:
        if hasattr(detail, "Is") and detail.Is(summary.DESCRIPTOR):
            detail.Unpack(summary)
            return {Code.Name(each.status.code).lower(): each.point_count for each in summary.errors}
    return {}


def write_request(
    points: Sequence[Point], snapshot: Snapshot, resource: Resource
) -> "monitoring_v3.CreateTimeSeriesRequest":
    """Points as the service wants them: a gauge at the moment of the flush, a counter since the process began.

    Built of the plain protobuf classes: the wrapped ones take ten times as long, and the interpreter from the trader.
    """
    from google.api.metric_pb2 import MetricDescriptor
    from google.cloud import monitoring_v3

    request = monitoring_v3.CreateTimeSeriesRequest.pb()(name=f"projects/{resource.project_id}")
    labels = {
        "project_id": resource.project_id,
        "location": resource.location,
        "namespace": resource.namespace,
        "job": resource.job,
        "task_id": resource.task_id,
    }
    # A counter that begins at the very moment of its point would be refused.
    since = min(snapshot.since, snapshot.at - timedelta(milliseconds=1))
    kinds = {Kind.GAUGE: MetricDescriptor.MetricKind.GAUGE, Kind.COUNTER: MetricDescriptor.MetricKind.CUMULATIVE}
    for point in points:
        series = request.time_series.add(
            metric={"type": metric_type(point.name), "labels": dict(point.labels)},
            resource={"type": "generic_task", "labels": labels},
            metric_kind=kinds[point.kind],
            value_type=MetricDescriptor.ValueType.DOUBLE,
        )
        told = series.points.add()
        told.value.double_value = point.value
        told.interval.end_time.FromDatetime(snapshot.at)
        if point.kind is Kind.COUNTER:
            told.interval.start_time.FromDatetime(since)
    wrapped: monitoring_v3.CreateTimeSeriesRequest = monitoring_v3.CreateTimeSeriesRequest.wrap(request)
    return wrapped


def metric_type(name: str) -> str:
    """How Cloud Monitoring calls a metric of ours."""
    return TYPE_PREFIX + name


def descriptor(metric: Metric) -> Any:
    """The descriptor (google.api.MetricDescriptor) of a metric of the catalogue."""
    from google.api.label_pb2 import LabelDescriptor
    from google.api.metric_pb2 import MetricDescriptor

    kinds = {Kind.GAUGE: MetricDescriptor.MetricKind.GAUGE, Kind.COUNTER: MetricDescriptor.MetricKind.CUMULATIVE}
    return MetricDescriptor(
        type=metric_type(metric.name),
        metric_kind=kinds[metric.kind],
        value_type=MetricDescriptor.ValueType.DOUBLE,
        unit=metric.unit,
        description=metric.description,
        display_name=metric.name,
        labels=[LabelDescriptor(key=key, value_type=LabelDescriptor.ValueType.STRING) for key in metric.labels],
    )


@dataclass(frozen=True)
class SetUp:
    """What the set-up of descriptors found and did; metrics by name."""

    created: tuple[str, ...]
    existing: tuple[str, ...]
    different: tuple[str, ...]  # there in another form than the catalogue's; left as they are

    @property
    def is_complete(self) -> bool:
        return not self.different


def set_up_descriptors(project_id: str, target: str | None) -> SetUp:
    """Create the descriptors that the project lacks; may run again at any time.

    One that exists in another form is left: altering it stops its collection and loses what it holds. Raises
    google.api_core's and google.auth's errors.
    """
    client = metric_client(target)
    name = f"projects/{project_id}"
    asked = {"name": name, "filter": f'metric.type = starts_with("{TYPE_PREFIX}crypto_bot/")'}
    there = {each.type: each for each in client.list_metric_descriptors(request=asked, timeout=30)}
    created, existing, different = [], [], []
    for metric in CATALOGUE:
        wanted = descriptor(metric)
        known = there.get(wanted.type)
        if known is None:
            client.create_metric_descriptor(name=name, metric_descriptor=wanted, timeout=30)
            created.append(metric.name)
        elif _form(known) == _form(wanted):
            existing.append(metric.name)
        else:
            different.append(metric.name)
    return SetUp(tuple(created), tuple(existing), tuple(different))


def _form(told: Any) -> tuple[int, int, frozenset[str]]:
    return told.metric_kind, told.value_type, frozenset(label.key for label in told.labels)
