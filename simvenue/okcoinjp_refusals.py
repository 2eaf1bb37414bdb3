"""How OKJ refuses when a fault strikes, and what each of its paths asks for (docs/venues.md#okcoinjp)."""

from aiohttp import web

from simvenue.okcoinjp_protocol import RATE_REACHED, Refusal, envelope, outcomes_envelope, read_params
from simvenue.pages import page

UNAVAILABLE = "50001"
SYSTEM_ERROR = "50026"
UNKNOWN_KEY = "50119"
ALREADY_CANCELLING = "51410"

_OPERATIONS = {
    "POST trade/order": "place",
    "POST trade/batch-orders": "place",
    "POST trade/cancel-order": "cancel",
    "POST trade/cancel-batch-orders": "cancel_all",  # the venue has no other way to cancel several
    "GET trade/order": "order",
    "GET trade/orders-pending": "open_orders",
    "GET trade/orders-history": "order_history",
    "GET trade/orders-history-archive": "order_history",
    "GET trade/fills": "fills",
    "GET trade/fills-history": "fills",
    "GET account/balance": "balances",
    "GET account/config": "key",
    "GET account/trade-fee": "fees",
    "GET account/instruments": "instruments",
    "GET public/instruments": "instruments",
    "GET public/time": "time",
    "GET market/ticker": "ticker",
    "GET market/tickers": "ticker",
    "GET market/books": "book",
    "GET market/books-full": "book",
    "GET market/candles": "candles",
    "GET market/history-candles": "candles",
    "GET market/trades": "trades",
}


def operation_of(request: web.Request) -> str:
    """Name what a request asks for; there is no call for the venue's status."""
    return _OPERATIONS.get(f"{request.method} {request.path.removeprefix('/api/v5/')}", "other")


def is_public(request: web.Request) -> bool:
    """Tell whether a path counts by address and needs no key."""
    return request.path.startswith(("/api/v5/public/", "/api/v5/market/"))


class OkcoinjpRefusals:
    """Render what the venue says instead of an answer."""

    def answer(self, why: str, request: web.Request, body: bytes) -> web.Response:
        """Give the venue's answer (see Wire.refusal)."""
        if why == "rate_limited_html":
            return page(429)
        if why == "cancel_refused":
            return self._not_cancelled(request, body)
        code, message, status = {
            "server_error": (SYSTEM_ERROR, "System error. Try again later", 500),
            "rate_limited": (RATE_REACHED, "Too Many Requests", 429 if is_public(request) else 200),
            "auth_revoked": (UNKNOWN_KEY, "API key doesn't exist", 200),
            "maintenance": (UNAVAILABLE, "Service temporarily unavailable. Try again later.", 503),
        }[why]
        return envelope(code, message, [], status)

    def _not_cancelled(self, request: web.Request, body: bytes) -> web.Response:
        """Refuse each cancel of a request by itself, as one that is under way already."""
        try:
            asked = read_params(request, body)
        except Refusal as refusal:
            return envelope(refusal.code, refusal.message, [], refusal.status)
        message = "Cancellation failed as the order is already being canceled."
        return outcomes_envelope(
            [
                {
                    "clOrdId": each.get("clOrdId", ""),
                    "ordId": each.get("ordId", ""),
                    "sCode": ALREADY_CANCELLING,
                    "sMsg": message,
                }
                for each in asked
            ]
        )
