"""How faults are set: by the control side, and by `--fault` at start."""

import re
from dataclasses import dataclass

from simvenue.answer_faults import ANSWER_FAULTS, ANSWERS_NOT_APPLICABLE, check_answer_fault
from simvenue.market_faults import MARKET_FAULTS
from simvenue.order_faults import NOT_APPLICABLE as ORDERS_NOT_APPLICABLE
from simvenue.order_faults import ORDER_FAULTS
from simvenue.venue import FAULT_NAMES, Venue

# one sentence for each fault that a venue knows
FAULT_SENTENCES: dict[str, str] = {**ANSWER_FAULTS, **ORDER_FAULTS, **MARKET_FAULTS}
# (fault, exchange) -> why the venue has no such thing
NOT_APPLICABLE: dict[tuple[str, str], str] = {**ANSWERS_NOT_APPLICABLE, **ORDERS_NOT_APPLICABLE}
# lazily, so that ack_500x2 is ack_500, two times
_WRITTEN = re.compile(r"(?P<name>\w+?)(?:=(?P<value>[^@]*?))?(?:@(?P<match>\w+?))?(?:x(?P<times>\d+))?", re.ASCII)


@dataclass(frozen=True)
class FaultSetting:
    """One fault as asked for. `times` None: until it is cleared; `match` "": where it strikes by itself."""

    name: str
    value: str = ""
    times: int | None = None
    match: str = ""


def read_fault(text: str) -> FaultSetting:
    """Read `NAME[=VALUE][@OPERATION][xTIMES]`. Raises ValueError, one line, for what is not written so."""
    written = _WRITTEN.fullmatch(text)
    if written is None:
        raise ValueError(f"a fault is written NAME[=VALUE][@OPERATION][xTIMES], not {text[:80]!r}")
    times = written["times"]
    return FaultSetting(
        written["name"], written["value"] or "", int(times[:9]) if times is not None else None, written["match"] or ""
    )


def set_fault(venue: Venue, asked: FaultSetting) -> None:
    """Set a fault from now on. Raises ValueError, one line: no such name, value, operation or number of times."""
    if asked.name in ANSWER_FAULTS:
        check_answer_fault(asked.name, asked.value, asked.match)
    venue.faults.set(asked.name, asked.value, asked.times, asked.match, venue.now_ms())


def known_faults() -> dict[str, str]:
    """Give every fault that can be set, with one sentence on what it does."""
    return {name: FAULT_SENTENCES[name] for name in FAULT_NAMES}


def not_applicable(exchange: str) -> dict[str, str]:
    """Give the faults that change nothing at this venue, with the reason."""
    return {name: why for (name, venue), why in NOT_APPLICABLE.items() if venue == exchange}
