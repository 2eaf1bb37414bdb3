"""Reconcile: compare what the ledger says with what the venue says. Pure; every difference is a value.

The ledger is corrected from the venue, never the venue from the ledger; what cannot be explained calls a human.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from trading.instruments import Instrument, Kind, Side
from trading.market import Position
from trading.money import ZERO, plain
from trading.orders import Fill, Order, State, VenueOrder


@dataclass(frozen=True)
class Discrepancy:
    """One difference. `subject` names the order, fill, asset or symbol; `expected` is ours, `found` the venue's."""

    kind: str
    subject: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}: expected {self.expected}, found {self.found}"


def compare_orders(ours: Iterable[Order], theirs: Iterable[VenueOrder]) -> tuple[Discrepancy, ...]:
    """Compare by venue order id: state and filled quantity; each side's orders that the other lacks."""
    ...


def compare_open_orders(ours: Iterable[Order], open_at_venue: Iterable[VenueOrder]) -> tuple[Discrepancy, ...]:
    """Compare with the venue's list of resting orders: orphans, and orders that rest though we hold them ended.

    An order of ours that the list lacks is no difference by itself: it may just have ended.
    """
    ...


def compare_fills(ours: Iterable[Fill], theirs: Iterable[Fill]) -> tuple[Discrepancy, ...]:
    """Compare by symbol and fill id: price, quantity, fee, fee currency."""
    ...


def expected_balances(
    opening: Mapping[str, Decimal], fills: Iterable[Fill], instruments: Mapping[str, Instrument]
) -> dict[str, Decimal]:
    """Totals by asset: the opening plus what every fill moved, with the quote leg as booked and the fee in its currency.

    Spot fills move base and quote; fills of a perpetual move only the quote: realised profit minus fees, rounded to
    `quote_step` against us. Fills oldest first. Raises KeyError for a symbol without instrument.
    """
    ...


def compare_balances(
    expected: Mapping[str, Decimal],
    found: Mapping[str, Decimal],
    tolerance: Mapping[str, Decimal] | None = None,
) -> tuple[Discrepancy, ...]:
    """Compare totals by asset; a difference up to the asset's tolerance (default 0) is none."""
    ...


def held_quantity(fills: Iterable[Fill], instrument: Instrument) -> Decimal:
    """The signed base quantity that our fills of the instrument left us with, fees in base taken off."""
    ...


def compare_positions(
    symbol: str, expected: Decimal, found: Sequence[Position], tolerance: Decimal = ZERO
) -> tuple[Discrepancy, ...]:
    """Compare a perpetual's net position (signed base) with the venue's."""
    ...
