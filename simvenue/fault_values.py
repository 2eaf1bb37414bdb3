"""What the value of a fault that befalls orders, account or market may be, and what it is when left out."""

from decimal import Decimal
from typing import NamedTuple

from simvenue.amounts import read_amount
from simvenue.faults import Fault


class Bounds(NamedTuple):
    """A number with its unit in words; both ends are allowed."""

    default: Decimal
    low: Decimal
    high: Decimal
    unit: str


def _seconds(default: int) -> Bounds:
    return Bounds(Decimal(default), Decimal(0), Decimal(10_000_000), "seconds")


def _share(default: str, low: str = "0", high: str = "1") -> Bounds:
    return Bounds(Decimal(default), Decimal(low), Decimal(high), "a share")


NUMBERS = {
    "late_visibility": _seconds(10),
    "list_lag": _seconds(5),
    "balance_lag": _seconds(5),
    "order_vanishes": _seconds(0),
    "self_expiry": _seconds(5),
    "partial_fill": _share("0.5"),
    "fill_during_cancel": _share("1"),
    "price_band": _share("0.01"),
    "flash_crash": _share("0.1", "0.0001", "0.9"),
    "min_size_raised": Bounds(Decimal(10), Decimal(1), Decimal(1_000_000), "a factor"),
    "candle_gap": Bounds(Decimal(3), Decimal(1), Decimal(100_000), "whole minutes"),
}
# the operations that `match` may name; the faults that are not listed here strike at none
LISTS = ("open_orders", "order_history", "fills")
PLACING = ("place",)
MATCHES = {
    "list_lag": LISTS,
    "fill_during_cancel": ("cancel",),
    **dict.fromkeys(("late_visibility", "partial_fill", "post_only_cross", "late_rejection", "self_expiry"), PLACING),
}
WORDS = {"empty_book": ("", "bids", "asks"), "late_rejection": ("", "unlisted")}


def check_setting(fault: Fault) -> None:
    """Raise ValueError, in one sentence, for a value or a match that the fault cannot have."""
    matches = MATCHES.get(fault.name, ())
    if fault.match and fault.match not in matches:
        told = f"the match of {fault.name} is {' or '.join(matches)}" if matches else f"{fault.name} takes no match"
        raise ValueError(f"{told}, not {fault.match[:40]!r}")
    if fault.name in NUMBERS:
        number_of(fault)
    words = WORDS.get(fault.name)
    if words is not None and fault.value not in words:
        raise ValueError(f"the value of {fault.name} is {' or '.join(words[1:])} or left out, not {fault.value!r}")


def number_of(fault: Fault) -> Decimal:
    """Read a number: the fault's own default when left out. Raises ValueError outside its bounds."""
    bounds = NUMBERS[fault.name]
    if not fault.value:
        return bounds.default
    number = read_amount(fault.value)
    whole = bounds.unit != "whole minutes" or number is None or number == int(number)
    if number is None or not bounds.low <= number <= bounds.high or not whole:
        raise ValueError(
            f"the value of {fault.name} is {bounds.unit} from {bounds.low} to {bounds.high}, not {fault.value[:40]!r}"
        )
    return number


def ms_of(fault: Fault) -> int:
    """Read seconds, as ms."""
    return int(number_of(fault) * 1000)
