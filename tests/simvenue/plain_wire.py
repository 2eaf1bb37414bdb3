"""The smallest wire there is: it lets the tests reach the core over real HTTP."""

from decimal import Decimal as D

from aiohttp import web

from simvenue.rates import RateWindow
from simvenue.values import Order, OrderRequest, Rejection, VenueSpec
from simvenue.venue import Venue
from tests.simvenue.material import SPOT


class PlainWire:
    spec = VenueSpec("plain", (SPOT,), {"JPY": D(5_000_000), "BTC": D("0.1")}, {}, 30, None, D("0.2"))

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def limits(self, which: str) -> list[RateWindow]:
        return [RateWindow("all", 5 if which == "guide" else 10_000, 60_000, lambda request, body: 1)]

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/orders", self.place), web.get("/{symbol}/{what}", self.look)]

    async def place(self, request: web.Request) -> web.Response:
        asked = await request.json()
        price = D(asked["price"]) if "price" in asked else None
        wanted = OrderRequest(asked["symbol"], asked["side"], asked["type"], D(asked["quantity"]), price)
        try:
            order = self._venue.place(wanted)
        except Rejection as refusal:
            return web.json_response({"refused": refusal.reason}, status=400)
        return web.json_response({"id": order.id, "status": order.status})

    async def look(self, request: web.Request) -> web.Response:
        return web.json_response({"raw": request.raw_path, "last": str(self._venue.market("BTC/JPY").last)})

    def rate_refusal(self, request: web.Request, window: RateWindow) -> web.Response:
        return web.json_response({"refused": window.name}, status=429)

    def not_found(self, request: web.Request) -> web.Response:
        return web.json_response({"refused": "nothing here"}, status=404)

    def operation(self, request: web.Request, body: bytes) -> str:
        return "place" if request.method == "POST" else "ticker"

    def needs_key(self, request: web.Request) -> bool:
        return False

    def refusal(self, why: str, request: web.Request, body: bytes, operation: str) -> web.Response | None:
        return web.json_response({"refused": why}, status=500)

    def order_id(self, order: Order) -> str:
        return f"order-{order.number}"

    def fill_id(self, number: int, order: Order, at: int) -> str:
        return f"fill-{number}"
