"""What the risk rules look at: the bounds, the certificate's caps, and the facts of the moment. Pure data."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading.instruments import Instrument, Side
from trading.maintenance import Maintenance
from trading.orders import Order, State, VenueOrder


@dataclass(frozen=True)
class RungCap:
    """What the certificate in force allows in one symbol. Quantities base, times aware UTC."""

    rung: str
    symbol: str
    max_quantity: Decimal  # one order
    expires_at: datetime
    max_position: Decimal | None = None  # None: as one order
    max_orders_per_day: int | None = None  # None: no bound of its own
    issued_at: datetime | None = None
    number: int | None = None  # in the ledger; None: a check's own cap, which is in no certificate
    changed: tuple[str, ...] = ()  # parts of the fingerprint that are not what was examined

    @property
    def position(self) -> Decimal:
        return self.max_quantity if self.max_position is None else self.max_position


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
    refused_in_a_row_limit: int


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
    """Everything that a rule looks at, read just before. Times aware UTC, quantities base, prices and money
    quote."""

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
    key_may_withdraw: bool = False  # as the venue says; one that does not tell is not held against the key
