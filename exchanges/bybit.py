"""Bybit v5: spot and linear perpetuals of a unified account (docs/venues.md#bybit).

Every call names its category: ccxt's unified methods fall back to linear where no symbol is given, ask for
permissions before the first order, and read an order by a wrong id when only ours is known. The raw calls are
made here; ccxt signs, addresses and carries them.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import ccxt.async_support as ccxt

from exchanges import bybit_rows as rows
from exchanges.adapter import Reader, from_ms, last_closed, timeframe_seconds, to_ms
from exchanges.answers import reading
from exchanges.base import KeyRights
from exchanges.budget import Window
from exchanges.bybit_errors import ERRORS
from exchanges.errors import NoAnswer, OrderNotFound, RateLimitExceeded, VenueError
from exchanges.transport import Envelope, Purpose, Route, Transport, WaitWish, Wiring, routes, seconds_of
from trading.instruments import Instrument, Kind, Side
from trading.market import Balance, Candle, Level, OrderBook, Position, Ticker, VenueStatus
from trading.money import ZERO, amount, plain
from trading.orders import Fill, OrderIntent, OrderType, State, TimeInForce, VenueOrder

SPOT, LINEAR = "spot", "linear"
INSTRUMENTS_PER_PAGE = 1000
CANDLES_PER_PAGE = 1000
ORDERS_PER_PAGE = 50  # the venue's own default is 20
FILLS_PER_PAGE = 100
# Executions are told for at most this long a stretch at a time.
FILLS_STRETCH = timedelta(days=7)
# What the venue asks for after a breach of the address limit (docs/venues.md#bybit).
ADDRESS_BAN_SECONDS = 600.0

Rows = list[Mapping[str, Any]]


def _per_second(name: str, limit: int) -> tuple[Window, ...]:
    return (Window(f"bybit {name}", limit, 1.0),)


_READS = _per_second("account reads", 50)
TIME = Route("GET", "v5/market/time", "public")
SYSTEM_STATUS = Route("GET", "v5/system/status", "public")
INSTRUMENTS = Route("GET", "v5/market/instruments-info", "public")
TICKERS = Route("GET", "v5/market/tickers", "public")
BOOK = Route("GET", "v5/market/orderbook", "public")
CANDLES = Route("GET", "v5/market/kline", "public")
FEES = Route("GET", "v5/account/fee-rate", windows=_per_second("fee-rate", 5))
KEY = Route("GET", "v5/user/query-api", windows=_per_second("query-api", 10))
BALANCES = Route("GET", "v5/account/wallet-balance", windows=_READS)
OPEN_ORDERS = Route("GET", "v5/order/realtime", windows=_READS)
PAST_ORDERS = Route("GET", "v5/order/history", windows=_READS)
FILLS = Route("GET", "v5/execution/list", windows=_READS)
POSITIONS = Route("GET", "v5/position/list", windows=_READS)
# Spot may send twice as many; the stricter figure (linear) holds for both.
PLACE = Route("POST", "v5/order/create", purpose=Purpose.PLACE, windows=_per_second("create", 10))
CANCEL = Route("POST", "v5/order/cancel", purpose=Purpose.CANCEL, windows=_per_second("cancel", 10))
CANCEL_ALL = Route("POST", "v5/order/cancel-all", purpose=Purpose.CANCEL, windows=_per_second("cancel-all", 10))

_INTERVALS = {"1m": "1", "5m": "5", "15m": "15", "30m": "30", "1h": "60", "4h": "240", "1d": "D"}
_TIME_IN_FORCE = {
    TimeInForce.GOOD_TILL_CANCELLED: "GTC",
    TimeInForce.IMMEDIATE_OR_CANCEL: "IOC",
    TimeInForce.POST_ONLY: "PostOnly",
}


class BybitClient(Transport, ccxt.bybit):
    """ccxt signs and addresses; what may be called and what an answer means stands here."""

    venue = "bybit"
    errors = ERRORS
    windows = (Window("bybit address", 600, 5.0, per_address=True),)
    routes = routes(
        TIME,
        SYSTEM_STATUS,
        INSTRUMENTS,
        TICKERS,
        BOOK,
        CANDLES,
        FEES,
        KEY,
        BALANCES,
        OPEN_ORDERS,
        PAST_ORDERS,
        FILLS,
        POSITIONS,
        PLACE,
        CANCEL,
        CANCEL_ALL,
    )
    # A breach of the address limit is answered 403 for ten minutes; a barred country gets the same answer.
    http_errors: ClassVar[Mapping[int, type[VenueError]]] = {
        **Transport.http_errors,
        403: RateLimitExceeded,
    }

    def read_envelope(self, route: Route, body: str, decoded: object) -> Envelope | None:
        """`{"retCode": 0, "retMsg": "OK", "result": {...}}`; success has many words, but one code."""
        if not isinstance(decoded, dict) or "retCode" not in decoded or "result" not in decoded:
            return None
        code, message = str(decoded["retCode"]), str(decoded.get("retMsg", ""))
        return Envelope(ok=True) if code == "0" else Envelope(False, code, message)

    def asked_to_wait(self, error: VenueError, status: int, headers: Mapping[str, str], body: str) -> WaitWish:
        """An account is told when its window begins anew (ms of the wall); an address is to be quiet for 600 s."""
        if status == 403:
            return WaitWish(ADDRESS_BAN_SECONDS if "too frequent" in body.lower() else 0.0, whole_address=True)
        resets_at = seconds_of(headers.get("x-bapi-limit-reset-timestamp")) / 1000
        return WaitWish(max(0.0, resets_at - self.milliseconds() / 1000))


class BybitReader(Reader):
    """Reads one Bybit account."""

    name = "bybit"
    client_class = BybitClient
    costs: ClassVar[Mapping[str, int]] = {"instruments": 5, "status": 2, "find_order": 3, "cancel_all": 3}

    def __init__(self, wiring: Wiring) -> None:
        super().__init__(wiring)
        self._venue_symbols: dict[str, str] = {}

    async def load_instruments(self) -> Mapping[str, Instrument]:
        """Ask for both categories and for the rates of this account in each."""
        found: dict[str, Instrument] = {}
        for category in (SPOT, LINEAR):
            reply = await self.client.call(FEES, {"category": category})
            rates = {row["symbol"]: row for row in self._rows(reply, FEES)}
            for row in await self._pages(INSTRUMENTS, {"category": category}, INSTRUMENTS_PER_PAGE):
                # Without a rate of ours the cost of trading is unknown: such a symbol is not offered.
                if rows.is_tradable(row) and row["symbol"] in rates:
                    instrument = rows.instrument(category == SPOT, row, rates[row["symbol"]])
                    found[instrument.symbol] = instrument
                    self._venue_symbols[instrument.symbol] = row["symbol"]
        return found

    async def status(self, symbol: str) -> VenueStatus:
        """The symbol's own state, unless the venue is under maintenance for its product."""
        where = await self._where(symbol)
        product = "2" if where["category"] == SPOT else "1"
        for event in self._rows(await self.client.call(SYSTEM_STATUS), SYSTEM_STATUS):
            products = [str(each) for each in event.get("product") or (product,)]
            in_production = str(event.get("env", "1")) == "1"
            if event.get("state") == "ongoing" and in_production and product in products:
                return VenueStatus(False, "maintenance", str(event.get("title", "")))
        told = self._rows(await self.client.call(INSTRUMENTS, where), INSTRUMENTS)
        state = str(told[0]["status"]) if told else "not listed"
        return VenueStatus(state == "Trading", state)

    async def server_time(self) -> datetime | None:
        """The venue's clock, by which it judges request windows."""
        reply = await self.client.call(TIME)
        with reading(self.name):
            microseconds = int(reply["result"]["timeNano"]) // 1000
            return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)

    async def ticker(self, symbol: str) -> Ticker:
        reply = await self.client.call(TICKERS, await self._where(symbol))
        told = self._rows(reply, TICKERS)
        if not told:
            raise NoAnswer(self.name, f"no ticker for {symbol} in the answer")
        bid, ask, last = (self.told_amount(told[0], key) for key in ("bid1Price", "ask1Price", "lastPrice"))
        with reading(self.name):
            return Ticker(symbol, bid, ask, last, from_ms(reply["time"]))

    async def order_book(self, symbol: str, depth: int = 20) -> OrderBook:
        request = {**await self._where(symbol), "limit": str(min(depth, 1000))}
        result = (await self.client.call(BOOK, request))["result"]
        with reading(self.name):
            bids, asks = (
                tuple(Level(amount(price), amount(size)) for price, size in result[side][:depth]) for side in ("b", "a")
            )
            return OrderBook(symbol, bids, asks, from_ms(result["ts"]))

    async def candles(self, symbol: str, timeframe: str, limit: int) -> tuple[Candle, ...]:
        """Newest first on the wire, the unclosed bar too; older pages follow while bars are missing."""
        seconds = timeframe_seconds(self.name, timeframe)
        now = self.clock.now()
        asked = min(limit + 1, CANDLES_PER_PAGE)
        request = {**await self._where(symbol), "interval": _INTERVALS[timeframe], "limit": str(asked)}
        found: list[Candle] = []
        while True:
            page: list[Any] = self._rows(await self.client.call(CANDLES, request), CANDLES)
            found += [rows.candle(row) for row in page]
            closed = last_closed(found, seconds, limit, now)
            if len(closed) == limit or len(page) < asked:
                return closed
            request["end"] = str(min(int(row[0]) for row in page) - 1)

    async def balances(self) -> Mapping[str, Balance]:
        """Assets of the unified account. What orders and positions hold is locked."""
        reply = await self.client.call(BALANCES, {"accountType": "UNIFIED"})
        found: dict[str, Balance] = {}
        with reading(self.name):
            for row in (row for account in self._rows(reply, BALANCES) for row in account["coin"]):
                total = self.told_amount(row, "walletBalance")
                held = ("locked", "totalOrderIM", "totalPositionIM")
                locked = sum((self.told_amount(row, key) for key in held), ZERO)
                if total != 0 or locked != 0:
                    found[row["coin"]] = Balance(row["coin"], total - locked, locked)
        return found

    async def positions(self, symbol: str) -> tuple[Position, ...]:
        where = await self._where(symbol)
        if where["category"] == SPOT:
            return ()
        told = self._rows(await self.client.call(POSITIONS, where), POSITIONS)
        with reading(self.name):
            return tuple(
                Position(symbol, Side(row["side"].lower()), size, self.told_amount(row, "avgPrice"))
                for row in told
                if (size := self.told_amount(row, "size")) != 0
            )

    async def open_orders(self, symbol: str) -> tuple[VenueOrder, ...]:
        """Every resting order, page by page."""
        request = {**self._where_by_name(symbol), "openOnly": "0"}
        told = await self._pages(OPEN_ORDERS, request, ORDERS_PER_PAGE)
        orders = {row["orderId"]: rows.order(symbol, row) for row in told}
        # Rows that ended while the pages were read may still be in the list.
        return tuple(each for each in orders.values() if each.state in (State.OPEN, State.PARTIALLY_FILLED))

    async def order(self, symbol: str, venue_order_id: str) -> VenueOrder:
        """Ask the live list first (it keeps the last 500 ended orders too), then the history."""
        told = await self._orders_by(symbol, {"orderId": venue_order_id})
        if not told:
            raise OrderNotFound(self.name, f"neither live list nor history of {symbol} has {venue_order_id}")
        return rows.order(symbol, told[0])

    async def find_order(
        self, intent: OrderIntent, sent_at: datetime, known_ids: frozenset[str]
    ) -> tuple[VenueOrder, ...]:
        """Look by our id in the live list, the history and the executions, in that order.

        An empty answer proves nothing until the request window (5 s) has passed: a late copy could be taken.
        """
        by_client_id = {"orderLinkId": intent.client_order_id}
        told = await self._orders_by(intent.symbol, by_client_id)
        found = [rows.order(intent.symbol, row) for row in told]
        if not found:
            request = {**await self._where(intent.symbol), **by_client_id}
            found = rows.orders_of_fills(intent, await self._pages(FILLS, request, FILLS_PER_PAGE))
        return tuple(each for each in found if each.venue_order_id not in known_ids)

    async def ended_orders(self, symbol: str, since: datetime) -> tuple[VenueOrder, ...]:
        """The history, in stretches of the seven days that one answer spans; without a fill it lasts a day."""
        found: dict[str, VenueOrder] = {}
        start, now = since, self.clock.now()
        while start <= now:
            end = start + FILLS_STRETCH
            where = {**await self._where(symbol), "startTime": str(to_ms(start)), "endTime": str(to_ms(end))}
            for row in await self._pages(PAST_ORDERS, where, ORDERS_PER_PAGE):
                found[row["orderId"]] = rows.order(symbol, row)
            start = end
        return tuple(sorted(found.values(), key=lambda order: order.created_at))

    async def fills(
        self, symbol: str, *, since: datetime | None = None, venue_order_id: str | None = None
    ) -> tuple[Fill, ...]:
        """Our trades, oldest first, a forced closing too. Without `since` the venue looks back seven days."""
        request = await self._where(symbol)
        if venue_order_id is not None:
            request["orderId"] = venue_order_id
        told: Rows = []
        if since is None:
            told = await self._pages(FILLS, request, FILLS_PER_PAGE)
        else:
            start, now = since, self.clock.now()
            while start <= now:
                end = start + FILLS_STRETCH
                stretch = {**request, "startTime": str(to_ms(start)), "endTime": str(to_ms(end))}
                told = await self._pages(FILLS, stretch, FILLS_PER_PAGE) + told
                start = end
        instrument = await self.instrument(symbol)
        # Newest first on the wire: turned round before sorting, the trades of one taker keep their order.
        fills = {row["execId"]: rows.fill(instrument, row) for row in reversed(told) if rows.is_trade(row)}
        return tuple(sorted(fills.values(), key=lambda fill: fill.moment))

    async def key_rights(self) -> KeyRights:
        told = (await self.client.call(KEY))["result"]
        with reading(self.name):
            permissions = told["permissions"]
            writes = str(told["readOnly"]) == "0"
            trades = writes and any(permissions.get(group) for group in ("Spot", "ContractTrade"))
            withdraws = writes and "Withdraw" in (permissions.get("Wallet") or [])
            # A key that is bound to no address is written with no address, or with "*".
            listed = told["ips"] if isinstance(told["ips"], list) else [told["ips"] or ""]
            addresses = tuple(str(each) for each in listed if each not in ("", "*"))
            # Of a key that does not expire (bound to an address) the date is told as 1970.
            expires = datetime.fromisoformat(told.get("expiredAt") or "1970-01-01T00:00:00Z")
            expires = expires if expires.tzinfo is not None else expires.replace(tzinfo=UTC)
        return KeyRights(
            True,
            trades,
            withdraws,
            bool(addresses),
            detail=f"read {'and write' if writes else 'only'}",
            addresses=addresses,
            expires_at=expires if expires.year > 1970 else None,
            account_id=str(told.get("userID") or ""),
            local_address=await self.client.local_address(KEY),
        )

    async def _where(self, symbol: str) -> dict[str, str]:
        """The category and the venue's own name of a symbol."""
        instrument = await self.instrument(symbol)
        category = SPOT if instrument.kind is Kind.SPOT else LINEAR
        return {"category": category, "symbol": self._venue_symbols[symbol]}

    def _where_by_name(self, symbol: str) -> dict[str, str]:
        """As `_where`, without asking for instruments: getting out must not hang on that list."""
        pair, _, settled_in = symbol.partition(":")
        name = self._venue_symbols.get(symbol, pair.replace("/", ""))
        return {"category": LINEAR if settled_in else SPOT, "symbol": name}

    async def _orders_by(self, symbol: str, by_id: Mapping[str, str]) -> Rows:
        # Never orderId and orderLinkId together: the venue then heeds the first alone.
        request = {**await self._where(symbol), **by_id}
        told = self._rows(await self.client.call(OPEN_ORDERS, request), OPEN_ORDERS)
        return told or self._rows(await self.client.call(PAST_ORDERS, request), PAST_ORDERS)

    async def _pages(self, route: Route, request: Mapping[str, str], size: int) -> Rows:
        """All rows of a list, page by page."""
        found: Rows = []
        cursor = ""
        while True:
            asked = {**request, "limit": str(size), **({"cursor": cursor} if cursor else {})}
            reply = await self.client.call(route, asked)
            page = self._rows(reply, route)
            found += page
            following = reply["result"].get("nextPageCursor") or ""
            if len(page) < size or not following or following == cursor:
                return found
            cursor = following

    def _rows(self, reply: Mapping[str, Any], route: Route) -> Rows:
        """The list in an answer. An answer without one says nothing, least of all "there are none"."""
        result = reply["result"]
        listed = result.get("list") if isinstance(result, dict) else None
        if not isinstance(listed, list):
            raise NoAnswer(self.name, f"{route}: no list in the answer")
        return listed


