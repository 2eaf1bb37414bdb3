"""Amounts as the venues read and average them."""

import re
from decimal import Decimal

from simvenue.values import plain

AVERAGE_DIGITS = Decimal("0.0000000001")  # averages are divisions: they end here


# Decimal() itself takes blanks, underscores, the digits of every script, and numbers of any length: no venue does,
# and beyond these bounds its 28 digits no longer add up
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
TOO_LARGE = Decimal(10) ** 15
MOST_DECIMALS = 18
MOST_DIGITS = 30


def read_amount(value: str | int | Decimal) -> Decimal | None:
    """Read an amount that the books can hold: below 10^15, at most 18 decimals; None for anything else."""
    text = str(value)
    if not NUMBER.fullmatch(text):
        return None
    amount = Decimal(text)
    exponent = amount.normalize().as_tuple().exponent
    fits = abs(amount) < TOO_LARGE and isinstance(exponent, int) and exponent >= -MOST_DECIMALS
    return amount if fits else None


def positive(value: str | int | Decimal) -> Decimal | None:
    """Read an amount above zero; None for anything else."""
    amount = read_amount(value)
    return amount if amount is not None and amount > 0 else None


def is_whole(text: str) -> bool:
    """Tell whether a text is a whole number of at most 30 ASCII digits (int() gives up at 4300 of them)."""
    return len(text) <= MOST_DIGITS and text.isascii() and text.isdigit()


def average(cost: Decimal, quantity: Decimal) -> str:
    """Write cost / quantity in quote per base, to 10 decimals; "" without a quantity."""
    return plain((cost / quantity).quantize(AVERAGE_DIGITS)) if quantity else ""
