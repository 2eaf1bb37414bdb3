"""A cycle asks the ledger for the same work after months of trading as on the first day."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from tasks import session as sessions
from tasks.books import close_books
from tasks.carry_out import carry_out, reconcile_account
from tasks.decide import decide
from tasks.ladder import rung_is_due
from tests.execution.venue import BEGIN, SPOT
from tests.services.history import History, Steps, write_history
from tests.tasks.test_money_in_a_cycle import NAME, Room

FEW, MANY = 60, 600


@pytest.fixture
def steps() -> Iterator[Steps]:
    counted = Steps()
    counted.watch()
    yield counted
    counted.unwatch()


async def _cycle(room: Room, number: int) -> None:
    """One whole cycle: at even numbers it wants to hold something, at odd ones nothing."""
    await room.clock.sleep(60)
    room.wanted = Decimal("0.3") if number % 2 == 0 else Decimal(0)
    room.venue.placing.append("fill")
    name, began = f"c{number}", room.clock.now()
    books = await reconcile_account.fn(NAME)
    assert books.is_clean, books
    market = await room.market()
    decision = await decide.fn(NAME, name, books, market)
    outcome = await carry_out.fn(NAME, name, decision, books)
    assert outcome.order is not None, outcome
    await close_books.fn(NAME, name, began, books, market, decision, outcome)
    rung_is_due(room.here)


async def _steps_of_a_late_cycle(home: Path, orders: int, rung: str, steps: Steps) -> int:
    history = History(BEGIN, NAME, SPOT, orders)
    write_history(f"sqlite:///{home / 'ledger.db'}", history, replace(history, account=f"{NAME}:paper"))
    room = Room(home)
    sessions._traders[NAME] = room.here
    try:
        room.certify(rung)
        for number in range(2):  # what a start reads once is read, and a first order has been bought and sold
            await _cycle(room, number)
        before = steps.taken
        for number in range(2, 4):
            await _cycle(room, number)
        return steps.taken - before
    finally:
        sessions._traders.pop(NAME)
        room.ledger.close()


@pytest.mark.parametrize("rung", ["ramp_100", "paper"])
async def test_a_cycle_costs_the_same_after_ten_times_as_long(
    tmp_path_factory: pytest.TempPathFactory, steps: Steps, rung: str
) -> None:
    few, many = [
        await _steps_of_a_late_cycle(tmp_path_factory.mktemp(f"{orders}"), orders, rung, steps)
        for orders in (FEW, MANY)
    ]
    assert many <= 1.2 * few, f"{few} steps, and {many} after ten times as long"
