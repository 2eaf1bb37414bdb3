"""The ladder: which rung comes next, what must be shown on it, and what takes it down by itself.

    compatibility -> read_only -> minimal_order -> paper -> minimal -> ramp_25 -> ramp_50 -> ramp_100

Going up needs minimum time AND minimum trades AND clean books AND, for real money, a human. So does staying at the
top when its certificate comes to its end: it is renewed by what was shown since it was issued. Going down needs
nobody: one rung for a broken rule, to paper for books that do not add up, to the rung that covers what has changed, to
a halt where nothing that the ledger says can be relied on (the kill switch).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from trading.instruments import Instrument
from trading.money import ZERO, amount, plain

COMPATIBILITY = "compatibility"
READ_ONLY = "read_only"
MINIMAL_ORDER = "minimal_order"
PAPER = "paper"
MINIMAL = "minimal"
# Rungs that are passed once, by a check; the others are lived on for a time.
CHECKS = (COMPATIBILITY, READ_ONLY, MINIMAL_ORDER)
# The rungs before the ramp, from the bottom.
RUNGS = (*CHECKS, PAPER, MINIMAL)
# The rung that looks at a part of the fingerprint (trading/certificates.py) again after it has changed. Another venue
# rule, library, code, adapter or key may break any request: everything is examined anew. Another strategy or limit
# breaks no request; what it does is seen on paper first.
COVERED_BY = {
    "instrument": COMPATIBILITY,
    "ccxt": COMPATIBILITY,
    "code": COMPATIBILITY,
    "adapter": COMPATIBILITY,
    "key": COMPATIBILITY,
    "strategy": PAPER,
    "limits": PAPER,
}


class TargetTooSmall(ValueError):
    """The configured target size could not be bought and sold again at this venue."""


@dataclass(frozen=True)
class RungThresholds:
    """What must be shown on a rung before the next one. Times in seconds of market time; None: not asked."""

    min_seconds: float
    min_cycles: int
    min_fills: int
    max_error_rate: Decimal  # failed cycles as a fraction of all
    max_latency_p95_ms: float | None = None  # of the requests of a cycle
    max_slippage: Decimal | None = None  # paid beyond the decision price, as a fraction of it
    max_drawdown: Decimal | None = None  # fall from the highest equity on the rung, as a fraction
    max_warnings: int | None = None  # refused by the venue, adopted, latched: what a person should have looked at


@dataclass(frozen=True)
class Thresholds:
    paper: RungThresholds
    minimal: RungThresholds
    ramp: RungThresholds
    ramp_steps: tuple[Decimal, ...] = (Decimal("0.25"), Decimal("0.5"), Decimal(1))


@dataclass(frozen=True)
class Evidence:
    """What happened on the rung since its certificate was issued."""

    passed: bool = False  # the check rungs: the check's own result
    seconds: float = 0  # market time on this rung
    cycles: int = 0
    failed_cycles: int = 0
    fills: int = 0
    unresolved: int = 0  # orders whose outcome is not proved
    discrepancies: int = 0  # orders, fills, balances or positions that do not add up
    breaches: tuple[str, ...] = ()  # names of the risk rules that were broken
    latency_p95_ms: float | None = None  # None: nothing was measured
    slippage: Decimal | None = None  # fraction beyond the decision price; negative: better
    drawdown: Decimal = ZERO  # fraction of the highest equity on the rung
    warnings: int = 0
    changed: tuple[str, ...] = ()  # parts of the fingerprint that are not what was examined
    expired: bool = False
    ends_soon: bool = False  # the certificate may be renewed, where there is no rung above
    before_issue: bool = False  # the clock is before the certificate's own time
    ledger_fault: str | None = None  # the first row of the ledger that is not what was written
    key_may_withdraw: bool = False  # as the venue says of the key in use
    approval_needed: bool = True  # real money: a named human; simulated venues may approve themselves
    approved_by: str | None = None


@dataclass(frozen=True)
class Promote:
    """Up one rung; at the top the same rung again."""

    to: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Hold:
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Demote:
    to: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Halt:
    """Set the kill switch, so that a named human looks first, and go down to the rung."""

    to: str
    reasons: tuple[str, ...]


Verdict = Promote | Hold | Demote | Halt


def rungs(ramp_steps: Sequence[Decimal]) -> tuple[str, ...]:
    """All rungs from the bottom, the ramp named after its steps: `ramp_25`, `ramp_50`, `ramp_100`."""
    return (*RUNGS, *(ramp_name(step) for step in ramp_steps))


def ramp_name(step: Decimal) -> str:
    """Name a ramp step (a fraction of the target size): 0.25 is `ramp_25`."""
    return f"ramp_{plain(step * 100)}"


def judge(rung: str, evidence: Evidence, thresholds: Thresholds) -> Verdict:
    """Say whether the rung goes up (at the top: is renewed), stays or goes down, and why. Raises ValueError for an
    unknown rung.
    """
    ladder = rungs(thresholds.ramp_steps)
    place = ladder.index(rung_left(rung, ladder))
    if evidence.ledger_fault is not None:
        # Nothing that the evidence says can be relied on.
        return Halt(ladder[min(place, ladder.index(PAPER))], (f"the ledger was edited: {evidence.ledger_fault}",))
    down = _down(ladder[place], evidence, ladder, thresholds)
    if rung not in ladder:
        further, why = (ladder[place], ()) if down is None else (down.to, down.reasons)
        return Demote(further, (f"ladder.ramp_steps has no {rung} any more", *why))
    if down is not None:
        return down
    if place == len(ladder) - 1 and not evidence.ends_soon:
        return Hold(("the top of the ladder",))
    missing = missing_evidence(rung, evidence, thresholds)
    if evidence.approval_needed and not evidence.approved_by and rung not in CHECKS:
        missing = (*missing, "a human's approval")
    if missing:
        return Hold(missing)
    return Promote(ladder[min(place + 1, len(ladder) - 1)], _shown(rung, evidence))


def missing_evidence(rung: str, evidence: Evidence, thresholds: Thresholds) -> tuple[str, ...]:
    """What the rung has not shown yet, a human's approval left out."""
    if rung in CHECKS:
        missing: tuple[str, ...] = () if evidence.passed else (f"the {rung} check has not passed",)
    else:
        missing = _missing(evidence, thresholds_of(rung, thresholds))
    if evidence.key_may_withdraw and rung != COMPATIBILITY:
        missing = (*missing, "a key that cannot withdraw")
    return (*missing, *_not_in_force(rung, evidence))


