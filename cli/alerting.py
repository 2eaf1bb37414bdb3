"""`crypto-bot alerts`: try the channels, send the daily digest."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from config.settings import Settings
    from services.alerts import Delivery

alerts_app = typer.Typer(help="Try the alert channels, and send the daily digest.", no_args_is_help=True)


@alerts_app.command("test")
def alerts_test(
    channel: Annotated[str | None, typer.Option("--channel", help="Only this channel.")] = None,
) -> None:
    """Send a test message to every channel, or to one, and say what came of it."""
    from services.alerts import Level, send_now, title_of

    settings = _settings()
    names = _named(settings, channel)
    text = "This is a test. Alerts of this machine come here."
    raise typer.Exit(_show(send_now(settings, Level.INFO, title_of("test"), text, names)))


@alerts_app.command("digest")
def alerts_digest() -> None:
    """Send the daily digest now: the last 24 hours of every exchange, and the alerts since the last digest."""
    from config.settings import EXCHANGES

    settings = _settings()
    _named(settings, None)
    from tasks.digest import digest_now

    raise typer.Exit(_show(digest_now(settings, EXCHANGES)))


def _settings() -> "Settings":
    from cli.settings import logged
    from config.loader import load_settings

    return logged(load_settings())


def _named(settings: "Settings", channel: str | None) -> list[str]:
    """The channels meant. Raises ConfigurationError where there is none, or none of that name."""
    from config.errors import ConfigurationError

    known = [each.name for each in settings.alerts.channels]
    if not known:
        raise ConfigurationError(
            "alerts.channels: no channel is configured; write alerts: {channels: [{name: slack, "
            "url_secret: ALERTS_SLACK}]} into your configuration",
            section="alerts",
        )
    if channel is not None and channel not in known:
        raise ConfigurationError(
            f"alerts: there is no channel {channel}; there are {', '.join(known)}", section="alerts"
        )
    return known if channel is None else [channel]


def _show(told: "Sequence[Delivery]") -> int:
    """Print what came of a message; exit status 1 when a channel did not take it."""
    from cli.output import print_table

    rows = [(each.channel, "FAILED" if each.problem else "taken", f"{each.seconds:.1f}", each.problem) for each in told]
    print_table("alerts", ("channel", "message", "seconds", "problem"), rows, "no channel wants it")
    return 1 if any(each.problem for each in told) else 0
