"""A trader whose rung falls to the checks while it runs: a simulated one climbs again, a real one says who must act."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal

import pytest

from cli.trader import run_cycles
from cli.trader_checks import Fallen, checks_needed
from config.loader import load_settings
from config.settings import Endpoint
from services.ledger import RungRecord
from tasks.session import TradingSession, trading
from tests.flows.conftest import Market, home, market

__all__ = ["home", "market"]

pytestmark = pytest.mark.prefect


@asynccontextmanager
async def expired(market: Market, endpoint: Endpoint = Endpoint.SIMULATED) -> AsyncIterator[TradingSession]:
    """A trader on ramp_25 whose certificate has run out. A live one is only called so: it is at its simulated venue."""
    market("bitbank")
    async with trading("bitbank", load_settings(overrides=["ladder.review_cycles=2"])) as here:
        called = here.configured.model_copy(update={"endpoint": endpoint})
        exchanges = {**here.settings.exchanges, here.name: called}
        here.settings = here.settings.model_copy(update={"exchanges": exchanges})
        now = here.clock.now()
        running = asdict(here.running(await here.listed()))
        since, until = now - timedelta(days=31), now - timedelta(days=1)
        rung = RungRecord(here.account, here.symbol, "ramp_25", Decimal("0.001"), {}, "a test", since, until, running)
        here.ledger.issue_rung(rung)
        yield here


async def run(here: TradingSession, fallen: Fallen, prefect_url: str, cycles: int = 4) -> list[str]:
    rungs: list[str] = []
    await run_cycles(
        here,
        asyncio.Event(),
        api=prefect_url,
        told=lambda report: rungs.append(report.rung),
        enough=lambda done: done >= cycles,
        fallen=fallen,
    )
    return rungs


async def test_a_simulated_trader_that_falls_to_the_checks_takes_them_again_by_itself(
    market: Market, prefect_url: str
) -> None:
    async with expired(market) as here:
        fallen = Fallen(load_settings(), asyncio.Event(), takes_checks=True)
        assert await run(here, fallen, prefect_url) == ["ramp_25", "ramp_25", "paper", "paper"]
        history = [record.rung for record in here.ledger.rung_history(here.account, here.symbol)]
        checks = ["paper", "minimal_order", "read_only", "compatibility", "compatibility"]
        assert history[1:6] == checks  # and the last review has gone on from there


@pytest.mark.parametrize("endpoint", [Endpoint.SIMULATED, Endpoint.LIVE])
async def test_a_trader_that_may_not_take_the_checks_says_once_who_must(
    market: Market, prefect_url: str, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    async with expired(market, endpoint) as here:
        fallen = Fallen(load_settings(), asyncio.Event(), takes_checks=endpoint is Endpoint.LIVE)
        with caplog.at_level(logging.WARNING, logger="cli.trader_checks"):
            rungs = await run(here, fallen, prefect_url)
        told = [each.getMessage() for each in caplog.records if each.name == "cli.trader_checks"]
        assert len(told) == 1 and "crypto-bot check bitbank --orders" in told[0], told
        assert rungs[-1] == "compatibility"
        assert checks_needed(here.ledger.rung(here.account, here.symbol))
