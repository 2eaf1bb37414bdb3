"""OKJ's public calls: instruments, tickers, books, candles, trades, server time (docs/venues.md#okcoinjp)."""

from decimal import Decimal
from typing import Any

from simvenue.calendar_bars import DAY_MS, Opening, first_of_month, grouped, monday, shifted, turnover
from simvenue.okcoinjp_protocol import BAD_PARAMETER, Call, Params, Refusal, need, page_size, whole_number
from simvenue.shown_market import PublicMarket
from simvenue.values import Bar, Level, Pair, plain
from simvenue.venue import Venue

LISTED_MS = 1_548_133_413_000
HOUR_MS = 3_600_000
# days and half days open at midnight and noon of Hong Kong unless the bar's name ends in "utc"
HONG_KONG_MS = 8 * HOUR_MS

SECONDS = {"1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1H": 3600, "2H": 7200, "4H": 14400}
SECONDS |= {"6Hutc": 21600, "12Hutc": 43200, "1Dutc": 86400, "2Dutc": 172_800, "3Dutc": 259_200}
CALENDAR: dict[str, Opening] = {
    "6H": shifted(6 * HOUR_MS, HONG_KONG_MS),
    "12H": shifted(12 * HOUR_MS, HONG_KONG_MS),
    "1D": shifted(DAY_MS, HONG_KONG_MS),
    "2D": shifted(2 * DAY_MS, HONG_KONG_MS),
    "3D": shifted(3 * DAY_MS, HONG_KONG_MS),
    "1Wutc": monday,
    "1Mutc": first_of_month,
    "1W": lambda at_ms: monday(at_ms + HONG_KONG_MS) - HONG_KONG_MS,
    "1M": lambda at_ms: first_of_month(at_ms + HONG_KONG_MS) - HONG_KONG_MS,
}

INSTRUMENT_TYPES = ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION")
DEEPEST_BOOK = 400


class OkcoinjpMarket:
    """Render the public side of a venue."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self.calls: dict[tuple[str, str], Call] = {
            ("GET", "/api/v5/public/time"): self.server_time,
            ("GET", "/api/v5/public/instruments"): self.instruments,
            ("GET", "/api/v5/market/tickers"): self.tickers,
            ("GET", "/api/v5/market/ticker"): self.ticker,
            ("GET", "/api/v5/market/books"): self.book,
            ("GET", "/api/v5/market/books-full"): self.full_book,
            ("GET", "/api/v5/market/candles"): self.candles,
            ("GET", "/api/v5/market/history-candles"): self.history_candles,
            ("GET", "/api/v5/market/trades"): self.trades,
        }

    def server_time(self, params: Params) -> list[Any]:
        """Tell the wall clock's time: signatures are judged by it."""
        return [{"ts": str(self._venue.clock.wall_ms())}]

    def instruments(self, params: Params) -> list[Any]:
        """List the spot pairs; other kinds are known and empty, options want an underlying of their own."""
        kind = need(params, "instType")
        if kind not in INSTRUMENT_TYPES:
            raise Refusal(BAD_PARAMETER, "Parameter instType error", 400)
        if kind == "OPTION":
            raise Refusal("51014", "Index doesn't exist")
        if kind != "SPOT":
            return []
        if "instId" in params:
            return [_instrument(self._venue.rules(find_pair(self._venue, params).symbol))]
        return [_instrument(self._venue.rules(pair.symbol)) for pair in self._venue.spec.pairs]

    def tickers(self, params: Params) -> list[Any]:
        if need(params, "instType") not in INSTRUMENT_TYPES:
            raise Refusal(BAD_PARAMETER, "Parameter instType error", 400)
        pairs = self._venue.spec.pairs if params["instType"] == "SPOT" else ()
        return [self._ticker(pair) for pair in pairs]

    def ticker(self, params: Params) -> list[Any]:
        return [self._ticker(find_pair(self._venue, params))]

    def book(self, params: Params) -> list[Any]:
        """Give levels of four texts: price, size, "0", number of orders."""
        pair = find_pair(self._venue, params)
        depth = whole_number(params, "sz") or 1
        if depth > DEEPEST_BOOK:
            raise Refusal(BAD_PARAMETER, "Parameter sz error")  # HTTP 200 at this call
        return [self._book(pair, depth, 4)]

    def full_book(self, params: Params) -> list[Any]:
        pair = find_pair(self._venue, params)
        return [self._book(pair, whole_number(params, "sz") or 1, 3)]

    def candles(self, params: Params) -> list[Any]:
        return self._candles(params, closed_only=False)

    def history_candles(self, params: Params) -> list[Any]:
        return self._candles(params, closed_only=True)

    def trades(self, params: Params) -> list[Any]:
        pair = find_pair(self._venue, params)
        prints = self._venue.shown.market(pair.symbol).trades(page_size(params, 100, 500))
        return [
            {
                "instId": pair.venue_symbol,
                "tradeId": str(each.id),
                "px": plain(each.price),
                "sz": plain(each.size),
                "side": each.side or "buy",
                "ts": str(each.at),
            }
            for each in prints
        ]

    def _candles(self, params: Params, *, closed_only: bool) -> list[Any]:
        """Give bars newest first; `after` asks for older openings (ms), `before` for newer ones."""
        pair = find_pair(self._venue, params)
        limit = page_size(params, 100, 300)
        after, before = whole_number(params, "after"), whole_number(params, "before")
        first = None if before is None else before + 1
        last = None if after is None else after - 1
        # one more than asked for: the newest may still run
        bars = self._bars(self._venue.shown.market(pair.symbol), params.get("bar", "1m"), first, last, limit + 1)
        if closed_only:
            bars = [bar for bar in bars if bar.closed]
        return [_candle(bar) for bar in reversed(bars[-limit:])]

    def _bars(self, market: PublicMarket, name: str, first: int | None, last: int | None, limit: int) -> list[Bar]:
        if name in SECONDS:
            return market.candles(SECONDS[name], first, last, limit)
        if name not in CALENDAR:
            raise Refusal(BAD_PARAMETER, "Parameter bar error", 400)
        bars = grouped(market.candles(3600), CALENDAR[name], self._venue.shown.market_ms())
        return [bar for bar in bars if (first or 0) <= bar.open_ms <= (last or bar.open_ms)]

    def _book(self, pair: Pair, depth: int, width: int) -> dict[str, Any]:
        bids, asks = self._venue.shown.market(pair.symbol).book(depth)
        now = str(self._venue.shown.market_ms())
        return {
            "asks": [_level(level, width) for level in asks],
            "bids": [_level(level, width) for level in bids],
            "ts": now,
        }

    def _ticker(self, pair: Pair) -> dict[str, Any]:
        market = self._venue.shown.market(pair.symbol)
        ticker = market.ticker()
        now_ms = self._venue.shown.market_ms()
        hours = market.candles(3600, now_ms - DAY_MS)
        prints = market.trades(1)
        return {
            "instType": "SPOT",
            "instId": pair.venue_symbol,
            "last": plain(ticker.last),
            "lastSz": plain(prints[0].size) if prints else "0",
            "askPx": _or_empty(ticker.ask),
            "askSz": _or_empty(ticker.ask_size),
            "bidPx": _or_empty(ticker.bid),
            "bidSz": _or_empty(ticker.bid_size),
            "open24h": plain(ticker.open24),
            "high24h": plain(ticker.high24),
            "low24h": plain(ticker.low24),
            "volCcy24h": plain(sum((turnover(bar) for bar in hours), Decimal(0))),
            "vol24h": plain(ticker.volume24),
            "ts": str(now_ms),
            "sodUtc0": plain(_opening(hours, shifted(DAY_MS, 0)(now_ms), ticker.last)),
            "sodUtc8": plain(_opening(hours, shifted(DAY_MS, HONG_KONG_MS)(now_ms), ticker.last)),
        }


