"""The audit of a simulated venue: our ledger against the venue's own books, to the last digit."""

from collections.abc import Mapping
from typing import Any

from execution.books import COLLATERAL, explained_totals
from execution.desk import Desk
from trading.audit import AuditReport, audit, read_truth


async def audit_books(desk: Desk, document: Mapping[str, Any]) -> AuditReport:
    """Compare every order, fill, balance and collateral with the venue's `/truth` document.

    Costs no request once the instruments are known. Raises KeyError or NotMoney for what is no such document.
    """
    truth = read_truth(document)
    ledger, account = desk.ledger, desk.account
    fills = ledger.fills(account)
    opening = ledger.opening(account)
    expected = explained_totals(opening[0] if opening else {}, fills, await desk.exchange.instruments())
    found = dict(truth.balances)
    if any(name.startswith(COLLATERAL) for name in expected):
        found |= {COLLATERAL + name: total for name, total in truth.collateral.items()}
    return audit(ledger.orders(account), fills, expected, truth.orders, truth.fills, found)
