"""Reconcile: compare what the ledger says with what the venue says. Pure; every difference is a value.

The ledger is corrected from the venue, never the venue from the ledger; what cannot be explained calls a
human.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from trading.instruments import Instrument, Kind
from trading.market import Position
from trading.money import ZERO, floor_to, plain
from trading.orders import Fill, Order, VenueOrder
from trading.pnl import Inventory, book, fee_in_quote

_SMALLEST_UNIT = Decimal("1E-8")  # to which a venue keeps money where it names no other unit


@dataclass(frozen=True)
class Discrepancy:
    """One difference. `subject` names the order, fill, asset or symbol; `expected` is ours, `found` the
    venue's."""

    kind: str
    subject: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}: expected {self.expected}, found {self.found}"


def compare_orders(ours: Iterable[Order], theirs: Iterable[VenueOrder]) -> tuple[Discrepancy, ...]:
    """Compare by venue order id: state and filled quantity; each side's orders that the other lacks."""
    mine = {order.venue_order_id: order for order in ours if order.venue_order_id is not None}
    venue = {order.venue_order_id: order for order in theirs}
    found: list[Discrepancy] = []
    for order_id, order in mine.items():
        told = venue.get(order_id)
        if told is None:
            found.append(Discrepancy("order_missing", order_id, order.state, "none"))
            continue
        if order.state is not told.state:
            found.append(Discrepancy("order_state", order_id, order.state, told.state))
        if order.filled != told.filled:
            found.append(Discrepancy("order_filled", order_id, plain(order.filled), plain(told.filled)))
    found.extend(_foreign(order) for order_id, order in venue.items() if order_id not in mine)
    return tuple(found)


def compare_open_orders(ours: Iterable[Order], open_at_venue: Iterable[VenueOrder]) -> tuple[Discrepancy, ...]:
    """Compare with the venue's list of resting orders: orphans, and orders that rest though we hold them
    ended.

    An order of ours that the list lacks is no difference by itself: it may just have ended. Lists lag, so a
    difference counts when a second look shows it too.
    """
    known = tuple(ours)
    by_venue_id = {order.venue_order_id: order for order in known if order.venue_order_id is not None}
    by_client_id = {order.intent.client_order_id: order for order in known}
    found: list[Discrepancy] = []
    for told in open_at_venue:
        order = by_venue_id.get(told.venue_order_id)
        if order is None and told.client_order_id is not None:
            order = by_client_id.get(told.client_order_id)
        if order is None:
            found.append(_foreign(told))
        elif order.is_finished:
            found.append(Discrepancy("order_rests", told.venue_order_id, order.state, told.state))
    return tuple(found)


def _foreign(told: VenueOrder) -> Discrepancy:
    price = "market" if told.price is None else plain(told.price)
    what = f"{told.side} {plain(told.quantity)} {told.symbol} at {price}, {told.state}"
    return Discrepancy("order_foreign", told.venue_order_id, "none", what)


def compare_fills(ours: Iterable[Fill], theirs: Iterable[Fill]) -> tuple[Discrepancy, ...]:
    """Compare by symbol and fill id: order, side, price, quantity, fee, fee currency."""
    mine = {(fill.symbol, fill.id): fill for fill in ours}
    venue = {(fill.symbol, fill.id): fill for fill in theirs}
    found: list[Discrepancy] = []
    for key, fill in mine.items():
        if key not in venue:
            found.append(Discrepancy("fill_missing", fill.id, _words(fill), "none"))
        elif _facts(fill) != _facts(venue[key]):
            found.append(Discrepancy("fill_differs", fill.id, _words(fill), _words(venue[key])))
    for key, fill in venue.items():
        if key not in mine:
            found.append(Discrepancy("fill_foreign", fill.id, "none", _words(fill)))
    return tuple(found)


def _facts(fill: Fill) -> tuple[object, ...]:
    return (fill.venue_order_id, fill.side, fill.price, fill.quantity, fill.fee, fill.fee_currency)