def find_pair(venue: Venue, params: Params) -> Pair:
    """Find the pair named by instId. Raises Refusal 50014 without one, 51001 for an unknown one."""
    pair = venue.pair_by_venue_symbol(need(params, "instId"))
    if pair is None:
        raise Refusal("51001", "Instrument ID doesn't exist")
    return pair


def _opening(hours: list[Bar], since_ms: int, otherwise: Decimal) -> Decimal:
    """Give the price at which the first hour from `since_ms` on opened."""
    return next((bar.open for bar in hours if bar.open_ms >= since_ms), otherwise)


def _or_empty(amount: Decimal | None) -> str:
    return "" if amount is None else plain(amount)


def _level(level: Level, width: int) -> list[str]:
    both = [plain(level.price), plain(level.size)]
    return [*both, "0", "1"] if width == 4 else [*both, "1"]


def _candle(bar: Bar) -> list[str]:
    prices = (bar.open, bar.high, bar.low, bar.close, bar.volume)
    value = plain(turnover(bar))
    return [str(bar.open_ms), *(plain(amount) for amount in prices), value, value, "1" if bar.closed else "0"]


def _instrument(pair: Pair) -> dict[str, Any]:
    largest = _or_empty(pair.max_quantity)
    return {
        "instType": "SPOT",
        "instId": pair.venue_symbol,
        "uly": "",
        "instFamily": "",
        "category": "1",
        "baseCcy": pair.base,
        "quoteCcy": pair.quote,
        "settleCcy": "",
        "ctVal": "",
        "ctMult": "",
        "ctValCcy": "",
        "optType": "",
        "stk": "",
        "listTime": str(LISTED_MS),
        "expTime": "",
        "lever": "",
        "tickSz": plain(pair.tick),
        "lotSz": plain(pair.lot),
        "minSz": plain(pair.min_quantity),
        "ctType": "",
        "alias": "",
        "state": "live",
        "maxLmtSz": largest,
        "maxMktSz": _or_empty(pair.max_market_quantity or pair.max_quantity),
    }
