"""Close the books of one cycle: what it did, what the account is worth now."""

import logging
from datetime import datetime

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from config.settings import ExchangeName
from execution.books import purse_of
from execution.reconcile import Reconciliation
from services.ledger import CycleRecord, LedgerUnavailable
from tasks.carry_out import Outcome
from tasks.decide import Decision, account_standing
from tasks.events import is_halted
from tasks.market import MarketView
from tasks.session import trading_session
from trading.cycle import CycleReport
from trading.money import ZERO
from trading.risk import Refused

log = logging.getLogger(__name__)

_P95 = 0.95


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def close_books(
    exchange: ExchangeName,
    cycle_id: str,
    started_at: datetime,
    books: Reconciliation,
    market: MarketView,
    decision: Decision,
    outcome: Outcome,
) -> CycleReport:
    """Value the account, store equity and the cycle's record, and return the report."""
    session = trading_session(exchange)
    ledger, now, instrument = session.ledger, session.clock.now(), market.instrument
    standing = None
    if market.price is not None:
        desk = session.paper_desk if books.account == session.paper_desk.account else session.desk
        standing = await account_standing(desk, instrument, market.price, now)
        ledger.record_equity(books.account, purse_of(ledger, books.account, session.symbol), standing.equity, now)
    rung = ledger.rung(session.account, session.symbol)
    refused = decision.verdict if isinstance(decision.verdict, Refused) else outcome.refused
    traffic = session.reader.traffic()
    order = outcome.order
    unknown = [each for each in ledger.in_flight(books.account, session.symbol) if each.state == "unknown"]
    report = CycleReport(
        cycle_id=cycle_id,
        exchange=exchange,
        account=books.account,
        symbol=session.symbol,
        rung=rung.rung if rung else "",
        started_at=started_at,
        finished_at=now,
        price=market.price,
        target=decision.target.fraction if decision.target else None,
        reason=outcome.note,
        refused=str(refused) if refused else "",
        breach=refused.rule if refused and refused.is_breach else "",
        order_state=order.state.value if order else "",
        order_filled=order.filled if order else ZERO,
        position=standing.inventory.quantity if standing else ZERO,
        equity=standing.equity if standing else None,
        profit=standing.inventory.profit(market.price) if standing and market.price else None,
        fees=standing.inventory.fees if standing else None,
        unknown_orders=len(unknown),
        discrepancies=tuple(str(each) for each in books.discrepancies)
        + tuple(f"orphan {each.venue_order_id}" for each in books.orphans),
        requests=traffic.requests,
        latency_p95_ms=percentile(traffic.latencies_ms, _P95),
        trading_state=decision.trading_state,
        venue_halt=market.status.state if is_halted(market.status) else "",
        clock_skew_seconds=market.clock_skew_seconds,
        budget_used=traffic.budget_used,
    )
    ledger.record_cycle(record_of(report, flow_run.get_id()))
    return report


def note_failed_cycle(exchange: ExchangeName, cycle_id: str, started_at: datetime, error: Exception) -> None:
    """Store the record of a cycle that ended early, so that the ladder counts it. Asks nothing of the venue, and raises
    nothing: the error itself goes on to the caller.
    """
    session = trading_session(exchange)
    ledger, now = session.ledger, session.clock.now()
    try:
        rung = ledger.rung(session.account, session.symbol)
        account = session.desk_for(rung.rung if rung else None).account
        in_flight = ledger.in_flight(account, session.symbol)
        report = CycleReport(
            cycle_id=cycle_id,
            exchange=exchange,
            account=account,
            symbol=session.symbol,
            rung=rung.rung if rung else "",
            started_at=started_at,
            finished_at=now,
            price=None,
            target=None,
            reason="the cycle failed",
            refused="",
            breach="",
            order_state="",
            order_filled=ZERO,
            position=ZERO,
            equity=None,
            profit=None,
            fees=None,
            unknown_orders=sum(order.state == "unknown" for order in in_flight),
            discrepancies=(),
            requests=session.reader.traffic().requests,
            latency_p95_ms=None,
            error=f"{type(error).__name__}: {error}",
        )
        ledger.record_cycle(record_of(report, flow_run.get_id()))
    except LedgerUnavailable as trouble:
        log.error("%s: the failed cycle %s could not be recorded: %s", exchange, cycle_id, trouble)


def record_of(report: CycleReport, flow_run_id: str | None) -> CycleRecord:
    """The report as the ledger keeps it."""
    told = {name: getattr(report, name) for name in CycleReport.__dataclass_fields__ if name not in _COLUMNS}
    return CycleRecord(
        cycle_id=report.cycle_id,
        account=report.account,
        symbol=report.symbol,
        rung=report.rung,
        started_at=report.started_at,
        finished_at=report.finished_at,
        ok=report.ok,
        flow_run_id=flow_run_id,
        report=told,
    )


_COLUMNS = frozenset({"cycle_id", "account", "symbol", "rung", "started_at", "finished_at"})


def percentile(values: tuple[float, ...], share: float) -> float | None:
    """The value below which `share` of the values lie (nearest rank); None for no values."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)
