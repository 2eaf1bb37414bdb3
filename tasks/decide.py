"""Decide what to do in one cycle: strategy, sizing, risk. The rules live in trading/; here they get their facts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import pandas
from prefect import task
from prefect.cache_policies import NO_CACHE

from config.settings import ExchangeName, RiskSettings
from execution.books import deposited, purse_of
from execution.desk import Desk
from execution.latch import kill_switch
from execution.reconcile import Reconciliation
from execution.tally import instrument_of
from services.ledger import Ledger, RungRecord
from tasks.market import MarketView
from tasks.session import TradingSession, trading_session
from trading.certificates import Fingerprint
from trading.identifiers import client_order_id
from trading.instruments import Instrument, Kind
from trading.maintenance import Maintenance, maintenance_near
from trading.market import Balance, Candle
from trading.money import ZERO
from trading.pnl import EquityPoint, Inventory, daily_loss, day_of, drawdown, start_of_day
from trading.risk import Approved, Refused, TradingState, assess, trading_state
from trading.risk_facts import RecentOrder, RiskFacts, RiskLimits, RungCap
from trading.sizing import NoOrder, Target, order_for
from trading.stages import CHECKS, concerning

_RECENT = 50  # orders that the rules about repetition look back on


@dataclass(frozen=True)
class Decision:
    """What one cycle decided. `verdict` is None when there was nothing to send, and `reason` says why."""

    target: Target | None
    verdict: Approved | Refused | None
    reason: str
    trading_state: str = ""  # active, reduce_only or halted, and why; "" where it was not judged


@dataclass(frozen=True)
class Standing:
    """What the account has made so far, in quote."""

    inventory: Inventory
    equity: Decimal
    daily_loss: Decimal
    drawdown: Decimal


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def decide(exchange: ExchangeName, cycle_id: str, books: Reconciliation, market: MarketView) -> Decision:
    """Turn candles and position into one approved order, one refused order, or none with its reason."""
    session = trading_session(exchange)
    rung = session.ledger.rung(session.account, session.symbol)
    if rung is None or rung.rung in CHECKS:
        return Decision(None, None, f"not on the ladder yet: run `crypto-bot check {exchange} --orders` first")
    if books.discrepancies or books.orphans:
        seen = "; ".join(str(each) for each in books.discrepancies) or f"{len(books.orphans)} orphans"
        return Decision(None, Refused("books", "0 differences", seen), "the books do not add up")
    if not market.candles or market.price is None:
        return Decision(None, None, "no closed candle to decide on")
    desk = session.desk_for(rung.rung)
    if books.account != desk.account:
        return Decision(None, None, f"the rung changed within the cycle: the books read are {books.account}'s")
    standing = await account_standing(desk, market.instrument, market.price, books.at)
    held = held_by_the_bot(standing.inventory, market.instrument, books.balances)
    target = session.strategy(_frame(market.candles), held / rung.max_quantity)
    limits = risk_limits(session.settings.risk, market.instrument.quote)
    execution = session.settings.execution
    collateral = await session.collateral(market.instrument)
    proposed = order_for(
        target,
        held=held,
        cap_quantity=rung.max_quantity,
        instrument=market.instrument,
        bid=market.bid,
        ask=market.ask,
        free={asset: balance.free for asset, balance in books.balances.items()},
        style=execution.order_style,
        slippage_limit=execution.slippage_limit,
        collateral=collateral,
        pending=sum((each.remaining * each.side.sign for each in books.open_orders), ZERO),
        max_notional=limits.max_order_notional,
    )
    if isinstance(proposed, NoOrder):
        facts = risk_facts(session, desk, None, books, market, standing, collateral)
        return Decision(target, None, proposed.reason, _in_words(trading_state(facts, limits)))
    intent = proposed.intent(
        client_order_id=client_order_id(desk.account, cycle_id),
        venue=session.name,
        symbol=session.symbol,
        decided_at=session.clock.now(),
    )
    if await session.key_rights() is None:
        return Decision(target, None, "the venue has not said yet what the key may do: nothing is placed")
    desk.running = session.running(await session.listed())
    cap = certified_cap(rung, desk.running)
    facts = risk_facts(session, desk, cap, books, market, standing, collateral)
    return Decision(target, assess(intent, facts, limits), proposed.reason, _in_words(trading_state(facts, limits)))


def _in_words(judged: tuple[TradingState, str]) -> str:
    state, why = judged
    return f"{state}: {why}" if why else str(state)


def certified_cap(record: RungRecord, running: Fingerprint) -> RungCap:
    """What a certificate allows to what runs here."""
    return RungCap(
        rung=record.rung,
        symbol=record.symbol,
        max_quantity=record.max_quantity,
        expires_at=record.expires_at,
        max_position=record.max_position,
        max_orders_per_day=record.max_orders_per_day,
        issued_at=record.issued_at,
        number=record.number,
        changed=concerning(record.rung, Fingerprint.of(record.fingerprint).changed(running)),
    )


def risk_facts(
    session: TradingSession,
    desk: Desk,
    rung: RungCap | None,
    books: Reconciliation,
    market: MarketView,
    standing: Standing,
    collateral: Decimal | None,
) -> RiskFacts:
    """Collect everything that a risk rule looks at."""
    ledger, symbol, now = session.ledger, session.symbol, session.clock.now()
    latch = kill_switch(session.settings.home, ledger, desk.account)
    recent = ledger.orders(desk.account, symbol, limit=_RECENT)
    return RiskFacts(
        now=now,
        kill_switch=None if latch is None else f"{latch.reason} (by {latch.by})",
        rung=rung,
        venue_trading=market.status.trading,
        venue_state=market.status.state,
        data_at=market.data_at,
        clock_skew_seconds=market.clock_skew_seconds,
        instrument=market.instrument,
        bid=market.bid,
        ask=market.ask,
        free={asset: balance.free for asset, balance in books.balances.items()},
        position_quantity=held_by_the_bot(standing.inventory, market.instrument, books.balances),
        daily_loss=standing.daily_loss,
        drawdown=standing.drawdown,
        orders_last_minute=ledger.count_orders(desk.account, since=now - timedelta(minutes=1)),
        orders_today=ledger.count_orders(desk.account, since=now - timedelta(days=1)),
        unknown_orders=len(books.unknown),
        open_orders=tuple(books.open_orders),
        recent=tuple(RecentOrder.of(order) for order in recent),
        collateral=collateral,
        maintenance=(*maintenance_near(session.name, now), *_announced(session)),
        rearmed_at=ledger.rearmed_at(desk.account.partition(":")[0]),
        key_may_withdraw=session.may_withdraw,
    )


def _announced(session: TradingSession) -> tuple[Maintenance, ...]:
    return tuple(Maintenance(each.starts_at, each.ends_at, each.why) for each in session.configured.maintenance)


async def account_standing(desk: Desk, instrument: Instrument, price: Decimal, now: datetime) -> Standing:
    """What the bot's own trades have made of the account's quote currency, with the base it holds valued at `price`.

    Coins that the account held before, or that a person bought, are left out: their rise and fall is not the bot's.
    """
    ledger, account = desk.ledger, desk.account
    desk.tally.take_in(ledger, account, await desk.exchange.instruments())
    inventory = desk.tally.inventory(instrument)
    purse = purse_of(ledger, account, instrument.symbol)
    worth = _capital(ledger, account, purse) + inventory.profit(price) + await _made_elsewhere(desk, instrument, purse)
    began = _start_of_day(desk, purse, now)
    # However long ago it was: a peak is not forgotten over a weekend off.
    peaks = [EquityPoint(point.at, point.peak) for point in ledger.equity(account, purse, limit=1)]
    fall = drawdown(peaks, worth, deposited(ledger, account, purse))
    return Standing(inventory, worth, daily_loss(began, now, worth), fall)


async def _made_elsewhere(desk: Desk, instrument: Instrument, purse: str) -> Decimal:
    """What other symbols that were traded from the same purse have brought in (quote); what is left of them at cost."""
    made, known = ZERO, await desk.exchange.instruments()
    for symbol in desk.tally.inventories:
        if symbol != instrument.symbol and purse_of(desk.ledger, desk.account, symbol) == purse:
            made += desk.tally.inventory(instrument_of(symbol, known)).realised
    return made


def _start_of_day(desk: Desk, purse: str, now: datetime) -> list[EquityPoint]:
    """The equity with which the UTC day of `now` began, if there is one. The ledger keeps a point a cycle: they are
    read once a day, or a cycle would cost more with each that went before.
    """
    day = day_of(now)
    known = desk.day_starts.get(purse)
    if known is None or known[0] != day:
        stored = desk.ledger.equity(desk.account, purse, since=day - timedelta(hours=1))
        start = start_of_day([EquityPoint(point.at, point.equity) for point in reversed(stored)], now)
        if start is None:
            return []
        known = desk.day_starts[purse] = (day, start)
    return [known[1]]


def _capital(ledger: Ledger, account: str, purse: str) -> Decimal:
    """What was in the purse when the account began."""
    told = ledger.opening(account)
    return told[0].get(purse, ZERO) if told is not None else ZERO


def held_by_the_bot(inventory: Inventory, instrument: Instrument, balances: Mapping[str, Balance]) -> Decimal:
    """The position (signed base) that is the bot's to trade: at a spot pair what its own orders left it with, and never
    more than the account still holds (a person may have sold it).
    """
    if instrument.kind is Kind.PERPETUAL:
        return inventory.quantity
    there = balances[instrument.base].total if instrument.base in balances else ZERO
    return min(inventory.quantity, there)


def _frame(candles: tuple[Candle, ...]) -> pandas.DataFrame:
    """Candles as strategies read them: signals, not money, so float64 will do."""
    columns = ("open", "high", "low", "close", "volume")
    rows = [[float(getattr(candle, column)) for column in columns] for candle in candles]
    index = pandas.DatetimeIndex([candle.opened_at for candle in candles], name="opened_at")
    return pandas.DataFrame(rows, columns=list(columns), index=index)


def risk_limits(risk: RiskSettings, quote: str) -> RiskLimits:
    """The bounds for one quote currency."""
    return RiskLimits(
        max_order_notional=risk.max_order_notional[quote],
        max_position_notional=risk.max_position_notional[quote],
        max_open_orders=risk.max_open_orders,
        max_orders_per_minute=risk.max_orders_per_minute,
        max_orders_per_day=risk.max_orders_per_day,
        max_daily_loss=risk.max_daily_loss[quote],
        max_drawdown=risk.max_drawdown,
        price_collar=risk.price_collar,
        max_data_age_seconds=risk.max_data_age_seconds,
        max_clock_skew_seconds=risk.max_clock_skew_seconds,
        duplicate_window_seconds=risk.duplicate_window_seconds,
        repeated_execution_limit=risk.repeated_execution_limit,
        refused_in_a_row_limit=risk.refused_in_a_row_limit,
    )
