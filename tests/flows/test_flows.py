"""The flows in Prefect's own record, at real simulated venues."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter
from prefect.client.schemas.sorting import FlowRunSort
from prefect.flow_engine import run_flow
from prefect.states import Scheduled

from config.loader import DEMO_FILE, load_settings
from exchanges.errors import VenueError
from execution.latch import kill_switch
from services.ledger import Ledger
from tests.cli.accounts import certify, rest_orders
from tests.cli.command import resting
from tests.flows.conftest import Market
from trading.checks import CheckFailed

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_url")]

CYCLE = {"reconcile_account", "read_market", "decide", "carry_out", "close_books"}


async def last_run(name: str) -> Any:
    """The newest flow run of that name, as Prefect's server knows it."""
    async with get_client() as client:
        named = FlowRunFilter.model_validate({"name": {"any_": [name]}})
        runs = await client.read_flow_runs(flow_run_filter=named, sort=FlowRunSort.START_TIME_DESC, limit=1)
    return runs[0]


async def task_runs(flow_run_id: object, at_least: int) -> Sequence[Any]:
    """The run's task runs; the server learns of them from events, a moment later."""
    deadline = time.monotonic() + 60
    by_run = FlowRunFilter.model_validate({"id": {"any_": [flow_run_id]}})
    async with get_client() as client:
        while True:
            found = await client.read_task_runs(flow_run_filter=by_run)
            if len(found) >= at_least:
                return found
            assert time.monotonic() < deadline, [run.name for run in found]
            await asyncio.sleep(0.2)


async def artifacts(key: str) -> Sequence[Any]:
    async with get_client() as client:
        told = await client.read_artifacts(artifact_filter=ArtifactFilter.model_validate({"key": {"any_": [key]}}))
    return sorted(told, key=lambda each: each.created)


async def test_a_stage_that_passes_is_completed_and_leaves_its_checks_as_artifacts(market: Market) -> None:
    from flows.compatibility import compatibility

    market("bitflyer")
    report = await compatibility("bitflyer")
    assert report.passed
    run = await last_run("compatibility bitflyer")
    assert run.state.is_completed()
    (verdict,) = (await artifacts("compatibility-bitflyer"))[-1:]
    assert "compatibility at bitflyer: passed" in verdict.data and "**compatibility**" in verdict.data
    (table,) = (await artifacts("compatibility-bitflyer-checks"))[-1:]
    assert all(check.name in str(table.data) for check in report.checks)
    (progress,) = (await artifacts("compatibility-bitflyer-progress"))[-1:]
    assert float(progress.data) == 100 and progress.description == "passed"