def concerning(rung: str, changed: Sequence[str]) -> tuple[str, ...]:
    """Those of the changed parts that a rung has examined: a strategy is not looked at below paper."""
    place = RUNGS.index(rung) if rung in RUNGS else len(RUNGS)
    return tuple(part for part in changed if RUNGS.index(COVERED_BY.get(part, RUNGS[0])) <= place)


def rung_covering(changed: Sequence[str], ladder: Sequence[str]) -> str:
    """The lowest of the rungs that look at the changed parts; a part that nobody knows starts at the bottom."""
    return ladder[min((ladder.index(COVERED_BY.get(part, ladder[0])) for part in changed), default=len(ladder) - 1)]


def rung_left(rung: str, ladder: Sequence[str]) -> str:
    """The rung itself, or the next lower one where it was a ramp step that the configuration has no more. Raises
    ValueError for what never was a rung.
    """
    if rung in ladder:
        return rung
    step = _step_of(rung)
    return [MINIMAL, *(each for each in ladder[len(RUNGS) :] if _step_of(each) < step)][-1]


def rung_in_force(rung: str, evidence: Evidence, ladder: Sequence[str]) -> str | None:
    """The rung that still stands when expiry and changes are counted in; None: begin with the first check."""
    if evidence.expired or evidence.before_issue:
        return None
    changed = concerning(rung, evidence.changed)
    if not changed:
        return rung_left(rung, ladder)
    covering = rung_covering(changed, ladder)
    # The first check must itself be passed anew; paper is lived on anew.
    return None if covering == ladder[0] else covering


def _not_in_force(rung: str, evidence: Evidence) -> tuple[str, ...]:
    """Why a certificate does not count now, where there is no rung below to fall to."""
    expired = ("the certificate has expired",) if evidence.expired else ()
    examined_here = concerning(rung, evidence.changed) if rung == RUNGS[0] else ()
    changed = (_told(examined_here),) if examined_here else ()
    early = ("the clock is before the certificate's own time",) if evidence.before_issue else ()
    return (*expired, *changed, *early)


def _told(changed: Sequence[str]) -> str:
    return f"changed since it was examined: {', '.join(changed)}"


def _down(rung: str, evidence: Evidence, ladder: Sequence[str], thresholds: Thresholds) -> Demote | None:
    """Books that do not add up stop real money; what was not examined starts anew; a breach costs one
    rung."""
    place = ladder.index(rung)
    falls: list[tuple[int, str]] = []
    changed = concerning(rung, evidence.changed)
    if changed and (covering := rung_covering(changed, ladder)) != rung:
        falls.append((ladder.index(covering), _told(changed)))
    if evidence.expired:
        falls.append((0, "the certificate has expired"))
    if evidence.unresolved:
        falls.append((ladder.index(PAPER), f"{evidence.unresolved} orders of unknown outcome"))
    if evidence.discrepancies:
        falls.append((ladder.index(PAPER), f"{evidence.discrepancies} differences between ledger and venue"))
    falls.extend((max(0, place - 1), f"broke {rule}") for rule in evidence.breaches)
    if rung not in CHECKS:
        most = thresholds_of(rung, thresholds).max_drawdown
        if most is not None and evidence.drawdown > most:
            falls.append((max(len(CHECKS), place - 1), _too_deep(evidence.drawdown, most)))
    falls = [(to, why) for to, why in falls if to < place]
    if not falls:
        # What is to be looked at on this very rung begins on it anew; the first check begins by being passed.
        return Demote(rung, (_told(changed),)) if changed and place > 0 else None
    return Demote(ladder[min(to for to, _ in falls)], tuple(why for _, why in falls))


