"""bitFlyer's wire, driven over HTTP by ccxt, pybotters, pybitflyer and by hand."""

import asyncio
import hashlib
import hmac
import math
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import aiohttp
import ccxt.async_support as ccxt
import pybitflyer
import pybotters
import pytest
from pybotters.auth import Auth, Hosts, Item

from tests.simvenue.bitflyer_by_hand import an_order, exactly, get, post, row_of, send, signed
from tests.simvenue.running import RunningVenue

# the fields that real replies hold
ORDER = {"id", "child_order_id", "product_code", "side", "child_order_type", "price", "average_price", "size"}
ORDER |= {"child_order_state", "expire_date", "child_order_date", "child_order_acceptance_id"}
ORDER |= {"outstanding_size", "cancel_size", "executed_size", "total_commission", "time_in_force"}
EXECUTION = {"id", "child_order_id", "side", "price", "size", "commission", "exec_date"}
EXECUTION |= {"child_order_acceptance_id"}
LOT = {"product_code", "side", "price", "size", "commission", "swap_point_accumulate", "require_collateral"}
LOT |= {"open_date", "leverage", "pnl", "sfd", "funding_fees"}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningVenue]:
    with RunningVenue("bitflyer") as venue:
        yield venue


@pytest.fixture
def venue(running: RunningVenue) -> RunningVenue:
    running.advance(300_000)  # five fresh minutes: no test eats another's requests
    return running


@pytest.fixture
async def exchange(venue: RunningVenue) -> AsyncIterator[ccxt.bitflyer]:
    keys = {"apiKey": venue.api_key, "secret": venue.api_secret}
    urls = {"api": {"rest": venue.url}}
    async with ccxt.bitflyer({**keys, "enableRateLimit": False, "urls": urls}) as client:
        await client.load_markets()
        yield client


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as client:
        yield client


# -- who is let in


async def test_seconds_fractions_and_milliseconds_are_all_timestamps(
    venue: RunningVenue, session: aiohttp.ClientSession
) -> None:
    now = time.time()
    for stamp in (str(int(now)), f"{now:.6f}", str(int(now * 1000))):
        headers = signed(venue, "GET", "/v1/me/getbalance", stamp=stamp)
        async with session.get(venue.url + "/v1/me/getbalance", headers=headers) as reply:
            assert reply.status == 200, stamp


async def test_what_is_not_signed_well_is_refused_with_401_and_minus_500(
    venue: RunningVenue, session: aiohttp.ClientSession
) -> None:
    path = "/v1/me/getbalance"
    good = signed(venue, "GET", path)
    cases = [
        ("ACCESS-KEY header is required", {k: v for k, v in good.items() if k != "ACCESS-KEY"}),
        ("ACCESS-TIMESTAMP header is required", {k: v for k, v in good.items() if k != "ACCESS-TIMESTAMP"}),
        ("ACCESS-SIGN header is required", {k: v for k, v in good.items() if k != "ACCESS-SIGN"}),
        ("Key not found", {**good, "ACCESS-KEY": "somebody-else"}),
        ("Invalid signature", {**good, "ACCESS-SIGN": hmac.new(b"wrong", b"", hashlib.sha256).hexdigest()}),
        ("Invalid signature", signed(venue, "POST", path)),
        ("Invalid signature", signed(venue, "GET", path + "?x=1")),
        ("Invalid timestamp", signed(venue, "GET", path, stamp=str(int(time.time()) - 60))),
        ("Invalid timestamp", signed(venue, "GET", path, stamp=str(int(time.time()) + 60))),
        ("Invalid timestamp", signed(venue, "GET", path, stamp="noon")),
    ]
    for message, headers in cases:
        async with session.get(venue.url + path, headers=headers) as reply:
            assert reply.status == 401
            assert await reply.json() == {"status": -500, "error_message": message, "data": None}


