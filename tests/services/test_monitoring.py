"""Metrics are in nobody's way: what is pushed is never waited for, and a sink that hangs hurts itself alone."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services import monitoring
from services.metrics import NotDelivered, Snapshot
from services.monitoring import FAILURES_BEFORE_ALERT, LONGEST_QUEUE, Alert, Pipeline, Plan, Sink, push_custom_metric

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


class Wall:
    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.passed)

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds


class Kept:
    """A sink that keeps what it is given; it hangs until `go` is set, and fails as often as told."""

    def __init__(self, name: str = "kept", *, hangs: bool = False, fails: int = 0) -> None:
        self.name = name
        self.sent: list[Snapshot] = []
        self.begun = threading.Event()
        self.go = threading.Event()
        self.fails = fails
        self.closed = False
        if not hangs:
            self.go.set()

    def send(self, snapshot: Snapshot) -> Mapping[str, int]:
        self.begun.set()
        self.go.wait(30)
        if self.fails:
            self.fails -= 1
            raise NotDelivered("the sink is dead", 1)
        self.sent.append(snapshot)
        return {}

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def pipeline() -> Iterator[Callable[..., tuple[Pipeline, Wall]]]:
    made: list[tuple[Pipeline, tuple[Sink, ...]]] = []

    def make(*sinks: Kept, alert: Alert = lambda key, text, *, over=False: None) -> tuple[Pipeline, Wall]:
        wall = Wall()
        one = Pipeline("test", lambda: Plan(sinks, 30), clock=wall, steady=lambda: wall.passed, alert=alert)
        one.prepare()
        made.append((one, sinks))
        return one, wall

    yield make
    for one, sinks in made:
        for sink in sinks:
            if isinstance(sink, Kept):
                sink.go.set()
        one.stop()


@pytest.fixture
def own_pipeline() -> Iterator[None]:
    """Whatever a test starts with `start` or a first push ends with it."""
    yield
    monitoring.stop(0.1)


def passes(one: Pipeline, wall: Wall, seconds: int) -> None:
    for _ in range(seconds):
        wall.passed += 1
        one.turn()
        assert all(sink.settle(5) for sink in one.sinks)


def value(snapshot: Snapshot, name: str, **labels: str) -> float:
    (found,) = (
        point.value
        for point in snapshot.points
        if point.name == f"crypto_bot/{name}" and set(labels.items()) <= set(point.labels)
    )
    return found


def test_each_flush_carries_the_newest_value_of_each_series(pipeline: Any) -> None:
    sink = Kept()
    one, wall = pipeline(sink)
    for second in range(90):
        one.push("rung", second, {"exchange": "bitbank"})
        one.push("cycle", 1, {"exchange": "bitbank", "result": "ok"})
        passes(one, wall, 1)
    assert [snapshot.at for snapshot in sink.sent] == [NOON + timedelta(seconds=30 * n) for n in (1, 2, 3)]
    assert [value(snapshot, "rung") for snapshot in sink.sent] == [29, 59, 89]
    assert [value(snapshot, "cycle") for snapshot in sink.sent] == [30, 60, 90]


def test_a_sink_that_hangs_holds_up_no_other_and_what_it_misses_is_counted(pipeline: Any) -> None:
    dead, alive = Kept("dead", hangs=True), Kept("alive")
    one, wall = pipeline(dead, alive)
    for _ in range(4):
        one.push("rung", 1, {"exchange": "bitbank"})
        wall.passed += 30
        one.turn()
        assert one.sinks[1].settle(5) and dead.begun.wait(5)
    assert len(alive.sent) == 4 and not dead.sent
    # one is under way, one waits, two were replaced while they waited
    assert one.sinks[0].dropped["late"] > 0
    assert value(alive.sent[-1], "metrics_dropped", sink="dead", reason="late") > 0
    dead.go.set()
    assert one.sinks[0].settle(5) and len(dead.sent) == 2


def test_a_dead_sink_is_told_once_and_again_when_it_takes_points(
    pipeline: Any, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    sink = Kept(fails=FAILURES_BEFORE_ALERT + 3)
    one, wall = pipeline(sink, alert=lambda key, text, over=False: told.append(f"{key}: {text or over}"))
    passes(one, wall, 30 * (FAILURES_BEFORE_ALERT + 4))
    assert told[0].startswith("metrics-kept: ") and "the sink is dead" in told[0]
    assert told[1:] == ["metrics-kept: True"]  # over
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "again after 8 failures" in caplog.text
    assert value(sink.sent[-1], "metrics_dropped", sink="kept", reason="failed") == 8


def test_a_full_queue_drops_and_counts(pipeline: Any) -> None:
    sink = Kept()
    one, wall = pipeline(sink)
    for number in range(LONGEST_QUEUE + 7):
        one.push("rung", number, {"exchange": "bitbank"})
    passes(one, wall, 30)
    assert value(sink.sent[0], "rung") == LONGEST_QUEUE - 1
    assert value(sink.sent[0], "metrics_dropped", sink="all", reason="queue full") == 7


def test_what_is_no_metric_is_dropped_counted_and_said_once(pipeline: Any, caplog: pytest.LogCaptureFixture) -> None:
    sink = Kept()
    one, wall = pipeline(sink)
    for _ in range(3):
        one.push("mine", float("nan"))
    passes(one, wall, 30)
    assert value(sink.sent[0], "metrics_dropped", sink="all", reason="bad value") == 3
    assert caplog.text.count("bad value") == 1


def test_a_process_tells_its_own_memory_and_cpu(pipeline: Any) -> None:
    sink = Kept()
    one, wall = pipeline(sink)
    passes(one, wall, 30)
    assert value(sink.sent[0], "process_memory_bytes", process="test") > 10_000_000
    assert value(sink.sent[0], "process_cpu_cores", process="test") >= 0


@pytest.mark.usefixtures("own_pipeline")
def test_a_push_never_raises_and_begins_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_BOT_HOME", str(tmp_path))
    monkeypatch.setenv("CRYPTO_BOT__MONITORING__SINKS", "[file]")
    for name, number, labels in (("mine", 1, {"a": "b"}), (None, "x", 7), ("mine", object(), None)):
        push_custom_metric(name, number, labels)  # type: ignore[arg-type]
    assert monitoring.is_started()
    monitoring.stop()
    assert not monitoring.is_started()
    assert '"name": "crypto_bot/mine"' in (tmp_path / "metrics" / "metrics.jsonl").read_text()


@pytest.mark.usefixtures("own_pipeline")
def test_settings_that_are_wrong_cost_metrics_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CRYPTO_BOT__MONITORING__FLUSH_SECONDS", "1")
    push_custom_metric("mine", 1)
    monitoring.stop()
    assert "no metrics" in caplog.text and "monitoring.flush_seconds" in caplog.text


@pytest.mark.usefixtures("own_pipeline")
def test_ten_thousand_pushes_cost_milliseconds_while_the_sink_hangs(pipeline: Any) -> None:
    one, _ = pipeline(Kept(hangs=True))
    one.flush()
    began = time.perf_counter()
    for number in range(LONGEST_QUEUE):
        one.push("cycle", number, {"exchange": "bitbank", "result": "ok"})
    assert time.perf_counter() - began < 1.0  # seen: 8 ms


def test_the_end_waits_for_a_hanging_sink_as_long_as_it_is_told_and_no_longer() -> None:
    dead, alive = Kept("dead", hangs=True), Kept("alive")
    one = Pipeline("test", lambda: Plan((dead, alive), 30))
    one.start()
    one.push("mine", 1)
    began = time.perf_counter()
    one.stop(0.5)
    took = time.perf_counter() - began
    dead.go.set()
    assert 0.4 < took < 2.0
    assert value(alive.sent[-1], "mine") == 1 and alive.closed
