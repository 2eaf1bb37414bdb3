"""A home with simulated venues, on which flows and tasks run in this process as a worker's child would run them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from config.loader import DEMO_FILE
from config.settings import ExchangeName
from services.simulated import RunningVenue, simulated_venues

Market = Callable[..., RunningVenue]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home that the environment names, with the demo's thresholds."""
    monkeypatch.setenv("CRYPTO_BOT_HOME", str(tmp_path))
    monkeypatch.setenv("CRYPTO_BOT_CONFIG", str(DEMO_FILE))
    return tmp_path


@pytest.fixture
def market(home: Path) -> Iterator[Market]:
    """Starts one simulated venue, on a stepped clock unless it is said."""
    with ExitStack() as stack:

        def start(name: ExchangeName, clock: str = "stepped") -> RunningVenue:
            return stack.enter_context(simulated_venues(home, {name: ("--clock", clock)}))[name]

        yield start
