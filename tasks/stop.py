"""The emergency stop's doorway for Prefect."""

from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from config.loader import load_settings
from execution.emergency import stop_exchanges
from execution.stop import StopReport


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def stop_trading(names: Sequence[str], reason: str, close_positions: bool) -> StopReport:
    """Latch, cancel everything at the named exchanges, and read until nothing is left."""
    report, unreached = await stop_exchanges(
        load_settings(), names, by="emergency_stop deployment", reason=reason, close_positions=close_positions
    )
    if unreached:
        raise RuntimeError("; ".join(unreached))
    return report
