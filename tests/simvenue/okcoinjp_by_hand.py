"""OKJ's protocol by hand, for tests that want to send what no client sends."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from tests.simvenue.running import RunningVenue

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
PLACE = "/api/v5/trade/order"
CANCEL = "/api/v5/trade/cancel-order"
PENDING = "/api/v5/trade/orders-pending"
HISTORY = "/api/v5/trade/orders-history"
BTC = {"instId": "BTC-JPY"}
RESTING = BTC | {"tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "0.001", "px": "5000000"}


class Raw:
    """Sign and send by hand, wrong where a test wants it."""

    def __init__(self, venue: RunningVenue, session: aiohttp.ClientSession) -> None:
        self.venue = venue
        self._session = session
        self.headers: dict[str, str] = {}
        self.status = 0

    async def get(self, path: str, **params: Any) -> Any:
        return await self.send("GET", path + (f"?{urlencode(params)}" if params else ""), "")

    async def post(self, path: str, body: Any) -> Any:
        return await self.send("POST", path, json.dumps(body))

    async def send(
        self,
        method: str,
        target: str,
        body: str,
        *,
        secret: str = "",
        key: str = "",
        passphrase: str = "",
        late_s: float = 0,
        stamp: str = "",
        without: str = "",
        sent: str | None = None,
    ) -> Any:
        moment = datetime.now(UTC) - timedelta(seconds=late_s)
        stamp = stamp or moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        secrets = self.venue.server.venue.secrets
        text = f"{stamp}{method}{target}{body}".encode()
        sign = hmac.new((secret or secrets.api_secret).encode(), text, hashlib.sha256).digest()
        headers = {
            "OK-ACCESS-KEY": key or secrets.api_key,
            "OK-ACCESS-SIGN": base64.b64encode(sign).decode(),
            "OK-ACCESS-TIMESTAMP": stamp,
            "OK-ACCESS-PASSPHRASE": passphrase or secrets.passphrase,
            "Content-Type": "application/json",
            "X-BrokerID": "0",  # as this venue's own library does
        }
        headers.pop(without, None)
        data = (body if sent is None else sent) or None
        # encoded: the query leaves as it was signed
        url = URL(self.venue.url + target, encoded=True)
        async with self._session.request(method, url, data=data, headers=headers) as reply:
            self.headers = dict(reply.headers)
            self.status = reply.status
            return await reply.json()


async def placed(raw: Raw, **changes: str) -> str:
    """Place an order that must be taken; give its id."""
    answer = await raw.post(PLACE, RESTING | changes)
    assert answer["code"] == "0", answer
    return str(answer["data"][0]["ordId"])


async def refused(raw: Raw, path: str, body: Any) -> str:
    """Send one order or cancel that must be refused; give the code."""
    answer = await raw.post(path, body)
    assert (raw.status, answer["code"]) == (200, "1"), answer
    return str(answer["data"][0]["sCode"])


async def seen(raw: Raw, order_id: str) -> Any:
    answer = await raw.get(PLACE, **BTC, ordId=order_id)
    return answer["data"][0]


async def held(raw: Raw, currency: str) -> D:
    answer = await raw.get("/api/v5/account/balance", ccy=currency)
    return D(answer["data"][0]["details"][0]["cashBal"])


async def price(raw: Raw) -> D:
    answer = await raw.get("/api/v5/market/ticker", **BTC)
    return D(answer["data"][0]["last"])
