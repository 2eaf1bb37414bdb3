"""The faults that befall orders and lists: their names, and what they change in the books.

Which part of the books shows itself late, twice or not at all is simvenue/shown.py's business.
"""

from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal

from simvenue.fault_values import number_of
from simvenue.faults import FaultBoard
from simvenue.values import Order, Pair

ORDER_FAULTS = {
    "late_visibility": "an accepted order is in no list and no lookup for so many seconds; it rests and fills at once",
    "list_lag": "lists of orders and fills are as they were so many seconds ago; a lookup by id is current",
    "duplicate_fill": "the list of fills shows each fill twice, also across the border of two pages",
    "out_of_order_fills": "fills come in another order than promised, with times up to 0.9 s too early",
    "partial_fill": "of an order only this share is ever filled; the rest stays in the book",
    "fill_during_cancel": "this share of an order is filled just before its cancel",
    "post_only_cross": "a post-only order finds the market at its price: it is accepted, then cancelled",
    "late_rejection": "an accepted order is rejected afterwards; with the value unlisted it is never listed at all",
    "order_vanishes": "an order that ended without a fill is found nowhere from so many seconds after its end",
    "self_expiry": "a resting order ends by itself after so many seconds",
    "min_size_raised": "the smallest order is so many times larger",
    "price_band": "limit prices further than this share from the market are refused",
}

BY_RULE = "the venue takes the fee of a buy in base by rule, without any fault"
# (fault, exchange) -> why the venue has no such thing
NOT_APPLICABLE = {
    ("post_only_cross", "bitflyer"): "bitFlyer's HTTP API has no post-only orders",
    ("late_rejection", "okcoinjp"): "OKJ's answer tells of each order at once whether it is taken (sCode)",
    ("fee_in_base", "bitflyer"): BY_RULE,
    ("fee_in_base", "bybit"): BY_RULE,
    ("fee_in_base", "okcoinjp"): BY_RULE,
}


def rules_now(pair: Pair, board: FaultBoard) -> Pair:
    """Give a pair with the rules that hold now; without a fault the pair itself."""
    raised = board.active("min_size_raised")
    if raised is not None:
        factor = number_of(raised)
        least = (pair.min_quantity * factor / pair.lot).to_integral_value(ROUND_FLOOR) * pair.lot
        notional = None if pair.min_notional is None else pair.min_notional * factor
        pair = replace(pair, min_quantity=least, min_notional=notional)
    if pair.kind == "spot" and pair.fee_in == "quote" and board.active("fee_in_base") is not None:
        pair = replace(pair, fee_in="received")
    return pair


def reach_of(order: Order, share: Decimal, lot: Decimal) -> Decimal:
    """Give what is ever filled of an order: at least one lot of base, or a share of the budget in quote."""
    if order.quote_budget is not None:
        return order.quote_budget * share
    return max(lot, part_of(order.quantity, share, lot))


def part_of(quantity: Decimal, share: Decimal, lot: Decimal) -> Decimal:
    """Cut a share of a base quantity down to whole lots."""
    return (quantity * share / lot).to_integral_value(ROUND_FLOOR) * lot
