"""Bybit v5 on loopback: pairs, limits, and the door for every request (docs/venues.md#bybit)."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal

from aiohttp import web

from simvenue.bybit_account import BybitAccount
from simvenue.bybit_market import BybitMarket
from simvenue.bybit_orders import BybitOrders
from simvenue.bybit_protocol import (
    TOO_MANY_VISITS,
    Call,
    Refusal,
    check_signature,
    envelope,
    raw_query,
    read_params,
)
from simvenue.bybit_refusals import BybitRefusals, operation_of
from simvenue.rates import RateWindow
from simvenue.values import Order, Pair, VenueSpec
from simvenue.venue import Venue

SPEC = VenueSpec(
    name="bybit",
    pairs=(
        Pair(
            symbol="BTC/USDT",
            venue_symbol="BTCUSDT",
            base="BTC",
            quote="USDT",
            kind="spot",
            tick=Decimal("0.1"),
            lot=Decimal("0.000001"),
            min_quantity=Decimal("0.000011"),
            min_notional=Decimal(5),
            max_quantity=Decimal(83),
            maker_rate=Decimal("0.001"),
            taker_rate=Decimal("0.001"),
            fee_in="received",
            fee_step=None,
            quote_step=None,
            start_price=Decimal(65_000),
            category="spot",
            max_market_quantity=Decimal("41.5"),
        ),
        Pair(
            symbol="ETH/USDT",
            venue_symbol="ETHUSDT",
            base="ETH",
            quote="USDT",
            kind="spot",
            tick=Decimal("0.01"),
            lot=Decimal("0.00001"),
            min_quantity=Decimal("0.0001"),
            min_notional=Decimal(5),
            max_quantity=Decimal(1_600),
            maker_rate=Decimal("0.001"),
            taker_rate=Decimal("0.001"),
            fee_in="received",
            fee_step=None,
            quote_step=None,
            start_price=Decimal(3_400),
            category="spot",
            max_market_quantity=Decimal(800),
        ),
        Pair(
            symbol="BTC/USDT:USDT",
            venue_symbol="BTCUSDT",
            base="BTC",
            quote="USDT",
            kind="perpetual",
            tick=Decimal("0.1"),
            lot=Decimal("0.001"),
            min_quantity=Decimal("0.001"),
            min_notional=Decimal(5),
            max_quantity=Decimal(1_190),
            maker_rate=Decimal("0.0002"),
            taker_rate=Decimal("0.00055"),
            fee_in="quote",
            fee_step=None,
            quote_step=None,
            start_price=Decimal(65_000),
            category="linear",
            max_market_quantity=Decimal(500),
        ),
    ),
    opening={"USDT": Decimal(10_000), "BTC": Decimal("0.1")},
    collateral={},
    max_open_orders=500,
    daily_gap=None,
    price_band=None,  # one-sided at this venue: bybit_orders judges it
    expires=False,
    not_simulated=(
        "Bybit: websockets; amending; conditional, take-profit, stop-loss and batch orders; sells by value",
        "Bybit: inverse contracts and options (empty lists); funding payments; index prices; liquidation",
        "Bybit: margin on spot, hedge mode, transfers, withdrawals, sub-accounts, notices of planned maintenance",
        "Bybit: turnover figures are estimated from candles",
    ),
)

IP_LIMIT, IP_WINDOW_MS, BAN_MS = 600, 5_000, 600_000
GUIDE_LIMIT, GUIDE_WINDOW_MS = 120, 60_000

# requests a second per account: path -> limit, or limits by category
PER_SECOND: dict[str, dict[str, int]] = {
    "/v5/account/wallet-balance": {"": 50},
    "/v5/account/info": {"": 50},
    "/v5/user/query-api": {"": 10},
    "/v5/asset/coin/query-info": {"": 5},
    "/v5/account/fee-rate": {"": 5},
    "/v5/order/create": {"spot": 20, "linear": 10},
    "/v5/order/cancel": {"spot": 20, "linear": 10},
    "/v5/order/cancel-all": {"spot": 20, "linear": 10},
    "/v5/order/realtime": {"": 50},
    "/v5/order/history": {"": 50},
    "/v5/execution/list": {"": 50},
    "/v5/position/list": {"": 50},
    "/v5/position/set-leverage": {"": 10},
    "/v5/order/disconnected-cancel-all": {"": 5},
    "/v5/account/query-dcp-info": {"": 5},
}


@dataclass
class AddressWindow(RateWindow):
    """The limit per IP address: who breaks it is kept out for ten minutes of market time."""

    banned_until: int = 0

    def has_room(self, now_ms: int, weight: int) -> bool:
        if now_ms < self.banned_until:
            return False
        if super().has_room(now_ms, weight):
            return True
        self.banned_until = now_ms + BAN_MS
        return False


class BybitWire:
    """Speak Bybit v5 for one venue."""

    spec = SPEC

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._public: dict[tuple[str, str], Call] = BybitMarket(venue).calls
        self._private: dict[tuple[str, str], Call] = BybitAccount(venue).calls | BybitOrders(venue).calls
        self._refusals = BybitRefusals(venue.clock)
        self._account_windows: list[RateWindow] = []

    def limits(self, which: str) -> list[RateWindow]:
        """Published: 600 in 5 s per address, and per endpoint and second per account. Guide: 120 a minute."""
        if which == "guide":
            window = RateWindow("account", GUIDE_LIMIT, GUIDE_WINDOW_MS, lambda request, body: 1)
            self._account_windows = [window]
            return [window]
        address = AddressWindow("address", IP_LIMIT, IP_WINDOW_MS, lambda request, body: 1)
        self._account_windows = [
            RateWindow(f"{path} {word}".strip(), limit, 1000, _counts(path, word))
            for path, by_category in PER_SECOND.items()
            for word, limit in by_category.items()
        ]
        return [address, *self._account_windows]

    def routes(self) -> list[web.RouteDef]:
        public = [web.route(*key, self._handler(call, private=False)) for key, call in self._public.items()]
        private = [web.route(*key, self._handler(call, private=True)) for key, call in self._private.items()]
        return public + private

    def rate_refusal(self, request: web.Request, window: RateWindow) -> web.Response:
        """Refuse an address with HTTP 403 and a text, an account with 10006 and the time to come back."""
        if window.name == "address":
            return web.Response(status=403, text="access too frequent")
        return envelope(
            TOO_MANY_VISITS,
            "Too many visits. Exceeded the API Rate Limit.",
            {},
            self._venue.clock.wall_ms(),
            self._limit_headers(window),
        )

    def not_found(self, request: web.Request) -> web.Response:
        return web.Response(status=404, text="404 page not found")

    def operation(self, request: web.Request, body: bytes) -> str:
        return operation_of(request, body)

    def needs_key(self, request: web.Request) -> bool:
        return (request.method, request.path) in self._private

    def refusal(self, why: str, request: web.Request, body: bytes, operation: str) -> web.Response | None:
        return self._refusals.answer(why, request, body, operation)

    def order_id(self, order: Order) -> str:
        """Make a 19-digit number for a spot order, a UUID for a contract's."""
        if self._is_spot(order):
            return f"{order.created_at}{order.number:06d}"
        return str(uuid.UUID(int=self._venue.rng.getrandbits(128), version=4))

    def fill_id(self, number: int, order: Order, at: int) -> str:
        if self._is_spot(order):
            return f"22{at}{number:06d}"
        return str(uuid.UUID(int=self._venue.rng.getrandbits(128), version=4))

    def _is_spot(self, order: Order) -> bool:
        return any(pair.symbol == order.symbol and pair.kind == "spot" for pair in SPEC.pairs)

    def _handler(self, call: Call, *, private: bool) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            return self._answer(request, await request.read(), call, private)

        return handle

    def _answer(self, request: web.Request, body: bytes, call: Call, private: bool) -> web.Response:
        clock = self._venue.clock
        headers = {}
        try:
            if private:
                signed = raw_query(request).encode() if request.method == "GET" else body
                check_signature(request.headers, signed, self._venue.keys, clock.wall_ms())
                counted = [window for window in self._account_windows if window.weigh(request, body)]
                headers = self._limit_headers(counted[0]) if counted else {}
            result = call(read_params(request, body))
        except Refusal as refusal:
            return envelope(refusal.code, refusal.message, {}, clock.wall_ms(), headers)
        # the server's time is the wall's; every other answer is stamped with the time of its data
        time_ms = clock.wall_ms() if request.path == "/v5/market/time" else clock.now_ms()
        if request.path.startswith("/v5/market/") and request.path != "/v5/market/time":
            time_ms = self._venue.shown.market_ms()
        return envelope(0, "OK", result, time_ms, headers)

    def _limit_headers(self, window: RateWindow) -> dict[str, str]:
        now_ms = self._venue.clock.now_ms()
        # a client sleeps until the reset by its own clock, so it is told in the wall's time
        reset_ms = self._venue.clock.wall_ms() + window.resets_at(now_ms) - now_ms
        return {
            "X-Bapi-Limit": str(window.limit),
            "X-Bapi-Limit-Status": str(window.remaining(now_ms)),
            "X-Bapi-Limit-Reset-Timestamp": str(reset_ms),
        }


def _counts(path: str, word: str) -> Callable[[web.Request, bytes], int]:
    """Count one path; with a category only the requests which name it."""

    def weigh(request: web.Request, body: bytes) -> int:
        if request.path != path:
            return 0
        if not word:
            return 1
        try:
            return int(read_params(request, body).get("category") == word)
        except Refusal:
            return 0  # not readable: refused as such, and no window is its own

    return weigh


WIRE = BybitWire
