"""Pairs, bars and venues that the tests of the core are made of."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal as D

from simvenue.candles import MINUTE, FileCandles
from simvenue.clock import VenueClock
from simvenue.values import Candle, Order, OrderRequest, Pair, Secrets, VenueSpec
from simvenue.venue import Venue

START = 1_767_571_200_000  # 2026-01-05T00:00:00Z

SPOT = Pair(
    symbol="BTC/JPY",
    venue_symbol="btc_jpy",
    base="BTC",
    quote="JPY",
    kind="spot",
    tick=D(1),
    lot=D("0.0001"),
    min_quantity=D("0.0001"),
    min_notional=None,
    max_quantity=D(1000),
    maker_rate=D("0"),
    taker_rate=D("0.001"),
    fee_in="quote",
    fee_step=None,
    quote_step=None,
    start_price=D(10_000_000),
)
PERPETUAL = replace(
    SPOT,
    symbol="BTC/JPY:JPY",
    venue_symbol="FX_BTC_JPY",
    kind="perpetual",
    taker_rate=D("0"),
    quote_step=D(1),
    leverage=D(2),
)


def bar(minute: int, open_: int, high: int, low: int, close: int, volume: str = "1") -> Candle:
    """One minute, counted from START."""
    return Candle(START + minute * MINUTE, D(open_), D(high), D(low), D(close), D(volume))


def flat(minutes: Sequence[int], price: int = 10_000_000, volume: str = "1") -> list[Candle]:
    return [bar(minute, price, price, price, price, volume) for minute in minutes]


def venue_on(
    bars: list[Candle],
    *pairs: Pair,
    at_minute: int = 0,
    collateral: dict[str, D] | None = None,
    max_open_orders: int | None = None,
    price_band: D | None = None,
    daily_gap: tuple[int, int] | None = None,
    seed: int = 1,
) -> Venue:
    """A venue on a stepped clock at START + at_minute, replaying `bars` for every pair."""
    pairs = pairs or (SPOT,)
    spec = VenueSpec(
        name="bitbank",
        pairs=pairs,
        opening={"JPY": D(5_000_000), "BTC": D("0.1")},
        collateral=collateral or {},
        max_open_orders=max_open_orders,
        daily_gap=daily_gap,
        price_band=price_band,
    )
    clock = VenueClock("stepped", START + at_minute * MINUTE)
    sources = {pair.symbol: FileCandles(bars, pair, seed) for pair in pairs}
    return Venue(spec, clock, Secrets("key", "secret", ""), sources, seed=seed)


def limit(side: str, quantity: str, price: int | D, tif: str = "gtc", symbol: str = "BTC/JPY") -> OrderRequest:
    return OrderRequest(symbol, side, "limit", D(quantity), D(price), tif)


def market(side: str, quantity: str, symbol: str = "BTC/JPY") -> OrderRequest:
    return OrderRequest(symbol, side, "market", D(quantity))


def rested(venue: Venue, side: str, quantity: str, price: int | D) -> Order:
    order = venue.place(limit(side, quantity, price))
    assert order.is_open
    return order
