"""bitbank's market data: tickers, depth, transactions, candles in files of a day or a year.

The facts are in docs/venues.md#bitbank.
"""

from calendar import isleap
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from simvenue.bitbank_rows import digits_of, pair_row, text
from simvenue.calendar_bars import first_of_month, grouped, monday
from simvenue.values import Bar, Level, Pair, Trade
from simvenue.venue import Venue

LEVELS = 200
NEWEST_TRANSACTIONS = 60
TRIGGER = Decimal("0.2")  # how far the price may run from the close ten minutes ago before the circuit breaker
TEN_MINUTES_MS = 600_000

DAY_S = 86_400
# type: (seconds, the format of its file's name); weeks and months are joined from days
CANDLE_TYPES = {
    "1min": (60, "%Y%m%d"),
    "5min": (300, "%Y%m%d"),
    "15min": (900, "%Y%m%d"),
    "30min": (1_800, "%Y%m%d"),
    "1hour": (3_600, "%Y%m%d"),
    "4hour": (14_400, "%Y"),
    "8hour": (28_800, "%Y"),
    "12hour": (43_200, "%Y"),
    "1day": (DAY_S, "%Y"),
    "1week": (DAY_S, "%Y"),
    "1month": (DAY_S, "%Y"),
}
_JOINED = {"1week": monday, "1month": first_of_month}


class NoSuchFile(Exception):
    """The public host has no file under this path."""


class BitbankPublic:
    """Render what needs no key."""

    def __init__(self, venue: Venue) -> None:
        """Read from this venue."""
        self._venue = venue

    def pair(self, name: str) -> Pair:
        """Find a pair by its name. Raises NoSuchFile."""
        pair = self._venue.pair_by_venue_symbol(name)
        if pair is None:
            raise NoSuchFile(name)
        return pair

    def pairs(self) -> dict[str, Any]:
        """List the pairs with their fees, digits and flags."""
        return {
            "pairs": [pair_row(self._venue.rules(pair.symbol), pair.min_quantity) for pair in self._venue.spec.pairs]
        }

    def statuses(self) -> dict[str, Any]:
        """List how busy each pair is."""
        return {
            "statuses": [
                {
                    "pair": pair.venue_symbol,
                    "status": "NORMAL" if self._venue.shown.market(pair.symbol).state == "running" else "HALT",
                    "min_amount": text(self._venue.rules(pair.symbol).min_quantity, digits_of(pair.lot)),
                }
                for pair in self._venue.spec.pairs
            ]
        }

    def ticker(self, name: str) -> dict[str, Any]:
        """Give one pair's ticker; figures of the last 24 hours."""
        pair = self.pair(name)
        ticker = self._venue.shown.market(pair.symbol).ticker()
        digits = digits_of(pair.tick)
        return {
            "sell": None if ticker.ask is None else text(ticker.ask, digits),
            "buy": None if ticker.bid is None else text(ticker.bid, digits),
            "high": text(ticker.high24, digits),
            "low": text(ticker.low24, digits),
            "open": text(ticker.open24, digits),
            "last": text(ticker.last, digits),
            "vol": text(ticker.volume24, digits_of(pair.lot)),
            "timestamp": self._published_at(pair),
        }

    def tickers(self, quote: str | None = None) -> list[dict[str, Any]]:
        """List the tickers of all pairs, or of those priced in `quote`."""
        return [
            {"pair": pair.venue_symbol, **self.ticker(pair.venue_symbol)}
            for pair in self._venue.spec.pairs
            if quote is None or pair.quote == quote
        ]

    def depth(self, name: str) -> dict[str, Any]:
        """Give the book: 200 levels a side and the sum of what lies beyond."""
        pair = self.pair(name)
        bids, asks = self._venue.shown.market(pair.symbol).book()
        return {
            "asks": _levels(pair, asks[:LEVELS]),
            "bids": _levels(pair, bids[:LEVELS]),
            "asks_over": _sum(pair, asks[LEVELS:]),
            "bids_under": _sum(pair, bids[LEVELS:]),
            "asks_under": "0",
            "bids_over": "0",
            "ask_market": "0",
            "bid_market": "0",
            "timestamp": self._published_at(pair),
            "sequenceId": str(self._venue.shown.market_ms() + len(self._venue.orders) + len(self._venue.fills)),
        }

    def newest_transactions(self, name: str) -> dict[str, Any]:
        """List the newest 60 trades, newest first."""
        pair = self.pair(name)
        trades = self._venue.shown.market(pair.symbol).trades(NEWEST_TRANSACTIONS)
        return {"transactions": [_transaction(pair, trade) for trade in trades]}

    def transactions(self, name: str, day: str) -> dict[str, Any]:
        """List the trades of one UTC day, oldest first. Raises NoSuchFile for a day without any."""
        pair = self.pair(name)
        start_ms, end_ms = _span(day, "%Y%m%d")
        trades = self._venue.shown.market(pair.symbol).trades_between(start_ms, end_ms)
        if not trades:
            raise NoSuchFile(day)
        return {"transactions": [_transaction(pair, trade) for trade in trades]}

    def candles(self, name: str, kind: str, file: str) -> dict[str, Any]:
        """Give the candles that open in one UTC day or year, the running one included. Raises NoSuchFile."""
        pair = self.pair(name)
        if kind not in CANDLE_TYPES:
            raise NoSuchFile(kind)
        seconds, file_format = CANDLE_TYPES[kind]
        start_ms, end_ms = _span(file, file_format)
        market = self._venue.shown.market(pair.symbol)
        if kind in _JOINED:
            # the last week of a year reaches into the next one
            days = market.candles(seconds, start_ms, end_ms - 1 + 6 * DAY_S * 1000)
            bars = [
                bar
                for bar in grouped(days, _JOINED[kind], self._venue.shown.market_ms())
                if start_ms <= bar.open_ms < end_ms
            ]
        else:
            bars = market.candles(seconds, start_ms, end_ms - 1)
        if not bars:
            raise NoSuchFile(file)
        rows = [_candle(pair, bar) for bar in bars]
        return {"candlestick": [{"type": kind, "ohlcv": rows}], "timestamp": self._venue.shown.market_ms()}

    def circuit_break_info(self, name: str) -> dict[str, Any]:
        """Say whether trading is continuous, and at which prices that would end; or how its halt goes on."""
        pair = self.pair(name)
        market = self._venue.shown.market(pair.symbol)
        now_ms = self._venue.shown.market_ms()
        earlier = market.candles(60, end_ms=now_ms - TEN_MINUTES_MS, limit=1)
        close = earlier[-1].close if earlier else market.ticker().last
        digits = digits_of(pair.tick)
        upper = text((close * (1 + TRIGGER)).quantize(pair.tick), digits)
        lower = text((close * (1 - TRIGGER)).quantize(pair.tick), digits)
        halted = self._venue.is_halted
        return {
            "mode": "CIRCUIT_BREAK" if halted else "NONE",
            "estimated_itayose_price": text(market.ticker().last, digits) if halted else None,
            "estimated_itayose_amount": "0" if halted else None,
            "itayose_upper_price": upper if halted else None,
            "itayose_lower_price": lower if halted else None,
            "upper_trigger_price": None if halted else upper,
            "lower_trigger_price": None if halted else lower,
            "fee_type": "NORMAL",
            "reopen_timestamp": None,
            "timestamp": now_ms,
        }

    def _published_at(self, pair: Pair) -> int:
        # the files are written while the market runs; afterwards the last one stays as it was
        market = self._venue.shown.market(pair.symbol)
        return self._venue.shown.market_ms() if market.state == "running" else market.ticker().at


