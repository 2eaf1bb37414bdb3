"""Sizing: from a wanted position to one order that the venue takes, the account can pay and the certificate allows.

Every rounding goes towards safety: quantity down to the lot, price to our side of its limit. What is too small to be
sent is no order, with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from trading.instruments import FeeIn, Instrument, Kind, Side
from trading.money import ZERO, floor_to, plain
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

    `held` and `pending` (still resting in our own orders) are signed base; spot `held` is what the bot itself bought.
    `free` is what can be spent by asset; `collateral` (quote) stands in for it at perpetuals; `max_notional` (quote)
    bounds one order, so that a larger way is gone in steps.
    """
    ...
