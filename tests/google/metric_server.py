"""google.monitoring.v3.MetricService on loopback, with the rules that the service enforces on writes.

A stand-in for tests: it stores points in memory and answers as the service does (docs.cloud.google.com, and what
clients report of it): 200 series a call, exactly one point each, no series twice, a minimum spacing, only newer points,
kind and type as the descriptor says, partial failure with a CreateTimeSeriesSummary. It checks no credentials.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
from google.api import label_pb2, metric_pb2
from google.cloud import monitoring_v3
from google.protobuf import any_pb2, empty_pb2
from google.rpc import code_pb2, status_pb2
from grpc_status import rpc_status

SERVICE = "google.monitoring.v3.MetricService"
MOST_SERIES = 200
SPACING_SECONDS = 10.0

SeriesKey = tuple[str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Stored:
    at: datetime
    since: datetime | None
    value: float


@dataclass
class Written:
    """One call of CreateTimeSeries, as it came."""

    series: int
    points: int
    metadata: dict[str, str]


@dataclass
class MetricService:
    """State and rules. `trouble`: "", "slow", "hang", "unavailable", "permission_denied"."""

    spacing_seconds: float = SPACING_SECONDS
    trouble: str = ""
    calls: list[Written] = field(default_factory=list)
    stored: dict[SeriesKey, list[Stored]] = field(default_factory=dict)
    descriptors: dict[str, metric_pb2.MetricDescriptor] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    descriptor_writes: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    address: str = ""

    @property
    def points(self) -> int:
        return sum(len(each) for each in self.stored.values())

    def values(self, name: str, **labels: str) -> list[float]:
        """Every stored value of a metric's series, oldest first, whose labels include these."""
        return [
            stored.value
            for (kind, told, _), series in self.stored.items()
            if kind == f"custom.googleapis.com/crypto_bot/{name}" and set(labels.items()) <= set(told)
            for stored in series
        ]

    def create_time_series(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:
        self._suffer(context)
        series = list(request.time_series)
        told = {str(key): str(value) for key, value in context.invocation_metadata()}
        self.calls.append(Written(len(series), sum(len(each.points) for each in series), told))
        self._refuse_call(series, context)
        errors: dict[int, int] = {}
        for each in series:
            code, why = self._store(each)
            if code != code_pb2.OK:
                errors[code] = errors.get(code, 0) + 1
                self.refusals.append(why)
        if errors:
            self._fail_in_part(len(series), errors, context)
        return empty_pb2.Empty()

    def _refuse_call(self, series: list[Any], context: grpc.ServicerContext) -> None:
        keys = [key_of(each) for each in series]
        why = ""
        if not series:
            why = "no time series"
        elif len(series) > MOST_SERIES:
            why = f"{len(series)} time series, at most {MOST_SERIES} are allowed"
        elif any(len(each.points) != 1 for each in series):
            why = "one point each"
        elif len(set(keys)) < len(keys):
            why = "duplicate time series in one request"
        if why:
            self.refusals.append(why)
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, why)

    def _store(self, series: Any) -> tuple[int, str]:
        """Keep the point, creating its descriptor where there is none; (code, why) as the service answers."""
        resource = dict(series.resource.labels)
        if series.resource.type != "generic_task" or set(resource) != {
            "project_id",
            "location",
            "namespace",
            "job",
            "task_id",
        }:
            return code_pb2.INVALID_ARGUMENT, f"resource {series.resource.type} {sorted(resource)}"
        self._describe(series)
        known = self.descriptors[series.metric.type]
        if known.metric_kind != series.metric_kind or known.value_type != series.value_type:
            return code_pb2.INVALID_ARGUMENT, f"{series.metric.type}: not the descriptor's kind"
        if not set(series.metric.labels) <= {label.key for label in known.labels}:
            return code_pb2.INVALID_ARGUMENT, f"{series.metric.type}: unknown labels"
        interval = series.points[0].interval
        since, at = (each.ToDatetime(tzinfo=UTC) for each in (interval.start_time, interval.end_time))
        cumulative = known.metric_kind == metric_pb2.MetricDescriptor.MetricKind.CUMULATIVE
        if cumulative and not (interval.HasField("start_time") and since < at):
            return code_pb2.INVALID_ARGUMENT, f"{series.metric.type}: a counter needs a start before its end"
        history = self.stored.setdefault(key_of(series), [])
        if history and at <= history[-1].at:
            return code_pb2.INVALID_ARGUMENT, f"{series.metric.type}: points must be written in order"
        if history and (at - history[-1].at).total_seconds() < self.spacing_seconds:
            return code_pb2.INVALID_ARGUMENT, f"{series.metric.type}: more frequently than the maximum sampling period"
        history.append(Stored(at, since if cumulative else None, series.points[0].value.double_value))
        return code_pb2.OK, ""

    def _describe(self, series: Any) -> None:
        if series.metric.type not in self.descriptors:
            self.descriptors[series.metric.type] = metric_pb2.MetricDescriptor(
                type=series.metric.type,
                metric_kind=series.metric_kind,
                value_type=series.value_type,
                labels=[label_pb2.LabelDescriptor(key=key) for key in series.metric.labels],
            )

    def _fail_in_part(self, total: int, errors: dict[int, int], context: grpc.ServicerContext) -> None:
        summary = monitoring_v3.CreateTimeSeriesSummary(
            total_point_count=total,
            success_point_count=total - sum(errors.values()),
            errors=[{"status": status_pb2.Status(code=code), "point_count": count} for code, count in errors.items()],
        )
        detail = any_pb2.Any()
        detail.Pack(monitoring_v3.CreateTimeSeriesSummary.pb(summary))
        status = status_pb2.Status(
            code=code_pb2.INVALID_ARGUMENT, message="One or more TimeSeries could not be written", details=[detail]
        )
        context.abort_with_status(rpc_status.to_status(status))

    def list_metric_descriptors(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._suffer(context)
        begin = request.filter.partition('"')[2].rpartition('"')[0]
        found = [each for name, each in self.descriptors.items() if name.startswith(begin)]
        return monitoring_v3.ListMetricDescriptorsResponse(metric_descriptors=found)

    def create_metric_descriptor(self, request: Any, context: grpc.ServicerContext) -> metric_pb2.MetricDescriptor:
        self._suffer(context)
        self.descriptor_writes += 1
        made = monitoring_v3.CreateMetricDescriptorRequest.pb(request).metric_descriptor
        self.descriptors[made.type] = made
        return made

    def _suffer(self, context: grpc.ServicerContext) -> None:
        if self.trouble == "slow":
            time.sleep(0.3)
        elif self.trouble == "hang":
            self.released.wait(60)
        elif self.trouble == "unavailable":
            context.abort(grpc.StatusCode.UNAVAILABLE, "the service is unavailable")
        elif self.trouble == "permission_denied":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "Permission monitoring.timeSeries.create denied")


