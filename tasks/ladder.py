"""The ladder's doorway: let trading/stages judge the evidence of the ledger, and issue the certificate."""

import asyncio
import logging
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import Decimal

from prefect import task
from prefect.cache_policies import NO_CACHE

from config.settings import ExchangeName
from execution.ladder import Place, evidence_of, issue, thresholds_from
from execution.latch import set_latch
from services.ledger import RungMoved, RungRecord
from tasks.session import Session, TradingSession, session, trading_session
from trading.checks import StageReport
from trading.money import plain
from trading.stages import (
    CHECKS,
    COMPATIBILITY,
    PAPER,
    Halt,
    Hold,
    Promote,
    TargetTooSmall,
    Verdict,
    cap_for,
    judge,
    rung_in_force,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RungReview:
    """What a review of the ladder found and did, at one exchange. Times are market time, UTC."""

    exchange: ExchangeName
    symbol: str
    before: str
    after: str
    max_quantity: Decimal  # base
    verdict: str  # promote, renew, hold, demote, halt
    reasons: tuple[str, ...]
    reviewed_at: datetime


def place_of(here: Session) -> Place:
    """The session's exchange on its ladder."""
    return Place(here.settings, here.name, here.ledger, here.running(), here.may_withdraw)


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def grant_rung(exchange: ExchangeName, report: StageReport) -> str:
    """Issue the certificate of a check that passed, unless a higher one is in force; return the rung in force.

    A certificate that has expired, or was for something else than what runs now, is not in force.
    """
    here = session(exchange)
    here.running(await here.listed())
    place, now = place_of(here), here.clock.now()
    record = place.record()
    in_force = None if record is None else rung_in_force(record.rung, evidence_of(place, record, now), place.ladder)
    reached = -1 if in_force is None else place.ladder.index(in_force)
    # A rung is earned from the one below; a check that skips one is still worth its report.
    skips = place.ladder.index(report.stage) != reached + 1
    if not report.passed or skips or (place.key_may_withdraw and report.stage != COMPATIBILITY):
        return in_force or ""
    cap = await _cap(here, report.stage)
    shown = {check.name: check.detail for check in report.checks}
    try:
        issue(place, report.stage, cap, shown, "the check itself", now, follows=0 if record is None else record.number)
    except RungMoved as moved:  # taken down while the venue was asked: what the check began from is gone
        log.warning("%s: the check counts for nothing: %s", here.account, moved)
        return _named(place.record())
    return report.stage


def _named(record: RungRecord | None) -> str:
    return "" if record is None else record.rung


def rung_is_due(here: TradingSession) -> bool:
    """Whether a review now would move the rung; asks the ledger only."""
    place, now = place_of(here), here.clock.now()
    record = place.record()
    if record is None:
        return False
    return not isinstance(judge(record.rung, evidence_of(place, record, now), thresholds_from(here.settings)), Hold)


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def review_rung(exchange: ExchangeName) -> RungReview:
    """Judge the evidence since the certificate in force was issued; one verdict moves, renews or leaves it."""
    here = trading_session(exchange)
    here.running(await here.listed())
    await here.key_rights()
    place, now = place_of(here), here.clock.now()
    record = place.record()
    if record is None:
        return RungReview(exchange, here.symbol, "", "", Decimal(0), "hold", ("the checks have not passed yet",), now)
    before = record.rung
    evidence = evidence_of(place, record, now)
    verdict: Verdict = judge(before, evidence, thresholds_from(here.settings))
    # In a thread: with years of events it takes longer than an event loop may stand still.
    if isinstance(verdict, Promote) and (fault := await asyncio.to_thread(here.ledger.verify_chain)) is not None:
        verdict = judge(before, replace(evidence, ledger_fault=fault), thresholds_from(here.settings))
    if isinstance(verdict, Hold):
        return RungReview(exchange, here.symbol, before, before, record.max_quantity, "hold", verdict.reasons, now)
    if isinstance(verdict, Halt):
        set_latch(here.settings.home, here.ledger, here.account, "; ".join(verdict.reasons), "ladder", now)
    reasons = verdict.reasons
    try:
        cap = await _cap(here, verdict.to)
    except TargetTooSmall as error:
        if isinstance(verdict, Promote):
            return RungReview(exchange, here.symbol, before, before, record.max_quantity, "hold", (str(error),), now)
        # Down it goes all the same; what could not be sold again is not bought there either.
        cap, reasons = min(record.max_quantity, here.configured.target_quantity), (*reasons, str(error))
    if verdict.to in (*CHECKS, PAPER) and before not in (*CHECKS, PAPER):
        reasons += await _left_behind(here)
    approved_by = (evidence.approved_by if isinstance(verdict, Promote) else None) or "the evidence"
    shown = {**asdict(evidence), "reasons": list(reasons)}
    fallen = not isinstance(verdict, Promote)
    try:
        issue(place, verdict.to, cap, shown, approved_by, now, fallen=fallen, follows=record.number)
    except RungMoved as moved:  # a person's demotion came while the venue was asked, and holds
        newest = place.record() or record
        return RungReview(exchange, here.symbol, before, newest.rung, newest.max_quantity, "hold", (str(moved),), now)
    renewed = isinstance(verdict, Promote) and verdict.to == before
    told = "renew" if renewed else type(verdict).__name__.lower()
    return RungReview(exchange, here.symbol, before, verdict.to, cap, told, reasons, now)


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


async def _cap(here: Session, rung: str) -> Decimal:
    instrument = await here.reader.instrument(here.symbol)
    price = (await here.reader.ticker(here.symbol)).last
    return cap_for(rung, here.configured.target_quantity, instrument, price)
