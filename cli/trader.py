"""The trader: one exchange account, one cycle each minute, and nothing left behind when it ends."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from rich.markup import escape

from cli.heartbeat import beat_file, beating
from cli.output import say
from cli.prefect_server import api_is_up, end_with, prefect_api, refuse_absent_api
from cli.running import run_until_stopped, unless_stopped
from cli.telling import tell_away, tell_cycle, tell_failure, tell_stop, telling_failure
from cli.trader_checks import Fallen, take_checks, until_examined
from cli.venues import venues_ready
from config.guide import API_AWAY, CERTIFICATE, EMERGENCY, section_of, section_of_refusal, see
from config.loader import load_settings
from config.settings import ExchangeName, Settings
from services.heartbeat import showing_life
from services.ledger import Ledger
from trading.cycle import CycleReport
from trading.money import plain
from trading.stages import CHECKS

if TYPE_CHECKING:
    from execution.stop import StopReport
    from tasks.session import TradingSession

log = logging.getLogger(__name__)

T = TypeVar("T")

_EPOCH = datetime.fromtimestamp(0, UTC)
_ASK_AGAIN_SECONDS = 15.0  # a venue that is away at the start


def run_trader(exchange: ExchangeName, *, once: bool, supervisor: int | None = None) -> int:
    """Trade one exchange until a signal (or one cycle); exit status 0 when the account is proved empty of orders.

    With a `supervisor` (the process id of a `crypto-bot up`) the trader waits for the Prefect API, which starts at the
    same time, lets a simulated exchange without a rung take its three checks, and ends when the supervisor is gone.
    """
    settings = load_settings()
    if supervisor is None:
        refuse_absent_api(settings.prefect)
    else:
        end_with(supervisor)
    with venues_ready(settings, (exchange,), trading=True), metrics_of(settings, f"trader-{exchange}"):
        _refuse_while_stopped(settings, exchange)
        if supervisor is not None:
            _import_while_the_api_starts()
        with prefect_api(settings.home, settings.prefect) as api:
            checked = supervisor is not None
            return run_until_stopped(
                lambda stop: telling_failure(
                    settings, exchange, _trade(exchange, settings, api, stop, once=once, checked=checked)
                )
            )


@contextlib.contextmanager
def metrics_of(settings: Settings, process: str) -> Iterator[None]:
    """Send the metrics of this process for the length of the block, and what is left at its end."""
    from services import monitoring

    monitoring.start(settings, process)
    try:
        yield
    finally:
        monitoring.stop()


def _import_while_the_api_starts() -> None:
    import flows.minimal_order
    import flows.ramp_up
    import flows.trading_cycle  # noqa: F401

    api = os.environ["PREFECT_API_URL"]
    while not api_is_up(api):
        time.sleep(0.2)


def _refuse_while_stopped(settings: Settings, exchange: ExchangeName) -> None:
    from execution.latch import refuse_while_set

    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        refuse_while_set(settings.home, ledger, settings.account(exchange))


async def _trade(
    exchange: ExchangeName, settings: Settings, api: str, stop: asyncio.Event, *, once: bool, checked: bool
) -> int:
    async with beating(beat_file(settings.home, exchange)):
        while True:
            if checked and not await take_checks(exchange, settings, stop):
                return 1
            fallen = Fallen(settings, stop, takes_checks=checked)
            status = await _held(exchange, settings, api, stop, once=once, fallen=fallen)
            if not fallen.waits or once or not await until_examined(exchange, settings, stop):
                return status


async def _held(
    exchange: ExchangeName, settings: Settings, api: str, stop: asyncio.Event, *, once: bool, fallen: Fallen
) -> int:
    """Hold the account and trade it: until stopped, until `fallen` waits for a person's checks, or for one cycle."""
    from flows.ramp_up import ramp_up
    from tasks.events import TRADER_ENDED, tell
    from tasks.ladder import rung_is_due

    async with AsyncExitStack() as stack:
        here = await _opened(stack, exchange, settings, stop, patient=not once)
        if here is None:
            say(f"{exchange}: stopped before the venue answered: what rests there was not looked at")
            return 1
        await stack.enter_async_context(showing_life(f"trader {exchange}", here.ledger))
        say(f"trading {here.symbol} at {exchange}; Ctrl+C stops and leaves no order")
        try:
            if rung_is_due(here):  # what the checks have earned counts from the first cycle on
                await ramp_up(exchange)
            await fallen.see_to(here)
            await run_cycles(
                here,
                stop,
                api=api,
                told=_say,
                enough=lambda done: done > 0 if once else fallen.waits,
                fallen=fallen,
            )
        finally:
            other = await _who_trades_instead(here)
            report = None if other else await leave(here)
            if report is not None:
                tell_stop(settings, (exchange,), report, latched=False)
    if api_is_up(api):
        tell(exchange, TRADER_ENDED)
    if report is None:
        say(f"{exchange}: {other} trades this account now: what rests there is left to it")
        return 1
    for venue in report.venues:
        say(
            f"{venue.account}: {len(venue.cancelled)} cancelled, {len(venue.left)} left, "
            f"{'proved by reading again' if venue.verified else 'NOT PROVED: ' + escape('; '.join(venue.problems))}"
            f"{'' if venue.is_clean else see(EMERGENCY)}"
        )
    return 0 if report.clean else 1


