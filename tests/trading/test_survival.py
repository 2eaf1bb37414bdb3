"""The judge of a survival cell: it sees what is planted, and takes nothing else for it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from trading.instruments import Side
from trading.orders import Fill, Order, OrderIntent, OrderType, State, TimeInForce
from trading.survival import Judgement, judge, verdict

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
OPENING = {"JPY": Decimal(1000), "BTC": Decimal(1)}


def order(state: State = State.FILLED, venue_id: str | None = "1", name: str = "a" * 32) -> Order:
    intent = OrderIntent(
        client_order_id=name,
        venue="bitbank",
        symbol="BTC/JPY",
        side=Side.BUY,
        type=OrderType.LIMIT,
        quantity=Decimal(1),
        price=Decimal(100),
        time_in_force=TimeInForce.GOOD_TILL_CANCELLED,
        decision_price=Decimal(100),
        decided_at=NOON,
        reason="a test",
    )
    filled = Decimal(1) if state is State.FILLED else Decimal(0)
    return Order(intent, "bitbank", state, venue_id, filled, NOON, NOON)


def fill(number: str = "f1", venue_id: str = "1") -> Fill:
    return Fill(number, venue_id, "BTC/JPY", Side.BUY, Decimal(100), Decimal(1), Decimal(100), Decimal(0), "JPY", NOON)


def told_order(number: str = "1", status: str = "filled", **more: Any) -> dict[str, Any]:
    filled = "1" if status == "filled" else "0"
    row = {"id": number, "client_id": "", "symbol": "BTC/JPY", "side": "buy", "type": "limit", "price": "100"}
    return row | {"quantity": "1", "filled": filled, "status": status, "by_hand": False} | more


def told_fill(number: str = "f1", order_id: str = "1") -> dict[str, Any]:
    return {"id": number, "order_id": order_id, "price": "100", "quantity": "1", "fee": "0", "fee_currency": "JPY"}


def truth(*orders: dict[str, Any], fills: int = 1, deposits: Any = (), jpy: str = "900") -> dict[str, Any]:
    return {
        "orders": list(orders),
        "fills": [told_fill(f"f{number}", str(number)) for number in range(1, fills + 1)],
        "balances": {
            "JPY": {"free": jpy, "locked": "0"},
            "BTC": {"free": str(1 + fills), "locked": "0"},
        },
        "collateral": {},
        "deposits": list(deposits),
    }


def test_books_that_agree_are_clean() -> None:
    assert judge([order()], [fill()], OPENING, truth(told_order())) == Judgement(0, 0, 0)


def test_a_planted_duplicate_is_seen() -> None:
    found = judge([order()], [fill()], OPENING, truth(told_order(), told_order("2"), fills=2, jpy="800"))
    assert found.duplicates == 1
    assert found.lost == 1
    assert not verdict(found, halted="").passed


def test_a_planted_lost_order_is_seen_and_its_fill_is_not_counted_again() -> None:
    found = judge([], [], OPENING, truth(told_order()))
    assert (found.duplicates, found.lost) == (0, 1)
    assert "1 lost from sight" in verdict(found, halted="").note


def test_a_lost_fill_of_a_known_order_is_lost() -> None:
    assert judge([order()], [], OPENING, truth(told_order())).lost == 1


def test_an_order_that_still_rests_is_lost_even_when_the_ledger_knows_it() -> None:
    found = judge([order(State.OPEN)], [], OPENING, truth(told_order(status="open"), fills=0, jpy="1000"))
    assert found.lost == 1


def test_an_order_by_hand_and_a_deposit_are_not_ours() -> None:
    document = truth(
        told_order(),
        told_order("9", "open", by_hand=True),
        deposits=[{"currency": "JPY", "change": "-50"}],
        jpy="850",
    )
    assert judge([order()], [fill()], OPENING, document) == Judgement(0, 0, 0)


def test_a_payment_that_the_venue_does_not_tell_of_is_a_difference() -> None:
    found = judge([order()], [fill()], OPENING, truth(told_order(), jpy="850"))
    assert found.differences == ("balance JPY: expected 900, found 850",)


def test_an_order_of_unknown_outcome_that_is_there_once_is_unresolved_and_neither_lost_nor_double() -> None:
    document = truth(told_order(status="cancelled"), fills=0, jpy="1000")
    assert judge([order(State.UNKNOWN, None)], [], OPENING, document) == Judgement(0, 0, 1)


def test_an_order_of_unknown_outcome_that_is_there_twice_is_double() -> None:
    document = truth(told_order(status="cancelled"), told_order("2", "cancelled"), fills=0, jpy="1000")
    found = judge([order(State.UNKNOWN, None), order(State.CANCELLED, "7", "b" * 32)], [], OPENING, document)
    assert found.duplicates == 1


def test_an_order_that_ended_by_its_time_is_not_one_that_was_cancelled() -> None:
    document = truth(told_order(status="expired"), fills=0, jpy="1000")
    assert judge([order(State.EXPIRED)], [], OPENING, document) == Judgement(0, 0, 0)
    assert judge([order(State.CANCELLED)], [], OPENING, document).differences


@pytest.mark.parametrize(
    ("found", "more", "against"),
    [
        (Judgement(0, 0, 1), {"halted": ""}, "unknown outcome"),
        (Judgement(0, 0, 0), {"halted": "", "must_halt": True}, "must look"),
        (Judgement(0, 0, 0), {"halted": "", "went_on": False}, "no reason told"),
        (Judgement(0, 0, 0), {"halted": "", "problems": ("it hangs",)}, "it hangs"),
        (Judgement(0, 0, 0, ("balance JPY",)), {"halted": "books"}, "balance JPY"),
        (Judgement(1, 0, 0), {"halted": "books"}, "1 duplicate"),
    ],
)
def test_what_speaks_against_a_cell_is_told(found: Judgement, more: Any, against: str) -> None:
    told = verdict(found, **more)
    assert not told.passed
    assert against in told.note


def test_a_halt_with_its_reason_excuses_what_is_unresolved_and_that_nothing_is_traded() -> None:
    assert verdict(Judgement(0, 0, 1), halted="unproved_order", must_halt=True, went_on=False).passed
