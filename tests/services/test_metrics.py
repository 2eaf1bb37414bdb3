"""What is a metric: its name, its labels, and how values of one series come together."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from config.secret import Secret
from services.metrics import BY_NAME, CATALOGUE, MOST_SERIES, Kind, NotAMetric, Snapshot, Table

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def table() -> Table:
    return Table("trader-bitbank", NOON)


def values(snapshot: Snapshot) -> dict[str, float]:
    return {point.name.removeprefix("crypto_bot/"): point.value for point in snapshot.points}


def test_the_newest_value_of_a_gauge_counts_and_a_counter_adds_up(table: Table) -> None:
    for value in (3, 5):
        table.take("crypto_bot/rung", value, {"exchange": "bitbank"})
        table.take("crypto_bot/trade_executed", value, {"exchange": "bitbank"})
    assert values(table.snapshot(NOON)) == {"rung": 5, "trade_executed": 8}


def test_the_prefix_may_be_left_out_and_a_name_that_ends_in_total_counts_up(table: Table) -> None:
    table.take("signals", Decimal("0.5"), {})
    table.take("crypto_bot/signals", 2, {})
    table.take("signals_total", 1, {})
    table.take("signals_total", 1, {})
    assert values(table.snapshot(NOON)) == {"signals": 2, "signals_total": 2}


def test_a_gauge_is_fresh_once_and_a_counter_always(table: Table) -> None:
    table.take("rung", 3, {"exchange": "bitbank"})
    table.take("cycle", 1, {"exchange": "bitbank", "result": "ok"})
    assert len(table.snapshot(NOON).fresh) == 2
    later = table.snapshot(NOON)
    assert [point.name for point in later.fresh] == ["crypto_bot/cycle"] and len(later.points) == 2


@pytest.mark.parametrize(
    ("name", "value", "labels", "why"),
    [
        ("Crypto Bot", 1, {}, "bad name"),
        ("", 1, {}, "bad name"),
        (7, 1, {}, "bad name"),
        ("mine", float("nan"), {}, "bad value"),
        ("mine", float("inf"), {}, "bad value"),
        ("mine", "many", {}, "bad value"),
        ("mine", None, {}, "bad value"),
        ("cycle", -1, {"exchange": "bitbank"}, "counts down"),
        ("mine", 1, {f"k{number}": "" for number in range(11)}, "bad labels"),
        ("mine", 1, {"not a key": "x"}, "bad labels"),
        ("mine", 1, {7: "x"}, "bad labels"),
        ("rung", 1, {"exchange": "bitbank", "colour": "red"}, "bad labels"),
    ],
)
def test_what_no_sink_could_take_is_refused_with_a_reason(
    table: Table, name: Any, value: Any, labels: Any, why: str
) -> None:
    with pytest.raises(NotAMetric, match=why):
        table.take(name, value, labels)
    assert not table.snapshot(NOON).points


def test_a_secret_never_reaches_a_label(table: Table) -> None:
    Secret("hunter2-of-a-metrics-test")
    table.take("mine", 1, {"said": "key=hunter2-of-a-metrics-test"})
    (point,) = table.snapshot(NOON).points
    assert point.labels == (("said", "key=••••"),)
    Secret("hunter3_as_a_key")
    with pytest.raises(NotAMetric):
        table.take("mine", 1, {"hunter3_as_a_key": "x"})
    with pytest.raises(NotAMetric):
        table.take("hunter3_as_a_key", 1, {})


def test_a_label_that_never_repeats_ends_at_the_bound(table: Table) -> None:
    for number in range(MOST_SERIES):
        table.take("mine", 1, {"order": str(number)})
    with pytest.raises(NotAMetric, match="too many series"):
        table.take("mine", 1, {"order": "one more"})
    table.take("mine", 2, {"order": "0"})


def test_a_metric_of_the_catalogue_has_all_its_labels_from_the_first_point_on(table: Table) -> None:
    table.take("trade_executed", 1, {"exchange": "bitbank", "symbol": "BTC/JPY", "side": "buy"})
    (point,) = table.snapshot(NOON).points
    assert [key for key, _ in point.labels] == ["exchange", "mode", "side", "symbol"]


def test_the_catalogue_names_each_metric_once_and_fits_every_sink() -> None:
    assert len(BY_NAME) == len(CATALOGUE)
    table = Table("trader-bitbank", NOON)
    for metric in CATALOGUE:
        table.take(metric.name, 1, dict.fromkeys(metric.labels, "x"))
        # Prometheus keeps this ending for counters and adds it to each
        assert not metric.name.endswith("_total")
    assert len(table.snapshot(NOON).points) == len(CATALOGUE)


def test_the_page_lists_every_metric_as_the_catalogue_has_it() -> None:
    page = (ROOT / "docs" / "monitoring-setup.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `crypto_bot/")]
    assert rows == [
        f"| `{metric.name}` | {', '.join(metric.labels)} | {_unit(metric.kind, metric.unit)} | {metric.description} |"
        for metric in CATALOGUE
    ]


def _unit(kind: Kind, unit: str) -> str:
    told = {"1": "", "s": "seconds", "ms": "milliseconds", "By": "bytes"}[unit]
    return f"{kind}, {told}" if told else str(kind)
