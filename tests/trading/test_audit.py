from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.examples import D, a_fill, an_intent, an_order
from trading.audit import AuditReport, Truth, TruthFill, TruthOrder, audit, read_truth
from trading.instruments import Side
from trading.orders import Fill, Order, State

BALANCES = {"JPY": D(900_000), "BTC": D("0.11")}


def books(count: int) -> tuple[list[Order], list[Fill], list[TruthOrder], list[TruthFill]]:
    """Ledger and truth that agree: every other order has two fills, the rest were cancelled untouched."""
    orders, fills, truth_orders, truth_fills = [], [], [], []
    for number in range(count):
        done = number % 2 == 0
        state, filled = (State.FILLED, D("0.01")) if done else (State.CANCELLED, D(0))
        intent = an_intent(client_order_id=f"{number:032x}", price=D(10_000_000 + number))
        venue_id = f"v{number}"
        orders.append(an_order(state, str(filled), intent=intent, venue_order_id=venue_id))
        truth_orders.append(
            TruthOrder(venue_id, f"{number:032x}", "BTC/JPY", Side.BUY, intent.quantity, intent.price, filled, state)
        )
        for part in range(2 if done else 0):
            fill = a_fill(id=f"f{number}{part}", venue_order_id=venue_id, quantity="0.005", fee="6")
            fills.append(fill)
            truth_fills.append(TruthFill(fill.id, venue_id, fill.price, fill.quantity, fill.fee, "JPY"))
    return orders, fills, truth_orders, truth_fills


def audited(
    orders: list[Order],
    fills: list[Fill],
    truth_orders: list[TruthOrder],
    truth_fills: list[TruthFill],
    balances: dict[str, Decimal] | None = None,
) -> AuditReport:
    return audit(orders, fills, BALANCES, truth_orders, truth_fills, balances or BALANCES)


def test_books_that_agree_are_clean():
    report = audited(*books(6))
    assert report.is_clean
    assert (report.orders, report.fills, report.duplicates, report.unresolved) == (6, 6, 0, 0)


def at(rows: list[Any], index: int, **changes: Any) -> None:
    rows[index % len(rows)] = replace(rows[index % len(rows)], **changes)


SEEDED: dict[str, Callable[[Any, Any, Any, Any, int], object]] = {
    "an order lost from the ledger": lambda o, f, to, tf, i: o.pop(i % len(o)),
    "an order lost at the venue": lambda o, f, to, tf, i: to.pop(i % len(to)),
    "an order twice in the ledger": lambda o, f, to, tf, i: o.append(o[i % len(o)]),
    "an order twice at the venue": lambda o, f, to, tf, i: to.append(to[i % len(to)]),
    "a resent order": lambda o, f, to, tf, i: to.append(replace(to[i % len(to)], id="again")),
    "another state": lambda o, f, to, tf, i: at(to, i, status=State.EXPIRED),
    "another filled quantity": lambda o, f, to, tf, i: at(to, i, filled=D("0.003")),
    "another quantity": lambda o, f, to, tf, i: at(to, i, quantity=D("0.02")),
    "another price": lambda o, f, to, tf, i: at(to, i, price=D(1)),
    "another side": lambda o, f, to, tf, i: at(to, i, side=Side.SELL),
    "another symbol": lambda o, f, to, tf, i: at(to, i, symbol="ETH/JPY"),
    "another client id": lambda o, f, to, tf, i: at(to, i, client_id="x"),
    "a fill lost from the ledger": lambda o, f, to, tf, i: f.pop(i % len(f)),
    "a fill lost at the venue": lambda o, f, to, tf, i: tf.pop(i % len(tf)),
    "a fill twice in the ledger": lambda o, f, to, tf, i: f.append(f[i % len(f)]),
    "a fill twice at the venue": lambda o, f, to, tf, i: tf.append(tf[i % len(tf)]),
    "a fill of another order": lambda o, f, to, tf, i: at(tf, i, order_id="elsewhere"),
    "another fill price": lambda o, f, to, tf, i: at(tf, i, price=D(1)),
    "another fill quantity": lambda o, f, to, tf, i: at(tf, i, quantity=D("0.001")),
    "another fee": lambda o, f, to, tf, i: at(tf, i, fee=D(-6)),
    "another fee currency": lambda o, f, to, tf, i: at(tf, i, fee_currency="BTC"),
}


@pytest.mark.parametrize("seed", SEEDED)
@given(count=st.integers(1, 8), index=st.integers(0, 20))
def test_every_single_seeded_difference_is_found(seed: str, count: int, index: int):
    rows = books(count)
    SEEDED[seed](*rows, index)
    report = audited(*rows)
    assert not report.is_clean
    assert report.differences


@given(st.sampled_from(["JPY", "BTC"]), st.integers(-100, 100).filter(bool))
def test_a_balance_that_is_off_by_the_smallest_unit_is_found(asset: str, off: int):
    balances = {**BALANCES, asset: BALANCES[asset] + D(off).scaleb(-8)}
    (difference,) = audited(*books(2), balances).differences
    assert (difference.kind, difference.subject) == ("balance", asset)


def test_an_order_resent_under_the_same_client_id_is_a_duplicate():
    orders, fills, truth_orders, truth_fills = books(2)
    truth_orders.append(replace(truth_orders[0], id="again"))
    assert audited(orders, fills, truth_orders, truth_fills).duplicates == 1


