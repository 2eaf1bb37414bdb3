"""bitFlyer has no candle call: bars are built from its public executions (docs/venues.md#bitflyer).

One `CandleStore` per product keeps one-minute bars in memory. Each call asks only for executions newer than
the newest known one, and walks further back only when older bars are wanted than it has.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from trading.market import Candle

PAGE = 500  # rows that the venue gives at most
RETENTION = timedelta(days=31)
_MINUTE = timedelta(minutes=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Execution:
    """One public trade; ids rise with time. Quantity in base."""

    id: int
    price: Decimal
    quantity: Decimal
    at: datetime


# Reads one page, newest first: executions with ids below `before` and above `after` (None: unbounded).
ReadPage = Callable[[int | None, int | None], Awaitable[Sequence[Execution]]]


@dataclass
class _Bar:
    """One minute. The ids of its first and last trade let older and newer pages be merged in any order."""

    first_id: int
    last_id: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal

    def add(self, trade: Execution) -> None:
        if trade.id < self.first_id:
            self.first_id, self.open = trade.id, trade.price
        if trade.id > self.last_id:
            self.last_id, self.close = trade.id, trade.price
        self.high = max(self.high, trade.price)
        self.low = min(self.low, trade.price)
        self.volume += trade.quantity


class CandleStore:
    """One-minute bars of one product, without holes between its oldest and its newest execution."""

    def __init__(self, read_page: ReadPage) -> None:
        self._read_page = read_page
        self._reading = asyncio.Lock()
        self._forget()

    def _forget(self) -> None:
        self._bars: dict[datetime, _Bar] = {}
        self._oldest: Execution | None = None
        self._newest: Execution | None = None
        self._has_all = False  # the venue has nothing older

    async def candles(self, length: timedelta, limit: int, now: datetime) -> tuple[Candle, ...]:
        """The last `limit` closed bars of `length` before `now`, oldest first; one without trades is absent.

        Fewer when the venue's 31 days of executions hold no more; the bar that they cut through is left out.
        """
        async with self._reading:
            await self._read_newer(keep_from=now - length * (limit + 1))
            while not self._reaches(now - length * limit) or len(self._closed(length, limit, now)) < limit:
                if self._has_all or self._oldest is None or self._oldest.at < now - RETENTION:
                    break
                await self._read_older()
            self._drop_before(now - RETENTION - timedelta(days=1))
            return self._closed(length, limit, now)

    def _reaches(self, moment: datetime) -> bool:
        """Whether so much is known that there can be enough bars: before that, counting them is of no use."""
        return self._oldest is not None and self._oldest.at < moment

    async def _read_newer(self, keep_from: datetime) -> None:
        if self._newest is None:
            page = await self._read_page(None, None)
            self._take(page)
            return
        newest = self._newest
        page = await self._read_page(None, newest.id)
        if len(page) < PAGE:
            self._take(page)
            return
        # A full page may leave a hole behind it.
        if newest.at < keep_from:
            self._forget()  # nothing of what is known is needed: begin anew instead of walking through it
            await self._read_newer(keep_from)
            return
        await self._close_hole(newest.id)

    async def _close_hole(self, known_id: int) -> None:
        """Walk back from the newest execution to the known ones; taken only once the walk is complete."""
        found: list[Execution] = []
        before: int | None = None
        while True:
            page = await self._read_page(before, None)
            found += [trade for trade in page if trade.id > known_id]
            if len(page) < PAGE or page[-1].id <= known_id:
                break
            before = page[-1].id
        self._take(found)

    async def _read_older(self) -> None:
        assert self._oldest is not None
        page = await self._read_page(self._oldest.id, None)
        self._take(page)
        self._has_all = not page

    def _take(self, trades: Iterable[Execution]) -> None:
        for trade in trades:
            if self._oldest is None or trade.id < self._oldest.id:
                self._oldest = trade
            if self._newest is None or trade.id > self._newest.id:
                self._newest = trade
            minute = _floor(trade.at, _MINUTE)
            bar = self._bars.get(minute)
            if bar is not None:
                bar.add(trade)
                continue
            price = trade.price
            self._bars[minute] = _Bar(trade.id, trade.id, price, price, price, price, trade.quantity)

    def _closed(self, length: timedelta, limit: int, now: datetime) -> tuple[Candle, ...]:
        """The newest bars that have ended, and of which the first trade is known to be the first."""
        found: dict[datetime, Candle] = {}
        for minute in sorted(self._bars, reverse=True):
            opened_at = _floor(minute, length)
            if opened_at + length > now:
                continue
            later = found.get(opened_at)
            if not self._reaches(opened_at) or (later is None and len(found) == limit):
                break
            bar = self._bars[minute]
            found[opened_at] = Candle(
                opened_at,
                bar.open,
                bar.high if later is None else max(bar.high, later.high),
                bar.low if later is None else min(bar.low, later.low),
                bar.close if later is None else later.close,
                bar.volume if later is None else bar.volume + later.volume,
            )
        return tuple(reversed(found.values()))

    def _drop_before(self, horizon: datetime) -> None:
        for minute in [minute for minute in self._bars if minute < horizon]:
            del self._bars[minute]


def _floor(at: datetime, length: timedelta) -> datetime:
    return at - (at - _EPOCH) % length
