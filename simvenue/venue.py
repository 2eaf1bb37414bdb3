"""One simulated venue: market, books and account put together. A wire talks to nothing else of the core.

A wire module (simvenue/bitbank.py ...) has one class that fits `Wire` and names it at module level: `WIRE = BitbankWire`.
`spec` is an attribute of the class; the server builds `Venue(WIRE.spec, ...)`, then `WIRE(venue)`.
"""

from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Protocol

from aiohttp import web

from simvenue.clock import VenueClock
from simvenue.market import Market
from simvenue.rates import RateWindow
from simvenue.values import (
    AlreadyEnded,
    Bar,
    Candle,
    Fill,
    Level,
    Order,
    OrderRequest,
    Pair,
    Position,
    Rejection,
    Secrets,
    Ticker,
    Trade,
    VenueSpec,
)

__all__ = [
    "AlreadyEnded",
    "Bar",
    "Candle",
    "Fill",
    "Level",
    "Market",
    "Order",
    "OrderRequest",
    "Pair",
    "Position",
    "RateWindow",
    "Rejection",
    "Secrets",
    "Ticker",
    "Trade",
    "Venue",
    "VenueSpec",
    "Wire",
]


class Wire(Protocol):
    """What the server needs of a venue's wire protocol."""

    spec: VenueSpec

    def limits(self, which: str) -> list[RateWindow]:
        """Give the rate windows, "published" or "guide"; each says itself which requests count in it."""
        ...

    def routes(self) -> list[web.RouteDef]:
        """Give the paths; handlers are `async def handler(request) -> web.Response`. The body is already read:
        `await request.read()` gives the raw bytes, `request.raw_path` the path and query as sent."""
        ...

    def rate_refusal(self, request: web.Request, window: RateWindow) -> web.Response:
        """Render the venue's own answer to one request too many in `window`."""
        ...

    def not_found(self, request: web.Request) -> web.Response:
        """Render the venue's own 404 (also for a wrong method)."""
        ...

    def order_id(self, order: Order) -> str:
        """Make the id under which clients see this order; number, symbol and created_at are set."""
        ...

    def fill_id(self, number: int, order: Order, at: int) -> str:
        """Make the id under which clients see fill `number` (1, 2, 3... of the venue) of this order."""
        ...


class Venue:
    """One account at one venue, with its markets, on its own clock."""

    spec: VenueSpec
    clock: VenueClock
    secrets: Secrets
    rng: Random  # for ids and the like; the market has its own
    orders: list[Order]  # all, oldest first
    fills: list[Fill]  # all, oldest first

    def pair(self, symbol: str) -> Pair | None:
        """Find a pair by the symbol that ccxt writes."""
        raise NotImplementedError

    def pair_by_venue_symbol(self, text: str) -> Pair | None:
        """Find a pair by the venue's own symbol, exactly as written; where two share it (Bybit), the first."""
        raise NotImplementedError

    def market(self, symbol: str) -> Market:
        raise NotImplementedError

    def place(self, request: OrderRequest, id_maker: Callable[[Order], str] | None = None) -> Order:
        """Accept an order and match it at once. Ids come from the wire's order_id unless `id_maker` is given.

        Raises Rejection. A post-only order that would cross is accepted, then cancelled (why "post_only_cross").
        """
        raise NotImplementedError

    def cancel(self, order: Order) -> None:
        """Cancel an open order and free what it locked. Raises AlreadyEnded."""
        raise NotImplementedError

    def order_by_id(self, order_id: str) -> Order | None:
        raise NotImplementedError

    def order_by_client_id(self, client_id: str) -> Order | None:
        """Find the newest order with this client id ("" finds nothing)."""
        raise NotImplementedError

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """List what rests, oldest first."""
        raise NotImplementedError

    def fills_of(self, order: Order) -> list[Fill]:
        """List the fills of one order, oldest first."""
        raise NotImplementedError

    def balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Give {asset: (free, locked)}; locked is what resting spot orders hold. Margin is not taken out of free."""
        raise NotImplementedError

    def available(self, asset: str) -> Decimal:
        """Give what a new order could spend: free, less margin in use and fees still to come."""
        raise NotImplementedError

    def positions(self, symbol: str) -> list[Position]:
        """Give the net position: one item, or none when flat."""
        raise NotImplementedError

    def collateral(self) -> dict[str, Decimal]:
        """Give the margin account that is apart from the balances (bitFlyer), realised profit included."""
        raise NotImplementedError

    def unrealised(self, symbol: str) -> Decimal:
        """Give the open profit of the position at the last price, in quote."""
        raise NotImplementedError

    def position_margin(self, symbol: str) -> Decimal:
        """Give the margin that the position needs: quantity x entry price / leverage, in quote."""
        raise NotImplementedError

    def order_margin(self, symbol: str) -> Decimal:
        """Give the further margin that the resting orders of a perpetual need, in quote."""
        raise NotImplementedError

    def leverage(self, symbol: str) -> Decimal:
        raise NotImplementedError

    def set_leverage(self, symbol: str, leverage: Decimal) -> None:
        raise NotImplementedError

    def cancel_all_after(self, seconds: int | None) -> int | None:
        """Arm the dead man's switch in market time and give the ms at which it fires; None disarms."""
        raise NotImplementedError

    def catch_up(self) -> None:
        """Move the market to the clock's now; on a stepped clock it is there already."""
        raise NotImplementedError

    def advance(self, ms: int) -> int:
        """Move a stepped clock on, filling what rests on the way; give the new time. ValueError on a wall clock."""
        raise NotImplementedError
