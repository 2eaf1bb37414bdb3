"""Certificates for tests that place orders and are about something else."""

from datetime import datetime, timedelta
from decimal import Decimal

from services.ledger import Ledger, RungRecord


def certify(ledger: Ledger, account: str, symbol: str, now: datetime, rung: str = "minimal") -> int:
    """Issue a certificate that covers everything a test places; what one refuses is tested elsewhere."""
    until = now + timedelta(days=400)
    return ledger.issue_rung(RungRecord(account, symbol, rung, Decimal(100), {}, "a test", now, until))
