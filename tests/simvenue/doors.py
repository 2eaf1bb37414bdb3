"""One way to call all four venues by hand: what goes out is signed as each wants it, what comes back is raw."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
from yarl import URL

from tests.simvenue import bitbank_by_hand, bitflyer_by_hand, bybit_by_hand, okcoinjp_by_hand
from tests.simvenue.running import RunningVenue


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def is_page(self) -> bool:
        return self.headers["Content-Type"].startswith("text/html")

    @property
    def told(self) -> Any:
        return json.loads(self.text)

    @property
    def code(self) -> Any:
        """The venue's own code: of one order where it has one, 0 for a call that worked."""
        told = self.told
        if isinstance(told, list):
            return 0
        if "retCode" in told:
            return told["retCode"]
        if "success" in told:
            return 0 if told["success"] else told["data"]["code"]
        if "code" in told:
            return told["data"][0]["sCode"] if told["code"] == "1" else told["code"]
        return told.get("status", 0)


@dataclass(frozen=True)
class Door:
    """Paths of one venue, and the order that rests at it."""

    name: str
    place: str
    order: dict[str, Any]
    cancel: str
    cancel_all: str
    open_orders: str
    balances: str
    ticker: str

    def cancel_body(self, order_id: str) -> dict[str, Any]:
        return {
            "bybit": {"category": "spot", "symbol": "BTCUSDT", "orderId": order_id},
            "bitbank": {"pair": "btc_jpy", "order_id": order_id},
            "bitflyer": {"product_code": "BTC_JPY", "child_order_acceptance_id": order_id},
            "okcoinjp": {"instId": "BTC-JPY", "ordId": order_id},
        }[self.name]

    def cancel_all_body(self, order_id: str) -> Any:
        return {
            "bybit": {"category": "spot"},
            "bitbank": {"pair": "btc_jpy", "order_ids": [order_id]},
            "bitflyer": {"product_code": "BTC_JPY"},
            "okcoinjp": [{"instId": "BTC-JPY", "ordId": order_id}],
        }[self.name]


DOORS = {
    "bybit": Door(
        "bybit",
        bybit_by_hand.CREATE,
        bybit_by_hand.RESTING,
        "/v5/order/cancel",
        "/v5/order/cancel-all",
        "/v5/order/realtime?category=spot",
        "/v5/account/wallet-balance?accountType=UNIFIED",
        "/v5/market/tickers?category=spot",
    ),
    "bitbank": Door(
        "bitbank",
        "/v1/user/spot/order",
        bitbank_by_hand.an_order(),
        "/v1/user/spot/cancel_order",
        "/v1/user/spot/cancel_orders",
        "/v1/user/spot/active_orders",
        "/v1/user/assets",
        "/btc_jpy/ticker",
    ),
    "bitflyer": Door(
        "bitflyer",
        "/v1/me/sendchildorder",
        bitflyer_by_hand.an_order(),
        "/v1/me/cancelchildorder",
        "/v1/me/cancelallchildorders",
        "/v1/me/getchildorders?product_code=BTC_JPY&child_order_state=ACTIVE",
        "/v1/me/getbalance",
        "/v1/ticker",
    ),
    "okcoinjp": Door(
        "okcoinjp",
        okcoinjp_by_hand.PLACE,
        okcoinjp_by_hand.RESTING,
        okcoinjp_by_hand.CANCEL,
        "/api/v5/trade/cancel-batch-orders",
        okcoinjp_by_hand.PENDING,
        "/api/v5/account/balance",
        "/api/v5/market/ticker?instId=BTC-JPY",
    ),
}


class Caller:
    """Call one venue over one session."""

    def __init__(self, venue: RunningVenue, session: aiohttp.ClientSession) -> None:
        self.venue = venue
        self.door = DOORS[venue.server.venue.spec.name]
        self._session = session

    async def get(self, target: str) -> Reply:
        return await self._send("GET", target, "")

    async def post(self, target: str, body: Any) -> Reply:
        return await self._send("POST", target, json.dumps(body))

    async def place(self) -> Reply:
        return await self.post(self.door.place, self.door.order)

    async def placed(self) -> str:
        """Place an order that must be taken; give its id."""
        assert (await self.place()).code in (0, "0")
        return str(self.orders()[-1]["id"])

    async def cancel(self, order_id: str) -> Reply:
        return await self.post(self.door.cancel, self.door.cancel_body(order_id))

    async def cancel_all(self, order_id: str) -> Reply:
        return await self.post(self.door.cancel_all, self.door.cancel_all_body(order_id))

    def orders(self) -> list[Any]:
        return list(self.venue.truth()["orders"])

    async def fault(self, name: str, **more: Any) -> Any:
        """Set a fault on the control side; give its answer."""
        async with self._session.post(f"{self.venue.url}/_control/faults", json={"name": name, **more}) as reply:
            return await reply.json()

    async def _send(self, method: str, target: str, body: str) -> Reply:
        # encoded: the query leaves as it was signed; a new connection each time, or the client would ask again
        url = URL(self.venue.url + target, encoded=True)
        headers = {**self._signed(method, target, body), "Content-Type": "application/json", "Connection": "close"}
        async with self._session.request(method, url, data=body or None, headers=headers) as reply:
            return Reply(reply.status, dict(reply.headers), await reply.text())

    def _signed(self, method: str, target: str, body: str) -> dict[str, str]:
        name, secrets = self.door.name, self.venue.server.venue.secrets
        if name == "bitbank":
            return bitbank_by_hand.signed(self.venue, body if method == "POST" else target)
        if name == "bitflyer":
            return bitflyer_by_hand.signed(self.venue, method, target, body)
        if name == "bybit":
            stamp = str(time.time_ns() // 1_000_000)
            text = f"{stamp}{secrets.api_key}5000{body if method == 'POST' else target.partition('?')[2]}"
            return {
                "X-BAPI-API-KEY": secrets.api_key,
                "X-BAPI-TIMESTAMP": stamp,
                "X-BAPI-RECV-WINDOW": "5000",
                "X-BAPI-SIGN": hmac.new(secrets.api_secret.encode(), text.encode(), hashlib.sha256).hexdigest(),
            }
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        sign = hmac.new(secrets.api_secret.encode(), f"{stamp}{method}{target}{body}".encode(), hashlib.sha256)
        return {
            "OK-ACCESS-KEY": secrets.api_key,
            "OK-ACCESS-SIGN": base64.b64encode(sign.digest()).decode(),
            "OK-ACCESS-TIMESTAMP": stamp,
            "OK-ACCESS-PASSPHRASE": secrets.passphrase,
        }
