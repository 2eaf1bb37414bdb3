"""What the server needs of a venue's wire protocol."""

from typing import Protocol

from aiohttp import web

from simvenue.rates import RateWindow
from simvenue.values import Order, VenueSpec


class Wire(Protocol):
    """One venue's paths, envelopes and refusals, over a Venue that it was built with."""

    spec: VenueSpec

    def limits(self, which: str) -> list[RateWindow]:
        """Give the rate windows, "published" or "guide"; each says itself which requests count in it."""
        ...

    def routes(self) -> list[web.RouteDef]:
        """Give the paths; handlers are `async def handler(request) -> web.Response`.

        The body is already read: `await request.read()` gives the raw bytes, `request.raw_path` the path and
        query as sent.
        """
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
