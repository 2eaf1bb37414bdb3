"""The ladder's doorway: collect evidence from the ledger, let trading/stages judge, issue the certificate."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from prefect import task
from prefect.cache_policies import NO_CACHE

from config.settings import ExchangeName, RungSettings
from services.ledger import RungRecord
from tasks.session import Session, TradingSession, session, trading_session
from trading.checks import StageReport
from trading.money import plain
from trading.orders import State
from trading.stages import (
    CHECKS,
    PAPER,
    Evidence,
    Hold,
    Promote,
    RungThresholds,
    TargetTooSmall,
    Thresholds,
    cap_for,
    judge,
    rungs,
)

log = logging.getLogger(__name__)

_SELF_APPROVED = "simulated venue approves itself"


@dataclass(frozen=True)
class RungReview:
    """What a review of the ladder found and did, at one exchange. Times are market time, UTC."""

    exchange: ExchangeName
    symbol: str
    before: str
    after: str
    max_quantity: Decimal  # base
    verdict: str  # promote, hold, demote
    reasons: tuple[str, ...]
    reviewed_at: datetime


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def grant_rung(exchange: ExchangeName, report: StageReport) -> str:
    """Issue the certificate of a check that passed, unless a higher one is in force; return the rung in force."""
    here = session(exchange)
    ladder = rungs(here.settings.ladder.ramp_steps)
    record = here.ledger.rung(here.account, here.symbol)
    now = here.clock.now()
    in_force = record is not None and record.expires_at > now
    reached = ladder.index(record.rung) if record is not None and in_force else -1
    if not report.passed or reached >= ladder.index(report.stage):
        return record.rung if record is not None and in_force else ""
    if ladder.index(report.stage) > reached + 1:
        # A rung is earned from the one below; the check itself is still worth its report.
        return record.rung if record is not None and in_force else ""
    cap = await _cap(here, report.stage)
    shown = {check.name: check.detail for check in report.checks}
    _issue(here, report.stage, cap, shown, "the check itself", now)
    return report.stage


def rung_is_due(here: TradingSession) -> bool:
    """Whether a review now would move the rung; asks the ledger only."""
    record = here.ledger.rung(here.account, here.symbol)
    if record is None:
        return False
    return not isinstance(judge(record.rung, _evidence(here, record, here.clock.now()), _thresholds(here)), Hold)


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def review_rung(exchange: ExchangeName) -> RungReview:
    """Judge the evidence since the certificate in force was issued; promote, hold or demote by one verdict."""
    here = trading_session(exchange)
    now = here.clock.now()
    record = here.ledger.rung(here.account, here.symbol)
    before = record.rung if record is not None else ""
    if record is None:
        return RungReview(exchange, here.symbol, "", "", Decimal(0), "hold", ("the checks have not passed yet",), now)
    evidence = _evidence(here, record, now)
    verdict = judge(record.rung, evidence, _thresholds(here))
    if isinstance(verdict, Hold):
        return RungReview(exchange, here.symbol, before, before, record.max_quantity, "hold", verdict.reasons, now)
    try:
        cap = await _cap(here, verdict.to)
    except TargetTooSmall as error:
        return RungReview(exchange, here.symbol, before, before, record.max_quantity, "hold", (str(error),), now)
    reasons = verdict.reasons
    if verdict.to in (*CHECKS, PAPER) and record.rung not in (*CHECKS, PAPER):
        reasons += await _left_behind(here)
    shown = {**asdict(evidence), "reasons": list(reasons)}
    _issue(here, verdict.to, cap, shown, evidence.approved_by or "the evidence", now)
    return RungReview(
        exchange,
        here.symbol,
        before,
        verdict.to,
        cap,
        "promote" if isinstance(verdict, Promote) else "demote",
        reasons,
        now,
    )


async def _left_behind(here: TradingSession) -> tuple[str, ...]:
    """What is held at the venue when its rung goes down to where nothing trades there: a person must look after it."""
    here.desk.tally.take_in(here.ledger, here.desk.account, await here.desk.exchange.instruments())
    instrument = await here.desk.exchange.instrument(here.symbol)
    held = here.desk.tally.inventory(instrument).quantity
    if held == 0:
        return ()
    told = f"{plain(held)} {instrument.base} stay in the account and nothing trades them now: sell or keep them by hand"
    log.warning("%s: %s", here.account, told)
    return (told,)


def _evidence(here: TradingSession, record: RungRecord, now: datetime) -> Evidence:
    account = here.desk_for(record.rung).account
    cycles = here.ledger.tally_cycles(account, here.symbol, since=record.issued_at)
    # Those at the venue count on paper too: nothing goes up to real money over an order of unknown outcome.
    in_flight = [each for name in {account, here.account} for each in here.ledger.in_flight(name)]
    # A difference that was explained in a later cycle is no difference any more; a cycle that failed explains none.
    differences = len(cycles.newest_read.report["discrepancies"]) if cycles.newest_read is not None else 0
    own = here.is_simulated and here.settings.ladder.simulated_approves_itself
    return Evidence(
        # The checks below the last one lead to the next check, which must itself be passed (grant_rung).
        passed=record.rung == CHECKS[-1],
        seconds=(now - record.issued_at).total_seconds(),
        cycles=cycles.cycles,
        failed_cycles=cycles.failed,
        fills=here.ledger.count_own_fills(account, here.symbol, since=record.issued_at),
        unresolved=sum(each.state is State.UNKNOWN for each in in_flight),
        discrepancies=differences,
        breaches=cycles.breaches,
        expired=now >= record.expires_at,
        approval_needed=not own,
        approved_by=_SELF_APPROVED if own else None,
    )


async def _cap(here: Session, rung: str) -> Decimal:
    instrument = await here.reader.instrument(here.symbol)
    price = (await here.reader.ticker(here.symbol)).last
    return cap_for(rung, here.configured.target_quantity, instrument, price)


def _issue(
    here: Session, rung: str, cap: Decimal, shown: Mapping[str, object], approved_by: str, now: datetime
) -> None:
    here.ledger.issue_rung(
        RungRecord(
            account=here.account,
            symbol=here.symbol,
            rung=rung,
            max_quantity=cap,
            evidence=shown,
            approved_by=approved_by,
            issued_at=now,
            expires_at=now + timedelta(days=here.settings.ladder.certificate_days),
        )
    )


def _thresholds(here: Session) -> Thresholds:
    ladder = here.settings.ladder
    return Thresholds(
        paper=_rung_thresholds(ladder.paper),
        minimal=_rung_thresholds(ladder.minimal),
        ramp=_rung_thresholds(ladder.ramp),
        ramp_steps=ladder.ramp_steps,
    )


def _rung_thresholds(configured: RungSettings) -> RungThresholds:
    return RungThresholds(
        configured.min_seconds, configured.min_cycles, configured.min_fills, configured.max_error_rate
    )
