"""OKCoin Japan (OKJ): spot in yen, on our subclass of ccxt's okx (docs/venues.md#okcoinjp).

OKJ speaks the V5 protocol of OKX at its own host, with fewer calls; ccxt has no class for it.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, ClassVar

import ccxt.async_support as ccxt

from exchanges import okcoinjp_rows as rows
from exchanges.adapter import Reader, from_ms, last_closed, timeframe_seconds, to_ms
from exchanges.answers import reading
from exchanges.base import KeyRights
from exchanges.budget import Window, urgent
from exchanges.errors import Maintenance, NoAnswer, OrderNotFound, Refused, VenueError
from exchanges.okcoinjp_errors import ERRORS
from exchanges.transport import Envelope, Purpose, Route, Transport, WaitWish, routes, seconds_of
from trading.instruments import Instrument, Side
from trading.market import Balance, Candle, Level, OrderBook, Ticker, VenueStatus
from trading.money import amount, plain
from trading.orders import Fill, OrderIntent, OrderType, TimeInForce, VenueOrder

ROWS_PER_PAGE = 100
CANDLES_PER_PAGE = 300
OLD_CANDLES_PER_PAGE = 100
CANCELS_PER_REQUEST = 20
# The quick list of fills goes back three days; the long one thirty.
FILLS_KEPT = timedelta(days=3)

Rows = list[Mapping[str, Any]]


def _two_seconds(name: str, limit: int) -> tuple[Window, ...]:
    return (Window(f"okcoinjp {name}", limit, 2.0),)


TIME = Route("GET", "public/time", "public", windows=_two_seconds("time", 10))
INSTRUMENTS = Route("GET", "public/instruments", "public", windows=_two_seconds("instruments", 20))
TICKER = Route("GET", "market/ticker", "public", windows=_two_seconds("ticker", 20))
BOOK = Route("GET", "market/books", "public", windows=_two_seconds("books", 40))
CANDLES = Route("GET", "market/candles", "public", windows=_two_seconds("candles", 40))
OLD_CANDLES = Route("GET", "market/history-candles", "public", windows=_two_seconds("history-candles", 20))
BALANCES = Route("GET", "account/balance", windows=_two_seconds("balance", 10))
CONFIG = Route("GET", "account/config", windows=_two_seconds("config", 5))
FEES = Route("GET", "account/trade-fee", windows=_two_seconds("trade-fee", 5))
ORDER = Route("GET", "trade/order", windows=_two_seconds("order", 60))
PENDING = Route("GET", "trade/orders-pending", windows=_two_seconds("orders-pending", 60))
HISTORY = Route("GET", "trade/orders-history", windows=_two_seconds("orders-history", 40))
FILLS = Route("GET", "trade/fills", windows=_two_seconds("fills", 60))
OLD_FILLS = Route("GET", "trade/fills-history", windows=_two_seconds("fills-history", 10))
PLACE = Route("POST", "trade/order", purpose=Purpose.PLACE, windows=_two_seconds("place", 60))
CANCEL = Route("POST", "trade/cancel-order", purpose=Purpose.CANCEL, windows=_two_seconds("cancel", 60))
# The venue counts the orders (300), not the requests.
CANCEL_MANY = Route(
    "POST",
    "trade/cancel-batch-orders",
    purpose=Purpose.CANCEL,
    windows=_two_seconds("cancel-batch", 300 // CANCELS_PER_REQUEST),
)

_BARS = {"1m": "1m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1H", "4h": "4H"}
_BARS_PER_DAY = 6  # of four hours
_ORDER_TYPES = {
    TimeInForce.GOOD_TILL_CANCELLED: "limit",
    TimeInForce.IMMEDIATE_OR_CANCEL: "ioc",
    TimeInForce.POST_ONLY: "post_only",
}
# Calls of okx that OKJ does not have, or has in another shape.
_ABSENT = """
CORS margin swap future option sandbox addMargin reduceMargin borrowCrossMargin repayCrossMargin
closePosition createConvertTrade fetchConvertCurrencies fetchConvertQuote fetchConvertTrade
fetchConvertTradeHistory fetchAllGreeks fetchGreeks fetchBorrowInterest fetchBorrowRateHistories
fetchBorrowRateHistory fetchCrossBorrowRate fetchCrossBorrowRates fetchCurrencies fetchDeposit
fetchDepositAddress fetchDepositAddressesByNetwork fetchDepositWithdrawFee fetchDepositWithdrawFees
fetchDeposits fetchFundingHistory fetchFundingInterval fetchFundingRate fetchFundingRateHistory
fetchFundingRates fetchLedger fetchLeverage fetchMarkOHLCV fetchMarkPrice fetchMarkPrices
fetchMarketLeverageTiers fetchOpenInterest fetchOpenInterests fetchOpenInterestHistory fetchOption
fetchOptionChain fetchPosition fetchPositionHistory fetchPositionMode fetchPositions
fetchPositionsForSymbol fetchPositionsHistory fetchSettlementHistory fetchMySettlementHistory fetchStatus
fetchTransfer fetchTransfers fetchUnderlyingAssets fetchWithdrawal fetchWithdrawals fetchIndexOHLCV
fetchLongShortRatioHistory fetchMarginAdjustmentHistory setLeverage setMarginMode setPositionMode
transfer withdraw
"""


class OkjClient(Transport, ccxt.okx):
    """ccxt's okx, told what OKJ is: its host, spot alone, yen fees, no test site, no broker's tag."""

    venue = "okcoinjp"
    errors = ERRORS
    windows = (Window("okcoinjp gateway", 300, 1.0, per_address=True),)
    routes = routes(
        TIME,
        INSTRUMENTS,
        TICKER,
        BOOK,
        CANDLES,
        OLD_CANDLES,
        BALANCES,
        CONFIG,
        FEES,
        ORDER,
        PENDING,
        HISTORY,
        FILLS,
        OLD_FILLS,
        PLACE,
        CANCEL,
        CANCEL_MANY,
    )

    def describe(self) -> Any:
        """okx's description with OKJ's facts laid over it."""
        return self.deep_extend(
            super().describe(),
            {
                "id": "okj",
                "name": "OKCoin Japan",
                "countries": ["JP"],
                "hostname": "api.okj.com",
                "has": dict.fromkeys(_ABSENT.split(), False),
                "options": {
                    # The other kinds are refused, and a refusal fails the whole market load.
                    "fetchMarkets": {"types": ["spot"]},
                    # The default is the batch call, on which ccxt's tag cannot be turned off.
                    "createOrder": "privatePostTradeOrder",
                    "brokerId": None,
                },
                "fees": {"spot": {"taker": 0.0014, "maker": 0.0007}},
            },
        )

    async def fetch_currencies(self, params: Any = None) -> dict[str, Any]:
        """Nothing: OKJ's currencies call is private and has another shape than okx's."""
        return {}

    def parse_market(self, market: Any) -> Any:
        """As okx, without the largest size, which okx writes where a value belongs."""
        parsed = super().parse_market(market)
        parsed["limits"]["cost"]["max"] = None
        return parsed

    def set_sandbox_mode(self, enabled: bool) -> None:
        """Refuse: okx's way keeps the live host and adds a header that OKJ is not known to heed."""
        if enabled:
            raise ccxt.NotSupported("OKJ has no test site; a simulated venue is what `base_url` is for")

    def read_envelope(self, route: Route, body: str, decoded: object) -> Envelope | None:
        """`{"code":"0","msg":"","data":[...]}`; codes 0 and 2 may hide a refusal in a row's sCode."""
        if not isinstance(decoded, dict) or "code" not in decoded or "data" not in decoded:
            return None
        code, message, data = str(decoded["code"]), str(decoded.get("msg", "")), decoded["data"]
        refused = [row for row in data if _refusal(row)] if isinstance(data, list) else []
        if refused and route is CANCEL_MANY:
            return Envelope(ok=True)  # each row stands for itself: the adapter looks
        if refused:
            return Envelope(False, str(refused[0]["sCode"]), str(refused[0].get("sMsg", "")))
        if code == "0":
            return Envelope(ok=True) if isinstance(data, list) else None
        return Envelope(False, code, message)

    def asked_to_wait(self, error: VenueError, status: int, headers: Mapping[str, str], body: str) -> WaitWish:
        """With 429 the address is meant, with 200 the account; the gateway tells its own second."""
        told = max(seconds_of(headers.get("ratelimit-reset")), seconds_of(headers.get("retry-after")))
        return WaitWish(told, whole_address=status == 429)


