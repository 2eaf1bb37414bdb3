"""Orders, faults, a market, a person and new processes in any order: reconcile loses no order from sight and doubles
none.

The venues are scripted ones that show things late within the bounds that docs/venues.md gives for the real ones; what
their books say is compared with the ledger after every step, and to the last digit once the trouble is over.
"""

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from config.settings import ExecutionSettings
from exchanges.errors import NoAnswer, OrderNotFound
from execution.cancel import cancel
from execution.desk import Desk
from execution.place import PlacementHeld, place, write_intent
from execution.reconcile import Reconciliation, reconcile
from execution.settle import settle
from services.ledger import Ledger
from tests.certificates import certify
from tests.execution.venue import PERPETUAL, SPOT, ScriptedVenue, SteppedClock, an_intent
from trading.instruments import Side
from trading.orders import TERMINAL, Event, Order, OrderIntent, State, VenueOrder
from trading.risk import Approved

T = TypeVar("T")

UNSETTLED = {State.INTENDED, State.SENT, State.UNKNOWN}
QUANTITIES = ("0.002", "0.004")
PLACING = ["accept", "fill", "half", "refuse", "busy", "lost_ack", "lost_ack_filled", "lost_request", "late_request"]
CANCELLING = ["ok", "fail", "busy", "lost_ack", "fill_first", "ignore"]
# Seconds until a request whose answer was lost arrives, and until an accepted order is listed: together less than
# the time after which `execution.desk.absence_after` lets nobody be late any more.
ARRIVES = {"bitflyer": (0.5, 5, 900), "bitbank": (0.5, 5), "bybit": (0.5, 5)}
VISIBLE = {"bitflyer": (0, 2, 70, 590), "bitbank": (0, 2, 28), "bybit": (0, 2, 28)}


class LateVenue(ScriptedVenue):
    """Knows whose each order is, shows an order late only when it is young, and takes requests that were on their way
    for a while (`late_request`).
    """

    def __init__(self, clock: SteppedClock, *, name: str) -> None:
        super().__init__(clock, name=name, knows_client_ids=name == "bybit")
        self.arrives_after = 0.5
        self.forgets_unfilled = False  # bitbank lists no order that it killed at once
        self.on_their_way: list[tuple[datetime, OrderIntent]] = []
        self.whose: dict[str, str] = {}  # the client order id of an order's intent, by the venue's id
        self._listed_at: dict[str, datetime] = {}

    def arrive(self) -> None:
        """Take the requests whose time has come."""
        due = [(at, intent) for at, intent in self.on_their_way if at <= self.clock.now()]
        self.on_their_way = [(at, intent) for at, intent in self.on_their_way if at > self.clock.now()]
        for at, intent in due:  # the venue has had it since then, whenever it was looked at
            booked = self.booked[self.book_order(intent)]
            booked.told = replace(booked.told, created_at=at)
            self._listed_at[booked.told.venue_order_id] = at + timedelta(seconds=self.visible_after)

    def book_order(self, intent: OrderIntent) -> str:
        number = super().book_order(intent)
        self.whose[number] = intent.client_order_id
        self._listed_at[number] = self.clock.now() + timedelta(seconds=self.visible_after)
        return number

    def orders_of(self, client_order_id: str) -> list[VenueOrder]:
        return [self.booked[number].told for number, whose in self.whose.items() if whose == client_order_id]

    def _seen(self, told: VenueOrder) -> bool:
        self.arrive()
        forgotten = self.forgets_unfilled and told.state in TERMINAL and not told.filled
        return self.clock.now() >= self._listed_at[told.venue_order_id] and not forgotten

    async def open_orders(self, symbol: str) -> tuple[VenueOrder, ...]:
        self.arrive()
        return await super().open_orders(symbol)

    async def find_order(
        self, intent: OrderIntent, sent_at: datetime, known_ids: frozenset[str]
    ) -> tuple[VenueOrder, ...]:
        self.arrive()
        return await super().find_order(intent, sent_at, known_ids)

    async def place(self, intent: OrderIntent) -> str:
        if self.placing and self.placing[0] == "late_request":
            self.placing.popleft()
            self.requests["place"] += 1
            self.on_their_way.append((self.clock.now() + timedelta(seconds=self.arrives_after), intent))
            raise NoAnswer(self.name, "connection reset")
        return await super().place(intent)

    async def cancel(self, symbol: str, venue_order_id: str) -> None:
        if self.booked[venue_order_id].told.state in TERMINAL:
            raise OrderNotFound(self.name, "it has ended", code="50026")
        await super().cancel(symbol, venue_order_id)