def _too_deep(drawdown: Decimal, most: Decimal) -> str:
    return f"drawdown {_percent(drawdown)} of at most {_percent(most)}"


def _percent(fraction: Decimal) -> str:
    return f"{plain((fraction * 100).quantize(Decimal('0.001')))} %"


def thresholds_of(rung: str, thresholds: Thresholds) -> RungThresholds:
    """What must be shown on a rung that is lived on for a time."""
    if rung == PAPER:
        return thresholds.paper
    return thresholds.minimal if rung == MINIMAL else thresholds.ramp


def _missing(evidence: Evidence, needed: RungThresholds) -> tuple[str, ...]:
    missing = []
    if evidence.seconds < needed.min_seconds:
        missing.append(f"{evidence.seconds:g} of {needed.min_seconds:g} s")
    if evidence.cycles < needed.min_cycles:
        missing.append(f"{evidence.cycles} of {needed.min_cycles} cycles")
    if evidence.fills < needed.min_fills:
        missing.append(f"{evidence.fills} of {needed.min_fills} fills")
    if evidence.failed_cycles > needed.max_error_rate * evidence.cycles:
        missing.append(f"{evidence.failed_cycles} of {evidence.cycles} cycles failed")
    if evidence.unresolved:
        missing.append(f"{evidence.unresolved} orders of unknown outcome")
    if evidence.discrepancies:
        missing.append(f"{evidence.discrepancies} differences between ledger and venue")
    missing.extend(f"broke {rule}" for rule in evidence.breaches)
    missing.extend(_quality(evidence, needed))
    return tuple(missing)


def _quality(evidence: Evidence, needed: RungThresholds) -> list[str]:
    """How well it went: what is worse than allowed."""
    worse = []
    latency, slippage = evidence.latency_p95_ms, evidence.slippage
    if needed.max_latency_p95_ms is not None and latency is not None and latency > needed.max_latency_p95_ms:
        worse.append(f"p95 latency {latency:g} of at most {needed.max_latency_p95_ms:g} ms")
    if needed.max_slippage is not None and slippage is not None and slippage > needed.max_slippage:
        worse.append(f"slippage {_percent(slippage)} of at most {_percent(needed.max_slippage)}")
    if needed.max_drawdown is not None and evidence.drawdown > needed.max_drawdown:
        worse.append(_too_deep(evidence.drawdown, needed.max_drawdown))
    if needed.max_warnings is not None and evidence.warnings > needed.max_warnings:
        worse.append(f"{evidence.warnings} warnings of at most {needed.max_warnings}")
    return worse


def _shown(rung: str, evidence: Evidence) -> tuple[str, ...]:
    if rung in CHECKS:
        return (f"the {rung} check passed",)
    approved = (f"approved by {evidence.approved_by}",) if evidence.approved_by else ()
    return (
        f"{_time(evidence.seconds)} on {rung}",
        f"{evidence.cycles} cycles, {evidence.failed_cycles} failed",
        f"{evidence.fills} fills",
        "no open question between ledger and venue",
        *approved,
    )


def _time(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def cap_for(rung: str, target_quantity: Decimal, instrument: Instrument, price: Decimal) -> Decimal:
    """The largest order and position (base) that the rung allows; `target_quantity` is 100 % of the ramp.

    `minimal_order` is the smallest order the venue accepts; `minimal` the smallest that can also be sold
    again after fees, and no ramp step lies below it. Paper trades at the full target. Raises TargetTooSmall
    where the target itself lies below `minimal`, ValueError for an unknown rung.
    """
    if rung in (COMPATIBILITY, READ_ONLY):
        return ZERO
    if rung == MINIMAL_ORDER:
        return instrument.smallest_quantity(price)
    least = instrument.round_trip_quantity(price)
    full = instrument.floor_quantity(target_quantity)
    if full < least:
        raise TargetTooSmall(
            f"{instrument.venue} {instrument.symbol}: target_quantity {plain(target_quantity)} could not be "
            f"bought and sold again; set at least {plain(least)} {instrument.base}"
        )
    if rung == PAPER:
        return full
    if rung == MINIMAL:
        return least
    return min(full, max(least, instrument.floor_quantity(full * _step_of(rung))))


def _step_of(rung: str) -> Decimal:
    name, _, percent = rung.partition("_")
    if name != "ramp" or not percent.replace(".", "", 1).isdigit():
        raise ValueError(f"unknown rung {rung!r}")
    return amount(percent) / 100