def _name(symbol: str) -> str:
    """The venue's name of a spot symbol, without asking for instruments: getting out must not hang on that list."""
    return symbol.replace("/", "-")


def _refusal(row: object) -> bool:
    return isinstance(row, dict) and str(row.get("sCode") or "0") != "0"


class OkjReader(Reader):
    """Reads one OKJ trading account (the funding account is apart: move yen before trading)."""

    name = "okcoinjp"
    client_class = OkjClient
    costs: ClassVar[Mapping[str, int]] = {"instruments": 2, "find_order": 4, "cancel_all": 2}

    async def load_instruments(self) -> Mapping[str, Instrument]:
        """Ask for the pairs that trade now, and for the rates of this account."""
        fees = await self._data(FEES, {"instType": "SPOT"})
        if not fees:
            raise NoAnswer(self.name, "no fee rates in the answer")
        told = await self._data(INSTRUMENTS, {"instType": "SPOT"})
        listed = [rows.instrument(row, fees[0]) for row in told if row.get("state") == "live"]
        return {each.symbol: each for each in listed}

    async def status(self, symbol: str) -> VenueStatus:
        """The pair's state; OKJ has no status call, its maintenance answers every call with 50001."""
        request = {"instType": "SPOT", "instId": await self._pair(symbol)}
        try:
            told = await self._data(INSTRUMENTS, request)
        except Maintenance as error:
            return VenueStatus(False, "maintenance", error.message)
        state = str(told[0].get("state")) if told else "not listed"
        return VenueStatus(state == "live", state)

    async def server_time(self) -> datetime | None:
        """The venue's clock, by which it judges signatures."""
        told = await self._data(TIME, {})
        with reading(self.name):
            return from_ms(told[0]["ts"])

    async def ticker(self, symbol: str) -> Ticker:
        told = await self._data(TICKER, {"instId": await self._pair(symbol)})
        with reading(self.name):
            row = told[0]
            bid, ask, last = (self.told_amount(row, key) for key in ("bidPx", "askPx", "last"))
            return Ticker(symbol, bid, ask, last, from_ms(row["ts"]))

    async def order_book(self, symbol: str, depth: int = 20) -> OrderBook:
        told = await self._data(BOOK, {"instId": await self._pair(symbol), "sz": str(min(depth, 400))})
        with reading(self.name):
            bids, asks = (
                tuple(Level(amount(level[0]), amount(level[1])) for level in told[0][side][:depth])
                for side in ("bids", "asks")
            )
            return OrderBook(symbol, bids, asks, from_ms(told[0]["ts"]))

    async def candles(self, symbol: str, timeframe: str, limit: int) -> tuple[Candle, ...]:
        """The last closed bars; days are put together from four-hour bars, so that they are days of UTC."""
        seconds = timeframe_seconds(self.name, timeframe)
        now = self.clock.now()
        pair = await self._pair(symbol)
        if timeframe in _BARS:
            return last_closed(await self._bars(pair, _BARS[timeframe], limit + 1), seconds, limit, now)
        # One day more than asked for, which may be cut at its start, and the day that is running.
        parts = await self._bars(pair, _BARS["4h"], (limit + 2) * _BARS_PER_DAY)
        return last_closed(rows.merge_into_days(parts), seconds, limit, now)

    async def balances(self) -> Mapping[str, Balance]:
        """Assets of the trading account."""
        told = await self._data(BALANCES, {})
        with reading(self.name):
            found = [rows.balance(row) for account in told for row in account["details"]]
        return {each.asset: each for each in found if each.total != 0}

    async def open_orders(self, symbol: str) -> tuple[VenueOrder, ...]:
        """Every resting order, page by page."""
        return tuple(rows.order(symbol, row) for row in await self._pending(symbol))

    async def order(self, symbol: str, venue_order_id: str) -> VenueOrder:
        """One order. A cancelled one that filled nothing is forgotten by the venue after two hours."""
        told = await self._data(ORDER, {"instId": _name(symbol), "ordId": venue_order_id})
        if not told:
            raise OrderNotFound(self.name, f"{symbol} has no order {venue_order_id}")
        return rows.order(symbol, told[0])

    async def find_order(
        self, intent: OrderIntent, sent_at: datetime, known_ids: frozenset[str]
    ) -> tuple[VenueOrder, ...]:
        """Look by our id in the order call, the pending list, the history and the fills, in that order.

        An empty answer proves nothing until 30 s have passed, in which a late copy could be taken. Our id is
        unique among pending orders alone: a copy that is sent after the first one ended is a second order.
        """
        pair, ours = await self._pair(intent.symbol), intent.client_order_id
        told: Rows = []
        with suppress(OrderNotFound):
            told = await self._data(ORDER, {"instId": pair, "clOrdId": ours})
        if not told:
            told = [row for row in await self._pending(intent.symbol) if row.get("clOrdId") == ours]
        if not told:
            since = {"begin": str(to_ms(sent_at) - 1000), "limit": str(ROWS_PER_PAGE)}
            past = await self._data(HISTORY, {"instType": "SPOT", "instId": pair, **since})
            told = [row for row in past if row.get("clOrdId") == ours]
        found = [rows.order(intent.symbol, row) for row in told]
        if not found:
            traded = await self._data(FILLS, {"instType": "SPOT", "instId": pair})
            ids = {row["ordId"] for row in traded if row.get("clOrdId") == ours}
            found = [await self.order(intent.symbol, each) for each in sorted(ids)]
        return tuple(each for each in found if each.venue_order_id not in known_ids)

    async def ended_orders(self, symbol: str, since: datetime) -> tuple[VenueOrder, ...]:
        """The history of seven days; what ended without a fill is in it for two hours."""
        request = {"instType": "SPOT", "instId": await self._pair(symbol), "begin": str(to_ms(since))}
        found = {row["ordId"]: rows.order(symbol, row) for row in await self._pages(HISTORY, request, "ordId")}
        return tuple(sorted(found.values(), key=lambda order: order.created_at))

    async def fills(
        self, symbol: str, *, since: datetime | None = None, venue_order_id: str | None = None
    ) -> tuple[Fill, ...]:
        """Our trades, oldest first. The venue keeps them for 30 days."""
        request = {"instType": "SPOT", "instId": await self._pair(symbol)}
        if venue_order_id is not None:
            request["ordId"] = venue_order_id
        if since is not None:
            request["begin"] = str(to_ms(since))
        recent = since is not None and since > self.clock.now() - FILLS_KEPT
        if recent or venue_order_id is not None:
            told = await self._pages(FILLS, request, "billId")
        else:
            told = await self._pages(OLD_FILLS, request, "billId")
        if not told and venue_order_id is not None and not recent:
            told = await self._pages(OLD_FILLS, request, "billId")
        instrument = await self.instrument(symbol)
        read = [rows.fill(instrument, row) for row in reversed(told)]
        once = {(each.id, each.venue_order_id): each for each in read}
        return tuple(sorted(once.values(), key=lambda fill: fill.moment))

    async def key_rights(self) -> KeyRights:
        told = await self._data(CONFIG, {})
        with reading(self.name):
            rights = {each.strip() for each in told[0]["perm"].split(",")}
            addresses = tuple(each.strip() for each in told[0]["ip"].split(",") if each.strip())
            account_id = str(told[0].get("uid", ""))
        return KeyRights(
            "read_only" in rights,
            "trade" in rights,
            "withdraw" in rights,
            bool(addresses),
            detail=f"perm {','.join(sorted(rights))}",
            addresses=addresses,
            account_id=account_id,
            local_address=await self.client.local_address(CONFIG),
        )

    async def _pair(self, symbol: str) -> str:
        instrument = await self.instrument(symbol)
        return f"{instrument.base}-{instrument.quote}"

    async def _pending(self, symbol: str) -> Rows:
        return await self._pages(PENDING, {"instType": "SPOT", "instId": _name(symbol)}, "ordId")

    async def _bars(self, pair: str, bar: str, wanted: int) -> list[Candle]:
        """At least `wanted` bars back from now, where the venue has them; the quick call knows 1440."""
        route, most = CANDLES, CANDLES_PER_PAGE
        request = {"instId": pair, "bar": bar}
        found: list[Candle] = []
        while len(found) < wanted:
            size = min(most, wanted - len(found))
            told: list[Any] = list(await self._data(route, {**request, "limit": str(size)}))
            page = [rows.candle(row) for row in told]
            found += page
            if page:
                request["after"] = str(to_ms(min(each.opened_at for each in page)))
            if len(page) < size:
                if route is OLD_CANDLES:
                    break
                route, most = OLD_CANDLES, OLD_CANDLES_PER_PAGE
        return found

    async def _pages(self, route: Route, request: Mapping[str, str], key: str) -> Rows:
        """All rows of a list, newest first, each page older than the last row of the one before."""
        found: Rows = []
        asked = {**request, "limit": str(ROWS_PER_PAGE)}
        while True:
            page = await self._data(route, asked)
            found += page
            if len(page) < ROWS_PER_PAGE:
                return found
            with reading(self.name):
                asked["after"] = str(page[-1][key])

    async def _data(self, route: Route, request: Mapping[str, Any]) -> Rows:
        listed: Rows = (await self.client.call(route, dict(request)))["data"]
        return listed


