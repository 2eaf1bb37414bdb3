"""OKJ V5 on loopback: pairs, limits, and the door for every request (docs/venues.md#okcoinjp)."""

from collections.abc import Awaitable, Callable
from decimal import Decimal

from aiohttp import web

from simvenue.okcoinjp_account import OkcoinjpAccount
from simvenue.okcoinjp_market import OkcoinjpMarket
from simvenue.okcoinjp_orders import OkcoinjpOrders
from simvenue.okcoinjp_protocol import (
    BAD_PARAMETER,
    RATE_REACHED,
    Action,
    Call,
    Refusal,
    check_signature,
    envelope,
    outcomes_envelope,
    read_params,
)
from simvenue.okcoinjp_refusals import OkcoinjpRefusals, is_public, operation_of
from simvenue.rates import RateWindow
from simvenue.values import Order, Pair, VenueSpec
from simvenue.venue import Venue

MAKER_RATE, TAKER_RATE = Decimal("0.0007"), Decimal("0.0014")
LOT = Decimal("0.00000001")

SPEC = VenueSpec(
    name="okcoinjp",
    pairs=(
        Pair(
            symbol="BTC/JPY",
            venue_symbol="BTC-JPY",
            base="BTC",
            quote="JPY",
            kind="spot",
            tick=Decimal(1),
            lot=LOT,
            min_quantity=Decimal("0.001"),
            min_notional=None,
            max_quantity=Decimal(100),
            maker_rate=MAKER_RATE,
            taker_rate=TAKER_RATE,
            fee_in="received",
            fee_step=LOT,
            quote_step=None,
            start_price=Decimal(10_000_000),
        ),
        Pair(
            symbol="ETH/JPY",
            venue_symbol="ETH-JPY",
            base="ETH",
            quote="JPY",
            kind="spot",
            tick=Decimal(1),
            lot=LOT,
            min_quantity=Decimal("0.01"),
            min_notional=None,
            max_quantity=Decimal(1_000),
            maker_rate=MAKER_RATE,
            taker_rate=TAKER_RATE,
            fee_in="received",
            fee_step=LOT,
            quote_step=None,
            start_price=Decimal(520_000),
        ),
    ),
    opening={"JPY": Decimal(5_000_000), "BTC": Decimal("0.1")},
    collateral={},
    max_open_orders=500,
    daily_gap=None,
    price_band=None,
    needs_passphrase=True,
    expires=False,
    not_simulated=(
        "OKJ: websockets, amending, algo orders, sells by value, self-trade prevention, a timer for one tag",
        "OKJ: the funding account is empty; transfers, deposits and withdrawals are refused",
        "OKJ: circuit breaks by the price and call auctions (one is set as a fault, and ends without an auction)",
        "OKJ: fee levels above Lv1; expTime; the legacy V3 paths",
        "OKJ: bills list fills only; volumes in quote are estimated from candles",
    ),
)

GATEWAY_LIMIT = 300
GUIDE_LIMIT, GUIDE_WINDOW_MS = 20, 60_000
BATCH_SIZE = 20
TWO_SECONDS_MS = 2_000

# requests in 2 s: of an address on public paths, of the account on private ones
PER_TWO_SECONDS = {
    "GET /api/v5/public/time": 10,
    "GET /api/v5/public/instruments": 20,
    "GET /api/v5/market/tickers": 20,
    "GET /api/v5/market/ticker": 20,
    "GET /api/v5/market/books": 40,
    "GET /api/v5/market/books-full": 10,
    "GET /api/v5/market/candles": 40,
    "GET /api/v5/market/history-candles": 20,
    "GET /api/v5/market/trades": 40,
    "GET /api/v5/account/balance": 10,
    "GET /api/v5/account/config": 5,
    "GET /api/v5/account/trade-fee": 5,
    "GET /api/v5/account/instruments": 20,
    "GET /api/v5/account/max-size": 20,
    "GET /api/v5/account/max-avail-size": 20,
    "GET /api/v5/trade/order": 60,
    "GET /api/v5/trade/orders-pending": 60,
    "GET /api/v5/trade/orders-history": 40,
    "GET /api/v5/trade/orders-history-archive": 20,
    "GET /api/v5/trade/fills": 60,
    "GET /api/v5/trade/fills-history": 10,
}
# orders in 2 s, each instrument by itself
PER_INSTRUMENT = {"POST /api/v5/trade/order": 60, "POST /api/v5/trade/cancel-order": 60}
# orders, not requests, in 2 s
PER_BATCH = {"POST /api/v5/trade/batch-orders": 300, "POST /api/v5/trade/cancel-batch-orders": 300}
TIMER = "POST /api/v5/trade/cancel-all-after"


