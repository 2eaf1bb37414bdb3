"""bitFlyer's requests signed by hand, without a client's help."""

import hashlib
import hmac
import json
import time
from decimal import Decimal
from typing import Any

import aiohttp

from tests.simvenue.running import RunningVenue

Headers = dict[str, str]
Reply = tuple[int, Any]


def signed(venue: RunningVenue, method: str, target: str, body: str = "", stamp: str = "") -> Headers:
    stamp = stamp or str(time.time_ns() // 1_000_000)
    text = f"{stamp}{method}{target}{body}".encode()
    sign = hmac.new(venue.api_secret.encode(), text, hashlib.sha256).hexdigest()
    return {"ACCESS-KEY": venue.api_key, "ACCESS-TIMESTAMP": stamp, "ACCESS-SIGN": sign}


async def get(session: aiohttp.ClientSession, venue: RunningVenue, target: str) -> Any:
    async with session.get(venue.url + target, headers=signed(venue, "GET", target)) as reply:
        return await reply.json()


async def post(session: aiohttp.ClientSession, venue: RunningVenue, name: str, body: Any) -> Reply:
    text = body if isinstance(body, str) else json.dumps(body)
    target = f"/v1/me/{name}"
    async with session.post(venue.url + target, data=text, headers=signed(venue, "POST", target, text)) as reply:
        raw = await reply.text()
        return reply.status, json.loads(raw) if raw else ""


async def send(session: aiohttp.ClientSession, venue: RunningVenue, **changes: Any) -> str:
    status, reply = await post(session, venue, "sendchildorder", an_order(**changes))
    assert status == 200, reply
    return str(reply["child_order_acceptance_id"])


async def row_of(session: aiohttp.ClientSession, venue: RunningVenue, order_id: str) -> Any:
    product = "FX_BTC_JPY" if venue.true_order(order_id)["symbol"] == "BTC/JPY:JPY" else "BTC_JPY"
    target = f"/v1/me/getchildorders?product_code={product}&child_order_acceptance_id={order_id}"
    (row,) = await get(session, venue, target)
    return row


def an_order(**changes: Any) -> dict[str, Any]:
    order = {"product_code": "BTC_JPY", "child_order_type": "LIMIT", "side": "BUY", "price": 8_000_000}
    return {k: v for k, v in {**order, "size": 0.01, **changes}.items() if v is not None}


def exactly(number: float) -> Decimal:
    return Decimal(str(number))
