"""The section `monitoring`: where metrics go, and from which value on a watch speaks."""

from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from config.strict import Place, Strict

SinkName = Literal["file", "prometheus", "cloud_monitoring"]
# Cloud Monitoring takes a point of one series every 5 s, older pages say 10 s: designed for the longer.
SHORTEST_FLUSH_SECONDS = 10.0

_Label = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]


class WatchSettings(Strict):
    """From which value on each of the five watches speaks. A bound is still in order."""

    unreachable_minutes: float = Field(
        5.0, gt=0, description="minutes without a cycle that reached the venue while a trader runs; two cycles at least"
    )
    open_order_minutes: float = Field(5.0, gt=0, description="minutes that an order may be open")
    latency_p95_ms: float = Field(2000.0, gt=0, description="milliseconds that 95 % of the requests stay below")
    error_rate: float = Field(0.05, ge=0, le=1, description="fraction of cycles that may fail; 0.05 is 5 %")
    window_minutes: float = Field(60.0, gt=0, le=1440, description="minutes that latency and error rate look back on")
    fewest_cycles: int = Field(10, ge=1, description="number of cycles below which no error rate is judged")


class MonitoringSettings(Strict):
    sinks: tuple[SinkName, ...] = Field(
        ("file",), description="list of file, prometheus and cloud_monitoring; [] is off"
    )
    flush_seconds: float = Field(
        30.0, ge=SHORTEST_FLUSH_SECONDS, description="seconds between two points of one series, 10 or more"
    )
    file_path: Place | None = Field(None, description="path of the metrics file; null: <home>/metrics/metrics.jsonl")
    prometheus_port: int = Field(
        9464, ge=1024, le=65000, description="TCP port on loopback; each process takes the first free one from here on"
    )
    project_id: str | None = Field(
        None, pattern=r"^[a-z][a-z0-9:.-]{4,61}[a-z0-9]$", description="Google Cloud project id, e.g. my-project-123"
    )
    location: _Label = Field("asia-northeast1", description="region or zone in which the bot runs (label `location`)")
    namespace: _Label = Field("crypto-bot", description="name that tells one installation from another")
    job: _Label = Field("crypto-bot", description="name of the job (label `job` of the generic_task)")
    target: str | None = Field(
        None, description="127.0.0.1:PORT of a stand-in for Cloud Monitoring, for tests; null: Google's"
    )
    watches: WatchSettings = Field(default_factory=WatchSettings)

    @field_validator("target")
    @classmethod
    def _target_is_on_this_machine(cls, value: str | None) -> str | None:
        """Sent unencrypted and without credentials: it may never leave the machine."""
        if value is None:
            return None
        host, _, port = value.rpartition(":")
        try:
            is_local = ip_address(host.strip("[]")).is_loopback and 0 < int(port) < 65536
        except ValueError:
            is_local = False
        if not is_local:
            raise ValueError(f"must be a loopback address such as 127.0.0.1:50051, was {value!r}")
        return value

    @model_validator(mode="after")
    def _google_needs_a_project(self) -> "MonitoringSettings":
        if "cloud_monitoring" in self.sinks and self.project_id is None:
            raise ValueError("cloud_monitoring needs monitoring.project_id: set it to your Google Cloud project")
        return self
