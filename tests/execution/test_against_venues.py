"""The order path against the four simulated venues: adapters, wire, budget, clock and ledger are real."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from config.credentials import Credentials
from config.loader import load_settings
from config.secret import Secret
from exchanges import create_exchange_client
from exchanges.errors import NoAnswer
from execution.books import COLLATERAL, explained_totals
from execution.cancel import cancel
from execution.desk import Desk
from execution.follow import follow
from execution.hold import hold_account
from execution.place import place
from execution.reconcile import Reconciliation, reconcile
from execution.stop import StopReport, StopTarget, stop_all
from services.clock import MarketClock
from services.ledger import Ledger
from services.simulated import simulated_venues
from tests.certificates import certify
from trading.audit import AuditReport, audit, read_truth
from trading.identifiers import client_order_id
from trading.instruments import Instrument, Side
from trading.money import amount
from trading.orders import Order, OrderIntent, OrderType, State, TimeInForce
from trading.risk import Approved

EXCHANGES = ["bybit", "bitbank", "bitflyer", "okcoinjp"]


@dataclass
class Trader:
    """A desk at a running simulated venue."""

    desk: Desk
    symbol: str
    instrument: Instrument
    control_url: str
    placed: int = 0

    async def intent(self, side: Side, off: str, time_in_force: TimeInForce, times: int = 1) -> OrderIntent:
        """An order of `times` the smallest size; `off`: how far (fraction) its price lies behind the book."""
        ticker = await self.desk.exchange.ticker(self.symbol)
        touch = ticker.bid if side is Side.BUY else ticker.ask
        price = self.instrument.passive_price(side, touch * (1 - side.sign * Decimal(off)))
        self.placed += 1
        return OrderIntent(
            client_order_id=client_order_id(self.desk.account, "test", self.placed),
            venue=self.desk.exchange.name,
            symbol=self.symbol,
            side=side,
            type=OrderType.LIMIT,
            quantity=self.instrument.smallest_quantity(price) * times,
            price=price,
            time_in_force=time_in_force,
            decision_price=ticker.middle,
            decided_at=self.desk.clock.now(),
            reason="a test",
        )

    async def place(self, side: Side, off: str, time_in_force: TimeInForce, times: int = 1) -> Order:
        """Reconcile, then place; the account must be clean before."""
        intent = await self.intent(side, off, time_in_force, times)
        found = await self.reconcile()
        assert found.is_clean, found
        approved = Approved(intent, "minimal")
        return await place(self.desk, approved, cycle_id=f"{self.placed}", known_ids=found.known_ids)

    @property
    def taking(self) -> TimeInForce:
        if self.instrument.immediate_or_cancel:
            return TimeInForce.IMMEDIATE_OR_CANCEL
        return TimeInForce.GOOD_TILL_CANCELLED

    async def reconcile(self) -> Reconciliation:
        return await reconcile(self.desk, self.symbol)

    async def stop(self, *, close_positions: bool = False) -> StopReport:
        desk = self.desk
        target = StopTarget(desk.account, desk.exchange, (self.symbol,), lease=desk.lease, clock=desk.clock)
        return await stop_all([target], desk.ledger, desk.clock, "test", "drill", close_positions, home=desk.home)

    async def audit(self) -> AuditReport:
        """Our ledger against the venue's own books."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.control_url}/truth") as reply:
            document = await reply.json()
        truth = read_truth(document)
        ledger, account = self.desk.ledger, self.desk.account
        opening = ledger.opening(account)
        assert opening is not None
        instruments = await self.desk.exchange.instruments()
        collateral = {COLLATERAL + name: amount(total) for name, total in document["collateral"].items()}
        return audit(
            ledger.orders(account),
            ledger.fills(account),
            explained_totals(opening[0], ledger.fills(account), instruments),
            truth.orders,
            truth.fills,
            {**truth.balances, **collateral},
        )


@contextlib.asynccontextmanager
async def trader_at(exchange: str, home: Path, symbol: str | None = None) -> AsyncIterator[Trader]:
    with simulated_venues(home, {exchange: ("--clock", "stepped")}) as running:
        address = running[exchange].address
        settings = load_settings(
            overrides=[
                f"home={home}",
                f"exchanges.{exchange}.base_url={address.base_url}",
                f"exchanges.{exchange}.control_url={address.control_url}",
            ],
            environ={},
        )
        clock = await MarketClock.connect(address.control_url)
        credentials = Credentials(Secret(address.api_key), Secret(address.api_secret), Secret(address.passphrase))
        client = create_exchange_client(exchange, settings=settings, credentials=credentials, clock=clock)
        ledger = Ledger(settings.ledger_url)
        try:
            async with hold_account(home, exchange, ledger, "test") as lease:
                desk = Desk(exchange, client, ledger, clock, lease, settings.execution, home)
                traded = symbol or settings.symbol(exchange)
                certify(ledger, exchange, traded, clock.now())
                yield Trader(desk, traded, await client.instrument(traded), address.control_url)
        finally:
            await client.close()
            ledger.close()


@pytest_asyncio.fixture(params=EXCHANGES)
async def trader(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Trader]:
    async with trader_at(request.param, tmp_path) as found:
        yield found


