"""Answers as bitflyer writes them, for its tests."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.exchanges.loopback import NOW, Asked, Said
from trading.instruments import Side
from trading.orders import OrderIntent, OrderType, TimeInForce

ORDER = "POST /v1/me/sendchildorder"
CANCEL = "POST /v1/me/cancelchildorder"
CANCEL_ALL = "POST /v1/me/cancelallchildorders"
ORDERS = "GET /v1/me/getchildorders"
FILLS = "GET /v1/me/getexecutions"
COMMISSION = "GET /v1/me/gettradingcommission"
STATE = "GET /v1/getboardstate"
TAPE = "GET /v1/getexecutions"

EMPTY = Said(200, "")


def no(status: int, message: str = "no", http: int = 400) -> Said:
    return Said(http, json.dumps({"status": status, "error_message": message, "data": None}))


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]


def acceptance_id(number: int, at: datetime = NOW) -> str:
    return f"JRF{at.strftime('%Y%m%d-%H%M%S')}-{number:06d}"


def order_row(number: int, at: datetime = NOW, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "child_order_id": f"JOR{number}",
        "product_code": "BTC_JPY",
        "side": "BUY",
        "child_order_type": "LIMIT",
        "price": 13000000.0,
        "average_price": 0.0,
        "size": 0.01,
        "child_order_state": "ACTIVE",
        "expire_date": stamp(at + timedelta(minutes=60)),
        "child_order_date": stamp(at),
        "child_order_acceptance_id": acceptance_id(number, at),
        "outstanding_size": 0.01,
        "cancel_size": 0.0,
        "executed_size": 0.0,
        "total_commission": 0.0,
        "time_in_force": "GTC",
        **changes,
    }


def fill_row(number: int, at: datetime = NOW, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "child_order_id": "JOR1",
        "side": "BUY",
        "price": 10000001.0,
        "size": 0.00123456,
        "commission": 0.00000185,
        "exec_date": stamp(at),
        "child_order_acceptance_id": acceptance_id(1),
        **changes,
    }


def paged(rows: list[dict[str, Any]]) -> Any:
    """The venue's paging: newest first, `before` exclusive, `count` 100 unless asked."""

    def answer(asked: Asked) -> list[dict[str, Any]]:
        before = int(asked.query.get("before", 10**9))
        fitting = [row for row in sorted(rows, key=lambda row: -row["id"]) if row["id"] < before]
        return fitting[: int(asked.query.get("count", 100))]

    return answer


def intent(**changes: Any) -> OrderIntent:
    facts: dict[str, Any] = {
        "client_order_id": "0" * 32,
        "venue": "bitflyer",
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
