"""The money of one venue account, exact: balances free and locked, fees, perpetual positions, collateral."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from simvenue.values import Order, Pair, Position

ZERO = Decimal(0)
PROFIT_STEP = Decimal("1e-8")  # where a pair says nothing else, realised profit is kept to this unit of quote


def rounded_up(amount: Decimal, step: Decimal | None) -> Decimal:
    """Round to the next unit above (a rebate towards zero); exact without a step."""
    return amount if step is None else (amount / step).to_integral_value(ROUND_CEILING) * step


def rounded_down(amount: Decimal, step: Decimal | None) -> Decimal:
    return amount if step is None else (amount / step).to_integral_value(ROUND_FLOOR) * step


def quote_leg(pair: Pair, side: str, price: Decimal, quantity: Decimal) -> Decimal:
    """Give the quote that a spot fill moves: a buy pays rounded up, a sale gets rounded down."""
    exact = price * quantity
    return rounded_up(exact, pair.quote_step) if side == "buy" else rounded_down(exact, pair.quote_step)


def fee_of(pair: Pair, side: str, price: Decimal, quantity: Decimal, *, maker: bool) -> tuple[Decimal, str]:
    """Give (fee, currency) of one fill: positive charged, negative rebated, rounded up to the pair's step."""
    rate = pair.maker_rate if maker else pair.taker_rate
    in_base = pair.kind == "spot" and (pair.fee_in == "base" or (pair.fee_in == "received" and side == "buy"))
    if in_base:
        return rounded_up(rate * quantity, pair.fee_step), pair.base
    return rounded_up(rate * price * quantity, pair.fee_step), pair.quote


def lock_of(pair: Pair, order: Order) -> tuple[str, Decimal]:
    """Give what a resting spot order holds: (asset, price x remaining), for a sale the remaining base."""
    if order.side == "buy":
        return pair.quote, (order.price or ZERO) * order.remaining
    return pair.base, order.remaining


def reserve_of(pair: Pair, side: str, price: Decimal, quantity: Decimal, *, maker: bool) -> tuple[str, Decimal]:
    """Give (asset, amount) that fees and rounding of a spot order may take beyond what it locks."""
    fee, currency = fee_of(pair, side, price, quantity, maker=maker)
    fee = max(ZERO, fee)
    if side == "buy":
        rounding = quote_leg(pair, side, price, quantity) - price * quantity
        return pair.quote, rounding + (fee if currency == pair.quote else ZERO)
    return pair.base, fee if currency == pair.base else ZERO


@dataclass
class Holding:
    """A net perpetual position: signed base quantity, and what it was opened for (positive quote)."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO

    def trade(self, signed: Decimal, price: Decimal, profit_step: Decimal | None) -> Decimal:
        """Book a trade of `signed` base at `price`; give the realised profit in quote, rounded down."""
        sign = 1 if signed > 0 else -1
        if self.quantity * sign >= 0:
            self.quantity += signed
            self.cost += abs(signed) * price
            return ZERO
        closing = min(abs(signed), abs(self.quantity))
        step = profit_step or PROFIT_STEP
        if closing == abs(self.quantity):
            basis = self.cost
        else:  # what is rounded off stays in the position, so nothing is lost
            basis = (self.cost * closing / abs(self.quantity)).quantize(PROFIT_STEP)
        profit = rounded_down((basis - price * closing) * sign, step)
        self.quantity += closing * sign
        self.cost -= basis
        opening = abs(signed) - closing
        if opening:
            self.quantity += opening * sign
            self.cost += opening * price
        return profit

    @property
    def entry_price(self) -> Decimal:
        return self.cost / abs(self.quantity) if self.quantity else ZERO

    def as_position(self) -> Position:
        return Position("buy" if self.quantity > 0 else "sell", abs(self.quantity), self.entry_price)


class Account:
    """Balances and positions. Whoever calls has checked that the money is there."""

    def __init__(self, opening: dict[str, Decimal], collateral: dict[str, Decimal]) -> None:
        self.free = dict(opening)
        self.locked = dict.fromkeys(opening, ZERO)
        self.collateral = dict(collateral)
        self.holdings: dict[str, Holding] = {}

    def change(self, asset: str, amount: Decimal) -> None:
        """Add to the free balance, or take from it."""
        self.free[asset] = self.free.get(asset, ZERO) + amount
        self.locked.setdefault(asset, ZERO)

    def lock(self, asset: str, amount: Decimal) -> None:
        """Move from free to locked; a negative amount moves back."""
        self.change(asset, -amount)
        self.locked[asset] += amount

    def wallet(self, asset: str) -> Decimal:
        """Give what margin is measured against: the collateral where it is apart, else the whole balance."""
        if asset in self.collateral:
            return self.collateral[asset]
        return self.free.get(asset, ZERO) + self.locked.get(asset, ZERO)

    def book_spot(
        self, pair: Pair, order: Order, price: Decimal, quantity: Decimal, *, maker: bool
    ) -> tuple[Decimal, Decimal, str]:
        """Book one spot fill; a maker's lock shrinks by what was filled. Gives (quote leg, fee, currency)."""
        leg = quote_leg(pair, order.side, price, quantity)
        fee, currency = fee_of(pair, order.side, price, quantity, maker=maker)
        if maker:
            held = price * quantity if order.side == "buy" else quantity
            self.lock(pair.quote if order.side == "buy" else pair.base, -held)
        if order.side == "buy":
            self.change(pair.quote, -leg)
            self.change(pair.base, quantity)
        else:
            self.change(pair.base, -quantity)
            self.change(pair.quote, leg)
        self.change(currency, -fee)
        return leg, fee, currency

    def book_perpetual(
        self, pair: Pair, order: Order, price: Decimal, quantity: Decimal, *, maker: bool
    ) -> tuple[Decimal, Decimal, str]:
        """Book one fill of a perpetual. Gives (realised profit, fee, currency)."""
        fee, currency = fee_of(pair, order.side, price, quantity, maker=maker)
        holding = self.holdings.setdefault(pair.symbol, Holding())
        signed = quantity if order.side == "buy" else -quantity
        profit = holding.trade(signed, price, pair.quote_step)
        if pair.quote in self.collateral:
            self.collateral[pair.quote] += profit - fee
        else:
            self.change(pair.quote, profit - fee)
        return profit, fee, currency
