"""What can be traded where, and how it rounds: the instrument knows its own steps and minimums."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from trading.money import ZERO, ceil_to, floor_to

# A position must stay sellable when the price falls: the least notional is reached with this much to spare.
PRICE_FALL_ALLOWANCE = Decimal("0.2")


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

    `symbol` is written as ccxt writes it: `BTC/JPY`, `BTC/USDT:USDT`, `BTC/JPY:JPY`. `fee rates` are
    fractions (0.001 = 0.1 %); negative = rebate. `quote_step` is the unit to which the venue books the quote
    leg (1 = whole yen at bitFlyer), None = unrounded.
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
        return quantity >= self.min_quantity and (self.min_notional is None or quantity * price >= self.min_notional)

    def fee_currency(self, side: Side) -> str:
        """The currency in which a fill on `side` is charged."""
        if self.fee_in is FeeIn.BASE or (self.fee_in is FeeIn.RECEIVED and side is Side.BUY):
            return self.base
        return self.quote

    @property
    def highest_fee_rate(self) -> Decimal:
        """The fee rate to reckon with before a fill: the dearer one, never a rebate."""
        return max(self.maker_fee_rate, self.taker_fee_rate, ZERO)

    @property
    def base_fee_rate_of_buy(self) -> Decimal:
        """The fraction of a buy that the venue keeps in base (bitFlyer, Bybit and OKJ spot), 0 elsewhere."""
        return self.highest_fee_rate if self.fee_in is not FeeIn.QUOTE else ZERO

    @property
    def base_fee_rate_of_sell(self) -> Decimal:
        """The fraction of a sell that the venue takes in base on top of the quantity (bitFlyer spot), 0
        elsewhere."""
        return self.highest_fee_rate if self.fee_in is FeeIn.BASE else ZERO

    def quote_fee_rate(self, side: Side) -> Decimal:
        """The fraction of the notional that a fill on `side` may be charged in quote."""
        return self.highest_fee_rate if self.fee_currency(side) == self.quote else ZERO

    def sellable_quantity(self, held: Decimal) -> Decimal:
        """The largest lot (base) that can be sold out of `held`, the fee in base included."""
        return self.floor_quantity(held / (1 + self.base_fee_rate_of_sell))

    def round_trip_quantity(self, price: Decimal) -> Decimal:
        """The smallest quantity (base) that can be bought at `price` and still be sold again.

        Buying the very minimum is a trap: a fee in base, or a fall of the price, leaves less than can be
        sold.
        """
        sellable = self.smallest_quantity(price * (1 - PRICE_FALL_ALLOWANCE))
        needed = sellable * (1 + self.base_fee_rate_of_sell) / (1 - self.base_fee_rate_of_buy)
        return ceil_to(needed, self.lot_size)

    def booked_cost(self, side: Side, price: Decimal, quantity: Decimal) -> Decimal:
        """The quote leg of a fill as the venue books it: price x quantity, rounded to `quote_step` against
        us."""
        exact = price * quantity
        if self.quote_step is None:
            return exact
        return ceil_to(exact, self.quote_step) if side is Side.BUY else floor_to(exact, self.quote_step)
