"""`crypto-bot stop` and `rearm`. Nothing here imports prefect: the stop must work when everything else is broken."""

import asyncio
import getpass
import os
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from cli.output import print_json, print_table, say
from config.errors import ConfigurationError
from config.guide import EMERGENCY, see
from config.loader import load_settings
from config.settings import Endpoint, ExchangeName, Settings
from services.logs import configure_logging
from services.simulated import find_venue

if TYPE_CHECKING:
    from execution.emergency import EmergencyStop


def run_stop(exchanges: Sequence[ExchangeName], *, close_positions: bool, reason: str, as_json: bool) -> int:
    """Stop the exchanges; exit status 0 only when every one is latched and proved empty of orders.

    The first SIGTERM or Ctrl+C ends it with a report of what was last seen (status 1), the second at once. A terminal
    that is closed ends nothing.
    """
    from execution.emergency import stop_exchanges

    settings = load_settings()
    _log_if_possible(settings)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def run() -> "EmergencyStop":
        loop, interrupted = asyncio.get_running_loop(), asyncio.Event()

        def interrupt() -> None:
            interrupted.set()
            for each in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(each)

        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, interrupt)
        return await stop_exchanges(
            settings, exchanges, by=_who(), reason=reason, close_positions=close_positions, interrupted=interrupted
        )

    stop = asyncio.run(run())
    try:
        if as_json:
            print_json(
                {
                    "clean": stop.clean,
                    "latched": stop.report.latched,
                    "exchanges": {venue.account.partition("@")[0]: venue for venue in stop.report.venues},
                    "not_running": stop.idle,
                    "not_reached": stop.unreached,
                    "problems": stop.problems,
                    "to_do": stop.to_do,
                }
            )
        else:
            _show(stop)
    finally:
        if settings.alerts.channels:  # after the proof and after its telling: nobody waits for a channel
            from cli.telling import tell_stop

            tell_stop(settings, exchanges, stop.report, latched=stop.report.latched, to_do=stop.to_do)
    return 0 if stop.clean else 1


def _log_if_possible(settings: Settings) -> None:
    """A log that cannot be written stops no emergency stop, unless the home is why no exchange can be found either."""
    try:
        configure_logging(settings)
    except ConfigurationError:
        if not any(_can_be_found(settings, name) for name in settings.exchanges):
            raise
        told = settings.logging.model_copy(update={"handlers": ("console",)})
        configure_logging(settings.model_copy(update={"logging": told}))


def _can_be_found(settings: Settings, name: ExchangeName) -> bool:
    configured = settings.exchanges[name]
    if configured.endpoint is not Endpoint.SIMULATED or configured.base_url:
        return True
    return find_venue(settings.home, name) is not None


def _show(stop: "EmergencyStop") -> None:
    print_table(
        "emergency stop",
        ("exchange", "cancelled", "filled", "left", "proved", "positions", "problems"),
        [
            (
                venue.account,
                len(venue.cancelled),
                len(venue.filled),
                len(venue.left),
                "no" if venue.proved_after is None else f"after {venue.proved_after:.1f} s",
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
        say(f"[red]NOT CLEAN: look at the venues' own pages now[/]{see(EMERGENCY)}")
        for sentence in stop.to_do:
            say(f"[red]{escape(sentence)}[/]")


def run_rearm(exchange: ExchangeName, *, by: str, reason: str) -> int:
    """Release the kill switch of one exchange in the name of a person."""
    from execution.latch import kill_switch, rearm, refuse_unreconciled
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
        refuse_unreconciled(ledger, account)
        rearm(settings.home, ledger, account, by, reason, WallClock().now())
    finally:
        ledger.close()
    say(f"{exchange}: re-armed by {escape(by)}; the next cycle may place orders")
    return 0


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may run under a number that has no name
        user = f"user {os.getuid()}"
    return f"{user} by crypto-bot stop"
