"""What the four adapters share: keeping instruments, cutting candles, reading times and amounts from text.

A venue's file holds the facts (its client class with `routes`, `errors`, `read_envelope`; see
exchanges.transport) and two adapter classes:

    class BybitReader(Reader):        # has no place, no cancel, and its client refuses to send one
        name = "bybit"
        client_class = BybitClient
        costs = {"candles": 1, ...}   # requests per call where not 1, for the budget shown before start
        async def load_instruments(self) -> Mapping[str, Instrument]: ...
        ...                           # every other method of exchanges.base.ExchangeReader

    class Bybit(BybitReader):         # adds place, cancel, cancel_all
        ...

    READER, TRADER = BybitReader, Bybit      # what exchanges.factory looks for

`self.client.call(ROUTE, params)` makes every request: retries of reads, the budget, the guard and the
translation of errors have happened when it returns. An adapter catches only what it can answer (a cancel of
an ended order).
"""

import asyncio
import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from exchanges.base import Traffic
from exchanges.errors import BadRequest, NoAnswer
from exchanges.transport import Transport, Wiring, connect
from services.clock import DateHeard
from trading.instruments import Instrument, Kind
from trading.market import Candle, Position
from trading.money import ZERO, NotMoney, amount

TIMEFRAME_SECONDS = {"1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "4h": 14400, "1d": 86400}

_EPOCH = datetime.fromtimestamp(0, UTC)


class Reader(ABC):
    """The shared half of an `exchanges.base.ExchangeReader`; a venue's class adds the calls."""

    name: ClassVar[str]
    client_class: ClassVar[type[Transport]]
    costs: ClassVar[Mapping[str, int]] = {}

    def __init__(self, wiring: Wiring) -> None:
        self.clock = wiring.clock
        self.client: Any = connect(self.client_class, wiring)
        self._instruments: Mapping[str, Instrument] | None = None
        self._instruments_at: datetime | None = None  # market time
        self._loading = asyncio.Lock()

    @abstractmethod
    async def load_instruments(self) -> Mapping[str, Instrument]:
        """Ask the venue for its instruments, fee rates included."""

    async def instruments(self, *, read_since: datetime | None = None) -> Mapping[str, Instrument]:
        """Every instrument we can trade, by symbol; read once and kept, and again where that was before `read_since`.

        One that the list has lost (suspended) stays as it was: getting out of it must go on.
        """
        async with self._loading:
            read_at = self._instruments_at
            if read_at is None or (read_since is not None and read_at < read_since):
                asked_at = self.clock.now()
                self._instruments = {**(self._instruments or {}), **await self.load_instruments()}
                self._instruments_at = asked_at
        assert self._instruments is not None
        return self._instruments

    async def instrument(self, symbol: str) -> Instrument:
        """One instrument. Raises BadRequest, naming what is near, for a symbol that the venue lacks."""
        known = await self.instruments()
        if symbol in known:
            return known[symbol]
        near = difflib.get_close_matches(symbol, known, n=3, cutoff=0.4) or sorted(known)[:3]
        raise BadRequest(self.name, f"has no symbol {symbol}; near: {', '.join(near)}")

    async def collateral(self) -> Mapping[str, Decimal]:
        """Collateral apart from the balances, by currency; only bitFlyer has one."""
        return {}

    async def positions(self, symbol: str) -> tuple[Position, ...]:
        """Net position of a perpetual; a spot symbol has none. A venue with perpetuals reads them in its own class."""
        instrument = await self.instrument(symbol)
        if instrument.kind is Kind.PERPETUAL:
            raise BadRequest(self.name, f"has no positions that we read, also none of {symbol}")
        return ()

    async def room_for_an_order(self) -> None:
        """Return when the request budget has room for an order; sends and counts nothing."""
        await self.client.room_for_an_order()

    def traffic(self) -> Traffic:
        """Requests sent by this client and how fast they were answered."""
        told: Traffic = self.client.traffic()
        return told

    def dates_heard(self) -> tuple[DateHeard, ...]:
        """The newest `Date` headers of the venue's answers."""
        heard: tuple[DateHeard, ...] = self.client.dates_heard()
        return heard

    async def close(self) -> None:
        """Close connections at once."""
        await self.client.close()

    def told_amount(self, row: Mapping[str, Any], key: str) -> Decimal:
        """A number that the venue told; an absent or empty one is zero. Raises NoAnswer for what is no
        number.
        """
        value = row.get(key)
        if value is None or value == "":
            return ZERO
        try:
            return amount(value)
        except NotMoney as error:
            raise NoAnswer(self.name, f"{key} is no number: {value!r}") from error


def timeframe_seconds(venue: str, timeframe: str) -> int:
    """Length of a candle in seconds. Raises BadRequest for a timeframe that we do not read."""
    try:
        return TIMEFRAME_SECONDS[timeframe]
    except KeyError:
        raise BadRequest(venue, f"no candles of {timeframe}; one of {', '.join(TIMEFRAME_SECONDS)}") from None


def last_closed(candles: Iterable[Candle], seconds: int, limit: int, now: datetime) -> tuple[Candle, ...]:
    """The newest `limit` candles that had closed at `now`, oldest first, each once (pages overlap; the first
    wins).
    """
    length = timedelta(seconds=seconds)
    closed: dict[datetime, Candle] = {}
    for candle in candles:
        if candle.opened_at + length <= now:
            closed.setdefault(candle.opened_at, candle)
    return tuple(closed[opened] for opened in sorted(closed)[-limit:])


def from_ms(milliseconds: str | int) -> datetime:
    """A venue's Unix milliseconds as aware UTC, exact to the millisecond."""
    return _EPOCH + timedelta(milliseconds=int(milliseconds))


def to_ms(moment: datetime) -> int:
    """Unix milliseconds of an aware time, exact."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)
