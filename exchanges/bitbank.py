"""bitbank, spot (docs/venues.md#bitbank)."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import ccxt.async_support as ccxt

from exchanges.adapter import Reader, from_ms, last_closed, timeframe_seconds, to_ms
from exchanges.answers import reading
from exchanges.base import KeyRights
from exchanges.bitbank_errors import ENDED_ALREADY, ERRORS, MEANINGS, NO_SUCH_FILE
from exchanges.bitbank_rows import read_candle, read_fill, read_instrument, read_order
from exchanges.budget import Window, urgent
from exchanges.errors import BadRequest, NoAnswer, Refused
from exchanges.fingerprint import looks_like
from exchanges.transport import LONGEST_ORDER_WAIT, Envelope, Purpose, Route, Transport, Wiring, routes
from trading.instruments import Instrument
from trading.market import Balance, Candle, Level, OrderBook, Ticker, VenueStatus
from trading.money import ZERO, amount, plain
from trading.orders import Fill, OrderIntent, TimeInForce, VenueOrder

# A request is admitted no later than this after it was stamped: a lost order cannot arrive any more.
REQUEST_WINDOW = timedelta(seconds=3)
# The venue takes a request whose stamp is up to one second ahead of its own clock.
_CLOCK_GRACE = timedelta(seconds=1)
# Orders of one user are worked off in sequence; seconds of queueing have been seen.
_QUEUE_LAG = timedelta(seconds=10)
_TRADES_A_PAGE = 1000
_CANCELS_A_REQUEST = 30

_QUERY = (Window("bitbank query", 10, 1.0),)
_UPDATE = (Window("bitbank update", 6, 1.0),)

_PAIRS = Route("GET", "spot/pairs", "markets")
_STATUS = Route("GET", "spot/status", windows=_QUERY)
_CIRCUIT_BREAK = Route("GET", "{pair}/circuit_break_info", "public")
_TICKER = Route("GET", "{pair}/ticker", "public")
_DEPTH = Route("GET", "{pair}/depth", "public")
_CANDLES = Route("GET", "{pair}/candlestick/{candletype}/{yyyymmdd}", "public")
_ASSETS = Route("GET", "user/assets", windows=_QUERY)
_ORDER = Route("GET", "user/spot/order", windows=_QUERY)
_ACTIVE_ORDERS = Route("GET", "user/spot/active_orders", windows=_QUERY)
_TRADES = Route("GET", "user/spot/trade_history", windows=_QUERY)
_PLACE = Route("POST", "user/spot/order", purpose=Purpose.PLACE, windows=_UPDATE)
_CANCEL = Route("POST", "user/spot/cancel_order", purpose=Purpose.CANCEL, windows=_UPDATE)
_CANCEL_MANY = Route("POST", "user/spot/cancel_orders", purpose=Purpose.CANCEL, windows=_UPDATE)

# Timeframe -> the venue's word, and whether one file holds a year (else a day) of UTC.
_CANDLE_FILES: Mapping[str, tuple[str, bool]] = {
    "1m": ("1min", False),
    "5m": ("5min", False),
    "15m": ("15min", False),
    "30m": ("30min", False),
    "1h": ("1hour", False),
    "4h": ("4hour", True),
    "1d": ("1day", True),
}
# So many absent files in a row mean that there is nothing older.
_ABSENT_FILES = 3
# A past file is kept once it has had this long to be completed.
_FILE_SETTLED = timedelta(minutes=5)
_FILES_KEPT = 64

_TRADING_STATUS = frozenset({"NORMAL", "BUSY"})
# As long as this mode lasts orders are matched normally; in any other, post_only is ignored.
_NO_CIRCUIT_BREAK = "NONE"


class BitbankClient(Transport, ccxt.bitbank):
    """ccxt's bitbank behind our transport."""

    venue = "bitbank"
    errors = ERRORS
    routes = routes(
        _PAIRS,
        _STATUS,
        _CIRCUIT_BREAK,
        _TICKER,
        _DEPTH,
        _CANDLES,
        _ASSETS,
        _ORDER,
        _ACTIVE_ORDERS,
        _TRADES,
        _PLACE,
        _CANCEL,
        _CANCEL_MANY,
    )

    def attach(self, wiring: Wiring) -> None:
        """Sign with a short time window: it bounds when a lost order can still be admitted."""
        super().attach(wiring)
        self.options["authMethod"] = "timeWindow"
        self.options["timeWindow"] = str(REQUEST_WINDOW // timedelta(milliseconds=1))

    def read_envelope(self, route: Route, body: str, decoded: object) -> Envelope | None:
        """`{"success":1,"data":{...}}`, or `{"success":0,"data":{"code":20003}}` at any HTTP status."""
        if not isinstance(decoded, dict) or not isinstance(data := decoded.get("data"), dict):
            return None
        if decoded.get("success") == 1:
            return Envelope(ok=True)
        if decoded.get("success") == 0 and "code" in data:
            code = str(data["code"])
            return Envelope(ok=False, code=code, message=MEANINGS.get(code, ""))
        return None


class BitbankReader(Reader):
    """Reads one bitbank account."""

    name = "bitbank"
    client_class = BitbankClient
    costs: ClassVar[Mapping[str, int]] = {"status": 2, "find_order": 2, "cancel_all": 2}

    def __init__(self, wiring: Wiring) -> None:
        super().__init__(wiring)
        self._files: dict[tuple[str, str, str], tuple[Candle, ...]] = {}
        self._raised_minimums: dict[str, Decimal] = {}
        self._market_order_limits: dict[str, Decimal] = {}

    async def load_instruments(self) -> Mapping[str, Instrument]:
        """Ask for the pairs, fee rates included. Suspended pairs are left out: they are listed as enabled."""
        pairs = await self._rows(_PAIRS, "pairs")
        found: dict[str, Instrument] = {}
        with reading(self.name):
            for row in pairs:
                if not row["is_enabled"] or row["stop_order"] or row["stop_order_and_cancel"]:
                    continue
                instrument = read_instrument(row)
                found[instrument.symbol] = instrument
                self._market_order_limits[instrument.symbol] = amount(row["market_max_amount"])
        return found

    async def instrument(self, symbol: str) -> Instrument:
        """One instrument, with the smallest order that the newest status told (it rises under load).

        Raises BadRequest, naming what is near, for a symbol that the venue lacks.
        """
        listed = await super().instrument(symbol)
        raised = max(listed.min_quantity, self._raised_minimums.get(symbol, ZERO))
        return replace(listed, min_quantity=raised)

    async def status(self, symbol: str) -> VenueStatus:
        """Whether orders are taken and matched now: the pair's status, then its circuit breaker."""
        pair = await self._pair(symbol)
        rows = await self._rows(_STATUS, "statuses")
        with reading(self.name):
            row = {row["pair"]: row for row in rows}[pair]
            state, smallest = str(row["status"]), amount(row["min_amount"])
        self._raised_minimums[symbol] = smallest
        if state not in _TRADING_STATUS:
            return VenueStatus(trading=False, state=state)
        told = await self._data(_CIRCUIT_BREAK, {"pair": pair})
        mode = str(told.get("mode"))
        if mode != _NO_CIRCUIT_BREAK:
            # Market orders are refused and post_only is ignored until the pair reopens.
            return VenueStatus(trading=False, state=mode, detail=f"reopens at {told.get('reopen_timestamp')}")
        return VenueStatus(trading=True, state=state, detail=f"smallest order {plain(smallest)}")

    async def server_time(self) -> datetime | None:
        """None: the venue has no clock to read, only a `Date` header behind a cache."""
        return None

    async def ticker(self, symbol: str) -> Ticker:
        """Best prices and the last trade (quote). Raises BadRequest for a pair without both sides."""
        row = await self._data(_TICKER, {"pair": await self._pair(symbol)})
        with reading(self.name):
            if row["sell"] is None or row["buy"] is None:
                raise BadRequest(self.name, f"{symbol} has no prices: the pair is suspended")
            bid, ask, last = (amount(row[key]) for key in ("buy", "sell", "last"))
            return Ticker(symbol, bid, ask, last, from_ms(row["timestamp"]))

    async def order_book(self, symbol: str, depth: int = 20) -> OrderBook:
        """The best `depth` levels of each side (the venue always sends up to 200)."""
        row = await self._data(_DEPTH, {"pair": await self._pair(symbol)})
        with reading(self.name):
            bids, asks = (
                tuple(Level(amount(price), amount(quantity)) for price, quantity in row[side][:depth])
                for side in ("bids", "asks")
            )
            return OrderBook(symbol, bids, asks, from_ms(row["timestamp"]))

    async def candles(self, symbol: str, timeframe: str, limit: int) -> tuple[Candle, ...]:
        """The last `limit` closed candles, oldest first, joined from the venue's day or year files (UTC)."""
        seconds = timeframe_seconds(self.name, timeframe)
        pair = await self._pair(symbol)
        now = self.clock.now()
        kind, yearly = _CANDLE_FILES[timeframe]
        found: list[Candle] = []
        start = _file_start(now, yearly)
        absent = 0
        while absent < _ABSENT_FILES:
            rows = await self._candle_file(pair, kind, start, yearly)
            absent = 0 if rows else absent + 1
            found += rows
            closed = last_closed(found, seconds, limit, now)
            if len(closed) == limit:
                return closed
            start = _file_start(start - timedelta(days=1), yearly)
        return last_closed(found, seconds, limit, now)

    async def _candle_file(self, pair: str, kind: str, start: datetime, yearly: bool) -> tuple[Candle, ...]:
        """One file; empty where the venue has none. Files of the past are kept, since they do not change."""
        name = start.strftime("%Y" if yearly else "%Y%m%d")
        key = (pair, kind, name)
        if key in self._files:
            return self._files[key]
        try:
            told = await self._data(_CANDLES, {"pair": pair, "candletype": kind, "yyyymmdd": name})
            with reading(self.name):
                rows = tuple(read_candle(row) for part in told["candlestick"] for row in part["ohlcv"])
        except BadRequest as error:
            # Just after midnight the new day's file is not there yet, and before the listing there is none.
            if error.code not in (NO_SUCH_FILE, "404"):
                raise
            rows = ()
        end = start.replace(year=start.year + 1) if yearly else start + timedelta(days=1)
        if self.clock.now() >= end + _FILE_SETTLED:
            self._files[key] = rows
            if len(self._files) > _FILES_KEPT:
                del self._files[next(iter(self._files))]
        return rows

    async def balances(self) -> Mapping[str, Balance]:
        """Assets that are not zero."""
        rows = await self._rows(_ASSETS, "assets")
        with reading(self.name):
            held = [
                Balance(row["asset"].upper(), amount(row["free_amount"]), amount(row["locked_amount"])) for row in rows
            ]
        return {balance.asset: balance for balance in held if balance.total != 0}

    async def open_orders(self, symbol: str) -> tuple[VenueOrder, ...]:
        """All resting orders of the pair; the venue allows 30, which is one page."""
        rows = await self._rows(_ACTIVE_ORDERS, "orders", {"pair": _name(symbol)})
        with reading(self.name):
            return tuple(read_order(symbol, row) for row in rows)

    async def order(self, symbol: str, venue_order_id: str) -> VenueOrder:
        """One order, up to three months after its end. Raises OrderNotFound."""
        params = {"pair": _name(symbol), "order_id": venue_order_id}
        row = await self._data(_ORDER, params)
        with reading(self.name):
            return read_order(symbol, row)

    async def find_order(
        self, intent: OrderIntent, sent_at: datetime, known_ids: frozenset[str]
    ) -> tuple[VenueOrder, ...]:
        """Unknown orders that look like the intent and were ordered while its request could be admitted.

        A post-only order that was killed at once is in neither list; it has no exposure.
        """
        resting = await self.open_orders(intent.symbol)
        traded = await self.fills(intent.symbol, since=sent_at - timedelta(seconds=5))
        listed = {order.venue_order_id for order in resting}
        others = sorted({fill.venue_order_id for fill in traded} - listed - known_ids)
        ended = await asyncio.gather(*(self.order(intent.symbol, order_id) for order_id in others))
        latest = sent_at + LONGEST_ORDER_WAIT + REQUEST_WINDOW + _CLOCK_GRACE + _QUEUE_LAG
        return tuple(
            order
            for order in (*resting, *ended)
            if order.venue_order_id not in known_ids
            and sent_at - _CLOCK_GRACE <= order.created_at <= latest
            and looks_like(order, intent)
        )

    async def ended_orders(self, symbol: str, since: datetime) -> tuple[VenueOrder, ...]:
        """None: the venue lists what rests and what was traded; any other order can be read by its id alone."""
        return ()

    async def fills(
        self, symbol: str, *, since: datetime | None = None, venue_order_id: str | None = None
    ) -> tuple[Fill, ...]:
        """Our fills, oldest first, each once; page after page from the last one's time."""
        instrument = await self.instrument(symbol)
        params: dict[str, Any] = {
            "pair": await self._pair(symbol),
            "count": _TRADES_A_PAGE,
            "order": "asc",
        }
        if venue_order_id is not None:
            params["order_id"] = venue_order_id
        if since is not None:
            params["since"] = to_ms(since)
        found: dict[str, Fill] = {}
        while True:
            rows = await self._rows(_TRADES, "trades", params)
            known = len(found)
            with reading(self.name):
                for row in rows:
                    found.setdefault(str(row["trade_id"]), read_fill(instrument, row))
            if len(rows) < _TRADES_A_PAGE:
                return tuple(sorted(found.values(), key=lambda fill: fill.moment))
            if len(found) == known:
                raise NoAnswer(self.name, "the trade history does not move on: a page of one moment")
            # The next page begins with the last one's moment, which may be shared by trades not yet seen.
            params["since"] = int(rows[-1]["executed_at"])

    async def key_rights(self) -> KeyRights:
        """Unknown: bitbank has no call that tells what a key may do."""
        told = "unknown: bitbank shows a key's rights on its web page only"
        return KeyRights(None, None, None, None, told, local_address=await self.client.local_address(_ASSETS))

    async def _pair(self, symbol: str) -> str:
        instrument = await super().instrument(symbol)
        return f"{instrument.base}_{instrument.quote}".lower()

    async def _data(self, route: Route, params: Mapping[str, Any] | None = None) -> Any:
        return (await self.client.call(route, dict(params or {})))["data"]

    async def _rows(self, route: Route, key: str, params: Mapping[str, Any] | None = None) -> list[Any]:
        told = (await self._data(route, params)).get(key)
        if not isinstance(told, list):
            # Never read as "none": an empty list is what proves that nothing rests.
            raise NoAnswer(self.name, f"{route} was answered without {key}")
        return told


class Bitbank(BitbankReader):
    """Reads and trades one bitbank account."""

    async def place(self, intent: OrderIntent) -> str:
        """Send the order once and return its id.

        Raises BadRequest, unsent, for what the venue cannot do; else what its answer means.
        """
        params: dict[str, Any] = {
            "pair": await self._pair(intent.symbol),
            "amount": plain(intent.quantity),
            "side": str(intent.side),
            "type": str(intent.type),
        }
        if intent.time_in_force is TimeInForce.IMMEDIATE_OR_CANCEL:
            raise BadRequest(self.name, "has no immediate-or-cancel orders")
        if intent.price is not None:
            params["price"] = plain(intent.price)
            # The venue's own word: `postOnly` would travel along unread, and the order might take.
            params["post_only"] = intent.time_in_force is TimeInForce.POST_ONLY
        elif intent.quantity > self._market_order_limits[intent.symbol]:
            limit = plain(self._market_order_limits[intent.symbol])
            raise BadRequest(self.name, f"takes market orders up to {limit}, was {plain(intent.quantity)}")
        placed = await self._data(_PLACE, params)
        order_id = placed.get("order_id")
        if not order_id:
            raise NoAnswer(self.name, "the order was answered without an id")
        return str(order_id)

    async def cancel(self, symbol: str, venue_order_id: str) -> None:
        """Ask for the cancel. An order that has already ended is no error; its state tells which way."""
        params = {"pair": _name(symbol), "order_id": int(venue_order_id)}
        try:
            await self._data(_CANCEL, params)
        except Refused as error:
            if error.code not in ENDED_ALREADY:
                raise

    async def cancel_all(self, symbol: str) -> None:
        """Cancel every resting order of the pair: one list, then 30 a request (there is no cancel-all)."""
        # The list is a part of the cancel: it too may use what is kept back for cancelling.
        with urgent():
            ids = [order.venue_order_id for order in await self.open_orders(symbol)]
            for start in range(0, len(ids), _CANCELS_A_REQUEST):
                await self._cancel_many(symbol, ids[start : start + _CANCELS_A_REQUEST])

    async def _cancel_many(self, symbol: str, order_ids: Sequence[str]) -> None:
        params = {"pair": _name(symbol), "order_ids": [int(each) for each in order_ids]}
        try:
            await self._data(_CANCEL_MANY, params)
        except Refused as error:
            if error.code not in ENDED_ALREADY:
                raise
            # One of them had ended; whether the others were cancelled is not said.
            for order_id in order_ids:
                await self.cancel(symbol, order_id)


def _name(symbol: str) -> str:
    """The venue's name of a symbol, without asking for instruments: getting out must not hang on that list."""
    return symbol.replace("/", "_").lower()


def _file_start(moment: datetime, yearly: bool) -> datetime:
    """Start (UTC) of the day or year whose file holds `moment`."""
    return datetime(moment.year, 1 if yearly else moment.month, 1 if yearly else moment.day, tzinfo=UTC)


READER, TRADER = BitbankReader, Bitbank
