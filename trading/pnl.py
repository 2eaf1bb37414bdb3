"""Profit and loss at moving-average cost, equity in quote, daily loss and drawdown.

The identity behind it: cash + cost == realised, where cash is the sum of all booked quote legs and quote fees and
cost what the remaining inventory was bought for. It holds to the last digit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading.instruments import Instrument
from trading.money import ZERO
from trading.orders import Fill


@dataclass(frozen=True)
class Inventory:
    """What fills have left: quantity (signed base), cost (quote, signed like the quantity), realised profit (quote).

    `fees` is what was paid in fees so far, in quote (base fees at their fill's price); it is in `realised` or `cost`
    already. Spot cost includes fees, a perpetual's fees are realised at once.
    """

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realised: Decimal = ZERO
    fees: Decimal = ZERO

    @property
    def average_price(self) -> Decimal | None:
        """Quote per base of what is held; None when flat."""
        return self.cost / self.quantity if self.quantity else None

    def unrealised(self, price: Decimal) -> Decimal:
        """Profit (quote) if all were valued at `price`."""
        return self.quantity * price - self.cost

    def profit(self, price: Decimal) -> Decimal:
        """Realised and unrealised profit (quote) at `price`."""
        return self.realised + self.unrealised(price)


def book(inventory: Inventory, fill: Fill, instrument: Instrument) -> Inventory:
    """The inventory after one more fill. Raises ValueError for a fee in a third currency."""
    ...


def inventory_of(fills: Iterable[Fill], instrument: Instrument) -> Inventory:
    """The inventory after all fills, oldest first."""
    ...


@dataclass(frozen=True)
class EquityPoint:
    at: datetime
    equity: Decimal


def equity(totals: Mapping[str, Decimal], prices: Mapping[str, Decimal], quote: str) -> Decimal:
    """Value balances in `quote`; `prices` are quote per asset. Raises KeyError for an asset without a price."""
    ...


def drawdown(history: Sequence[EquityPoint], now: Decimal) -> Decimal:
    """The fall from the highest equity so far, as a fraction of it; 0 at a new peak."""
    ...


def daily_loss(history: Sequence[EquityPoint], at: datetime, now: Decimal) -> Decimal:
    """What was lost (quote, 0 or positive) since the UTC day of `at` began: measured from the last equity before it,
    else from the day's first."""
    ...
