"""How bitFlyer refuses when a fault strikes, and what each of its paths asks for (docs/venues.md#bitflyer)."""

from typing import Any

from aiohttp import web

from simvenue.bitflyer_public import BitflyerPublic
from simvenue.bitflyer_replies import NOT_AUTHENTIC, RATE_LIMIT, BitflyerRefusal, refused, replied
from simvenue.pages import page

MAINTENANCE = -2
NOT_ACCEPTED = -208

_PRIVATE_OPERATIONS = {
    "sendchildorder": "place",
    "cancelchildorder": "cancel",
    "cancelallchildorders": "cancel_all",
    "getexecutions": "fills",
    "getbalance": "balances",
    "getpositions": "positions",
    "getcollateral": "collateral",
    "getcollateralaccounts": "collateral",
    "getpermissions": "key",
    "gettradingcommission": "fees",
}
_PUBLIC_OPERATIONS = {
    "ticker": "ticker",
    "board": "book",
    "executions": "trades",
    "markets": "instruments",
    "markets/usa": "instruments",
    "markets/eu": "instruments",
    "health": "status",
    "boardstate": "status",
}


def operation_of(request: web.Request) -> str:
    """Name what a request asks for; candles are trades here, and there is no call for the time."""
    name = request.path.removeprefix("/v1/")
    if not name.startswith("me/"):
        return _PUBLIC_OPERATIONS.get(name.removeprefix("get"), "other")
    name = name.removeprefix("me/")
    if name != "getchildorders":
        return _PRIVATE_OPERATIONS.get(name, "other")
    if request.query.get("child_order_acceptance_id") or request.query.get("child_order_id"):
        return "order"
    # without a state the list has active orders and ended ones: the way to find an order that was lost
    return "open_orders" if request.query.get("child_order_state") == "ACTIVE" else "order_history"


class BitflyerRefusals:
    """Render what the venue says instead of an answer."""

    def __init__(self, public: BitflyerPublic) -> None:
        self._public = public

    def answer(self, why: str, request: web.Request, operation: str) -> web.Response | None:
        """Give the venue's answer, None where it answers as always (see Wire.refusal)."""
        if why == "maintenance":
            return self._maintenance(request)
        if why == "rate_limited_html":
            return page(429)
        if why == "cancel_refused":
            return web.Response(status=200)  # a cancel is never refused at the door: the order rests on
        if why == "server_error" and operation != "place":
            return web.json_response({"Message": "An error has occurred."}, status=500)  # the framework's own words
        return refused(
            {
                "server_error": BitflyerRefusal(
                    NOT_ACCEPTED, "Order is not accepted. Please try again later.", http_status=500
                ),
                "rate_limited": BitflyerRefusal(RATE_LIMIT, "Over API limit per period", http_status=429),
                "auth_revoked": BitflyerRefusal(NOT_AUTHENTIC, "Key not found", http_status=401),
            }[why]
        )

    def _maintenance(self, request: web.Request) -> web.Response:
        """Refuse with -2; where a state is shown it is shown."""
        shown: dict[str, Any]
        name = request.path.removeprefix("/v1/").removeprefix("get")
        try:
            if name == "health":
                shown = self._public.health(request.query) | {"status": "STOP"}
            elif name == "boardstate":
                shown = self._public.board_state(request.query) | {"health": "STOP", "state": "CLOSED"}
            elif name == "ticker":
                shown = self._public.ticker(request.query) | {"state": "CLOSED"}
            else:
                raise BitflyerRefusal(MAINTENANCE, "Under maintenance")
        except BitflyerRefusal as refusal:
            return refused(refusal)
        return replied(shown)
