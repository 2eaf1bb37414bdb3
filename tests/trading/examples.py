"""Plain values that the tests of the decisions are written with: four instruments, an order, a fill."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from trading.instruments import FeeIn, Instrument, Kind, Side
from trading.market import Level, OrderBook
from trading.orders import (
    Fill,
    Order,
    OrderIntent,
    OrderType,
    State,
    TimeInForce,
    VenueOrder,
)
from trading.risk_facts import RiskFacts, RiskLimits, RungCap

D = Decimal
NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)

BITBANK = Instrument(
    venue="bitbank",
    symbol="BTC/JPY",
    base="BTC",
    quote="JPY",
    kind=Kind.SPOT,
    tick_size=D(1),
    lot_size=D("0.0001"),
    min_quantity=D("0.0001"),
    min_notional=None,
    max_quantity=D(1000),
    maker_fee_rate=D("-0.0002"),
    taker_fee_rate=D("0.0012"),
    fee_in=FeeIn.QUOTE,
    immediate_or_cancel=False,
)
BITFLYER = replace(
    BITBANK,
    venue="bitflyer",
    lot_size=D("0.00000001"),
    min_quantity=D("0.001"),
    max_quantity=None,
    maker_fee_rate=D("0.0015"),
    taker_fee_rate=D("0.0015"),
    fee_in=FeeIn.BASE,
    quote_step=D(1),
    post_only=False,
    immediate_or_cancel=True,
)
BYBIT = replace(
    BITBANK,
    venue="bybit",
    symbol="BTC/USDT",
    quote="USDT",
    tick_size=D("0.1"),
    lot_size=D("0.000001"),
    min_quantity=D("0.000011"),
    min_notional=D(5),
    max_quantity=D(83),
    maker_fee_rate=D("0.001"),
    taker_fee_rate=D("0.001"),
    fee_in=FeeIn.RECEIVED,
    immediate_or_cancel=True,
)
CFD = replace(
    BITFLYER,
    symbol="BTC/JPY:JPY",
    kind=Kind.PERPETUAL,
    maker_fee_rate=D(0),
    taker_fee_rate=D(0),
    fee_in=FeeIn.QUOTE,
)
LINEAR = replace(
    BYBIT,
    symbol="BTC/USDT:USDT",
    kind=Kind.PERPETUAL,
    lot_size=D("0.001"),
    min_quantity=D("0.001"),
    maker_fee_rate=D("0.0002"),
    taker_fee_rate=D("0.00055"),
    fee_in=FeeIn.QUOTE,
)
ALL = (BITBANK, BITFLYER, BYBIT, CFD, LINEAR)

BID, ASK = D(9_999_000), D(10_001_000)


def an_intent(**changes: Any) -> OrderIntent:
    intent = OrderIntent(
        client_order_id="0" * 32,
        venue="bitbank",
        symbol="BTC/JPY",
        side=Side.BUY,
        type=OrderType.LIMIT,
        quantity=D("0.01"),
        price=ASK,
        time_in_force=TimeInForce.GOOD_TILL_CANCELLED,
        decision_price=ASK,
        decided_at=NOON,
        reason="because",
        target_quantity=D("0.01"),
    )
    return replace(intent, **changes)


def an_order(state: State = State.FILLED, filled: str = "0.01", **changes: Any) -> Order:
    order = Order(
        intent=an_intent(),
        account="bitbank",
        state=state,
        venue_order_id="v1",
        filled=D(filled),
        sent_at=NOON,
        updated_at=NOON,
    )
    return replace(order, **changes)


def a_venue_order(**changes: Any) -> VenueOrder:
    order = VenueOrder(
        venue_order_id="v1",
        client_order_id=None,
        symbol="BTC/JPY",
        side=Side.BUY,
        type=OrderType.LIMIT,
        quantity=D("0.01"),
        price=D(9_000_000),
        filled=D(0),
        average_price=None,
        state=State.OPEN,
        created_at=NOON,
    )
    return replace(order, **changes)


def a_fill(
    side: Side = Side.BUY,
    quantity: str | Decimal = "0.01",
    price: str | Decimal = "10000000",
    fee: str | Decimal = "0",
    fee_currency: str = "JPY",
    **changes: Any,
) -> Fill:
    fill = Fill(
        id="f1",
        venue_order_id="v1",
        symbol="BTC/JPY",
        side=side,
        price=D(price),
        quantity=D(quantity),
        quote_quantity=D(price) * D(quantity),
        fee=D(fee),
        fee_currency=fee_currency,
        at=NOON,
    )
    return replace(fill, **changes)


def a_book(
    bids: tuple[tuple[str, str], ...] = (("9999000", "0.02"), ("9998000", "0.05")),
    asks: tuple[tuple[str, str], ...] = (("10001000", "0.02"), ("10002000", "0.05")),
) -> OrderBook:
    def side(rows: tuple[tuple[str, str], ...]) -> tuple[Level, ...]:
        return tuple(Level(D(price), D(quantity)) for price, quantity in rows)

    return OrderBook("BTC/JPY", side(bids), side(asks), NOON)


LIMITS = RiskLimits(
    max_order_notional=D(1_000_000),
    max_position_notional=D(2_000_000),
    max_open_orders=3,
    max_orders_per_minute=5,
    max_orders_per_day=100,
    max_daily_loss=D(50_000),
    max_drawdown=D("0.1"),
    price_collar=D("0.02"),
    max_data_age_seconds=60,
    max_clock_skew_seconds=2,
    duplicate_window_seconds=30,
    repeated_execution_limit=3,
    refused_in_a_row_limit=4,
)
FACTS = RiskFacts(
    now=NOON,
    kill_switch=None,
    rung=RungCap("minimal", "BTC/JPY", D("0.05"), NOON + timedelta(days=30)),
    venue_trading=True,
    venue_state="NORMAL",
    data_at=NOON - timedelta(seconds=1),
    clock_skew_seconds=0.1,
    instrument=BITBANK,
    bid=BID,
    ask=ASK,
    free={"JPY": D(5_000_000), "BTC": D("0.1")},
    position_quantity=D(0),
    daily_loss=D(0),
    drawdown=D(0),
    orders_last_minute=0,
    orders_today=0,
    unknown_orders=0,
)
