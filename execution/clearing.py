"""Clear one symbol: cancel and read until the venue has shown no open order for long enough, or patience is over.

A round is one look at the list and, while something rests, one way of cancelling: all at once, or, after that had
no answer, each by itself. So a venue in trouble is never asked for more than a calm one, and the pauses double.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from exchanges.base import Exchange
from exchanges.errors import (
    AuthenticationError,
    ClockSkew,
    OrderNotFound,
    PermissionDenied,
    RateLimitExceeded,
    Refused,
    VenueError,
)
from execution.desk import absence_after
from execution.reach import LedgerInReach
from services.clock import Clock
from services.ledger import LedgerUnavailable
from trading.money import plain
from trading.orders import TERMINAL, Order, VenueOrder

log = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=120)
_FEWEST_ROUNDS = 8  # market time that others step leaps: patience also wants some rounds
# The widest request window of the venues (OKJ 30 s): later copies of a request are refused by the venue.
LATEST_ARRIVAL = timedelta(seconds=35)
_FIRST_PAUSE_SECONDS = 0.1
_TROUBLE_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 5.0
_RATE_LIMITED_PAUSE_SECONDS = 10.0
# How far apart the two empty lists of a proof stand: longer where a cancel or a list is only a queue ticket.
SPACING = {"bitflyer": timedelta(seconds=2)}
USUAL_SPACING = timedelta(seconds=1)
_LIST_SECONDS = 1.0  # cancelling waits no longer than this (wall) for the list
_SLOW_SECONDS = 1.0  # a single cancel that has no answer after this (wall) is not waited for by the next
_SLOW_AT_ONCE = 3
_LOOKED_AT_A_ROUND = 3
_OF_THE_KEY = (AuthenticationError, PermissionDenied, ClockSkew)  # refused for every order alike


@dataclass
class Stopping:
    """One account while it is being stopped: what has been seen of it, and what went wrong."""

    account: str
    exchange: Exchange
    books: LedgerInReach
    clock: Clock
    order_lifetime_minutes: int
    began: datetime
    seen: dict[str, VenueOrder] = field(default_factory=dict)  # as a list of open orders last showed them
    ended: set[str] = field(default_factory=set)  # ids that were read as ended
    filled: set[str] = field(default_factory=set)  # of these, the wholly filled ones
    left: dict[str, tuple[VenueOrder, ...]] = field(default_factory=dict)  # by symbol; absent: never read
    awaited: dict[str, tuple[Order, ...]] = field(default_factory=dict)  # by symbol: ours that may yet come up
    known: dict[str, tuple[Order, ...]] = field(default_factory=dict)  # by symbol: in flight when the ledger last told
    was_told: asyncio.Event = field(default_factory=asyncio.Event)  # the ledger was asked once, whatever it said
    empty_at: dict[str, datetime] = field(default_factory=dict)
    proved_at: dict[str, datetime] = field(default_factory=dict)
    problems: Counter[str] = field(default_factory=Counter)

    def note(self, doing: str, error: Exception | str) -> None:
        self.problems[f"{doing}: {error}"] += 1
        log.warning("%s: %s: %s", self.account, doing, error)

    def told_problems(self) -> tuple[str, ...]:
        """Each problem once, and how often it came up."""
        return tuple(text if times == 1 else f"{text} ({times} times)" for text, times in self.problems.items())

    async def in_flight(self) -> tuple[Order, ...] | None:
        """Our orders that have not ended; None when the ledger does not tell."""
        try:
            orders = await self.books.ask(lambda ledger: ledger.in_flight(self.account))
        except LedgerUnavailable as error:
            self.note("orders in flight", error)
            return None
        finally:
            self.was_told.set()
        self.known = {}
        for order in orders:
            self.known[order.intent.symbol] = (*self.known.get(order.intent.symbol, ()), order)
        return orders


async def clear(stopping: Stopping, symbol: str) -> bool:
    """Cancel and read until nothing rests in the symbol; True when that is proved.

    The proof: the list was empty at least twice, the venue's spacing apart, after a cancel was asked for, and no order
    in flight may still come up. Where the ledger does not tell what is in flight, the list must stay empty for as long
    as an order may be under way. Costs per symbol 1 cancel-all and 3 lists in the calm case.
    """
    clearing = _Clearing(stopping, symbol)
    try:
        return await clearing.run()
    except Exception as error:  # a defect in one symbol must not keep the others from being cleared
        log.exception("%s: clearing %s failed", stopping.account, symbol)
        stopping.problems[f"clearing {symbol} itself failed: {type(error).__name__}: {error}"] += 1
        return False
    finally:
        await clearing.end()


class _Clearing:
    def __init__(self, stopping: Stopping, symbol: str) -> None:
        self._all = stopping
        self._symbol = symbol
        self._exchange = stopping.exchange
        self._clock = stopping.clock
        self._listing: asyncio.Task[tuple[VenueOrder, ...]] | None = None
        self._rounds = 0
        self._pause = _FIRST_PAUSE_SECONDS
        self._longest = _LONGEST_PAUSE_SECONDS
        self._asked = False
        self._answered = 0  # cancels that were answered since the list last shrank
        self._by_each = False
        self._empty_looks = 0
        self._empty_since: datetime | None = None

    async def run(self) -> bool:
        while True:
            self._rounds += 1
            listed = await self._look()
            self._heed_a_clock_set_back()
            if listed == () and self._asked and await self._is_proved():
                self._all.proved_at[self._symbol] = self._clock.now()
                return True
            if listed != () or not self._asked:
                calm = await self._cancel(listed)
                self._asked = True
                self._pause = max(self._pause, 0.0 if calm else _TROUBLE_PAUSE_SECONDS)
            if self._rounds >= _FEWEST_ROUNDS and self._clock.now() >= self._all.began + PATIENCE:
                self._give_up()
                return False
            await self._clock.sleep(self._next_pause())

    def _heed_a_clock_set_back(self) -> None:
        """Only the time since counts then: else proof and patience would wait for as long as it was set back."""
        now = self._clock.now()
        self._all.began = min(self._all.began, now)
        if self._empty_since is not None and self._empty_since > now:
            self._empty_since = now

    async def end(self) -> None:
        """Let go of a list that was asked for and has not come."""
        if self._listing is not None:
            self._listing.cancel()
            await asyncio.gather(self._listing, return_exceptions=True)

    def _next_pause(self) -> float:
        now = self._clock.now()
        if self._empty_since is not None and (missing := self._empty_since + self._spacing - now) > timedelta(0):
            return missing.total_seconds()
        pause = self._pause
        self._pause = min(2 * self._pause, self._longest)
        return pause

    @property
    def _spacing(self) -> timedelta:
        return SPACING.get(self._exchange.name, USUAL_SPACING)

    def _give_up(self) -> None:
        told = f"{self._exchange.name} {self._symbol}: not proved that no order is left"
        for order in self._all.awaited.get(self._symbol, ()):
            until = self._latest_sight(order)
            told += (
                f"; {order.intent.side} {plain(order.intent.quantity)} ({order.state}, "
                f"{order.venue_order_id or order.intent.client_order_id}) may come up until {until:%H:%M:%S} UTC"
            )
        if not self._all.left.get(self._symbol):
            self._all.problems[told] += 1

    async def _look(self) -> tuple[VenueOrder, ...] | None:
        """The symbol's open orders; None when they could not be read, or not soon."""
        if self._listing is None:
            self._listing = asyncio.ensure_future(self._exchange.open_orders(self._symbol))
        await asyncio.wait({self._listing}, timeout=_LIST_SECONDS)
        if not self._listing.done():
            self._empty_since = None
            self._empty_looks = 0
            return None
        asked, self._listing = self._listing, None
        try:
            told = asked.result()
        except VenueError as error:
            self._trouble(f"open orders of {self._symbol}", error)
            self._empty_since, self._empty_looks = None, 0
            return None
        if self._answered >= 2:  # asked for twice and still listed: the order itself knows better than a list that lags
            await self._ask_themselves(told)
        listed = tuple(order for order in told if order.venue_order_id not in self._all.ended)
        if len(listed) < len(self._all.left.get(self._symbol, ())):
            self._answered = 0
        self._all.seen |= {order.venue_order_id: order for order in listed}
        self._all.left[self._symbol] = listed
        self._count_empty(listed)
        return listed

    def _count_empty(self, listed: Sequence[VenueOrder]) -> None:
        if listed or not self._asked:
            self._empty_looks, self._empty_since = 0, None
            return
        self._empty_looks += 1
        if self._empty_since is None:
            self._empty_since = self._clock.now()
            self._all.empty_at.setdefault(self._symbol, self._empty_since)

    async def _ask_themselves(self, told: Iterable[VenueOrder]) -> None:
        waiting = [order.venue_order_id for order in told if order.venue_order_id not in self._all.ended]
        for number in waiting[:_LOOKED_AT_A_ROUND]:
            await self._has_ended(number)

    async def _cancel(self, listed: tuple[VenueOrder, ...] | None) -> bool:
        """Ask once for the cancel of everything, or, where that had no answer, of each order. False: trouble."""
        orders = await self._to_cancel(listed)
        if self._by_each:
            self._by_each = False
            return await self._cancel_each(orders)
        try:
            await self._exchange.cancel_all(self._symbol)
            self._answered += 1
            return True
        except Refused as error:  # certain, and said of the call: the single orders may still be cancelled
            self._trouble(f"cancel all of {self._symbol}", error)
            return False if isinstance(error, _OF_THE_KEY) else await self._cancel_each(orders)
        except VenueError as error:
            self._trouble(f"cancel all of {self._symbol}", error)
            self._by_each = bool(orders)
            return False

    async def _to_cancel(self, listed: tuple[VenueOrder, ...] | None) -> tuple[str, ...]:
        """Ids to cancel one by one: those that are listed; unread, those last seen and those the ledger knows."""
        if listed is not None:
            return tuple(order.venue_order_id for order in listed)
        await self._all.was_told.wait()  # a moment at most (execution/reach.py)
        ids = [order.venue_order_id for order in self._all.left.get(self._symbol, ())]
        ids += [order.venue_order_id for order in self._all.known.get(self._symbol, ()) if order.venue_order_id]
        return tuple(number for number in dict.fromkeys(ids) if number not in self._all.ended)

    async def _cancel_each(self, ids: Sequence[str]) -> bool:
        """Cancel one after the other, past one that hangs, up to the first that meets trouble."""
        waiting, running, calm = deque(ids), set[asyncio.Task[bool]](), True
        try:
            while running or (waiting and calm):
                if waiting and calm and len(running) < _SLOW_AT_ONCE:
                    running.add(asyncio.ensure_future(self._cancel_one(waiting.popleft())))
                done, running = await asyncio.wait(
                    running, timeout=_SLOW_SECONDS if waiting and calm else None, return_when=asyncio.FIRST_COMPLETED
                )
                answers = [task.result() for task in done]
                calm = calm and all(answers)
        finally:
            for task in running:
                task.cancel()
        self._answered += calm
        return calm

    async def _cancel_one(self, venue_order_id: str) -> bool:
        try:
            await self._exchange.cancel(self._symbol, venue_order_id)
        except VenueError as error:
            self._trouble(f"cancel of {venue_order_id}", error)
            return isinstance(error, Refused) and not isinstance(error, _OF_THE_KEY)
        return True

    def _trouble(self, doing: str, error: VenueError) -> None:
        self._all.note(doing, error)
        if isinstance(error, RateLimitExceeded):
            self._longest = _RATE_LIMITED_PAUSE_SECONDS
            self._pause = max(self._pause, 2 * _TROUBLE_PAUSE_SECONDS)

    async def _is_proved(self) -> bool:
        assert self._empty_since is not None
        quiet = self._clock.now() - self._empty_since
        if self._empty_looks < 2 or quiet < self._spacing:
            return False
        orders = await self._all.in_flight()
        if orders is None:
            return quiet >= LATEST_ARRIVAL
        self._all.awaited[self._symbol] = await self._may_still_appear(orders)
        return not self._all.awaited[self._symbol]

    async def _may_still_appear(self, orders: Iterable[Order]) -> tuple[Order, ...]:
        """Orders of ours that no list has shown and that may yet come up: sent not too long ago, end not seen.

        Costs 1 request for each order that was accepted a moment ago and is not listed.
        """
        found = []
        for order in orders:
            number = order.venue_order_id
            if order.intent.symbol != self._symbol or number in self._all.seen or number in self._all.ended:
                continue
            if self._clock.now() >= self._latest_sight(order):
                continue
            if number is None or not await self._has_ended(number):
                found.append(order)
        return tuple(found)

    def _latest_sight(self, order: Order) -> datetime:
        bound = absence_after(
            self._exchange.name,
            LATEST_ARRIVAL.total_seconds(),
            order_lifetime_minutes=self._all.order_lifetime_minutes,
            accepted=order.venue_order_id is not None,
        )
        return (order.sent_at or order.intent.decided_at) + bound

    async def _has_ended(self, venue_order_id: str) -> bool:
        try:
            told = await self._exchange.order(self._symbol, venue_order_id)
        except OrderNotFound:
            return False  # not visible yet
        except VenueError as error:
            self._trouble(f"order {venue_order_id}", error)
            return False
        if told.state in TERMINAL:
            self._all.ended.add(venue_order_id)
        return told.state in TERMINAL