async def test_the_signature_covers_the_body_as_sent(venue: RunningVenue, session: aiohttp.ClientSession) -> None:
    target = "/v1/me/cancelallchildorders"
    spaced, compact = '{ "product_code" : "BTC_JPY" }', '{"product_code":"BTC_JPY"}'
    for signed_text, status in ((spaced, 200), (compact, 401)):
        headers = signed(venue, "POST", target, signed_text)
        async with session.post(venue.url + target, data=spaced, headers=headers) as reply:
            assert reply.status == status


async def test_the_key_may_trade_and_never_move_money_out(venue: RunningVenue, session: aiohttp.ClientSession) -> None:
    permissions = await get(session, venue, "/v1/me/getpermissions")
    assert "/v1/me/sendchildorder" in permissions and "/v1/me/getbalance" in permissions
    assert not {"/v1/me/withdraw", "/v1/me/sendcoin", "/v1/me/sendparentorder"} & set(permissions)
    status, reply = await post(session, venue, "withdraw", {"amount": 1})
    assert (status, reply["status"]) == (401, -500)


# -- the published clients


async def test_ccxt_places_looks_up_and_cancels_a_resting_order(venue: RunningVenue, exchange: ccxt.bitflyer) -> None:
    before = venue.truth()["balances"]
    placed = await exchange.create_order("BTC/JPY", "limit", "buy", 0.0123, 8_000_001)
    stamp = datetime.fromtimestamp(venue.now_ms() / 1000, UTC).strftime("JRF%Y%m%d-%H%M%S-")
    assert placed["id"].startswith(stamp) and len(placed["id"]) == len(stamp) + 6
    locked = Decimal(venue.truth()["balances"]["JPY"]["locked"])
    assert locked - Decimal(before["JPY"]["locked"]) == Decimal("0.0123") * 8_000_001
    (found,) = await exchange.fetch_open_orders("BTC/JPY")
    assert (found["id"], found["status"], found["amount"]) == (placed["id"], "open", 0.0123)
    assert set(found["info"]) == ORDER
    assert found["info"]["child_order_id"].startswith("JOR")
    assert (await exchange.fetch_balance())["JPY"]["used"] == float(locked)
    assert (await exchange.cancel_order(placed["id"], "BTC/JPY"))["info"] == ""
    ended = await exchange.fetch_order(placed["id"], "BTC/JPY")
    assert (ended["status"], ended["info"]["child_order_state"]) == ("canceled", "CANCELED")
    assert (ended["info"]["outstanding_size"], ended["info"]["cancel_size"]) == (0.0, 0.0123)
    assert venue.truth()["balances"] == before


async def test_spot_commission_is_in_bitcoin_on_both_sides_and_yen_are_rounded_against_the_customer(
    venue: RunningVenue, exchange: ccxt.bitflyer
) -> None:
    assert (await exchange.fetch_trading_fee("BTC/JPY"))["taker"] == 0.0015
    for side in ("buy", "sell"):
        before = venue.truth()["balances"]
        placed = await exchange.create_order("BTC/JPY", "market", side, 0.00234567)
        params = {"child_order_acceptance_id": placed["id"]}
        trades = [t["info"] for t in await exchange.fetch_my_trades("BTC/JPY", None, 100, params)]
        assert set(trades[0]) == EXECUTION
        assert sum(exactly(t["size"]) for t in trades) == Decimal("0.00234567")
        fee = sum(exactly(t["commission"]) for t in trades)
        assert fee == Decimal("0.00234567") * Decimal("0.0015")
        legs = [exactly(t["price"]) * exactly(t["size"]) for t in trades]
        yen = sum(math.ceil(leg) for leg in legs) if side == "buy" else -sum(math.floor(leg) for leg in legs)
        coins = Decimal("0.00234567") if side == "buy" else -Decimal("0.00234567")
        after = venue.truth()["balances"]
        assert Decimal(before["JPY"]["free"]) - Decimal(after["JPY"]["free"]) == yen
        assert Decimal(after["BTC"]["free"]) - Decimal(before["BTC"]["free"]) == coins - fee
        listed = (await exchange.fetch_balance())["info"]
        held = {row["currency_code"]: exactly(row["amount"]) for row in listed}
        assert held["JPY"] == Decimal(after["JPY"]["free"]) and held["BTC"] == Decimal(after["BTC"]["free"])
        order = await exchange.fetch_order(placed["id"], "BTC/JPY")
        assert exactly(order["info"]["total_commission"]) == fee
        assert (order["info"]["price"], order["info"]["outstanding_size"]) == (0.0, 0.0)


