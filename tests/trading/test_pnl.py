from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.examples import BITBANK, BITFLYER, BYBIT, CFD, LINEAR, NOON, D, a_fill
from trading.instruments import Instrument, Kind, Side
from trading.orders import Fill
from trading.pnl import EquityPoint, Inventory, book, daily_loss, drawdown, equity, inventory_of
from trading.reconcile import held_quantity


def test_buying_twice_averages_the_price():
    held = inventory_of([a_fill(price="10000000"), a_fill(price="11000000")], BITBANK)
    assert (held.quantity, held.average_price, held.realised) == (D("0.02"), D(10_500_000), 0)


def test_selling_realises_against_the_average():
    fills = [a_fill(price="10000000"), a_fill(price="11000000"), a_fill(Side.SELL, price="12000000")]
    held = inventory_of(fills, BITBANK)
    assert (held.quantity, held.realised) == (D("0.01"), D(15_000))
    assert held.unrealised(D(12_000_000)) == D(15_000)
    assert held.profit(D(12_000_000)) == D(30_000)


def test_a_fee_in_quote_makes_the_purchase_dearer_and_the_sale_smaller():
    held = inventory_of([a_fill(fee="120"), a_fill(Side.SELL, fee="120")], BITBANK)
    assert (held.realised, held.fees, held.cost) == (D(-240), D(240), 0)


def test_a_rebate_is_a_fee_with_the_other_sign():
    assert inventory_of([a_fill(fee="-20"), a_fill(Side.SELL, fee="-20")], BITBANK).realised == D(40)


def test_a_fee_in_base_leaves_less_to_hold_at_the_same_cost():
    held = inventory_of([a_fill(fee="0.00001", fee_currency="BTC")], BYBIT)
    assert (held.quantity, held.cost, held.fees) == (D("0.00999"), D(100_000), D(100))


def test_a_fee_in_base_on_a_sale_takes_more_than_was_sold():
    fills = [a_fill(quantity="0.02"), a_fill(Side.SELL, fee="0.00001", fee_currency="BTC")]
    held = inventory_of(fills, BITFLYER)
    assert held.quantity == D("0.00999")
    assert held.realised == D(-100)


def test_the_yen_that_the_venue_booked_count_and_not_price_times_quantity():
    held = inventory_of([a_fill(quantity="0.00123456", quote_quantity=D(12_346))], BITFLYER)
    assert held.cost == D(12_346)


def test_a_perpetual_pays_its_fee_at_once_and_keeps_its_entry_price():
    held = book(Inventory(), a_fill(fee="50"), CFD)
    assert (held.average_price, held.realised) == (D(10_000_000), D(-50))


def test_a_perpetual_turns_through_zero_in_one_fill():
    fills = [a_fill(), a_fill(Side.SELL, quantity="0.03", price="11000000")]
    held = inventory_of(fills, CFD)
    assert (held.quantity, held.realised, held.average_price) == (D("-0.02"), D(10_000), D(11_000_000))
    closed = book(held, a_fill(quantity="0.02", price="10500000"), CFD)
    assert (closed.quantity, closed.cost, closed.realised) == (0, 0, D(20_000))


def test_a_short_gains_when_the_price_falls():
    held = inventory_of([a_fill(Side.SELL)], CFD)
    assert held.unrealised(D(9_000_000)) == D(10_000)


@pytest.mark.parametrize("pair", [BITBANK, replace(CFD, taker_fee_rate=D("0.001"))], ids=["spot", "perpetual"])
def test_a_fee_in_a_third_currency_counts_as_what_the_dearer_rate_would_have_charged(pair: Instrument):
    told = a_fill(fee="0.1", fee_currency="MNT")
    valued = told.price * told.quantity * pair.highest_fee_rate
    assert valued > 0
    assert book(Inventory(), told, pair) == book(Inventory(), a_fill(fee=str(valued)), pair)
    assert book(Inventory(), told, pair).quantity == told.quantity


a_trade = st.builds(
    lambda side, lots, price, fee, base: a_fill(
        side,
        D(lots) / 10_000,
        price,
        D(fee) / 100_000_000 if base else D(fee),
        "BTC" if base else "JPY",
        quote_quantity=(D(lots) / 10_000 * price).quantize(Decimal(1)),
    ),
    st.sampled_from(Side),
    st.integers(1, 1000),
    st.integers(5_000_000, 20_000_000),
    st.integers(-500, 500),
    st.booleans(),
)


@given(st.lists(a_trade, max_size=30))
def test_cash_and_inventory_are_conserved_to_the_last_digit(fills: list[Fill]):
    held = inventory_of(fills, BITFLYER)
    cash = sum((-fill.quote_quantity * fill.side.sign for fill in fills), D(0))
    cash -= sum((fill.fee for fill in fills if fill.fee_currency == "JPY"), D(0))
    assert cash + held.cost == held.realised
    assert held.quantity == held_quantity(fills, BITFLYER)
    assert held.quantity != 0 or held.cost == 0


@given(
    st.lists(a_trade.filter(lambda fill: fill.fee_currency == "JPY"), max_size=30),
    st.integers(5_000_000, 20_000_000),
)
def test_the_profit_of_a_perpetual_is_what_its_trades_made_at_any_price(fills: list[Fill], price: int):
    made = sum(((price - fill.price) * fill.quantity * fill.side.sign - fill.fee for fill in fills), D(0))
    assert inventory_of(fills, CFD).profit(D(price)) == made


@given(st.lists(a_trade, min_size=1, max_size=20), st.sampled_from([BITBANK, BITFLYER, BYBIT, LINEAR]))
def test_flat_means_that_nothing_is_at_cost(fills: list[Fill], instrument: Instrument):
    fills = [fill for fill in fills if instrument.kind is Kind.SPOT or fill.fee_currency == "JPY"]
    fills = [a_fill(f.side, f.quantity, f.price, f.fee, instrument.quote) for f in fills]
    net = held_quantity(fills, instrument)
    if net:
        fills.append(a_fill(Side.SELL if net > 0 else Side.BUY, abs(net)))
    held = inventory_of(fills, instrument)
    assert (held.quantity, held.cost) == (0, 0)


def test_equity_values_everything_in_the_quote_currency():
    assert equity({"JPY": D(1000), "BTC": D("0.1"), "XRP": D(0)}, {"BTC": D(10_000_000)}, "JPY") == D(1_001_000)
    with pytest.raises(KeyError):
        equity({"ETH": D(1)}, {}, "JPY")


def points(*values: int) -> list[EquityPoint]:
    return [EquityPoint(NOON + timedelta(hours=hour), D(value)) for hour, value in enumerate(values)]


def test_drawdown_is_the_fall_from_the_highest_equity():
    assert drawdown(points(100, 200, 150), D(160)) == D("0.2")
    assert drawdown(points(100, 200), D(201)) == 0
    assert drawdown([], D(100)) == 0
    assert drawdown(points(0), D(-5)) == 1


def test_the_daily_loss_is_counted_from_the_last_equity_of_the_day_before():
    day = points(1000, 900, 1100)
    tomorrow = NOON + timedelta(days=1)
    assert daily_loss(day, tomorrow, D(1050)) == D(50)
    assert daily_loss(day, NOON + timedelta(hours=3), D(970)) == D(30)
    assert daily_loss(day, tomorrow, D(1200)) == 0
    assert daily_loss([], tomorrow, D(1)) == 0
