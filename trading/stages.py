"""The ladder: which rung comes next, what must be shown on it, and what takes it down by itself.

    compatibility -> read_only -> minimal_order -> paper -> minimal -> ramp_25 -> ramp_50 -> ramp_100

Going up needs minimum time AND minimum trades AND clean books AND, for real money, a human. Going down needs nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from trading.instruments import Instrument
from trading.money import ZERO, plain

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
    ...


def cap_for(rung: str, target_quantity: Decimal, instrument: Instrument, price: Decimal) -> Decimal:
    """The largest order and position (base) that the rung allows; `target_quantity` is 100 % of the ramp.

    `minimal_order` is the smallest order the venue accepts; `minimal` the smallest that can also be sold again after
    fees, and no ramp step lies below it. Raises TargetTooSmall where the target itself lies below it, ValueError for
    an unknown rung.
    """
    ...
