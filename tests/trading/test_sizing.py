from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.examples import ALL, ASK, BID, BITBANK, BITFLYER, BYBIT, CFD, NOON, D
from trading.instruments import Instrument, Kind, Side
from trading.orders import TimeInForce
from trading.sizing import NoOrder, ProposedOrder, Target, order_for

RICH = {"JPY": D(10**9), "USDT": D(10**9), "BTC": D(100)}


def sized(fraction: str, instrument: Instrument = BITBANK, **changes: Any) -> ProposedOrder | NoOrder:
    given_facts: dict[str, Any] = {
        "held": D(0),
        "cap_quantity": D("0.05"),
        "instrument": instrument,
        "bid": BID,
        "ask": ASK,
        "free": RICH,
        "slippage_limit": D("0.003"),
        "collateral": D(10**9),
    }
    return order_for(Target(D(fraction), "because"), **{**given_facts, **changes})


def an_order(fraction: str, instrument: Instrument = BITBANK, **changes: Any) -> ProposedOrder:
    order = sized(fraction, instrument, **changes)
    assert isinstance(order, ProposedOrder), order
    return order


def no_order(fraction: str, instrument: Instrument = BITBANK, **changes: Any) -> str:
    order = sized(fraction, instrument, **changes)
    assert isinstance(order, NoOrder), order
    return order.reason


def test_the_target_is_a_fraction_of_the_certified_size():
    order = an_order("0.5")
    assert (order.side, order.quantity, order.target_quantity) == (Side.BUY, D("0.025"), D("0.025"))


def test_only_the_way_from_held_to_target_is_ordered():
    assert an_order("1", held=D("0.03")).quantity == D("0.02")
    order = an_order("0", held=D("0.03"))
    assert (order.side, order.quantity) == (Side.SELL, D("0.03"))


def test_what_still_rests_counts_as_on_its_way():
    assert an_order("1", pending=D("0.03")).quantity == D("0.02")
    assert "at the target" in no_order("1", held=D("0.02"), pending=D("0.03"))


def test_a_taker_pays_at_most_the_slippage_limit():
    assert an_order("1").price == D(10_031_003)
    assert an_order("0", held=D("0.05")).price == D(9_969_003)


def test_a_slippage_limit_finer_than_a_tick_still_reaches_the_book():
    assert an_order("1", slippage_limit=D(0)).price == ASK
    assert an_order("1", slippage_limit=D("1E-12")).price == ASK
    assert an_order("0", held=D("0.05"), slippage_limit=D("1E-12")).price == BID


def test_a_maker_joins_its_own_side_and_never_crosses():
    order = an_order("1", style="maker")
    assert (order.price, order.time_in_force) == (BID, TimeInForce.POST_ONLY)
    assert an_order("0", held=D("0.05"), style="maker").price == ASK


def test_a_taker_leaves_nothing_behind_where_the_venue_can_cancel_the_rest():
    assert an_order("1", BITFLYER).time_in_force is TimeInForce.IMMEDIATE_OR_CANCEL
    assert an_order("1", BITBANK).time_in_force is TimeInForce.GOOD_TILL_CANCELLED


def test_a_change_smaller_than_the_smallest_order_is_no_order():
    assert "below the smallest order of 0.001" in no_order("1", BITFLYER, held=D("0.0495"))


def test_without_two_sides_of_a_book_there_is_no_order():
    for bid, ask in ((None, ASK), (BID, None), (ASK, BID), (BID, BID), (D(0), ASK)):
        assert "no usable book" in no_order("1", bid=bid, ask=ask)


def test_a_buy_is_bounded_by_what_it_costs_with_its_fee():
    order = an_order("1", free={"JPY": D(100_000)})
    assert order.quantity * order.price * D("1.0012") <= 100_000
    assert order.quantity == D("0.0099")
    assert "free balance" in no_order("1", free={"JPY": D(100)})


def test_a_sell_with_its_fee_in_base_fits_into_what_is_really_held():
    held = D("0.01") * (1 - D("0.0015"))
    order = an_order("0", BITFLYER, held=held, free={"BTC": held})
    assert order.quantity * D("1.0015") <= held
    assert held - order.quantity * D("1.0015") < D("0.00000002")

    assert an_order("0", BITFLYER, held=held, free={"BTC": D(1)}).quantity == order.quantity


def test_a_buy_leaves_room_for_the_yen_that_the_venue_rounds_up():
    order = an_order("1", BITFLYER, free={"JPY": D("100000.9")})
    assert BITFLYER.booked_cost(Side.BUY, order.price, order.quantity) <= D("100000.9")


def test_the_account_may_hold_less_than_the_bot_bought():
    assert an_order("0", held=D("0.05"), free={"BTC": D("0.02")}).quantity == D("0.02")


def test_the_account_may_hold_more_than_the_bot_bought_and_keeps_it():
    assert an_order("0", held=D("0.05"), free={"BTC": D(3)}).quantity == D("0.05")


def test_dust_is_left_alone_with_the_reason():
    assert "below the smallest order" in no_order("0", BITFLYER, held=D("0.0009985"))


def test_a_purchase_that_could_not_be_sold_again_is_not_made():
    reason = no_order("1", BITFLYER, cap_quantity=D("0.001"))
    assert "could not be sold again" in reason
    assert an_order("1", BITFLYER, cap_quantity=D("0.00100301")).quantity == D("0.00100301")


def test_a_target_too_small_to_be_sold_again_means_flat():
    assert "at the target of 0" in no_order("0.01", BITFLYER)
    assert an_order("0.01", BITFLYER, held=D("0.002")).target_quantity == 0


