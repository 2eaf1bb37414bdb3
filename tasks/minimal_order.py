"""The smallest real order: placed to rest, seen open, cancelled, seen gone, balances as before."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from prefect import task
from prefect.cache_policies import NO_CACHE

from config.settings import ExchangeName
from execution.cancel import cancel
from execution.desk import see_through
from execution.place import PlacementHeld, place
from execution.reconcile import Reconciliation, reconcile
from execution.settle import settle
from services.ledger import CertificateRefused
from tasks.asking import NotAsExpected, ask, expect
from tasks.decide import account_standing, risk_facts, risk_limits
from tasks.key_report import WITHDRAWS
from tasks.market import MarketView, read_market
from tasks.session import TradingSession, trading_session
from trading.checks import Check
from trading.identifiers import client_order_id
from trading.instruments import Side
from trading.market import Balance
from trading.money import ZERO, plain
from trading.orders import Order, OrderIntent, OrderType, State, TimeInForce
from trading.risk import Refused, assess
from trading.risk_facts import RungCap
from trading.stages import CHECKS, MINIMAL_ORDER

# Far enough from the market to rest, near enough for every venue's price band: half of our own collar.
_SHARE_OF_COLLAR = Decimal("0.5")
_CANCEL_ROUNDS = 5
_SETTLE_ROUNDS = 3

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Ready:
    books: Reconciliation
    market: MarketView
    intent: OrderIntent


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def try_minimal_order(exchange: ExchangeName) -> tuple[Check, ...]:
    """Place and take back the smallest order that the venue accepts; whatever happens, the order is cancelled."""
    here = trading_session(exchange)
    checks: list[Check] = []
    ready: list[_Ready] = []
    placed: list[Order] = []

    async def prepare() -> str:
        ready.append(await _prepare(here))
        intent = ready[0].intent
        return f"{plain(intent.quantity)} at {plain(intent.price or ZERO)}, books agree before"

    async def send() -> str:
        placed.append(await _send(here, ready[0]))
        return f"accepted as {placed[0].venue_order_id}"

    async def seen_open() -> str:
        return await _see_it_rest(here, placed[0])

    async def taken_back() -> str:
        return await _take_back(here, placed)

    async def as_before() -> str:
        return await _compare_balances(here, ready[0].books)

    try:
        for name, question in (
            ("prepare", prepare),
            ("place", send),
            ("seen open", seen_open),
            ("cancelled and gone", taken_back),
            ("balances as before", as_before),
        ):
            checks.append(await ask(name, question))
            if not checks[-1].passed:
                break
    finally:
        await see_through(_leave_nothing(here))
    return tuple(checks)


async def _leave_nothing(here: TradingSession) -> None:
    """Take back what still rests; an order of unknown outcome is looked for first, as no trader may come after us."""
    for _ in range(_SETTLE_ROUNDS):
        if not here.ledger.in_flight(here.desk.account, here.symbol):
            return
        await settle(here.desk, here.symbol)
    if here.ledger.in_flight(here.desk.account, here.symbol):
        log.critical("%s: an order may be left in the market: crypto-bot stop --exchange %s", here.name, here.name)


async def _prepare(here: TradingSession) -> _Ready:
    record = here.ledger.rung(here.account, here.symbol)
    now = here.clock.now()
    expect(
        record is not None and record.rung != CHECKS[0] and record.expires_at > now,
        f"read_only has not passed: run `crypto-bot check {here.name}` first",
    )
    here.learn_rights(await here.reader.key_rights())
    expect(not here.may_withdraw, WITHDRAWS)
    books = await reconcile(here.desk, here.symbol)
    expect(books.is_clean, "; ".join(str(each) for each in books.discrepancies) or "an order is not explained")
    market = await read_market.fn(here.name)
    expect(market.bid is not None, "the book has no bid")
    instrument = market.instrument
    offset = here.settings.risk.price_collar * _SHARE_OF_COLLAR
    price = instrument.passive_price(Side.BUY, (market.bid or ZERO) * (1 - offset))
    intent = OrderIntent(
        client_order_id=client_order_id(here.account, f"{MINIMAL_ORDER} {now.isoformat()}"),
        venue=here.name,
        symbol=here.symbol,
        side=Side.BUY,
        type=OrderType.LIMIT,
        quantity=instrument.smallest_quantity(price),
        price=price,
        time_in_force=TimeInForce.POST_ONLY if instrument.post_only else TimeInForce.GOOD_TILL_CANCELLED,
        decision_price=market.price or price,
        decided_at=now,
        reason="the smallest order, to see it rest and go",
    )
    return _Ready(books, market, intent)


async def _send(here: TradingSession, ready: _Ready) -> Order:
    market, intent = ready.market, ready.intent
    now = here.clock.now()
    standing = await account_standing(here.desk, market.instrument, market.price or ZERO, now)
    here.desk.running = here.running(await here.listed())
    cap = RungCap(MINIMAL_ORDER, here.symbol, intent.quantity, now + timedelta(minutes=10))
    collateral = await here.collateral(market.instrument)
    facts = risk_facts(here, here.desk, cap, ready.books, market, standing, collateral)
    verdict = assess(intent, facts, risk_limits(here.settings.risk, market.instrument.quote))
    if isinstance(verdict, Refused):
        raise NotAsExpected(f"refused by {verdict}")
    try:
        order = await place(here.desk, verdict, cycle_id=None, known_ids=ready.books.known_ids)
    except (PlacementHeld, CertificateRefused) as held:
        raise NotAsExpected(str(held)) from held
    expect(order.state is State.OPEN, f"{order.state}: {order.note}")
    return order


async def _see_it_rest(here: TradingSession, order: Order) -> str:
    resting = await here.reader.open_orders(here.symbol)
    mine = [each for each in resting if each.venue_order_id == order.venue_order_id]
    expect(bool(mine), f"order {order.venue_order_id} is not among the {len(resting)} open orders")
    seen = mine[0]
    expect(
        (seen.side, seen.quantity, seen.price) == (order.intent.side, order.intent.quantity, order.intent.price),
        f"it rests as {seen.side} {plain(seen.quantity)} at {plain(seen.price or ZERO)}",
    )
    return f"rests unfilled as {seen.side} {plain(seen.quantity)} at {plain(seen.price or ZERO)}"


async def _take_back(here: TradingSession, placed: list[Order]) -> str:
    for _ in range(_CANCEL_ROUNDS):
        placed.append(await cancel(here.desk, placed[-1]))
        if placed[-1].is_finished:
            break
    order = placed[-1]
    expect(order.state is State.CANCELLED and order.filled == 0, f"{order.state}, {plain(order.filled)} filled")
    resting = await here.reader.open_orders(here.symbol)
    expect(all(each.venue_order_id != order.venue_order_id for each in resting), "it is still listed as open")
    return "cancelled, nothing filled, no longer listed"


async def _compare_balances(here: TradingSession, before: Reconciliation) -> str:
    after = await reconcile(here.desk, here.symbol)
    expect(after.is_clean, "; ".join(str(each) for each in after.discrepancies) or "an order is not explained")
    expect(_free(after.balances) == _free(before.balances), "free balances differ from before")
    return "free and locked balances are what they were"


def _free(balances: Mapping[str, Balance]) -> dict[str, tuple[Decimal, Decimal]]:
    return {asset: (each.free, each.locked) for asset, each in balances.items() if each.total}
