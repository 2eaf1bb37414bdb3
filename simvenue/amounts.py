"""Amounts as Bybit and OKJ write and read them: decimal text, never an exponent."""

from decimal import Decimal, InvalidOperation, localcontext

AVERAGE_DIGITS = Decimal("0.0000000001")  # averages are divisions: they end here


def plain(amount: Decimal) -> str:
    """Write an amount without exponent and without trailing zeros."""
    if amount == 0:
        return "0"
    with localcontext() as context:
        context.prec = 60  # normalize() rounds to the context's precision
        return format(amount.normalize(), "f")


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
