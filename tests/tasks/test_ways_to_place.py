"""Every way in which this program can place an order, and that none leads past certificate and risk rules."""

import ast
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from execution.reconcile import Reconciliation
from tasks.carry_out import carry_out, reconcile_account
from tasks.decide import Decision, decide
from tasks.market import MarketView
from tests.tasks.test_money_in_a_cycle import NAME, Room, room, rooms
from trading.market import VenueStatus
from trading.risk import RULES, Refused

__all__ = ["room", "rooms"]

ROOT = Path(__file__).parents[2]
ROOMS = ("cli", "exchanges", "execution", "flows", "services", "strategies", "tasks", "trading")
# Who calls what leads to the wire. Whoever adds one here shows below that it asks the certificate.
PATHS = {
    # the doorways: a cycle, and the minimal-order check
    "place": {"tasks/carry_out.py carry_out", "tasks/minimal_order.py _send"},
    # certificate and lease, in the transaction that writes; the stop's own is reduce-only, an adopted one rests already
    "write_intent": {
        "execution/place.py _in_turn",
        "execution/place.py write_intent",
        "execution/flatten.py _written_down",
        "execution/orphans.py adopt",
    },
    "send_once": {"execution/place.py _in_turn", "execution/flatten.py _close"},
    # the request itself: of what is written down, and of an emergency stop whose ledger does not answer
    "exchange.place": {"execution/place.py send_once", "execution/flatten.py _close"},
}


def _callers() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {name: set() for name in PATHS}
    for path in sorted(path for part in ROOMS for path in (ROOT / part).rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                called = ast.unparse(call.func)
                name = "exchange.place" if called.endswith(".place") else called.rpartition(".")[2]
                if name in found:
                    found[name].add(f"{path.relative_to(ROOT)} {function.name}")
    return found


def test_no_other_line_places_an_order_than_those_that_are_known() -> None:
    assert _callers() == PATHS


Trouble = Callable[[Room, Reconciliation, MarketView], tuple[Reconciliation, MarketView]]


def _expired(here: Room, books: Reconciliation, market: MarketView) -> tuple[Reconciliation, MarketView]:
    here.certify("ramp_100", days=0)
    return books, market


def _changed(here: Room, books: Reconciliation, market: MarketView) -> tuple[Reconciliation, MarketView]:
    here.here.key_id = "another key"
    return books, market


def _halted(here: Room, books: Reconciliation, market: MarketView) -> tuple[Reconciliation, MarketView]:
    return books, replace(market, status=VenueStatus(False, "HALT"))


def _off(here: Room, books: Reconciliation, market: MarketView) -> tuple[Reconciliation, MarketView]:
    return books, replace(market, clock_skew_seconds=-7.5)


def _no_book(here: Room, books: Reconciliation, market: MarketView) -> tuple[Reconciliation, MarketView]:
    assert market.book is not None
    return books, replace(market, book=replace(market.book, at=market.book.at - timedelta(hours=1)))


def _stopped(here: Room, books: Reconciliation, market: MarketView) -> tuple[Reconciliation, MarketView]:
    here.ledger.latch(NAME, "a drill", "ann", here.clock.now())
    return books, market


@pytest.mark.parametrize(
    ("trouble", "rule"),
    [
        (_expired, "certificate"),
        (_changed, "certificate"),
        (_halted, "venue_state"),
        (_off, "clock_skew"),
        (_no_book, "data_age"),
        (_stopped, "kill_switch"),
    ],
    ids=lambda value: getattr(value, "__name__", value).strip("_"),
)
async def test_a_cycle_that_may_not_place_sends_nothing_and_says_rule_limit_and_what_was_seen(
    room: Room, trouble: Trouble, rule: str
) -> None:
    room.certify("ramp_100")
    room.wanted = Decimal(1)
    books, market = trouble(room, await reconcile_account.fn(NAME), await room.market())
    decision = await decide.fn(NAME, "c1", books, market)
    outcome = await carry_out.fn(NAME, "c1", decision, books)
    refused = decision.verdict
    assert isinstance(refused, Refused) and refused.rule == rule
    assert refused.limit and refused.observed
    assert outcome.order is None and str(refused) in outcome.note
    assert not room.venue.booked and not room.ledger.orders(NAME)


@pytest.mark.parametrize("rule", [each.__name__ for each in RULES])
async def test_what_any_rule_refuses_is_not_placed(room: Room, rule: str) -> None:
    room.certify("ramp_100")
    books = await reconcile_account.fn(NAME)
    refused = Refused(rule, "the limit", "what was seen")
    outcome = await carry_out.fn(NAME, "c1", Decision(None, refused, "a test"), books)
    assert outcome.order is None and all(word in outcome.note for word in (rule, "the limit", "what was seen"))
    assert not room.venue.booked and not room.ledger.orders(NAME)


async def test_an_account_without_a_rung_places_nothing(room: Room) -> None:
    room.wanted = Decimal(1)
    books = await reconcile_account.fn(NAME)
    decision = await decide.fn(NAME, "c1", books, await room.market())
    assert (await carry_out.fn(NAME, "c1", decision, books)).order is None
    assert decision.reason == f"not on the ladder yet: run `crypto-bot check {NAME} --orders` first"
    assert not room.venue.booked
