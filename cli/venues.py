"""Simulated venues for the commands: one in the foreground, or one beside a command that needs it."""

import asyncio
import contextlib
import dataclasses
import json
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from cli.settings import logged, no_trace_of_refusal
from config.loader import load_settings
from config.settings import Endpoint, ExchangeName, Settings
from services.children import ending_signals
from services.simulated import find_venue, simulated_venues


def run_venue(
    exchange: ExchangeName,
    *,
    port: int,
    candles: Path | None,
    seed: int,
    limits: str,
    clock: str,
    faults: Sequence[str] = (),
) -> int:
    """Run one simulated venue until Ctrl+C; the first line on stdout tells programs where it is."""
    settings = load_settings()
    arguments = ["--port", str(port), "--seed", str(seed), "--limits", limits, "--clock", clock]
    if candles is not None:
        arguments += ["--candles", str(candles)]
    for fault in faults:
        arguments.append(f"--fault={fault}")
    ended = threading.Event()
    for each in ending_signals():
        signal.signal(each, lambda *_: ended.set())
    with contextlib.ExitStack() as stack:
        with no_trace_of_refusal(settings.home):
            logged(settings)
            venues = stack.enter_context(simulated_venues(settings.home, {exchange: arguments}))
        told = dataclasses.asdict(venues[exchange].address)
        for ours in ("pid", "requests_per_minute"):
            told.pop(ours)
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        while not ended.wait(0.2):
            if venues[exchange].has_ended:
                return 1
    return 0


@contextlib.contextmanager
def venues_ready(
    settings: Settings,
    exchanges: Sequence[ExchangeName],
    *,
    trading: bool = False,
    requests_per_minute: int | None = None,
) -> Iterator[None]:
    """Have every exchange ready for the length of the block: what cannot work is refused first, then simulated venues
    start where needed.

    `requests_per_minute`: what clients may ask at least of the venues that start here. Raises ConfigurationError, with
    nothing left behind. Imports what the exchanges need.
    """
    from tasks.session import examine_start, examine_strategy

    with contextlib.ExitStack() as stack:
        with no_trace_of_refusal(settings.home):
            if trading:
                examine_strategy(settings)
            logged(settings)
            running = [name for name in exchanges if not _needs_venue(settings, name)]
            asyncio.run(examine_start(settings, running))
            stack.enter_context(_venues_if_needed(settings, exchanges, requests_per_minute))
            asyncio.run(examine_start(settings, [name for name in exchanges if name not in running]))
        yield


@contextlib.contextmanager
def _venues_if_needed(
    settings: Settings, exchanges: Sequence[ExchangeName], requests_per_minute: int | None
) -> Iterator[None]:
    """Start a simulated venue for each exchange whose configuration asks for one, where none is running."""
    missing = [name for name in exchanges if _needs_venue(settings, name)]
    if not missing:
        yield
        return
    with simulated_venues(settings.home, dict.fromkeys(missing, ()), requests_per_minute=requests_per_minute):
        yield


def _needs_venue(settings: Settings, exchange: ExchangeName) -> bool:
    configured = settings.exchanges[exchange]
    return (
        configured.endpoint is Endpoint.SIMULATED
        and configured.base_url is None
        and find_venue(settings.home, exchange) is None
    )
