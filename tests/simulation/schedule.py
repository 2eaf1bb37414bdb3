"""One schedule: a seed decides what the strategy wants, what the market does, what befalls each request, where the
trader's process ends and begins anew; a judge who sees the venue's own books says whether every promise was kept.

A cycle is the bodies of the tasks of flows/trading_cycle.py, without Prefect. Settings, adapters, ccxt's signing and
parsing, the ledger, the venues' wires and books are the real ones; the database lies in memory (/dev/shm) where there
is any, and one database is emptied and used again for schedule after schedule.
"""

import asyncio
import logging
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

from config.settings import ExchangeName
from exchanges.errors import VenueError
from execution.audit import audit_books
from execution.desk import Desk
from execution.latch import rearm
from execution.reconcile import Reconciliation
from execution.settle import settle
from execution.stop import StopTarget, stop_all
from services.ledger import LeaseLost, Ledger, LedgerUnavailable, RungRecord
from simvenue.build import wire_class
from simvenue.control import truth
from simvenue.values import Order, OrderRequest, Rejection
from simvenue.venue import FAULT_NAMES
from tasks import session as sessions
from tasks.books import close_books, note_failed_cycle
from tasks.carry_out import carry_out, reconcile_account
from tasks.decide import decide
from tasks.fingerprint import running_fingerprint
from tasks.market import read_market
from tests.simulation.connection import Connection, Session
from tests.simulation.life import Killed, LedgerAtOnce, Life, MortalClock, MortalLedger
from tests.simulation.room import EXCHANGES, STARTS, SYMBOLS, Room, listed, new_client, new_venue, settings_of
from tests.simulation.virtual_time import VirtualClock, VirtualLoop
from trading.instruments import Instrument
from trading.sizing import Target

# Faults of the venue itself, with values that leave it usable; drawn where the venue knows the name.
_VENUE_FAULTS = {
    "late_visibility": ("2", "10"),
    "list_lag": ("2", "10"),
    "balance_lag": ("2", "10"),
    "duplicate_fill": ("",),
    "out_of_order_fills": ("",),
    "partial_fill": ("0.5", "0.1"),
    "fill_during_cancel": ("0.5", "1"),
    "post_only_cross": ("",),
    "self_expiry": ("5", "90"),
    "cancel_refused": ("",),
    "crossed_book": ("",),
    "empty_book": ("",),
    "stale_ticker": ("",),
    "candle_gap": ("3",),
    "maintenance": ("",),
    "unavailable": ("", "reset"),
    "hang": ("60",),
}
_ACCOUNTABLE = frozenset({"unproved_order", "several_candidates"})  # what a halted symbol tells a human
_MARKETS = 7  # different ones; what happens in them differs with every seed

_placing: ContextVar[str] = ContextVar("the intent that is being placed", default="")


@dataclass
class Outcome:
    """What a schedule came to. `events`: all that happened, in order, each with its market time."""

    seed: int
    exchange: str
    symbol: str
    violations: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    orders: int = 0
    fills: int = 0
    requests: int = 0
    deaths: int = 0
    halted: str = ""


def run(seed: int, room: Room, exchange: ExchangeName | None = None) -> Outcome:
    """Run one schedule; the same seed and exchange give the same events."""
    logging.disable(logging.CRITICAL)
    exchange = exchange or EXCHANGES[seed % len(EXCHANGES)]
    room.clear()
    instruments = {symbol: listed(exchange, symbol, room.home / "examined") for symbol in SYMBOLS[exchange]}
    loop = VirtualLoop(STARTS)
    loop.set_exception_handler(lambda _, context: None)  # tasks of a dead process end as they must
    try:
        asyncio.set_event_loop(loop)
        schedule = _Schedule(seed, exchange, room, loop, instruments)
        loop.run_until_complete(schedule.play())
        return schedule.outcome
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        asyncio.set_event_loop(None)
        loop.close()
        logging.disable(logging.NOTSET)


