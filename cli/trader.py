"""The trader: one exchange account, one cycle each minute, and nothing left behind when it ends."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.markup import escape

from cli.output import console
from cli.prefect_server import api_is_up, prefect_api, refuse_absent_api
from cli.running import run_until_stopped
from cli.venues import venues_ready
from config.loader import load_settings
from config.settings import ExchangeName, Settings
from trading.cycle import CycleReport
from trading.money import plain

if TYPE_CHECKING:
    from execution.stop import StopReport
    from tasks.session import TradingSession

log = logging.getLogger(__name__)

_LET_FINISH_SECONDS = 3.0


def run_trader(exchange: ExchangeName, *, once: bool) -> int:
    """Trade one exchange until a signal (or one cycle); exit status 0 when the account is proved empty of orders."""
    settings = load_settings()
    refuse_absent_api()
    with venues_ready(settings, (exchange,), trading=True):
        _refuse_while_stopped(settings, exchange)
        with prefect_api(settings.home) as api:
            return run_until_stopped(lambda stop: _trade(exchange, settings, api, stop, once=once))


def _refuse_while_stopped(settings: Settings, exchange: ExchangeName) -> None:
    from execution.latch import refuse_while_set
    from services.ledger import Ledger

    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        refuse_while_set(settings.home, ledger, settings.account(exchange))


async def _trade(exchange: ExchangeName, settings: Settings, api: str, stop: asyncio.Event, *, once: bool) -> int:
    from flows.ramp_up import ramp_up
    from tasks.ladder import rung_is_due
    from tasks.session import trading

    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(trading(exchange, settings))
        console.print(f"trading {here.symbol} at {exchange}; Ctrl+C stops and leaves no order")
        try:
            if rung_is_due(here):  # what the checks have earned counts from the first cycle on
                await ramp_up(exchange)
            await run_cycles(here, stop, api=api, told=_say, enough=lambda done: once and done > 0)
        finally:
            report = await leave(here)
    for venue in report.venues:
        console.print(
            f"{venue.account}: {len(venue.cancelled)} cancelled, {len(venue.left)} left, "
            f"{'proved by reading again' if venue.verified else 'NOT PROVED: ' + escape('; '.join(venue.problems))}"
        )
    return 0 if report.clean else 1


async def run_cycles(
    here: "TradingSession",
    stop: asyncio.Event,
    *,
    api: str,
    told: Callable[[CycleReport], None],
    enough: Callable[[int], bool] = lambda done: False,
    pace_seconds: float | None = None,
) -> None:
    """Run trading cycles until stopped or `enough` of them are done, one at each boundary of `pace_seconds` of market
    time.

    Every `ladder.review_cycles` the rung is judged; where it would move, the ramp_up flow moves it. A cycle that fails
    is logged and counted, and the next one reconciles first. While the Prefect API is away no cycle runs, so nothing
    new is placed; resting orders are taken back and the ledger is kept in step.
    """
    import httpx  # what Prefect's client speaks through

    from exchanges.errors import VenueError
    from services.ledger import LedgerUnavailable

    pace = pace_seconds or here.settings.execution.cycle_seconds
    done = 0
    while not stop.is_set() and not enough(done):
        if done:
            await _until_next(here, stop, pace)
            if stop.is_set():  # it ended the sleep: nothing new is begun
                break
        done += 1
        try:
            if api_is_up(api):
                judged = done % here.settings.ladder.review_cycles == 0
                await _cycle_and_review(here, stop, told, judged=judged)
            else:
                await _without_prefect(here)
        except httpx.HTTPError as error:
            # The API went away in the middle. What was begun is in the ledger, whatever Prefect knows of it.
            log.warning("%s: %s", here.name, error)
            await _without_prefect(here)
        except (VenueError, LedgerUnavailable) as error:
            log.error("%s: the cycle failed, the next one reconciles first: %s", here.name, error)


async def _cycle_and_review(
    here: "TradingSession", stop: asyncio.Event, told: Callable[[CycleReport], None], *, judged: bool
) -> None:
    from flows.ramp_up import ramp_up
    from tasks.ladder import rung_is_due

    report = await _one_cycle(here, stop)
    if report is not None:
        told(report)
    if judged and not stop.is_set() and rung_is_due(here):
        await ramp_up(here.name)


async def _one_cycle(here: "TradingSession", stop: asyncio.Event) -> CycleReport | None:
    """One cycle as a flow run; a stop lets it finish for a moment, then cancels it (a placement is seen through)."""
    from flows.trading_cycle import trading_cycle

    cycle = asyncio.ensure_future(trading_cycle(here.name, cycle_id(here.clock.now())))
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({cycle, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not cycle.done():
        await asyncio.wait({cycle}, timeout=_LET_FINISH_SECONDS)
        cycle.cancel()
    stopped.cancel()
    try:
        return await cycle
    except asyncio.CancelledError:
        if stop.is_set():
            return None
        raise


async def _without_prefect(here: "TradingSession") -> None:
    from exchanges.errors import VenueError
    from execution.settle import settle
    from services.ledger import LedgerUnavailable

    log.error("%s: the Prefect API is away: no new orders until it is back", here.name)
    try:
        await settle(here.desk, here.symbol)
    except (VenueError, LedgerUnavailable) as error:
        log.error("%s: the books could not be settled: %s", here.name, error)


async def _until_next(here: "TradingSession", stop: asyncio.Event, pace: float) -> None:
    """Sleep to the next boundary in market time; on the wall clock a stop ends the sleep."""
    left = pace - here.clock.now().timestamp() % pace
    sleeping = asyncio.ensure_future(here.clock.sleep(left))
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({sleeping, stopped}, return_when=asyncio.FIRST_COMPLETED)
    for each in (sleeping, stopped):
        each.cancel()
    slept, _ = await asyncio.gather(sleeping, stopped, return_exceptions=True)
    if isinstance(slept, Exception):
        raise slept


async def leave(here: "TradingSession") -> "StopReport":
    """Take back every order at the exchange and prove it; the kill switch stays as it is."""
    from execution.stop import StopTarget, stop_all

    target = StopTarget(
        account=here.account,
        exchange=here.desk.exchange,
        symbols=(here.symbol,),
        lease=here.desk.lease,
        clock=here.clock,
        order_lifetime_minutes=here.configured.order_lifetime_minutes,
    )
    return await stop_all([target], here.ledger, here.clock, by="trader", reason="the trader ended", latch=False)


def cycle_id(now: datetime) -> str:
    """Name a cycle by its minute of market time: run twice, it makes the same client order id."""
    return f"{now:%Y-%m-%dT%H:%M}Z"


def _say(report: CycleReport) -> None:
    what = report.refused or (
        f"{report.order_state}, {plain(report.order_filled)} filled" if report.order_state else report.reason
    )
    profit = "" if report.profit is None else f", profit {plain(report.profit.quantize(Decimal(1)))}"
    console.print(f"{report.cycle_id} {report.exchange} {report.rung}: {escape(what)}{profit}")


def cycle_pace(settings: Settings, market_seconds: float | None, cycles: int) -> float:
    """Seconds of market time between cycles: the configured ones, or so many that `cycles` span a recorded market."""
    pace = settings.execution.cycle_seconds
    if market_seconds is None:
        return pace
    ladder = 2 * (len(settings.ladder.ramp_steps) + 2)  # cycles that the ladder takes before
    return max(pace, market_seconds // (cycles + ladder + 1) // pace * pace)