def _span(name: str, file_format: str) -> tuple[int, int]:
    if not (name.isascii() and name.isdigit() and len(name) == (4 if file_format == "%Y" else 8)):
        raise NoSuchFile(name)
    try:
        start = datetime.strptime(name, file_format).replace(tzinfo=UTC)
    except ValueError:
        raise NoSuchFile(name) from None
    start_ms = int(start.timestamp()) * 1000
    if file_format != "%Y":
        return start_ms, start_ms + DAY_S * 1000
    days = 366 if isleap(start.year) else 365
    return start_ms, start_ms + days * DAY_S * 1000


def _levels(pair: Pair, levels: list[Level]) -> list[list[str]]:
    price_digits, amount_digits = digits_of(pair.tick), digits_of(pair.lot)
    return [[text(level.price, price_digits), text(level.size, amount_digits)] for level in levels]


def _sum(pair: Pair, levels: list[Level]) -> str:
    return text(sum((level.size for level in levels), Decimal(0)), digits_of(pair.lot))


def _transaction(pair: Pair, trade: Trade) -> dict[str, Any]:
    return {
        "transaction_id": trade.id,
        "side": trade.side or "buy",  # auction prints carry a side here too
        "price": text(trade.price, digits_of(pair.tick)),
        "amount": text(trade.size, digits_of(pair.lot)),
        "executed_at": trade.at,
    }


def _candle(pair: Pair, bar: Bar) -> list[Any]:
    digits = digits_of(pair.tick)
    prices = [text(price, digits) for price in (bar.open, bar.high, bar.low, bar.close)]
    return [*prices, text(bar.volume, digits_of(pair.lot)), bar.open_ms]
