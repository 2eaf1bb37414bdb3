"""The ladder without Prefect: evidence from the ledger, certificates, a person's approval or demotion.

Everything that counts as evidence stands in the ledger. What Prefect remembers or has forgotten changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from config.errors import ConfigurationError
from config.guide import CERTIFICATE
from config.settings import Endpoint, ExchangeName, RungSettings, Settings
from execution.books import deposited, purse_of
from services.ledger import Ledger, RungMoved, RungRecord
from trading.approval import Answer, Proposal, refused_answer, still_counts
from trading.certificates import Fingerprint
from trading.money import ZERO
from trading.orders import Order, State
from trading.pnl import day_of
from trading.stages import (
    CHECKS,
    COMPATIBILITY,
    PAPER,
    RUNGS,
    Evidence,
    RungThresholds,
    Thresholds,
    missing_evidence,
    rung_left,
    rungs,
)

SELF_APPROVED = "simulated venue approves itself"
_P95 = 0.95
_ORDERS = 1000  # newest orders on the rung whose slippage is looked at


class NothingToApprove(Exception):
    """The rung cannot go up now, approved or not; the message says why."""


@dataclass(frozen=True)
class Place:
    """One exchange on its ladder, as the ledger knows it. `running` is what this process runs; `key_may_withdraw` what
    the venue has told it of its key, which stands in no ledger.
    """

    settings: Settings
    exchange: ExchangeName
    ledger: Ledger
    running: Fingerprint
    key_may_withdraw: bool = False

    @property
    def account(self) -> str:
        return self.settings.account(self.exchange)

    @property
    def symbol(self) -> str:
        return self.settings.symbol(self.exchange)

    @property
    def ladder(self) -> tuple[str, ...]:
        return rungs(self.settings.ladder.ramp_steps)

    @property
    def approves_itself(self) -> bool:
        return approves_itself(self.settings, self.exchange)

    def record(self) -> RungRecord | None:
        return self.ledger.rung(self.account, self.symbol)

    def next_rung(self, rung: str) -> str | None:
        """The rung above, None at the top."""
        above = self.ladder.index(rung) + 1
        return self.ladder[above] if above < len(self.ladder) else None

    def next_step(self, record: RungRecord, now: datetime) -> str | None:
        """The rung above; at the top the same again as soon as it may be renewed, None before, and for a ramp step that
        is no more: that one only goes down.
        """
        if record.rung not in self.ladder:
            return None
        renewed = record.rung if self.ends_soon(record, now) else None
        return self.next_rung(record.rung) or renewed

    def renewable_from(self, record: RungRecord) -> datetime:
        """When the certificate's last `ladder.renewal_days` begin."""
        return record.expires_at - timedelta(days=self.settings.ladder.renewal_days)

    def ends_soon(self, record: RungRecord, now: datetime) -> bool:
        return now >= self.renewable_from(record)


def approves_itself(settings: Settings, exchange: ExchangeName) -> bool:
    """Only what is simulated may go up without a person, and only where that is configured."""
    simulated = settings.exchanges[exchange].endpoint is Endpoint.SIMULATED
    return simulated and settings.ladder.simulated_approves_itself


def evidence_of(place: Place, record: RungRecord, now: datetime) -> Evidence:
    """What happened on the rung since its certificate was issued. Asks the ledger only."""
    ledger, symbol, since = place.ledger, place.symbol, record.issued_at
    account = f"{place.account}:{PAPER}" if record.rung == PAPER else place.account
    cycles = ledger.tally_cycles(account, symbol, since=since)
    # Those at the venue count on paper too: nothing goes up to real money over an order of unknown outcome.
    in_flight = [each for name in {account, place.account} for each in ledger.in_flight(name)]
    # A difference that was explained in a later cycle is no difference any more; a cycle that failed explains none.
    differences = len(cycles.newest_read.report["discrepancies"]) if cycles.newest_read is not None else 0
    purse = purse_of(ledger, account, symbol)
    return Evidence(
        # The checks below the last one lead to the next check, which must itself be passed.
        passed=record.rung == CHECKS[-1],
        seconds=(now - since).total_seconds(),
        cycles=cycles.cycles,
        failed_cycles=cycles.failed,
        fills=ledger.count_own_fills(account, symbol, since=since),
        unresolved=sum(each.state is State.UNKNOWN for each in in_flight),
        discrepancies=differences,
        breaches=_unanswered(record, cycles.breaches),
        latency_p95_ms=_p95(cycles.latencies_ms),
        slippage=slippage(ledger.orders(account, symbol, since=since, limit=_ORDERS)),
        drawdown=_deepest_fall(
            [each.equity for each in reversed(ledger.equity(account, purse, since=since))],
            deposited(ledger, account, purse),
        ),
        warnings=_warnings(place, account, record, now),
        changed=_changed(place, record),
        expired=now >= record.expires_at,
        ends_soon=place.ends_soon(record, now),
        before_issue=now < since,
        key_may_withdraw=place.key_may_withdraw,
        approval_needed=not place.approves_itself,
        approved_by=SELF_APPROVED if place.approves_itself else _approved_by(place, record, now),
    )