class _Schedule:
    def __init__(
        self, seed: int, exchange: ExchangeName, room: Room, loop: VirtualLoop, listed: dict[str, Instrument]
    ) -> None:
        dice = self.dice = Random(f"{seed} {exchange}")
        self.name = exchange
        self.room = room
        self.symbol = dice.choice(SYMBOLS[exchange])
        self.listed = listed[self.symbol]
        self.outcome = Outcome(seed, exchange, self.symbol)
        self.loop = loop
        self.clock = VirtualClock(loop)
        self.settings = settings_of(room.home, exchange, self.symbol, dice.choice(("taker", "taker", "maker")))
        wire_type = wire_class(exchange)
        self.venue = new_venue(wire_type.spec, seed % _MARKETS)
        wire = wire_type(self.venue)
        self.venue.order_id_maker, self.venue.fill_id_maker = wire.order_id, wire.fill_id
        loop.on_leap = self.venue.advance
        self.connection = Connection(self.venue, wire, "published", dice, self.tell)
        self.connection.on_handled = self._see_orders
        self._note_whose_orders_are()
        self.connection.rate = dice.choice((0.0, 0.02, 0.05, 0.15))
        self.death_rate = dice.choice((0.0, 0.002, 0.01))
        self.trouble_rate = dice.choice((0.0, 0.0, 0.02))
        self.pace = dice.choice((5, 20, 60))  # seconds from cycle to cycle; soon means: before a lost request arrives
        self.cycles = dice.randint(3, 7)
        self.stop_after = dice.uniform(20, 60 * self.cycles) if dice.random() < 0.3 else None
        self.calm = False
        self.done = 0
        self.wanted = Decimal(0)
        self.lives = 0
        self.seen = 0
        self.intent_of: dict[str, str] = {}  # by the venue's id of an order
        self.orders_of: dict[str, list[str]] = {}
        self.trader: asyncio.Task[None] | None = None
        self.clients: list[Any] = []

    # -- telling and judging

    def tell(self, what: str) -> None:
        self.outcome.events.append(f"{(self.loop.now_ms - STARTS) / 1000:10.3f} {what}")

    def violation(self, what: str) -> None:
        self.tell(f"VIOLATION {what}")
        self.outcome.violations.append(what)

    def _note_whose_orders_are(self) -> None:
        """Note the intent of each order as the venue takes it. Its answer may hang while others are handled."""
        take = self.venue.place

        def place(request: OrderRequest, id_maker: Callable[[Order], str] | None = None) -> Order:
            order = take(request, id_maker)
            self.intent_of[order.id] = _placing.get()
            return order

        self.venue.place = place  # type: ignore[method-assign]

    def _see_orders(self) -> None:
        """After each request: whose are the orders that the venue now has more?"""
        for order in self.venue.orders[self.seen :]:
            if order.by_hand:
                continue
            intent = self.intent_of.get(order.id, "")
            self.tell(f"venue accepts {order.id} {order.side} {order.quantity} at {order.price} for {intent[:8]}")
            if not intent:
                self.violation(f"order {order.id} came to be without an intent")
            made = self.orders_of.setdefault(intent, [])
            made.append(order.id)
            if len(made) > 1:
                self.violation(f"intent {intent} has {len(made)} orders at the venue: {', '.join(made)}")
        self.seen = len(self.venue.orders)

    # -- the parts of a process

    def _life(self, death_rate: float) -> Life:
        self.lives += 1
        return Life(f"life {self.lives}", self.dice, self.tell, death_rate)

    def _ledger(self, life: Life) -> Ledger:
        mortal: Any = MortalLedger(
            self.room.ledger, life, self.violation, lambda: 0.0 if self.calm else self.trouble_rate
        )
        return mortal  # type: ignore[no-any-return]

    def _client(self, life: Life, clock: MortalClock) -> Any:
        client = new_client(self.name, self.settings, self.venue, clock)
        client.client.session = Session(self.connection, life)
        self.clients.append(client)
        send = client.place

        async def place(intent: Any) -> Any:
            token = _placing.set(intent.client_order_id)
            try:
                return await send(intent)
            finally:
                _placing.reset(token)

        client.place = place
        return client

    def _open(self, life: Life) -> sessions.TradingSession:
        """What a new process opens: ledger, lease, client, desk."""
        clock, ledger = MortalClock(self.clock, life), self._ledger(life)
        client = self._client(life, clock)

        def desk(account: str) -> Desk:
            lease = ledger.take_lease(account, "simulation", clock.now(), 3600)
            return Desk(
                account=account,
                exchange=client,
                ledger=ledger,
                clock=clock,
                lease=lease,
                settings=self.settings.execution,
                home=self.room.home,
                order_lifetime_minutes=self.settings.exchanges[self.name].order_lifetime_minutes,
            )

        account = self.settings.account(self.name)
        opened = sessions.TradingSession(
            self.name, self.settings, ledger, clock, desk(account), desk(f"{account}:paper"), self._strategy
        )
        sessions._traders[self.name] = opened
        return opened

    def _strategy(self, candles: Any, position: Decimal) -> Target:
        if self.calm:
            return Target(max(Decimal(-1), min(Decimal(1), position)), "stay")
        if self.dice.random() < 0.7:
            short = [Decimal("-0.5"), Decimal(-1)] if ":" in self.symbol else []
            self.wanted = self.dice.choice([Decimal(0), Decimal("0.3"), Decimal("0.6"), Decimal(1), *short])
        return Target(self.wanted, "drawn")

    async def _cycle(self, session: sessions.TradingSession) -> Reconciliation | None:
        self.done += 1
        name, started_at = self.name, session.clock.now()
        cycle_id = f"{started_at:%Y-%m-%dT%H:%M}Z {self.done}"
        try:
            books = await reconcile_account.fn(name)
            market = await read_market.fn(name)
            decision = await decide.fn(name, cycle_id, books, market)
            outcome = await carry_out.fn(name, cycle_id, decision, books)
            await close_books.fn(name, cycle_id, started_at, books, market, decision, outcome)
        except (VenueError, LedgerUnavailable, LeaseLost) as error:
            self.tell(f"cycle {self.done} failed: {type(error).__name__}: {error}")
            note_failed_cycle(name, cycle_id, started_at, error)
            return None
        except Exception as error:
            # Everything else is a defect of ours: that is what is searched for here.
            self.violation(f"cycle {self.done}: {type(error).__name__}: {error}")
            return None
        self.tell(f"cycle {self.done} {outcome.note}; {'; '.join(map(str, books.discrepancies)) or 'books agree'}")
        return books

    # -- what happens

    async def play(self) -> None:
        """The whole schedule, and the judgement."""
        self._certify()
        hand = asyncio.ensure_future(self._market())
        stop = asyncio.ensure_future(self._stop())
        await self._trade()
        await stop
        hand.cancel()
        await self._judge()
        for client in self.clients:
            client.client.session = None  # nothing of it needs to be closed
        self.outcome.requests = self.connection.requests
        self.outcome.orders, self.outcome.fills = len(self.venue.orders), len(self.venue.fills)

    def _certify(self) -> None:
        now, account = self.clock.now(), self.settings.account(self.name)
        quantity = self.settings.exchanges[self.name].target_quantity
        expires = now + timedelta(days=300)
        running = running_fingerprint(self.settings, self.name, "unknown", self.listed)
        self.room.ledger.issue_rung(
            RungRecord(account, self.symbol, "ramp_100", quantity, {}, "simulation", now, expires, asdict(running))
        )

    async def _trade(self) -> None:
        """Lives of the trader, one after another, until all cycles are done."""
        while self.done < self.cycles:
            life = self._life(self.death_rate)
            self.tell(f"{life.name} begins")
            self.trader = asyncio.ensure_future(self._live(life))
            try:
                await self.trader
            except Killed:
                self.outcome.deaths += 1
                await self.clock.sleep(self.dice.choice((0.1, 2.0, 40.0)))
            except asyncio.CancelledError:
                life.dead = True  # it was told to end, and its stop has run
                await self.clock.sleep(self.dice.choice((0.1, 2.0, 40.0)))

    async def _live(self, life: Life) -> None:
        try:
            session = self._open(life)
            while self.done < self.cycles:
                began = session.clock.now()
                await self._cycle(session)
                rest = self.pace - (session.clock.now() - began).total_seconds()
                await session.clock.sleep(max(1.0, rest))
        except asyncio.CancelledError:
            await self._stop_once(life, "SIGTERM", latch=False)
            raise

    async def _stop(self) -> None:
        """A stop in the middle: from another process, or a signal to the trader."""
        if self.stop_after is None:
            return
        await self.clock.sleep(self.stop_after)
        if self.dice.random() < 0.4:
            if self.trader is not None and not self.trader.done():
                self.tell("SIGTERM to the trader")
                self.trader.cancel()
            return
        life = self._life(0.0)
        clean = await self._stop_once(life, "emergency stop", latch=True)
        await self.clock.sleep(120)
        if clean and (left := self._ours_resting()):
            self.violation(f"orders came up after a stop that was clean: {left}")
        self._rearm()

    async def _stop_once(self, life: Life, by: str, *, latch: bool) -> bool:
        clock, ledger, account = MortalClock(self.clock, life), self._ledger(life), self.settings.account(self.name)
        lifetime = self.settings.exchanges[self.name].order_lifetime_minutes
        self.tell(f"{life.name} {by} begins")
        target = StopTarget(
            account, self._client(life, clock), (self.symbol,), clock=clock, order_lifetime_minutes=lifetime
        )
        books = LedgerAtOnce(None, ledger)
        report = await stop_all([target], books, clock, by, "drawn", home=self.room.home, latch=latch)
        left = self._ours_resting()
        self.tell(f"{life.name} {by} ends: {[str(each.problems) for each in report.venues]}, {left} left")
        clean = all(venue.is_clean for venue in report.venues)
        if clean and left:
            self.violation(f"{by} says clean and leaves {left}")
        return clean

    def _ours_resting(self) -> list[str]:
        return [order.id for order in self.venue.open_orders(self.symbol) if not order.by_hand]

    def _rearm(self) -> None:
        account = self.settings.account(self.name)
        rearm(self.room.home, self.room.ledger, account, "simulation", "go on", self.clock.now())

    async def _market(self) -> None:
        """Prices, other hands at the account, faults of the venue itself."""
        known = [name for name in _VENUE_FAULTS if name in FAULT_NAMES]
        while True:
            await self.clock.sleep(self.dice.uniform(2, 60))
            draw = self.dice.random()
            if draw < 0.5:
                self._move_price()
            elif draw < 0.55:
                self._by_hand()
            elif draw < 0.75 and known and self.connection.rate:
                name = self.dice.choice(known)
                value, times = self.dice.choice(_VENUE_FAULTS[name]), self.dice.choice((1, 2, None))
                self.tell(f"venue fault {name}={value} times {times}")
                self.venue.faults.set(name, value, times, "", self.venue.now_ms())
            elif draw < 0.9:
                self.venue.faults.clear()

    def _move_price(self) -> None:
        pair = self.venue.pair(self.symbol)
        assert pair is not None
        share = Decimal(self.dice.choice(("0.9995", "1.0005", "0.998", "1.002", "0.99", "1.01")))
        price = self.venue.market(self.symbol).last * share // pair.tick * pair.tick
        self.tell(f"price moves to {price}")
        self.venue.move_price(self.symbol, price)

    def _by_hand(self) -> None:
        """Somebody trades in the venue's own page, and takes back what rests there before."""
        pair = self.venue.pair(self.symbol)
        assert pair is not None
        mine = [order for order in self.venue.open_orders(self.symbol) if order.by_hand]
        for order in mine:
            self.tell(f"hand takes back {order.id}")
            self.venue.cancel(order)
        side, lots = self.dice.choice(("buy", "sell")), self.dice.choice((7, 11))
        last = self.venue.market(self.symbol).last
        price = last * Decimal(self.dice.choice(("0.97", "1.03"))) // pair.tick * pair.tick
        quantity = pair.min_quantity * lots
        if pair.min_notional is not None:
            quantity = max(quantity, (pair.min_notional * 2 / price) // pair.lot * pair.lot)
        asked = OrderRequest(symbol=self.symbol, side=side, type="limit", quantity=quantity, price=price, by_hand=True)
        try:
            order = self.venue.place(asked)
        except Rejection as refusal:
            self.tell(f"hand is refused: {refusal}")
            return
        self.tell(f"hand places {order.id} {side} {quantity} at {price}: {order.status}")

    async def _judge(self) -> None:
        """No more faults: some calm cycles, then ledger and venue are compared to the last digit."""
        self.calm = True
        self.connection.rate = 0.0
        self.venue.faults.clear()
        for order in self.venue.open_orders():
            if order.by_hand:
                self.venue.cancel(order)
        await self.connection.settle()
        self.tell("calm")
        self._rearm()
        session = self._open(self._life(0.0))
        desk = session.desk
        for _ in range(2):
            await self._cycle(session)
            await self.clock.sleep(60)
        if self.room.ledger.in_flight(desk.account):
            await self.clock.sleep(3700)  # beyond the life of an order that nobody has heard of
            await self._cycle(session)
            await self.clock.sleep(60)
        books = await settle(desk, self.symbol)
        named = {each.subject for each in books.discrepancies if each.kind in _ACCOUNTABLE}
        halted = [order for order in books.unknown if order.intent.client_order_id in named]
        if halted:
            # An open question that a human is told of by name: nothing more can be asked of the books.
            self.outcome.halted = "; ".join(str(each) for each in books.discrepancies)
            self.tell(f"halted: {self.outcome.halted}")
            return
        document = truth(self.venue)
        apart = {order.id for order in self.venue.orders if order.by_hand}
        document["orders"] = [row for row in document["orders"] if row["id"] not in apart]
        opening = self.room.ledger.opening(desk.account)
        assert opening is not None
        opened_ms = opening[1].timestamp() * 1000
        before = [fill for fill in self.venue.fills if fill.order.by_hand and fill.at < opened_ms]
        if ":" in self.symbol and sum(fill.quantity * (1 if fill.order.side == "buy" else -1) for fill in before):
            # A person's position from before the books is no balance: nothing explains it, nothing may trade on it.
            self.outcome.halted = "; ".join(str(each) for each in books.discrepancies)
            if not self.outcome.halted:
                self.violation("a position from before the books was not noticed")
            return
        # What a person traded before the books were opened is in the opening already.
        document["fills"] = [row for row in document["fills"] if row["order_id"] not in apart or row["at"] >= opened_ms]
        report = await audit_books(desk, document)
        if report.duplicates:
            self.violation(f"{report.duplicates} duplicates")
        if report.unresolved:
            self.violation(f"{report.unresolved} unresolved without a named reason")
        for difference in (*report.differences, *books.discrepancies):
            self.violation(str(difference))
        if (fault := self.room.ledger.verify_chain()) is not None:
            self.violation(fault)
