"""Simulated venues for the commands: one in the foreground, or one beside a command that needs it."""

import contextlib
import dataclasses
import json
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from cli.settings import current_settings
from config.settings import Endpoint, ExchangeName, Settings
from services.simulated import find_venue, simulated_venues


def run_venue(exchange: ExchangeName, *, port: int, candles: Path | None, seed: int, limits: str, clock: str) -> int:
    """Run one simulated venue until Ctrl+C; the first line on stdout tells programs where it is."""
    settings = current_settings()
    arguments = ["--port", str(port), "--seed", str(seed), "--limits", limits, "--clock", clock]
    if candles is not None:
        arguments += ["--candles", str(candles)]
    ended = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: ended.set())
    with simulated_venues(settings.home, {exchange: arguments}) as venues:
        told = dataclasses.asdict(venues[exchange].address)
        told.pop("pid")
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        while not ended.wait(0.2):
            if venues[exchange].has_ended:
                return 1
    return 0


@contextlib.contextmanager
def venues_if_needed(settings: Settings, exchanges: Sequence[ExchangeName]) -> Iterator[None]:
    """Start a simulated venue for each exchange whose configuration asks for one, where none is running."""
    missing = [name for name in exchanges if _needs_venue(settings, name)]
    if not missing:
        yield
        return
    with simulated_venues(settings.home, dict.fromkeys(missing, ())):
        yield


def _needs_venue(settings: Settings, exchange: ExchangeName) -> bool:
    configured = settings.exchanges[exchange]
    return (
        configured.endpoint is Endpoint.SIMULATED
        and configured.base_url is None
        and find_venue(settings.home, exchange) is None
    )
