"""Money is Decimal, born from text. Floats are turned away at this door.

Rounding is always towards safety and always named: quantity down, fee up, price to the passive side.
"""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation

ZERO = Decimal(0)


class NotMoney(ValueError):
    """The value is no decimal number (or arrived as a float, which has already lost digits)."""


def amount(value: str | int | Decimal) -> Decimal:
    """Turn text, an integer or a Decimal into a finite Decimal.

    Raises NotMoney for floats, booleans, empty text, NaN and infinities.
    """
    if isinstance(value, (float, bool)):
        raise NotMoney(f"money arrives as text, was {type(value).__name__} {value!r}")
    try:
        number = Decimal(value)
    except (InvalidOperation, TypeError, ValueError) as error:
        raise NotMoney(f"not a decimal number: {value!r}") from error
    if not number.is_finite():
        raise NotMoney(f"not a finite number: {value!r}")
    return number


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """Round down (towards minus infinity) to a multiple of `step` (> 0)."""
    return (value / step).to_integral_value(rounding=ROUND_FLOOR) * step


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """Round up (towards plus infinity) to a multiple of `step` (> 0)."""
    return (value / step).to_integral_value(rounding=ROUND_CEILING) * step


def plain(value: Decimal) -> str:
    """Write a Decimal without exponent and without trailing zeros: `0.001`, `13000000`."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
