"""What a venue is made of, as plain values. All amounts are Decimal, all times ms of market time."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple


def plain(amount: Decimal) -> str:
    """Write an amount without exponent and without trailing zeros."""
    text = f"{amount:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


OPEN_STATUSES = frozenset({"open", "partially_filled"})


@dataclass(frozen=True)
class Pair:
    """Facts about one symbol at one venue, given by its wire module."""

    symbol: str  # as ccxt writes it: BTC/JPY, BTC/USDT:USDT, BTC/JPY:JPY
    venue_symbol: str  # btc_jpy, BTC_JPY, FX_BTC_JPY, BTCUSDT, BTC-JPY
    base: str
    quote: str
    kind: str  # "spot" | "perpetual"
    tick: Decimal
    lot: Decimal
    min_quantity: Decimal
    min_notional: Decimal | None
    max_quantity: Decimal | None
    maker_rate: Decimal
    taker_rate: Decimal
    fee_in: str  # "quote" | "base" | "received"
    fee_step: Decimal | None  # fees are rounded UP to this unit; None = exact
    quote_step: Decimal | None  # the quote leg is rounded against the customer to this unit; None = exact
    start_price: Decimal  # for the generator
    category: str = ""  # the wire's own word (bybit: spot, linear)
    leverage: Decimal = Decimal(10)  # perpetual: margin = notional / leverage, unless set_leverage changes it
    max_market_quantity: Decimal | None = None  # where market orders have a lower cap of their own


@dataclass(frozen=True)
class VenueSpec:
    """Facts about one venue, given by its wire module."""

    name: str
    pairs: tuple[Pair, ...]
    opening: dict[str, Decimal]
    collateral: dict[str, Decimal]  # apart from the balances; empty = perpetuals settle in the quote balance
    max_open_orders: int | None  # per symbol
    daily_gap: tuple[int, int] | None  # (minute of the UTC day at which it starts, length in minutes)
    price_band: Decimal | None  # fraction around the last price in which limit prices are accepted
    needs_passphrase: bool = False
    expires: bool = True  # an order that ends by its time is expired here, at other venues cancelled
    not_simulated: tuple[str, ...] = ()  # the wire's own admissions, added to the core's on the control page


@dataclass(frozen=True)
class Secrets:
    """The credentials of the one account of a simulated venue; the same for the same seed."""

    api_key: str
    api_secret: str
    passphrase: str


@dataclass(frozen=True)
class AccountKey:
    """One key of the account and what the venue says that it may do."""

    secrets: Secrets
    may_withdraw: bool = False
    addresses: tuple[str, ...] = ("127.0.0.1",)  # none: bound to no address
    expires_at: str = ""  # ISO 8601 in UTC, as the venue writes it; "": never


@dataclass(frozen=True)
class OrderRequest:
    """One order as asked for, already translated from the wire. quantity None only with quote_budget."""

    symbol: str
    side: str  # "buy" | "sell"
    type: str  # "limit" | "market"
    quantity: Decimal | None
    price: Decimal | None = None
    time_in_force: str = "gtc"  # "gtc" | "ioc" | "fok" | "post_only"
    client_id: str = ""
    quote_budget: Decimal | None = None  # market buy by cost
    expires_at: int | None = None
    reduce_only: bool = False
    by_hand: bool = False
    wire: dict[str, Any] = field(default_factory=dict)


@dataclass
class Order:
    """One order that the venue has accepted. `filled` never exceeds `quantity`."""

    number: int  # 1, 2, 3... in order of arrival
    id: str  # as a client sees it
    client_id: str
    symbol: str
    side: str
    type: str
    price: Decimal | None
    quantity: Decimal  # a market buy by cost: what it has bought
    quote_budget: Decimal | None
    time_in_force: str
    created_at: int
    updated_at: int
    expires_at: int | None = None
    reduce_only: bool = False
    by_hand: bool = False
    filled: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)  # sum of price x quantity over the fills
    fee: Decimal = Decimal(0)  # sum, positive charged, negative rebated
    fee_currency: str = ""
    status: str = "open"  # open | partially_filled | filled | cancelled | rejected | expired
    ended_at: int | None = None
    why: str = ""  # post_only_cross, ioc, fok, no_liquidity, client, timer, expired, reduce_only, refused_late
    wire: dict[str, Any] = field(default_factory=dict)
    reach: Decimal | None = None  # the most that is ever filled, in base (a buy by cost: in quote)

    @property
    def remaining(self) -> Decimal:
        """Base quantity not yet filled (also of an order that has ended)."""
        return self.quantity - self.filled

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    @property
    def average_price(self) -> Decimal | None:
        """Quote per base over the fills so far; None without a fill. At most 28 digits."""
        return self.cost / self.filled if self.filled else None


@dataclass(frozen=True)
class Fill:
    """One trade against one order."""

    number: int
    id: str
    order: Order
    price: Decimal
    quantity: Decimal
    quote: Decimal  # the booked quote leg, rounded as the pair says; perpetual: price x quantity
    fee: Decimal  # positive charged, negative rebated
    fee_currency: str
    maker: bool
    at: int
    realised: Decimal = Decimal(0)  # perpetual: profit booked by this fill, in quote
    told_at: int | None = None  # another time than `at`, which the venue tells

    @property
    def shown_at(self) -> int:
        """Market time in ms as the venue tells it."""
        return self.at if self.told_at is None else self.told_at


class Deposit(NamedTuple):
    """One change of a balance by hand; negative = taken out. `after_fills` fills came before it."""

    asset: str
    change: Decimal
    at: int
    after_fills: int


class Candle(NamedTuple):
    """One bar; `open_ms` is where it begins."""

    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class Bar(NamedTuple):
    """A candle as served: `closed` is False for the one that is still running."""

    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    closed: bool


class Trade(NamedTuple):
    """One print of the public tape. `side` is the taker's: "buy", "sell", or "" for an opening auction."""

    id: int
    side: str
    price: Decimal
    size: Decimal
    at: int


class Level(NamedTuple):
    price: Decimal
    size: Decimal


class Ticker(NamedTuple):
    """`at` is the time of the last trade; the 24 figures cover the 24 hours up to now."""

    last: Decimal
    bid: Decimal | None
    ask: Decimal | None
    bid_size: Decimal | None
    ask_size: Decimal | None
    open24: Decimal
    high24: Decimal
    low24: Decimal
    volume24: Decimal
    at: int


class Position(NamedTuple):
    """Net holding of a perpetual. `side` is "buy" (long) or "sell" (short), `entry_price` the average."""

    side: str
    quantity: Decimal
    entry_price: Decimal


class Rejection(Exception):
    """The venue refuses an order: nothing was placed, nothing is locked.

    reason: insufficient_funds, too_small, too_large, below_min_notional, off_tick, off_lot, price_band,
    too_many_orders, closed, halted, duplicate, reduce_only.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class AlreadyEnded(Exception):
    """The order to cancel is filled, cancelled or expired; its state is in `order.status`."""

    def __init__(self, order: Order) -> None:
        super().__init__(f"order {order.id} is {order.status}")
        self.order = order
