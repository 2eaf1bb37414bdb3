"""How Bybit refuses when a fault strikes, and what each of its paths asks for (docs/venues.md#bybit)."""

from aiohttp import web

from simvenue.bybit_protocol import BAD_KEY, TOO_MANY_VISITS, Refusal, envelope, read_params
from simvenue.clock import VenueClock

SERVER_ERROR = 10016  # an error inside, or the service is restarting
NOT_CANCELLED = {"spot": (170150, "Cancel order failed"), "linear": (110079, "The order is being processed")}
HOUR_MS = 3_600_000

_OPERATIONS = {
    "POST /v5/order/create": "place",
    "POST /v5/order/cancel": "cancel",
    "POST /v5/order/cancel-all": "cancel_all",
    "GET /v5/execution/list": "fills",
    "GET /v5/account/wallet-balance": "balances",
    "GET /v5/position/list": "positions",
    "GET /v5/market/tickers": "ticker",
    "GET /v5/market/orderbook": "book",
    "GET /v5/market/kline": "candles",
    "GET /v5/market/recent-trade": "trades",
    "GET /v5/market/instruments-info": "instruments",
    "GET /v5/system/status": "status",
    "GET /v5/market/time": "time",
    "GET /v5/user/query-api": "key",
    "GET /v5/account/fee-rate": "fees",
}


def operation_of(request: web.Request, body: bytes) -> str:
    """Name what a request asks for; either order list finds one order by its id, and realtime lists closed ones too."""
    named = f"{request.method} {request.path}"
    if named not in ("GET /v5/order/realtime", "GET /v5/order/history"):
        return _OPERATIONS.get(named, "other")
    params = read_params(request, body)
    if "orderId" in params or "orderLinkId" in params:
        return "order"
    closed = named.endswith("history") or params.get("openOnly") in ("1", "2")
    return "order_history" if closed else "open_orders"


class BybitRefusals:
    """Render what the venue says instead of an answer."""

    def __init__(self, clock: VenueClock) -> None:
        self._clock = clock

    def answer(self, why: str, request: web.Request, body: bytes, operation: str) -> web.Response | None:
        """Give the venue's answer, None where it answers as always (see Wire.refusal)."""
        if why == "maintenance":
            return self._maintenance(operation)
        if why == "rate_limited_html":
            return web.Response(status=403, text="access too frequent")
        if why == "rate_limited":
            return self._too_many_visits()
        if why == "server_error":
            answer = self._refused(SERVER_ERROR, "Internal System Error.")
            answer.set_status(500)
            return answer
        if why == "auth_revoked":
            return self._refused(BAD_KEY, "API key is invalid.")
        return self._refused(*NOT_CANCELLED[_category(request, body)])

    def _refused(self, code: int, message: str) -> web.Response:
        return envelope(code, message, {}, self._clock.wall_ms())

    def _too_many_visits(self) -> web.Response:
        """Refuse with 10006 and say, by the wall clock, that there is room again in a second."""
        now_ms = self._clock.wall_ms()
        headers = {
            "X-Bapi-Limit": "10",
            "X-Bapi-Limit-Status": "0",
            "X-Bapi-Limit-Reset-Timestamp": str(now_ms + 1_000),
        }
        message = "Too many visits. Exceeded the API Rate Limit."
        return envelope(TOO_MANY_VISITS, message, {}, now_ms, headers)

    def _maintenance(self, operation: str) -> web.Response | None:
        if operation == "time":
            return None
        if operation != "status":
            return self._refused(SERVER_ERROR, "Service is restarting.")
        now_ms = self._clock.wall_ms()
        event = {
            "id": "00000000-0000-4000-8000-000000000001",
            "title": "Unscheduled maintenance",
            "state": "ongoing",
            "begin": str(now_ms - now_ms % HOUR_MS),
            "end": str(now_ms - now_ms % HOUR_MS + 2 * HOUR_MS),
            "href": "",
            "serviceTypes": [1, 2, 3, 4, 5],
            "product": [1, 2],
            "uidSuffix": [],
            "maintainType": 2,
            "env": 1,
        }
        return envelope(0, "OK", {"list": [event]}, now_ms)


def _category(request: web.Request, body: bytes) -> str:
    try:
        word = read_params(request, body).get("category", "")
    except Refusal:  # not readable: the spot code serves
        word = ""
    return word if word in NOT_CANCELLED else "spot"
