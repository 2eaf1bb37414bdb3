"""Sizing: from a wanted position to one order that the venue takes, the account can pay and the certificate
allows.

Every rounding goes towards safety: quantity down to the lot, price to our side of its limit. What is too
small to be sent is no order, with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from trading.instruments import Instrument, Kind, Side
from trading.money import ZERO, plain
from trading.orders import OrderIntent, OrderType, TimeInForce

Style = Literal["taker", "maker"]


@dataclass(frozen=True)
class Target:
    """The position that a strategy wants, as a fraction of the certified size: 0..1, perpetuals -1..1."""

    fraction: Decimal
    reason: str

    def __post_init__(self) -> None:
        if not isinstance(self.fraction, Decimal):
            raise TypeError(f"a target fraction is a Decimal, was {type(self.fraction).__name__}")
        if not (self.fraction.is_finite() and -1 <= self.fraction <= 1):
            raise ValueError(f"a target fraction lies between -1 and 1, was {self.fraction}")


@dataclass(frozen=True)
class NoOrder:
    reason: str


@dataclass(frozen=True)
class ProposedOrder:
    """An order that fits; `intent` gives it its identity."""

    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal
    time_in_force: TimeInForce
    decision_price: Decimal
    reason: str
    reduce_only: bool
    target_quantity: Decimal

    def intent(self, *, client_order_id: str, venue: str, symbol: str, decided_at: datetime) -> OrderIntent:
        """Name the order: what is written to the ledger before it is sent."""
        return OrderIntent(
            client_order_id=client_order_id,
            venue=venue,
            symbol=symbol,
            side=self.side,
            type=self.type,
            quantity=self.quantity,
            price=self.price,
            time_in_force=self.time_in_force,
            decision_price=self.decision_price,
            decided_at=decided_at,
            reason=self.reason,
            reduce_only=self.reduce_only,
            target_quantity=self.target_quantity,
        )


@dataclass(frozen=True)
class _Book:
    """The two sides that sizing looks at."""

    bid: Decimal
    ask: Decimal

    def touch(self, side: Side, style: Style) -> Decimal:
        """The price at which the order could trade now (taker) or would join our own side (maker)."""
        other_side = self.ask if side is Side.BUY else self.bid
        own_side = self.bid if side is Side.BUY else self.ask
        return other_side if style == "taker" else own_side


def order_for(
    target: Target,
    *,
    held: Decimal,
    cap_quantity: Decimal,
    instrument: Instrument,
    bid: Decimal | None,
    ask: Decimal | None,
    free: Mapping[str, Decimal],
    style: Style = "taker",
    slippage_limit: Decimal = ZERO,
    pending: Decimal = ZERO,
    collateral: Decimal | None = None,
    max_notional: Decimal | None = None,
) -> ProposedOrder | NoOrder:
    """Make the one order that moves the position from `held` towards the target, or say why there is none.

    `held` and `pending` (still resting in our own orders) are signed base; spot `held` is what the bot itself
    bought. `free` is what can be spent by asset; `collateral` (quote) stands in for it at perpetuals;
    `max_notional` (quote) bounds one order, so that a larger way is gone in steps.
    """
    if bid is None or ask is None or not 0 < bid < ask:
        return NoOrder(f"no usable book: bid {bid}, ask {ask}")
    book = _Book(bid, ask)
    wanted = _wanted(target, cap_quantity, instrument, book)
    expected = held + pending
    delta = wanted - expected
    if delta == 0:
        return NoOrder(f"at the target of {plain(wanted)} {instrument.base}")
    side = Side.BUY if delta > 0 else Side.SELL
    reduces = expected * delta < 0
    if reduces and abs(delta) > abs(expected):
        # Through zero in two orders: the first can then only reduce, which the risk rules let through when
        # the others are shut; the next cycle opens the other way.
        delta = -expected
    price = _limit_price(side, style, book, instrument, slippage_limit)
    bounds = {
        "wanted": abs(delta),
        "largest order of the venue": instrument.max_quantity,
        "largest notional of an order": None if max_notional is None else max_notional / price,
        **_affordable(side, price, expected, reduces, instrument, free, collateral),
    }
    binding, most = min(
        ((name, bound) for name, bound in bounds.items() if bound is not None), key=lambda pair: pair[1]
    )
    quantity = instrument.floor_quantity(max(ZERO, most))
    too_small = _too_small(quantity, price, side, expected, reduces, instrument, book)
    if too_small is not None:
        return NoOrder(f"{too_small} (bound by: {binding})")
    return ProposedOrder(
        side=side,
        type=OrderType.LIMIT,
        quantity=quantity,
        price=price,
        time_in_force=_time_in_force(style, instrument),
        decision_price=book.touch(side, style),
        reason=target.reason,
        reduce_only=reduces and instrument.kind is Kind.PERPETUAL,
        target_quantity=wanted,
    )


def _wanted(target: Target, cap: Decimal, instrument: Instrument, book: _Book) -> Decimal:
    """The position (signed base, a whole lot) that the target means; one too small to be closed again is
    none."""
    fraction = max(ZERO, target.fraction) if instrument.kind is Kind.SPOT else target.fraction
    size = instrument.floor_quantity(abs(fraction) * cap)
    if size < instrument.smallest_quantity(book.bid):
        return ZERO
    return size if fraction > 0 else -size


def _limit_price(side: Side, style: Style, book: _Book, instrument: Instrument, slippage_limit: Decimal) -> Decimal:
    """Taker: the other side of the book, worse by at most `slippage_limit` (fraction). Maker: our own
    side."""
    touch = book.touch(side, style)
    if style == "maker":
        return instrument.passive_price(side, touch)
    return instrument.passive_price(side, touch * (1 + slippage_limit * side.sign))


def _time_in_force(style: Style, instrument: Instrument) -> TimeInForce:
    if style == "maker":
        return TimeInForce.POST_ONLY if instrument.post_only else TimeInForce.GOOD_TILL_CANCELLED
    return TimeInForce.IMMEDIATE_OR_CANCEL if instrument.immediate_or_cancel else TimeInForce.GOOD_TILL_CANCELLED


def _affordable(
    side: Side,
    price: Decimal,
    expected: Decimal,
    reduces: bool,
    instrument: Instrument,
    free: Mapping[str, Decimal],
    collateral: Decimal | None,
) -> dict[str, Decimal | None]:
    """The largest quantity (base) that can be paid for, by what bounds it."""
    if instrument.kind is Kind.PERPETUAL:
        if reduces:
            return {}
        # Unlevered: the collateral covers the whole position and the fee.
        covered = (collateral or ZERO) / (price * (1 + instrument.highest_fee_rate))
        return {"collateral": covered - abs(expected)}
    if side is Side.BUY:
        # One booking step aside: the venue rounds the quote leg up.
        spendable = free.get(instrument.quote, ZERO) - (instrument.quote_step or ZERO)
        return {"free balance": spendable / (price * (1 + instrument.quote_fee_rate(Side.BUY)))}
    return {
        # Never more than the bot itself bought, and never more than is really there.
        "held": instrument.sellable_quantity(max(ZERO, expected)),
        "free balance": instrument.sellable_quantity(max(ZERO, free.get(instrument.base, ZERO))),
    }


def _too_small(
    quantity: Decimal,
    price: Decimal,
    side: Side,
    expected: Decimal,
    reduces: bool,
    instrument: Instrument,
    book: _Book,
) -> str | None:
    """Why the quantity cannot be sent: below the venue's minimum, or an entry that could never be closed."""
    least = instrument.smallest_quantity(price)
    if quantity < least:
        return f"{plain(quantity)} {instrument.base} is below the smallest order of {plain(least)}"
    if reduces:
        return None
    after_fee = quantity * (1 - instrument.base_fee_rate_of_buy) if side is Side.BUY else quantity
    closable = instrument.floor_quantity(abs(expected) + after_fee)
    if instrument.kind is Kind.SPOT:
        closable = instrument.sellable_quantity(abs(expected) + after_fee)
    if not instrument.is_large_enough(closable, book.bid):
        return f"{plain(quantity)} {instrument.base} could not be sold again after fees"
    return None
