"""bitbank's requests signed by hand, without a client's help."""

import hashlib
import hmac
import json
import time
from typing import Any

import aiohttp

from tests.simvenue.running import RunningVenue

Headers = dict[str, str]


def signature(venue: RunningVenue, text: str) -> str:
    return hmac.new(venue.api_secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def signed(venue: RunningVenue, what: str, *, at: int | None = None, window: str | None = "5000") -> Headers:
    """Sign a path with its query, or a body, by the time window method."""
    stamp = str(time.time_ns() // 1_000_000 if at is None else at)
    headers = {
        "ACCESS-KEY": venue.api_key,
        "ACCESS-REQUEST-TIME": stamp,
        "ACCESS-SIGNATURE": signature(venue, stamp + (window or "") + what),
    }
    return headers if window is None else {**headers, "ACCESS-TIME-WINDOW": window}


async def get(session: aiohttp.ClientSession, venue: RunningVenue, target: str) -> Any:
    async with session.get(venue.url + target, headers=signed(venue, target)) as reply:
        return await reply.json()


async def post(session: aiohttp.ClientSession, venue: RunningVenue, target: str, body: Any) -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    headers = {**signed(venue, text), "Content-Type": "application/json"}
    async with session.post(venue.url + target, data=text, headers=headers) as reply:
        return await reply.json()


async def read(session: aiohttp.ClientSession, venue: RunningVenue, target: str) -> Any:
    async with session.get(venue.url + target) as reply:
        return (await reply.json(content_type=None))["data"]


def an_order(**changes: Any) -> dict[str, Any]:
    order = {"pair": "btc_jpy", "side": "buy", "type": "limit", "amount": "0.0100", "price": "8000000"}
    return {name: value for name, value in {**order, **changes}.items() if value is not None}