def key_of(series: Any) -> SeriesKey:
    return (
        series.metric.type,
        tuple(sorted(series.metric.labels.items())),
        tuple(sorted(series.resource.labels.items())),
    )


@contextlib.contextmanager
def metric_server(trouble: str = "", spacing_seconds: float = SPACING_SECONDS) -> Iterator[MetricService]:
    """Run the service for the length of the block; its `address` is 127.0.0.1:PORT."""
    service = MetricService(spacing_seconds=spacing_seconds, trouble=trouble)
    requests = monitoring_v3
    handlers = {
        "CreateTimeSeries": grpc.unary_unary_rpc_method_handler(
            service.create_time_series,
            request_deserializer=requests.CreateTimeSeriesRequest.pb().FromString,
            response_serializer=empty_pb2.Empty.SerializeToString,
        ),
        "ListMetricDescriptors": grpc.unary_unary_rpc_method_handler(
            service.list_metric_descriptors,
            request_deserializer=requests.ListMetricDescriptorsRequest.deserialize,
            response_serializer=requests.ListMetricDescriptorsResponse.serialize,
        ),
        "CreateMetricDescriptor": grpc.unary_unary_rpc_method_handler(
            service.create_metric_descriptor,
            request_deserializer=requests.CreateMetricDescriptorRequest.deserialize,
            response_serializer=metric_pb2.MetricDescriptor.SerializeToString,
        ),
    }
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield service
    finally:
        service.released.set()
        server.stop(0)
