"""What an exchange is to the rest of the house: our types in, our types out.

Two protocols, so that "cannot place" is a property of the type: `ExchangeReader` has no way to place or
cancel, `Exchange` adds them. Every method may raise the errors of `exchanges.errors`; reads may be repeated,
`place` never is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from services.clock import DateHeard
from trading.instruments import Instrument
from trading.market import Balance, Candle, OrderBook, Position, Ticker, VenueStatus
from trading.orders import Fill, OrderIntent, VenueOrder


@dataclass(frozen=True)
class KeyRights:
    """What the venue says the key may do; None where the venue cannot be asked (bitbank).

    `expires_at` (aware UTC) and `account_id` (the venue's own name of the account) are told by some venues only. No
    venue tells from which address it sees us: `local_address` is this machine's end of a way to it, which is another
    one where a router stands between.
    """

    can_read: bool | None
    can_trade: bool | None
    can_withdraw: bool | None
    restricted_to_addresses: bool | None
    detail: str = ""
    addresses: tuple[str, ...] = ()
    expires_at: datetime | None = None
    account_id: str = ""
    local_address: str = ""


@dataclass(frozen=True)
class Traffic:
    """Requests that this client has sent, and how fast they were answered (milliseconds, wall clock)."""

    requests: int
    errors: int
    latencies_ms: tuple[float, ...]  # the newest 500
    errors_by_kind: Mapping[str, int] = field(default_factory=dict)  # by class of exchanges.errors
    bytes_sent: int = 0  # URLs and bodies, without headers and TLS
    bytes_received: int = 0  # bodies
    budget_used: float | None = None  # share of our own requests a minute, by all processes; None: not to be read


class ExchangeReader(Protocol):
    """Reads one venue account. Nothing here can change anything at the venue."""

    name: str  # bybit, bitbank, bitflyer, okcoinjp

    async def instruments(self, *, read_since: datetime | None = None) -> Mapping[str, Instrument]:
        """Every instrument we can trade, by symbol (fee rates included); read once and kept, and again where that was
        before `read_since` (market time).
        """
        ...

    async def instrument(self, symbol: str) -> Instrument:
        """One instrument. Raises BadRequest, naming what is near, for a symbol that the venue lacks."""
        ...

    async def status(self, symbol: str) -> VenueStatus:
        """Whether orders for the symbol are taken now, in the venue's own words."""
        ...

    async def server_time(self) -> datetime | None:
        """The venue's clock as used for signatures (wall time); None where it cannot be read exactly."""
        ...

    async def ticker(self, symbol: str) -> Ticker: ...

    async def order_book(self, symbol: str, depth: int = 20) -> OrderBook: ...

    async def candles(self, symbol: str, timeframe: str, limit: int) -> tuple[Candle, ...]:
        """The last `limit` closed candles before market time now, oldest first; absent minutes stay absent.

        `timeframe` is one of 1m 5m 15m 30m 1h 4h 1d.
        """
        ...

    async def balances(self) -> Mapping[str, Balance]:
        """Assets that are not zero, by asset. bitFlyer's CFD collateral is in `collateral`, not here."""
        ...

    async def collateral(self) -> Mapping[str, Decimal]:
        """CFD collateral by currency (bitFlyer); empty where collateral and balance are one."""
        ...

    async def positions(self, symbol: str) -> tuple[Position, ...]:
        """Net position of a perpetual, empty when flat or for spot."""
        ...

    async def open_orders(self, symbol: str) -> tuple[VenueOrder, ...]:
        """All resting orders of the symbol, beyond the first page too."""
        ...

    async def order(self, symbol: str, venue_order_id: str) -> VenueOrder:
        """One order, resting or ended. Raises OrderNotFound, no proof: lists lag and records expire."""
        ...

    async def find_order(
        self, intent: OrderIntent, sent_at: datetime, known_ids: frozenset[str]
    ) -> tuple[VenueOrder, ...]:
        """Orders that may be this intent's: by client order id where one is known, else by fingerprint.

        `known_ids` are venue order ids that belong to other orders (baseline and ledger) and are left out.
        An empty answer proves nothing before the venue's patience has passed.
        """
        ...

    async def ended_orders(self, symbol: str, since: datetime) -> tuple[VenueOrder, ...]:
        """Orders made since a time that have ended, as far as the venue still lists them; bitbank lists none.

        That one is missing proves nothing: what ended without a fill is forgotten after hours (docs/venues.md).
        """
        ...

    async def fills(
        self, symbol: str, *, since: datetime | None = None, venue_order_id: str | None = None
    ) -> tuple[Fill, ...]:
        """Our fills, oldest first, each once: all since a time, or all of one order (every page)."""
        ...

    async def key_rights(self) -> KeyRights: ...

    def dates_heard(self) -> tuple[DateHeard, ...]:
        """The newest `Date` headers of the venue's answers: its clock in whole seconds, at no request."""
        ...

    def traffic(self) -> Traffic: ...

    async def close(self) -> None:
        """Close connections; at once, without ccxt's pause."""
        ...


class Exchange(ExchangeReader, Protocol):
    """Reads and trades one venue account."""

    async def room_for_an_order(self) -> None:
        """Return when the request budget has room for an order: waited for before the order is written down."""
        ...

    async def place(self, intent: OrderIntent) -> str:
        """Send the order once and return the venue's order id.

        Raises Refused or Busy when the venue certainly did not take it, NoAnswer in every other case. Never
        repeated.
        """
        ...

    async def cancel(self, symbol: str, venue_order_id: str) -> None:
        """Ask for the cancel; the order's state tells what came of it. An ended order is no error."""
        ...

    async def cancel_all(self, symbol: str) -> None:
        """Ask for the cancel of every resting order of the symbol, ours or not, in as few requests as the
        venue allows.

        Draws on the share of the request budget that is reserved for cancelling.
        """
        ...
