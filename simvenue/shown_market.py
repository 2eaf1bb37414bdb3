"""The public side of a market while a fault lies on it: stale, with a gap, crossed, empty, or halted."""

from typing import TYPE_CHECKING, Protocol

from simvenue.candles import MINUTE
from simvenue.fault_values import number_of
from simvenue.faults import Fault, FaultBoard
from simvenue.market import Market
from simvenue.values import Bar, Level, Pair, Ticker, Trade

if TYPE_CHECKING:
    from simvenue.venue import Venue

Book = tuple[list[Level], list[Level]]

# a market is another than the true one while one of these is set
FAULTS = ("stale_ticker", "candle_gap", "crossed_book", "empty_book", "circuit_break")


class PublicMarket(Protocol):
    """What the public calls ask a market for."""

    pair: Pair

    @property
    def state(self) -> str: ...

    def ticker(self) -> Ticker: ...

    def book(self, depth: int | None = None) -> Book: ...

    def trades(self, limit: int, before: int | None = None, after: int | None = None) -> list[Trade]: ...

    def trades_between(self, start_ms: int, end_ms: int) -> list[Trade]: ...

    def candles(
        self, seconds: int, start_ms: int | None = None, end_ms: int | None = None, limit: int | None = None
    ) -> list[Bar]: ...


class ShownMarkets:
    """The markets of one venue as the public sees them."""

    def __init__(self, venue: "Venue") -> None:
        self._venue = venue
        self._board = venue.faults
        self._still: dict[tuple[str, str], StillMarket] = {}  # (fault, symbol)

    def stand_still(self, fault: Fault) -> None:
        """Keep the markets as they are now, for a fault under which they no longer move."""
        for pair in self._venue.spec.pairs:
            self._still[fault.name, pair.symbol] = StillMarket(self._venue.market(pair.symbol))

    def now_ms(self) -> int:
        """Give the time of the market data: now, or since when it is stale."""
        stale = self._board.active("stale_ticker")
        return self._venue.clock.now_ms() if stale is None else stale.since_ms

    def market(self, symbol: str) -> PublicMarket:
        """Give the true market, or what the faults that are set make of it."""
        true = self._venue.market(symbol)
        if all(self._board.active(name) is None for name in FAULTS):
            return true
        shown: PublicMarket = true
        if self._board.active("stale_ticker") is not None:
            shown = self._still["stale_ticker", symbol]
        elif self._board.active("circuit_break") is not None:
            # nothing trades, but what arrives is seen in the book
            shown = self._still["circuit_break", symbol].market
        return FaultyMarket(shown, true, self._board, self.now_ms())


class StillMarket:
    """A market as it was at one moment."""

    def __init__(self, market: Market) -> None:
        self.pair = market.pair
        self.market = market.standing_still()
        self.state = market.state
        self._ticker = market.ticker()
        self._book = market.book()
        self.trades = self.market.trades
        self.trades_between = self.market.trades_between
        self.candles = self.market.candles

    def ticker(self) -> Ticker:
        return self._ticker

    def book(self, depth: int | None = None) -> Book:
        bids, asks = self._book
        return bids[:depth], asks[:depth]


class FaultyMarket:
    """A market with the faults of book and candles laid over it."""

    def __init__(self, shown: PublicMarket, true: Market, board: FaultBoard, now_ms: int) -> None:
        self.pair = shown.pair
        self.state = shown.state
        self.trades = shown.trades
        self.trades_between = shown.trades_between
        self._shown = shown
        self._true = true
        self._board = board
        self._now_ms = now_ms

    def ticker(self) -> Ticker:
        ticker = self._shown.ticker()
        bids, asks = self._laid_over(*self._shown.book(1))
        bid, ask = (bids[0] if bids else None), (asks[0] if asks else None)
        return ticker._replace(
            bid=bid.price if bid else None,
            ask=ask.price if ask else None,
            bid_size=bid.size if bid else None,
            ask_size=ask.size if ask else None,
        )

    def book(self, depth: int | None = None) -> Book:
        bids, asks = self._laid_over(*self._shown.book(depth))
        return bids[:depth], asks[:depth]

    def candles(
        self, seconds: int, start_ms: int | None = None, end_ms: int | None = None, limit: int | None = None
    ) -> list[Bar]:
        fault = self._board.active("candle_gap")
        if fault is None:
            return self._shown.candles(seconds, start_ms, end_ms, limit)
        cut_ms = gap_from(fault, self._now_ms)
        earlier = self._true.standing_still(cut_ms)
        last_ms = cut_ms - 1 if end_ms is None else min(end_ms, cut_ms - 1)
        return earlier.candles(seconds, start_ms, last_ms, limit)

    def _laid_over(self, bids: list[Level], asks: list[Level]) -> Book:
        if self._board.active("crossed_book") is not None and bids and asks:
            bids = [Level(asks[0].price + self.pair.tick, bids[0].size), *bids]
        empty = self._board.active("empty_book")
        if empty is not None:
            bids = bids if empty.value == "asks" else []
            asks = asks if empty.value == "bids" else []
        return bids, asks


def gap_from(fault: Fault, now_ms: int) -> int:
    """Give the market time (ms) from which candle_gap leaves nothing; the running minute is one of them."""
    return now_ms // MINUTE * MINUTE - (int(number_of(fault)) - 1) * MINUTE
