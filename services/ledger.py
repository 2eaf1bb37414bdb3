"""The ledger: what we wanted, what we did, what came of it. One SQLAlchemy database, synchronous and small.

The intent is committed before anything is sent. Order events are append-only and hash-chained (each row holds the hash
of the row before it). One writer per account: every write of an intent checks the lease's fencing token in the same
transaction (`LeaseLost`). Amounts are stored as text, times as UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from trading.market import Balance
from trading.orders import Event, Fill, Order, OrderIntent


class LedgerUnavailable(Exception):
    """The database cannot be read or written now (locked, full disk, gone). Nothing may be sent."""


class LeaseLost(Exception):
    """Another process trades this account; this one must stop writing at once."""


@dataclass(frozen=True)
class Lease:
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
class RungRecord:
    """The certificate in force for an account and symbol: what it has earned, and until when."""

    account: str
    symbol: str
    rung: str
    max_quantity: Decimal  # base; the cap on order and position
    evidence: Mapping[str, Any]
    approved_by: str
    issued_at: datetime
    expires_at: datetime


class Ledger:
    """Reads and writes the ledger at `url`. Raises LedgerUnavailable when the database cannot answer."""

    def __init__(self, url: str) -> None: ...
    def close(self) -> None: ...

    # -- lease: one writer per account
    def take_lease(self, account: str, holder: str, now: datetime, seconds: float) -> Lease:
        """Raises LeaseLost, naming the holder, while another's lease runs."""
        ...
    def renew_lease(self, lease: Lease, now: datetime, seconds: float) -> None: ...
    def release_lease(self, lease: Lease) -> None: ...

    # -- orders
    def write_intent(self, intent: OrderIntent, lease: Lease, *, rung: str, cycle_id: str | None,
                     known_ids: frozenset[str], now: datetime) -> None:
        """Commit the intent (state INTENDED) before anything is sent; `known_ids` is the venue-id baseline for
        finding an order whose answer was lost. Raises LeaseLost."""
        ...
    def record(self, account: str, client_order_id: str, event: Event, now: datetime, *,
               venue_order_id: str | None = None, filled: Decimal | None = None, note: str = "") -> Order:
        """Append the event, move the order along the state table (`trading.orders.advance`) and return it.
        `filled` never decreases and never exceeds the quantity. Raises IllegalTransition."""
        ...
    def record_fills(self, account: str, fills: Sequence[Fill], now: datetime) -> tuple[Fill, ...]:
        """Store fills that are not yet known (by account, symbol and fill id) and return those; ties them to our
        order by venue order id where there is one."""
        ...
    def order(self, account: str, client_order_id: str) -> Order | None: ...
    def order_by_venue_id(self, account: str, venue_order_id: str) -> Order | None: ...
    def in_flight(self, account: str, symbol: str | None = None) -> tuple[Order, ...]: ...
    def known_ids(self, account: str, client_order_id: str) -> frozenset[str]:
        """The baseline stored with the intent, plus the venue ids of all our other orders."""
        ...
    def orders(self, account: str | None = None, symbol: str | None = None, *, since: datetime | None = None,
               limit: int | None = None) -> tuple[Order, ...]:
        """Newest first, each with its fills."""
        ...
    def fills(self, account: str, symbol: str | None = None, *, since: datetime | None = None,
              limit: int | None = None) -> tuple[Fill, ...]:
        """Oldest first."""
        ...
    def rung_of_order(self, account: str, client_order_id: str) -> str: ...

    # -- balances: an opening balance and what changed it explain every later one
    def set_opening(self, account: str, balances: Mapping[str, Decimal], now: datetime) -> None:
        """Totals by asset from which expected balances are counted; written once, by the first reconcile."""
        ...
    def opening(self, account: str) -> tuple[Mapping[str, Decimal], datetime] | None: ...
    def record_balances(self, account: str, balances: Mapping[str, Balance], now: datetime) -> None: ...
    def latest_balances(self, account: str) -> tuple[Mapping[str, Balance], datetime] | None: ...

    # -- cycles, rungs, kill switch
    def record_cycle(self, cycle: CycleRecord) -> None: ...
    def cycles(self, account: str, symbol: str | None = None, *, since: datetime | None = None,
               limit: int | None = None) -> tuple[CycleRecord, ...]:
        """Newest first."""
        ...
    def issue_rung(self, record: RungRecord) -> None: ...
    def rung(self, account: str, symbol: str) -> RungRecord | None:
        """The newest one, expired or not."""
        ...
    def rungs(self) -> tuple[RungRecord, ...]: ...
    def latch(self, account: str, reason: str, by: str, now: datetime) -> None:
        """Set the kill switch of an account, or of all ("*"). Latching a latched one keeps the first reason."""
        ...
    def rearm(self, account: str, by: str, reason: str, now: datetime) -> None: ...
    def latched(self, account: str) -> Latch | None:
        """The account's own latch or the one for all."""
        ...

    # -- proof
    def verify_chain(self) -> str | None:
        """None when every event hashes to what it says; else a sentence naming the first row that does not."""
        ...
