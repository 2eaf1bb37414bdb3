"""Paper: what an order would have come to against the book and the candles that were really seen."""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal

from trading.instruments import FeeIn, Instrument, Kind, Side
from trading.market import Candle, Level, OrderBook
from trading.money import ZERO, ceil_to, floor_to
from trading.orders import Fill, OrderIntent, OrderType, State, TimeInForce


@dataclass(frozen=True)
class PaperOutcome:
    """The fills of one look at the market, and the state in which they leave the order."""

    fills: tuple[Fill, ...]
    state: State


def take(
    intent: OrderIntent, book: OrderBook, instrument: Instrument, at: datetime, *, venue_order_id: str
) -> PaperOutcome:
    """Send a paper order into the book: it walks the levels up to its limit, then rests, or is cancelled (IOC, market).

    A post-only order that would cross is cancelled untouched.
    """
    ...


def rest_in_book(
    intent: OrderIntent, filled: Decimal, book: OrderBook, instrument: Instrument, at: datetime, *, venue_order_id: str
) -> PaperOutcome:
    """Look at a resting paper order again: a later book that crosses its price fills it there, as maker."""
    ...


def rest_in_candle(
    intent: OrderIntent, filled: Decimal, candle: Candle, instrument: Instrument, at: datetime, *, venue_order_id: str
) -> PaperOutcome:
    """Look at a resting paper order again: a candle that went through its price (touching is not enough) fills it,
    up to the candle's volume, as maker."""
    ...