class Bybit(BybitReader):
    """Reads and trades one Bybit account."""

    async def place(self, intent: OrderIntent) -> str:
        """Send the order once. The answer says only that it was taken in; what became of it must be read.

        An id of ours that the venue knows already is NoAnswer: an order is there, `find_order` finds it.
        """
        where = await self._where(intent.symbol)
        request: dict[str, Any] = {
            **where,
            "side": "Buy" if intent.side is Side.BUY else "Sell",
            "orderType": "Limit" if intent.type is OrderType.LIMIT else "Market",
            "qty": plain(intent.quantity),
            "orderLinkId": intent.client_order_id,
        }
        if intent.price is not None:
            request["price"] = plain(intent.price)
            request["timeInForce"] = _TIME_IN_FORCE[intent.time_in_force]
        elif where["category"] == SPOT:
            # Without this a market buy counts its quantity in the quote currency.
            request["marketUnit"] = "baseCoin"
        if where["category"] == LINEAR:
            request["reduceOnly"] = intent.reduce_only
        result = (await self.client.call(PLACE, request))["result"]
        order_id = result.get("orderId") if isinstance(result, dict) else None
        if not order_id:
            raise NoAnswer(self.name, "the answer to an order holds no order id")
        return str(order_id)

    async def cancel(self, symbol: str, venue_order_id: str) -> None:
        """Ask for the cancel. "No such order" is also said of an order that has ended: no error here."""
        where = self._where_by_name(symbol)
        request = {**where, "orderId": venue_order_id}
        if where["category"] == SPOT:
            request["orderFilter"] = "Order"
        with suppress(OrderNotFound):
            await self.client.call(CANCEL, request)

    async def cancel_all(self, symbol: str) -> None:
        """One request for linear; for spot one for each kind of order: left unsaid, only plain ones go."""
        where = self._where_by_name(symbol)
        if where["category"] == LINEAR:
            await self.client.call(CANCEL_ALL, where)
            return
        for kind in ("Order", "StopOrder", "tpslOrder"):
            await self.client.call(CANCEL_ALL, {**where, "orderFilter": kind})


READER, TRADER = BybitReader, Bybit
