"""Amounts as Bybit and OKJ read and average them."""

from decimal import Decimal, InvalidOperation

from simvenue.values import plain

AVERAGE_DIGITS = Decimal("0.0000000001")  # averages are divisions: they end here


def positive(text: str) -> Decimal | None:
    """Read a finite amount above zero; None for anything else."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount > 0 else None


def average(cost: Decimal, quantity: Decimal) -> str:
    """Write cost / quantity in quote per base, to 10 decimals; "" without a quantity."""
    return plain((cost / quantity).quantize(AVERAGE_DIGITS)) if quantity else ""
