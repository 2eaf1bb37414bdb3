"""The faults that befall account and market: their names, and those that happen in the moment they are set."""

from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING

from simvenue.amounts import read_amount
from simvenue.fault_values import number_of
from simvenue.faults import Fault
from simvenue.values import OrderRequest, Rejection

if TYPE_CHECKING:
    from simvenue.venue import Venue

MARKET_FAULTS = {
    "balance_lag": "balances are as they were so many seconds ago",
    "foreign_order": "somebody places an order of this quantity by hand, resting away from the market; happens at once",
    "foreign_balance_change": "somebody pays in or out, as in JPY:-1000; happens at once",
    "fee_in_base": "the fee of a buy is taken in base",
    "stale_ticker": "ticker, book, trades and candles stay as they were when this was set, time included",
    "candle_gap": "the newest so many minutes of candles are absent",
    "crossed_book": "the best bid is above the best ask",
    "empty_book": "the book has no bids, no asks, or neither",
    "circuit_break": "the venue's own halt: nothing is matched",
    "flash_crash": "the price falls by this share at once and comes back after a minute",
}

AWAY = Decimal("0.9")  # a hand-made bid, as a share of the last price
COMES_BACK_MS = 60_000
DEFAULT_ORDER = 5  # times the smallest quantity
DEFAULT_DEPOSIT = Decimal("0.01")  # of what the account had at first


def happen(venue: "Venue", fault: Fault) -> bool:
    """Do what a fault does in the moment it is set; False for one that does nothing at once.

    Raises ValueError for a value that it cannot have.
    """
    act = {
        "foreign_order": _order_by_hand,
        "foreign_balance_change": _pay_by_hand,
        "flash_crash": _crash,
    }.get(fault.name)
    if act is None:
        return False
    act(venue, fault)
    return True


def _order_by_hand(venue: "Venue", fault: Fault) -> None:
    pair = venue.spec.pairs[0]
    quantity = read_amount(fault.value) if fault.value else pair.min_quantity * DEFAULT_ORDER
    if quantity is None:
        raise ValueError(f"the value of {fault.name} is a quantity, not {fault.value[:40]!r}")
    price = (venue.market(pair.symbol).last * AWAY / pair.tick).to_integral_value(ROUND_FLOOR) * pair.tick
    if pair.min_notional is not None and not fault.value:
        quantity = max(quantity, (2 * pair.min_notional / price / pair.lot).to_integral_value() * pair.lot)
    try:
        venue.place(OrderRequest(pair.symbol, "buy", "limit", quantity, price, by_hand=True))
    except Rejection as rejection:
        raise ValueError(f"no order of {quantity} {pair.base} by hand: {rejection}") from rejection


def _pay_by_hand(venue: "Venue", fault: Fault) -> None:
    quote = venue.spec.pairs[0].quote
    text = fault.value or f"{quote}:{venue.spec.opening[quote] * DEFAULT_DEPOSIT}"
    asset, _, amount = text.partition(":")
    change = read_amount(amount)
    if asset not in venue.balances() or change is None:
        raise ValueError(f"the value of {fault.name} is written as {quote}:-1000, not {fault.value[:40]!r}")
    venue.deposit(asset, change)


def _crash(venue: "Venue", fault: Fault) -> None:
    left = 1 - number_of(fault)
    for pair in venue.spec.pairs:
        venue.scale_price(pair.symbol, left)
        venue.scale_price_later(pair.symbol, 1 / left, COMES_BACK_MS)
