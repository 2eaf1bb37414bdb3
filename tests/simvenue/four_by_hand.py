"""The four venues in one small language, each spoken by hand through its own wire: for what all of them do."""

from decimal import Decimal as D
from typing import Any, NamedTuple

import aiohttp

from simvenue.venue import Venue
from tests.simvenue import bitbank_by_hand, bitflyer_by_hand, bybit_by_hand, okcoinjp_by_hand
from tests.simvenue.running import RunningVenue

EXCHANGES = ("bitbank", "bitflyer", "bybit", "okcoinjp")


class Placed(NamedTuple):
    id: str
    code: str


class Row(NamedTuple):
    """One fill as listed."""

    id: str
    order_id: str
    quantity: D
    at: str


class Hand:
    """Whoever has a key: places, cancels and looks, at BTC against the venue's own currency."""

    symbol = "BTC/JPY"
    quote = "JPY"
    size = "0.01"

    def __init__(self, running: RunningVenue, session: aiohttp.ClientSession) -> None:
        self.running = running
        self.session = session

    @property
    def venue(self) -> Venue:
        return self.running.server.venue

    def last(self) -> D:
        return self.venue.market(self.symbol).last

    def at(self, share: str) -> str:
        """Give a price at this share of the last one, on the tick."""
        return str(int(self.last() * D(share)))

    async def place(self, side: str, price: str | None, size: str = "", *, post_only: bool = False) -> Placed:
        raise NotImplementedError

    async def taken(self, side: str = "buy", share: str = "0.9", size: str = "", **how: bool) -> str:
        """Place a limit order that must be taken."""
        placed = await self.place(side, self.at(share), size, **how)
        assert placed.id, placed
        return placed.id

    async def cancel(self, order_id: str) -> str:
        """Give the venue's code, "" for done."""
        raise NotImplementedError

    async def look(self, order_id: str) -> str:
        """Give the state of one order in the venue's word, "" for not found."""
        raise NotImplementedError

    async def open(self) -> list[str]:
        raise NotImplementedError

    async def fills(self) -> list[Row]:
        raise NotImplementedError

    async def held(self) -> D:
        """Give how much of the quote currency the account shows."""
        raise NotImplementedError

    async def ticker(self) -> tuple[str, str, str]:
        """Give (best bid, best ask, time) as text; "" for a side that is empty."""
        raise NotImplementedError

    async def minutes(self) -> list[int]:
        """Give the openings of the newest one-minute candles (ms), oldest first."""
        raise NotImplementedError


class BitbankHand(Hand):
    async def place(self, side: str, price: str | None, size: str = "", *, post_only: bool = False) -> Placed:
        order = {"pair": "btc_jpy", "side": side, "type": "limit" if price else "market", "amount": size or self.size}
        order |= {"price": price} if price else {}
        order |= {"post_only": True} if post_only else {}
        return self._placed(await bitbank_by_hand.post(self.session, self.running, "/v1/user/spot/order", order))

    @staticmethod
    def _placed(reply: Any) -> Placed:
        return Placed(str(reply["data"].get("order_id", "")), str(reply["data"].get("code", "")))

    async def cancel(self, order_id: str) -> str:
        body = {"pair": "btc_jpy", "order_id": int(order_id)}
        reply = await bitbank_by_hand.post(self.session, self.running, "/v1/user/spot/cancel_order", body)
        return str(reply["data"].get("code", ""))

    async def look(self, order_id: str) -> str:
        reply = await self._get(f"spot/order?pair=btc_jpy&order_id={order_id}")
        return str(reply.get("status", ""))

    async def open(self) -> list[str]:
        return [str(row["order_id"]) for row in (await self._get("spot/active_orders?pair=btc_jpy"))["orders"]]

    async def fills(self) -> list[Row]:
        rows = (await self._get("spot/trade_history?pair=btc_jpy"))["trades"]
        return [Row(str(r["trade_id"]), str(r["order_id"]), D(r["amount"]), str(r["executed_at"])) for r in rows]

    async def held(self) -> D:
        rows = (await self._get("assets"))["assets"]
        return next(D(row["onhand_amount"]) for row in rows if row["asset"] == "jpy")

    async def ticker(self) -> tuple[str, str, str]:
        row = await bitbank_by_hand.read(self.session, self.running, "/btc_jpy/ticker")
        return row["buy"] or "", row["sell"] or "", str(row["timestamp"])

    async def minutes(self) -> list[int]:
        data = await bitbank_by_hand.read(self.session, self.running, "/btc_jpy/candlestick/1min/20260105")
        return [bar[5] for bar in data["candlestick"][0]["ohlcv"]]

    async def _get(self, path: str) -> Any:
        return (await bitbank_by_hand.get(self.session, self.running, f"/v1/user/{path}"))["data"]


