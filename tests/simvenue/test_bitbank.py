"""bitbank's wire, driven over HTTP by ccxt, pybotters and by hand."""

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal

import aiohttp
import ccxt.async_support as ccxt
import pybotters
import pytest
from pybotters.auth import Auth, Hosts, Item

from tests.simvenue.bitbank_by_hand import Headers, an_order, post, read, signature, signed
from tests.simvenue.running import RunningVenue

# the fields that real replies hold
TICKER = {"pair", "sell", "buy", "high", "low", "open", "last", "vol", "timestamp"}
DEPTH = {"asks", "bids", "asks_over", "bids_under", "asks_under", "bids_over"}
DEPTH |= {"ask_market", "bid_market", "timestamp", "sequenceId"}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningVenue]:
    with RunningVenue("bitbank") as venue:
        yield venue


@pytest.fixture
def venue(running: RunningVenue) -> RunningVenue:
    running.advance(60_000)  # a fresh minute: no test eats another's requests
    return running


@pytest.fixture
async def exchange(venue: RunningVenue) -> AsyncIterator[ccxt.bitbank]:
    urls = {"api": {"public": venue.url, "private": venue.url, "markets": venue.url}}
    keys = {"apiKey": venue.api_key, "secret": venue.api_secret}
    async with ccxt.bitbank({**keys, "enableRateLimit": False, "urls": urls}) as client:
        await client.load_markets()
        yield client


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as client:
        yield client


# -- who is let in


