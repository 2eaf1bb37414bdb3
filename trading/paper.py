"""Paper: what an order would have come to against the book and the candles that were really seen."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading.instruments import Instrument, Side
from trading.market import Candle, Level, OrderBook
from trading.money import ZERO, ceil_to, plain
from trading.orders import Fill, OrderIntent, OrderType, State, TimeInForce

_FEE_STEP = Decimal("1E-8")


@dataclass(frozen=True)
class PaperOutcome:
    """The fills of one look at the market, and the state in which they leave the order."""

    fills: tuple[Fill, ...]
    state: State


def take(
    intent: OrderIntent, book: OrderBook, instrument: Instrument, at: datetime, *, venue_order_id: str
) -> PaperOutcome:
    """Send a paper order into the book: it walks the levels up to its limit, then rests or is cancelled (IOC,
    market).

    A post-only order that would cross is cancelled untouched. Fills as taker; `at` is aware UTC.
    """
    trades = _crossing(intent, intent.quantity, book)
    if trades and intent.time_in_force is TimeInForce.POST_ONLY:
        return PaperOutcome((), State.CANCELLED)
    fills = tuple(
        _fill(intent, level.price, level.quantity, instrument, at, venue_order_id, number, maker=False)
        for number, level in enumerate(trades)
    )
    filled = sum((fill.quantity for fill in fills), ZERO)
    state = _state(intent, filled)
    rests = intent.type is OrderType.LIMIT and intent.time_in_force is not TimeInForce.IMMEDIATE_OR_CANCEL
    return PaperOutcome(fills, state if rests or state is State.FILLED else State.CANCELLED)


def rest_in_book(
    intent: OrderIntent,
    filled: Decimal,
    book: OrderBook,
    instrument: Instrument,
    at: datetime,
    *,
    venue_order_id: str,
) -> PaperOutcome:
    """Look at a resting paper order again: a later book that crosses its price fills it there, as maker.

    `filled` is the base quantity filled so far; no more fills than the book shows beyond our price.
    """
    met = sum((level.quantity for level in _crossing(intent, intent.quantity - filled, book)), ZERO)
    return _rested(intent, filled, met, instrument, at, venue_order_id)


def rest_in_candle(
    intent: OrderIntent,
    filled: Decimal,
    candle: Candle,
    instrument: Instrument,
    at: datetime,
    *,
    venue_order_id: str,
) -> PaperOutcome:
    """Look at a resting paper order again: a candle that went through its price fills it, as maker.

    Touching is not enough (others stood before us), and no more fills than the candle's volume. The caller
    shows each candle once, and only candles that opened after the order was placed.
    """
    if intent.price is None:
        raise ValueError("a market order does not rest")
    through = candle.low < intent.price if intent.side is Side.BUY else candle.high > intent.price
    met = min(candle.volume, intent.quantity - filled) if through else ZERO
    return _rested(intent, filled, met, instrument, at, venue_order_id)


def _rested(
    intent: OrderIntent,
    filled: Decimal,
    met: Decimal,
    instrument: Instrument,
    at: datetime,
    venue_order_id: str,
) -> PaperOutcome:
    quantity = instrument.floor_quantity(met)
    if quantity <= 0 or intent.price is None:
        return PaperOutcome((), _state(intent, filled))
    number = f"{plain(filled)}-maker"
    fill = _fill(intent, intent.price, quantity, instrument, at, venue_order_id, number, maker=True)
    return PaperOutcome((fill,), _state(intent, filled + quantity))


def _state(intent: OrderIntent, filled: Decimal) -> State:
    if filled >= intent.quantity:
        return State.FILLED
    return State.PARTIALLY_FILLED if filled > 0 else State.OPEN


def _crossing(intent: OrderIntent, quantity: Decimal, book: OrderBook) -> list[Level]:
    """The parts of the book's levels that an order of this quantity would take, best price first."""
    trades: list[Level] = []
    for level in book.asks if intent.side is Side.BUY else book.bids:
        beyond = intent.price is not None and (level.price - intent.price) * intent.side.sign > 0
        if beyond or quantity <= 0:
            break
        if level.quantity > 0:
            trades.append(Level(level.price, min(quantity, level.quantity)))
            quantity -= trades[-1].quantity
    return trades


def _fill(
    intent: OrderIntent,
    price: Decimal,
    quantity: Decimal,
    instrument: Instrument,
    at: datetime,
    venue_order_id: str,
    number: int | str,
    *,
    maker: bool,
) -> Fill:
    rate = instrument.maker_fee_rate if maker else instrument.taker_fee_rate
    currency = instrument.fee_currency(intent.side)
    base_of_fee = quantity if currency == instrument.base else quantity * price
    return Fill(
        id=f"{venue_order_id}-{number}",
        venue_order_id=venue_order_id,
        symbol=intent.symbol,
        side=intent.side,
        price=price,
        quantity=quantity,
        quote_quantity=instrument.booked_cost(intent.side, price, quantity),
        fee=ceil_to(base_of_fee * rate, _FEE_STEP),  # up: a charge grows, a rebate shrinks
        fee_currency=currency,
        at=at,
        maker=maker,
    )