async def test_ccxt_reads_the_market(venue: RunningVenue, exchange: ccxt.bitflyer) -> None:
    assert set(exchange.symbols) == {"BTC/JPY", "ETH/JPY", "BTC/JPY:JPY"}
    ticker = await exchange.fetch_ticker("BTC/JPY:JPY")
    assert ticker["bid"] < ticker["ask"] and ticker["timestamp"] == venue.now_ms()
    book = await exchange.fetch_order_book("BTC/JPY")
    assert len(book["bids"]) >= 20 and book["bids"][0][0] < book["asks"][0][0]
    funding = await exchange.fetch_funding_rate("BTC/JPY:JPY")
    assert funding["nextFundingRate"] == 0 and 0 < funding["nextFundingTimestamp"] - venue.now_ms() <= 28_800_000


async def test_pybitflyer_trades_with_its_fractional_seconds(venue: RunningVenue) -> None:
    def trade() -> None:
        api = pybitflyer.API(venue.api_key, venue.api_secret, timeout=5)
        api.api_url = venue.url
        assert api.ticker(product_code="BTC_JPY")["state"] == "RUNNING"
        assert api.board(product_code="BTC_JPY")["mid_price"] > 0
        assert len(api.executions(product_code="BTC_JPY", count=3)) == 3
        assert api.gethealth(product_code="BTC_JPY") == {"status": "NORMAL"}
        assert api.getchats() == []
        order_id = api.sendchildorder(**an_order(minute_to_expire=5))["child_order_acceptance_id"]
        (row,) = api.getchildorders(product_code="BTC_JPY", child_order_state="ACTIVE")
        assert row["child_order_acceptance_id"] == order_id
        assert api.cancelchildorder(product_code="BTC_JPY", child_order_id=row["child_order_id"]) == ""
        assert api.getchildorders(product_code="BTC_JPY", child_order_state="ACTIVE") == []
        assert {row["currency_code"] for row in api.getbalance()} == {"JPY", "BTC", "ETH"}
        assert api.getparentorders(product_code="BTC_JPY") == []
        assert api.gettradingcommission(product_code="FX_BTC_JPY") == {"commission_rate": 0.0}
        for name in ("addresses", "coinins", "coinouts", "bankaccounts", "deposits", "withdrawals"):
            assert getattr(api, f"get{name}")() == []
        assert api.sendchildorder(**an_order(size=0.0001)) == {
            "status": -110,
            "error_message": "The minimum order size is 0.001 BTC.",
            "data": None,
        }

    await asyncio.to_thread(trade)