def _changed(place: Place, record: RungRecord) -> tuple[str, ...]:
    """Parts that differ from what was examined; one that this process has not read yet is judged when it has."""
    changed = Fingerprint.of(record.fingerprint).changed(place.running)
    return tuple(part for part in changed if getattr(place.running, part))


def _unanswered(record: RungRecord, breaches: Mapping[str, datetime]) -> tuple[str, ...]:
    """The broken rules that the fall to this very certificate has not answered yet: a day that is lost stays lost until
    it ends, a drawdown stays, and each costs one rung, not one a review.
    """
    answered = record.evidence.get("breaches", ())
    next_day = day_of(record.issued_at) + timedelta(days=1)

    def still_the_same(rule: str, newest: datetime) -> bool:
        return rule in answered and (rule == "drawdown" or (rule == "daily_loss" and newest < next_day))

    return tuple(rule for rule, newest in breaches.items() if not still_the_same(rule, newest))


def _warnings(place: Place, account: str, record: RungRecord, now: datetime) -> int:
    """What a person should have looked at, in the time that the rung takes at least: older causes have been found."""
    if record.rung in CHECKS:
        return 0
    window = timedelta(seconds=_of_rung(place.settings, record.rung).min_seconds)
    since = max(record.issued_at, now - window)
    return place.ledger.count_warnings(account, place.symbol, since=since) + place.ledger.count_latches(
        place.account, since=since
    )


def _approved_by(place: Place, record: RungRecord, now: datetime) -> str | None:
    approval, to = place.ledger.newest_approval(place.account, place.symbol), place.next_step(record, now)
    if approval is None or to is None:
        return None
    hours = place.settings.ladder.approval_hours
    return approval.by if still_counts(approval, record.number, to, now, hours) else None


def slippage(orders: Sequence[Order]) -> Decimal | None:
    """What the fills cost beyond the prices that were decided on, as a fraction; None without a fill."""
    paid = wanted = ZERO
    for order in orders:
        for fill in order.fills:
            decided = order.intent.decision_price * fill.quantity
            paid += (fill.price * fill.quantity - decided) * order.intent.side.sign
            wanted += decided
    return paid / wanted if wanted else None


def _p95(values: Sequence[float]) -> float | None:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(_P95 * len(ordered)))] if ordered else None


def _deepest_fall(equity: Sequence[Decimal], added: Decimal) -> Decimal:
    """The largest fall from the highest equity until then, as a fraction of that with what was deposited; oldest
    first.
    """
    deepest, peak = ZERO, equity[0] if equity else ZERO
    for worth in equity:
        peak = max(peak, worth)
        if peak + added > 0:
            deepest = max(deepest, (peak - worth) / (peak + added))
    return deepest


def thresholds_from(settings: Settings) -> Thresholds:
    """The rules in the words of trading/stages.py."""
    ladder = settings.ladder
    return Thresholds(_rules(ladder.paper), _rules(ladder.minimal), _rules(ladder.ramp), ladder.ramp_steps)


def _rules(configured: RungSettings) -> RungThresholds:
    return RungThresholds(**configured.model_dump(exclude={"max_orders_per_day"}))


def _of_rung(settings: Settings, rung: str) -> RungSettings:
    ladder = settings.ladder
    return ladder.paper if rung == PAPER else ladder.minimal if rung == RUNGS[-1] else ladder.ramp


