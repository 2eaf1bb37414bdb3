"""Metrics on their way out, never in anybody's way: `push_custom_metric` only puts a value into a list.

    push -> queue (bounded) -> the thread "metrics": newest value per series -> every `flush_seconds` a snapshot
         -> for each sink a thread of its own with one place to wait in -> file, Prometheus, Cloud Monitoring

A sink that hangs keeps its own thread and nothing else: the snapshot that waits for it is replaced by the next one,
and what was lost is counted. All threads are daemons; the end of the process waits for them two seconds at most.
"""

import atexit
import logging
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from config.loader import load_settings
from config.settings import Settings
from services.alerts import Level, tell
from services.clock import Clock, WallClock, seconds_since_boot
from services.metrics import PREFIX, NotAMetric, NotDelivered, Snapshot, Table

log = logging.getLogger(__name__)

LONGEST_QUEUE = 10_000
END_SECONDS = 2.0
FAILURES_BEFORE_ALERT = 5
_TICK_SECONDS = 1.0
DROPPED = PREFIX + "metrics_dropped"


class Sink(Protocol):
    """Where snapshots go. Called by one thread; may block, may raise."""

    name: str

    def send(self, snapshot: Snapshot) -> Mapping[str, int]:
        """Deliver; returns how many points were dropped, by reason."""
        ...

    def close(self) -> None: ...


class Alert(Protocol):
    """Tells the owner under a key; `over`: it is so no more. Never raises."""

    def __call__(self, key: str, text: str, *, over: bool = False) -> None: ...


@dataclass(frozen=True)
class Plan:
    """What a process is to do with its metrics."""

    sinks: Sequence[Sink]
    flush_seconds: float


class SinkThread:
    """One sink, its thread, and the one snapshot that waits for it."""

    def __init__(self, sink: Sink, alert: Alert = lambda key, text, *, over=False: None) -> None:
        self.name = sink.name
        self.dropped: Counter[str] = Counter()
        self._sink = sink
        self._alert = alert
        self._waiting: Snapshot | None = None
        self._busy = False
        self._ended = False
        self._failures = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"metrics {sink.name}", daemon=True)
        self._thread.start()

    def hand(self, snapshot: Snapshot) -> None:
        """Put a snapshot in the one place; what waited there comes too late and is dropped."""
        with self._changed:
            if self._waiting is not None:
                self.dropped["late"] += len(self._waiting.fresh)
            self._waiting = snapshot
            self._changed.notify_all()

    def settle(self, seconds: float) -> bool:
        """Wait until nothing waits and nothing is under way; False when that took longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting is None and not self._busy, timeout=seconds)

    def end(self) -> None:
        """Let the thread end after what it does now."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread, `seconds` at most."""
        self._thread.join(seconds)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._ended)
                snapshot, self._waiting = self._waiting, None
                self._busy = snapshot is not None
            if snapshot is None:
                self._sink.close()
                return
            self._deliver(snapshot)
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _deliver(self, snapshot: Snapshot) -> None:
        try:
            lost = self._sink.send(snapshot)
        except Exception as error:  # whatever a sink does, the others and the trader go on
            self.dropped["failed"] += error.lost if isinstance(error, NotDelivered) else len(snapshot.fresh)
            self._failures += 1
            if self._failures == 1:
                log.warning("metrics to %s fail: %s: %s", self.name, type(error).__name__, error)
            if self._failures == FAILURES_BEFORE_ALERT:
                self._alert(
                    f"metrics-{self.name}", f"metrics do not reach {self.name} since {self._failures} tries: {error}"
                )
            return
        self.dropped.update(lost)
        if self._failures:
            log.warning("metrics reach %s again after %d failures", self.name, self._failures)
        if self._failures >= FAILURES_BEFORE_ALERT:
            self._alert(f"metrics-{self.name}", "", over=True)
        self._failures = 0