async def test_pybotters_fills_its_stores(venue: RunningVenue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Hosts.items, "127.0.0.1", Item("bitflyer", Auth.bitflyer))
    keys = {"bitflyer": [venue.api_key, venue.api_secret]}
    async with pybotters.Client(apis=keys, base_url=venue.url) as client:
        reply = await client.post("/v1/me/sendchildorder", data=an_order())
        order_id = (await reply.json())["child_order_acceptance_id"]
        reply = await client.post(
            "/v1/me/sendchildorder",
            data=an_order(product_code="FX_BTC_JPY", child_order_type="MARKET", size=0.002),
        )
        assert reply.status == 200
        store = pybotters.bitFlyerDataStore()
        await store.initialize(
            client.get("/v1/me/getchildorders", params={"product_code": "BTC_JPY"}),
            client.get("/v1/me/getparentorders", params={"product_code": "BTC_JPY"}),
            client.get("/v1/me/getpositions", params={"product_code": "FX_BTC_JPY"}),
            client.get("/v1/me/getcollateral"),
            client.get("/v1/me/getbalance"),
        )
        assert [row["child_order_acceptance_id"] for row in store.childorders.find()] == [order_id]
        assert sum(exactly(row["size"]) for row in store.positions.find()) == Decimal("0.002")
        assert store.balance.find({"currency_code": "JPY"})[0]["amount"] > 0
        assert store.collateral.find()[0]["collateral"] == 1_000_000
        for product in ("BTC_JPY", "FX_BTC_JPY"):
            reply = await client.post("/v1/me/cancelallchildorders", data={"product_code": product})
            assert reply.status == 200 and await reply.text() == ""
        close = an_order(product_code="FX_BTC_JPY", child_order_type="MARKET", size=0.002, side="SELL")
        assert (await client.post("/v1/me/sendchildorder", data=close)).status == 200
        reply = await client.get("/v1/me/getpositions", params={"product_code": "FX_BTC_JPY"})
        assert await reply.json() == []


# -- the CFD


async def test_a_cfd_position_is_listed_as_lots_and_books_its_profit_to_the_collateral(
    session: aiohttp.ClientSession,
) -> None:
    with RunningVenue("bitflyer") as venue:
        cfd = {"product_code": "FX_BTC_JPY", "child_order_type": "MARKET", "price": None}
        await send(session, venue, **cfd, size=0.002)
        venue.control("price", symbol="BTC/JPY:JPY", price="10100000")
        await send(session, venue, **cfd, size=0.003)
        lots = await get(session, venue, "/v1/me/getpositions?product_code=FX_BTC_JPY")
        assert [(lot["side"], lot["size"]) for lot in lots] == [("BUY", 0.002), ("BUY", 0.003)]
        assert set(lots[0]) == LOT and lots[0]["price"] < lots[1]["price"]
        (position,) = venue.truth()["positions"]
        assert (position["side"], Decimal(position["quantity"])) == ("buy", Decimal("0.005"))
        state = await get(session, venue, "/v1/me/getcollateral")
        assert state["collateral"] == 1_000_000
        assert math.isclose(state["open_position_pnl"], sum(lot["pnl"] for lot in lots), abs_tol=1e-6)
        assert math.isclose(state["require_collateral"], sum(lot["require_collateral"] for lot in lots), abs_tol=1e-6)
        entry = sum(lot["price"] * lot["size"] for lot in lots) / 0.005
        order_id = await send(session, venue, **cfd, size=0.003, side="SELL")
        closed = await row_of(session, venue, order_id)
        assert closed["total_commission"] == 0.0
        profit = (closed["average_price"] - entry) * 0.003
        state = await get(session, venue, "/v1/me/getcollateral")
        assert abs(state["collateral"] - 1_000_000 - profit) <= 1 + 1e-6  # whole yen, rounded down
        (history,) = await get(session, venue, "/v1/me/getcollateralhistory")
        assert history["amount"] == state["collateral"] and history["reason_code"] == "CLEARING_COLL"
        (left,) = await get(session, venue, "/v1/me/getpositions?product_code=FX_BTC_JPY")
        assert left["size"] == 0.002 and math.isclose(left["price"], entry, rel_tol=1e-9)
        accounts = await get(session, venue, "/v1/me/getcollateralaccounts")
        assert accounts[0] == {"currency_code": "JPY", "amount": state["collateral"]}
        spot = await get(session, venue, "/v1/me/getpositions?product_code=BTC_JPY")
        assert spot["status"] == -100


# -- the market


