"""What an account may do now, in one word and its cause: what `status` and the reports in Prefect's UI say."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from trading.risk import TradingState
from trading.stages import CHECKS


class AccountState(StrEnum):
    NORMAL = "NORMAL"
    REDUCE_ONLY = "REDUCE_ONLY"  # orders that only reduce the position may go out
    HALT = "HALT"  # nothing new may go out


@dataclass(frozen=True)
class Known:
    """What is known of one account without asking its venue. Times aware UTC."""

    kill_switch: str | None  # why and by whom
    rung: str | None
    expires_at: datetime | None  # of the certificate in force
    unknown_orders: int
    discrepancies: Sequence[str]  # in the newest cycle
    told: str  # `CycleReport.trading_state` of the newest cycle; "" where it was not judged
    to_run: str  # what a person runs where the checks have to be passed


def account_state(known: Known, now: datetime) -> tuple[AccountState, str]:
    """The state and its cause, "" for NORMAL; what a person must act on comes first."""
    halted = _halted(known, now)
    if halted:
        return AccountState.HALT, halted
    if known.told.startswith(TradingState.REDUCE_ONLY):
        return AccountState.REDUCE_ONLY, known.told.partition(": ")[2]
    return AccountState.NORMAL, ""


def _halted(known: Known, now: datetime) -> str:
    if known.kill_switch is not None:
        return f"kill switch: {known.kill_switch}"
    if known.rung is None:
        return f"no rung yet: {known.to_run}"
    if known.rung in CHECKS[:-1]:
        return f"on {known.rung}, the checks have to be passed: {known.to_run}"
    if known.expires_at is not None and now >= known.expires_at:
        return f"the certificate expired at {known.expires_at:%Y-%m-%d %H:%M} UTC: {known.to_run}"
    if known.unknown_orders:
        return f"{known.unknown_orders} orders of unknown outcome"
    if known.discrepancies:
        return f"the books do not add up: {known.discrepancies[0]}"
    if known.told.startswith(TradingState.HALTED):
        return known.told.partition(": ")[2]
    return ""
