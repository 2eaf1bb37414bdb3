"""The trader's loop by itself: what a cycle is called, when the next begins, and what ends the trader."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from cli.trader import _kept_going, _until_next, cycle_id
from config.loader import load_settings
from exchanges.errors import NoAnswer
from services.ledger import LeaseLost, LedgerConflict

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
NOWHERE = "http://127.0.0.1:9/api"


class EarlyClock:
    """Sleeps end a moment early by the wall, as they do where its seconds are not the machine's."""

    def __init__(self) -> None:
        self.time = NOON + timedelta(seconds=5)
        self.slept = 0

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept += 1
        early = 0.002 if self.slept == 1 else 0.0
        self.time += timedelta(seconds=seconds - early)


def here(clock: Any = None) -> Any:
    return SimpleNamespace(name="bitbank", clock=clock or EarlyClock(), settings=load_settings(environ={}))


def test_cycles_shorter_than_a_minute_have_names_of_their_own() -> None:
    names = [cycle_id(NOON + timedelta(seconds=second), 20) for second in (0, 20, 40, 60)]
    assert len(set(names)) == 4


@pytest.mark.parametrize("pace", [20, 60, 300])
def test_a_cycle_that_is_run_again_has_the_same_name(pace: float) -> None:
    moment = NOON + timedelta(seconds=3)
    assert cycle_id(moment, pace) == cycle_id(moment + timedelta(seconds=9), pace)
    assert cycle_id(NOON, 60) == "2026-01-05T12:00Z"


async def test_a_sleep_that_ends_early_never_gives_two_cycles_one_name() -> None:
    clock = EarlyClock()
    await _until_next(here(clock), asyncio.Event(), 60)
    assert clock.now() == NOON + timedelta(seconds=60)


@pytest.mark.parametrize("error", [NoAnswer("bitbank", "503"), LedgerConflict("two orders"), KeyError("BTC")])
async def test_no_failure_of_a_cycle_ends_the_trader(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async def failing() -> None:
        raise error

    assert await _kept_going(here(), asyncio.Event(), NOWHERE, "the cycle", failing()) is None
    assert "the cycle" in caplog.text and caplog.records[-1].levelname == "ERROR"


async def test_a_trader_that_lost_its_account_ends() -> None:
    async def failing() -> None:
        raise LeaseLost("bitbank is held by another")

    with pytest.raises(LeaseLost):
        await _kept_going(here(), asyncio.Event(), NOWHERE, "the cycle", failing())


async def test_no_cycle_goes_on_behind_a_trader_that_was_cancelled() -> None:
    ended = asyncio.Event()

    async def cycle() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    trader = asyncio.create_task(_kept_going(here(), asyncio.Event(), NOWHERE, "the cycle", cycle()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    trader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trader
    assert ended.is_set()