def _words(fill: Fill) -> str:
    trade = f"{fill.side} {plain(fill.quantity)} at {plain(fill.price)} for order {fill.venue_order_id}"
    return f"{trade}, fee {plain(fill.fee)} {fill.fee_currency}"


def expected_balances(
    opening: Mapping[str, Decimal], fills: Iterable[Fill], instruments: Mapping[str, Instrument]
) -> dict[str, Decimal]:
    """Totals by asset: the opening plus what every fill moved, quote leg as booked, fee in its currency.

    Spot fills move base and quote; fills of a perpetual move only the quote: realised profit minus fees,
    rounded to `quote_step` against us. Fills oldest first. Raises KeyError for a symbol without instrument.
    """
    totals = dict(opening)
    inventories: dict[str, Inventory] = {}
    for fill in fills:
        instrument = instruments[fill.symbol]
        if instrument.kind is Kind.PERPETUAL:
            before = inventories.get(fill.symbol, Inventory())
            after = inventories[fill.symbol] = book(before, fill, instrument)
            changes = {instrument.quote: collateral_change(before, after, fill, instrument)}
            changes |= fee_apart(fill, instrument)
        else:
            changes = spot_changes(fill, instrument)
        for asset, change in changes.items():
            totals[asset] = totals.get(asset, ZERO) + change
    return totals


def spot_changes(fill: Fill, instrument: Instrument) -> dict[str, Decimal]:
    """What one spot fill moves, by asset."""
    sign = fill.side.sign
    changes = {instrument.base: fill.quantity * sign, instrument.quote: -fill.quote_quantity * sign}
    changes[fill.fee_currency] = changes.get(fill.fee_currency, ZERO) - fill.fee
    return changes


def collateral_change(before: Inventory, after: Inventory, fill: Fill, instrument: Instrument) -> Decimal:
    """What one fill of a perpetual moves in quote: the profit it realised, rounded against us, less its fee."""
    fee = fee_in_quote(fill, instrument)
    profit = floor_to(after.realised - before.realised + fee, instrument.quote_step or _SMALLEST_UNIT)
    return profit if fee_apart(fill, instrument) else profit - fee


def fee_apart(fill: Fill, instrument: Instrument) -> dict[str, Decimal]:
    """What the fee of a fill moves in a third currency, by asset; empty for one in base or quote."""
    apart = fill.fee and fill.fee_currency not in (instrument.base, instrument.quote)
    return {fill.fee_currency: -fill.fee} if apart else {}


def compare_balances(
    expected: Mapping[str, Decimal],
    found: Mapping[str, Decimal],
    tolerance: Mapping[str, Decimal] | None = None,
) -> tuple[Discrepancy, ...]:
    """Compare totals by asset; a difference up to the asset's tolerance (default 0) is none."""
    allowed = tolerance or {}
    differences: list[Discrepancy] = []
    for asset in sorted({*expected, *found}):
        ours, theirs = expected.get(asset, ZERO), found.get(asset, ZERO)
        if abs(ours - theirs) > allowed.get(asset, ZERO):
            differences.append(Discrepancy("balance", asset, plain(ours), plain(theirs)))
    return tuple(differences)


def held_quantity(fills: Iterable[Fill], instrument: Instrument) -> Decimal:
    """The signed base quantity that our fills of the instrument left us with, fees in base taken off."""
    held = ZERO
    for fill in fills:
        held += fill.quantity * fill.side.sign
        if fill.fee_currency == instrument.base:
            held -= fill.fee
    return held


def compare_positions(
    symbol: str, expected: Decimal, found: Sequence[Position], tolerance: Decimal = ZERO
) -> tuple[Discrepancy, ...]:
    """Compare a perpetual's net position (signed base) with the venue's."""
    net = sum((position.signed_quantity for position in found if position.symbol == symbol), ZERO)
    if abs(net - expected) <= tolerance:
        return ()
    return (Discrepancy("position", symbol, plain(expected), plain(net)),)
