"""The scheduled look at the bot and the set-up of Cloud Monitoring, as a worker's child runs them."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from config.errors import ConfigurationError
from config.loader import load_settings
from config.settings import ExchangeName
from services import monitoring as metrics
from services.clock import WallClock
from services.ledger import CycleRecord, Ledger
from services.metrics import CATALOGUE
from tests.cli.accounts import certify, rest_orders
from tests.cli.command import control
from tests.flows.conftest import Market
from tests.flows.test_flows import artifacts, last_run
from tests.google.metric_server import MetricService, metric_server

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_url")]


@pytest.fixture(autouse=True)
def own_metrics(home: Path) -> Iterator[None]:
    yield
    metrics.stop(0.1)


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[MetricService]:
    with metric_server() as service:
        monkeypatch.setenv("CRYPTO_BOT__MONITORING__TARGET", service.address)
        monkeypatch.setenv("CRYPTO_BOT__MONITORING__PROJECT_ID", "my-project-1")
        yield service


def written(home: Path, name: str) -> list[dict[str, object]]:
    """The points of a metric in the file, newest last: labels and value."""
    lines = (home / "metrics" / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["name"] == f"crypto_bot/{name}"]
    return [{**row["labels"], "value": row["value"]} for row in rows]


async def test_a_home_where_nothing_runs_is_looked_at_without_asking_anybody(home: Path) -> None:
    from flows.monitoring import monitoring

    assert await monitoring() == "nothing found"
    assert (await last_run("monitoring all")).state.is_completed()
    page = (await artifacts("monitoring"))[-1].data
    assert page.startswith("# Monitoring: nothing found") and "no trader runs; the venue was not asked" in page
    assert {point["exchange"] for point in written(home, "kill_switch")} == {
        "bybit",
        "bitbank",
        "bitflyer",
        "okcoinjp",
    }
    assert written(home, "host_network_bytes") and not written(home, "last_cycle_age_seconds")


async def test_what_the_watches_find_is_on_top_and_told_and_measured(
    market: Market, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from flows.monitoring import monitoring

    venue = market("bitbank", clock="wall")
    await rest_orders(home, venue, ours=1, by_hand=0)  # its trader has ended without taking it back
    now, told = WallClock().now(), {"discrepancies": ["balance JPY: 5 too much"], "latency_p95_ms": 2500.0}
    ledger = Ledger(load_settings().ledger_url)
    ledger.record_cycle(CycleRecord("c1", "bitbank", "BTC/JPY", "ramp_100", now, now, False, None, told))
    ledger.close()
    expected = "bitbank: balance_changes, open_orders, response_latency"
    # The process of this test has held the account and lives on: as far as its lock tells, it trades.
    (home / "locks" / "bitbank.lock").unlink()
    assert await monitoring("bitbank") == expected
    page = (await artifacts("monitoring"))[-1].data
    assert page.startswith(f"# Monitoring: {expected}")
    assert "**bitbank balance_changes**: balance JPY: 5 too much" in page
    assert "the venue was asked: it answers" in page and "open while no trader runs" in page
    assert "venue-bitbank" in page and "not told by the system" in page
    found = {point["watch"]: point["value"] for point in written(home, "watch_finding")}
    assert found == {
        "api_connectivity": 0,
        "balance_changes": 1,
        "open_orders": 1,
        "response_latency": 1,
        "error_rate": 0,
    }
    assert {point["process"] for point in written(home, "process_memory_bytes")} >= {"venue-bitbank", "monitoring"}
    assert caplog.text.count("bitbank: balance_changes: balance JPY: 5 too much") == 1


async def test_a_trader_that_runs_is_seen_and_its_venue_is_not_asked(market: Market, home: Path) -> None:
    from flows.monitoring import monitoring
    from tasks.session import trading

    market("bitbank", clock="wall")
    certify(home, "bitbank")
    async with trading("bitbank") as here:  # holds the account as a trader does, under a trader's name
        now, report = here.clock.now(), {"refused": "", "discrepancies": [], "trading_state": ""}
        cycle = CycleRecord("c1", here.account, here.symbol, "ramp_100", now, now, True, None, report)
        here.ledger.record_cycle(cycle)
        assert await monitoring("bitbank") == "nothing found"
    page = (await artifacts("monitoring"))[-1].data
    assert "| trader | runs |" in page and "last reached" in page and "was asked" not in page


async def test_a_venue_that_does_not_answer_is_found(market: Market, home: Path) -> None:
    from flows.monitoring import monitoring

    venue = market("bitflyer", clock="wall")
    certify(home, "bitflyer")
    control(venue.address.control_url, "faults", name="unavailable")
    assert await monitoring("bitflyer") == "bitflyer: api_connectivity"
    assert {point["value"] for point in written(home, "api_reachable")} == {0}
    venue.process.kill()
    venue.process.wait()
    assert await monitoring("bitflyer") == "nothing found"  # a simulated venue that is gone is not asked


async def test_a_bot_with_long_cycles_is_not_called_unreachable_between_two_of_them(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.monitoring import look_at

    now = WallClock().now()
    monkeypatch.setenv("CRYPTO_BOT__EXECUTION__CYCLE_SECONDS", "3600")
    monkeypatch.setattr("tasks.monitoring.account_holder", lambda *_: (1, (now - timedelta(days=3)).timestamp()))

    async def found_after(minutes: float, name: ExchangeName) -> list[str]:
        ledger, at = Ledger(load_settings().ledger_url), now - timedelta(minutes=minutes)
        ledger.record_cycle(CycleRecord("c1", name, load_settings().exchanges[name].symbol, "", at, at, True, None, {}))
        ledger.close()
        return [each.watch for each in (await look_at.fn(name)).found]

    assert await found_after(75, "bitbank") == []
    assert await found_after(130, "bitflyer") == ["api_connectivity"]


async def test_the_set_up_makes_every_descriptor_once(google: MetricService) -> None:
    from flows.monitoring_setup import monitoring_setup

    assert await monitoring_setup() == {"created": len(CATALOGUE), "existing": 0, "different": 0}
    assert await monitoring_setup() == {"created": 0, "existing": len(CATALOGUE), "different": 0}
    assert set(google.descriptors) == {f"custom.googleapis.com/{metric.name}" for metric in CATALOGUE}
    page = (await artifacts("monitoring-setup"))[-1].data
    assert page.startswith("# Metrics in project my-project-1: 0 created") and "crypto_bot/equity" in page


async def test_a_set_up_that_google_refuses_says_which_role_it_needs(google: MetricService) -> None:
    from flows.monitoring_setup import monitoring_setup

    google.trouble = "permission_denied"
    with pytest.raises(ConfigurationError, match=r"roles/monitoring\.metricWriter"):
        await monitoring_setup()


async def test_a_set_up_without_a_project_says_so(home: Path) -> None:
    from flows.monitoring_setup import monitoring_setup

    with pytest.raises(ConfigurationError, match=r"monitoring\.project_id is not set"):
        await monitoring_setup()
