"""The emergency stop from outside: open the exchanges, stop them all, say what is left. No Prefect, no
pandas.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from config.errors import ConfigurationError
from config.settings import ExchangeName, Settings
from exchanges import create_exchange_client
from execution.connect import resolve
from execution.stop import StopReport, StopTarget, stop_all
from services.clock import WallClock
from services.ledger import Ledger, LedgerUnavailable


async def stop_exchanges(
    settings: Settings, names: Sequence[ExchangeName], *, by: str, reason: str, close_positions: bool
) -> tuple[StopReport, tuple[str, ...]]:
    """Stop the named exchanges; also returns one sentence for each that could not be reached by its
    configuration.

    Every exchange is latched, reached or not. Raises nothing for what one exchange, or the ledger, does.
    """
    unreached: list[str] = []
    async with AsyncExitStack() as stack:
        ledger = _open_ledger(settings, unreached)
        if ledger is not None:
            stack.callback(ledger.close)
        targets = []
        for name in names:
            try:
                ready, credentials, clock = await resolve(name, settings)
            except ConfigurationError as error:
                unreached.append(str(error))
                continue
            client = create_exchange_client(name, settings=ready, credentials=credentials, clock=clock)
            stack.push_async_callback(client.close)
            lifetime = ready.exchanges[name].order_lifetime_minutes
            targets.append(
                StopTarget(
                    account=name,
                    exchange=client,
                    symbols=(ready.symbol(name),),
                    clock=clock,
                    order_lifetime_minutes=lifetime,
                )
            )
        report = await stop_all(targets, ledger, WallClock(), by, reason, close_positions, home=settings.home)
    return report, tuple(unreached)


def _open_ledger(settings: Settings, unreached: list[str]) -> Ledger | None:
    try:
        return Ledger(settings.ledger_url)
    except (LedgerUnavailable, ConfigurationError) as error:
        # The stop goes on without it: the latch becomes a file, the venues are asked what rests there.
        unreached.append(f"the ledger: {error}")
        return None