class BitflyerHand(Hand):
    async def place(self, side: str, price: str | None, size: str = "", *, post_only: bool = False) -> Placed:
        changes: dict[str, Any] = {"side": side.upper(), "size": float(size or self.size), "price": None}
        changes |= {"price": float(price)} if price else {"child_order_type": "MARKET"}
        order = bitflyer_by_hand.an_order(**changes)
        _, reply = await bitflyer_by_hand.post(self.session, self.running, "sendchildorder", order)
        return Placed(reply.get("child_order_acceptance_id", ""), str(reply.get("status", "")))

    async def cancel(self, order_id: str) -> str:
        body = {"product_code": "BTC_JPY", "child_order_acceptance_id": order_id}
        status, reply = await bitflyer_by_hand.post(self.session, self.running, "cancelchildorder", body)
        return "" if status == 200 else str(reply["status"])

    async def look(self, order_id: str) -> str:
        rows = await self._get(f"getchildorders?child_order_acceptance_id={order_id}")
        return str(rows[0]["child_order_state"]) if rows else ""

    async def open(self) -> list[str]:
        return [row["child_order_acceptance_id"] for row in await self._get("getchildorders?child_order_state=ACTIVE")]

    async def fills(self) -> list[Row]:
        rows = await self._get("getexecutions?count=500")
        return [
            Row(str(r["id"]), r["child_order_acceptance_id"], bitflyer_by_hand.exactly(r["size"]), r["exec_date"])
            for r in rows
        ]

    async def held(self) -> D:
        rows = await self._get("getbalance")
        return next(bitflyer_by_hand.exactly(row["amount"]) for row in rows if row["currency_code"] == "JPY")

    async def ticker(self) -> tuple[str, str, str]:
        row = await bitflyer_by_hand.get(self.session, self.running, "/v1/getticker")
        return *(str(row[side]) if row[side] else "" for side in ("best_bid", "best_ask")), row["timestamp"]

    async def minutes(self) -> list[int]:
        """There are no candles here: clients make them of the executions."""
        rows = await bitflyer_by_hand.get(self.session, self.running, "/v1/getexecutions?count=500")
        return sorted({row["id"] // 1_000_000 * 60_000 for row in rows})

    async def _get(self, path: str) -> Any:
        return await bitflyer_by_hand.get(self.session, self.running, f"/v1/me/{path}")


class BybitHand(Hand):
    symbol = "BTC/USDT"
    quote = "USDT"

    def __init__(self, running: RunningVenue, session: aiohttp.ClientSession) -> None:
        super().__init__(running, session)
        self.raw = bybit_by_hand.Raw(running, session)

    async def place(self, side: str, price: str | None, size: str = "", *, post_only: bool = False) -> Placed:
        order = bybit_by_hand.SPOT | {"side": side.capitalize(), "qty": size or self.size}
        order |= {"orderType": "Limit", "price": price} if price else {"orderType": "Market", "marketUnit": "baseCoin"}
        order |= {"timeInForce": "PostOnly"} if post_only else {}
        reply = await self.raw.post(bybit_by_hand.CREATE, **order)
        return Placed(reply["result"].get("orderId", ""), str(reply["retCode"] or ""))

    async def cancel(self, order_id: str) -> str:
        reply = await self.raw.post("/v5/order/cancel", **bybit_by_hand.SPOT, orderId=order_id)
        return str(reply["retCode"] or "")

    async def look(self, order_id: str) -> str:
        rows = (await self.raw.get(bybit_by_hand.REALTIME, category="spot", orderId=order_id))["result"]["list"]
        return str(rows[0]["orderStatus"]) if rows else ""

    async def open(self) -> list[str]:
        reply = await self.raw.get(bybit_by_hand.REALTIME, category="spot", limit=50)
        return [row["orderId"] for row in reply["result"]["list"]]

    async def fills(self) -> list[Row]:
        rows = (await self.raw.get("/v5/execution/list", category="spot", limit=100))["result"]["list"]
        return [Row(row["execId"], row["orderId"], D(row["execQty"]), row["execTime"]) for row in rows]

    async def held(self) -> D:
        return await bybit_by_hand.held(self.raw, "USDT")

    async def ticker(self) -> tuple[str, str, str]:
        reply = await self.raw.get("/v5/market/tickers", **bybit_by_hand.SPOT)
        row = reply["result"]["list"][0]
        return row["bid1Price"], row["ask1Price"], str(reply["time"])

    async def minutes(self) -> list[int]:
        reply = await self.raw.get("/v5/market/kline", **bybit_by_hand.SPOT, interval="1")
        return [int(bar[0]) for bar in reversed(reply["result"]["list"])]


class OkcoinjpHand(Hand):
    def __init__(self, running: RunningVenue, session: aiohttp.ClientSession) -> None:
        super().__init__(running, session)
        self.raw = okcoinjp_by_hand.Raw(running, session)

    async def place(self, side: str, price: str | None, size: str = "", *, post_only: bool = False) -> Placed:
        order = okcoinjp_by_hand.BTC | {"tdMode": "cash", "side": side, "sz": size or self.size}
        kind = "post_only" if post_only else "limit"
        order |= {"ordType": kind, "px": price} if price else {"ordType": "market", "tgtCcy": "base_ccy"}
        row = (await self.raw.post(okcoinjp_by_hand.PLACE, order))["data"][0]
        return Placed(row["ordId"], row["sCode"].removeprefix("0"))

    async def cancel(self, order_id: str) -> str:
        reply = await self.raw.post(okcoinjp_by_hand.CANCEL, okcoinjp_by_hand.BTC | {"ordId": order_id})
        return str(reply["data"][0]["sCode"]).removeprefix("0")

    async def look(self, order_id: str) -> str:
        rows = (await self.raw.get(okcoinjp_by_hand.PLACE, **okcoinjp_by_hand.BTC, ordId=order_id))["data"]
        return str(rows[0]["state"]) if rows else ""

    async def open(self) -> list[str]:
        return [row["ordId"] for row in (await self.raw.get(okcoinjp_by_hand.PENDING))["data"]]

    async def fills(self) -> list[Row]:
        rows = (await self.raw.get("/api/v5/trade/fills", instType="SPOT"))["data"]
        return [Row(row["tradeId"], row["ordId"], D(row["fillSz"]), row["ts"]) for row in rows]

    async def held(self) -> D:
        return await okcoinjp_by_hand.held(self.raw, "JPY")

    async def ticker(self) -> tuple[str, str, str]:
        row = (await self.raw.get("/api/v5/market/ticker", **okcoinjp_by_hand.BTC))["data"][0]
        return row["bidPx"], row["askPx"], row["ts"]

    async def minutes(self) -> list[int]:
        rows = (await self.raw.get("/api/v5/market/candles", **okcoinjp_by_hand.BTC, bar="1m"))["data"]
        return [int(bar[0]) for bar in reversed(rows)]


HANDS = {"bitbank": BitbankHand, "bitflyer": BitflyerHand, "bybit": BybitHand, "okcoinjp": OkcoinjpHand}
