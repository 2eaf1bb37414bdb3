"""The ladder: which rung comes next, what must be shown on it, and what takes it down by itself.

    compatibility -> read_only -> minimal_order -> paper -> minimal -> ramp_25 -> ramp_50 -> ramp_100

Going up needs minimum time AND minimum trades AND clean books AND, for real money, a human. Going down needs
nobody.
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


class TargetTooSmall(ValueError):
    """The configured target size could not be bought and sold again at this venue."""


@dataclass(frozen=True)
class RungThresholds:
    """What must be shown on a rung before the next one. Times in seconds of market time."""

    min_seconds: float
    min_cycles: int
    min_fills: int
    max_error_rate: Decimal  # failed cycles as a fraction of all


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
    fingerprint_matches: bool = True  # what runs is what was examined
    expired: bool = False
    approval_needed: bool = True  # real money: a named human; simulated venues may approve themselves
    approved_by: str | None = None


@dataclass(frozen=True)
class Promote:
    to: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Hold:
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Demote:
    to: str
    reasons: tuple[str, ...]


def rungs(ramp_steps: Sequence[Decimal]) -> tuple[str, ...]:
    """All rungs from the bottom, the ramp named after its steps: `ramp_25`, `ramp_50`, `ramp_100`."""
    return (*RUNGS, *(ramp_name(step) for step in ramp_steps))


def ramp_name(step: Decimal) -> str:
    """Name a ramp step (a fraction of the target size): 0.25 is `ramp_25`."""
    return f"ramp_{plain(step * 100)}"


def judge(rung: str, evidence: Evidence, thresholds: Thresholds) -> Promote | Hold | Demote:
    """Say whether the rung goes up, stays or goes down, and why. Raises ValueError for an unknown rung."""
    ladder = rungs(thresholds.ramp_steps)
    if rung not in ladder:
        raise ValueError(f"unknown rung {rung!r}; the rungs are {', '.join(ladder)}")
    down = _down(rung, evidence, ladder)
    if down is not None:
        return down
    missing: tuple[str, ...]
    if rung in CHECKS:
        missing = () if evidence.passed else (f"the {rung} check has not passed",)
    else:
        missing = _missing(evidence, _thresholds_of(rung, thresholds))
    place = ladder.index(rung)
    if place == len(ladder) - 1:
        return Hold(("the top of the ladder",))
    if evidence.approval_needed and not evidence.approved_by and rung not in CHECKS:
        missing = (*missing, "a human's approval")
    if missing:
        return Hold(missing)
    return Promote(ladder[place + 1], _shown(rung, evidence))


def _down(rung: str, evidence: Evidence, ladder: Sequence[str]) -> Demote | None:
    """Books that do not add up stop real money; what was not examined starts anew; a breach costs one
    rung."""
    place = ladder.index(rung)
    falls: list[tuple[int, str]] = []
    if not evidence.fingerprint_matches:
        falls.append((0, "what runs is not what was examined"))
    if evidence.expired:
        falls.append((0, "the certificate has expired"))
    if evidence.unresolved:
        falls.append((ladder.index(PAPER), f"{evidence.unresolved} orders of unknown outcome"))
    if evidence.discrepancies:
        falls.append((ladder.index(PAPER), f"{evidence.discrepancies} differences between ledger and venue"))
    falls.extend((max(0, place - 1), f"broke {rule}") for rule in evidence.breaches)
    falls = [(to, why) for to, why in falls if to < place]
    if not falls:
        return None
    return Demote(ladder[min(to for to, _ in falls)], tuple(why for _, why in falls))


def _thresholds_of(rung: str, thresholds: Thresholds) -> RungThresholds:
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
    return tuple(missing)


def _shown(rung: str, evidence: Evidence) -> tuple[str, ...]:
    if rung in CHECKS:
        return (f"the {rung} check passed",)
    approved = (f"approved by {evidence.approved_by}",) if evidence.approved_by else ()
    return (
        f"{evidence.seconds:g} s on {rung}",
        f"{evidence.cycles} cycles, {evidence.failed_cycles} failed",
        f"{evidence.fills} fills",
        "no open question between ledger and venue",
        *approved,
    )


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
