"""bitFlyer's orders by hand: refusals, cancels, lists, histories, rate limits."""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from tests.simvenue.bitflyer_by_hand import an_order, exactly, get, post, row_of, send
from tests.simvenue.running import RunningVenue


@pytest.fixture(scope="module")
def running() -> Iterator[RunningVenue]:
    with RunningVenue("bitflyer") as venue:
        yield venue


@pytest.fixture
def venue(running: RunningVenue) -> RunningVenue:
    running.advance(300_000)  # five fresh minutes: no test eats another's requests
    return running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as client:
        yield client


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"product_code": None}, -100, "Invalid product"),
        ({"product_code": "DOGE_JPY"}, -100, "Invalid product"),
        ({"child_order_type": "STOP"}, -100, "Invalid child_order_type"),
        ({"side": "buy"}, -100, "Invalid side"),
        ({"time_in_force": "PO"}, -100, "Invalid time_in_force"),
        ({"minute_to_expire": 43_201}, -100, "Invalid minute_to_expire"),
        ({"price": None}, -100, "Invalid price"),
        ({"price": 8_000_000.5}, -100, "Invalid price"),
        ({"size": "much"}, -100, "Invalid size"),
        ({"size": 0.001000001, "price": -1}, -100, "Invalid price"),
        ({"size": 0.0010000001}, -100, "Invalid size"),
        ({"size": 0.0009}, -110, "The minimum order size is 0.001 BTC."),
        ({"size": 1}, -200, "Insufficient funds"),
        ({"size": 1, "product_code": "FX_BTC_JPY"}, -205, "Margin amount is insufficient for this order."),
    ],
)
async def test_an_order_with_a_fault_is_refused_in_the_venues_words(
    venue: RunningVenue,
    session: aiohttp.ClientSession,
    changes: dict[str, Any],
    status: int,
    message: str,
) -> None:
    before = len(venue.truth()["orders"])
    http_status, reply = await post(session, venue, "sendchildorder", an_order(**changes))
    assert http_status == 400
    assert reply == {"status": status, "error_message": message, "data": None}
    assert len(venue.truth()["orders"]) == before


async def test_a_cancel_needs_one_name_of_an_order_and_says_nothing_about_its_fate(
    venue: RunningVenue, session: aiohttp.ClientSession
) -> None:
    order_id = await send(session, venue, child_order_type="MARKET", size=0.001)
    filled = {"product_code": "btc_jpy", "child_order_acceptance_id": order_id}
    assert await post(session, venue, "cancelchildorder", filled) == (200, "")
    assert (await row_of(session, venue, order_id))["child_order_state"] == "COMPLETED"
    for body in ({"product_code": "BTC_JPY"}, {**filled, "child_order_id": "JOR"}):
        assert (await post(session, venue, "cancelchildorder", body))[0] == 400
    unknown = {"product_code": "BTC_JPY", "child_order_acceptance_id": "JRF20200101-000000-000000"}
    status, reply = await post(session, venue, "cancelchildorder", unknown)
    assert (status, reply["error_message"]) == (400, "Order not found")
    elsewhere = {**filled, "product_code": "ETH_JPY"}
    assert (await post(session, venue, "cancelchildorder", elsewhere))[0] == 400


async def test_immediate_or_cancel_and_fill_or_kill_never_rest(
    venue: RunningVenue, session: aiohttp.ClientSession
) -> None:
    board = await get(session, venue, "/v1/getboard?product_code=BTC_JPY")
    best = board["asks"][0]
    wanted = float(exactly(best["size"]) + Decimal("0.001"))
    for in_force, executed in (("FOK", 0.0), ("IOC", best["size"])):
        order_id = await send(session, venue, price=best["price"], size=wanted, time_in_force=in_force)
        row = await row_of(session, venue, order_id)
        assert (row["child_order_state"], row["executed_size"]) == ("CANCELED", executed)
        assert row["time_in_force"] == in_force


async def test_an_order_expires_after_its_minutes_and_frees_its_money(
    venue: RunningVenue, session: aiohttp.ClientSession
) -> None:
    before = venue.truth()["balances"]
    order_id = await send(session, venue, minute_to_expire=2)
    row = await row_of(session, venue, order_id)
    born, dies = (datetime.fromisoformat(row[name]) for name in ("child_order_date", "expire_date"))
    assert (dies - born).total_seconds() == 120
    venue.advance(119_000)
    assert (await row_of(session, venue, order_id))["child_order_state"] == "ACTIVE"
    venue.advance(2_000)
    assert (await row_of(session, venue, order_id))["child_order_state"] == "EXPIRED"
    assert venue.truth()["balances"] == before
    assert venue.true_order(order_id)["status"] == "expired"


async def test_order_lists_put_active_ones_first_and_leave_them_out_when_paged(
    venue: RunningVenue, session: aiohttp.ClientSession
) -> None:
    resting = [await send(session, venue, price=7_000_000 + number) for number in range(3)]
    done = [await send(session, venue, child_order_type="MARKET", size=0.001) for _ in range(3)]

    async def ids(query: str) -> list[str]:
        rows = await get(session, venue, f"/v1/me/getchildorders?product_code=BTC_JPY{query}")
        return [row["child_order_acceptance_id"] for row in rows]

    assert (await ids(""))[:6] == resting[::-1] + done[::-1]
    assert await ids("&child_order_state=ACTIVE") == resting[::-1]
    assert (await ids("&child_order_state=COMPLETED&count=2")) == done[:0:-1]
    newest = (await row_of(session, venue, done[2]))["id"]
    assert (await ids(f"&before={newest}"))[:2] == done[1::-1]
    assert await ids(f"&after={newest - 1}") == done[2:]
    assert await ids(f"&child_order_acceptance_id={resting[0]}") == resting[:1]
    assert await ids("&parent_order_id=JCP20260101-000000-000000") == []
    await post(session, venue, "cancelallchildorders", {"product_code": "BTC_JPY"})
    assert await ids("&child_order_state=ACTIVE") == []
    assert [venue.true_order(order_id)["status"] for order_id in resting] == ["cancelled"] * 3


