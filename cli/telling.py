"""What the trader, `crypto-bot up` and the stop have to tell a person.

Telling costs the trader a look at the kill switch and a place in a queue (services/alerts.py); it raises nothing.
"""

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING

from config.settings import ExchangeName, Settings
from services.alerts import Level, tell, tell_all
from services.ledger import LedgerUnavailable
from trading.cycle import CycleReport
from trading.notices import notice_of_failure, notice_of_stop, notices_of_cycle

if TYPE_CHECKING:
    from execution.stop import StopReport
    from tasks.session import TradingSession


def tell_cycle(here: "TradingSession", report: CycleReport) -> None:
    """Tell what a cycle found, and what is over since."""
    from execution.latch import kill_switch

    if not here.settings.alerts.channels:
        return
    try:
        latch = kill_switch(here.settings.home, here.ledger, here.account)
    except LedgerUnavailable as error:
        tell_failure(here.settings, here.name, error)
        return
    set_by = None if latch is None else f"{latch.reason} (by {latch.by})"
    tell_all(notices_of_cycle(report, set_by), here.settings)


def tell_failure(settings: Settings, exchange: ExchangeName, error: BaseException) -> None:
    """Tell that a part of the trader's work failed, by what the error means."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    tell_all((notice_of_failure(exchange, kinds, str(error)),), settings)


async def telling_failure(settings: Settings, exchange: ExchangeName, work: Awaitable[int]) -> int:
    """Await the whole of a trader's work; what ends it is told and goes on."""
    try:
        return await work
    except Exception as error:
        tell_failure(settings, exchange, error)
        raise


def tell_stop(
    settings: Settings, names: Sequence[str], report: "StopReport", *, latched: bool, to_do: Sequence[str] = ()
) -> None:
    """Tell what a stop came to. Called when it is over and proved, or not."""
    unclean = [venue for venue in report.venues if not venue.is_clean]
    notice = notice_of_stop(
        names,
        clean=report.clean and not to_do,
        latched=latched,
        by=report.by,
        reason=report.reason,
        to_do=to_do or [f"{venue.account}: {'; '.join(venue.problems) or 'orders are left'}" for venue in unclean],
    )
    tell_all((notice,), settings)


def tell_away(settings: Settings, exchange: ExchangeName) -> None:
    """Tell that nothing trades because the Prefect API does not answer."""
    text = f"{exchange}: the Prefect API is away: nothing new is placed until it is back"
    tell(Level.WARNING, f"{exchange}:prefect", text, settings=settings)


def tell_death(settings: Settings, what: str, key: str) -> None:
    """Tell that a process has died and what becomes of it."""
    tell(Level.CRITICAL, key, what, settings=settings)