async def _opened(
    stack: AsyncExitStack, exchange: ExchangeName, settings: Settings, stop: asyncio.Event, *, patient: bool
) -> "TradingSession | None":
    """Open the account. A venue that is away (in maintenance, say) is asked again until it answers or we are stopped:
    None. Raises what `tasks.session.trading` raises; that the venue is away only where not `patient`.
    """
    from exchanges.errors import Busy, NoAnswer
    from services.secrets import SecretUnavailable
    from tasks.session import trading

    while not stop.is_set():
        try:
            return await stack.enter_async_context(trading(exchange, settings))
        except (Busy, NoAnswer, SecretUnavailable) as error:
            if not patient:
                raise
            why = f"{escape(str(error))}{see(section_of(error))}"
            say(f"{exchange}: cannot begin yet, asked again in {_ASK_AGAIN_SECONDS:g} s: {why}")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _ASK_AGAIN_SECONDS)
    return None


async def run_cycles(
    here: "TradingSession",
    stop: asyncio.Event,
    *,
    api: str,
    told: Callable[[CycleReport], None],
    enough: Callable[[int], bool] = lambda done: False,
    pace_seconds: float | None = None,
    fallen: Fallen | None = None,
) -> None:
    """Run trading cycles until stopped or `enough` of them are done, one at each boundary of `pace_seconds` of market
    time.

    Every `ladder.review_cycles` the rung is judged; where it would move, the ramp_up flow moves it, and `fallen` sees
    to one that has come down to the checks. A cycle that fails is logged and counted, and the next one reconciles
    first. While the Prefect API is away, or the key's secret may not be read, no cycle runs, so nothing new is placed;
    resting orders are taken back and the ledger is kept in step.
    """
    from execution.settle import settle
    from flows.trading_cycle import trading_cycle
    from tasks.events import CYCLE_DONE, tell
    from tasks.keys import look_after_key
    from tasks.measures import Measures

    measures = Measures(here)
    pace = pace_seconds or here.settings.execution.cycle_seconds
    done = 0
    while not stop.is_set() and not enough(done):
        if done:
            await _until_next(here, stop, pace)
            if stop.is_set():  # it ended the sleep: nothing new is begun
                break
        done += 1
        # None: the venue did not answer, which the cycle will meet as well
        key_refused = await _kept_going(here, stop, api, "looking after the key", look_after_key(here)) is False
        if api_is_up(api) and not key_refused:
            named = cycle_id(here.clock.now(), pace)
            cycle = _or_taken_back(here, trading_cycle(here.name, named))
            report = await _kept_going(here, stop, api, f"cycle {named}", cycle)
            if report is not None:
                told(report)
                tell(here.name, CYCLE_DONE, cycle=report.cycle_id)
                tell_cycle(here, report)
            measures.after_cycle(report)
            if done % here.settings.ladder.review_cycles == 0 and not stop.is_set():
                await _kept_going(here, stop, api, "the review of the rung", _review(here, fallen))
        away = not api_is_up(api)  # at the start, or gone in the middle
        if not stop.is_set() and (away or (key_refused and here.ledger.in_flight(here.desk.account))):
            if away:
                log.error("%s: the Prefect API is away: no new orders until it is back%s", here.name, see(API_AWAY))
                tell_away(here.settings, here.name)
            await _kept_going(here, stop, api, "taking back what rests", settle(here.desk, here.symbol))


async def _or_taken_back(here: "TradingSession", cycle: Coroutine[Any, Any, T]) -> T:
    """Await a cycle; where something else than the venue or the ledger fails it, what rests is taken back first.

    Prefect's API says that it is well while its database is away: no cycle then comes as far as its reconcile.
    """
    from exchanges.errors import VenueError
    from execution.hold import AccountHeld
    from execution.settle import settle
    from services.clock import ClockGone
    from services.ledger import LeaseLost, LedgerUnavailable

    try:
        return await cycle
    except (AccountHeld, LeaseLost, ClockGone, VenueError, LedgerUnavailable):
        raise
    except Exception:  # whatever it is, the market does not wait for its end
        if here.ledger.in_flight(here.desk.account):
            await settle(here.desk, here.symbol)
        raise


