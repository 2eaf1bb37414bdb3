"""What may be called at bitFlyer, how it is counted, and what an answer means (docs/venues.md#bitflyer)."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import ccxt.async_support as ccxt

from exchanges.bitflyer_errors import ERRORS, IRREGULAR_ORDERS, code_of
from exchanges.budget import Window
from exchanges.errors import VenueError
from exchanges.transport import Envelope, Purpose, Route, Transport, WaitWish, routes, seconds_of
from trading.money import plain

_PER_ADDRESS = Window("bitflyer address", 500, 300.0, per_address=True)
_PRIVATE = Window("bitflyer private", 500, 300.0)
_ORDERS = Window("bitflyer orders", 300, 300.0)
_SMALL_ORDERS = Window("bitflyer small orders", 100, 60.0)
_SMALL_ORDER = Decimal("0.1")

TICKER = Route("GET", "getticker", "public")
BOARD = Route("GET", "getboard", "public")
BOARD_STATE = Route("GET", "getboardstate", "public")
PUBLIC_EXECUTIONS = Route("GET", "getexecutions", "public")
PERMISSIONS = Route("GET", "getpermissions", windows=(_PRIVATE,))
COMMISSION = Route("GET", "gettradingcommission", windows=(_PRIVATE,))
BALANCE = Route("GET", "getbalance", windows=(_PRIVATE,))
COLLATERAL = Route("GET", "getcollateralaccounts", windows=(_PRIVATE,))
POSITIONS = Route("GET", "getpositions", windows=(_PRIVATE,))
CHILD_ORDERS = Route("GET", "getchildorders", windows=(_PRIVATE,))
EXECUTIONS = Route("GET", "getexecutions", windows=(_PRIVATE,))
PLACE = Route("POST", "sendchildorder", purpose=Purpose.PLACE, windows=(_PRIVATE, _ORDERS, _SMALL_ORDERS))
CANCEL = Route("POST", "cancelchildorder", purpose=Purpose.CANCEL, windows=(_PRIVATE,))
CANCEL_ALL = Route("POST", "cancelallchildorders", purpose=Purpose.CANCEL, windows=(_PRIVATE, _ORDERS))

# The key that an object must hold to be the answer of a route; the other routes answer with a list.
_OBJECT_KEYS: Mapping[Route, str] = {
    TICKER: "best_bid",
    BOARD: "bids",
    BOARD_STATE: "health",
    COMMISSION: "commission_rate",
    PLACE: "child_order_acceptance_id",
}
# These say yes with 200 and nothing at all.
_EMPTY_ANSWERS = frozenset({CANCEL, CANCEL_ALL})


class BitflyerClient(Transport, ccxt.bitflyer):
    """ccxt's bitFlyer behind our transport."""

    venue = "bitflyer"
    errors = ERRORS
    windows = (_PER_ADDRESS,)
    routes = routes(
        TICKER,
        BOARD,
        BOARD_STATE,
        PUBLIC_EXECUTIONS,
        PERMISSIONS,
        COMMISSION,
        BALANCE,
        COLLATERAL,
        POSITIONS,
        CHILD_ORDERS,
        EXECUTIONS,
        PLACE,
        CANCEL,
        CANCEL_ALL,
    )

    def windows_for(self, route: Route, params: Any) -> Sequence[Window]:
        """Small orders have a limit of their own; an order of unknown size may be one."""
        if route is PLACE and params.get("size", _SMALL_ORDER) > _SMALL_ORDER:
            return tuple(window for window in route.windows if window is not _SMALL_ORDERS)
        return route.windows

    def read_envelope(self, route: Route, body: str, decoded: object) -> Envelope | None:
        """No envelope: an object or list of the known form, nothing after a cancel, or an error object."""
        if isinstance(decoded, dict) and "error_message" in decoded:
            message = str(decoded["error_message"])
            return Envelope(ok=False, code=code_of(decoded.get("status"), message), message=message)
        if route in _EMPTY_ANSWERS:
            return Envelope(ok=True) if body.strip() == "" else None
        key = _OBJECT_KEYS.get(route)
        if key is None:
            return Envelope(ok=True) if isinstance(decoded, list) else None
        return Envelope(ok=True) if isinstance(decoded, dict) and key in decoded else None

    def asked_to_wait(self, error: VenueError, status: int, headers: Mapping[str, str], body: str) -> WaitWish:
        """The limit is the address's, and the header tells the seconds until its period ends. An order too many is the
        account's own (-508); after small orders too many the venue takes 10 a minute for an hour.
        """
        if error.code == IRREGULAR_ORDERS:
            return WaitWish(60.0)
        return WaitWish(seconds_of(headers.get("x-ratelimit-period")), whole_address=True)

    @staticmethod
    def json(data: Mapping[str, Any], params: object = None) -> str:
        """Write a request body; a Decimal becomes a JSON number with its own digits (ccxt sends floats)."""
        written = (
            f"{json.dumps(key)}:{plain(value) if isinstance(value, Decimal) else json.dumps(value)}"
            for key, value in data.items()
        )
        return "{" + ",".join(written) + "}"