async def test_candles_built_from_the_executions_are_the_venues_own(
    venue: RunningVenue, session: aiohttp.ClientSession
) -> None:
    trades: list[dict[str, Any]] = []
    before = ""
    while len(trades) < 3_000:
        rows = await get(session, venue, f"/v1/getexecutions?product_code=BTC_JPY&count=500{before}")
        assert len(rows) == 500
        trades += rows
        before = f"&before={rows[-1]['id']}"
    ids = [row["id"] for row in trades]
    assert ids == sorted(set(ids), reverse=True)
    minutes: dict[str, list[dict[str, Any]]] = {}
    for row in reversed(trades):
        minutes.setdefault(row["exec_date"][:16], []).append(row)
    whole = list(minutes.items())[1:-1]
    bars = {
        datetime.fromtimestamp(bar.open_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M"): bar
        for bar in venue.server.venue.market("BTC/JPY").candles(60, limit=len(minutes) + 50)
    }
    assert len(whole) > 60
    for minute, rows in whole:
        prices = [exactly(row["price"]) for row in rows]
        volume = sum(exactly(row["size"]) for row in rows)
        bar = bars[minute]
        assert (prices[0], max(prices), min(prices), prices[-1]) == (bar.open, bar.high, bar.low, bar.close)
        assert volume == bar.volume


async def test_executions_older_than_31_days_are_refused(session: aiohttp.ClientSession) -> None:
    with RunningVenue("bitflyer") as venue:
        (newest,) = await get(session, venue, "/v1/getexecutions?count=1")
        venue.advance(32 * 86_400_000)
        reply = await get(session, venue, f"/v1/getexecutions?product_code=BTC_JPY&before={newest['id']}")
        assert reply["status"] == -156
        assert len(await get(session, venue, "/v1/getexecutions?product_code=BTC_JPY")) == 100


async def test_public_calls_have_two_names_any_case_of_product_and_the_venues_own_404(
    venue: RunningVenue, session: aiohttp.ClientSession
) -> None:
    for name in ("markets", "markets/usa", "ticker", "board", "executions"):
        query = "?product_code=btc_jpy"
        assert await get(session, venue, f"/v1/{name}{query}") == await get(session, venue, f"/v1/get{name}{query}")
    assert (await get(session, venue, "/v1/getticker"))["product_code"] == "BTC_JPY"
    assert (await get(session, venue, "/v1/getboardstate"))["state"] == "RUNNING"
    assert (await get(session, venue, "/v1/getticker?product_code=DOGE_JPY"))["status"] == -100
    assert (await get(session, venue, "/v1/getcorporateleverage"))["current_max"] == 5.0
    history = await get(session, venue, "/v1/getfundingratehistory?product_code=FX_BTC_JPY&count=2")
    assert [row["settlement_date"][11:13] for row in history] == ["21", "13"]
    async with session.get(venue.url + "/v1/getfundingrate") as reply:
        assert reply.status == 404 and "Message" in await reply.json()
    async with session.get(venue.url + "/v1/nope") as reply:
        assert reply.status == 404 and reply.content_type == "text/html"


async def test_orders_are_refused_while_the_market_is_closed_for_maintenance(
    session: aiohttp.ClientSession,
) -> None:
    with RunningVenue("bitflyer") as venue:
        order_id = await send(session, venue)
        venue.advance(19 * 3_600_000 + 120_000)  # 04:02 in Japan
        assert await get(session, venue, "/v1/getboardstate") == {"health": "STOP", "state": "CLOSED"}
        ticker = await get(session, venue, "/v1/getticker")
        assert ticker["state"] == "CLOSED" and ticker["timestamp"] < "2026-01-05T19:00:00.000"
        status, reply = await post(session, venue, "sendchildorder", an_order())
        assert (status, reply["status"], reply["error_message"]) == (400, -204, "Market state is closed.")
        assert (await row_of(session, venue, order_id))["child_order_state"] == "ACTIVE"
        venue.advance(9 * 60_000)
        assert (await get(session, venue, "/v1/getboardstate"))["state"] == "RUNNING"
        prints = await get(session, venue, "/v1/getexecutions?count=500")
        assert "" in {row["side"] for row in prints}  # the opening auction's print has no side
        assert (await post(session, venue, "sendchildorder", an_order()))[0] == 200
