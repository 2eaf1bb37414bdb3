"""bitFlyer on the wire: products, routes, who is let in, what its limits count (docs/venues.md#bitflyer)."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from aiohttp import web

from simvenue.bitflyer_account import BitflyerAccount
from simvenue.bitflyer_auth import BitflyerGate
from simvenue.bitflyer_orders import BitflyerOrders
from simvenue.bitflyer_public import BitflyerPublic
from simvenue.bitflyer_refusals import BitflyerRefusals, operation_of
from simvenue.bitflyer_replies import (
    NOT_AUTHENTIC,
    RATE_LIMIT,
    BitflyerRefusal,
    Parameters,
    acceptance_id,
    no_resource,
    not_found,
    parameters_of,
    refused,
    replied,
)
from simvenue.rates import RateWindow
from simvenue.values import Order, Pair, VenueSpec
from simvenue.venue import Venue

Handler = Callable[[web.Request], Awaitable[web.Response]]
Call = Callable[[Parameters], Any]

FIVE_MINUTES_MS = 300_000
SMALL_SIZE = Decimal("0.1")
# what opens risk or loads the matching shares one budget; a single cancel is not part of it
ORDER_GROUP = frozenset(f"/v1/me/{name}" for name in ("sendchildorder", "sendparentorder", "cancelallchildorders"))
FIRST_EXECUTION_ID = 2_600_000_000


@dataclass
class SmallOrderWindow(RateWindow):
    """Orders of 0.1 or less: 100 a minute, and for an hour after a breach 10 a minute."""

    lowered_limit: int = 10
    lowered_for_ms: int = 3_600_000
    lowered_until: int = 0

    def has_room(self, now_ms: int, weight: int) -> bool:
        """Tell whether one more fits; the first that does not starts the hour."""
        if now_ms < self.lowered_until:
            return self.used(now_ms) + weight <= self.lowered_limit
        if super().has_room(now_ms, weight):
            return True
        self.lowered_until = now_ms + self.lowered_for_ms
        return False

    def remaining(self, now_ms: int) -> int:
        """Give how many more fit now."""
        limit = self.lowered_limit if now_ms < self.lowered_until else self.limit
        return max(0, limit - self.used(now_ms))


def _pair(code: str, base: str, kind: str, smallest: str, rate: str, start: str) -> Pair:
    perpetual = kind == "perpetual"
    return Pair(
        symbol=f"{base}/JPY:JPY" if perpetual else f"{base}/JPY",
        venue_symbol=code,
        base=base,
        quote="JPY",
        kind=kind,
        tick=Decimal(1),
        lot=Decimal("0.00000001"),
        min_quantity=Decimal(smallest),
        min_notional=None,
        max_quantity=None,
        maker_rate=Decimal(rate),
        taker_rate=Decimal(rate),
        fee_in="quote" if perpetual else "base",
        fee_step=None,
        quote_step=Decimal(1),
        start_price=Decimal(start),
        leverage=Decimal(2),
    )


class BitflyerWire:
    """Speak bitFlyer Lightning's HTTP protocol."""

    spec = VenueSpec(
        name="bitflyer",
        pairs=(
            _pair("BTC_JPY", "BTC", "spot", "0.001", "0.0015", "10000000"),
            _pair("ETH_JPY", "ETH", "spot", "0.01", "0.0015", "400000"),
            _pair("FX_BTC_JPY", "BTC", "perpetual", "0.001", "0", "10000000"),
        ),
        opening={"JPY": Decimal(5_000_000), "BTC": Decimal("0.1")},
        collateral={"JPY": Decimal(1_000_000)},
        max_open_orders=None,
        daily_gap=(19 * 60, 10),  # 04:00 to 04:10 in Japan
        price_band=None,
        not_simulated=(
            "bitflyer: parent orders (the key lacks the permission), the Realtime API, transfers",
            "bitflyer: funding (its rate is stated as 0), leverage points, margin calls and liquidation",
            "bitflyer: a partly closed CFD position books its profit at the average entry price, not by lot",
            "bitflyer: circuit breaks by the price and pre-open (one is set as a fault, and ends without an auction)",
            "bitflyer: the block and the lowered limit after a general rate breach",
        ),
    )

    def __init__(self, venue: Venue) -> None:
        """Serve this venue."""
        self._venue = venue
        self._public = BitflyerPublic(venue)
        self._orders = BitflyerOrders(venue)
        self._account = BitflyerAccount(venue)
        self._refusals = BitflyerRefusals(self._public)
        self._gate = BitflyerGate(venue.keys)
        self._windows: list[RateWindow] = []

    def limits(self, which: str) -> list[RateWindow]:
        """Give the rate windows: the published five-minute ones, or the operations guide's 100 a minute."""
        if which == "guide":
            self._windows = [RateWindow("guide", 100, 60_000, lambda request, body: 1)]
        else:
            self._windows = [
                RateWindow("ip address", 500, FIVE_MINUTES_MS, lambda request, body: 1),
                RateWindow("private", 500, FIVE_MINUTES_MS, lambda request, body: int(_is_private(request))),
                RateWindow("orders", 300, FIVE_MINUTES_MS, lambda request, body: int(_is_order(request))),
                SmallOrderWindow("small orders", 100, 60_000, _small_order),
            ]
        return self._windows

    def routes(self) -> list[web.RouteDef]:
        """Give the paths, public ones also under their names without `get`."""
        public = self._public
        reads: dict[str, Call] = {
            "getmarkets": public.markets,
            "getmarkets/usa": public.markets_abroad,
            "getmarkets/eu": public.markets_abroad,
            "getticker": public.ticker,
            "getboard": public.board,
            "getexecutions": public.executions,
            "gethealth": public.health,
            "getboardstate": public.board_state,
            "getcorporateleverage": public.corporate_leverage,
            "getchats": public.chats,
        }
        for name in ("markets", "markets/usa", "markets/eu", "ticker", "board", "executions"):
            reads[name] = reads[f"get{name}"]
        return [
            *[web.get(f"/v1/{name}", self._open(call)) for name, call in reads.items()],
            web.get("/v1/getfundingrate", self._funding(public.funding_rate)),
            web.get("/v1/getfundingratehistory", self._funding(public.funding_rate_history)),
            *[web.get(f"/v1/me/{name}", self._signed(call)) for name, call in self._private_reads().items()],
            *[web.post(f"/v1/me/{name}", self._signed(call)) for name, call in self._private_posts().items()],
            *[
                web.post(f"/v1/me/{name}", self._signed(_not_permitted))
                for name in ("sendparentorder", "cancelparentorder", "sendcoin", "withdraw")
            ],
        ]

    def rate_refusal(self, request: web.Request, window: RateWindow) -> web.Response:
        """Answer a request too many: HTTP 429 with status -1."""
        unit = "per minute" if window.window_ms == 60_000 else "per period"
        by = ", per IP address" if window.name == "ip address" else ""
        refusal = BitflyerRefusal(RATE_LIMIT, f"Over API limit {unit}{by}", http_status=429)
        return self._with_limits(request, refused(refusal))

    def not_found(self, request: web.Request) -> web.Response:
        """Answer an unknown path: HTTP 404 with a page."""
        return not_found()

    def operation(self, request: web.Request, body: bytes) -> str:
        """Name what a request asks for."""
        return operation_of(request)

    def needs_key(self, request: web.Request) -> bool:
        """Tell whether a request is of the account."""
        return _is_private(request)

    def refusal(self, why: str, request: web.Request, body: bytes, operation: str) -> web.Response | None:
        """Answer a request that a fault strikes."""
        answer = self._refusals.answer(why, request, operation)
        return answer if answer is None else self._with_limits(request, answer)

    def order_id(self, order: Order) -> str:
        """Make the acceptance id, by which clients know the order."""
        return acceptance_id(order.created_at, order.number)

    def fill_id(self, number: int, order: Order, at: int) -> str:
        """Number the account's executions upwards across all products."""
        return str(FIRST_EXECUTION_ID + number)

    def _private_reads(self) -> dict[str, Call]:
        account, orders = self._account, self._orders
        return {
            "getpermissions": self._permissions,
            "getbalance": account.balances,
            "getcollateral": account.collateral,
            "getcollateralaccounts": account.collateral_accounts,
            "getpositions": account.positions,
            "getbalancehistory": account.balance_history,
            "getcollateralhistory": account.collateral_history,
            "gettradingcommission": account.trading_commission,
            "getaddresses": account.nothing,
            "getcoinins": account.nothing,
            "getcoinouts": account.nothing,
            "getbankaccounts": account.nothing,
            "getdeposits": account.nothing,
            "getwithdrawals": account.nothing,
            "getchildorders": orders.orders,
            "getexecutions": orders.executions,
            "getparentorders": orders.parent_orders,
            "getparentorder": orders.parent_order,
        }

    def _private_posts(self) -> dict[str, Call]:
        orders = self._orders
        return {
            "sendchildorder": orders.send,
            "cancelchildorder": orders.cancel,
            "cancelallchildorders": orders.cancel_all,
        }

    def _permissions(self, _: Parameters) -> list[str]:
        names = [*self._private_reads(), *self._private_posts()]
        withdraws = self._venue.faults.strike("withdraw_permission", "key", ("key",)) is not None
        if withdraws or self._venue.keys.in_use().may_withdraw:
            names += ["sendcoin", "withdraw"]
        return [f"/v1/me/{name}" for name in names]

    def _open(self, call: Call) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            return self._with_limits(request, _answer(call, dict(request.query)))

        return handle

    def _funding(self, call: Call) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            if "product_code" not in request.query:
                return self._with_limits(request, no_resource(request))
            return self._with_limits(request, _answer(call, dict(request.query)))

        return handle

    def _signed(self, call: Call) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            body = await request.read()
            message = self._gate.refusal(
                request.method, request.raw_path, body, request.headers, self._venue.clock.wall_ms()
            )
            if message is not None:
                refusal = BitflyerRefusal(NOT_AUTHENTIC, message, http_status=401)
                return self._with_limits(request, refused(refusal))
            if request.method == "GET":
                return self._with_limits(request, _answer(call, dict(request.query)))
            return self._with_limits(request, _answer_body(call, body))

        return handle

    def _with_limits(self, request: web.Request, response: web.Response) -> web.Response:
        """Add what is left of the tightest window that this request counts in."""
        counting = [window for window in self._windows if window.weigh(request, b"")]
        if counting:
            now_ms = self._venue.clock.now_ms()
            window = min(counting, key=lambda window: window.remaining(now_ms))
            resets_at = window.resets_at(now_ms)
            response.headers["X-RateLimit-Period"] = str(max(0, -(-(resets_at - now_ms) // 1000)))
            response.headers["X-RateLimit-Remaining"] = str(window.remaining(now_ms))
            response.headers["X-RateLimit-Reset"] = str(-(-resets_at // 1000))
        return response


def _answer(call: Call, parameters: Parameters) -> web.Response:
    try:
        data = call(parameters)
    except BitflyerRefusal as refusal:
        return refused(refusal)
    # cancels are answered with nothing at all
    return web.Response(status=200) if data is None else replied(data)


def _answer_body(call: Call, body: bytes) -> web.Response:
    try:
        parameters = parameters_of(body)
    except BitflyerRefusal as refusal:
        return refused(refusal)
    return _answer(call, parameters)


def _not_permitted(_: Parameters) -> None:
    raise BitflyerRefusal(NOT_AUTHENTIC, "Permission denied", http_status=401)


def _is_private(request: web.Request) -> bool:
    return request.path.startswith("/v1/me/")


def _is_order(request: web.Request) -> bool:
    return request.method == "POST" and request.path in ORDER_GROUP


def _small_order(request: web.Request, body: bytes) -> int:
    if request.method != "POST" or request.path != "/v1/me/sendchildorder":
        return 0
    try:
        size = Decimal(str(json.loads(body, parse_float=Decimal)["size"]))
        return int(size <= SMALL_SIZE)
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
        return 0  # no order at all: it will be refused for its form


WIRE = BitflyerWire
