"""What all Bybit v5 calls share: parameters, signatures over raw bytes, envelope (docs/venues.md#bybit)."""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from simvenue.amounts import is_whole
from simvenue.keys import Keys

Params = Mapping[str, str]
T = TypeVar("T")
Call = Callable[[Params], dict[str, Any]]

DEFAULT_WINDOW_MS = 5_000
LEAD_MS = 1_000  # a request may come from a clock that runs less than this ahead

BAD_PARAMETER = 10001
OUTSIDE_WINDOW = 10002
BAD_KEY = 10003
BAD_SIGNATURE = 10004
TOO_MANY_VISITS = 10006

CATEGORIES = ("spot", "linear", "inverse", "option")


class Refusal(Exception):
    """The venue answers with a retCode other than 0 (HTTP 200)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message


def check_signature(headers: Mapping[str, str], signed: bytes, keys: Keys, wall_ms: int) -> None:
    """Judge a private request; `signed` is the raw query of a GET, the raw body of a POST. Raises Refusal.

    Valid while wall - window <= timestamp < wall + 1000 ms. A client without a window header signs an empty
    text in its place and gets 5000 ms.
    """
    stamp = headers.get("X-BAPI-TIMESTAMP", "")
    window = headers.get("X-BAPI-RECV-WINDOW", "")
    secrets = keys.find(headers.get("X-BAPI-API-KEY", ""))
    if secrets is None:
        raise Refusal(BAD_KEY, "API key is invalid.")
    if not is_whole(stamp) or (window and not is_whole(window)):
        raise Refusal(OUTSIDE_WINDOW, "invalid request, please check your timestamp or recv_window param")
    width_ms = int(window) if window else DEFAULT_WINDOW_MS
    if not wall_ms - width_ms <= int(stamp) < wall_ms + LEAD_MS:
        raise Refusal(
            OUTSIDE_WINDOW,
            "invalid request, please check your server timestamp or recv_window param. "
            f"req_timestamp[{stamp}],server_timestamp[{wall_ms}],recv_window[{width_ms}]",
        )
    message = f"{stamp}{secrets.api_key}{window}".encode() + signed
    expected = hmac.new(secrets.api_secret.encode(), message, hashlib.sha256).hexdigest()
    sign = headers.get("X-BAPI-SIGN", "").encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(expected.encode(), sign):
        raise Refusal(BAD_SIGNATURE, "error sign! please check your API secret and the text that you sign")


def raw_query(request: web.Request) -> str:
    """Give the query as sent, without the question mark."""
    return request.raw_path.partition("?")[2]


def read_params(request: web.Request, body: bytes) -> dict[str, str]:
    """Read a query or a JSON object into texts; absent, null and empty are the same. Raises Refusal."""
    if request.method == "GET":
        pairs = parse_qsl(raw_query(request), keep_blank_values=True)
        return {name: value for name, value in pairs if value != ""}
    try:
        # numbers stay as they were written: money is never a float
        document = json.loads(body or b"{}", parse_float=str, parse_int=str)
    except (ValueError, RecursionError):  # bad JSON, bytes that are no UTF-8, nesting without end
        raise Refusal(BAD_PARAMETER, "params error: the body is not JSON") from None
    if not isinstance(document, dict):
        raise Refusal(BAD_PARAMETER, "params error: the body is not an object")
    return {name: _text(value) for name, value in document.items() if value is not None and value != ""}


def envelope(
    code: int, message: str, result: dict[str, Any], time_ms: int, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Wrap an answer as the venue does; business refusals are HTTP 200 too."""
    document = {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": time_ms}
    return web.json_response(document, headers=headers)


def category(params: Params, allowed: tuple[str, ...] = CATEGORIES) -> str:
    """Read the category; Refusal 10001 when absent or not allowed here."""
    word = params.get("category", "")
    if word not in allowed:
        raise Refusal(BAD_PARAMETER, "params error: Category is invalid")
    return word


def whole_number(params: Params, name: str, default: int | None = None) -> int | None:
    """Read a whole number of at least 0; Refusal 10001 for anything else."""
    text = params.get(name)
    if text is None:
        return default
    if not is_whole(text):
        raise Refusal(BAD_PARAMETER, f"params error: {name} is invalid")
    return int(text)


def page_size(params: Params, default: int, largest: int) -> int:
    """Read `limit`; Refusal 10001 outside 1..largest."""
    limit = whole_number(params, "limit", default)
    if limit is None or not 1 <= limit <= largest:
        raise Refusal(BAD_PARAMETER, f"params error: limit is outside 1..{largest}")
    return limit


def one_page(rows: list[tuple[int, T]], params: Params, default: int, largest: int) -> tuple[list[T], str]:
    """Cut a page out of (mark, row) pairs, highest mark first; give it with the next one's cursor, or "".

    A cursor names the last row served, percent-encoded as the venue writes it; an encoded and a decoded one
    are both taken, since clients differ in what they send back. It stays good when that row leaves the list.
    """
    limit = page_size(params, default, largest)
    if cursor := params.get("cursor"):
        mark = unquote(cursor).partition(":")[0]
        if not is_whole(mark):
            raise Refusal(BAD_PARAMETER, "params error: cursor is invalid")
        rows = [(number, row) for number, row in rows if number < int(mark)]
    page = rows[:limit]
    following = f"{page[-1][0]}%3A0%2C{page[-1][0]}%3A0" if len(rows) > limit else ""
    return [row for _, row in page], following


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)
