"""Did an account survive a fault? Our ledger is judged by what the simulated venue says really happened.

Duplicates and lost orders are counted, what our ledger still asks itself is counted, and every other difference is
named. Orders by hand and deposits are not ours: they are expected exactly as the venue tells them, and nothing else is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from trading.audit import TruthFill, TruthOrder, audit, read_truth, resembles
from trading.money import ZERO, amount
from trading.orders import TERMINAL, Fill, Order, State
from trading.reconcile import Discrepancy

# Differences that mean: the venue has something of ours that our ledger does not know.
_LOST = frozenset({"order_foreign", "fill_foreign"})
_OUTCOME_UNKNOWN = frozenset({State.INTENDED, State.SENT, State.UNKNOWN})


@dataclass(frozen=True)
class Judgement:
    """What a comparison came to. `lost`: orders and fills that our ledger does not know, and orders of ours that still
    rest; `unresolved`: orders whose outcome our ledger does not know; `differences`: all else, in words.
    """

    duplicates: int
    lost: int
    unresolved: int
    differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    passed: bool
    note: str  # what speaks against it; "" when it passed


def judge(
    orders: Sequence[Order],
    fills: Sequence[Fill],
    opening: Mapping[str, Decimal],
    document: Mapping[str, Any],
) -> Judgement:
    """Compare the ledger of a spot account with the venue's `/truth` document, both read after the trader has ended.

    `opening`: totals by asset at the first reconcile. An order of unknown outcome that the venue has once is
    unresolved, not lost. Raises KeyError or ValueError for what is no such document.
    """
    truth = read_truth(document)
    by_hand = {str(row["id"]) for row in document["orders"] if row.get("by_hand")}
    theirs = [order for order in truth.orders if order.id not in by_hand]
    ours, theirs, set_aside = _without_unresolved(orders, theirs)
    apart = by_hand | set_aside
    report = audit(
        ours,
        [fill for fill in fills if fill.venue_order_id not in apart],
        _expected(opening, fills, document.get("deposits", ())),
        theirs,
        [fill for fill in truth.fills if fill.order_id not in apart],
        truth.balances,
    )
    differences = report.differences
    resting = [order for order in truth.orders if order.id not in by_hand and order.status not in TERMINAL]
    lost_fills_of = {order.id for order in theirs} - _lost_orders(differences)
    lost = [each for each in differences if each.kind in _LOST]
    # A fill of an order that is lost itself is not lost a second time.
    counted = [each for each in lost if each.kind == "order_foreign" or _order_of(each, truth.fills) in lost_fills_of]
    unresolved = {order.intent.client_order_id for order in orders if order.state in _OUTCOME_UNKNOWN}
    cancelling = [order for order in ours if order.state is State.CANCEL_SENT]
    return Judgement(
        duplicates=report.duplicates,
        lost=len(counted) + len(resting),
        unresolved=len(unresolved) + len(cancelling),
        differences=(
            *(str(each) for each in differences),
            *(f"order {order.id} rests at the venue" for order in resting),
        ),
    )


def verdict(
    found: Judgement, *, halted: str, must_halt: bool = False, went_on: bool = True, problems: Sequence[str] = ()
) -> Verdict:
    """Whether a cell has passed. `halted`: why trading stands still at the end, "" when it does not; `must_halt`: the
    fault is one that calls a human; `went_on`: orders were placed after the fault; `problems`: what else was seen.
    """
    against = list(problems)
    if found.duplicates:
        against.append(f"{found.duplicates} duplicate orders")
    if found.lost:
        against.append(f"{found.lost} lost from sight")
    if found.unresolved and not halted:
        against.append(f"{found.unresolved} orders of unknown outcome, and trading goes on")
    against.extend(found.differences)
    if must_halt and not halted:
        against.append("trading went on where a human must look")
    if not (halted or went_on):
        against.append("nothing was traded after the fault, and no reason told")
    return Verdict(not against, "; ".join(against))


def _without_unresolved(
    orders: Sequence[Order], theirs: Sequence[TruthOrder]
) -> tuple[list[Order], list[TruthOrder], set[str]]:
    """Pair each order of unknown outcome with one order at the venue that is it, and take both away; also the ids at
    the venue that were taken.
    """
    known = {order.venue_order_id for order in orders if order.venue_order_id is not None}
    free = {order.id: order for order in theirs if order.id not in known}
    kept, taken = [], set()
    for order in orders:
        if order.state not in _OUTCOME_UNKNOWN:
            kept.append(order)
            continue
        if order.venue_order_id is not None:
            taken.add(order.venue_order_id)
            continue
        partner = next((told for told in free.values() if _may_be(order, told)), None)
        if partner is not None:
            taken.add(partner.id)
            del free[partner.id]
    return kept, [order for order in theirs if order.id not in taken], taken


def _may_be(order: Order, told: TruthOrder) -> bool:
    return told.client_id == order.intent.client_order_id if told.client_id else resembles(order, told)


def _lost_orders(differences: Sequence[Discrepancy]) -> set[str]:
    return {each.subject for each in differences if each.kind == "order_foreign"}


def _order_of(lost_fill: Discrepancy, fills: Sequence[TruthFill]) -> str:
    return next(fill.order_id for fill in fills if fill.id == lost_fill.subject)


def _expected(
    opening: Mapping[str, Decimal], fills: Sequence[Fill], deposits: Sequence[Mapping[str, Any]]
) -> dict[str, Decimal]:
    """Totals by asset that the opening, the fills we know of and the venue's deposits explain."""
    totals = {asset: total for asset, total in opening.items() if ":" not in asset}  # collateral is kept apart
    changes: list[tuple[str, Decimal]] = [(str(row["currency"]), amount(row["change"])) for row in deposits]
    for fill in fills:
        base, _, quote = fill.symbol.partition("/")
        changes += [
            (base, fill.quantity * fill.side.sign),
            (quote, -fill.quote_quantity * fill.side.sign),
            (fill.fee_currency, -fill.fee),
        ]
    for asset, change in changes:
        totals[asset] = totals.get(asset, ZERO) + change
    return totals
