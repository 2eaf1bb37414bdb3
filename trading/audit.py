"""The audit: our ledger against a simulated venue's own books, order by order, fill by fill, balance by balance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from trading.instruments import Side
from trading.money import ZERO, amount, plain
from trading.orders import Fill, Order, State
from trading.reconcile import Discrepancy, compare_balances


@dataclass(frozen=True)
class TruthOrder:
    """An order as the venue's own books have it; `client_id` is "" where the client gave none."""

    id: str
    client_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal | None
    filled: Decimal
    status: State


@dataclass(frozen=True)
class TruthFill:
    id: str
    order_id: str
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_currency: str


@dataclass(frozen=True)
class Truth:
    orders: tuple[TruthOrder, ...]
    fills: tuple[TruthFill, ...]
    balances: Mapping[str, Decimal]  # totals by asset
    collateral: Mapping[str, Decimal]


@dataclass(frozen=True)
class AuditReport:
    """Counts of what was compared, and every difference."""

    orders: int
    fills: int
    duplicates: int
    unresolved: int
    differences: tuple[Discrepancy, ...]

    @property
    def is_clean(self) -> bool:
        return not (self.duplicates or self.unresolved or self.differences)


def read_truth(document: Mapping[str, Any]) -> Truth:
    """Read a venue's `GET {control_url}/truth` document. Raises KeyError or NotMoney for what is not one."""
    ...


def audit(
    ledger_orders: Sequence[Order],
    ledger_fills: Sequence[Fill],
    expected_balances: Mapping[str, Decimal],
    truth_orders: Sequence[TruthOrder],
    truth_fills: Sequence[TruthFill],
    truth_balances: Mapping[str, Decimal],
    *,
    tolerance: Mapping[str, Decimal] | None = None,
) -> AuditReport:
    """Compare the ledger with the truth, both ways; every single difference is in the report.

    Orders match by venue order id; a duplicate is a second order at the venue for one intent of ours.
    """
    ...