@pytest_asyncio.fixture(params=[("bybit", "BTC/USDT:USDT"), ("bitflyer", "BTC/JPY:JPY")], ids=lambda it: it[0])
async def perpetual(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Trader]:
    exchange, symbol = request.param
    async with trader_at(exchange, tmp_path, symbol) as found:
        yield found


async def test_orders_are_filled_and_cancelled_and_the_books_add_up(trader: Trader) -> None:
    desk = trader.desk
    bought = await follow(desk, await trader.place(Side.BUY, "-0.002", trader.taking, times=2), 10)
    assert bought.state is State.FILLED, bought
    assert bought.fills and sum(fill.quantity for fill in bought.fills) == bought.intent.quantity

    resting = await trader.place(Side.BUY, "0.01", TimeInForce.GOOD_TILL_CANCELLED)
    resting = await follow(desk, resting, 5)
    assert resting.state is State.OPEN
    assert (await cancel(desk, resting)).state is State.CANCELLED

    sold = await follow(desk, await trader.place(Side.SELL, "-0.002", trader.taking), 10)
    assert sold.state is State.FILLED, sold
    found = await trader.reconcile()
    assert found.is_clean, found
    assert not desk.ledger.in_flight(desk.account)
    assert desk.ledger.verify_chain() is None
    assert (await trader.audit()).is_clean, await trader.audit()


async def test_the_quiet_reconcile_costs_two_requests(trader: Trader) -> None:
    await trader.reconcile()
    before = trader.desk.exchange.traffic().requests
    assert (await trader.reconcile()).is_clean
    assert trader.desk.exchange.traffic().requests - before == 2


@pytest.mark.parametrize("off", ["0.01", "-0.002"], ids=["resting", "filled"])
async def test_an_order_whose_answer_was_lost_is_found_at_the_venue(trader: Trader, off: str) -> None:
    await trader.reconcile()
    exchange = trader.desk.exchange
    really_place = exchange.place

    async def place_and_hear_nothing(intent: OrderIntent) -> str:
        await really_place(intent)
        raise NoAnswer(exchange.name, "the connection broke")

    exchange.place = place_and_hear_nothing  # type: ignore[method-assign]
    order = await trader.place(Side.BUY, off, TimeInForce.GOOD_TILL_CANCELLED)
    assert order.state is State.UNKNOWN
    found = await trader.reconcile()
    assert found.is_clean, found
    expected = State.OPEN if off == "0.01" else State.FILLED
    assert [one.state for one in found.orders_resolved] == [expected]
    assert (await trader.audit()).duplicates == 0
    assert (await trader.stop()).clean
    assert (await trader.audit()).is_clean, await trader.audit()


async def test_an_order_that_never_arrived_is_proved_absent_or_stays_unknown(trader: Trader) -> None:
    await trader.reconcile()
    exchange = trader.desk.exchange

    async def break_before(intent: OrderIntent) -> str:
        raise NoAnswer(exchange.name, "the connection broke")

    exchange.place = break_before  # type: ignore[method-assign]
    await trader.place(Side.BUY, "0.01", TimeInForce.GOOD_TILL_CANCELLED)
    found = await trader.reconcile()
    if exchange.name == "bitflyer":  # no request window: only the order's lifetime proves
        assert len(found.unknown) == 1
        await trader.desk.clock.sleep(trader.desk.order_lifetime_minutes * 60)
        found = await trader.reconcile()
    assert [one.state for one in found.orders_resolved] == [State.REJECTED]
    assert found.is_clean, found


async def test_twenty_resting_orders_are_gone_after_the_stop(trader: Trader) -> None:
    desk = trader.desk
    found = await trader.reconcile()
    for step in range(20):
        off = Decimal("0.01") + step * Decimal("0.0005")
        intent = await trader.intent(Side.BUY, str(off), TimeInForce.GOOD_TILL_CANCELLED)
        order = await place(desk, Approved(intent, "minimal"), cycle_id=None, known_ids=found.known_ids)
        assert order.state is State.OPEN, order
    assert len(await desk.exchange.open_orders(trader.symbol)) == 20
    report = await trader.stop()
    assert report.clean, report
    assert len(report.venues[0].cancelled) == 20
    assert await desk.exchange.open_orders(trader.symbol) == ()
    assert not desk.ledger.in_flight(desk.account)
    assert (await trader.reconcile()).is_clean
    assert (await trader.audit()).is_clean, await trader.audit()


async def test_a_perpetuals_profit_is_explained_and_the_stop_closes_the_position(perpetual: Trader) -> None:
    trader, desk = perpetual, perpetual.desk
    sold = await follow(desk, await trader.place(Side.SELL, "-0.002", trader.taking, times=3), 10)
    assert sold.state is State.FILLED, sold
    await desk.clock.sleep(600)  # the market moves on
    bought = await follow(desk, await trader.place(Side.BUY, "-0.002", trader.taking), 10)
    assert bought.state is State.FILLED, bought
    found = await trader.reconcile()
    assert found.is_clean, found
    assert found.positions[0].signed_quantity == -bought.intent.quantity * 2
    report = await trader.stop(close_positions=True)
    assert report.clean, report
    assert report.venues[0].positions == ()
    found = await trader.reconcile()
    assert found.is_clean, found
    assert (await trader.audit()).is_clean, await trader.audit()
