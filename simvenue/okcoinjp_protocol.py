"""What all OKJ V5 calls share: parameters, signatures over raw bytes, envelope (docs/venues.md#okcoinjp)."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from simvenue.amounts import is_whole
from simvenue.keys import Keys

Params = Mapping[str, str]
Call = Callable[[Params], list[Any]]
Action = Callable[[Params], dict[str, str]]

SKEW_MS = 30_000
ISO_MS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

RATE_REACHED = "50011"
EMPTY_PARAMETER = "50014"
EXPIRED = "50102"
BAD_PARAMETER = "51000"


class Refusal(Exception):
    """The venue answers with a code other than "0"."""

    def __init__(self, code: str, message: str, status: int = 200) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.status = status


def check_signature(request: web.Request, body: bytes, keys: Keys, wall_ms: int) -> None:
    """Judge a private request: base64 HMAC over timestamp + method + raw path with query + raw body.

    The timestamp (ISO-8601 UTC with ms) may be off by 30 s. Raises Refusal.
    """
    key = _header(request, "KEY", "50103")
    phrase = _header(request, "PASSPHRASE", "50104")
    sign = _header(request, "SIGN", "50106")
    stamp = _header(request, "TIMESTAMP", "50107")
    if not ISO_MS.fullmatch(stamp):
        raise Refusal("50112", "Invalid OK-ACCESS-TIMESTAMP", 401)
    if abs(wall_ms - _read_stamp(stamp)) > SKEW_MS:
        raise Refusal(EXPIRED, "Timestamp request expired", 401)
    secrets = keys.find(key)
    if secrets is None:
        raise Refusal("50119", "API key doesn't exist")
    if not hmac.compare_digest(phrase.encode("utf-8", "surrogateescape"), secrets.passphrase.encode()):
        raise Refusal("50105", "Request header OK-ACCESS-PASSPHRASE incorrect", 401)
    message = f"{stamp}{request.method}{request.raw_path}".encode() + body
    expected = base64.b64encode(hmac.new(secrets.api_secret.encode(), message, hashlib.sha256).digest())
    if not hmac.compare_digest(expected, sign.encode("utf-8", "surrogateescape")):
        raise Refusal("50113", "Invalid Sign", 401)


def read_params(request: web.Request, body: bytes) -> list[dict[str, str]]:
    """Read a query, a JSON object or a list of objects into texts; absent, null and empty are the same."""
    if request.method == "GET":
        pairs = parse_qsl(request.raw_path.partition("?")[2], keep_blank_values=True)
        return [_texts(dict(pairs) | dict(request.match_info))]
    try:
        # numbers stay as they were written: money is never a float
        document = json.loads(body or b"{}", parse_float=str, parse_int=str)
    except (ValueError, RecursionError):  # bad JSON, bytes that are no UTF-8, nesting without end
        raise Refusal("50002", "Body data JSON format error", 400) from None
    items = document if isinstance(document, list) else [document]
    if not all(isinstance(item, dict) for item in items):
        raise Refusal("50002", "Body data JSON format error", 400)
    return [_texts(item) for item in items]


def envelope(code: str, message: str, data: list[Any], status: int = 200) -> web.Response:
    return web.json_response({"code": code, "msg": message, "data": data}, status=status)


def outcomes_envelope(outcomes: list[dict[str, str]]) -> web.Response:
    """Wrap what became of each order: code 0 all taken, 1 none, 2 some. HTTP 200 in each case."""
    failed = sum(outcome["sCode"] != "0" for outcome in outcomes)
    if not failed:
        return envelope("0", "", outcomes)
    if failed == len(outcomes):
        return envelope("1", "All operations failed", outcomes)
    return envelope("2", "Bulk operation partially succeeded", outcomes)


def need(params: Params, name: str) -> str:
    """Read a parameter; Refusal 50014 (HTTP 400) without it."""
    if name not in params:
        raise Refusal(EMPTY_PARAMETER, f"Parameter {name} can not be empty", 400)
    return params[name]


def whole_number(params: Params, name: str) -> int | None:
    """Read a whole number of at least 0; Refusal 51000 (HTTP 400) for anything else."""
    text = params.get(name)
    if text is None:
        return None
    if not is_whole(text):
        raise Refusal(BAD_PARAMETER, f"Parameter {name} error", 400)
    return int(text)


def page_size(params: Params, default: int, largest: int) -> int:
    """Read `limit`; Refusal 51000 outside 1..largest."""
    limit = whole_number(params, "limit")
    if limit is None:
        return default
    if not 1 <= limit <= largest:
        raise Refusal(BAD_PARAMETER, "Parameter limit error", 400)
    return limit


def one_page(rows: list[tuple[int, Any]], params: Params) -> list[Any]:
    """Cut a page out of (id, row) pairs, newest first: `after` asks for older ids, `before` for newer."""
    after, before = whole_number(params, "after"), whole_number(params, "before")
    limit = page_size(params, 100, 100)
    kept = [row for number, row in rows if (after is None or number < after) and (before is None or number > before)]
    # asked for what is newer than an id alone, the venue serves the rows next to it
    return kept[-limit:] if before is not None and after is None else kept[:limit]


def _header(request: web.Request, name: str, code: str) -> str:
    text = request.headers.get(f"OK-ACCESS-{name}", "")
    if not text:
        raise Refusal(code, f"Request header OK-ACCESS-{name} can't be empty", 401)
    return text


def _read_stamp(stamp: str) -> int:
    try:
        moment = datetime.fromisoformat(stamp).astimezone(UTC)
    except ValueError:
        raise Refusal("50112", "Invalid OK-ACCESS-TIMESTAMP", 401) from None
    return int(moment.timestamp() * 1000)


def _texts(item: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(value) for name, value in item.items() if value is not None and value != ""}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)
