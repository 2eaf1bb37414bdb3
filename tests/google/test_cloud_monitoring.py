"""Google's own client against a service on loopback that keeps the rules of writes."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from services.metrics import CATALOGUE, NotDelivered, Table
from services.metrics_google import CloudMonitoringSink, Resource, set_up_descriptors
from tests.google.metric_server import MetricService, metric_server

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
PROJECT = "my-project-1"
RESOURCE = Resource(PROJECT, "asia-northeast1", "crypto-bot", "crypto-bot", "host/home/trader-bitbank")


@pytest.fixture
def service() -> Iterator[MetricService]:
    with metric_server() as running:
        yield running


@pytest.fixture
def table() -> Table:
    return Table("trader-bitbank", NOON)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_points_arrive_with_kind_labels_resource_and_start(service: MetricService, table: Table) -> None:
    sink = CloudMonitoringSink(RESOURCE, target=service.address)
    table.take("equity", 900_000.5, {"exchange": "bitbank", "currency": "JPY", "mode": "live"})
    for second in (30, 60):
        table.take("trade_executed", 2, {"exchange": "bitbank", "symbol": "BTC/JPY", "side": "buy", "mode": "live"})
        assert sink.send(table.snapshot(at(second))) == {}
    assert service.values("equity", exchange="bitbank", currency="JPY") == [900_000.5]
    assert service.values("trade_executed", side="buy") == [2, 4]
    (counter,) = (series for (kind, _, _), series in service.stored.items() if kind.endswith("trade_executed"))
    assert [(each.since, each.at) for each in counter] == [(NOON, at(30)), (NOON, at(60))]
    resources = {dict(told)["task_id"] for _, _, told in service.stored}
    assert resources == {"host/home/trader-bitbank"}
    assert service.calls[0].metadata["x-goog-request-params"] == f"name=projects/{PROJECT}"
    sink.close()


def test_many_series_leave_in_calls_of_two_hundred(service: MetricService, table: Table) -> None:
    for number in range(450):
        table.take("mine", number, {"number": str(number)})
    CloudMonitoringSink(RESOURCE, target=service.address).send(table.snapshot(at(30)))
    assert [call.series for call in service.calls] == [200, 200, 50]
    assert service.points == 450 and not service.refusals


def test_points_less_than_ten_seconds_apart_stay_here_also_after_the_wall_was_set_back(
    service: MetricService, table: Table
) -> None:
    sink = CloudMonitoringSink(RESOURCE, target=service.address)
    for second, dropped in ((30, {}), (35, {"too soon": 1}), (-600, {"too soon": 1}), (40, {})):
        table.take("rung", second, {"exchange": "bitbank"})
        assert sink.send(table.snapshot(at(second))) == dropped
    assert service.values("rung") == [30, 40] and not service.refusals


def test_what_is_refused_in_part_is_counted_and_not_sent_again(service: MetricService, table: Table) -> None:
    table.take("rung", 4, {"exchange": "bitbank"})
    CloudMonitoringSink(RESOURCE, target=service.address).send(table.snapshot(at(30)))
    # A process that was started anew within ten seconds: one series is too young for a point, the other is new.
    table.take("rung", 5, {"exchange": "bitbank"})
    table.take("rung", 5, {"exchange": "bybit"})
    again = CloudMonitoringSink(RESOURCE, target=service.address)
    assert again.send(table.snapshot(at(32))) == {"invalid_argument": 1}
    assert service.values("rung", exchange="bitbank") == [4]
    assert service.values("rung", exchange="bybit") == [5]
    assert len(service.calls) == 2


@pytest.mark.parametrize("trouble", ["unavailable", "permission_denied", "hang"])
def test_a_service_that_is_away_costs_one_try_a_flush(service: MetricService, table: Table, trouble: str) -> None:
    service.trouble = trouble
    for number in range(450):
        table.take("mine", number, {"number": str(number)})
    began = time.perf_counter()
    with pytest.raises(NotDelivered) as failed:
        CloudMonitoringSink(RESOURCE, target=service.address, call_seconds=0.3).send(table.snapshot(at(30)))
    assert failed.value.lost == 450 and time.perf_counter() - began < 3
    assert len(service.calls) == 0


def test_a_slow_service_is_waited_for(service: MetricService, table: Table) -> None:
    service.trouble = "slow"
    table.take("rung", 4, {"exchange": "bitbank"})
    assert CloudMonitoringSink(RESOURCE, target=service.address).send(table.snapshot(at(30))) == {}
    assert service.values("rung") == [4]


def test_the_set_up_makes_each_descriptor_once_and_leaves_one_in_another_form(service: MetricService) -> None:
    first = set_up_descriptors(PROJECT, service.address)
    assert first.created == tuple(metric.name for metric in CATALOGUE) and first.is_complete
    again = set_up_descriptors(PROJECT, service.address)
    assert (len(again.created), len(again.existing)) == (0, len(CATALOGUE))
    assert service.descriptor_writes == len(CATALOGUE)
    service.descriptors["custom.googleapis.com/crypto_bot/equity"].labels.pop()
    assert set_up_descriptors(PROJECT, service.address).different == ("crypto_bot/equity",)
    assert service.descriptor_writes == len(CATALOGUE)


def test_every_metric_of_the_catalogue_is_taken_under_its_descriptor(service: MetricService, table: Table) -> None:
    set_up_descriptors(PROJECT, service.address)
    for metric in CATALOGUE:
        table.take(metric.name, 1, dict.fromkeys(metric.labels, "x"))
    assert CloudMonitoringSink(RESOURCE, target=service.address).send(table.snapshot(at(30))) == {}
    assert service.points == len(CATALOGUE) and not service.refusals
