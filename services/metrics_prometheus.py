"""Metrics for Prometheus: an endpoint on loopback in each process that lives, a text file from each that does not.

Every process takes the first free port from `monitoring.prometheus_port` on and leaves
`<home>/metrics/prometheus/targets/PROCESS.json` for Prometheus's file_sd_configs. A flow run is over before anybody
asks: it leaves `<home>/metrics/prometheus/text/PROCESS.prom`, for node_exporter's textfile collector.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.files import write_whole
from services.metrics import BY_NAME, Kind, Point, Snapshot

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

PORTS = 50  # tried from the first on
# Runs of deployments: they live for seconds.
SHORT_LIVED = ("monitoring",)


class NoFreePort(OSError):
    """Every port that may be taken is in use."""


class PrometheusSink:
    """Shows the newest snapshot to whoever asks."""

    name = "prometheus"

    def __init__(self, process: str, first_port: int, folder: Path) -> None:
        self._process = process
        self._first_port = first_port
        self._folder = folder
        self._shown: Snapshot | None = None
        self._server: Any = None
        self.port: int | None = None

    def send(self, snapshot: Snapshot) -> Mapping[str, int]:
        """Show this snapshot from now on. Raises OSError."""
        self._shown = snapshot
        if self._process in SHORT_LIVED:
            from prometheus_client import write_to_textfile

            path = self._folder / "text" / f"{self._process}.prom"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_to_textfile(str(path), self._registry())
        elif self._server is None:
            self._listen()
        return {}

    def collect(self) -> "Iterator[Family]":
        """The families of the newest snapshot, as prometheus_client asks for them."""
        return families(self._shown) if self._shown is not None else iter(())

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._target().unlink(missing_ok=True)

    def _registry(self) -> Any:
        from prometheus_client import CollectorRegistry

        registry = CollectorRegistry()
        registry.register(self)
        return registry

    def _listen(self) -> None:
        from prometheus_client import start_http_server

        registry = self._registry()
        for port in range(self._first_port, self._first_port + PORTS):
            try:
                self._server, _ = start_http_server(port, addr="127.0.0.1", registry=registry)
            except OSError:
                continue  # another of our processes, or anybody's
            self.port = port
            break
        else:
            last = self._first_port + PORTS - 1
            raise NoFreePort(f"no free port from {self._first_port} to {last}: set monitoring.prometheus_port")
        self._forget_the_dead(port)
        told = [{"targets": [f"127.0.0.1:{port}"], "labels": {"task": self._process}}]
        write_whole(self._target(), json.dumps(told))

    def _forget_the_dead(self, port: int) -> None:
        """A process that was killed leaves its target: at the port that is ours now, our values would be called its."""
        for each in self._target().parent.glob("*.json"):
            with suppress(OSError):
                if f'"127.0.0.1:{port}"' in each.read_text():
                    each.unlink()

    def _target(self) -> Path:
        return self._folder / "targets" / f"{self._process}.json"


def families(snapshot: Snapshot) -> "Iterator[Family]":
    """Prometheus's families of a snapshot: one for each metric, with every label that any of its series has."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    by_name: dict[str, list[Point]] = {}
    for point in snapshot.points:
        by_name.setdefault(point.name, []).append(point)
    for name, points in by_name.items():
        known = BY_NAME.get(name)
        keys = known.labels if known else tuple(sorted({key for point in points for key, _ in point.labels}))
        text = known.description if known else "a metric of your own"
        plain = name.replace("/", "_")
        made = CounterMetricFamily if points[0].kind is Kind.COUNTER else GaugeMetricFamily
        family = made(plain, text, labels=keys)
        for point in points:
            told = dict(point.labels)
            family.add_metric([told.get(key, "") for key in keys], point.value)
        yield family
