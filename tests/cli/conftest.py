"""Homes, commands and venues for the tests of the command line."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from config.settings import ExchangeName
from services.simulated import RunningVenue, simulated_venues
from tests.cli.command import Command

Venues = Callable[..., dict[ExchangeName, RunningVenue]]


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    """Commands under a home that does not exist yet."""
    made = Command(tmp_path / "home")
    yield made
    made.end_all()


@pytest.fixture
def venues(command: Command) -> Iterator[Venues]:
    """Starts simulated venues that the commands find under their home; on stepped clocks unless it is said."""
    with ExitStack() as stack:

        def start(*names: ExchangeName, clock: str = "stepped") -> dict[ExchangeName, RunningVenue]:
            return stack.enter_context(simulated_venues(command.home, dict.fromkeys(names, ("--clock", clock))))

        yield start
