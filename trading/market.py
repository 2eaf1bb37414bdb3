"""What the market and the account look like at one moment. Times are aware UTC."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading.instruments import Side


@dataclass(frozen=True)
class Candle:
    """One closed bar. `opened_at` is the start of its interval; volume in base."""

    opened_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True)
class Ticker:
    symbol: str
    bid: Decimal
    ask: Decimal
    last: Decimal
    at: datetime

    @property
    def middle(self) -> Decimal:
        return (self.bid + self.ask) / 2


@dataclass(frozen=True)
class Level:
    price: Decimal
    quantity: Decimal


@dataclass(frozen=True)
class OrderBook:
    """Bids from the highest, asks from the lowest."""

    symbol: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    at: datetime


@dataclass(frozen=True)
class Balance:
    asset: str
    free: Decimal
    locked: Decimal

    @property
    def total(self) -> Decimal:
        return self.free + self.locked


@dataclass(frozen=True)
class Position:
    """Net holding of a perpetual; quantity in base and always positive, the side says which way."""

    symbol: str
    side: Side
    quantity: Decimal
    entry_price: Decimal

    @property
    def signed_quantity(self) -> Decimal:
        return self.quantity * self.side.sign


@dataclass(frozen=True)
class VenueStatus:
    """Whether a venue (or one symbol of it) takes orders now, and its own word for that."""

    trading: bool
    state: str
    detail: str = ""
