"""Read the market of one cycle."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from prefect import task
from prefect.cache_policies import NO_CACHE

from config.settings import ExchangeName
from exchanges.adapter import TIMEFRAME_SECONDS
from exchanges.errors import Busy
from tasks.events import VENUE_HALTED, is_halted, tell
from tasks.session import trading_session
from trading.instruments import Instrument
from trading.market import Candle, OrderBook, VenueStatus


@dataclass(frozen=True)
class MarketView:
    """What one cycle sees of the market. Times are market time, UTC."""

    instrument: Instrument
    status: VenueStatus
    candles: tuple[Candle, ...]
    book: OrderBook | None  # None: the venue showed none (halt, maintenance)
    clock_skew_seconds: float | None
    read_at: datetime
    candle_length: timedelta

    @property
    def bid(self) -> Decimal | None:
        return self.book.bids[0].price if self.book and self.book.bids else None

    @property
    def ask(self) -> Decimal | None:
        return self.book.asks[0].price if self.book and self.book.asks else None

    @property
    def data_at(self) -> datetime | None:
        """When the older of book and candles was true; None without a book.

        Candles are as good as now until the next one must have closed; bitFlyer's book bears our own time, so that a
        feed which stands still shows in its candles alone.
        """
        if self.book is None:
            return None
        if not self.candles:
            return self.book.at
        return min(self.book.at, self.candles[-1].opened_at + 2 * self.candle_length)

    @property
    def price(self) -> Decimal | None:
        """What the base is worth now (quote): the middle of the book, else the last close."""
        if self.bid is not None and self.ask is not None:
            return (self.bid + self.ask) / 2
        return self.candles[-1].close if self.candles else None


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def read_market(exchange: ExchangeName) -> MarketView:
    """Read status, the last closed candles and the book; the adapter repeats what may be repeated."""
    session = trading_session(exchange)
    symbol = session.symbol
    instrument = await session.reader.instrument(symbol)
    status, candles, book, skew = await asyncio.gather(
        session.reader.status(symbol),
        session.candles(),
        _book(exchange, symbol),
        session.clock_skew_seconds(),
    )
    if is_halted(status):
        tell(exchange, VENUE_HALTED, state=status.state)
    length = timedelta(seconds=TIMEFRAME_SECONDS[session.settings.data.timeframe])
    return MarketView(instrument, status, candles, book, skew, session.clock.now(), length)


async def _book(exchange: ExchangeName, symbol: str) -> OrderBook | None:
    try:
        return await trading_session(exchange).reader.order_book(symbol)
    except Busy:
        # A venue under maintenance shows no book; the cycle goes on without one and risk refuses new orders.
        return None