def issue(
    place: Place,
    rung: str,
    cap: Decimal,
    shown: Mapping[str, object],
    approved_by: str,
    now: datetime,
    *,
    fallen: bool = False,
    follows: int | None = None,
    ends: datetime | None = None,
) -> RungRecord:
    """Put a certificate in force. Who has fallen to the first check gets one that is void: the check is passed anew.
    It ends after `ladder.certificate_days`, by `ends` at the latest.

    Raises RungMoved where the newest certificate is no longer `follows` (0: there was none; None: it may be any).
    """
    check = rung in CHECKS
    until = now if fallen and rung == COMPATIBILITY else now + timedelta(days=place.settings.ladder.certificate_days)
    record = RungRecord(
        account=place.account,
        symbol=place.symbol,
        rung=rung,
        max_quantity=cap,
        evidence=shown,
        approved_by=approved_by,
        issued_at=now,
        expires_at=until if ends is None else max(now, min(until, ends)),
        fingerprint=asdict(place.running),
        max_position=cap,
        max_orders_per_day=0 if check else _of_rung(place.settings, rung).max_orders_per_day,
    )
    return replace(record, number=place.ledger.issue_rung(record, follows=follows))


def carry_over(place: Place, proof: str, now: datetime) -> bool:
    """Put the certificate in force again for a rotated key; False where more than the key has changed, or nothing is in
    force. `proof` says how the new key was shown to open the same account.

    Rung, caps, times and evidence stay: code, strategy and account have earned them, and these are the same.
    """
    record = place.record()
    if record is None or now >= record.expires_at or _changed(place, record) != ("key",):
        return False
    rotated = {
        "from": record.fingerprint.get("key", ""),
        "to": place.running.key,
        "at": now.isoformat(),
        "proof": proof,
    }
    renewed = replace(
        record,
        fingerprint={**record.fingerprint, "key": place.running.key},
        evidence={**record.evidence, "key_rotated": rotated},
    )
    try:
        place.ledger.issue_rung(renewed, follows=record.number)
    except RungMoved:  # somebody has taken it down: what is in force now is judged for itself
        return carry_over(place, proof, now)
    return True


# -- a person's part


def propose(place: Place, now: datetime) -> Proposal:
    """Freeze the evidence for the next rung, or for renewing the top one, so that a person can approve it; the open
    proposal where there is one.

    Raises NothingToApprove while evidence is missing, at the top before it may be renewed, and where no approval is
    needed.
    """
    record = place.record()
    if record is None or record.rung in CHECKS:
        raise NothingToApprove(f"{place.exchange}: not on paper yet: run `crypto-bot check {place.exchange} --orders`")
    if record.rung not in place.ladder:
        raise NothingToApprove(
            f"{place.exchange}: ladder.ramp_steps has no {record.rung} any more: the next review takes the rung down"
        )
    to = place.next_step(record, now)
    if to is None:
        day = f"{place.renewable_from(record):%Y-%m-%d %H:%M}"
        raise NothingToApprove(
            f"{place.exchange}: {record.rung} is the top of the ladder, to be renewed from {day} UTC on"
        )
    if place.approves_itself:
        raise NothingToApprove(f"{place.exchange}: {SELF_APPROVED} (ladder.simulated_approves_itself)")
    evidence = _sound_evidence(place, record, now)
    told = asdict(evidence)
    return place.ledger.propose(
        place.account,
        place.symbol,
        certificate=record.number,
        rung=record.rung,
        to=to,
        shown=sentences(record.rung, evidence, thresholds_from(place.settings)),
        evidence={**told, "fingerprint": dict(record.fingerprint)},
        since=now - timedelta(hours=place.settings.ladder.approval_hours),
        now=now,
    )


def _sound_evidence(place: Place, record: RungRecord, now: datetime) -> Evidence:
    evidence = evidence_of(place, record, now)
    missing = missing_evidence(record.rung, evidence, thresholds_from(place.settings))
    if evidence.changed:
        missing = (*missing, f"changed since it was examined: {', '.join(evidence.changed)}")
    fault = place.ledger.verify_chain()
    if fault is not None:
        missing = (*missing, f"the ledger was edited: {fault}")
    if missing:
        raise NothingToApprove(f"{place.exchange} {record.rung}: {'; '.join(missing)}")
    return evidence


