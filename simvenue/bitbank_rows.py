"""How bitbank writes its rows: amounts as text with the pair's digits, ids and times (ms) as numbers.

The facts are in docs/venues.md#bitbank.
"""

from decimal import Decimal
from typing import Any

from simvenue.values import Fill, Order, Pair

EXPIRES_AFTER_MS = 180 * 86_400_000


def digits_of(step: Decimal) -> int:
    """Return the number of decimals of a step such as 0.001."""
    return max(0, -int(step.normalize().as_tuple().exponent))


def text(value: Decimal, digits: int) -> str:
    """Write a value with at least this many decimals, and more where it has more: nothing is rounded away."""
    written = f"{value:.{digits}f}"
    return written if Decimal(written) == value else f"{value:.{digits_of(value)}f}"


def pair_row(pair: Pair, unit_amount: Decimal) -> dict[str, Any]:
    """Write a pair as /spot/pairs lists it; `unit_amount` is the smallest order without load."""
    margin = dict.fromkeys(
        [
            "margin_open_maker_fee_rate_quote",
            "margin_open_taker_fee_rate_quote",
            "margin_close_maker_fee_rate_quote",
            "margin_close_taker_fee_rate_quote",
            "margin_long_interest",
            "margin_short_interest",
            "margin_current_individual_ratio",
            "margin_current_individual_until",
            "margin_current_company_ratio",
            "margin_current_company_until",
            "margin_next_individual_ratio",
            "margin_next_individual_until",
            "margin_next_company_ratio",
            "margin_next_company_until",
        ]
    )
    stops = dict.fromkeys(
        [
            "stop_order",
            "stop_order_and_cancel",
            "stop_market_order",
            "stop_stop_order",
            "stop_stop_limit_order",
            "stop_margin_long_order",
            "stop_margin_short_order",
            "stop_buy_order",
            "stop_sell_order",
        ],
        False,
    )
    return {
        "name": pair.venue_symbol,
        "base_asset": pair.base.lower(),
        "quote_asset": pair.quote.lower(),
        "maker_fee_rate_base": "0" if pair.fee_in == "quote" else text(pair.maker_rate, 0),
        "taker_fee_rate_base": "0" if pair.fee_in == "quote" else text(pair.taker_rate, 0),
        "maker_fee_rate_quote": text(pair.maker_rate, 0),
        "taker_fee_rate_quote": text(pair.taker_rate, 0),
        **margin,
        "unit_amount": text(unit_amount, digits_of(pair.lot)),
        "limit_max_amount": text(pair.max_quantity or Decimal(0), 0),
        "market_max_amount": text(pair.max_market_quantity or Decimal(0), 0),
        "market_allowance_rate": "0.2",
        "price_digits": digits_of(pair.tick),
        "amount_digits": digits_of(pair.lot),
        "is_enabled": True,
        **stops,
    }


def order_row(pair: Pair, order: Order) -> dict[str, Any]:
    """Write an order as the order calls return it; price and post_only only for limit orders."""
    row: dict[str, Any] = {
        "order_id": int(order.id),
        "pair": pair.venue_symbol,
        "side": order.side,
        "type": order.type,
        "start_amount": text(order.quantity, digits_of(pair.lot)),
        "remaining_amount": text(order.quantity - order.filled, digits_of(pair.lot)),
        "executed_amount": text(order.filled, digits_of(pair.lot)),
        "user_cancelable": True,
        "average_price": _average_price(pair, order),
        "ordered_at": order.created_at,
        "expire_at": order.created_at + EXPIRES_AFTER_MS,
        "status": _status(order),
    }
    if order.type == "limit" and order.price is not None:
        row["price"] = text(order.price, digits_of(pair.tick))
        row["post_only"] = order.time_in_force == "post_only"
    if order.status == "cancelled":
        row["canceled_at"] = order.ended_at
    if order.filled:
        row["executed_at"] = order.updated_at
    return row


def trade_row(pair: Pair, fill: Fill) -> dict[str, Any]:
    """Write a fill as trade_history lists it; a rebate is a negative fee."""
    fee = text(fill.fee, 4)
    in_base = fill.fee_currency == pair.base
    return {
        "trade_id": int(fill.id),
        "pair": pair.venue_symbol,
        "order_id": int(fill.order.id),
        "side": fill.order.side,
        "type": fill.order.type,
        "amount": text(fill.quantity, digits_of(pair.lot)),
        "price": text(fill.price, digits_of(pair.tick)),
        "maker_taker": "maker" if fill.maker else "taker",
        "fee_amount_base": fee if in_base else "0",
        "fee_amount_quote": "0" if in_base else fee,
        "fee_occurred_amount_quote": "0" if in_base else fee,
        "executed_at": fill.shown_at,
    }


# asset: decimals, network, withdrawal fee
_ASSETS = {
    "BTC": (8, "BTC", "0.0006"),
    "ETH": (8, "ETH", "0.005"),
    "XRP": (6, "XRP", "0.1"),
}


def asset_row(asset: str, free: Decimal, locked: Decimal) -> dict[str, Any]:
    """Write one asset as /user/assets lists it."""
    digits, network, fee = _ASSETS.get(asset, (4, "", ""))
    row: dict[str, Any] = {
        "asset": asset.lower(),
        "free_amount": text(free, digits),
        "amount_precision": digits,
        "onhand_amount": text(free + locked, digits),
        "locked_amount": text(locked, digits),
        "withdrawing_amount": text(Decimal(0), digits),
        "withdrawal_fee": {"min": fee, "max": fee},
        "stop_deposit": False,
        "stop_withdrawal": False,
        "collateral_ratio": "0.5",
    }
    if not network:
        row["withdrawal_fee"] = {"under": "550", "over": "770", "threshold": "30000"}
        row["collateral_ratio"] = "1"
        return row
    row["network_list"] = [
        {
            "asset": asset.lower(),
            "network": network,
            "stop_deposit": False,
            "stop_withdrawal": False,
            "withdrawal_fee": fee,
        }
    ]
    return row


def _average_price(pair: Pair, order: Order) -> str:
    if not order.filled:
        return "0"
    # four decimals beyond the tick: enough that average x filled is the cost to a fraction of the unit
    step = pair.tick.scaleb(-4)
    return text((order.cost / order.filled).quantize(step), digits_of(pair.tick))


def _status(order: Order) -> str:
    if order.status == "cancelled":
        return "CANCELED_PARTIALLY_FILLED" if order.filled else "CANCELED_UNFILLED"
    return {
        "open": "UNFILLED",
        "partially_filled": "PARTIALLY_FILLED",
        "filled": "FULLY_FILLED",
        "rejected": "REJECTED",
    }[order.status]
