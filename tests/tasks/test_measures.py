"""What a trader tells of a cycle: counted once, and never at the trader's expense."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exchanges.base import Traffic
from services import monitoring
from services.metrics import Snapshot
from services.monitoring import Pipeline, Plan
from tasks.measures import Measures
from tests.execution.venue import SPOT
from tests.tasks.test_money_in_a_cycle import NAME, Room


class Kept:
    name = "kept"

    def __init__(self) -> None:
        self.sent: list[Snapshot] = []

    def send(self, snapshot: Snapshot) -> dict[str, int]:
        self.sent.append(snapshot)
        return {}

    def close(self) -> None:
        return None


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    made.certify("minimal")
    yield made
    made.ledger.close()


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    made = Pipeline("test", lambda: Plan([Kept()], 30))
    made.prepare()
    monitoring._pipeline = made
    yield made
    monitoring._pipeline = None
    made.stop(1)


def told(pipeline: Pipeline, name: str) -> dict[str, float]:
    """The newest values of a metric, by its labels other than the exchange."""
    pipeline.flush()
    assert pipeline.sinks[0].settle(5)
    snapshot = pipeline.sinks[0]._sink.sent[-1]  # type: ignore[attr-defined]
    return {
        " ".join(value for key, value in point.labels if key not in ("exchange", "mode")): point.value
        for point in snapshot.points
        if point.name == f"crypto_bot/{name}"
    }


def test_requests_errors_and_bytes_are_counted_on_from_cycle_to_cycle(
    room: Room, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = [
        Traffic(10, 1, (), {"NoAnswer": 1}, 500, 900),
        Traffic(25, 4, (), {"NoAnswer": 2, "RateLimitExceeded": 2}, 700, 1500),
    ]
    monkeypatch.setattr(room.venue, "traffic", lambda: seen[0])
    measures = Measures(room.here)
    measures.after_cycle(None)
    monkeypatch.setattr(room.venue, "traffic", lambda: seen[1])
    measures.after_cycle(None)
    assert told(pipeline, "api_request") == {"": 25}
    assert told(pipeline, "api_error") == {"NoAnswer": 2, "RateLimitExceeded": 2}
    assert told(pipeline, "http_bytes") == {"sent": 700, "received": 1500}
    assert told(pipeline, "cycle") == {"failed": 2}
    assert told(pipeline, "rung") == {"": 5} and told(pipeline, "kill_switch") == {"": 0}


async def test_only_fills_that_come_after_the_start_are_counted_and_no_persons(room: Room, pipeline: Pipeline) -> None:
    from tasks.carry_out import reconcile_account
    from tasks.session import _traders

    _traders[NAME] = room.here
    try:
        await reconcile_account.fn(NAME)
        await room.buy("before")
        await reconcile_account.fn(NAME)
        measures = Measures(room.here)
        await room.buy("after")
        await room.trade_by_hand("0.05")
        await reconcile_account.fn(NAME)
    finally:
        _traders.pop(NAME)
    for _ in range(2):
        measures.after_cycle(None)
    assert told(pipeline, "trade_executed") == {f"buy {SPOT}": 1}


def test_a_defect_in_what_is_told_never_ends_a_trader(
    room: Room, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Any:
        raise KeyError("traffic")

    measures = Measures(room.here)
    monkeypatch.setattr(room.venue, "traffic", broken)
    measures.after_cycle(None)
    assert "metrics of a cycle are lost: KeyError" in caplog.text


def test_where_no_metrics_are_sent_nothing_is_asked(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not monitoring.is_started()
    asked: list[str] = []
    monkeypatch.setattr(room.venue, "traffic", lambda: asked.append("traffic"))
    room.here.ledger.close()
    Measures(room.here).after_cycle(None)
    assert not asked
