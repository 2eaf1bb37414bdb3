"""The audit: our ledger against a simulated venue's own books, order by order, fill by fill, yen by yen."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from trading.instruments import Side
from trading.money import amount, plain
from trading.orders import TERMINAL, Fill, Order, State
from trading.reconcile import Discrepancy, compare_balances

# Asked, and the outcome not known to us.
_UNRESOLVED = frozenset({State.INTENDED, State.SENT, State.UNKNOWN, State.CANCEL_SENT})


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
    collateral: Mapping[str, Decimal]  # kept apart from the balances (bitFlyer CFD), by currency


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
    """Read a venue's `GET {control_url}/truth` document. Raises KeyError or ValueError for what is not
    one."""
    orders = tuple(
        TruthOrder(
            id=str(row["id"]),
            client_id=row["client_id"] or "",
            symbol=row["symbol"],
            side=Side(row["side"]),
            quantity=amount(row["quantity"]),
            price=amount(row["price"]) if row["price"] else None,
            filled=amount(row["filled"]),
            status=State(row["status"]),
        )
        for row in document["orders"]
    )
    fills = tuple(
        TruthFill(
            id=str(row["id"]),
            order_id=str(row["order_id"]),
            price=amount(row["price"]),
            quantity=amount(row["quantity"]),
            fee=amount(row["fee"]),
            fee_currency=row["fee_currency"],
        )
        for row in document["fills"]
    )
    balances = {asset: amount(row["free"]) + amount(row["locked"]) for asset, row in document["balances"].items()}
    collateral = {currency: amount(told) for currency, told in document["collateral"].items()}
    return Truth(orders, fills, balances, collateral)


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

    Orders match by venue order id, else by client order id; a duplicate is a second order at the venue for
    one intent of ours (the same client order id, or unknown to the ledger and alike in symbol, side, quantity
    and price). An order of whose short life nobody told us is the one that the ledger holds as rejected.
    """
    matched, foreign, differences = _match(ledger_orders, truth_orders)
    for order, truth in matched:
        differences.extend(_order_differences(order, truth))
    differences.extend(_fill_differences(ledger_fills, truth_fills))
    differences.extend(compare_balances(expected_balances, truth_balances, tolerance))
    unresolved = [order for order in ledger_orders if order.state in _UNRESOLVED]
    return AuditReport(
        orders=len(truth_orders),
        fills=len(truth_fills),
        duplicates=_duplicates(ledger_orders, truth_orders, foreign),
        unresolved=len(unresolved),
        differences=tuple(differences),
    )


def _match(
    ours: Sequence[Order], truth: Sequence[TruthOrder]
) -> tuple[list[tuple[Order, TruthOrder]], list[TruthOrder], list[Discrepancy]]:
    """Pair orders; also the venue's orders that nobody knows, and the differences of having no partner."""
    differences: list[Discrepancy] = []
    by_id: dict[str, TruthOrder] = {}
    by_client_id: dict[str, TruthOrder] = {}
    for told in truth:
        if told.id in by_id:
            differences.append(Discrepancy("order_twice", told.id, "once", "twice at the venue"))
        by_id[told.id] = told
        if told.client_id:
            by_client_id.setdefault(told.client_id, told)
    pairs: list[tuple[Order, TruthOrder]] = []
    taken: set[str] = set()
    for order in ours:
        name = order.venue_order_id or order.intent.client_order_id
        partner = by_id.get(name) if order.venue_order_id else by_client_id.get(name)
        if partner is None:
            if order.venue_order_id or order.filled or order.state is not State.REJECTED:
                differences.append(Discrepancy("order_missing", name, order.state, "none"))
        elif partner.id in taken:
            differences.append(Discrepancy("order_twice", partner.id, "once", "twice in the ledger"))
        else:
            taken.add(partner.id)
            pairs.append((order, partner))
    unmatched = [told for told in truth if told.id not in taken]
    unheard = _unheard(unmatched, ours)
    foreign = [told for told in unmatched if told.id not in unheard]
    for told in foreign:
        what = f"{told.side} {plain(told.quantity)} {told.symbol}, {told.status}"
        differences.append(Discrepancy("order_foreign", told.id, "none", what))
    return pairs, foreign, differences