def test_spot_never_goes_below_zero():
    assert "at the target of 0" in no_order("-1")
    assert an_order("-1", held=D("0.02")).quantity == D("0.02")


def test_a_perpetual_can_be_short():
    order = an_order("-1", CFD)
    assert (order.side, order.quantity, order.reduce_only) == (Side.SELL, D("0.05"), False)


def test_a_perpetual_turns_in_two_orders_and_the_first_only_reduces():
    order = an_order("-1", CFD, held=D("0.03"))
    assert (order.side, order.quantity, order.reduce_only) == (Side.SELL, D("0.03"), True)


def test_a_perpetual_is_never_larger_than_its_collateral():
    order = an_order("1", CFD, collateral=D(100_310))
    assert order.quantity * order.price <= 100_310
    assert "collateral" in no_order("1", CFD, collateral=None)
    grown = an_order("1", CFD, held=D("0.005"), collateral=D(100_310))
    assert (D("0.005") + grown.quantity) * grown.price <= 100_310
    assert an_order("0", CFD, held=D("0.05"), collateral=None).quantity == D("0.05")


def test_a_way_too_long_for_one_order_is_gone_in_steps():
    order = an_order("0", held=D("0.05"), max_notional=D(200_000))
    assert order.quantity * order.price <= 200_000
    assert order.quantity == D("0.02")


def test_the_venues_largest_order_is_kept():
    assert an_order("1", replace(BITBANK, max_quantity=D("0.01"))).quantity == D("0.01")


def test_a_proposed_order_becomes_an_intent_with_a_name():
    intent = an_order("1").intent(client_order_id="a" * 32, venue="bitbank", symbol="BTC/JPY", decided_at=NOON)
    assert (intent.quantity, intent.reason, intent.target_quantity) == (D("0.05"), "because", D("0.05"))


@pytest.mark.parametrize("wrong", [D("1.01"), D("-2"), D("NaN")])
def test_a_strategy_cannot_want_more_than_everything(wrong: Decimal):
    with pytest.raises(ValueError, match="between -1 and 1"):
        Target(wrong, "greed")


def test_a_strategy_cannot_answer_with_a_float():
    with pytest.raises(TypeError, match="float"):
        Target(0.5, "imprecise")  # type: ignore[arg-type]


thousandths = st.integers(0, 1000).map(lambda n: D(n) / 1000)
satoshis = st.integers(0, 20_000_000).map(lambda n: D(n) / 100_000_000)


@given(
    fraction=st.integers(-1000, 1000).map(lambda n: D(n) / 1000),
    held=satoshis,
    short=st.booleans(),
    cap=satoshis,
    instrument=st.sampled_from(ALL),
    bid=st.integers(1_000_000, 20_000_000).map(D),
    spread=st.integers(1, 5000),
    money=st.integers(0, 30_000_000).map(lambda n: D(n) / 10),
    coins=satoshis,
    style=st.sampled_from(["taker", "maker"]),
    slippage=thousandths.map(lambda part: part / 100),
)
def test_sizing_never_exceeds_cap_money_or_lot_and_is_never_below_the_minimum(
    fraction: Decimal,
    held: Decimal,
    short: bool,
    cap: Decimal,
    instrument: Instrument,
    bid: Decimal,
    spread: int,
    money: Decimal,
    coins: Decimal,
    style: Any,
    slippage: Decimal,
):
    if instrument.kind is Kind.PERPETUAL:
        held = instrument.floor_quantity(held) * (-1 if short else 1)
    order = order_for(
        Target(fraction, "any"),
        held=held,
        cap_quantity=cap,
        instrument=instrument,
        bid=bid,
        ask=bid + spread,
        free={instrument.quote: money, instrument.base: coins},
        style=style,
        slippage_limit=slippage,
        collateral=money,
    )
    if isinstance(order, NoOrder):
        return
    after = held + order.quantity * order.side.sign
    assert order.quantity % instrument.lot_size == 0
    assert order.price % instrument.tick_size == 0
    assert instrument.is_large_enough(order.quantity, order.price)
    assert abs(after) <= max(cap, abs(held))
    if order.side is Side.BUY and style == "taker":
        assert order.price <= (bid + spread) * (1 + slippage)
    if instrument.kind is Kind.PERPETUAL:
        assert order.reduce_only == (abs(after) < abs(held))
        assert order.reduce_only or abs(after) * order.price <= money
    elif order.side is Side.BUY:
        cost = instrument.booked_cost(Side.BUY, order.price, order.quantity)
        assert cost + order.quantity * order.price * instrument.quote_fee_rate(Side.BUY) <= money
    else:
        leaves = order.quantity * (1 + instrument.base_fee_rate_of_sell)
        assert leaves <= held and leaves <= coins


@given(st.sampled_from([BITBANK, BITFLYER, BYBIT]), st.integers(20_000, 20_000_000).map(D))
def test_the_round_trip_size_can_be_bought_and_sold_again(instrument: Instrument, price: Decimal):
    cap = instrument.round_trip_quantity(price)
    bought = order_for(
        Target(D(1), "in"),
        held=D(0),
        cap_quantity=cap,
        instrument=instrument,
        bid=price,
        ask=price + 1,
        free=RICH,
    )
    assert isinstance(bought, ProposedOrder)
    held = bought.quantity * (1 - instrument.base_fee_rate_of_buy)
    lower = price * D("0.81")
    sold = order_for(
        Target(D(0), "out"),
        held=held,
        cap_quantity=cap,
        instrument=instrument,
        bid=instrument.passive_price(Side.BUY, lower),
        ask=price,
        free={instrument.base: held},
    )
    assert isinstance(sold, ProposedOrder), sold
