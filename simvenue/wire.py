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

    def operation(self, request: web.Request, body: bytes) -> str:
        """Name what a request asks for, by one of simvenue.answer_faults.OPERATIONS; "other" for unknown paths."""
        ...

    def needs_key(self, request: web.Request) -> bool:
        """Tell whether the request is one that must be signed."""
        ...

    def refusal(self, why: str, request: web.Request, body: bytes, operation: str) -> web.Response | None:
        """Render the venue's own answer to a request that a fault strikes; None where it answers as always.

        why: server_error (HTTP 500), rate_limited, rate_limited_html, auth_revoked, maintenance, cancel_refused.
        """
        ...

    def order_id(self, order: Order) -> str:
        """Make the id under which clients see this order; number, symbol and created_at are set."""
        ...

    def fill_id(self, number: int, order: Order, at: int) -> str:
        """Make the id under which clients see fill `number` (1, 2, 3... of the venue) of this order."""
        ...
