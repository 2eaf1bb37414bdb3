"""Risk: every order passes all rules, in this order, or it does not go out.

A rule is a function of (intent, facts, limits) that returns None or a Refused with the limit and what was observed.
Only an `Approved` can be sent. An order that can only reduce the position is not held back by the rules that protect
against a growing loss or position (certificate size, collateral, position, daily loss, drawdown); every other rule
holds for it too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from trading.instruments import Instrument, Kind, Side
from trading.maintenance import Maintenance
from trading.money import ZERO, plain
from trading.orders import Order, OrderIntent, OrderType, State, VenueOrder

# A refusal by one of these means that a bound was broken, not merely met: the rung goes down.
BREACHES = frozenset({"daily_loss", "drawdown", "repeated_execution"})
# A refusal by one of these sets the kill switch, which only a named human takes back.
LATCHING = frozenset({"repeated_execution"})


@dataclass(frozen=True)
class Approved:
    """An intent that has passed every rule; the only thing that can be placed."""

    intent: OrderIntent
    certificate_rung: str


@dataclass(frozen=True)
class Refused:
    rule: str
    limit: str
    observed: str

    @property
    def is_breach(self) -> bool:
        """Whether the certificate must go down a rung."""
        return self.rule in BREACHES

    @property
    def latches(self) -> bool:
        """Whether the kill switch must be set until a named human re-arms it."""
        return self.rule in LATCHING

    def __str__(self) -> str:
        return f"{self.rule}: limit {self.limit}, observed {self.observed}"


@dataclass(frozen=True)
class RungCap:
    """What the certificate in force allows: order and position up to `max_quantity` (base) in one symbol."""

    rung: str
    symbol: str
    max_quantity: Decimal
    expires_at: datetime


@dataclass(frozen=True)
class RiskLimits:
    """The bounds for one quote currency. Amounts in quote, fractions as fractions, times in seconds."""

    max_order_notional: Decimal
    max_position_notional: Decimal
    max_open_orders: int
    max_orders_per_minute: int
    max_orders_per_day: int
    max_daily_loss: Decimal
    max_drawdown: Decimal  # fraction of the equity peak
    price_collar: Decimal  # furthest from the book's middle, as a fraction
    max_data_age_seconds: float
    max_clock_skew_seconds: float
    duplicate_window_seconds: float
    repeated_execution_limit: int


@dataclass(frozen=True)
class RecentOrder:
    """What an earlier order of ours on the symbol looked like, as far as repetition is concerned."""

    client_order_id: str
    side: Side
    quantity: Decimal
    price: Decimal | None
    decided_at: datetime
    target_quantity: Decimal | None
    state: State
    filled: Decimal

    @classmethod
    def of(cls, order: Order) -> "RecentOrder":
        intent = order.intent
        return cls(
            client_order_id=intent.client_order_id,
            side=intent.side,
            quantity=intent.quantity,
            price=intent.price,
            decided_at=intent.decided_at,
            target_quantity=intent.target_quantity,
            state=order.state,
            filled=order.filled,
        )


@dataclass(frozen=True)
class RiskFacts:
    """Everything that a rule looks at, read just before. Times aware UTC, quantities base, prices and money quote."""

    now: datetime
    kill_switch: str | None  # why trading is disabled; None: enabled
    rung: RungCap | None  # the certificate in force; None: none
    venue_trading: bool
    venue_state: str
    data_at: datetime | None  # when the newest market data was true
    clock_skew_seconds: float | None  # ours minus the venue's; None where the venue tells no time
    instrument: Instrument
    bid: Decimal | None
    ask: Decimal | None
    free: Mapping[str, Decimal]  # what can be spent, by asset
    position_quantity: Decimal  # signed; spot: what the bot itself bought and still holds
    daily_loss: Decimal  # positive when money was lost since the day began
    drawdown: Decimal  # fraction of the equity peak
    orders_last_minute: int
    orders_today: int
    unknown_orders: int  # of this symbol: sent, outcome not proved
    open_orders: tuple[VenueOrder, ...] = ()  # resting at the venue in this symbol, whoever placed them
    recent: tuple[RecentOrder, ...] = ()  # our earlier orders of this symbol, newest first
    collateral: Decimal | None = None  # perpetuals: what stands behind all positions, in quote
    maintenance: tuple[Maintenance, ...] = ()
    rearmed_at: datetime | None = None  # when a human last re-armed: what was before is forgiven


Rule = Callable[[OrderIntent, RiskFacts, RiskLimits], Refused | None]


def assess(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Approved | Refused:
    """Judge an intent by every rule in turn; the first refusal stands."""
    for rule in RULES:
        refused = rule(intent, facts, limits)
        if refused is not None:
            return refused
    assert facts.rung is not None  # the certificate rule has seen to it
    return Approved(intent, facts.rung.rung)