class TraderAtVenue(RuleBasedStateMachine):
    """One account, one symbol, one ledger that outlives its processes."""

    template: Path  # of an empty ledger: to migrate one anew for each example would take most of the time
    name: str

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.home = Path(tempfile.mkdtemp(prefix="search-", dir=self.template.parent))
        shutil.copy(self.template, self.home / "ledger.db")
        self.clock = SteppedClock()
        self.venue = LateVenue(self.clock, name=self.name)
        self.made = 0
        self.intents: list[OrderIntent] = []
        self.ours: tuple[Order, ...] = ()  # as the ledger had them after the last step
        self.ended: dict[str, State] = {}
        self.broken = False

    @initialize(symbol=st.sampled_from([SPOT, SPOT, PERPETUAL]), patience=st.sampled_from([10.0, 60.0]))
    def opens_its_books(self, symbol: str, patience: float) -> None:
        self.symbol = symbol
        self.settings = ExecutionSettings(unknown_patience=patience)
        self.desk = self._desk()
        self.last = self.run(reconcile(self.desk, symbol))

    def _desk(self) -> Desk:
        ledger = Ledger(f"sqlite:///{self.home / 'ledger.db'}")
        lease = ledger.take_lease(self.name, "search", self.clock.now(), 1e9)
        if ledger.rung(self.name, self.symbol) is None:
            certify(ledger, self.name, self.symbol, self.clock.now())
        return Desk(self.name, self.venue, ledger, self.clock, lease, self.settings, home=self.home)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self.loop.run_until_complete(work)
        except BaseException:
            self.broken = True
            raise

    @property
    def unsettled(self) -> list[Order]:
        return [order for order in self.ours if order.state in UNSETTLED]

    def _an_intent(self, side: Side, quantity: str) -> OrderIntent:
        self.made += 1
        return an_intent(f"o{self.made}", side=side, quantity=quantity, symbol=self.symbol, venue=self.name)

    # -- the trader

    @rule(word=st.sampled_from(PLACING), side=st.sampled_from(Side), quantity=st.sampled_from(QUANTITIES))
    def places(self, word: str, side: Side, quantity: str) -> None:
        held = bool(self.unsettled)
        asked = self.venue.requests["place"]
        intent = self._an_intent(side, quantity)
        self.venue.placing.append(word)
        try:
            self.run(self._place(intent))
        except PlacementHeld:
            self.broken = False
            assert held and self.venue.requests["place"] == asked
        else:
            assert not held and self.venue.requests["place"] == asked + 1
            self.intents.append(intent)
        self.venue.placing.clear()

    def _place(self, intent: OrderIntent) -> Coroutine[Any, Any, Order]:
        return place(self.desk, Approved(intent, "minimal"), cycle_id=None, known_ids=self.last.known_ids)

    @precondition(lambda self: self.intents)
    @rule(data=st.data())
    def repeats_a_decision(self, data: st.DataObject) -> None:
        asked = self.venue.requests["place"]
        self.run(self._place(data.draw(st.sampled_from(self.intents))))
        assert self.venue.requests["place"] == asked

    @precondition(lambda self: not self.unsettled)
    @rule(
        after=st.sampled_from(["intended", "sent", "accepted", "filled"]),
        side=st.sampled_from(Side),
        quantity=st.sampled_from(QUANTITIES),
    )
    def dies_while_placing(self, after: str, side: Side, quantity: str) -> None:
        intent = self._an_intent(side, quantity)
        self.intents.append(intent)
        write_intent(self.desk, Approved(intent, "minimal"), cycle_id=None, known_ids=self.last.known_ids)
        if after != "intended":
            self.desk.ledger.record(self.name, intent.client_order_id, Event.SENT, self.clock.now())
        if after in ("accepted", "filled"):
            number = self.venue.book_order(intent)
            if after == "filled":
                self.venue.fill(number)
        self.restarts()

    @precondition(lambda self: any(not order.is_finished for order in self.ours))
    @rule(words=st.lists(st.sampled_from(CANCELLING), min_size=1, max_size=3), data=st.data())
    def cancels(self, words: list[str], data: st.DataObject) -> None:
        order = data.draw(st.sampled_from([order for order in self.ours if not order.is_finished]))
        self.venue.cancelling.extend(words)
        self.run(cancel(self.desk, order))
        self.venue.cancelling.clear()

    @rule()
    def reconciles(self) -> None:
        self.last = self.run(reconcile(self.desk, self.symbol))

    @rule()
    def restarts(self) -> None:
        self.desk.ledger.close()
        self.desk = self._desk()

    # -- the market and the venue

    @precondition(lambda self: self.venue.resting())
    @rule(part=st.sampled_from([None, "0.001"]), data=st.data())
    def fills_an_order(self, part: str | None, data: st.DataObject) -> None:
        self.venue.fill(data.draw(st.sampled_from(self._resting())), None if part is None else Decimal(part))

    @precondition(lambda self: self.venue.resting())
    @rule(state=st.sampled_from([State.CANCELLED, State.EXPIRED]), data=st.data())
    def ends_an_order(self, state: State, data: st.DataObject) -> None:
        self.venue.end(data.draw(st.sampled_from(self._resting())), state)

    def _resting(self) -> list[str]:
        return [told.venue_order_id for told in self.venue.resting()]

    @rule(data=st.data())
    def shows_things_late(self, data: st.DataObject) -> None:
        self.venue.visible_after = data.draw(st.sampled_from(VISIBLE[self.name]))
        self.venue.arrives_after = data.draw(st.sampled_from(ARRIVES[self.name]))
        self.venue.list_lag = data.draw(st.sampled_from([0.0, 3.0, 10.0]))
        self.venue.fills_lag = data.draw(st.sampled_from([0.0, 3.0, 30.0]))
        self.venue.balances_lag = data.draw(st.sampled_from([0.0, 3.0, 10.0]))
        self.venue.forgets_unfilled = data.draw(st.booleans())

    @rule(seconds=st.sampled_from([0.001, 1.0, 5.0, 40.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.run(self.clock.sleep(seconds))

    @precondition(lambda self: not self.unsettled and not self.venue.on_their_way)
    @rule(seconds=st.sampled_from([5.0, 40.0, 700.0]), side=st.sampled_from(Side))
    def a_request_is_looked_for_while_it_may_still_arrive(self, seconds: float, side: Side) -> None:
        # As late as the venue allows: at bitFlyer within the order's own lifetime, long after any other lateness.
        self.venue.arrives_after = max(ARRIVES[self.name])
        self.places("late_request", side, QUANTITIES[0])
        self.time_passes(seconds)
        self.reconciles()

    @precondition(lambda self: not self.unsettled and not self.venue.on_their_way)
    @rule(quantity=st.sampled_from(QUANTITIES), then=st.sampled_from([None, "lost_request", "lost_ack"]))
    def a_person_places_an_order_before_a_cycle(self, quantity: str, then: str | None) -> None:
        # It may look like ours to come: reconcile sees it first, and tells it apart by its id.
        self.venue.visible_after = 0.0
        self.venue.by_hand(quantity, self.symbol)
        self.reconciles()
        self.ours = self.desk.ledger.orders(self.name)
        if then is not None:
            self.places(then, Side.BUY, quantity)
            self.reconciles()

    @rule()
    def a_person_places_an_order_that_is_not_like_ours(self) -> None:
        self.venue.by_hand("0.003", self.symbol)

    # -- what holds at every moment

    @invariant()
    def the_promises_are_kept(self) -> None:
        if not hasattr(self, "desk"):
            return
        self.broken = True
        self._examine()
        self.broken = False

    def _examine(self) -> None:
        self.ours = self.desk.ledger.orders(self.name)
        assert len(self.unsettled) <= 1
        recorded = [fill.id for fill in self.desk.ledger.fills(self.name)]
        assert len(recorded) == len(set(recorded))
        for order in self.ours:
            name = order.intent.client_order_id
            told = self.venue.orders_of(name)
            assert len(told) <= 1, f"{name} was doubled"
            if order.venue_order_id is not None:
                assert self.venue.whose[order.venue_order_id] == name, "taken for another's order"
            in_truth = told[0].filled if told else Decimal(0)
            assert sum(fill.quantity for fill in order.fills) <= order.intent.quantity
            assert order.filled <= in_truth <= order.intent.quantity
            if order.is_finished:
                assert all(one.state in TERMINAL for one in told), f"{name} lives, and was lost from sight"
                on_its_way = [intent for _, intent in self.venue.on_their_way if intent.client_order_id == name]
                assert not on_its_way, f"{name} may yet arrive, and was lost from sight"
                assert order.state is not State.REJECTED or not in_truth, f"{name} was filled, and was lost from sight"
            assert self.ended.get(name, order.state) is order.state, f"{name} had ended otherwise"
            if order.is_finished:
                self.ended[name] = order.state

    # -- and when all is over

    def teardown(self) -> None:
        try:
            if not self.broken and hasattr(self, "desk"):
                self.loop.run_until_complete(self._calm())
        finally:
            if hasattr(self, "desk"):
                self.desk.ledger.close()
            self.loop.close()
            shutil.rmtree(self.home)

    async def _calm(self) -> None:
        """The venue shows all that it has, time passes beyond any patience, and a trader reconciles and settles."""
        venue = self.venue
        venue.visible_after = venue.list_lag = venue.fills_lag = venue.balances_lag = 0.0
        for seconds in (1000.0, 3700.0, 1.0):
            await self.clock.sleep(seconds)
            found = await reconcile(self.desk, self.symbol)
            self._examine()
        self._agrees(found)
        found = await settle(self.desk, self.symbol)
        self._examine()
        self._agrees(found)
        assert all(order.is_finished or order.state is State.UNKNOWN for order in self.ours), self.ours

    def _agrees(self, found: Reconciliation) -> None:
        named = {each.subject for each in found.discrepancies if each.kind in ("unproved_order", "several_candidates")}
        assert {each.subject for each in found.discrepancies} <= named, found.discrepancies
        for order in self.ours:
            name = order.intent.client_order_id
            if order.state is State.UNKNOWN:
                assert name in named
                continue
            assert order.state not in UNSETTLED
            told = self.venue.orders_of(name)
            assert order.filled == (told[0].filled if told else 0)
            assert order.filled == sum(fill.quantity for fill in order.fills)
            if order.state is State.REJECTED:
                assert not told or told[0].state in TERMINAL
            else:
                assert order.is_finished is (told[0].state in TERMINAL)
        assert {fill.id for fill in self.desk.ledger.fills(self.name)} == {fill.id for fill in self.venue.trades}
        assert self.desk.ledger.verify_chain() is None


@pytest.fixture(scope="module", autouse=True)
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path_factory.getbasetemp()) as home:
        TraderAtVenue.template = Path(home) / "template.db"
        Ledger(f"sqlite:///{TraderAtVenue.template}").close()
        logging.disable(logging.CRITICAL)
        yield
        logging.disable(logging.NOTSET)


class AtBybit(TraderAtVenue):
    name = "bybit"


class AtBitbank(TraderAtVenue):
    name = "bitbank"


class AtBitflyer(TraderAtVenue):
    name = "bitflyer"


TestAtBybit = AtBybit.TestCase
TestAtBitbank = AtBitbank.TestCase
TestAtBitflyer = AtBitflyer.TestCase
# The same examples in every run: a red one is a change of ours.
TestAtBybit.settings = TestAtBitbank.settings = TestAtBitflyer.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    derandomize=True,
    print_blob=True,
    # Shrinking takes minutes, and the steps of a failure are printed anyhow: add Phase.shrink to shorten them.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
