"""bitFlyer's replies: JSON numbers, UTC times without a zone, errors, pages (docs/venues.md#bitflyer)."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeVar

from aiohttp import web

from simvenue.amounts import is_whole, positive
from simvenue.values import Pair
from simvenue.venue import Venue

Parameters = Mapping[str, Any]
Row = TypeVar("Row")

RATE_LIMIT = -1
INVALID = -100
ORDER_NOT_FOUND = -111
PRICE_TOO_LOW = -106
TOO_SMALL = -110
TOO_OLD = -156
INSUFFICIENT_FUNDS = -200
MARKET_CLOSED = -204
INSUFFICIENT_MARGIN = -205
NOT_AUTHENTIC = -500

DEFAULT_COUNT = 100
LARGEST_COUNT = 500
DEFAULT_PRODUCT = "BTC_JPY"
JST_AHEAD_MS = 9 * 3_600_000


class BitflyerRefusal(Exception):
    """The venue says no: its status number, its text, the HTTP status."""

    def __init__(self, status: int, message: str, http_status: int = 400) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.http_status = http_status


def invalid(what: str) -> BitflyerRefusal:
    """Refuse a parameter. "Invalid product" is the venue's own text; the others follow its pattern."""
    return BitflyerRefusal(INVALID, f"Invalid {what}")


def replied(data: Any) -> web.Response:
    """Send data with amounts as JSON numbers."""
    return web.Response(text=json.dumps(data, default=_number), content_type="application/json")


def refused(refusal: BitflyerRefusal) -> web.Response:
    """Send the venue's error body."""
    body = {"status": refusal.status, "error_message": refusal.message, "data": None}
    return web.json_response(body, status=refusal.http_status)


def not_found() -> web.Response:
    """Answer an unknown path, with a page for people."""
    page = "<!DOCTYPE html><html><head><title>404</title></head><body><h1>Not Found</h1></body></html>"
    return web.Response(status=404, text=page, content_type="text/html")


def no_resource(request: web.Request) -> web.Response:
    """Answer a funding call without a product: the framework's own words, not the venue's envelope."""
    message = f"No HTTP resource was found that matches the request URI '{request.url}'."
    return web.json_response({"Message": message}, status=404)


def parameters_of(body: bytes) -> dict[str, Any]:
    """Read a JSON object, numbers without loss. Raises BitflyerRefusal."""
    try:
        parameters = json.loads(body, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # bad JSON, bytes that are no UTF-8, nesting without end
        raise invalid("request body") from None
    if not isinstance(parameters, dict):
        raise invalid("request body")
    return parameters


def product_of(venue: Venue, parameters: Parameters, default: str | None = DEFAULT_PRODUCT) -> Pair:
    """Find the pair of `product_code`, upper or lower case. Raises BitflyerRefusal -100."""
    name = parameters.get("product_code") or default
    pair = venue.pair_by_venue_symbol(name.upper()) if isinstance(name, str) else None
    if pair is None:
        raise invalid("product")
    return pair


def whole_number(parameters: Parameters, name: str) -> int | None:
    """Read an integer sent as a number or as text; None when it is left out. Raises BitflyerRefusal."""
    value = parameters.get(name)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and is_whole(value):
        return int(value)
    raise invalid(name)


def amount(parameters: Parameters, name: str) -> Decimal:
    """Read a positive amount sent as a number or as text. Raises BitflyerRefusal."""
    value = parameters.get(name)
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise invalid(name)
    read = positive(value)
    if read is None:
        raise invalid(name)
    return read


def count_of(parameters: Parameters) -> int:
    """Read how many rows are wanted: 100 when left out, never more than 500."""
    count = whole_number(parameters, "count")
    if count is not None and count < 1:
        raise invalid("count")
    return min(count or DEFAULT_COUNT, LARGEST_COUNT)


def page(rows: Iterable[tuple[int, Row]], parameters: Parameters) -> list[Row]:
    """Cut one page out of (id, row) pairs that come newest first: ids below `before` and above `after`."""
    before, after = whole_number(parameters, "before"), whole_number(parameters, "after")
    wanted = count_of(parameters)
    found: list[Row] = []
    for number, row in rows:
        if len(found) == wanted or (after is not None and number <= after):
            break
        if before is None or number < before:
            found.append(row)
    return found


def iso(at_ms: int, *, milliseconds: bool = False) -> str:
    """Write a time in UTC without a zone, to the second or the millisecond."""
    stamp = _stamps(at_ms // 1000)[0]
    return f"{stamp}.{at_ms % 1000:03d}" if milliseconds else stamp


def iso_jst(at_ms: int) -> str:
    """Write a time in JST without a zone, as the trade dates of the balance history are."""
    return iso(at_ms + JST_AHEAD_MS, milliseconds=True)


def acceptance_id(at_ms: int, number: int, kind: str = "JRF") -> str:
    """Make an id as the venue does: kind, UTC date and time, six digits."""
    return f"{kind}{_stamps(at_ms // 1000)[1]}-{number % 1_000_000:06d}"


@lru_cache(maxsize=10_000)
def _stamps(at_s: int) -> tuple[str, str]:
    """Write a second for times and for ids. A page of 500 executions asks for it 1500 times."""
    moment = datetime.fromtimestamp(at_s, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S"), moment.strftime("%Y%m%d-%H%M%S")


def _number(value: Any) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} is not written as a number")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
