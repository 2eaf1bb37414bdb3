"""`crypto-bot stop` and `rearm`. Nothing here imports prefect: the stop must work when everything else is broken."""

import asyncio
import getpass
from collections.abc import Sequence

from cli.output import console, print_json, print_table
from cli.settings import current_settings
from config.errors import ConfigurationError
from config.settings import Endpoint, ExchangeName, Settings
from services.simulated import find_venue


def run_stop(exchanges: Sequence[ExchangeName], *, close_positions: bool, reason: str, as_json: bool) -> int:
    """Stop the exchanges; exit status 0 only when every one is proved empty of orders."""
    from execution.emergency import stop_exchanges

    settings = current_settings()
    reachable = [name for name in exchanges if _can_hold_orders(settings, name)]
    idle = [name for name in exchanges if name not in reachable]
    report, unreached = asyncio.run(
        stop_exchanges(settings, reachable, by=_who(), reason=reason, close_positions=close_positions)
    )
    clean = report.clean and not unreached
    if as_json:
        print_json(
            {
                "clean": clean,
                "exchanges": {venue.account: venue for venue in report.venues},
                "not_running": idle,
                "problems": [*unreached, *report.problems],
            }
        )
        return 0 if clean else 1
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
            for venue in report.venues
        ],
        "no exchange is in use",
    )
    for name in idle:
        console.print(f"{name}: no simulated venue is running, nothing can rest there")
    for problem in (*unreached, *report.problems):
        console.print(f"[red]{problem}[/]")
    if clean:
        console.print(
            "nothing is left in the market; `crypto-bot rearm EXCHANGE --by NAME --reason TEXT` allows trading again"
        )
    else:
        console.print("[red]NOT CLEAN: look at the venues' own pages now[/]")
    return 0 if clean else 1


def run_rearm(exchange: ExchangeName, *, by: str, reason: str) -> int:
    """Release the kill switch of one exchange in the name of a person."""
    from execution.latch import kill_switch, rearm
    from services.clock import WallClock
    from services.ledger import Ledger

    if not by.strip() or not reason.strip():
        raise ConfigurationError("rearm: --by and --reason must not be empty")
    settings = current_settings()
    ledger = Ledger(settings.ledger_url)
    try:
        if kill_switch(settings.home, ledger, exchange) is None:
            console.print(f"{exchange}: the kill switch is not set")
            return 0
        rearm(settings.home, ledger, exchange, by, reason, WallClock().now())
    finally:
        ledger.close()
    console.print(f"{exchange}: re-armed by {by}; the next cycle may place orders")
    return 0


def _can_hold_orders(settings: Settings, exchange: ExchangeName) -> bool:
    configured = settings.exchanges[exchange]
    if configured.endpoint is not Endpoint.SIMULATED or configured.base_url is not None:
        return True
    return find_venue(settings.home, exchange) is not None


def _who() -> str:
    return f"{getpass.getuser()} by crypto-bot stop"