async def test_a_signed_request_is_let_in_by_window_and_by_nonce(
    venue: RunningVenue, session: aiohttp.ClientSession
) -> None:
    path = "/v1/user/assets"
    nonce = str(time.time_ns() // 1_000_000)
    by_nonce = {
        "ACCESS-KEY": venue.api_key,
        "ACCESS-NONCE": nonce,
        "ACCESS-SIGNATURE": signature(venue, nonce + path),
    }
    for headers in (
        signed(venue, path),
        signed(venue, path, window=None),  # left out, and signed as an empty text
        by_nonce,
        {**signed(venue, path), "ACCESS-NONCE": "1"},  # with both, the window wins
    ):
        async with session.get(venue.url + path, headers=headers) as reply:
            assert (await reply.json())["success"] == 1


async def test_a_nonce_works_once_and_only_upwards(venue: RunningVenue, session: aiohttp.ClientSession) -> None:
    path = "/v1/user/assets"
    newest = time.time_ns() // 1_000_000 + 1_000_000
    codes = []
    for nonce in (newest, newest, newest - 1, newest + 1):
        text = f"{nonce}{path}"
        headers = {
            "ACCESS-KEY": venue.api_key,
            "ACCESS-NONCE": str(nonce),
            "ACCESS-SIGNATURE": signature(venue, text),
        }
        async with session.get(venue.url + path, headers=headers) as reply:
            codes.append((await reply.json())["data"].get("code"))
    assert codes == [None, 20001, 20001, None]


async def test_what_is_not_signed_well_is_refused_with_the_venues_code(
    venue: RunningVenue, session: aiohttp.ClientSession
) -> None:
    path = "/v1/user/assets"
    good = signed(venue, path)
    now_ms = time.time_ns() // 1_000_000

    def without(*names: str) -> Headers:
        return {name: value for name, value in good.items() if name not in names}

    cases = {
        20001: {**good, "ACCESS-SIGNATURE": hmac.new(b"wrong", b"x", hashlib.sha256).hexdigest()},
        20002: {**good, "ACCESS-KEY": "somebody-else"},
        20003: without("ACCESS-KEY"),
        20004: without("ACCESS-REQUEST-TIME", "ACCESS-TIME-WINDOW"),
        20005: without("ACCESS-SIGNATURE"),
        20033: without("ACCESS-REQUEST-TIME"),
        20034: {**good, "ACCESS-REQUEST-TIME": "yesterday"},
        20035: signed(venue, path, at=now_ms - 6_000),
        20036: signed(venue, path, window="60001"),
    }
    got = {}
    for code, headers in cases.items():
        async with session.get(venue.url + path, headers=headers) as reply:
            got[code] = await reply.json()
    assert got == {code: {"success": 0, "data": {"code": code}} for code in cases}


async def test_a_request_from_the_future_is_outside_the_window(
    venue: RunningVenue, session: aiohttp.ClientSession
) -> None:
    path = "/v1/user/assets"
    for ahead_ms, code in ((500, None), (5_000, 20035)):
        headers = signed(venue, path, at=time.time_ns() // 1_000_000 + ahead_ms)
        async with session.get(venue.url + path, headers=headers) as reply:
            assert (await reply.json())["data"].get("code") == code


async def test_the_signature_covers_query_and_body_as_sent(venue: RunningVenue, session: aiohttp.ClientSession) -> None:
    target = "/v1/user/spot/active_orders?pair=btc_jpy"
    async with session.get(venue.url + target, headers=signed(venue, target[:-3])) as reply:
        assert (await reply.json())["data"]["code"] == 20001
    spaced = '{ "pair" : "btc_jpy",  "order_id": "1" }'
    assert (await post(session, venue, "/v1/user/spot/cancel_order", spaced))["data"]["code"] == 50009
    headers = signed(venue, spaced.replace(" ", ""))
    async with session.post(venue.url + "/v1/user/spot/cancel_order", data=spaced, headers=headers) as reply:
        assert (await reply.json())["data"]["code"] == 20001


# -- the published clients


async def test_ccxt_reads_pairs_with_digits_minimums_and_fees(exchange: ccxt.bitbank) -> None:
    market = exchange.market("BTC/JPY")
    assert (market["precision"]["amount"], market["precision"]["price"]) == (0.0001, 1)
    assert (market["limits"]["amount"]["min"], market["limits"]["amount"]["max"]) == (0.0001, 1000)
    assert (market["maker"], market["taker"]) == (0, 0.001)
    assert (await exchange.fetch_trading_fees())["ETH/JPY"]["maker"] == -0.0002
    assert exchange.market("XRP/JPY")["precision"]["price"] == 0.001


async def test_ccxt_places_looks_up_and_cancels_a_resting_order(venue: RunningVenue, exchange: ccxt.bitbank) -> None:
    before = venue.truth()["balances"]
    placed = await exchange.create_order("BTC/JPY", "limit", "buy", 0.0123, 8_000_001, {"post_only": True})
    assert placed["info"]["status"] == "UNFILLED" and placed["info"]["post_only"] is True
    locked = Decimal(venue.truth()["balances"]["JPY"]["locked"])
    assert locked - Decimal(before["JPY"]["locked"]) == Decimal("0.0123") * 8_000_001
    found = await exchange.fetch_order(placed["id"], "BTC/JPY")
    assert (found["status"], found["amount"], found["price"]) == ("open", 0.0123, 8_000_001)
    assert [o["id"] for o in await exchange.fetch_open_orders("BTC/JPY")] == [placed["id"]]
    cancelled = await exchange.cancel_order(placed["id"], "BTC/JPY")
    assert cancelled["info"]["status"] == "CANCELED_UNFILLED" and cancelled["info"]["canceled_at"] > 0
    assert await exchange.fetch_open_orders("BTC/JPY") == []
    assert venue.truth()["balances"] == before
    assert venue.true_order(placed["id"])["status"] == "cancelled"


async def test_a_market_order_fills_and_pays_exactly_the_stated_taker_fee_in_yen(
    venue: RunningVenue, exchange: ccxt.bitbank
) -> None:
    before = (await exchange.fetch_balance())["info"]["data"]["assets"]
    order = await exchange.create_order("BTC/JPY", "market", "buy", 0.002)
    assert order["info"]["status"] == "FULLY_FILLED" and "price" not in order["info"]
    trades = [t["info"] for t in await exchange.fetch_my_trades("BTC/JPY") if t["order"] == order["id"]]
    cost = sum(Decimal(t["price"]) * Decimal(t["amount"]) for t in trades)
    fee = sum(Decimal(t["fee_amount_quote"]) for t in trades)
    assert fee == cost * Decimal("0.001")
    assert {t["maker_taker"] for t in trades} == {"taker"}
    after = (await exchange.fetch_balance())["info"]["data"]["assets"]
    held = [{row["asset"]: Decimal(row["onhand_amount"]) for row in rows} for rows in (before, after)]
    assert held[0]["jpy"] - held[1]["jpy"] == cost + fee
    assert held[1]["btc"] - held[0]["btc"] == Decimal("0.002")
    assert Decimal(venue.truth()["balances"]["JPY"]["free"]) == held[1]["jpy"]


async def test_a_resting_order_is_filled_at_its_own_price_when_the_market_passes(
    venue: RunningVenue, exchange: ccxt.bitbank
) -> None:
    last = int((await exchange.fetch_ticker("ETH/JPY"))["last"])
    order = await exchange.create_order("ETH/JPY", "limit", "buy", 0.5, last - 2000)
    venue.control("price", symbol="ETH/JPY", price=str(last - 3000))
    filled = await exchange.fetch_order(order["id"], "ETH/JPY")
    assert (filled["status"], filled["average"]) == ("closed", last - 2000)
    (trade,) = (await exchange.fetch_my_trades("ETH/JPY"))[-1:]
    assert trade["takerOrMaker"] == "maker"
    # a rebate is a negative fee
    assert Decimal(trade["info"]["fee_amount_quote"]) == Decimal("-0.0002") * (last - 2000) / 2


async def test_a_post_only_order_that_would_cross_is_accepted_then_cancelled(
    venue: RunningVenue, exchange: ccxt.bitbank
) -> None:
    ask = (await exchange.fetch_ticker("BTC/JPY"))["ask"]
    order = await exchange.create_order("BTC/JPY", "limit", "buy", 0.001, ask + 10, {"post_only": True})
    assert order["info"]["status"] == "CANCELED_UNFILLED"
    assert (await exchange.fetch_order(order["id"], "BTC/JPY"))["filled"] == 0
    assert venue.true_order(order["id"])["status"] == "cancelled"


async def test_an_order_larger_than_the_level_is_filled_in_part_and_the_rest_can_be_cancelled(
    venue: RunningVenue, exchange: ccxt.bitbank
) -> None:
    book = await exchange.fetch_order_book("BTC/JPY")
    price, size = book["asks"][0]
    order = await exchange.create_order("BTC/JPY", "limit", "buy", size + 0.005, price)
    assert order["info"]["status"] == "PARTIALLY_FILLED" and order["filled"] == size
    cancelled = await exchange.cancel_order(order["id"], "BTC/JPY")
    assert cancelled["info"]["status"] == "CANCELED_PARTIALLY_FILLED"
    assert cancelled["info"]["remaining_amount"] == "0.0050"


async def test_ccxt_reads_todays_candles_of_every_day_file(venue: RunningVenue, exchange: ccxt.bitbank) -> None:
    today = exchange.yyyymmdd(venue.now_ms(), "")
    for timeframe, file in (
        ("1m", today),
        ("5m", today),
        ("1h", today),
        ("4h", today[:4]),
        ("1d", today[:4]),
    ):
        # without `since` ccxt drops what is old by the machine's clock, and this market lives in January
        since = venue.now_ms() - 86_400_000
        candles = await exchange.fetch_ohlcv("BTC/JPY", timeframe, since, params={"yyyymmdd": file})
        assert candles, timeframe
        assert candles[-1][4] == (await exchange.fetch_ticker("BTC/JPY"))["last"]
        venue.advance(1_000)


async def test_pybotters_signs_without_a_window_and_fills_its_stores(
    venue: RunningVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Hosts.items, "127.0.0.1", Item("bitbank", Auth.bitbank))
    keys = {"bitbank": [venue.api_key, venue.api_secret]}
    async with pybotters.Client(apis=keys, base_url=venue.url) as client:
        reply = await client.post("/v1/user/spot/order", data=an_order(price="7999999"))
        order_id = (await reply.json())["data"]["order_id"]
        store = pybotters.bitbankPrivateDataStore()
        await store.initialize(
            client.get("/v1/user/assets"),
            client.get("/v1/user/spot/active_orders"),
            client.get("/v1/user/margin/positions"),
        )
        assert store.asset.find({"asset": "jpy"})[0]["locked_amount"] == "79999.9900"
        assert [row["order_id"] for row in store.spot_order.find()] == [order_id]
        assert store.margin_position.find() == []
        reply = await client.post("/v1/user/spot/cancel_order", data={"pair": "btc_jpy", "order_id": order_id})
        assert (await reply.json())["data"]["status"] == "CANCELED_UNFILLED"


# -- files and lists


async def test_a_candle_file_exists_only_for_a_day_or_year_with_candles(
    venue: RunningVenue, session: aiohttp.ClientSession
) -> None:
    for path in (
        "/btc_jpy/candlestick/1min/20990101",
        "/btc_jpy/candlestick/1min/2026",
        "/btc_jpy/candlestick/4hour/20260105",
        "/btc_jpy/candlestick/2min/20260105",
        "/btc_jpy/candlestick/1min/20261345",
        "/doge_jpy/candlestick/1min/20260105",
        "/doge_jpy/ticker",
        "/btc_jpy/transactions/20990101",
        "/v1/nope",
    ):
        async with session.get(venue.url + path) as reply:
            assert reply.status == 404 and reply.content_type == "text/plain", path
            assert json.loads(await reply.text()) == {"success": 0, "data": {"code": 10000}}
    async with session.post(venue.url + "/spot/pairs") as reply:
        assert reply.status == 404


async def test_candles_of_a_day_are_in_order_inside_the_day_and_end_with_the_running_one(
    venue: RunningVenue, session: aiohttp.ClientSession
) -> None:
    data = await read(session, venue, "/btc_jpy/candlestick/1min/20260105")
    (stick,) = data["candlestick"]
    opens = [row[5] for row in stick["ohlcv"]]
    assert stick["type"] == "1min" and opens == sorted(set(opens))
    assert opens[0] >= 1767571200000 and opens[-1] == venue.now_ms() // 60_000 * 60_000
    for row in stick["ohlcv"]:
        first, high, low, close = map(Decimal, row[:4])
        assert low <= min(first, close) and high >= max(first, close)
    yesterday = (await read(session, venue, "/btc_jpy/candlestick/1hour/20260104"))["candlestick"][0]
    assert len(yesterday["ohlcv"]) == 24


async def test_weeks_open_on_mondays_and_months_on_the_first(
    venue: RunningVenue, session: aiohttp.ClientSession
) -> None:
    weeks = (await read(session, venue, "/btc_jpy/candlestick/1week/2026"))["candlestick"][0]["ohlcv"]
    months = (await read(session, venue, "/btc_jpy/candlestick/1month/2026"))["candlestick"][0]["ohlcv"]
    assert weeks[-1][5] == 1767571200000  # 2026-01-05
    assert months[-1][5] == 1767225600000  # 2026-01-01


async def test_public_lists_have_the_venues_shapes(venue: RunningVenue, session: aiohttp.ClientSession) -> None:
    tickers = await read(session, venue, "/tickers")
    assert [row["pair"] for row in tickers] == ["btc_jpy", "eth_jpy", "xrp_jpy"]
    assert await read(session, venue, "/tickers_jpy") == tickers
    assert set(tickers[0]) == TICKER
    depth = await read(session, venue, "/btc_jpy/depth")
    assert set(depth) == DEPTH
    assert len(depth["bids"]) >= 20 and Decimal(depth["bids"][0][0]) < Decimal(depth["asks"][0][0])
    trades = (await read(session, venue, "/btc_jpy/transactions"))["transactions"]
    assert len(trades) == 60 and trades[0]["executed_at"] >= trades[-1]["executed_at"]
    day = (await read(session, venue, "/btc_jpy/transactions/20260104"))["transactions"]
    assert day[0]["executed_at"] <= day[-1]["executed_at"] < 1767571200000
    circuit = await read(session, venue, "/btc_jpy/circuit_break_info")
    assert circuit["mode"] == "NONE" and circuit["estimated_itayose_price"] is None
    statuses = await read(session, venue, "/v1/spot/status")
    assert statuses["statuses"][0] == {"pair": "btc_jpy", "status": "NORMAL", "min_amount": "0.0001"}
    assert await read(session, venue, "/v1/spot/pairs") == await read(session, venue, "/spot/pairs")
