from decimal import Decimal
from pathlib import Path

import pytest

from exchanges.errors import NoAnswer
from execution.cancel import cancel
from execution.desk import Desk
from execution.follow import follow
from execution.paper import PaperExchange
from execution.place import place
from execution.reconcile import reconcile
from execution.stop import StopTarget, stop_all
from services.ledger import Ledger
from tests.execution.conftest import SETTINGS
from tests.execution.venue import BEGIN, PERPETUAL, PRICE, SPOT, ScriptedVenue, SteppedClock, an_intent
from trading.instruments import Side
from trading.orders import Order, State
from trading.risk import Approved

ACCOUNT = "bitbank:paper"
OPENING = {"JPY": Decimal(1_000_000), "BTC": Decimal("0.1")}


class PaperDesk:
    """A desk at a paper account over a scripted venue that must never see an order."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = SteppedClock()
        self.venue = ScriptedVenue(self.clock)
        self.start()

    def start(self) -> None:
        self.ledger = Ledger(f"sqlite:///{self.home / 'ledger.db'}")
        lease = self.ledger.take_lease(ACCOUNT, "test", BEGIN, 3600)
        self.exchange = PaperExchange(self.venue, self.ledger, ACCOUNT, OPENING)
        self.desk = Desk(ACCOUNT, self.exchange, self.ledger, self.clock, lease, SETTINGS, self.home)

    async def place(self, name: str = "one", **wanted: object) -> Order:
        intent = an_intent(name, **wanted)  # type: ignore[arg-type]
        return await place(self.desk, Approved(intent, "paper"), cycle_id=name, known_ids=frozenset())


@pytest.fixture
def paper(tmp_path: Path) -> PaperDesk:
    return PaperDesk(tmp_path)


async def test_a_paper_order_through_the_book_is_filled_and_the_books_add_up(paper: PaperDesk) -> None:
    await reconcile(paper.desk, SPOT)
    order = await follow(paper.desk, await paper.place(price=PRICE + 100), 5.0)
    assert order.state is State.FILLED
    assert (await reconcile(paper.desk, SPOT)).is_clean
    balances = await paper.exchange.balances()
    cost = Decimal("0.002") * (PRICE + 1)
    assert balances["BTC"].total == Decimal("0.102")
    assert balances["JPY"].total == OPENING["JPY"] - cost - cost * Decimal("0.001")


async def test_no_paper_order_ever_reaches_the_venue(paper: PaperDesk) -> None:
    await reconcile(paper.desk, SPOT)
    await paper.place(price=PRICE + 100)
    order = await paper.place("two", price=PRICE - 5000)
    await cancel(paper.desk, order)
    await stop_all(
        [StopTarget(ACCOUNT, paper.exchange, (SPOT,))],
        paper.ledger,
        paper.clock,
        "ann",
        "drill",
        home=paper.home,
    )
    assert not {"place", "cancel", "cancel_all", "balances", "open_orders"} & set(paper.venue.requests)


async def test_a_resting_paper_order_locks_what_it_needs_and_waits_for_the_market(
    paper: PaperDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reconcile(paper.desk, SPOT)
    order = await paper.place(price=PRICE - 5000)
    assert order.state is State.OPEN
    assert (await paper.exchange.balances())["JPY"].locked == Decimal("0.002") * (PRICE - 5000)
    monkeypatch.setattr("tests.execution.venue.PRICE", PRICE - 6000)  # the market comes down
    found = await reconcile(paper.desk, SPOT)
    assert found.orders_resolved[0].state is State.FILLED
    assert found.orders_resolved[0].fills[0].price == PRICE - 5000
    assert found.is_clean


async def test_a_restart_takes_resting_paper_orders_up_again(paper: PaperDesk) -> None:
    await reconcile(paper.desk, SPOT)
    await paper.place(price=PRICE - 5000)
    await follow(paper.desk, await paper.place("two", price=PRICE + 100), 5.0)
    before = await paper.exchange.balances()
    paper.ledger.close()
    paper.start()
    assert await paper.exchange.balances() == before
    assert len(await paper.exchange.open_orders(SPOT)) == 1
    assert (await reconcile(paper.desk, SPOT)).is_clean


async def test_what_cannot_be_paid_is_refused_as_the_venue_would(paper: PaperDesk) -> None:
    assert (await paper.place(quantity="5")).state is State.REJECTED
    assert (await paper.place("two", side=Side.SELL, quantity="0.2")).state is State.REJECTED
    assert (await paper.place("three", quantity="0.0005")).state is State.REJECTED


async def test_a_paper_order_is_refused_and_not_unknown_when_there_is_no_book(paper: PaperDesk) -> None:
    async def silent(*_: object) -> None:
        raise NoAnswer("bitbank", "timed out")

    paper.venue.order_book = silent  # type: ignore[assignment, method-assign]
    assert (await paper.place()).state is State.REJECTED


async def test_a_paper_position_is_held_and_closed(paper: PaperDesk) -> None:
    await reconcile(paper.desk, PERPETUAL)
    await follow(paper.desk, await paper.place(symbol=PERPETUAL, side=Side.SELL, price=PRICE - 100), 5.0)
    (held,) = await paper.exchange.positions(PERPETUAL)
    assert held.signed_quantity == Decimal("-0.002")
    assert (await reconcile(paper.desk, PERPETUAL)).is_clean
    await follow(paper.desk, await paper.place("two", symbol=PERPETUAL, price=PRICE + 100), 5.0)
    assert await paper.exchange.positions(PERPETUAL) == ()
    assert (await reconcile(paper.desk, PERPETUAL)).is_clean
