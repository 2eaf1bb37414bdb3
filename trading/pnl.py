"""Profit and loss at moving-average cost, equity in quote, daily loss and drawdown.

The identity behind it: cash + cost == realised, where cash is the sum of all booked quote legs and quote fees
and cost what the remaining inventory was bought for. It holds to the last digit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from trading.instruments import Instrument, Kind
from trading.money import ZERO
from trading.orders import Fill

_PLACES = Decimal("1E-8")


@dataclass(frozen=True)
class Inventory:
    """What fills have left: quantity (signed base), cost (quote, signed like the quantity), realised profit
    (quote).

    `fees` is what was paid in fees so far, in quote (base fees at their fill's price); it is in `realised` or
    `cost` already. Spot cost includes fees, a perpetual's fees are realised at once.
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
    """The inventory after one more fill."""
    fee_base = fill.fee if fill.fee_currency == instrument.base else ZERO
    fee_quote = fee_in_quote(fill, instrument)
    change = fill.quantity * fill.side.sign - fee_base
    fees = inventory.fees + fee_quote + fee_base * fill.price
    if instrument.kind is Kind.PERPETUAL:
        # Nothing is bought: the notional only marks the entry, and the fee leaves the collateral at once.
        cash, at_once = -fill.price * fill.quantity * fill.side.sign, -fee_quote
    else:
        cash, at_once = -fill.quote_quantity * fill.side.sign - fee_quote, ZERO
    moved = _move(inventory, change, cash)
    return Inventory(moved.quantity, moved.cost, moved.realised + at_once, fees)


def fee_in_quote(fill: Fill, instrument: Instrument) -> Decimal:
    """What the fill's fee comes to in quote, without one in base.

    A fee in a third currency (Bybit takes MNT where that is turned on) has no price here: it counts as what the dearer
    rate of the pair would have charged, rather too much than too little.
    """
    if fill.fee_currency == instrument.quote:
        return fill.fee
    if fill.fee_currency == instrument.base or not fill.fee:
        return ZERO
    return (fill.price * fill.quantity * instrument.highest_fee_rate).quantize(_PLACES)


def _move(inventory: Inventory, change: Decimal, cash: Decimal) -> Inventory:
    """Move the quantity by `change` for `cash` (received > 0): the part that closes realises, the rest is
    cost."""
    held, cost = inventory.quantity, inventory.cost
    if change == 0:
        return Inventory(held, cost, inventory.realised + cash)
    if held * change >= 0:
        return Inventory(held + change, cost - cash, inventory.realised)
    if abs(change) <= abs(held):
        released = cost if change == -held else _share(cost, abs(change), abs(held))
        return Inventory(held + change, cost - released, inventory.realised + cash - released)
    closing = _share(cash, abs(held), abs(change))
    return Inventory(held + change, closing - cash, inventory.realised + closing - cost)


def _share(money: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    # Eight places, as venues keep money: the sums stay exact, nothing is lost between cash, cost and profit.
    return (money * part / whole).quantize(_PLACES)


def inventory_of(fills: Iterable[Fill], instrument: Instrument) -> Inventory:
    """The inventory after all fills, oldest first."""
    inventory = Inventory()
    for fill in fills:
        inventory = book(inventory, fill, instrument)
    return inventory


@dataclass(frozen=True)
class EquityPoint:
    at: datetime
    equity: Decimal


def equity(totals: Mapping[str, Decimal], prices: Mapping[str, Decimal], quote: str) -> Decimal:
    """Value balances in `quote`; `prices` are quote per asset. Raises KeyError for an asset without a
    price."""
    return sum((total if asset == quote else total * prices[asset] for asset, total in totals.items() if total), ZERO)


def drawdown(history: Sequence[EquityPoint], now: Decimal, added: Decimal = ZERO) -> Decimal:
    """The fall from the highest equity so far, as a fraction of it; 0 at a new peak, 1 when there is nothing
    left.

    `added` (quote, signed) was deposited or withdrawn since the opening: equity, which is what the bot has made of the
    opening, leaves it out, but what can be lost is with it.
    """
    peak = max((point.equity for point in history), default=now)
    if now >= peak:
        return ZERO
    if peak + added <= 0:
        return Decimal(1)
    return (peak - now) / (peak + added)


def day_of(at: datetime) -> datetime:
    """The moment at which the UTC day of `at` began."""
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def start_of_day(history: Sequence[EquityPoint], at: datetime) -> EquityPoint | None:
    """Where the UTC day of `at` began: the last equity before that day, else the day's first; None for neither.

    `history` oldest first. What it gives is a history that tells the same, as long as the day lasts.
    """
    midnight = day_of(at)
    before = [point for point in history if point.at < midnight]
    return before[-1] if before else next((point for point in history if point.at <= at), None)


def daily_loss(history: Sequence[EquityPoint], at: datetime, now: Decimal) -> Decimal:
    """What was lost (quote, 0 or positive) since the UTC day of `at` began (`start_of_day`); `history` oldest first."""
    start = start_of_day(history, at)
    return ZERO if start is None else max(ZERO, start.equity - now)
