from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tests.trading.examples import BITBANK, BITFLYER, CFD, NOON, D, a_fill, a_venue_order, an_intent, an_order
from trading.instruments import Side
from trading.market import Position
from trading.orders import State
from trading.reconcile import (
    compare_balances,
    compare_fills,
    compare_open_orders,
    compare_orders,
    compare_positions,
    expected_balances,
    held_quantity,
)

OPENING = {"JPY": D(1_000_000), "BTC": D("0.1")}


def kinds(discrepancies: tuple[object, ...]) -> list[str]:
    return [getattr(each, "kind") for each in discrepancies]  # noqa: B009


def test_orders_that_agree_are_no_difference():
    theirs = a_venue_order(state=State.FILLED, filled=D("0.01"))
    assert compare_orders([an_order()], [theirs]) == ()


def test_each_way_in_which_orders_differ_has_its_name():
    theirs = a_venue_order(state=State.CANCELLED, filled=D("0.004"))
    assert kinds(compare_orders([an_order()], [theirs])) == ["order_state", "order_filled"]
    assert kinds(compare_orders([an_order()], [])) == ["order_missing"]
    assert kinds(compare_orders([], [theirs])) == ["order_foreign"]
    assert compare_orders([an_order(State.REJECTED, "0", venue_order_id=None)], []) == ()


def test_an_order_at_the_venue_that_nobody_here_sent_is_an_orphan():
    (orphan,) = compare_open_orders([], [a_venue_order()])
    assert (orphan.kind, orphan.subject) == ("order_foreign", "v1")
    assert orphan.found == "buy 0.01 BTC/JPY at 9000000, open"


def test_our_own_order_is_known_by_either_id():
    by_client = a_venue_order(venue_order_id="new", client_order_id="0" * 32)
    unknown = an_order(State.UNKNOWN, "0", venue_order_id=None)
    assert compare_open_orders(iter([unknown]), [by_client]) == ()
    assert compare_open_orders([an_order(State.OPEN, "0")], [a_venue_order()]) == ()


def test_an_order_that_rests_though_we_hold_it_ended_is_a_difference():
    assert kinds(compare_open_orders([an_order(State.CANCELLED, "0")], [a_venue_order()])) == ["order_rests"]
    rejected = an_order(State.REJECTED, "0", venue_order_id=None)
    assert kinds(compare_open_orders([rejected], [a_venue_order(client_order_id="0" * 32)])) == ["order_rests"]


def test_an_open_order_that_the_list_lacks_is_no_difference_by_itself():
    assert compare_open_orders([an_order(State.OPEN, "0")], []) == ()


def test_fills_are_compared_one_by_one():
    fill = a_fill(fee="12")
    assert compare_fills([fill], [replace(fill, maker=True)]) == ()
    assert kinds(compare_fills([fill], [replace(fill, fee=D(13))])) == ["fill_differs"]
    assert kinds(compare_fills([fill], [replace(fill, id="f2")])) == ["fill_missing", "fill_foreign"]


def test_the_same_fill_id_in_two_symbols_is_two_fills():
    fill = a_fill()
    assert compare_fills([fill], [fill, replace(fill, symbol="ETH/JPY")])[0].kind == "fill_foreign"


def test_a_purchase_moves_yen_as_booked_and_base_less_the_fee():
    fill = a_fill(quantity="0.00123456", fee="0.00000186", fee_currency="BTC", quote_quantity=D(12_346))
    after = expected_balances(OPENING, [fill], {"BTC/JPY": BITFLYER})
    assert after == {"JPY": D(987_654), "BTC": D("0.1012327")}
    assert OPENING["JPY"] == D(1_000_000)


def test_a_sale_with_a_rebate_in_yen_brings_more_yen():
    after = expected_balances(OPENING, [a_fill(Side.SELL, fee="-20")], {"BTC/JPY": BITBANK})
    assert after == {"JPY": D(1_100_020), "BTC": D("0.09")}


def test_a_perpetual_moves_its_collateral_by_profit_and_fee_only():
    fills = [
        a_fill(symbol=CFD.symbol, fee="3"),
        a_fill(Side.SELL, quantity="0.03", price="10000150", symbol=CFD.symbol),
    ]
    after = expected_balances({"JPY": D(1000)}, fills, {CFD.symbol: CFD})
    # a profit of 1.5 yen is booked as 1; turning short moves nothing
    assert after == {"JPY": D(998)}


