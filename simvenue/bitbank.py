"""bitbank on the wire: pairs, routes, who is let in, what counts in a rate limit (docs/venues.md#bitbank)."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from aiohttp import web

from simvenue.bitbank_auth import BitbankGate
from simvenue.bitbank_orders import BitbankAccount, Parameters
from simvenue.bitbank_public import BitbankPublic, NoSuchFile
from simvenue.bitbank_refusals import PRIVATE, BitbankRefusals, operation_of
from simvenue.bitbank_replies import (
    TOO_FREQUENT,
    BitbankRefusal,
    not_found,
    parameters_of,
    refused,
    succeeded,
)
from simvenue.rates import RateWindow
from simvenue.values import Order, Pair, VenueSpec
from simvenue.venue import Venue

Handler = Callable[[web.Request], Awaitable[web.Response]]

UPDATES = frozenset(f"/v1/user/{path}" for path in ("spot/order", "spot/cancel_order", "spot/cancel_orders"))

# a little short: ccxt's own pacing puts seven writes into 996 ms, and lives with the venue
SECOND_MS = 950
FIRST_ORDER_ID = 48_000_000_000
FIRST_TRADE_ID = 1_400_000_000


def _pair(base: str, start: str, tick: str, maker: str, taker: str, largest: str, largest_market: str) -> Pair:
    return Pair(
        symbol=f"{base}/JPY",
        venue_symbol=f"{base.lower()}_jpy",
        base=base,
        quote="JPY",
        kind="spot",
        tick=Decimal(tick),
        lot=Decimal("0.0001"),
        min_quantity=Decimal("0.0001"),
        min_notional=None,
        max_quantity=Decimal(largest),
        max_market_quantity=Decimal(largest_market),
        maker_rate=Decimal(maker),
        taker_rate=Decimal(taker),
        fee_in="quote",
        fee_step=None,
        quote_step=None,
        start_price=Decimal(start),
    )


class BitbankWire:
    """Speak bitbank's REST protocol; one address serves its public and its private host."""

    spec = VenueSpec(
        name="bitbank",
        pairs=(
            # since February 2026 makers of BTC/JPY pay nothing; makers of other pairs get a rebate
            _pair("BTC", "10000000", "1", "0", "0.001", "1000", "10"),
            _pair("ETH", "400000", "1", "-0.0002", "0.0012", "10000", "100"),
            _pair("XRP", "300", "0.001", "-0.0002", "0.0012", "5000000", "100000"),
        ),
        opening={"JPY": Decimal(5_000_000), "BTC": Decimal("0.1")},
        collateral={},
        max_open_orders=30,
        daily_gap=None,
        price_band=None,
        expires=False,
        not_simulated=(
            "bitbank: orders that wait for a trigger price (refused with 40024), margin trading",
            "bitbank: the socket.io and PubNub streams, deposits and withdrawals",
            "bitbank: circuit breaks by the price (one is set as a fault, and ends without an auction)",
            "bitbank: delay of the cached public files; load (the smallest order rises as a fault only)",
        ),
    )

    def __init__(self, venue: Venue, error_status: int = 200) -> None:
        """Serve this venue; bitbank does not document the HTTP status of its refusals (`error_status`)."""
        self._venue = venue
        self._error_status = error_status
        self._public = BitbankPublic(venue)
        self._account = BitbankAccount(venue)
        self._refusals = BitbankRefusals(self._public, error_status)
        self._gate = BitbankGate(venue.keys)

    def limits(self, which: str) -> list[RateWindow]:
        """Give the rate windows: QUERY and UPDATE a second, or the operations guide's 60 a minute."""
        if which == "guide":
            return [RateWindow("guide", 60, 60_000, lambda request, body: 1)]
        return [
            RateWindow("query", 10, SECOND_MS, lambda request, body: int(_kind_of(request) == "query")),
            RateWindow("update", 6, SECOND_MS, lambda request, body: int(_kind_of(request) == "update")),
        ]

    def routes(self) -> list[web.RouteDef]:
        """Give the paths of both hosts."""
        account, public = self._account, self._public
        private_reads = {
            "assets": account.assets,
            "spot/order": account.order,
            "spot/active_orders": account.active_orders,
            "spot/trade_history": account.trade_history,
            "margin/status": account.margin_status,
            "margin/positions": account.margin_positions,
            "deposit_history": lambda parameters: {"deposits": []},
            "unconfirmed_deposits": lambda parameters: {"deposits": []},
            "withdrawal_account": lambda parameters: {"accounts": []},
            "withdrawal_history": lambda parameters: {"withdrawals": []},
        }
        private_posts = {
            "spot/order": account.place,
            "spot/cancel_order": account.cancel,
            "spot/cancel_orders": account.cancel_several,
            "spot/orders_info": account.orders_info,
        }
        return [
            # published clients ask for the pairs with and without the version
            web.get("/spot/pairs", self._open(lambda path: public.pairs())),
            web.get("/v1/spot/pairs", self._open(lambda path: public.pairs())),
            web.get("/v1/spot/status", self._open(lambda path: public.statuses())),
            *[web.get(f"/v1/user/{path}", self._signed(call)) for path, call in private_reads.items()],
            *[web.post(f"/v1/user/{path}", self._signed(call)) for path, call in private_posts.items()],
            web.get("/tickers", self._open(lambda path: public.tickers())),
            web.get("/tickers_jpy", self._open(lambda path: public.tickers("JPY"))),
            web.get("/{pair}/ticker", self._open(lambda path: public.ticker(path["pair"]))),
            web.get("/{pair}/depth", self._open(lambda path: public.depth(path["pair"]))),
            web.get("/{pair}/transactions", self._open(lambda path: public.newest_transactions(path["pair"]))),
            web.get(
                "/{pair}/transactions/{day}",
                self._open(lambda path: public.transactions(path["pair"], path["day"])),
            ),
            web.get(
                "/{pair}/candlestick/{kind}/{file}",
                self._open(lambda path: public.candles(path["pair"], path["kind"], path["file"])),
            ),
            web.get(
                "/{pair}/circuit_break_info",
                self._open(lambda path: public.circuit_break_info(path["pair"])),
            ),
        ]

    def rate_refusal(self, request: web.Request, window: RateWindow) -> web.Response:
        """Answer a request too many: HTTP 429 with code 10009."""
        return refused(TOO_FREQUENT, status=429)

    def not_found(self, request: web.Request) -> web.Response:
        """Answer an unknown path: HTTP 404 with code 10000."""
        return not_found()

    def operation(self, request: web.Request, body: bytes) -> str:
        """Name what a request asks for."""
        return operation_of(request)

    def needs_key(self, request: web.Request) -> bool:
        """Tell whether a request is of one user."""
        return request.path.startswith(PRIVATE)

    def refusal(self, why: str, request: web.Request, body: bytes, operation: str) -> web.Response | None:
        """Answer a request that a fault strikes."""
        return self._refusals.answer(why, request, operation)

    def order_id(self, order: Order) -> str:
        """Number orders upwards across all pairs."""
        return str(FIRST_ORDER_ID + order.number)

    def fill_id(self, number: int, order: Order, at: int) -> str:
        """Number fills upwards across all pairs."""
        return str(FIRST_TRADE_ID + number)

    def _open(self, render: Callable[[Any], Any]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            try:
                return succeeded(render(request.match_info))
            except NoSuchFile:
                return not_found()

        return handle

    def _signed(self, call: Callable[[Parameters], dict[str, Any]]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            body = await request.read()
            code = self._gate.refusal(
                request.method, request.raw_path, body, request.headers, self._venue.clock.wall_ms()
            )
            if code is not None:
                return refused(code, self._error_status)
            try:
                parameters = parameters_of(body) if request.method == "POST" else dict(request.query)
                return succeeded(call(parameters))
            except BitbankRefusal as refusal:
                return refused(refusal.code, self._error_status)

        return handle


def _kind_of(request: web.Request) -> str:
    # the public host states no limit; pairs and status need no key and so belong to no user
    if not request.path.startswith("/v1/user/"):
        return ""
    return "update" if request.method == "POST" and request.path in UPDATES else "query"


WIRE = BitbankWire
