"""A scripted venue in memory: it keeps books of its own and answers as it was told to, once per entry of its
script.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from exchanges.base import KeyRights, Traffic
from exchanges.errors import BadRequest, Busy, InsufficientFunds, NoAnswer, OrderNotFound
from services.clock import DateHeard
from trading.instruments import FeeIn, Instrument, Kind, Side
from trading.market import Balance, Candle, Level, OrderBook, Position, Ticker, VenueStatus
from trading.orders import TERMINAL, Fill, OrderIntent, OrderType, State, TimeInForce, VenueOrder

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
SPOT = "BTC/JPY"
PERPETUAL = "BTC/JPY:JPY"
PRICE = Decimal(10_000_000)
FEE_RATE = Decimal("0.001")


class SteppedClock:
    """Market time that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self._now = BEGIN

    def now(self) -> datetime:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=max(0.0, seconds))
        await asyncio.sleep(0)


def instrument(symbol: str, venue: str) -> Instrument:
    kind = Kind.PERPETUAL if ":" in symbol else Kind.SPOT
    return Instrument(
        venue=venue,
        symbol=symbol,
        base="BTC",
        quote="JPY",
        kind=kind,
        tick_size=Decimal(1),
        lot_size=Decimal("0.0001"),
        min_quantity=Decimal("0.001"),
        min_notional=None,
        max_quantity=None,
        maker_fee_rate=Decimal(0),
        taker_fee_rate=FEE_RATE if kind is Kind.SPOT else Decimal(0),
        fee_in=FeeIn.QUOTE,
    )


@dataclass
class Booked:
    told: VenueOrder
    reduce_only: bool = False
    rested: VenueOrder | None = None  # as it was before it ended
    ended_at: datetime | None = None