def test_a_fee_in_a_third_currency_is_taken_from_that_balance_and_from_no_other():
    fees = {"fee": "0.1", "fee_currency": "MNT"}
    spot = expected_balances({"JPY": D(200_000), "MNT": D(5)}, [a_fill(**fees)], {"BTC/JPY": BITBANK})
    assert spot == {"JPY": D(100_000), "BTC": D("0.01"), "MNT": D("4.9")}
    turned = [a_fill(symbol=CFD.symbol, **fees), a_fill(Side.SELL, price="10000150", symbol=CFD.symbol, **fees)]
    dear = replace(CFD, taker_fee_rate=D("0.001"))
    assert expected_balances({"MNT": D(5)}, turned, {CFD.symbol: dear}) == {"JPY": D(1), "MNT": D("4.8")}


def test_a_loss_on_a_perpetual_is_rounded_against_us_and_a_whole_yen_is_not():
    def after(exit_price: str) -> Decimal:
        fills = [a_fill(symbol=CFD.symbol), a_fill(Side.SELL, price=exit_price, symbol=CFD.symbol)]
        return expected_balances({}, fills, {CFD.symbol: CFD})["JPY"]

    assert after("9999850") == D(-2)
    assert after("10000500") == D(5)


def test_a_third_of_a_perpetual_is_booked_to_the_smallest_unit_and_the_rest_is_whole_again():
    linear = replace(CFD, quote_step=None)
    bought = [a_fill(quantity="0.01", price=str(price), symbol=CFD.symbol) for price in (100, 100, 101)]
    third = a_fill(Side.SELL, quantity="0.01", price="200", symbol=CFD.symbol)
    once = expected_balances({}, [*bought, third], {CFD.symbol: linear})["JPY"]
    assert once == D("0.99666667")  # 2 - 3.01 / 3
    assert expected_balances({}, [*bought, third, third, third], {CFD.symbol: linear})["JPY"] == D("2.99")


def test_balances_agree_within_their_tolerance_only():
    found = {"JPY": D(1_000_001), "BTC": D("0.1")}
    (difference,) = compare_balances(OPENING, found)
    assert str(difference) == "balance JPY: expected 1000000, found 1000001"
    assert compare_balances(OPENING, found, {"JPY": D(1)}) == ()
    assert kinds(compare_balances({}, {"XRP": D(1)})) == ["balance"]
    assert kinds(compare_balances({"XRP": D(1)}, {})) == ["balance"]
    assert compare_balances({"XRP": D(0)}, {}) == ()


def test_what_is_held_comes_from_the_fills_less_the_fees_in_base():
    fills = [a_fill(fee="0.00001", fee_currency="BTC"), a_fill(Side.SELL, quantity="0.004", fee="6")]
    assert held_quantity(fills, BITFLYER) == D("0.00599")


def test_a_position_that_was_closed_by_hand_is_seen():
    at_venue = Position(CFD.symbol, Side.SELL, D("0.01"), D(10_000_000))
    assert compare_positions(CFD.symbol, D("-0.01"), [at_venue]) == ()
    assert kinds(compare_positions(CFD.symbol, D("-0.01"), [])) == ["position"]
    assert kinds(compare_positions(CFD.symbol, D("0.01"), [at_venue])) == ["position"]


@given(st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 100), st.integers(1, 9)), max_size=20))
def test_expected_balances_move_base_exactly_as_the_held_quantity(trades: list[tuple[Side, int, int]]):
    fills = [a_fill(side, D(lots) / 1000, fee=D(fee) / 10**6, fee_currency="BTC") for side, lots, fee in trades]
    after = expected_balances(OPENING, fills, {"BTC/JPY": BITFLYER})
    assert after["BTC"] - OPENING["BTC"] == held_quantity(fills, BITFLYER)


def test_times_of_orders_play_no_part():
    later = a_venue_order(state=State.FILLED, filled=D("0.01"), created_at=NOON.replace(year=2030))
    assert compare_orders([an_order(intent=an_intent(reason="another"))], [later]) == ()
