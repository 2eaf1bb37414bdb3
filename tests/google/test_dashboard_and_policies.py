"""What `gcloud` is given names metrics that exist, with labels that they have, in a form that the service takes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.cloud.monitoring_v3 import AlertPolicy
from google.protobuf import json_format

from config.loader import load_settings
from services.metrics import BY_NAME, Kind
from services.metrics_google import TYPE_PREFIX

FOLDER = Path(__file__).resolve().parents[2] / "config" / "monitoring"
POLICIES = sorted((FOLDER / "alert-policies").glob("*.json"))
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())


def queries(told: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every filter below, with the aggregation that stands beside it."""
    if isinstance(told, dict):
        if "filter" in told:
            found = told.get("aggregation") or told["aggregations"][0]
            yield told["filter"], found
        for value in told.values():
            yield from queries(value)
    elif isinstance(told, list):
        for value in told:
            yield from queries(value)


def check(query: str, aggregation: dict[str, Any]) -> None:
    (kind,) = re.findall(r'metric\.type = "([^"]+)"', query)
    metric = BY_NAME[kind.removeprefix(TYPE_PREFIX)]
    assert kind.startswith(TYPE_PREFIX)
    assert 'resource.type = "generic_task"' in query
    used = set(re.findall(r"metric\.label\.(\w+)", query)) | {
        field.removeprefix("metric.label.") for field in aggregation["groupByFields"]
    }
    assert used and used <= set(metric.labels), (metric.name, used)
    counted = aggregation["perSeriesAligner"] in ("ALIGN_RATE", "ALIGN_DELTA")
    assert counted == (metric.kind is Kind.COUNTER), metric.name
    assert int(aggregation["alignmentPeriod"].removesuffix("s")) >= 60


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_an_alert_policy_is_one_to_the_real_client_and_names_metrics_of_the_catalogue(path: Path) -> None:
    policy = AlertPolicy.pb(AlertPolicy())
    json_format.Parse(path.read_text(), policy)  # refuses what the service does not know
    assert policy.display_name.startswith("crypto-bot: ") and policy.documentation.content
    assert policy.combiner == AlertPolicy.ConditionCombinerType.OR and policy.enabled.value
    found = list(queries(json.loads(path.read_text())))
    assert len(found) == len(policy.conditions) > 0
    for query, aggregation in found:
        check(query, aggregation)


def test_each_of_the_five_watches_has_its_policy_with_the_default_bound() -> None:
    names = {path.stem for path in POLICIES}
    assert {"api-connectivity", "balance-changes", "open-orders", "response-latency", "error-rate"} <= names
    watches = load_settings(environ={}).monitoring.watches

    def bound(name: str) -> float:
        told = json.loads((FOLDER / "alert-policies" / f"{name}.json").read_text())
        return float(told["conditions"][0]["conditionThreshold"]["thresholdValue"])

    assert bound("response-latency") == watches.latency_p95_ms
    assert bound("error-rate") == watches.error_rate


def test_the_dashboard_shows_metrics_of_the_catalogue_and_no_tile_lies_on_another() -> None:
    assert set(DASHBOARD) == {"displayName", "mosaicLayout"}
    layout = DASHBOARD["mosaicLayout"]
    taken: set[tuple[int, int]] = set()
    for tile in layout["tiles"]:
        assert set(tile) == {"xPos", "yPos", "width", "height", "widget"}
        assert tile["widget"]["title"] and tile["widget"]["xyChart"]["dataSets"]
        cells = {
            (x, y)
            for x in range(tile["xPos"], tile["xPos"] + tile["width"])
            for y in range(tile["yPos"], tile["yPos"] + tile["height"])
        }
        assert not cells & taken and max(x for x, _ in cells) < layout["columns"]
        taken |= cells
    for query, aggregation in queries(DASHBOARD):
        check(query, aggregation)
