"""The ledger: what we wanted, what we did, what came of it. One SQLAlchemy database, synchronous and small.

The intent is committed before anything is sent. Events are append-only and hash-chained (each row holds the
hash of the row before it). One writer per account: every write of an intent checks the lease's fencing token
in the same transaction (`LeaseLost`). Amounts are stored as text, times as UTC; every time is given by the
caller.

    ledger.py            this door
    ledger_leases.py     one writer per account
    ledger_orders.py     intents, order events, fills: what is written of them
    ledger_history.py    and what is read of before
    ledger_rows.py       an order and a fill as rows
    ledger_certificates.py  may this intent be written? Asked in the same transaction
    ledger_accounts.py   balances, equity, cycles, rungs, kill switch
    ledger_approvals.py  what a person was shown and has approved
    ledger_upkeep.py     the chain's head and counts; restores; venue snapshots; heartbeats
    ledger_copies.py     the whole ledger, copied while it is written
    ledger_proof.py      does every row say what its events say?
    ledger_chain.py      the events and their hashes
    ledger_database.py   open, migrate, transactions, what an error means
    ledger_tables.py     the tables; ledger_types.py the values
"""

from services.ledger_accounts import AccountBooks
from services.ledger_approvals import Approvals
from services.ledger_database import BUSY_SECONDS, Database
from services.ledger_history import OrderHistory
from services.ledger_leases import Leases
from services.ledger_orders import OrderBooks
from services.ledger_proof import first_fault
from services.ledger_types import (
    Adjustment,
    CertificateRefused,
    CycleRecord,
    CycleTally,
    EquityPoint,
    Latch,
    Lease,
    LeaseLost,
    LedgerConflict,
    LedgerUnavailable,
    RungMoved,
    RungRecord,
    StoredFill,
)
from services.ledger_upkeep import Upkeep

__all__ = [
    "Adjustment",
    "CertificateRefused",
    "CycleRecord",
    "CycleTally",
    "EquityPoint",
    "Latch",
    "Lease",
    "LeaseLost",
    "Ledger",
    "LedgerConflict",
    "LedgerUnavailable",
    "RungMoved",
    "RungRecord",
    "StoredFill",
]


class Ledger(Leases, OrderBooks, OrderHistory, AccountBooks, Approvals, Upkeep):
    """Reads and writes one ledger; every method raises LedgerUnavailable when the database cannot answer."""

    def __init__(self, url: str, *, busy_seconds: float = BUSY_SECONDS) -> None:
        """Open the ledger at a database URL, creating and migrating it where needed.

        A write waits up to `busy_seconds` for another process's.
        Raises ConfigurationError for a place that cannot be written, LedgerUnavailable.
        """
        self._database = Database(url, busy_seconds)

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def verify_chain(self) -> str | None:
        """None when every event hashes to what it says and every order, fill, rung, cycle and worth agrees with them.

        Else a sentence naming the first row that does not.
        """
        with self._database.reading() as connection:
            return first_fault(connection)