class Pipeline:
    """The metrics of one process. `plan` is made in the thread, so that nobody waits for files or imports.

    `process`: its name in labels. `clock` dates points (wall clock), `steady` (seconds) paces flushes.
    """

    def __init__(
        self,
        process: str,
        plan: Callable[[], Plan],
        *,
        clock: Clock | None = None,
        steady: Callable[[], float] = seconds_since_boot,
        alert: Alert = lambda key, text, *, over=False: None,
    ) -> None:
        self._process = process
        self._plan = plan
        self._clock = clock or WallClock()
        self._steady = steady
        self._alert = alert
        self._queue: deque[tuple[str, float, Mapping[str, str]]] = deque()
        self._dropped: Counter[str] = Counter()
        self._table = Table(process, self._clock.now())
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._own: _OwnProcess | None = None
        self.sinks: tuple[SinkThread, ...] = ()
        self.flush_seconds = 0.0
        self._flushed_at = 0.0

    def push(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Note one value; a full queue drops it and counts that."""
        if len(self._queue) >= LONGEST_QUEUE:
            self._dropped["queue full"] += 1
            return
        self._queue.append((name, value, dict(labels or {})))

    def prepare(self) -> None:
        """Make the sinks and their threads. Raises ConfigurationError."""
        plan = self._plan()
        self.flush_seconds = plan.flush_seconds
        self.sinks = tuple(SinkThread(sink, self._alert) for sink in plan.sinks)
        self._flushed_at = self._steady()
        self._own = _OwnProcess(self._steady) if self.sinks else None

    def start(self) -> None:
        """Run the thread that collects and flushes."""
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def turn(self) -> None:
        """Take in what was pushed; flush when it is time."""
        self._take_in()
        if self.sinks and self._steady() - self._flushed_at >= self.flush_seconds:
            self.flush()

    def flush(self) -> None:
        """Hand everything as it stands now to every sink."""
        self._flushed_at = self._steady()
        self._take_in()
        if self._own is not None:
            for name, value in self._own.measures().items():
                self._table.take(name, value, {"process": self._process})
        for reason, count in self._dropped.copy().items():
            self._table.set_total(DROPPED, count, {"sink": "all", "reason": reason})
        for sink in self.sinks:
            for reason, count in sink.dropped.copy().items():
                self._table.set_total(DROPPED, count, {"sink": sink.name, "reason": reason})
        snapshot = self._table.snapshot(self._clock.now())
        for sink in self.sinks:
            sink.hand(snapshot)

    def stop(self, seconds: float = END_SECONDS) -> None:
        """Flush for the last time and wait `seconds` at most."""
        deadline = seconds_since_boot() + seconds
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(seconds)
        for sink in self.sinks:
            sink.end()
        for sink in self.sinks:
            sink.join(max(0.0, deadline - seconds_since_boot()))

    def _take_in(self) -> None:
        while self._queue:
            name, value, labels = self._queue.popleft()
            try:
                self._table.take(name, value, labels)
            except NotAMetric as error:
                if not self._dropped[str(error)]:
                    log.warning("a metric is dropped (%s): %.100s", error, name)
                self._dropped[str(error)] += 1

    def _run(self) -> None:
        try:
            self.prepare()
        except Exception as error:  # no metrics is a pity; a process without its work would be worse
            log.warning("no metrics: %s", error)
        while not self._stopping.wait(_TICK_SECONDS):
            self._kept_going(self.turn)
        self._kept_going(self.flush)

    def _kept_going(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:  # the thread must live: without it the queue fills and nothing is told any more
            log.exception("metrics")


class _OwnProcess:
    """Memory and CPU of this process."""

    def __init__(self, steady: Callable[[], float]) -> None:
        import psutil

        self._steady = steady
        self._process = psutil.Process()
        self._before = (steady(), self._cpu_seconds())

    def measures(self) -> dict[str, float]:
        """Memory in bytes; cores kept busy since the last call."""
        at, used = self._steady(), self._cpu_seconds()
        passed, busy = at - self._before[0], used - self._before[1]
        self._before = (at, used)
        told = {PREFIX + "process_memory_bytes": float(self._process.memory_info().rss)}
        if passed > 0:
            told[PREFIX + "process_cpu_cores"] = busy / passed
        return told

    def _cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


_pipeline: Pipeline | None = None
_starting = threading.Lock()


def push_custom_metric(name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
    """Note a value of a metric, `crypto_bot/NAME` (the prefix may be left out). Never raises, never blocks.

    Metrics of the catalogue and names that end in `_total` count up by `value`; of every other the newest value counts.
    A process that was not started with `start` begins with the settings of its environment.
    """
    try:
        pipeline = _pipeline or start(None, f"process-{os.getpid()}")
        pipeline.push(name, value, labels)
    except Exception as error:  # the promise of this function: whoever trades is never disturbed
        log.debug("a metric is lost: %s", type(error).__name__)


def start(settings: Settings | None, process: str) -> Pipeline:
    """Begin with the metrics of this process, once; `settings` None: those of the environment, loaded in the thread."""
    global _pipeline
    with _starting:
        if _pipeline is None:
            made = Pipeline(process, lambda: plan_of(settings or load_settings(), process), alert=alert)
            made.start()
            atexit.register(stop)
            _pipeline = made
        return _pipeline


def is_started() -> bool:
    """Whether this process sends metrics."""
    return _pipeline is not None


def stop(seconds: float = END_SECONDS) -> None:
    """Send what is left, waiting `seconds` at most; a later push begins anew."""
    global _pipeline
    with _starting:
        ending, _pipeline = _pipeline, None
    if ending is not None:
        atexit.unregister(stop)
        ending.stop(seconds)


def plan_of(settings: Settings, process: str) -> Plan:
    """The sinks that the settings name."""
    from services.metrics_file import FileSink
    from services.metrics_google import CloudMonitoringSink, Resource
    from services.metrics_prometheus import PrometheusSink

    chosen = settings.monitoring
    made: list[Sink] = []
    for name in dict.fromkeys(chosen.sinks):
        if name == "file":
            made.append(FileSink(settings.metrics_file))
        elif name == "prometheus":
            made.append(PrometheusSink(process, chosen.prometheus_port, settings.home / "metrics" / "prometheus"))
        else:
            made.append(CloudMonitoringSink(Resource.of(settings, process), target=chosen.target))
    return Plan(made, chosen.flush_seconds)


def alert(key: str, text: str, *, settings: Settings | None = None, over: bool = False) -> None:
    """Tell the owner by the channels that are configured, and the log. `over`: it is so no more. Never raises."""
    if not over:
        log.warning("%s", text)
    tell(Level.WARNING, key, text, settings=settings, over=over)
