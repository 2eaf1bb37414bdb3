"""An order that the bot cannot prove is a person's to answer for, by name."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from services.ledger import Ledger
from tests.cli.accounts import settings_of
from tests.cli.command import Command, one_line
from tests.execution.venue import an_intent
from trading.orders import Event, State

WHO = ("--by", "Aoki", "--reason", "seen on the order page")
NOW = datetime(2026, 1, 5, tzinfo=UTC)
INTENT = an_intent("one")
ORDER = INTENT.client_order_id


@pytest.fixture
def ledger(command: Command) -> Iterator[Ledger]:
    with contextlib.closing(Ledger(settings_of(command.home).ledger_url)) as ledger:
        lease = ledger.take_lease("bitbank", "test", NOW, 60)
        ledger.write_intent(INTENT, lease, rung="adopted", cycle_id=None, known_ids=frozenset(), now=NOW)
        ledger.record("bitbank", ORDER, Event.SENT, NOW)
        ledger.record("bitbank", ORDER, Event.NO_ANSWER, NOW)
        yield ledger


def test_a_person_says_that_an_order_never_came_to_be(command: Command, ledger: Ledger) -> None:
    assert command.run("resolve", "bitbank", ORDER[:8], "--absent", *WHO).returncode == 0
    order = ledger.order("bitbank", ORDER)
    assert order is not None and order.state is State.REJECTED
    assert order.note == "resolved by Aoki: seen on the order page"


def test_a_person_says_which_order_of_the_venue_it_is(command: Command, ledger: Ledger) -> None:
    assert command.run("resolve", "bitbank", ORDER, "--venue-order", "4711", *WHO).returncode == 0
    order = ledger.order("bitbank", ORDER)
    assert order is not None and (order.state, order.venue_order_id) == (State.OPEN, "4711")
    again = command.run("resolve", "bitbank", ORDER, "--absent", *WHO)
    assert (again.returncode, "names no single order" in one_line(again.stderr)) == (2, True)


@pytest.mark.parametrize(
    "words",
    [("nothing", "--absent", *WHO), (ORDER, *WHO), (ORDER, "--absent", "--venue-order", "1", *WHO)],
    ids=["no such order", "neither", "both"],
)
def test_what_cannot_be_meant_is_refused_and_the_order_stays_unknown(
    command: Command, ledger: Ledger, words: tuple[str, ...]
) -> None:
    done = command.run("resolve", "bitbank", *words)
    assert done.returncode == 2
    assert "resolve: " in one_line(done.stderr)
    order = ledger.order("bitbank", ORDER)
    assert order is not None and order.state is State.UNKNOWN
