"""bitbank's orders and trades by hand: refusals, cancels, pages, retention, rate limits."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from simvenue.bitbank import BitbankWire
from simvenue.bitbank_rows import order_row
from simvenue.values import Order
from tests.simvenue.bitbank_by_hand import an_order, get, post, read, signed
from tests.simvenue.running import RunningVenue

# the fields that real replies hold
TRADE = {"trade_id", "pair", "order_id", "side", "type", "amount", "price", "maker_taker", "executed_at"}
TRADE |= {"fee_amount_base", "fee_amount_quote", "fee_occurred_amount_quote"}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningVenue]:
    with RunningVenue("bitbank") as venue:
        yield venue


@pytest.fixture
def venue(running: RunningVenue) -> RunningVenue:
    running.advance(60_000)  # a fresh minute: no test eats another's requests
    return running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as client:
        yield client


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"pair": None}, 30009),
        ({"pair": "doge_jpy"}, 40017),
        ({"side": None}, 30013),
        ({"side": "long"}, 40021),
        ({"type": None}, 30015),
        ({"type": "stop"}, 40024),
        ({"amount": None}, 30001),
        ({"amount": "a lot"}, 40001),
        ({"amount": "-1"}, 40001),
        ({"amount": "0.01005"}, 40001),
        ({"amount": "0.00001"}, 60004),
        ({"amount": "1000.1"}, 60003),
        ({"amount": "10.1", "type": "market", "price": None}, 60002),
        ({"amount": "10.1", "type": "market", "price": None, "side": "sell"}, 60003),
        ({"price": None}, 30012),
        ({"price": "8000000.5"}, 40020),
        ({"price": "NaN"}, 40020),
        ({"post_only": "yes"}, 40113),
        ({"post_only": True, "type": "market", "price": None}, 40113),
        ({"amount": "1"}, 60001),
    ],
)
async def test_an_order_with_a_fault_is_refused_with_its_code_and_leaves_no_trace(
    venue: RunningVenue, session: aiohttp.ClientSession, changes: dict[str, Any], code: int
) -> None:
    before = venue.truth()
    reply = await post(session, venue, "/v1/user/spot/order", an_order(**changes))
    assert reply == {"success": 0, "data": {"code": code}}
    after = venue.truth()
    assert (after["orders"], after["balances"]) == (before["orders"], before["balances"])


async def test_a_body_that_is_no_json_object_is_malformed(venue: RunningVenue, session: aiohttp.ClientSession) -> None:
    for body in ("{", "[1]", ""):
        assert (await post(session, venue, "/v1/user/spot/order", body))["data"]["code"] == 10002


async def test_a_cancel_tells_what_became_of_the_order(venue: RunningVenue, session: aiohttp.ClientSession) -> None:
    async def cancel(**body: Any) -> Any:
        return (await post(session, venue, "/v1/user/spot/cancel_order", body))["data"].get("code")

    resting = (await post(session, venue, "/v1/user/spot/order", an_order()))["data"]["order_id"]
    filled = (await post(session, venue, "/v1/user/spot/order", an_order(type="market", amount="0.0001", price=None)))[
        "data"
    ]["order_id"]
    assert await cancel(pair="eth_jpy", order_id=resting) == 50009
    assert await cancel(pair="btc_jpy", order_id=str(resting)) is None  # ccxt sends the id as text
    venue.advance(1_000)
    assert await cancel(pair="btc_jpy", order_id=resting) == 50026
    assert await cancel(pair="btc_jpy", order_id=filled) == 50027
    assert await cancel(pair="btc_jpy", order_id=12345) == 50009
    assert await cancel(pair="btc_jpy") == 30006
    assert await cancel(pair="btc_jpy", order_id="x") == 40013


async def test_the_thirty_first_resting_order_is_refused_and_thirty_go_in_one_cancel(
    venue: RunningVenue, session: aiohttp.ClientSession
) -> None:
    ids = []
    for number in range(31):
        if number % 5 == 0:
            venue.advance(1_000)
        body = an_order(amount="0.0001", price=str(7_000_000 + number))
        reply = await post(session, venue, "/v1/user/spot/order", body)
        ids.append(reply["data"].get("order_id"))
    assert ids[30] is None and reply["data"]["code"] == 60011
    venue.advance(1_000)
    other = await post(session, venue, "/v1/user/spot/order", an_order(pair="eth_jpy", price="100000"))
    assert other["success"] == 1  # each pair has its own thirty
    active = (await get(session, venue, "/v1/user/spot/active_orders?pair=btc_jpy"))["data"]["orders"]
    assert [row["order_id"] for row in active] == ids[29::-1]
    newest = (await get(session, venue, "/v1/user/spot/active_orders?count=2"))["data"]["orders"]
    assert [row["order_id"] for row in newest] == [other["data"]["order_id"], ids[29]]
    bounded = f"/v1/user/spot/active_orders?pair=btc_jpy&from_id={ids[3]}&end_id={ids[4]}"
    assert len((await get(session, venue, bounded))["data"]["orders"]) == 2
    body = {"pair": "btc_jpy", "order_ids": [*ids[:30], 1]}
    assert (await post(session, venue, "/v1/user/spot/cancel_orders", body))["data"]["code"] == 40015
    body = {"pair": "btc_jpy", "order_ids": ids[:30]}
    cancelled = (await post(session, venue, "/v1/user/spot/cancel_orders", body))["data"]["orders"]
    assert {row["status"] for row in cancelled} == {"CANCELED_UNFILLED"} and len(cancelled) == 30
    assert (await post(session, venue, "/v1/user/spot/cancel_orders", body))["data"]["code"] == 50026
    rest = {"pair": "eth_jpy", "order_ids": [other["data"]["order_id"], 1]}
    assert len((await post(session, venue, "/v1/user/spot/cancel_orders", rest))["data"]["orders"]) == 1


async def test_the_pace_that_ccxt_keeps_is_never_refused(session: aiohttp.ClientSession, venue: RunningVenue) -> None:
    for _ in range(14):  # seven of them lie within 996 ms
        reply = await post(session, venue, "/v1/user/spot/cancel_order", {"pair": "btc_jpy", "order_id": 5})
        assert reply["data"]["code"] == 50009
        venue.advance(166)


async def test_the_seventh_update_and_the_eleventh_query_of_a_second_are_refused(
    venue: RunningVenue, session: aiohttp.ClientSession
) -> None:
    body = json.dumps({"pair": "btc_jpy", "order_id": 1})
    updates, queries = [], []
    for _ in range(7):
        headers = signed(venue, body)
        async with session.post(venue.url + "/v1/user/spot/cancel_order", data=body, headers=headers) as reply:
            updates.append((reply.status, (await reply.json())["data"]["code"]))
    assert updates == [(200, 50009)] * 6 + [(429, 10009)]
    ids = json.dumps({"pair": "btc_jpy", "order_ids": [1]})
    for number in range(11):
        if number % 2:  # orders_info is a POST that asks: it counts as a query
            reply = await post(session, venue, "/v1/user/spot/orders_info", ids)
        else:
            reply = await get(session, venue, "/v1/user/assets")
        queries.append(reply["success"])
    assert queries == [1] * 10 + [0]
    assert (await read(session, venue, "/btc_jpy/ticker"))["last"]  # the public host has no part in it
    venue.advance(1_001)
    assert (await get(session, venue, "/v1/user/assets"))["success"] == 1


async def test_the_guides_limit_is_sixty_requests_a_minute_of_any_kind(
    session: aiohttp.ClientSession,
) -> None:
    with RunningVenue("bitbank", limits="guide") as venue:
        statuses = []
        for _ in range(61):
            async with session.get(venue.url + "/spot/pairs") as reply:
                statuses.append(reply.status)
        assert statuses == [200] * 60 + [429]
        assert venue.truth()["requests"]["refused_for_rate"] == 1


async def test_trade_history_pages_by_time_in_both_orders(venue: RunningVenue, session: aiohttp.ClientSession) -> None:
    start = venue.now_ms()
    for _ in range(4):
        body = an_order(type="market", amount="0.0001", price=None)
        assert (await post(session, venue, "/v1/user/spot/order", body))["data"]["status"] == "FULLY_FILLED"
        venue.advance(1_000)

    async def trades(query: str) -> list[dict[str, Any]]:
        target = f"/v1/user/spot/trade_history?{query}"
        return list((await get(session, venue, target))["data"]["trades"])

    oldest_first = await trades(f"pair=btc_jpy&since={start}&order=asc")
    assert [row["executed_at"] for row in oldest_first] == [start + 1000 * step for step in range(4)]
    assert await trades(f"since={start}") == oldest_first[::-1]
    assert await trades(f"since={start}&count=2&order=asc") == oldest_first[:2]
    assert await trades(f"since={start + 1000}&end={start + 2000}&order=asc") == oldest_first[1:3]
    assert await trades(f"pair=btc_jpy&order_id={oldest_first[0]['order_id']}") == oldest_first[:1]
    assert set(oldest_first[0]) == TRADE
    venue.advance(1_000)
    reply = await get(session, venue, "/v1/user/spot/trade_history?count=1001")
    assert reply["data"]["code"] == 40006


async def test_an_order_is_forgotten_three_months_after_its_end(session: aiohttp.ClientSession) -> None:
    with RunningVenue("bitbank") as venue:
        body = an_order(type="market", amount="0.0001", price=None)
        order_id = (await post(session, venue, "/v1/user/spot/order", body))["data"]["order_id"]
        ids = {"pair": "btc_jpy", "order_ids": [order_id, 1]}
        target = f"/v1/user/spot/order?pair=btc_jpy&order_id={order_id}"
        venue.advance(89 * 86_400_000)
        assert (await get(session, venue, target))["data"]["order_id"] == order_id
        assert len((await post(session, venue, "/v1/user/spot/orders_info", ids))["data"]["orders"]) == 1
        venue.advance(2 * 86_400_000)
        assert (await get(session, venue, target))["data"]["code"] == 50009
        assert (await post(session, venue, "/v1/user/spot/orders_info", ids))["data"]["orders"] == []


def test_an_expired_order_is_shown_as_cancelled() -> None:
    pair = BitbankWire.spec.pairs[0]
    order = Order(
        number=1,
        id="48000000001",
        client_id="",
        symbol="BTC/JPY",
        side="buy",
        type="limit",
        price=Decimal(8_000_000),
        quantity=Decimal("0.01"),
        quote_budget=None,
        time_in_force="gtc",
        created_at=1_000,
        updated_at=1_000,
    )
    order.status, order.ended_at = "cancelled", 1_000 + 180 * 86_400_000
    row = order_row(pair, order)
    assert row["status"] == "CANCELED_UNFILLED" and row["canceled_at"] == row["expire_at"]
    order.filled = Decimal("0.004")
    assert order_row(pair, order)["status"] == "CANCELED_PARTIALLY_FILLED"


async def test_many_requests_at_once_are_all_answered(venue: RunningVenue, session: aiohttp.ClientSession) -> None:
    prices = [str(7_000_000 + number) for number in range(6)]
    replies = await asyncio.gather(
        *(post(session, venue, "/v1/user/spot/order", an_order(price=price)) for price in prices)
    )
    ids = [reply["data"]["order_id"] for reply in replies]
    assert len(set(ids)) == 6
    venue.advance(1_000)
    await post(session, venue, "/v1/user/spot/cancel_orders", {"pair": "btc_jpy", "order_ids": ids})
    assert [o for o in venue.truth()["orders"] if o["status"] == "open"] == []


async def test_nothing_is_accepted_while_a_pair_is_halted_and_cancels_still_work(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    file = tmp_path / "gap.csv"
    minutes = [minute for minute in range(200) if not 60 <= minute < 70]
    rows = [f"{1767571200000 + 60_000 * minute},100,110,90,100,5" for minute in minutes]
    file.write_text("timestamp,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    with RunningVenue("bitbank", candles=file) as venue:
        resting = await post(session, venue, "/v1/user/spot/order", an_order(price="10"))
        venue.advance(45 * 60_000)  # the replay begins twenty minutes into the file
        statuses = (await read(session, venue, "/v1/spot/status"))["statuses"]
        assert statuses[0]["status"] == "HALT"
        reply = await post(session, venue, "/v1/user/spot/order", an_order(price="10"))
        assert reply["data"]["code"] == 70004
        body = {"pair": "btc_jpy", "order_id": resting["data"]["order_id"]}
        assert (await post(session, venue, "/v1/user/spot/cancel_order", body))["success"] == 1