def test_an_unknown_order_that_is_like_one_of_ours_is_a_duplicate_where_there_are_no_client_ids():
    orders, fills, truth_orders, truth_fills = books(2)
    truth_orders = [replace(order, client_id="") for order in truth_orders]
    assert audited(orders, fills, truth_orders, truth_fills).is_clean
    truth_orders.append(replace(truth_orders[0], id="again"))
    assert audited(orders, fills, truth_orders, truth_fills).duplicates == 1
    truth_orders[-1] = replace(truth_orders[-1], quantity=D(7))
    report = audited(orders, fills, truth_orders, truth_fills)
    assert (report.duplicates, [each.kind for each in report.differences]) == (0, ["order_foreign"])


@pytest.mark.parametrize("state", [State.INTENDED, State.SENT, State.UNKNOWN, State.CANCEL_SENT])
def test_an_order_whose_outcome_we_do_not_know_is_unresolved(state: State):
    orders, fills, truth_orders, truth_fills = books(2)
    orders[1] = replace(orders[1], state=state)
    assert audited(orders, fills, truth_orders, truth_fills).unresolved == 1


def test_an_order_that_never_came_to_be_is_missed_by_nobody():
    orders, fills, truth_orders, truth_fills = books(2)
    never = an_order(State.REJECTED, "0", venue_order_id=None, intent=an_intent(client_order_id="f" * 32))
    orders.append(never)
    assert audited(orders, fills, truth_orders, truth_fills).is_clean
    refused = TruthOrder("r", "", "BTC/JPY", Side.BUY, D("0.01"), never.intent.price, D(0), State.REJECTED)
    truth_orders.append(refused)
    assert audited(orders, fills, truth_orders, truth_fills).is_clean
    truth_orders.append(replace(refused, id="s", quantity=D(1)))
    assert not audited(orders, fills, truth_orders, truth_fills).is_clean


def test_each_refusal_of_the_venue_needs_a_rejected_order_of_its_own():
    orders, fills, truth_orders, truth_fills = books(2)
    never = an_order(State.REJECTED, "0", venue_order_id=None, intent=an_intent(client_order_id="f" * 32))
    refused = TruthOrder("r", "", "BTC/JPY", Side.BUY, D("0.01"), never.intent.price, D(0), State.REJECTED)
    truth_orders += [refused, replace(refused, id="again")]
    assert audited([*orders, never], fills, truth_orders, truth_fills).duplicates == 2
    other = replace(never, intent=an_intent(client_order_id="e" * 32))
    assert audited([*orders, never, other], fills, truth_orders, truth_fills).is_clean


@pytest.mark.parametrize("status", [State.CANCELLED, State.EXPIRED])
def test_an_order_that_was_killed_at_once_behind_a_lost_answer_is_the_one_held_as_rejected(status: State):
    orders, fills, truth_orders, truth_fills = books(2)
    never = an_order(State.REJECTED, "0", venue_order_id=None, intent=an_intent(client_order_id="f" * 32))
    killed = TruthOrder("k", "", "BTC/JPY", Side.BUY, D("0.01"), never.intent.price, D(0), status)
    assert audited([*orders, never], fills, [*truth_orders, killed], truth_fills).is_clean

    def is_clean(*, ours: list[Order], theirs: list[TruthOrder]) -> bool:
        return audited([*orders, *ours], fills, [*truth_orders, *theirs], truth_fills).is_clean

    assert not is_clean(ours=[], theirs=[killed])
    assert not is_clean(ours=[never], theirs=[killed, replace(killed, id="again")])
    assert not is_clean(ours=[never], theirs=[replace(killed, status=State.OPEN)])
    assert not is_clean(ours=[never], theirs=[replace(killed, filled=D("0.001"))])
    assert not is_clean(ours=[never], theirs=[replace(killed, client_id="x")])
    assert not is_clean(ours=[never], theirs=[replace(killed, price=D(1))])
    # Two that it could be, or an order that it could be the second copy of: nobody can know.
    other = replace(never, intent=an_intent(client_order_id="e" * 32))
    assert not is_clean(ours=[never, other], theirs=[killed])
    ended = replace(other, state=status, venue_order_id="c")
    its_own = replace(killed, id="c")
    assert is_clean(ours=[ended], theirs=[its_own])
    assert not is_clean(ours=[never, ended], theirs=[its_own, killed])


def test_a_venues_own_books_are_read_from_its_control_side():
    document = {
        "orders": [
            {
                "id": "JRF1",
                "client_id": None,
                "symbol": "BTC/JPY",
                "side": "buy",
                "type": "market",
                "price": None,
                "quantity": "0.01",
                "filled": "0.01",
                "status": "filled",
                "created_at": 1,
            }
        ],
        "fills": [
            {
                "id": 7,
                "order_id": "JRF1",
                "price": "10000000",
                "quantity": "0.01",
                "fee": "-0.00001",
                "fee_currency": "BTC",
                "at": 1,
            }
        ],
        "balances": {"BTC": {"free": "0.1", "locked": "0.02"}},
        "collateral": {"JPY": "1000000"},
    }
    assert read_truth(document) == Truth(
        orders=(TruthOrder("JRF1", "", "BTC/JPY", Side.BUY, D("0.01"), None, D("0.01"), State.FILLED),),
        fills=(TruthFill("7", "JRF1", D(10_000_000), D("0.01"), D("-0.00001"), "BTC"),),
        balances={"BTC": D("0.12")},
        collateral={"JPY": D(1_000_000)},
    )
    with pytest.raises(KeyError):
        read_truth({"orders": [], "fills": []})
