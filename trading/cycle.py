"""What one trading cycle leaves behind: the line that a person reads and the row that the ladder counts."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True)
class CycleReport:
    """One cycle at one exchange. Times are market time (UTC); quantities base; money in the instrument's quote."""

    cycle_id: str
    exchange: str
    account: str
    symbol: str
    rung: str
    started_at: datetime
    finished_at: datetime
    price: Decimal | None
    target: Decimal | None  # fraction of the certified size
    reason: str
    refused: str  # "" or rule, limit and observed value
    breach: str  # the risk rule that takes the rung down, or ""
    order_state: str  # "" when none was sent
    order_filled: Decimal
    position: Decimal
    equity: Decimal | None
    profit: Decimal | None
    fees: Decimal | None
    unknown_orders: int
    discrepancies: tuple[str, ...]
    requests: int
    latency_p95_ms: float | None
    trading_state: str = ""  # active, reduce_only or halted, and why; "" where it was not judged
    venue_halt: str = ""  # why the venue has stopped trading; "" while it trades, and in a maintenance
    clock_skew_seconds: float | None = None  # ours minus the venue's; None: the venue tells no time
    budget_used: float | None = None  # share of our own requests a minute, by all processes of the account
    error: str = ""  # what ended the cycle before its time; what it had not read by then is None or zero

    @property
    def ok(self) -> bool:
        """Whether the cycle did its work with nothing left to explain; a refused order is work done."""
        return not (self.unknown_orders or self.discrepancies or self.error)
