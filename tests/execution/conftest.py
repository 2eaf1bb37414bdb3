"""A desk of real parts (ledger on SQLite, state table, books) at a scripted venue."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from config.settings import ExecutionSettings
from execution.desk import Desk
from execution.place import place
from execution.reconcile import Reconciliation, reconcile
from services.ledger import Ledger
from tests.certificates import certify
from tests.execution.venue import BEGIN, PERPETUAL, SPOT, ScriptedVenue, SteppedClock, an_intent
from trading.orders import Order
from trading.risk import Approved

SETTINGS = ExecutionSettings()


@dataclass
class Workplace:
    """One account at the scripted venue, and what a trader does at it."""

    home: Path
    clock: SteppedClock
    venue: ScriptedVenue
    desk: Desk

    @property
    def ledger(self) -> Ledger:
        return self.desk.ledger

    async def reconcile(self, symbol: str = SPOT) -> Reconciliation:
        return await reconcile(self.desk, symbol)

    async def place(self, name: str = "one", **wanted: object) -> Order:
        known = frozenset(told.venue_order_id for told in self.venue.resting())
        intent = an_intent(name, venue=self.venue.name, **wanted)  # type: ignore[arg-type]
        return await place(self.desk, Approved(intent, "minimal"), cycle_id=name, known_ids=known)

    def restart(self) -> None:
        """A new process: the ledger opened anew, the lease taken anew, nothing remembered."""
        self.desk.ledger.close()
        self.desk = a_desk(self.home, self.venue, self.clock)


def a_desk(home: Path, venue: ScriptedVenue, clock: SteppedClock) -> Desk:
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    lease = ledger.take_lease(venue.name, "test", BEGIN, 3600)
    for symbol in (SPOT, PERPETUAL):
        if ledger.rung(venue.name, symbol) is None:
            certify(ledger, venue.name, symbol, BEGIN)
    return Desk(venue.name, venue, ledger, clock, lease, SETTINGS, home=home)


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Callable[..., Workplace]]:
    made: list[Workplace] = []

    def make(**about_the_venue: object) -> Workplace:
        clock = SteppedClock()
        venue = ScriptedVenue(clock, **about_the_venue)  # type: ignore[arg-type]
        home = tmp_path / str(len(made))
        home.mkdir()
        made.append(Workplace(home, clock, venue, a_desk(home, venue, clock)))
        return made[-1]

    yield make
    for one in made:
        one.desk.ledger.close()


@pytest.fixture
def work(workplace: Callable[..., Workplace]) -> Workplace:
    return workplace()