def _unheard(unmatched: Sequence[TruthOrder], ours: Sequence[Order]) -> set[str]:
    """Ids of orders that came to nothing at the venue before we could be told of them: the ledger holds them as
    rejected, without an id of the venue.

    A refusal needs a rejected order of the ledger for itself. So does an order that was accepted and ended unfilled,
    its answer lost (bitbank kills a crossing post-only order at once and lists it nowhere:
    docs/venues.md#bitbank); and since it may as well be another order's second copy, nothing else on either side may
    resemble it.
    """
    found: set[str] = set()
    ended = [told for told in unmatched if told.status in TERMINAL and not told.filled and not told.client_id]
    for told in ended:
        alike = [order for order in ours if resembles(order, told)]
        never = sum(order.state is State.REJECTED and order.venue_order_id is None for order in alike)
        copies = [other for other in ended if other is told or _are_alike(other, told)]
        if told.status is State.REJECTED:
            refused = [other for other in copies if other.status is State.REJECTED]
            if len(refused) <= never:
                found.add(told.id)
        elif never == len(alike) == len(copies) == 1:
            found.add(told.id)
    return found


def _are_alike(one: TruthOrder, other: TruthOrder) -> bool:
    return (one.symbol, one.side, one.quantity, one.price) == (other.symbol, other.side, other.quantity, other.price)


def resembles(order: Order, told: TruthOrder) -> bool:
    """Whether an order at the venue has the symbol, side, quantity and price of ours."""
    intent = order.intent
    return (intent.symbol, intent.side, intent.quantity, intent.price) == (
        told.symbol,
        told.side,
        told.quantity,
        told.price,
    )


def _order_differences(order: Order, told: TruthOrder) -> list[Discrepancy]:
    intent = order.intent
    price = "market" if intent.price is None else plain(intent.price)
    told_price = "market" if told.price is None else plain(told.price)
    client_id = intent.client_order_id if told.client_id else ""
    compared = (
        ("order_symbol", intent.symbol, told.symbol),
        ("order_side", intent.side.value, told.side.value),
        ("order_quantity", plain(intent.quantity), plain(told.quantity)),
        ("order_price", price, told_price),
        ("order_filled", plain(order.filled), plain(told.filled)),
        ("order_state", order.state.value, told.status.value),
        ("order_client_id", client_id, told.client_id),
    )
    return [Discrepancy(kind, told.id, ours, theirs) for kind, ours, theirs in compared if ours != theirs]


def _fill_differences(ours: Sequence[Fill], truth: Sequence[TruthFill]) -> list[Discrepancy]:
    mine = Counter((fill.venue_order_id, fill.id) for fill in ours)
    venue = Counter((fill.order_id, fill.id) for fill in truth)
    differences = [
        Discrepancy("fill_twice", key[1], "once", f"{count} times {where}")
        for counts, where in ((mine, "in the ledger"), (venue, "at the venue"))
        for key, count in counts.items()
        if count > 1
    ]
    by_key = {(fill.order_id, fill.id): fill for fill in truth}
    for fill in ours:
        told = by_key.get((fill.venue_order_id, fill.id))
        if told is None:
            differences.append(Discrepancy("fill_missing", fill.id, f"order {fill.venue_order_id}", "none"))
            continue
        compared = (
            ("fill_price", plain(fill.price), plain(told.price)),
            ("fill_quantity", plain(fill.quantity), plain(told.quantity)),
            ("fill_fee", plain(fill.fee), plain(told.fee)),
            # Nothing charged is nothing charged, in whatever currency.
            (
                "fill_fee_currency",
                fill.fee_currency if fill.fee else "",
                told.fee_currency if told.fee else "",
            ),
        )
        differences.extend(Discrepancy(kind, fill.id, own, its) for kind, own, its in compared if own != its)
    for key in venue:
        if key not in mine:
            differences.append(Discrepancy("fill_foreign", key[1], "none", f"order {key[0]}"))
    return differences


def _duplicates(ours: Sequence[Order], truth: Sequence[TruthOrder], foreign: Sequence[TruthOrder]) -> int:
    client_ids = Counter(told.client_id for told in truth if told.client_id)
    venue_ids = Counter(order.venue_order_id for order in ours if order.venue_order_id)
    again = sum(count - 1 for counts in (client_ids, venue_ids) for count in counts.values())
    alike = sum(1 for told in foreign if not told.client_id and any(resembles(order, told) for order in ours))
    return again + alike
