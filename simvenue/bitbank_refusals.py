"""How bitbank refuses when a fault strikes, and what each of its paths asks for (docs/venues.md#bitbank)."""

from aiohttp import web

from simvenue.bitbank_public import BitbankPublic
from simvenue.bitbank_replies import TOO_FREQUENT, refused, succeeded
from simvenue.pages import page

MAINTENANCE = 10007
UNKNOWN_KEY = 20002
NOT_CANCELLABLE = 50010
SYSTEM_ERROR = 70001

PRIVATE = "/v1/user/"
_PRIVATE_OPERATIONS = {
    "POST spot/order": "place",
    "POST spot/cancel_order": "cancel",
    "POST spot/cancel_orders": "cancel_all",  # the venue has no other way to cancel several
    "GET spot/order": "order",
    "POST spot/orders_info": "order",
    "GET spot/active_orders": "open_orders",
    "GET spot/trade_history": "fills",
    "GET assets": "balances",
    "GET margin/positions": "positions",
    "GET margin/status": "collateral",
}
_API_OPERATIONS = {"/spot/pairs": "instruments", "/v1/spot/pairs": "instruments", "/v1/spot/status": "status"}
_FILE_OPERATIONS = {
    "ticker": "ticker",
    "depth": "book",
    "transactions": "trades",
    "candlestick": "candles",
    "circuit_break_info": "status",
}


def operation_of(request: web.Request) -> str:
    """Name what a request asks for; there is no list of ended orders, and no call for time, key or fees."""
    if request.path.startswith(PRIVATE):
        return _PRIVATE_OPERATIONS.get(f"{request.method} {request.path.removeprefix(PRIVATE)}", "other")
    if request.path in _API_OPERATIONS:
        return _API_OPERATIONS[request.path]
    if request.path in ("/tickers", "/tickers_jpy"):
        return "ticker"
    parts = request.path.split("/")  # /btc_jpy/candlestick/1min/20260105
    return _FILE_OPERATIONS.get(parts[2], "other") if len(parts) > 2 else "other"


class BitbankRefusals:
    """Render what the venue says instead of an answer."""

    def __init__(self, public: BitbankPublic, error_status: int) -> None:
        """`error_status`: the HTTP status of refusals, which the venue does not document."""
        self._public = public
        self._error_status = error_status

    def answer(self, why: str, request: web.Request, operation: str) -> web.Response | None:
        """Give the venue's answer, None where it answers as always (see Wire.refusal)."""
        if why == "maintenance":
            return self._maintenance(request, operation)
        if why == "rate_limited_html":
            return page(429)
        code, status = {
            "server_error": (SYSTEM_ERROR, 500),
            "rate_limited": (TOO_FREQUENT, 429),
            "auth_revoked": (UNKNOWN_KEY, self._error_status),
            "cancel_refused": (NOT_CANCELLABLE, self._error_status),
        }[why]
        return refused(code, status)

    def _maintenance(self, request: web.Request, operation: str) -> web.Response | None:
        if not request.path.startswith("/v1/") and request.path != "/spot/pairs":
            return None  # files behind a cache: they are served while the venue is away
        if operation != "status":
            return refused(MAINTENANCE, self._error_status)
        rows = [{**row, "status": "HALT"} for row in self._public.statuses()["statuses"]]
        return succeeded({"statuses": rows})