class Okj(OkjReader):
    """Reads and trades one OKJ account."""

    async def place(self, intent: OrderIntent) -> str:
        """Send the order once.

        An id of ours that is pending already is NoAnswer: an order is there, `find_order` finds it.
        """
        request: dict[str, Any] = {
            "instId": await self._pair(intent.symbol),
            "tdMode": "cash",
            "side": "buy" if intent.side is Side.BUY else "sell",
            "sz": plain(intent.quantity),
            "clOrdId": intent.client_order_id,
        }
        if intent.type is OrderType.MARKET or intent.price is None:
            # Without the first a buy counts in yen; without the second an underfunded order is made smaller.
            request |= {"ordType": "market", "tgtCcy": "base_ccy", "banAmend": True}
        else:
            request |= {"ordType": _ORDER_TYPES[intent.time_in_force], "px": plain(intent.price)}
        told = await self._data(PLACE, request)
        order_id = told[0].get("ordId") if told else None
        if not order_id:
            raise NoAnswer(self.name, "the answer to an order holds no order id")
        return str(order_id)

    async def cancel(self, symbol: str, venue_order_id: str) -> None:
        """Ask for the cancel. "No such order" is also said of an order that has ended: no error here."""
        request = {"instId": _name(symbol), "ordId": venue_order_id}
        with suppress(OrderNotFound):
            await self._data(CANCEL, request)

    async def cancel_all(self, symbol: str) -> None:
        """Read what rests, then cancel twenty at a time; what cannot be cancelled is raised at the end."""
        with urgent():
            resting = [row["ordId"] for row in await self._pending(symbol)]
        pair = _name(symbol)
        refused: list[VenueError] = []
        for start in range(0, len(resting), CANCELS_PER_REQUEST):
            ids = resting[start : start + CANCELS_PER_REQUEST]
            reply = await self.client.call(CANCEL_MANY, [{"instId": pair, "ordId": each} for each in ids])
            refused += self._refused(reply["data"])
        if refused:
            raise refused[0]

    def _refused(self, told: Sequence[Mapping[str, Any]]) -> list[VenueError]:
        """The rows of a batch that were not cancelled, leaving out orders that had ended already."""
        kinds = [(ERRORS.get(str(row["sCode"]), Refused), row) for row in told if _refusal(row)]
        return [
            kind(self.name, f"{CANCEL_MANY}: {row.get('sMsg', '')}", code=str(row["sCode"]))
            for kind, row in kinds
            if kind is not OrderNotFound
        ]


READER, TRADER = OkjReader, Okj
