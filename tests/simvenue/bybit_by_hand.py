"""Bybit's protocol by hand, for tests that want to send what no client sends."""

import hashlib
import hmac
import json
import time
from decimal import Decimal as D
from typing import Any
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from tests.simvenue.running import RunningVenue

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SPOT = {"category": "spot", "symbol": "BTCUSDT"}
LINEAR = {"category": "linear", "symbol": "BTCUSDT"}
RESTING = SPOT | {"side": "Buy", "orderType": "Limit", "qty": "0.001", "price": "30000"}
CREATE = "/v5/order/create"
REALTIME = "/v5/order/realtime"


class Raw:
    """Sign and send by hand, wrong where a test wants it."""

    def __init__(self, venue: RunningVenue, session: aiohttp.ClientSession) -> None:
        self.venue = venue
        self._session = session
        self.headers: dict[str, str] = {}
        self.status = 0

    async def get(self, path: str, **params: Any) -> Any:
        return await self.send("GET", path, urlencode(params))

    async def post(self, path: str, **body: Any) -> Any:
        return await self.send("POST", path, json.dumps(body))

    async def send(
        self,
        method: str,
        path: str,
        text: str,
        *,
        secret: str = "",
        late_ms: int = 0,
        window: str | None = "5000",
        without: str = "",
        sent: str | None = None,
        key: str = "",
    ) -> Any:
        stamp = str(time.time_ns() // 1_000_000 - late_ms)
        key = key or self.venue.api_key
        signed = f"{stamp}{key}{window or ''}{text}"
        sign = hmac.new((secret or self.venue.api_secret).encode(), signed.encode(), hashlib.sha256)
        headers = {"X-BAPI-API-KEY": key, "X-BAPI-TIMESTAMP": stamp, "X-BAPI-SIGN": sign.hexdigest()}
        if window is not None:
            headers["X-BAPI-RECV-WINDOW"] = window
        headers.pop(without, None)
        text = text if sent is None else sent
        url = self.venue.url + path + (f"?{text}" if method == "GET" else "")
        data = text if method == "POST" else None
        # encoded: the query leaves as it was signed
        async with self._session.request(method, URL(url, encoded=True), data=data, headers=headers) as reply:
            self.headers = dict(reply.headers)
            self.status = reply.status
            return await reply.json() if reply.content_type == "application/json" else await reply.text()


async def spot_price(raw: Raw) -> D:
    answer = await raw.get("/v5/market/tickers", **SPOT)
    return D(answer["result"]["list"][0]["lastPrice"])


async def held(raw: Raw, coin: str) -> D:
    answer = await raw.get("/v5/account/wallet-balance", accountType="UNIFIED", coin=coin)
    coins = answer["result"]["list"][0]["coin"]
    return D(coins[0]["walletBalance"]) if coins else D(0)


async def placed(raw: Raw, **changes: str) -> str:
    answer = await raw.post(CREATE, **(RESTING | changes))
    assert answer["retCode"] == 0, answer
    return str(answer["result"]["orderId"])


async def seen(raw: Raw, order_id: str, category: str = "spot") -> Any:
    answer = await raw.get(REALTIME, category=category, orderId=order_id)
    return answer["result"]["list"][0]
