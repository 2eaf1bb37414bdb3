"""`crypto-bot stop` and `rearm`. Nothing here imports prefect: the stop must work when everything else is broken."""

import asyncio
import getpass
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from cli.output import print_json, print_table, say
from config.errors import ConfigurationError
from config.loader import load_settings
from config.settings import Endpoint, ExchangeName, Settings
from services.logs import configure_logging

if TYPE_CHECKING:
    from execution.emergency import EmergencyStop


def run_stop(exchanges: Sequence[ExchangeName], *, close_positions: bool, reason: str, as_json: bool) -> int:
    """Stop the exchanges; exit status 0 only when every one is latched and proved empty of orders."""
    from execution.emergency import stop_exchanges

    settings = load_settings()
    _log_if_possible(settings)
    stop = asyncio.run(stop_exchanges(settings, exchanges, by=_who(), reason=reason, close_positions=close_positions))
    if as_json:
        print_json(
            {
                "clean": stop.clean,
                "latched": stop.report.latched,
                "exchanges": {venue.account.partition("@")[0]: venue for venue in stop.report.venues},
                "not_running": stop.idle,
                "not_reached": stop.unreached,
                "problems": stop.problems,
            }
        )
    else:
        _show(stop)
    return 0 if stop.clean else 1


def _log_if_possible(settings: Settings) -> None:
    """A log that cannot be written stops no emergency stop, unless the home is why no exchange can be found either."""
    try:
        configure_logging(settings)
    except ConfigurationError:
        if not any(each.endpoint is not Endpoint.SIMULATED or each.base_url for each in settings.exchanges.values()):
            raise
        told = settings.logging.model_copy(update={"handlers": ("console",)})
        configure_logging(settings.model_copy(update={"logging": told}))


def _show(stop: "EmergencyStop") -> None:
    print_table(
        "emergency stop",
        ("exchange", "cancelled", "left", "proved", "positions", "problems"),
        [
            (
                venue.account,
                len(venue.cancelled),
                len(venue.left),
                venue.verified,
                "; ".join(f"{p.side} {p.quantity} {p.symbol}" for p in venue.positions),
                "; ".join(venue.problems),
            )
            for venue in stop.report.venues
        ],
        "no exchange is in use",
    )
    for name in stop.idle:
        say(f"{name}: no simulated venue is running, nothing can rest there")
    for problem in stop.problems:
        say(f"[red]{escape(problem)}[/]")
    if stop.clean:
        say("nothing is left in the market; `crypto-bot rearm EXCHANGE --by NAME --reason TEXT` allows trading again")
    else:
        say("[red]NOT CLEAN: look at the venues' own pages now[/]")


def run_rearm(exchange: ExchangeName, *, by: str, reason: str) -> int:
    """Release the kill switch of one exchange in the name of a person."""
    from execution.latch import kill_switch, rearm
    from services.clock import WallClock
    from services.ledger import Ledger

    if not by.strip() or not reason.strip():
        raise ConfigurationError("rearm: --by and --reason must not be empty")
    settings = load_settings()
    account = settings.account(exchange)
    ledger = Ledger(settings.ledger_url)
    try:
        if kill_switch(settings.home, ledger, account) is None:
            say(f"{exchange}: the kill switch is not set")
            return 0
        rearm(settings.home, ledger, account, by, reason, WallClock().now())
    finally:
        ledger.close()
    say(f"{exchange}: re-armed by {by}; the next cycle may place orders")
    return 0


def _who() -> str:
    return f"{getpass.getuser()} by crypto-bot stop"
