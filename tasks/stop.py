"""The emergency stop's doorway for Prefect."""

from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from config.loader import load_settings
from config.settings import ExchangeName
from execution.emergency import EmergencyStop, stop_exchanges
from services.logs import configure_logging


class SomethingLeft(Exception):
    """The stop could not prove that nothing is left in the market; the text says where to look."""


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def stop_trading(names: Sequence[ExchangeName], reason: str, close_positions: bool) -> EmergencyStop:
    """Latch, cancel everything at the named exchanges, and read until nothing is left."""
    settings = load_settings()
    configure_logging(settings)
    return await stop_exchanges(
        settings, names, by="emergency_stop deployment", reason=reason, close_positions=close_positions
    )


def refuse_unclean(stop: EmergencyStop) -> None:
    """Raise SomethingLeft unless every exchange is latched and has shown that nothing is left."""
    if stop.clean:
        return
    problems = [
        f"{venue.account}: {len(venue.left)} orders left; {'; '.join(venue.problems) or 'not verified'}"
        for venue in stop.report.venues
        if not venue.is_clean
    ]
    raise SomethingLeft("; ".join((*problems, *stop.problems, *stop.to_do)))
