"""The place around every wire request where a venue may misbehave.

A fault is an `Around`: it gets the request and the handler, and may answer before the handler, instead of it
or after it, or break the connection. The server runs every admitted wire request through one; control calls
never.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Around = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]


async def undisturbed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Behave well: let the venue answer."""
    return await handler(request)