class ScriptedVenue:
    """Implements exchanges.base.Exchange.

    `placing`: what the next requests to place come to: accept (the default), fill (at once), half (filled),
    refuse, busy, lost_ack, lost_request, defect, hang. `cancelling`: ok (the default), fail, busy, lost_ack,
    fill_first, ignore.
    """

    def __init__(self, clock: SteppedClock, *, name: str = "bitbank", knows_client_ids: bool = False) -> None:
        self.name = name
        self.clock = clock
        self.knows_client_ids = knows_client_ids
        self.placing: deque[str] = deque()
        self.cancelling: deque[str] = deque()
        self.cancel_all_fails = 0
        self.list_fails = 0
        self.trading = True  # whether its status says that orders are taken
        self.room_after = 0.0  # seconds until the request budget has room for an order
        self.visible_after = 0.0  # seconds in which an accepted order is in no list and no lookup
        self.forgets_ended = False  # ended orders are found nowhere
        self.fills_lag = 0.0  # seconds
        self.list_lag = 0.0  # seconds in which the list still shows an order that was cancelled
        self.balances_lag = 0.0  # seconds in which the balances are as they were before the last fill
        self.requests: Counter[str] = Counter()
        self.booked: dict[str, Booked] = {}
        self.trades: list[Fill] = []
        self.totals_before: dict[str, Decimal] = {}
        self.totals = {"JPY": Decimal(5_000_000), "BTC": Decimal("0.1")}
        self.position = Decimal(0)
        self.arrived = asyncio.Event()  # set when a request to place has arrived
        self.answer = asyncio.Event()  # releases one that hangs

    # -- the venue's own side

    def book_order(self, intent: OrderIntent) -> str:
        number = f"{1000 + len(self.booked)}"
        told = VenueOrder(
            venue_order_id=number,
            client_order_id=intent.client_order_id if self.knows_client_ids else None,
            symbol=intent.symbol,
            side=intent.side,
            type=intent.type,
            quantity=intent.quantity,
            price=intent.price,
            filled=Decimal(0),
            average_price=None,
            state=State.OPEN,
            created_at=self.clock.now(),
        )
        self.booked[number] = Booked(told, intent.reduce_only)
        return number

    def fill(self, number: str, quantity: Decimal | None = None) -> None:
        """Fill an order, all of it or a part, at its price."""
        told = self.booked[number].told
        part = told.remaining if quantity is None else quantity
        price = told.price or PRICE
        sign = told.side.sign
        fee = part * price * FEE_RATE if ":" not in told.symbol else Decimal(0)
        self.trades.append(
            Fill(
                id=f"t{len(self.trades)}",
                venue_order_id=number,
                symbol=told.symbol,
                side=told.side,
                price=price,
                quantity=part,
                quote_quantity=part * price,
                fee=fee,
                fee_currency="JPY",
                at=self.clock.now(),
            )
        )
        if ":" in told.symbol:
            self.position += part * sign
        else:
            self.totals_before = dict(self.totals)
            self.totals["BTC"] += part * sign
            self.totals["JPY"] -= part * price * sign + fee
        filled = told.filled + part
        state = State.FILLED if filled == told.quantity else State.PARTIALLY_FILLED
        self.booked[number].told = replace(told, filled=filled, state=state, average_price=price)

    def end(self, number: str, state: State = State.CANCELLED) -> None:
        booked = self.booked[number]
        if booked.told.state not in TERMINAL:
            booked.rested, booked.ended_at = booked.told, self.clock.now()
            booked.told = replace(booked.told, state=state)

    def resting(self, symbol: str | None = None) -> list[VenueOrder]:
        return [
            booked.told
            for booked in self.booked.values()
            if booked.told.state not in TERMINAL and symbol in (None, booked.told.symbol)
        ]

    def by_hand(self, quantity: str = "0.003", symbol: str = SPOT) -> str:
        """An order placed by a person in the venue's own page."""
        told_ids = self.knows_client_ids
        self.knows_client_ids = False
        number = self.book_order(an_intent("hand", quantity=quantity, symbol=symbol, venue=self.name))
        self.knows_client_ids = told_ids
        return number

    def _seen(self, told: VenueOrder) -> bool:
        age = (self.clock.now() - told.created_at).total_seconds()
        return age >= self.visible_after and not (self.forgets_ended and told.state in TERMINAL)

    # -- Exchange

    async def room_for_an_order(self) -> None:
        if self.room_after:
            await self.clock.sleep(self.room_after)

    async def place(self, intent: OrderIntent) -> str:
        self.requests["place"] += 1
        word = self.placing.popleft() if self.placing else "accept"
        self.arrived.set()
        if word == "refuse":
            raise InsufficientFunds(self.name, "not enough JPY", code="60001")
        if word == "busy":
            raise Busy(self.name, "too many requests", code="10009")
        if word == "lost_request":
            raise NoAnswer(self.name, "connection reset")
        number = self.book_order(intent)
        if word in ("fill", "lost_ack_filled") or intent.type is OrderType.MARKET:
            self.fill(number)
        if word == "half":
            self.fill(number, intent.quantity / 2)
        if word.startswith("lost_ack"):
            raise NoAnswer(self.name, "timed out")
        if word == "defect":
            raise KeyError("order_id")
        if word == "hang":
            await self.answer.wait()
        return number

    async def cancel(self, symbol: str, venue_order_id: str) -> None:
        self.requests["cancel"] += 1
        word = self.cancelling.popleft() if self.cancelling else "ok"
        if word == "fail":
            raise NoAnswer(self.name, "502")
        if word == "busy":
            raise Busy(self.name, "too many requests")
        if word == "ignore":
            return
        if word == "fill_first":
            self.fill(venue_order_id)
        self.end(venue_order_id)
        if word == "lost_ack":
            raise NoAnswer(self.name, "connection reset")

    async def cancel_all(self, symbol: str) -> None:
        self.requests["cancel_all"] += 1
        if self.cancel_all_fails > 0:
            self.cancel_all_fails -= 1
            raise NoAnswer(self.name, "502")
        for told in self.resting(symbol):
            if self._seen(told):
                self.end(told.venue_order_id)

    async def open_orders(self, symbol: str) -> tuple[VenueOrder, ...]:
        self.requests["open_orders"] += 1
        if self.list_fails > 0:
            self.list_fails -= 1
            raise NoAnswer(self.name, "503")
        resting = [told for told in self.resting(symbol) if self._seen(told)]
        late = self.clock.now() - timedelta(seconds=self.list_lag)
        stale = [
            booked.rested
            for booked in self.booked.values()
            if booked.rested and booked.ended_at and booked.ended_at > late and booked.rested.symbol == symbol
        ]
        return (*resting, *stale)

    async def order(self, symbol: str, venue_order_id: str) -> VenueOrder:
        self.requests["order"] += 1
        booked = self.booked.get(venue_order_id)
        if booked is None or not self._seen(booked.told):
            raise OrderNotFound(self.name, "no such order", code="50009")
        return booked.told

    async def find_order(
        self, intent: OrderIntent, sent_at: datetime, known_ids: frozenset[str]
    ) -> tuple[VenueOrder, ...]:
        self.requests["find_order"] += 1
        seen = [booked.told for booked in self.booked.values() if self._seen(booked.told)]
        if self.knows_client_ids:
            return tuple(told for told in seen if told.client_order_id == intent.client_order_id)
        return tuple(
            told
            for told in seen
            if told.venue_order_id not in known_ids
            and (told.side, told.quantity, told.price) == (intent.side, intent.quantity, intent.price)
            and told.created_at >= sent_at
        )

    async def ended_orders(self, symbol: str, since: datetime) -> tuple[VenueOrder, ...]:
        self.requests["ended_orders"] += 1
        ended = [booked.told for booked in self.booked.values() if booked.told.state in TERMINAL]
        return tuple(told for told in ended if told.symbol == symbol and told.created_at >= since and self._seen(told))

    async def fills(
        self, symbol: str, *, since: datetime | None = None, venue_order_id: str | None = None
    ) -> tuple[Fill, ...]:
        self.requests["fills"] += 1
        latest = self.clock.now() - timedelta(seconds=self.fills_lag)
        return tuple(
            fill
            for fill in self.trades
            if fill.symbol == symbol
            and fill.at <= latest
            and (since is None or fill.at >= since)
            and venue_order_id in (None, fill.venue_order_id)
        )

    async def balances(self) -> Mapping[str, Balance]:
        self.requests["balances"] += 1
        late = self.clock.now() - timedelta(seconds=self.balances_lag)
        lags = bool(self.balances_lag and self.trades and self.trades[-1].at > late)
        totals = self.totals_before if lags else self.totals
        return {asset: Balance(asset, total, Decimal(0)) for asset, total in totals.items() if total}

    async def positions(self, symbol: str) -> tuple[Position, ...]:
        if ":" not in symbol:
            return ()
        self.requests["positions"] += 1
        if not self.position:
            return ()
        side = Side.BUY if self.position > 0 else Side.SELL
        return (Position(symbol, side, abs(self.position), PRICE),)

    async def collateral(self) -> Mapping[str, Decimal]:
        return {}

    async def instruments(self, *, read_since: datetime | None = None) -> Mapping[str, Instrument]:
        return {symbol: instrument(symbol, self.name) for symbol in (SPOT, PERPETUAL)}

    async def instrument(self, symbol: str) -> Instrument:
        try:
            return (await self.instruments())[symbol]
        except KeyError:
            raise BadRequest(self.name, f"no symbol {symbol}") from None

    async def order_book(self, symbol: str, depth: int = 20) -> OrderBook:
        self.requests["order_book"] += 1
        bids = tuple(Level(PRICE - 1 - step, Decimal("0.01")) for step in range(depth))
        asks = tuple(Level(PRICE + 1 + step, Decimal("0.01")) for step in range(depth))
        return OrderBook(symbol, bids, asks, self.clock.now())

    async def ticker(self, symbol: str) -> Ticker:
        return Ticker(symbol, PRICE - 1, PRICE + 1, PRICE, self.clock.now())

    async def candles(self, symbol: str, timeframe: str, limit: int) -> tuple[Candle, ...]:
        return ()

    async def status(self, symbol: str) -> VenueStatus:
        return VenueStatus(self.trading, "NORMAL" if self.trading else "HALT")

    async def server_time(self) -> datetime | None:
        return None

    async def key_rights(self) -> KeyRights:
        return KeyRights(True, True, False, None)

    def traffic(self) -> Traffic:
        return Traffic(self.requests.total(), 0, ())

    def dates_heard(self) -> tuple[DateHeard, ...]:
        return ()

    async def close(self) -> None:
        return None


def an_intent(
    name: str,
    *,
    quantity: str = "0.002",
    side: Side = Side.BUY,
    symbol: str = SPOT,
    venue: str = "bitbank",
    price: Decimal | None = PRICE,
) -> OrderIntent:
    return OrderIntent(
        client_order_id=name.encode().hex().ljust(32, "0")[:32],
        venue=venue,
        symbol=symbol,
        side=side,
        type=OrderType.LIMIT if price is not None else OrderType.MARKET,
        quantity=Decimal(quantity),
        price=price,
        time_in_force=TimeInForce.GOOD_TILL_CANCELLED,
        decision_price=PRICE,
        decided_at=BEGIN,
        reason="a test",
    )
