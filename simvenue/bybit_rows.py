"""Bybit's rows: one order, one execution, one position, as the lists have them (docs/venues.md#bybit)."""

from decimal import Decimal
from typing import Any

from simvenue.amounts import average
from simvenue.values import Fill, Order, Pair, Position, plain

NO_ERROR = "EC_NoError"
REJECT_REASONS = {
    "post_only_cross": "EC_PostOnlyWillTakeLiquidity",
    "ioc": "EC_NoImmediateQtyToFill",
    "fok": "EC_NoEnoughQtyToFill",
    "no_liquidity": "EC_NoImmediateQtyToFill",
    "reduce_only": "EC_ReduceOnlyOrderNotReducing",
    "client": "EC_PerCancelRequest",
    "refused_late": "EC_Others",
}
TIMES_IN_FORCE = {"gtc": "GTC", "ioc": "IOC", "fok": "FOK", "post_only": "PostOnly"}


def order_status(order: Order, pair: Pair) -> str:
    """Name an order's state in the venue's words."""
    if order.status == "cancelled" and order.filled and pair.kind == "spot":
        return "PartiallyFilledCanceled"
    return {
        "open": "New",
        "partially_filled": "PartiallyFilled",
        "filled": "Filled",
        "cancelled": "Cancelled",
        "rejected": "Rejected",
    }[order.status]


def order_row(order: Order, pair: Pair) -> dict[str, Any]:
    """Render an order as order/realtime and order/history list it."""
    asked = order.quote_budget if order.quote_budget is not None else order.quantity
    # the venue empties what is left of an order that has ended
    left = order.remaining if order.is_open else Decimal(0)
    row: dict[str, Any] = {
        "orderId": order.id,
        "orderLinkId": order.client_id,
        "blockTradeId": "",
        "symbol": pair.venue_symbol,
        "side": order.side.capitalize(),
        "orderType": order.type.capitalize(),
        "price": plain(order.price) if order.price is not None else "0",
        "qty": plain(asked),
        "orderStatus": order_status(order, pair),
        "leavesQty": plain(left),
        "leavesValue": plain(left * order.price) if order.price is not None else "0",
        "cumExecQty": plain(order.filled),
        "cumExecValue": plain(order.cost),
        "cumExecFee": plain(order.fee),
        "cumFeeDetail": {order.fee_currency: plain(order.fee)} if order.filled else {},
        "avgPrice": average(order.cost, order.filled),
        "timeInForce": "IOC" if order.type == "market" else TIMES_IN_FORCE[order.time_in_force],
        "rejectReason": REJECT_REASONS.get(order.why, NO_ERROR),
        "cancelType": "CancelByUser" if order.why == "client" else "UNKNOWN",
        "createType": "CreateByUser",
        "marketUnit": order.wire.get("marketUnit", ""),
        "orderFilter": "Order",
        "stopOrderType": "",
        "triggerPrice": "",
        "takeProfit": "",
        "stopLoss": "",
        "isLeverage": "0" if pair.kind == "spot" else "",
        "positionIdx": 0,
        "reduceOnly": order.reduce_only,
        "closeOnTrigger": False,
        "smpType": "None",
        "smpGroup": 0,
        "smpOrderId": "",
        "createdTime": str(order.created_at),
        "updatedTime": str(order.updated_at),
    }
    # clients tell a contract's order by this key: a spot row must not have it
    return row if pair.kind == "spot" else row | {"tpslMode": ""}


def execution_row(fill: Fill, pair: Pair, left: Decimal) -> dict[str, Any]:
    """Render a fill as execution/list lists it; `left` is what the order had open after it."""
    order = fill.order
    rate = pair.maker_rate if fill.maker else pair.taker_rate
    return {
        "symbol": pair.venue_symbol,
        "orderId": order.id,
        "orderLinkId": order.client_id,
        "side": order.side.capitalize(),
        "orderPrice": plain(order.price) if order.price is not None else "0",
        "orderQty": plain(order.quantity),
        "leavesQty": plain(left),
        "createType": "CreateByUser",
        "orderType": order.type.capitalize(),
        "stopOrderType": "UNKNOWN",
        "execFee": plain(fill.fee),
        "execId": fill.id,
        "execPrice": plain(fill.price),
        "execQty": plain(fill.quantity),
        "execType": "Trade",
        "execValue": plain(fill.price * fill.quantity),
        "execTime": str(fill.shown_at),
        "feeCurrency": fill.fee_currency,
        "isMaker": fill.maker,
        "feeRate": plain(rate),
        "tradeIv": "",
        "markIv": "",
        "markPrice": plain(fill.price),
        "indexPrice": "",
        "underlyingPrice": "",
        "blockTradeId": "",
        "closedSize": "",
        "seq": fill.number,
    }


def position_row(
    pair: Pair,
    position: Position | None,
    *,
    mark: Decimal,
    leverage: Decimal,
    margin: Decimal,
    unrealised: Decimal,
    realised: Decimal,
    updated_at: int,
) -> dict[str, Any]:
    """Render a one-way position; a flat symbol has a row too, with an empty side."""
    size = position.quantity if position else Decimal(0)
    entry = position.entry_price if position else Decimal(0)
    return {
        "positionIdx": 0,
        "riskId": 1,
        "riskLimitValue": "2000000",
        "symbol": pair.venue_symbol,
        "side": position.side.capitalize() if position else "",
        "size": plain(size),
        "avgPrice": plain(entry.quantize(Decimal("0.00000001"))),
        "positionValue": plain((size * entry).quantize(Decimal("0.00000001"))),
        "tradeMode": 0,
        "autoAddMargin": 0,
        "positionStatus": "Normal",
        "leverage": plain(leverage),
        "markPrice": plain(mark),
        "liqPrice": "",
        "bustPrice": "",
        "positionIM": plain(margin),
        "positionMM": "0",
        "positionBalance": plain(margin),
        "tpslMode": "Full",
        "takeProfit": "",
        "stopLoss": "",
        "trailingStop": "0",
        "unrealisedPnl": plain(unrealised),
        "curRealisedPnl": plain(realised),
        "cumRealisedPnl": plain(realised),
        "adlRankIndicator": 0,
        "isReduceOnly": False,
        "seq": updated_at,
        "createdTime": str(updated_at),
        "updatedTime": str(updated_at),
    }
