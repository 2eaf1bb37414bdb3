"""Answers as bitbank writes them, for its tests."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from exchanges.adapter import to_ms
from tests.exchanges.loopback import NOW
from trading.instruments import Side
from trading.orders import OrderIntent, OrderType, TimeInForce

ORDER = "POST /v1/user/spot/order"
CANCEL = "POST /v1/user/spot/cancel_order"
CANCEL_MANY = "POST /v1/user/spot/cancel_orders"
ACTIVE = "GET /v1/user/spot/active_orders"
TRADES = "GET /v1/user/spot/trade_history"
STATUS = "GET /v1/spot/status"
CIRCUIT = "GET /btc_jpy/circuit_break_info"


def ok(**data: Any) -> dict[str, Any]:
    return {"success": 1, "data": data}


def no(code: int) -> dict[str, Any]:
    return {"success": 0, "data": {"code": code}}


def pair(name: str, **changes: Any) -> dict[str, Any]:
    base, quote = name.split("_")
    return {
        "name": name,
        "base_asset": base,
        "quote_asset": quote,
        "maker_fee_rate_base": "0",
        "taker_fee_rate_base": "0",
        "maker_fee_rate_quote": "-0.0002",
        "taker_fee_rate_quote": "0.0012",
        "unit_amount": "0.0001",
        "limit_max_amount": "1000",
        "market_max_amount": "10",
        "market_allowance_rate": "0.2",
        "price_digits": 0,
        "amount_digits": 4,
        "is_enabled": True,
        "stop_order": False,
        "stop_order_and_cancel": False,
        **changes,
    }


def order_row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "order_id": number,
        "pair": "btc_jpy",
        "side": "buy",
        "type": "limit",
        "start_amount": "0.0100",
        "remaining_amount": "0.0100",
        "executed_amount": "0.0000",
        "price": "13000000",
        "post_only": False,
        "user_cancelable": True,
        "average_price": "0",
        "ordered_at": to_ms(NOW),
        "expire_at": to_ms(NOW + timedelta(days=180)),
        "status": "UNFILLED",
        **changes,
    }


def trade_row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "trade_id": number,
        "pair": "btc_jpy",
        "order_id": 7,
        "side": "buy",
        "type": "limit",
        "amount": "0.0100",
        "price": "13000000",
        "maker_taker": "taker",
        "fee_amount_base": "0",
        "fee_amount_quote": "130.0000",
        "executed_at": to_ms(NOW) + number,
        **changes,
    }


def intent(**changes: Any) -> OrderIntent:
    facts: dict[str, Any] = {
        "client_order_id": "0" * 32,
        "venue": "bitbank",
        "symbol": "BTC/JPY",
        "side": Side.BUY,
        "type": OrderType.LIMIT,
        "quantity": Decimal("0.01"),
        "price": Decimal("13000000"),
        "time_in_force": TimeInForce.GOOD_TILL_CANCELLED,
        "decision_price": Decimal("13000000"),
        "decided_at": NOW,
        "reason": "test",
    }
    return OrderIntent(**{**facts, **changes})
