"""The emergency stop from outside: latch, reach the exchanges, stop them, say what is left. No Prefect, no pandas."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from config.errors import ConfigurationError
from config.settings import Endpoint, ExchangeName, Settings
from exchanges import create_exchange_client, urgent
from execution.connect import resolve
from execution.latch import set_latch
from execution.stop import StopReport, StopTarget, stop_all
from services.clock import WallClock
from services.ledger import Ledger, LedgerUnavailable
from services.simulated import find_venue


@dataclass(frozen=True)
class EmergencyStop:
    """What the stop came to. `idle`: exchanges at which nothing can rest; `problems`: a sentence for each exchange that
    could not be reached by its configuration, and for all else that went wrong outside the venues.
    """

    report: StopReport
    idle: tuple[ExchangeName, ...]
    unreached: tuple[ExchangeName, ...]
    problems: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Every exchange is latched, and is proved empty of orders or cannot hold one."""
        return self.report.clean and not self.unreached


async def stop_exchanges(
    settings: Settings,
    names: Sequence[ExchangeName],
    *,
    by: str,
    reason: str,
    close_positions: bool,
    latch: bool = True,
) -> EmergencyStop:
    """Latch every named exchange, reached or not, then cancel everything at those that can hold orders. Without
    `latch` the kill switch stays as it is: who calls has ended the trader, and may start it again.

    Raises nothing for what one exchange, or the ledger, does.
    """
    problems: list[str] = []
    unreached: list[ExchangeName] = []
    async with AsyncExitStack() as stack:
        ledger = _open_ledger(settings, problems)
        if ledger is not None:
            stack.callback(ledger.close)
        latched = not latch or _latch(settings, ledger, names, by, reason, problems)
        idle = tuple(name for name in names if _is_idle(settings, ledger, name))
        busy = [name for name in names if name not in idle]
        targets = []
        for name, found in zip(busy, await asyncio.gather(*(_target(settings, name) for name in busy)), strict=True):
            if isinstance(found, StopTarget):
                stack.push_async_callback(found.exchange.close)
                targets.append(found)
            else:
                unreached.append(name)
                problems.append(found)
        with urgent():  # reading what is left serves getting out as much as cancelling does
            report = await stop_all(
                targets, ledger, WallClock(), by, reason, close_positions, home=settings.home, latch=False
            )
    report = replace(report, latched=latched, problems=(*problems, *report.problems))
    return EmergencyStop(report, idle, tuple(unreached), report.problems)


def _open_ledger(settings: Settings, problems: list[str]) -> Ledger | None:
    try:
        return Ledger(settings.ledger_url)
    except (LedgerUnavailable, ConfigurationError) as error:
        # The stop goes on without it: the latch becomes a file, the venues are asked what rests there.
        problems.append(f"the ledger: {error}")
        return None


def _latch(
    settings: Settings,
    ledger: Ledger | None,
    names: Sequence[ExchangeName],
    by: str,
    reason: str,
    problems: list[str],
) -> bool:
    latched = True
    for name in names:
        try:
            problems += set_latch(settings.home, ledger, settings.account(name), reason, by, WallClock().now())
        except (LedgerUnavailable, OSError) as error:
            latched = False
            problems.append(f"the kill switch of {name} could not be latched: {error}")
    return latched


def _is_idle(settings: Settings, ledger: Ledger | None, name: ExchangeName) -> bool:
    """No simulated venue runs and the ledger knows of no order that may rest: there is nothing to prove."""
    configured = settings.exchanges[name]
    if configured.endpoint is not Endpoint.SIMULATED or configured.base_url is not None:
        return False
    if find_venue(settings.home, name) is not None:
        return False
    try:
        return ledger is None or not ledger.in_flight(settings.account(name))
    except LedgerUnavailable:
        return True


async def _target(settings: Settings, name: ExchangeName) -> StopTarget | str:
    """The exchange, opened, or a sentence that says why it could not be."""
    try:
        ready, credentials, clock = await resolve(name, settings)
        client = create_exchange_client(name, settings=ready, credentials=credentials, clock=clock)
    except ConfigurationError as error:
        return str(error)
    return StopTarget(
        account=ready.account(name),
        exchange=client,
        symbols=(ready.symbol(name),),
        clock=clock,
        order_lifetime_minutes=ready.exchanges[name].order_lifetime_minutes,
    )
