"""The values that go into the ledger and come out of it, and what can go wrong there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from trading.orders import Fill
from trading.risk import Refused


class LedgerUnavailable(Exception):
    """The database cannot be read or written now (locked, full disk, gone). Nothing may be sent."""


class LedgerConflict(Exception):
    """What is to be written contradicts what the ledger holds: a defect of ours, or a case for a human."""


class LeaseLost(Exception):
    """Another process trades this account; this one must stop writing at once."""


class CertificateRefused(Exception):
    """No valid certificate covers the order; nothing was written. `refused` holds rule, limit and observed."""

    def __init__(self, account: str, refused: Refused) -> None:
        self.refused = refused
        super().__init__(f"{account}: refused by {refused}")


class RungMoved(Exception):
    """Another certificate was put in force since the one that a decision went by; nothing was written."""


@dataclass(frozen=True)
class Lease:
    """The right to write intents for one account; `token` grows with every change of hands."""

    account: str
    holder: str
    token: int


@dataclass(frozen=True)
class Latch:
    """The kill switch of one account, or of all (`account` "*")."""

    account: str
    reason: str
    by: str
    at: datetime


@dataclass(frozen=True)
class CycleRecord:
    """One trading cycle's report as stored."""

    cycle_id: str
    account: str
    symbol: str
    rung: str
    started_at: datetime
    finished_at: datetime
    ok: bool
    flow_run_id: str | None
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CycleTally:
    """What the cycles since a time come to. `newest_read`: the newest that did not end before its time.

    `cycles` leaves out those that began before an earlier one (the clock went back): they prove nothing. Bad news
    counts wherever it stands.
    """

    cycles: int
    failed: int
    breaches: Mapping[str, datetime]  # rule -> when the newest cycle that broke it began
    newest_read: CycleRecord | None
    latencies_ms: tuple[float, ...] = ()  # p95 of each of the newest cycles


@dataclass(frozen=True)
class StoredFill:
    """A fill with its row, which grows in the order of storing, and whether an order of ours made it."""

    row: int
    fill: Fill
    ours: bool


@dataclass(frozen=True)
class RungRecord:
    """A certificate of an account and symbol: what it has earned, what was examined, and until when."""

    account: str
    symbol: str
    rung: str
    max_quantity: Decimal  # base; the cap on one order
    evidence: Mapping[str, Any]
    approved_by: str
    issued_at: datetime
    expires_at: datetime
    fingerprint: Mapping[str, str] = field(default_factory=dict)  # part -> what was examined
    max_position: Decimal | None = None  # base; None: as one order
    max_orders_per_day: int | None = None  # None: no bound of its own
    number: int = field(default=0, compare=False)  # its event in the chain; 0: not issued yet


@dataclass(frozen=True)
class Adjustment:
    """A change of a balance that no fill explains and a named person answers for: a deposit, a withdrawal."""

    account: str
    asset: str
    change: Decimal  # signed
    by: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class EquityPoint:
    """The worth of an account in one quote currency at one moment, and its highest worth until then."""

    at: datetime
    equity: Decimal
    peak: Decimal