async def test_own_executions_page_by_id_newest_first(venue: RunningVenue, session: aiohttp.ClientSession) -> None:
    for _ in range(3):
        await send(session, venue, child_order_type="MARKET", size=0.001)
    target = "/v1/me/getexecutions?product_code=BTC_JPY"
    newest = await get(session, venue, target + "&count=3")
    ids = [row["id"] for row in newest]
    assert len(ids) == 3 and ids == sorted(ids, reverse=True)
    assert [row["id"] for row in await get(session, venue, f"{target}&after={ids[1]}")] == ids[:1]
    assert [row["id"] for row in await get(session, venue, f"{target}&before={ids[1]}&count=1")] == ids[2:]
    truth = {fill["id"]: fill for fill in venue.truth()["fills"]}
    assert truth[str(ids[0])]["order_id"] == newest[0]["child_order_acceptance_id"]
    assert Decimal(truth[str(ids[0])]["fee"]) == exactly(newest[0]["commission"])


async def test_histories_add_up_to_what_is_held(venue: RunningVenue, session: aiohttp.ClientSession) -> None:
    await send(session, venue, child_order_type="MARKET", size=0.001)
    held = {row["currency_code"]: row["amount"] for row in await get(session, venue, "/v1/me/getbalance")}
    for currency in ("JPY", "BTC"):
        rows = await get(session, venue, f"/v1/me/getbalancehistory?currency_code={currency}")
        assert rows[0]["balance"] == held[currency]
        assert exactly(rows[1]["balance"]) + exactly(rows[0]["amount"]) - exactly(rows[0]["commission"]) == exactly(
            rows[0]["balance"]
        )
        event, trade = (datetime.fromisoformat(rows[0][name]) for name in ("event_date", "trade_date"))
        assert (trade - event).total_seconds() == 9 * 3600  # trade dates are Japanese time
    venue.control("balances", currency="JPY", change="1000")
    await send(session, venue, child_order_type="MARKET", size=0.001)
    trade_row, deposit = await get(session, venue, "/v1/me/getbalancehistory?count=2")
    assert (deposit["trade_type"], deposit["amount"]) == ("DEPOSIT", 1000.0)
    assert trade_row["balance"] == deposit["balance"] + trade_row["amount"]
    assert trade_row["id"] > deposit["id"]


# -- rate limits


async def spend(session: aiohttp.ClientSession, venue: RunningVenue, name: str, body: Any, times: int) -> list[int]:
    return [(await post(session, venue, name, body))[0] for _ in range(times)]


async def test_small_orders_have_a_hundred_a_minute_then_ten_for_an_hour(
    session: aiohttp.ClientSession,
) -> None:
    with RunningVenue("bitflyer") as venue:
        small = an_order(size=0.0001)  # refused for its size, and counted all the same
        assert await spend(session, venue, "sendchildorder", small, 101) == [400] * 100 + [429]
        venue.advance(60_001)
        assert await spend(session, venue, "sendchildorder", small, 11) == [400] * 10 + [429]
        large = an_order(size=0.2, product_code="ETH_JPY", price=1000)
        assert (await post(session, venue, "sendchildorder", large))[0] == 200
        venue.advance(3_600_000)
        assert await spend(session, venue, "sendchildorder", small, 11) == [400] * 11


async def test_orders_have_three_hundred_in_five_minutes_and_single_cancels_are_not_among_them(
    session: aiohttp.ClientSession,
) -> None:
    with RunningVenue("bitflyer") as venue:
        all_of_one = {"product_code": "BTC_JPY"}
        statuses = await spend(session, venue, "cancelallchildorders", all_of_one, 301)
        assert statuses == [200] * 300 + [429]
        status, reply = await post(session, venue, "sendchildorder", an_order())
        assert (status, reply["status"]) == (429, -1)
        unknown = {"product_code": "BTC_JPY", "child_order_acceptance_id": "JRF20200101-000000-000000"}
        assert (await post(session, venue, "cancelchildorder", unknown))[0] == 400
        venue.advance(300_001)
        assert (await post(session, venue, "sendchildorder", an_order()))[0] == 200


async def test_five_hundred_requests_in_five_minutes_come_from_one_address_and_headers_count_down(
    session: aiohttp.ClientSession,
) -> None:
    with RunningVenue("bitflyer") as venue:
        seen = []
        for _ in range(501):
            async with session.get(venue.url + "/v1/gethealth") as reply:
                seen.append((reply.status, reply.headers["X-RateLimit-Remaining"]))
                refusal = await reply.json()
        assert seen[0] == (200, "499") and seen[499] == (200, "0") and seen[500] == (429, "0")
        assert refusal == {
            "status": -1,
            "error_message": "Over API limit per period, per IP address",
            "data": None,
        }
        assert int(reply.headers["X-RateLimit-Period"]) == 300
        assert int(reply.headers["X-RateLimit-Reset"]) == venue.now_ms() // 1000 + 300
        venue.advance(300_001)
        async with session.get(venue.url + "/v1/gethealth") as reply:
            assert reply.status == 200


async def test_the_guides_limit_is_a_hundred_requests_a_minute_of_any_kind(
    session: aiohttp.ClientSession,
) -> None:
    with RunningVenue("bitflyer", limits="guide") as venue:
        statuses = []
        for _ in range(101):
            async with session.get(venue.url + "/v1/gethealth") as reply:
                statuses.append(reply.status)
        assert statuses == [200] * 100 + [429]
