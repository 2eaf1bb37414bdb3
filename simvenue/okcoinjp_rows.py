"""OKJ's rows: one order, one fill, one bill, as the private calls list them (docs/venues.md#okcoinjp)."""

from decimal import Decimal
from typing import Any

from simvenue.amounts import average
from simvenue.values import Fill, Order, Pair, plain

STATES = {
    "open": "live",
    "partially_filled": "partially_filled",
    "filled": "filled",
    "cancelled": "canceled",
    "rejected": "canceled",
}


def order_type(order: Order) -> str:
    """Name an order's kind in the venue's words: the time in force is part of it."""
    return order.type if order.time_in_force == "gtc" else order.time_in_force


def order_row(order: Order, pair: Pair, fills: list[Fill]) -> dict[str, Any]:
    """Render an order as trade/order and the order lists give it; a fee that was charged is negative."""
    asked = order.quote_budget if order.quote_budget is not None else order.quantity
    last = fills[-1] if fills else None
    return {
        "instType": "SPOT",
        "instId": pair.venue_symbol,
        "ccy": "",
        "ordId": order.id,
        "clOrdId": order.client_id,
        "tag": order.wire.get("tag", ""),
        "px": plain(order.price) if order.price is not None else "",
        "sz": plain(asked),
        "ordType": order_type(order),
        "side": order.side,
        "posSide": "",
        "tdMode": "cash",
        "accFillSz": plain(order.filled),
        "fillPx": plain(last.price) if last else "",
        "tradeId": last.id if last else "",
        "fillSz": plain(last.quantity) if last else "0",
        "fillTime": str(last.at) if last else "",
        "avgPx": average(order.cost, order.filled),
        "state": STATES[order.status],
        "lever": "",
        "feeCcy": pair.base if order.side == "buy" else pair.quote,
        "fee": plain(-order.fee),
        "rebateCcy": pair.quote if order.side == "buy" else pair.base,
        "rebate": "0",
        "pnl": "0",
        "source": "",
        "cancelSource": "1" if order.status == "cancelled" else "",
        "category": "normal",
        "reduceOnly": "false",
        "tgtCcy": order.wire.get("tgtCcy", ""),
        "stpMode": "",
        "algoId": "",
        "algoClOrdId": "",
        "cTime": str(order.created_at),
        "uTime": str(order.updated_at),
    }


def fill_row(fill: Fill, pair: Pair) -> dict[str, Any]:
    """Render a fill as trade/fills gives it."""
    return {
        "instType": "SPOT",
        "instId": pair.venue_symbol,
        "tradeId": fill.id,
        "ordId": fill.order.id,
        "clOrdId": fill.order.client_id,
        "billId": str(bill_id(fill, 0)),
        "tag": fill.order.wire.get("tag", ""),
        "fillPx": plain(fill.price),
        "fillSz": plain(fill.quantity),
        "side": fill.order.side,
        "posSide": "",
        "execType": "M" if fill.maker else "T",
        "feeCcy": fill.fee_currency,
        "fee": plain(-fill.fee),
        "ts": str(fill.shown_at),
        "fillTime": str(fill.shown_at),
    }


def bill_id(fill: Fill, leg: int) -> int:
    """Make the id of a fill's bill: leg 0 the base, leg 1 the quote. Ids rise with time."""
    return int(f"{fill.at}{fill.number:06d}{leg}")


def bill_changes(fill: Fill, pair: Pair) -> list[tuple[str, Decimal]]:
    """Give what a fill moved: (currency, signed amount) of the base, then of the quote, fees included."""
    sign = 1 if fill.order.side == "buy" else -1
    base, quote = sign * fill.quantity, -sign * fill.quote
    if fill.fee_currency == pair.base:
        return [(pair.base, base - fill.fee), (pair.quote, quote)]
    return [(pair.base, base), (pair.quote, quote - fill.fee)]


def bill_row(fill: Fill, pair: Pair, leg: int, balance: Decimal) -> dict[str, Any]:
    """Render one leg of a fill as account/bills gives it; `balance` is what the currency held after it."""
    currency, change = bill_changes(fill, pair)[leg]
    fee = -fill.fee if currency == fill.fee_currency else Decimal(0)
    return {
        "billId": str(bill_id(fill, leg)),
        "instType": "SPOT",
        "instId": pair.venue_symbol,
        "ccy": currency,
        "type": "2",
        "subType": "1" if fill.order.side == "buy" else "2",
        "balChg": plain(change),
        "bal": plain(balance),
        "sz": plain(fill.quantity),
        "px": plain(fill.price),
        "fee": plain(fee),
        "pnl": "0",
        "mgnMode": "cash",
        "execType": "M" if fill.maker else "T",
        "ordId": fill.order.id,
        "clOrdId": fill.order.client_id,
        "tag": fill.order.wire.get("tag", ""),
        "from": "",
        "to": "",
        "notes": "",
        "ts": str(fill.at),
        "fillTime": str(fill.at),
    }