async def test_a_stage_that_fails_is_failed_in_prefect_with_what_failed(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.compatibility import compatibility

    market("bybit")
    monkeypatch.setenv("CRYPTO_BOT__EXCHANGES__BYBIT__TARGET_QUANTITY", "0.0000001")
    with pytest.raises(CheckFailed) as failed:
        await compatibility("bybit")
    assert [check.name for check in failed.value.report.failures] == ["target size"]
    run = await last_run("compatibility bybit")
    assert run.state.is_failed() and "target size" in run.state.message
    told = (await artifacts("compatibility-bybit"))[-1].data
    assert "FAILED" in told and "#checks" in told
    with contextlib.closing(Ledger(load_settings().ledger_url)) as ledger:
        assert ledger.rung("bybit", "BTC/USDT") is None


async def test_a_cycle_is_one_run_with_at_most_six_tasks(market: Market, home: Any) -> None:
    from flows.trading_cycle import trading_cycle

    market("bitbank")
    certify(home, "bitbank", files=[DEMO_FILE])
    report = await trading_cycle("bitbank", "a cycle of a test")
    assert report.ok and report.rung == "ramp_100"
    run = await last_run("bitbank a cycle of a test")
    assert run.state.is_completed()
    seen = await task_runs(run.id, len(CYCLE))
    assert {each.name.rpartition("-")[0] for each in seen} == CYCLE and len(seen) <= 6
    with contextlib.closing(Ledger(load_settings().ledger_url)) as ledger:
        (record,) = ledger.cycles("bitbank")
    assert record.ok and record.flow_run_id == str(run.id)


async def test_a_cycle_that_fails_is_on_record_and_raises(market: Market, home: Any) -> None:
    from flows.trading_cycle import trading_cycle

    venue = market("bitbank", clock="wall")
    certify(home, "bitbank", files=[DEMO_FILE])
    from tasks.session import trading

    async with trading("bitbank"):
        venue.process.kill()
        venue.process.wait()
        with pytest.raises(VenueError) as failed:
            await trading_cycle("bitbank", "a cycle without a venue")
    run = await last_run("bitbank a cycle without a venue")
    assert run.state.is_failed()
    with contextlib.closing(Ledger(load_settings().ledger_url)) as ledger:
        (record,) = ledger.cycles("bitbank")
    assert not record.ok and record.flow_run_id == str(run.id)
    assert str(failed.value) in record.report["error"]


async def test_the_emergency_stop_of_all_clears_what_runs_and_latches_the_rest(market: Market, home: Any) -> None:
    from flows.emergency_stop import emergency_stop

    venue = market("okcoinjp")
    await rest_orders(home, venue, ours=1, by_hand=1)
    await emergency_stop("all")
    assert resting(venue.address.control_url) == []
    with contextlib.closing(Ledger(load_settings().ledger_url)) as ledger:
        assert kill_switch(home, ledger, "okcoinjp") and kill_switch(home, ledger, "bybit")
    assert (await last_run("emergency_stop all")).state.is_completed()
    told = str((await artifacts("emergency-stop"))[-1].data)
    assert "okcoinjp" in told and "no simulated venue is running" in told


async def test_an_emergency_stop_that_reaches_no_venue_has_failed(market: Market, home: Any) -> None:
    from flows.emergency_stop import emergency_stop
    from tasks.stop import SomethingLeft

    venue = market("bitflyer")
    await rest_orders(home, venue, ours=1, by_hand=0)
    venue.process.kill()
    venue.process.wait()
    with pytest.raises(SomethingLeft, match="bitflyer"):
        await emergency_stop("bitflyer")
    assert (await last_run("emergency_stop bitflyer")).state.is_failed()
    assert "NOT CLEAN" in (await artifacts("emergency-stop-verdict"))[-1].data


async def test_a_run_that_begins_an_hour_late_ends_as_stale_and_asks_the_venue_nothing(home: Any) -> None:
    from flows.compatibility import compatibility

    async with get_client() as client:
        due = Scheduled(scheduled_time=datetime.now(UTC) - timedelta(hours=1))
        run = await client.create_flow_run(compatibility, parameters={"exchange": "bybit"}, state=due)
    # No venue runs here: a run that is not stale would fail.
    state = await run_flow(compatibility, flow_run=run, parameters={"exchange": "bybit"}, return_type="state")
    assert state.is_cancelled() and state.name == "Stale" and "nothing was done" in state.message
    assert (await last_run("compatibility bybit")).state.name == "Stale"


async def test_the_report_of_a_day_is_a_verdict_with_tables_and_pictures(market: Market, home: Any) -> None:
    from flows.day_report import day_report
    from tasks.session import trading

    market("bitbank", clock="wall")
    certify(home, "bitbank")
    from flows.trading_cycle import trading_cycle

    async with trading("bitbank"):
        await trading_cycle("bitbank", "a cycle of today")
    assert await day_report("bitbank", "today") == {"bitbank": "1 cycles, none failed, none missed"}
    assert "cycles / failed / missed | 1 / 0 / 0" in (await artifacts("day-bitbank"))[-1].data
    for picture in ("equity", "drawdown", "price", "latency", "errors"):
        (shown,) = (await artifacts(f"day-bitbank-{picture}"))[-1:]
        assert shown.type == "image" and shown.data.startswith("data:image/svg+xml;base64,")