def answer_proposal(
    place: Place, proposal: Proposal, answer: Answer, *, secret: str, via: str, now: datetime
) -> str | None:
    """Judge a person's answer anew, write it into the ledger, and return why it approves nothing, or None.

    The evidence is asked again: what has been lost since it was shown is not approved.
    """
    record = place.record()
    if record is None or record.number != proposal.certificate:
        refused: str | None = "another certificate is in force than the one that was shown"
    else:
        hours = place.settings.ladder.approval_hours
        refusals = place.ledger.refusals(proposal)
        refused = refused_answer(proposal, answer, secret=secret, refusals=refusals, now=now, hours=hours)
        if refused is None:
            try:
                _sound_evidence(place, record, now)
            except NothingToApprove as lost:
                refused = str(lost)
    place.ledger.answer(proposal, answer, refused, via=via, now=now)
    return refused


def sentences(rung: str, evidence: Evidence, thresholds: Thresholds) -> tuple[str, ...]:
    """The evidence against what is needed, one sentence each."""
    if rung in CHECKS:
        return (f"{rung}: a check",)
    needed = thresholds.paper if rung == PAPER else thresholds.minimal if rung == RUNGS[-1] else thresholds.ramp
    latency, paid, slowest = evidence.latency_p95_ms, evidence.slippage, needed.max_latency_p95_ms
    return (
        _lasting(evidence.seconds, needed.min_seconds),
        f"{evidence.cycles} of {needed.min_cycles} cycles",
        f"{evidence.fills} of {needed.min_fills} fills",
        f"{evidence.failed_cycles} cycles failed, at most {needed.max_error_rate:%} may",
        f"p95 latency {'not known' if latency is None else f'{latency:g} ms'}, at most {slowest:g} ms",
        f"slippage {'no fill' if paid is None else f'{paid:.3%}'}, at most {needed.max_slippage or ZERO:.3%}",
        f"drawdown {evidence.drawdown:.2%}, at most {needed.max_drawdown or ZERO:.2%}",
        f"{evidence.warnings} warnings, at most {needed.max_warnings}",
        f"{evidence.unresolved} orders of unknown outcome, {evidence.discrepancies} differences in the books",
    )


def _lasting(seconds: float, needed: float) -> str:
    if needed < 3600:
        return f"{seconds:.0f} of {needed:.0f} seconds"
    return f"{seconds / 3600:.1f} of {needed / 3600:.1f} hours"


def demote(place: Place, to: str | None, by: str, reason: str, now: datetime) -> RungRecord:
    """Take a rung down in a person's name: to the one below, or to `to`. Raises ConfigurationError.

    The cap is the one that the lower rung had when it was last in force, or, where it never was, the one of the highest
    rung below it that was: nothing is asked of the venue.
    """
    record = place.record()
    if record is None:
        raise ConfigurationError(f"demote: {place.exchange} has no rung", section=CERTIFICATE)
    ladder = place.ladder
    left = rung_left(record.rung, ladder)
    at = ladder.index(left)
    target = to or (ladder[max(0, at - 1)] if left == record.rung else left)
    if target not in ladder or ladder.index(target) > at:
        below = ", ".join(ladder[: at + 1])
        raise ConfigurationError(f"demote: --to {target}: {place.exchange} is on {record.rung}; write one of {below}")
    caps: dict[str, Decimal] = {}
    for each in place.ledger.rung_history(place.account, place.symbol):
        caps.setdefault(each.rung, each.max_quantity)
    if target in (*CHECKS, PAPER):
        cap = caps.get(target, ZERO)  # paper is tried at the full size
    else:
        earned = [caps[each] for each in ladder[ladder.index(PAPER) + 1 : ladder.index(target) + 1] if each in caps]
        cap = min(earned[-1], record.max_quantity) if earned else ZERO
    unchanged = replace(place, running=Fingerprint.of(record.fingerprint))
    shown = {"reasons": [f"demoted by {by}: {reason}"], "from": record.rung}
    at_once = max(now, record.issued_at)
    # Who goes nowhere, or down from a certificate that has ended, gains no day by it.
    ends = record.expires_at if target == record.rung or at_once >= record.expires_at else None
    try:
        return issue(unchanged, target, cap, shown, by, at_once, fallen=True, follows=record.number, ends=ends)
    except RungMoved:  # it went down by itself: what was said is held against where it is now
        return demote(place, to, by, reason, now)
