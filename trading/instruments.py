"""What can be traded where, and how it rounds: the instrument knows its own steps and minimums."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from trading.money import ceil_to, floor_to


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell: the sign of the change in position."""
        return 1 if self is Side.BUY else -1


class Kind(StrEnum):
    SPOT = "spot"
    PERPETUAL = "perpetual"  # Bybit linear, bitFlyer Crypto CFD: a position, not a balance


class FeeIn(StrEnum):
    """The currency in which a venue takes its fee."""

    QUOTE = "quote"  # bitbank; Bybit linear
    BASE = "base"  # bitFlyer spot, on both sides
    RECEIVED = "received"  # Bybit spot, OKJ: base on a buy, quote on a sell


@dataclass(frozen=True)
class Instrument:
    """A tradable pair at a venue. Quantities in base, prices and notionals in quote per base.

    `symbol` is written as ccxt writes it: `BTC/JPY`, `BTC/USDT:USDT`, `BTC/JPY:JPY`.
    `fee rates` are fractions (0.001 = 0.1 %); negative = rebate.
    `quote_step` is the unit to which the venue books the quote leg (1 = whole yen at bitFlyer), None = unrounded.
    """

    venue: str
    symbol: str
    base: str
    quote: str
    kind: Kind
    tick_size: Decimal
    lot_size: Decimal
    min_quantity: Decimal
    min_notional: Decimal | None
    max_quantity: Decimal | None
    maker_fee_rate: Decimal
    taker_fee_rate: Decimal
    fee_in: FeeIn
    quote_step: Decimal | None = None
    post_only: bool = True
    immediate_or_cancel: bool = True

    def floor_quantity(self, quantity: Decimal) -> Decimal:
        """Round down to the lot: never ask for more than was decided."""
        return floor_to(quantity, self.lot_size)

    def passive_price(self, side: Side, price: Decimal) -> Decimal:
        """Round to the tick away from the other side of the book: a buy down, a sell up."""
        return floor_to(price, self.tick_size) if side is Side.BUY else ceil_to(price, self.tick_size)

    def smallest_quantity(self, price: Decimal) -> Decimal:
        """The smallest quantity (base) that the venue accepts at `price`, rounded up to the lot."""
        needed = self.min_quantity
        if self.min_notional is not None and price > 0:
            needed = max(needed, self.min_notional / price)
        return ceil_to(needed, self.lot_size)

    def is_large_enough(self, quantity: Decimal, price: Decimal) -> bool:
        """Whether the venue would accept this quantity (base) at this price by its minimums."""
        return quantity >= self.min_quantity and (
            self.min_notional is None or quantity * price >= self.min_notional
        )

    def fee_currency(self, side: Side) -> str:
        """The currency in which a fill on `side` is charged."""
        if self.fee_in is FeeIn.BASE or (self.fee_in is FeeIn.RECEIVED and side is Side.BUY):
            return self.base
        return self.quote