async def _review(here: "TradingSession", fallen: Fallen | None) -> None:
    from flows.ramp_up import ramp_up
    from tasks.ladder import rung_is_due

    if rung_is_due(here):
        await ramp_up(here.name)
    if fallen is not None and await fallen.see_to(here) and rung_is_due(here):
        await ramp_up(here.name)


async def _kept_going(
    here: "TradingSession", stop: asyncio.Event, api: str, doing: str, work: Coroutine[Any, Any, T]
) -> T | None:
    """Await a part of the trader's work. What fails is logged, and the next cycle reconciles first: a trader that dies
    looks after nothing. Raises AccountHeld and LeaseLost (another trades the account now), ClockGone.
    """
    from exchanges.errors import VenueError
    from execution.hold import AccountHeld
    from services.clock import ClockGone
    from services.ledger import LeaseLost, LedgerUnavailable

    try:
        return await unless_stopped(stop, work)
    except (AccountHeld, LeaseLost, ClockGone):
        raise
    except (VenueError, LedgerUnavailable) as error:
        where = see(section_of(error))
        log.error("%s: %s failed, the next cycle reconciles first: %s%s", here.name, doing, error, where)
        tell_failure(here.settings, here.name, error)
    except Exception as error:
        if api_is_up(api):
            log.exception("%s: %s failed, the next cycle reconciles first", here.name, doing)
            tell_failure(here.settings, here.name, error)
        else:
            log.error("%s: the Prefect API went away during %s: %s%s", here.name, doing, error, see(API_AWAY))
    return None


async def _until_next(here: "TradingSession", stop: asyncio.Event, pace: float) -> None:
    """Sleep to the next boundary in market time; on the wall clock a stop ends the sleep.

    A sleep may end a moment early by the wall; the boundary is waited for, or two cycles would bear one name.
    """
    step = timedelta(seconds=pace)
    boundary = _EPOCH + ((here.clock.now() - _EPOCH) // step + 1) * step
    while not stop.is_set() and timedelta(0) < (left := boundary - here.clock.now()) <= step:
        sleeping = asyncio.ensure_future(here.clock.sleep(left.total_seconds()))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({sleeping, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for each in (sleeping, stopped):
            each.cancel()
        slept, _ = await asyncio.gather(sleeping, stopped, return_exceptions=True)
        if isinstance(slept, Exception):
            raise slept


async def _who_trades_instead(here: "TradingSession") -> str:
    """Who has taken the account over from another host; "" as far as the ledger tells. Orders there are that one's."""
    from execution.hold import holder_elsewhere
    from execution.reach import ANSWER_SECONDS, within
    from services.clock import WallClock
    from services.ledger import LedgerUnavailable

    def ask() -> str:
        return holder_elsewhere(here.settings.home, here.ledger, here.account, WallClock().now())

    try:
        return await within(ANSWER_SECONDS, ask)
    except LedgerUnavailable as error:
        log.warning("%s: whether another host trades the account is not known: %s", here.name, error)
        return ""


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


def cycle_id(now: datetime, pace_seconds: float) -> str:
    """Name a cycle by its minute of market time, or by its part of the minute where cycles are shorter: run twice, it
    makes the same client order id.
    """
    step = timedelta(seconds=min(pace_seconds, 60.0))
    began = _EPOCH + (now - _EPOCH) // step * step
    return f"{began:%Y-%m-%dT%H:%M}Z" if pace_seconds >= 60 else f"{began:%Y-%m-%dT%H:%M:%S.%f}Z"


def _say(report: CycleReport) -> None:
    what = report.refused or (
        f"{report.order_state}, {plain(report.order_filled)} filled" if report.order_state else report.reason
    )
    profit = "" if report.profit is None else f", profit {plain(report.profit.quantize(Decimal(1)))}"
    where = see(
        section_of_refusal(report.refused) if report.refused else CERTIFICATE if report.rung in CHECKS else None
    )
    say(f"{report.cycle_id} {report.exchange} {report.rung}: {escape(what)}{where}{profit}")


def cycle_pace(settings: Settings, market_seconds: float | None, cycles: int) -> float:
    """Seconds of market time between cycles: the configured ones, or so many that `cycles` span a recorded market."""
    pace = settings.execution.cycle_seconds
    if market_seconds is None:
        return pace
    ladder = 2 * (len(settings.ladder.ramp_steps) + 2)  # cycles that the ladder takes before
    return max(pace, market_seconds // (cycles + ladder + 1) // pace * pace)
