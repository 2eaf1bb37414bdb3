"""A paper account: the real market to read, orders that no venue ever sees.

Everything above (place, follow, reconcile, stop) works on it unchanged. Orders and fills live in this object
until the desk has recorded them, and from then on in the ledger; a restart takes the resting ones up again from there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from exchanges.base import ExchangeReader, KeyRights, Traffic
from exchanges.errors import BadRequest, Busy, InsufficientFunds, OrderNotFound, VenueError
from execution.books import COLLATERAL, totals_of
from execution.tally import Tally, instrument_of
from services.clock import DateHeard
from services.ledger import Ledger
from trading.instruments import Instrument, Kind, Side
from trading.market import Balance, Candle, OrderBook, Position, Ticker, VenueStatus
from trading.money import ZERO
from trading.orders import TERMINAL, Fill, Order, OrderIntent, State, VenueOrder
from trading.paper import rest_in_book, take


@dataclass
class _PaperOrder:
    intent: OrderIntent
    state: State
    created_at: datetime
    fills: list[Fill] = field(default_factory=list)

    @property
    def venue_order_id(self) -> str:
        return f"paper-{self.intent.client_order_id}"

    @property
    def filled(self) -> Decimal:
        return sum((fill.quantity for fill in self.fills), ZERO)

    @property
    def rests(self) -> bool:
        return self.state not in TERMINAL

    def told(self) -> VenueOrder:
        """The order as a venue would tell it."""
        cost = sum((fill.price * fill.quantity for fill in self.fills), ZERO)
        return VenueOrder(
            venue_order_id=self.venue_order_id,
            client_order_id=self.intent.client_order_id,
            symbol=self.intent.symbol,
            side=self.intent.side,
            type=self.intent.type,
            quantity=self.intent.quantity,
            price=self.intent.price,
            filled=self.filled,
            average_price=cost / self.filled if self.filled else None,
            state=self.state,
            created_at=self.created_at,
        )


class PaperExchange:
    """An Exchange over a reader: reads pass through, orders are filled on paper against the live order book.

    `opening` is what the paper account begins with, totals by asset (CFD collateral under
    `collateral:CURRENCY`, the real one where none is given). Placing costs 1 request (the book), a look at
    resting orders 1 per symbol.
    """

    def __init__(self, reader: ExchangeReader, ledger: Ledger, account: str, opening: Mapping[str, Decimal]) -> None:
        self.name = reader.name
        self._reader = reader
        self._ledger = ledger
        self._account = account
        self._opening = dict(opening)
        self._orders: dict[str, _PaperOrder] = {}  # that rest, or are not all in the ledger yet
        self._recorded = Tally()
        for order in ledger.in_flight(account):
            if order.venue_order_id is not None:
                taken_up = _taken_up(order)
                self._orders[taken_up.venue_order_id] = taken_up

    def read_through(self, reader: ExchangeReader) -> None:
        """Read the market by another client from now on."""
        self._reader = reader

    # -- the market, as it really is

    async def instruments(self, *, read_since: datetime | None = None) -> Mapping[str, Instrument]:
        """The reader's instruments."""
        return await self._reader.instruments(read_since=read_since)

    async def instrument(self, symbol: str) -> Instrument:
        """The reader's instrument. Raises BadRequest for a symbol that the venue lacks."""
        return await self._reader.instrument(symbol)

    async def status(self, symbol: str) -> VenueStatus:
        """The venue's real state."""
        return await self._reader.status(symbol)

    async def server_time(self) -> datetime | None:
        """The venue's real clock."""
        return await self._reader.server_time()

    async def ticker(self, symbol: str) -> Ticker:
        """The real ticker."""
        return await self._reader.ticker(symbol)

    async def order_book(self, symbol: str, depth: int = 20) -> OrderBook:
        """The real book; paper orders are not in it."""
        return await self._reader.order_book(symbol, depth)

    async def candles(self, symbol: str, timeframe: str, limit: int) -> tuple[Candle, ...]:
        """The real candles."""
        return await self._reader.candles(symbol, timeframe, limit)

    async def key_rights(self) -> KeyRights:
        """The real key's rights."""
        return await self._reader.key_rights()

    def traffic(self) -> Traffic:
        """The reader's traffic: paper orders send nothing."""
        return self._reader.traffic()

    def dates_heard(self) -> tuple[DateHeard, ...]:
        """What the venue's real answers told."""
        return self._reader.dates_heard()

    async def close(self) -> None:
        """Nothing to close: the reader belongs to whoever opened it."""

    # -- the account, on paper

    async def balances(self) -> Mapping[str, Balance]:
        """The opening and all paper fills, less what resting orders lock. No request."""
        instruments = await self._reader.instruments()
        totals = totals_of(self._opening, await self._sums())
        locked: dict[str, Decimal] = {}
        for order in self._orders.values():
            instrument = instrument_of(order.intent.symbol, instruments)
            if order.rests and instrument.kind is Kind.SPOT:
                asset, quantity = _locks(order.intent, order.intent.quantity - order.filled, instrument)
                locked[asset] = locked.get(asset, ZERO) + quantity
        return {
            asset: Balance(asset, total - locked.get(asset, ZERO), locked.get(asset, ZERO))
            for asset, total in totals.items()
            if not asset.startswith(COLLATERAL) and total != 0
        }

    async def collateral(self) -> Mapping[str, Decimal]:
        """CFD collateral after all paper fills; the real one is read once where the opening does not tell
        it.
        """
        if not any(name.startswith(COLLATERAL) for name in self._opening):
            real = await self._reader.collateral()
            self._opening |= {COLLATERAL + currency: total for currency, total in real.items()}
        totals = totals_of(self._opening, await self._sums())
        return {name.removeprefix(COLLATERAL): total for name, total in totals.items() if name.startswith(COLLATERAL)}

    async def positions(self, symbol: str) -> tuple[Position, ...]:
        """The net paper position of a perpetual, empty when flat or for spot. No request."""
        instrument = await self._reader.instrument(symbol)
        if instrument.kind is Kind.SPOT:
            return ()
        held = (await self._sums()).inventory(instrument)
        if held.quantity == 0:
            return ()
        side = Side.BUY if held.quantity > 0 else Side.SELL
        entry = held.average_price
        return (Position(symbol, side, abs(held.quantity), entry if entry is not None else ZERO),)

    async def open_orders(self, symbol: str) -> tuple[VenueOrder, ...]:
        """Resting paper orders, after a look at the book (1 request where there are any)."""
        await self._look(symbol)
        return tuple(order.told() for order in self._orders.values() if order.rests and order.intent.symbol == symbol)

    async def order(self, symbol: str, venue_order_id: str) -> VenueOrder:
        """One paper order, after a look at the book where it rests. Raises OrderNotFound."""
        if venue_order_id in self._orders:
            if self._orders[venue_order_id].rests:
                await self._look(symbol)
            return self._orders[venue_order_id].told()
        known = self._ledger.order_by_venue_id(self._account, venue_order_id)
        if known is None:
            raise OrderNotFound(self.name, f"no paper order {venue_order_id}")
        return _taken_up(known).told()

    async def find_order(
        self, intent: OrderIntent, sent_at: datetime, known_ids: frozenset[str]
    ) -> tuple[VenueOrder, ...]:
        """The paper order of this intent, by client order id. No request."""
        return tuple(
            order.told() for order in self._orders.values() if order.intent.client_order_id == intent.client_order_id
        )

    async def ended_orders(self, symbol: str, since: datetime) -> tuple[VenueOrder, ...]:
        """Ended paper orders that this object made. No request."""
        told = [order.told() for order in self._orders.values() if not order.rests and order.created_at >= since]
        return tuple(order for order in told if order.symbol == symbol)

    async def fills(
        self, symbol: str, *, since: datetime | None = None, venue_order_id: str | None = None
    ) -> tuple[Fill, ...]:
        """Paper fills of the symbol, oldest first: all since a time, or all of one order. No request."""
        if venue_order_id is None:
            recorded = self._ledger.fills(self._account, symbol, since=since)
        else:
            recorded = self._ledger.fills_of_order(self._account, symbol, venue_order_id)
        own = [fill for order in self._orders.values() for fill in order.fills if fill.symbol == symbol]
        asked = {
            fill.id: fill
            for fill in (*recorded, *own)
            if (since is None or fill.at >= since) and venue_order_id in (None, fill.venue_order_id)
        }
        return tuple(sorted(asked.values(), key=lambda fill: fill.at))

    # -- placing and cancelling, on paper

    async def room_for_an_order(self) -> None:
        """At once: a paper order is no request that could come late."""

    async def place(self, intent: OrderIntent) -> str:
        """Fill what the book would fill now and let the rest lie. Raises Refused as the venue would, Busy
        without a book.
        """
        instrument = await self._instrument_for(intent)
        await self._refuse_what_cannot_be_paid(intent, instrument)
        try:
            book = await self._reader.order_book(intent.symbol)
        except VenueError as error:
            raise Busy(self.name, f"no order book to fill a paper order from: {error}") from error
        order = _PaperOrder(intent, State.OPEN, book.at)
        outcome = take(intent, book, instrument, book.at, venue_order_id=order.venue_order_id)
        order.state = outcome.state
        order.fills += outcome.fills
        self._orders[order.venue_order_id] = order
        return order.venue_order_id

    async def cancel(self, symbol: str, venue_order_id: str) -> None:
        """Cancel a resting paper order; one that has ended is no error. Raises OrderNotFound."""
        order = self._orders.get(venue_order_id)
        if order is None:
            if self._ledger.order_by_venue_id(self._account, venue_order_id) is None:
                raise OrderNotFound(self.name, f"no paper order {venue_order_id}")
        elif order.rests:
            order.state = State.CANCELLED

    async def cancel_all(self, symbol: str) -> None:
        """Cancel every resting paper order of the symbol. No request."""
        for order in self._orders.values():
            if order.rests and order.intent.symbol == symbol:
                order.state = State.CANCELLED

    # -- inside

    async def _look(self, symbol: str) -> None:
        resting = [order for order in self._orders.values() if order.rests and order.intent.symbol == symbol]
        if not resting:
            return
        book = await self._reader.order_book(symbol)
        instrument = await self._reader.instrument(symbol)
        for order in resting:
            outcome = rest_in_book(
                order.intent, order.filled, book, instrument, book.at, venue_order_id=order.venue_order_id
            )
            order.state = outcome.state
            order.fills += outcome.fills

    async def _sums(self) -> Tally:
        """What all paper fills come to."""
        instruments = await self._reader.instruments()
        self._recorded.take_in(self._ledger, self._account, instruments)
        return self._recorded.with_more(self._unrecorded(), instruments)

    def _unrecorded(self) -> list[Fill]:
        """Fills that only this object knows of; an order that the ledger knows to its end is left to the ledger."""
        new: list[Fill] = []
        for venue_order_id, order in list(self._orders.items()):
            recorded = self._ledger.fills_of_order(self._account, order.intent.symbol, venue_order_id)
            ids = {fill.id for fill in recorded}
            mine = [fill for fill in order.fills if fill.id not in ids]
            new += mine
            if mine or order.rests:
                continue
            known = self._ledger.order_by_venue_id(self._account, venue_order_id)
            if known is not None and known.is_finished:
                del self._orders[venue_order_id]
        return sorted(new, key=lambda fill: fill.at)

    async def _instrument_for(self, intent: OrderIntent) -> Instrument:
        try:
            instrument = await self._reader.instrument(intent.symbol)
        except BadRequest:
            raise
        except VenueError as error:
            raise Busy(self.name, f"no instrument to fill a paper order by: {error}") from error
        price = intent.price if intent.price is not None else intent.decision_price
        if not instrument.is_large_enough(intent.quantity, price):
            raise BadRequest(self.name, f"{intent.quantity} {intent.symbol} is below the venue's minimum")
        return instrument

    async def _refuse_what_cannot_be_paid(self, intent: OrderIntent, instrument: Instrument) -> None:
        if instrument.kind is not Kind.SPOT:
            return
        asset, needed = _locks(intent, intent.quantity, instrument)
        balance = (await self.balances()).get(asset)
        free = balance.free if balance is not None else ZERO
        if free < needed:
            raise InsufficientFunds(self.name, f"a paper order needs {needed} {asset}, free are {free}")


def _locks(intent: OrderIntent, quantity: Decimal, instrument: Instrument) -> tuple[str, Decimal]:
    """What a spot order ties up: quote for a buy, base for a sell."""
    if intent.side is Side.SELL:
        return instrument.base, quantity
    return instrument.quote, quantity * (intent.price if intent.price is not None else intent.decision_price)


def _taken_up(order: Order) -> _PaperOrder:
    """A paper order as the ledger knows it; a cancel that was under way has had its effect."""
    state = State.CANCELLED if order.state is State.CANCEL_SENT else order.state
    if state in (State.SENT, State.UNKNOWN, State.INTENDED):
        state = State.PARTIALLY_FILLED if order.filled > 0 else State.OPEN
    created_at = order.sent_at or order.intent.decided_at
    return _PaperOrder(order.intent, state, created_at, list(order.fills))
