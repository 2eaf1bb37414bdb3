"""bitbank's envelope, its error codes and how it reads parameters (docs/venues.md#bitbank)."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from aiohttp import web

from simvenue.amounts import is_whole

URL_NOT_FOUND = 10000
MALFORMED = 10002
TOO_FREQUENT = 10009
NO_AMOUNT, NO_ORDER_ID, NO_ORDER_IDS, NO_PAIR = 30001, 30006, 30007, 30009
NO_PRICE, NO_SIDE, NO_TYPE = 30012, 30013, 30015
BAD_AMOUNT, BAD_COUNT, BAD_END, BAD_END_ID, BAD_FROM_ID = 40001, 40006, 40007, 40008, 40009
BAD_ORDER_ID, BAD_ORDER_IDS, TOO_MANY_IDS = 40013, 40014, 40015
BAD_PAIR, BAD_PRICE, BAD_SIDE, BAD_SINCE, BAD_TYPE, BAD_POST_ONLY = 40017, 40020, 40021, 40022, 40024, 40113
ORDER_NOT_FOUND, ALREADY_CANCELLED, ALREADY_EXECUTED = 50009, 50026, 50027
INSUFFICIENT, MARKET_BUY_TOO_LARGE, TOO_LARGE, TOO_SMALL = 60001, 60002, 60003, 60004
PRICE_TOO_HIGH, PRICE_TOO_LOW, TOO_MANY_ORDERS = 60005, 60006, 60011
SUSPENDED, MINIMUM_RAISED, NO_MARKET_ORDERS = 70004, 70010, 70020


class BitbankRefusal(Exception):
    """The venue says no, with one of its codes."""

    def __init__(self, code: int) -> None:
        super().__init__(f"bitbank code {code}")
        self.code = code


def succeeded(data: Any) -> web.Response:
    """Wrap data in the envelope of a call that worked."""
    return web.json_response({"success": 1, "data": data})


def refused(code: int, status: int) -> web.Response:
    """Wrap an error code in the envelope; the venue sends no text with it."""
    return web.json_response({"success": 0, "data": {"code": code}}, status=status)


def not_found() -> web.Response:
    """Answer as the file store behind the public host does for a path that has no file."""
    body = json.dumps({"success": 0, "data": {"code": URL_NOT_FOUND}}, separators=(",", ":"))
    return web.Response(status=404, text=body, content_type="text/plain")


def parameters_of(body: bytes) -> dict[str, Any]:
    """Read a JSON object, numbers without loss. Raises BitbankRefusal 10002."""
    try:
        parameters = json.loads(body, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # bad JSON, bytes that are no UTF-8, nesting without end
        raise BitbankRefusal(MALFORMED) from None
    if not isinstance(parameters, dict):
        raise BitbankRefusal(MALFORMED)
    return parameters


def whole_number(parameters: Mapping[str, Any], name: str, bad: int) -> int | None:
    """Read an integer sent as a number or as text; None when it is left out. Raises BitbankRefusal(bad)."""
    value = parameters.get(name)
    if value is None:
        return None
    return as_whole_number(value, bad)


def as_whole_number(value: Any, bad: int) -> int:
    """Read one integer sent as a number or as text. Raises BitbankRefusal(bad)."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and is_whole(value):
        return int(value)
    raise BitbankRefusal(bad)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
