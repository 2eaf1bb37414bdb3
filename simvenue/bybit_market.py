"""Bybit's public calls: instruments, tickers, books, candles, server time (docs/venues.md#bybit)."""

from decimal import Decimal
from typing import Any

from simvenue.bybit_protocol import (
    BAD_PARAMETER,
    CATEGORIES,
    Call,
    Params,
    Refusal,
    category,
    one_page,
    page_size,
    whole_number,
)
from simvenue.calendar_bars import DAY_MS, first_of_month, grouped, monday, turnover
from simvenue.shown_market import PublicMarket
from simvenue.values import Bar, Pair, Trade, plain
from simvenue.venue import Venue

MINUTES = ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720")
CALENDAR = {"W": monday, "M": first_of_month}

LAUNCHED_MS = 1_585_526_400_000
SPOT_QUOTE_PRECISION = "0.0000001"
PRICE_LIMIT_RATIO = Decimal("0.05")  # a buy may be this much above the last price, a sell this much below


class BybitMarket:
    """Render the public side of a venue."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self.calls: dict[tuple[str, str], Call] = {
            ("GET", "/v5/market/time"): self.server_time,
            ("GET", "/v5/system/status"): self.system_status,
            ("GET", "/v5/market/instruments-info"): self.instruments,
            ("GET", "/v5/market/tickers"): self.tickers,
            ("GET", "/v5/market/orderbook"): self.order_book,
            ("GET", "/v5/market/kline"): self.kline,
            ("GET", "/v5/market/recent-trade"): self.recent_trades,
        }

    def server_time(self, params: Params) -> dict[str, Any]:
        """Tell the wall clock's time: signatures are judged by it."""
        wall_ms = self._venue.clock.wall_ms()
        return {"timeSecond": str(wall_ms // 1000), "timeNano": f"{wall_ms}000000"}

    def system_status(self, params: Params) -> dict[str, Any]:
        """List announced maintenance: none is ever announced here."""
        return {"list": []}

    def instruments(self, params: Params) -> dict[str, Any]:
        word = category(params)
        status = "Closed" if self._venue.is_halted else "Trading"
        listed = [pair for pair in self._pairs(word, params) if params.get("status", status) == status]
        rows = [
            (len(listed) - place, _instrument(self._venue.rules(pair.symbol), status))
            for place, pair in enumerate(listed)
        ]
        page, cursor = one_page(rows, params, 500, 1000)
        answer = {"category": word, "list": page}
        return answer if word == "spot" else answer | {"nextPageCursor": cursor}

    def tickers(self, params: Params) -> dict[str, Any]:
        word = category(params)
        return {"category": word, "list": [self._ticker(pair) for pair in self._pairs(word, params)]}

    def order_book(self, params: Params) -> dict[str, Any]:
        word = category(params)
        if "symbol" not in params:
            raise Refusal(BAD_PARAMETER, "params error: symbol is required")
        pair = self._pair(word, params)
        depth = page_size(params, 1 if word == "spot" else 25, 1000)
        bids, asks = self._venue.shown.market(pair.symbol).book(depth)
        now_ms = self._venue.shown.market_ms()
        return {
            "s": pair.venue_symbol,
            "b": [[plain(level.price), plain(level.size)] for level in bids],
            "a": [[plain(level.price), plain(level.size)] for level in asks],
            "ts": now_ms,
            "u": now_ms,
            "seq": now_ms,
            "cts": now_ms,
        }

    def kline(self, params: Params) -> dict[str, Any]:
        """Give candles newest first; the running one is the first, unmarked."""
        word = category({"category": "linear"} | dict(params), ("spot", "linear", "inverse"))
        if "symbol" not in params:
            raise Refusal(BAD_PARAMETER, "params error: symbol is required")
        pair = self._pair(word, params)
        limit = page_size(params, 200, 1000)
        start, end = whole_number(params, "start"), whole_number(params, "end")
        bars = self._bars(self._venue.shown.market(pair.symbol), params.get("interval", ""), start, end, limit)
        return {
            "category": word,
            "symbol": pair.venue_symbol,
            "list": [_candle(bar) for bar in reversed(bars)],
        }

    def recent_trades(self, params: Params) -> dict[str, Any]:
        """Give the public tape, newest first: at most 60 prints of a spot pair, 1000 of a contract."""
        word = category(params)
        if "symbol" not in params:
            raise Refusal(BAD_PARAMETER, "params error: symbol is required")
        pair = self._pair(word, params)
        limit = page_size(params, 60, 60) if word == "spot" else page_size(params, 500, 1000)
        rows = [_print(trade, pair) for trade in self._venue.shown.market(pair.symbol).trades(limit)]
        return {"category": word, "list": rows}

    def _bars(self, market: PublicMarket, interval: str, start: int | None, end: int | None, limit: int) -> list[Bar]:
        if interval in CALENDAR:
            days = market.candles(DAY_MS // 1000)
            bars = grouped(days, CALENDAR[interval], self._venue.shown.market_ms())
            return [bar for bar in bars if (start or 0) <= bar.open_ms <= (end or bar.open_ms)][-limit:]
        if interval not in (*MINUTES, "D"):
            raise Refusal(BAD_PARAMETER, "params error: Invalid period!")
        seconds = DAY_MS // 1000 if interval == "D" else int(interval) * 60
        if start is not None and end is None:  # a start alone: the venue counts forward from there
            end = start + limit * seconds * 1000 - 1
        return market.candles(seconds, start, end, limit)

    def _pairs(self, word: str, params: Params) -> list[Pair]:
        if "symbol" in params and word in ("spot", "linear"):
            return [self._pair(word, params)]
        base = params.get("baseCoin")
        return [pair for pair in self._venue.spec.pairs if pair.category == word and base in (None, pair.base)]

    def _pair(self, word: str, params: Params) -> Pair:
        return find_pair(self._venue, word, params.get("symbol", ""))

    def _ticker(self, pair: Pair) -> dict[str, Any]:
        market = self._venue.shown.market(pair.symbol)
        ticker = market.ticker()
        now_ms = self._venue.shown.market_ms()
        hours = market.candles(3600, now_ms - DAY_MS)
        row = {
            "symbol": pair.venue_symbol,
            "bid1Price": _or_empty(ticker.bid),
            "bid1Size": _or_empty(ticker.bid_size),
            "ask1Price": _or_empty(ticker.ask),
            "ask1Size": _or_empty(ticker.ask_size),
            "lastPrice": plain(ticker.last),
            "prevPrice24h": plain(ticker.open24),
            "price24hPcnt": plain((ticker.last / ticker.open24 - 1).quantize(Decimal("0.0001"))),
            "highPrice24h": plain(ticker.high24),
            "lowPrice24h": plain(ticker.low24),
            "turnover24h": plain(sum((turnover(bar) for bar in hours), Decimal(0))),
            "volume24h": plain(ticker.volume24),
        }
        if pair.kind == "spot":
            return row | {"usdIndexPrice": plain(ticker.last)}
        # no funding and no index of other venues: the mark is the last price
        return row | {
            "indexPrice": plain(ticker.last),
            "markPrice": plain(ticker.last),
            "openInterest": "0",
            "openInterestValue": "0",
            "fundingRate": "0",
            "nextFundingTime": str((now_ms // 28_800_000 + 1) * 28_800_000),
        }


def find_pair(venue: Venue, word: str, symbol: str) -> Pair:
    """Find a symbol inside a category (the same text names a spot pair and a contract). Raises Refusal."""
    for pair in venue.spec.pairs:
        if pair.category == word and pair.venue_symbol == symbol:
            return pair
    raise Refusal(BAD_PARAMETER, "Not supported symbols" if word in CATEGORIES else "Category is invalid")


def _or_empty(amount: Decimal | None) -> str:
    return "" if amount is None else plain(amount)


def _candle(bar: Bar) -> list[str]:
    prices = (bar.open, bar.high, bar.low, bar.close, bar.volume, turnover(bar))
    return [str(bar.open_ms), *(plain(amount) for amount in prices)]


def _print(trade: Trade, pair: Pair) -> dict[str, Any]:
    return {
        "execId": str(trade.id),
        "symbol": pair.venue_symbol,
        "price": plain(trade.price),
        "size": plain(trade.size),
        "side": trade.side.capitalize(),
        "time": str(trade.at),
        "isBlockTrade": False,
        "isRPITrade": False,
        "seq": str(trade.id),
    }


def _instrument(pair: Pair, status: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "symbol": pair.venue_symbol,
        "baseCoin": pair.base,
        "quoteCoin": pair.quote,
        "status": status,
        "priceFilter": {"tickSize": plain(pair.tick)},
    }
    largest = _or_empty(pair.max_quantity)
    largest_market = _or_empty(pair.max_market_quantity or pair.max_quantity)
    if pair.kind == "spot":
        return row | {
            "innovation": "0",
            "marginTrading": "none",
            "stTag": "0",
            "lotSizeFilter": {
                "basePrecision": plain(pair.lot),
                "quotePrecision": SPOT_QUOTE_PRECISION,
                "minOrderQty": plain(pair.min_quantity),
                "maxOrderQty": largest,
                "minOrderAmt": _or_empty(pair.min_notional),
                "maxLimitOrderQty": largest,
                "maxMarketOrderQty": largest_market,
                "postOnlyMaxLimitOrderSize": largest,
            },
            "riskParameters": {
                "priceLimitRatioX": plain(PRICE_LIMIT_RATIO),
                "priceLimitRatioY": plain(PRICE_LIMIT_RATIO),
            },
        }
    return row | {
        "contractType": "LinearPerpetual",
        "launchTime": str(LAUNCHED_MS),
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": "2",
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {"minPrice": plain(pair.tick), "maxPrice": "1999999.80", "tickSize": plain(pair.tick)},
        "lotSizeFilter": {
            "minOrderQty": plain(pair.min_quantity),
            "maxOrderQty": largest,
            "maxMktOrderQty": largest_market,
            "postOnlyMaxOrderQty": largest,
            "qtyStep": plain(pair.lot),
            "minNotionalValue": _or_empty(pair.min_notional),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "settleCoin": pair.quote,
        "copyTrading": "none",
        "isPreListing": False,
        "preListingInfo": None,
        "riskParameters": {
            "priceLimitRatioX": plain(PRICE_LIMIT_RATIO),
            "priceLimitRatioY": plain(PRICE_LIMIT_RATIO),
        },
    }