class OkcoinjpWire:
    """Speak OKJ V5 for one venue."""

    spec = SPEC

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        orders = OkcoinjpOrders(venue)
        self._public: dict[tuple[str, str], Call] = OkcoinjpMarket(venue).calls
        self._private: dict[tuple[str, str], Call] = OkcoinjpAccount(venue).calls | orders.calls
        self._actions: dict[tuple[str, str], Action] = orders.actions
        self._refusals = OkcoinjpRefusals()
        self._gateway = RateWindow("gateway", GATEWAY_LIMIT, 1000, lambda request, body: 1)

    def limits(self, which: str) -> list[RateWindow]:
        """Published: 300 a second at the gateway, then per path in 2 s. Guide: 20 a minute."""
        if which == "guide":
            return [
                self._gateway,
                RateWindow("account", GUIDE_LIMIT, GUIDE_WINDOW_MS, lambda request, body: 1),
            ]
        windows = [RateWindow(name, limit, TWO_SECONDS_MS, _counts(name)) for name, limit in PER_TWO_SECONDS.items()]
        for name, limit in PER_INSTRUMENT.items():
            for pair in SPEC.pairs:
                weigh = _counts_orders(name, pair.venue_symbol)
                windows.append(RateWindow(f"{name} {pair.venue_symbol}", limit, TWO_SECONDS_MS, weigh))
        windows += [
            RateWindow(name, limit, TWO_SECONDS_MS, _counts_orders(name, None)) for name, limit in PER_BATCH.items()
        ]
        return [self._gateway, *windows, RateWindow(TIMER, 1, 1000, _counts(TIMER))]

    def routes(self) -> list[web.RouteDef]:
        return [
            *(web.route(*key, self._reader(call, private=False)) for key, call in self._public.items()),
            *(web.route(*key, self._reader(call, private=True)) for key, call in self._private.items()),
            *(web.route(*key, self._actor(action)) for key, action in self._actions.items()),
        ]

    def rate_refusal(self, request: web.Request, window: RateWindow) -> web.Response:
        """Refuse with 50011: HTTP 429 where an address is counted, 200 where an account is."""
        by_address = window is self._gateway or "/market/" in window.name or "/public/" in window.name
        answer = envelope(RATE_REACHED, "Too Many Requests", [], 429 if by_address else 200)
        return self._with_gateway(answer)

    def not_found(self, request: web.Request) -> web.Response:
        """Render this venue's own 404: the code is a number and data an object."""
        document = {
            "code": 404,
            "data": {},
            "detailMsg": "",
            "error_code": "404",
            "error_message": "Not Found",
            "msg": "Not Found",
        }
        return self._with_gateway(web.json_response(document, status=404))

    def operation(self, request: web.Request, body: bytes) -> str:
        return operation_of(request)

    def needs_key(self, request: web.Request) -> bool:
        return not is_public(request)

    def refusal(self, why: str, request: web.Request, body: bytes, operation: str) -> web.Response | None:
        return self._with_gateway(self._refusals.answer(why, request, body))

    def order_id(self, order: Order) -> str:
        return f"{order.created_at}{order.number:06d}"

    def fill_id(self, number: int, order: Order, at: int) -> str:
        return str(number)

    def _reader(self, call: Call, *, private: bool) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            body = await request.read()
            try:
                if private:
                    self._admit(request, body)
                asked = read_params(request, body)
                answer = envelope("0", "", call(asked[0] if asked else {}))
            except Refusal as refusal:
                answer = envelope(refusal.code, refusal.message, [], refusal.status)
            return self._with_gateway(answer)

        return handle

    def _actor(self, action: Action) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            body = await request.read()
            try:
                self._admit(request, body)
                asked = read_params(request, body)
                if not 1 <= len(asked) <= BATCH_SIZE:
                    raise Refusal(BAD_PARAMETER, f"A batch has 1 to {BATCH_SIZE} orders", 400)
                answer = outcomes_envelope([action(each) for each in asked])
            except Refusal as refusal:
                answer = envelope(refusal.code, refusal.message, [], refusal.status)
            return self._with_gateway(answer)

        return handle

    def _admit(self, request: web.Request, body: bytes) -> None:
        check_signature(request, body, self._venue.keys, self._venue.clock.wall_ms())

    def _with_gateway(self, answer: web.Response) -> web.Response:
        remaining = str(self._gateway.remaining(self._venue.clock.now_ms()))
        answer.headers["ratelimit-limit"] = str(GATEWAY_LIMIT)
        answer.headers["ratelimit-remaining"] = remaining
        answer.headers["ratelimit-reset"] = "1"
        answer.headers["x-ratelimit-limit-second"] = str(GATEWAY_LIMIT)
        answer.headers["x-ratelimit-remaining-second"] = remaining
        return answer


def _counts(name: str) -> Callable[[web.Request, bytes], int]:
    return lambda request, body: int(f"{request.method} {request.path}" == name)


def _counts_orders(name: str, symbol: str | None) -> Callable[[web.Request, bytes], int]:
    """Count the orders that a request names, of one instrument or of all."""

    def weigh(request: web.Request, body: bytes) -> int:
        if f"{request.method} {request.path}" != name:
            return 0
        try:
            asked = read_params(request, body)
        except Refusal:
            return 0  # not readable: refused as such, no order is in it
        return sum(symbol in (None, each.get("instId")) for each in asked)

    return weigh


WIRE = OkcoinjpWire
