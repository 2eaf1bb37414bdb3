"""The emergency stop's doorway for Prefect."""

from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from config.loader import load_settings
from config.settings import ExchangeName
from execution.emergency import stop_exchanges
from execution.stop import StopReport


class SomethingLeft(Exception):
    """The stop could not prove that nothing is left in the market; the text says where to look."""


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def stop_trading(names: Sequence[ExchangeName], reason: str, close_positions: bool) -> StopReport:
    """Latch, cancel everything at the named exchanges, and read until nothing is left."""
    report, unreached = await stop_exchanges(
        load_settings(), names, by="emergency_stop deployment", reason=reason, close_positions=close_positions
    )
    if unreached:
        raise RuntimeError("; ".join(unreached))
    return report


def refuse_unclean(report: StopReport) -> None:
    """Raise SomethingLeft unless every venue has shown that nothing is left."""
    if report.clean:
        return
    problems = [
        f"{venue.account}: {len(venue.left)} orders left; {'; '.join(venue.problems) or 'not verified'}"
        for venue in report.venues
        if not venue.is_clean
    ]
    raise SomethingLeft("; ".join((*problems, *report.problems)))
