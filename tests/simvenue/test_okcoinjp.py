"""OKJ's wire, driven by ccxt, pybotters, python-okj and by hand: doors, market data, rate limits."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal as D
from typing import Any

import aiohttp
import ccxt.async_support as ccxt
import pybotters
import pytest
from pybotters.auth import Hosts

from tests.simvenue.okcoinjp_by_hand import BTC, PENDING, PLACE, RESTING, Raw, placed
from tests.simvenue.running import RunningVenue

BALANCE = "/api/v5/account/balance"


@pytest.fixture(scope="module")
def running() -> Iterator[RunningVenue]:
    with RunningVenue("okcoinjp") as venue:
        yield venue


@pytest.fixture
def venue(running: RunningVenue) -> RunningVenue:
    running.advance(60_000)  # a fresh minute: no test eats another's requests
    return running


@pytest.fixture
async def raw(venue: RunningVenue) -> AsyncIterator[Raw]:
    async with aiohttp.ClientSession() as session:
        yield Raw(venue, session)


@pytest.fixture
async def exchange(venue: RunningVenue) -> AsyncIterator[ccxt.okx]:
    """Plain okx, asked for what OKJ has: spot only, and each order by itself."""
    secrets = venue.server.venue.secrets
    keys = {"apiKey": secrets.api_key, "secret": secrets.api_secret, "password": secrets.passphrase}
    client = ccxt.okx({**keys, "enableRateLimit": False, "options": {"fetchMarkets": {"types": ["spot"]}}})
    client.urls["api"] = {"rest": venue.url}
    try:
        await client.load_markets()
        yield client
    finally:
        await client.close()


# --- the published clients --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["privatePostTradeOrder", "privatePostTradeBatchOrders"])
async def test_ccxt_places_sees_and_cancels_an_order(exchange: ccxt.okx, how: str) -> None:
    exchange.options["createOrder"] = how
    client_id = f"ccxt{len(how)}"
    before = await exchange.fetch_balance()
    made = await exchange.create_order("BTC/JPY", "limit", "buy", 0.001, 5_000_000, {"clientOrderId": client_id})
    shown = await exchange.fetch_order(None, "BTC/JPY", {"clientOrderId": client_id})
    [resting] = await exchange.fetch_open_orders("BTC/JPY")
    during = await exchange.fetch_balance()
    await exchange.cancel_order(made["id"], "BTC/JPY")
    gone = await exchange.fetch_order(made["id"], "BTC/JPY")

    assert (shown["id"], shown["status"], resting["id"]) == (made["id"], "open", made["id"])
    assert during["JPY"]["used"] == pytest.approx(before["JPY"]["used"] + 5_000)  # price x quantity, no fee
    assert gone["status"] == "canceled"
    assert (await exchange.fetch_balance())["JPY"] == before["JPY"]


async def test_ccxt_cancels_several_orders_in_one_request(exchange: ccxt.okx) -> None:
    ids = [
        (await exchange.create_order("BTC/JPY", "limit", "buy", 0.001, 5_000_000 + number))["id"] for number in range(3)
    ]
    await exchange.cancel_orders(ids, "BTC/JPY")
    assert await exchange.fetch_open_orders("BTC/JPY") == []
    cancelled = await exchange.fetch_canceled_orders("BTC/JPY")
    assert set(ids) <= {order["id"] for order in cancelled}


async def test_ccxt_buys_by_cost_and_reads_what_it_paid(exchange: ccxt.okx) -> None:
    made = await exchange.create_market_buy_order_with_cost("BTC/JPY", 30_000)
    order = await exchange.fetch_order(made["id"], "BTC/JPY")
    trades = await exchange.fetch_order_trades(made["id"], "BTC/JPY")
    assert order["status"] == "closed"
    assert 29_999 < order["cost"] <= 30_000
    assert order["fee"]["currency"] == "BTC"
    assert sum(trade["amount"] for trade in trades) == pytest.approx(order["filled"])
    assert made["id"] in [each["order"] for each in await exchange.fetch_my_trades("BTC/JPY")]


async def test_ccxt_reads_the_market(exchange: ccxt.okx) -> None:
    market = exchange.market("BTC/JPY")
    ticker = await exchange.fetch_ticker("BTC/JPY")
    book = await exchange.fetch_order_book("BTC/JPY")
    candles = await exchange.fetch_ohlcv("BTC/JPY", "1m", limit=5)
    fee = await exchange.fetch_trading_fee("BTC/JPY")

    assert sorted(exchange.markets) == ["BTC/JPY", "ETH/JPY"]
    assert (market["limits"]["amount"]["min"], market["precision"]["price"]) == (0.001, 1)
    assert set(await exchange.fetch_tickers()) == {"BTC/JPY", "ETH/JPY"}
    assert ticker["bid"] < ticker["ask"]
    assert len(book["bids"]) >= 20
    assert [row[0] for row in candles] == sorted(row[0] for row in candles)
    assert (fee["taker"], fee["maker"]) == (0.0014, 0.0007)
    assert abs(await exchange.fetch_time() - time.time() * 1000) < 5_000
    assert (await exchange.fetch_trades("BTC/JPY", limit=5))[0]["price"] > 0


async def test_ccxt_cannot_load_options_since_the_venue_has_none(exchange: ccxt.okx) -> None:
    exchange.options["fetchMarkets"] = {"types": ["spot", "swap", "future"]}
    assert len(await exchange.load_markets(reload=True)) == 2
    exchange.options["fetchMarkets"] = {"types": ["option"]}
    with pytest.raises(ccxt.BadSymbol):
        await exchange.fetch_markets()


async def test_pybotters_trades_with_its_own_signature(venue: RunningVenue) -> None:
    secrets = venue.server.venue.secrets
    Hosts.items["127.0.0.1"] = Hosts.items["www.okx.com"]
    try:
        keys = {"okx": [secrets.api_key, secrets.api_secret, secrets.passphrase]}
        async with pybotters.Client(apis=keys, base_url=venue.url) as client:
            made = await client.fetch("POST", PLACE, data=RESTING | {"clOrdId": "pybotters1"})
            order_id = made.data["data"][0]["ordId"]
            found = await client.fetch("GET", PENDING, params={"instType": "SPOT"})
            gone = await client.fetch("POST", "/api/v5/trade/cancel-order", data=BTC | {"ordId": order_id})
            balance = await client.fetch("GET", BALANCE)
    finally:
        del Hosts.items["127.0.0.1"]
    assert order_id in [row["ordId"] for row in found.data["data"]]
    assert gone.data["code"] == "0"
    assert {row["ccy"] for row in balance.data["data"][0]["details"]} >= {"BTC", "JPY"}


async def test_the_venues_own_library_trades(venue: RunningVenue) -> None:
    okj = pytest.importorskip("okj.client", reason="python-okj 1.1.0 wants websockets below 14")
    secrets = venue.server.venue.secrets

    def trade() -> dict[str, Any]:
        with okj.OkjClient(secrets.api_key, secrets.api_secret, secrets.passphrase, venue.url) as client:
            made = client.trade.place_order(
                inst_id="BTC-JPY", td_mode="cash", side="buy", ord_type="limit", sz="0.001", px="5000000"
            )
            order_id = made["data"][0]["ordId"]
            return {
                "made": made,
                "shown": client.trade.get_order("BTC-JPY", ord_id=order_id),
                "gone": client.trade.cancel_order("BTC-JPY", ord_id=order_id),
                "timer": client.trade.cancel_all_orders("0"),
                "balance": client.account.get_account_balance(ccy="JPY"),
                "config": client.account.get_account_config(),
                "wallet": client.funding.get_balance_by_currency("JPY"),
                "deposits": client.funding.get_deposit_history(),
                "bills": client.account.get_account_bills(inst_type="SPOT"),
                "full": client.market.get_orderbook_full("BTC-JPY", sz="5"),
                "unknown": client.trade.get_order("BTC-JPY", ord_id="1"),
            }

    answers = await asyncio.to_thread(trade)
    assert answers.pop("unknown")["code"] == "51603"
    assert {name: answer["code"] for name, answer in answers.items()} == dict.fromkeys(answers, "0")


# --- who is let in ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "status", "code"),
    [
        ({"secret": "not-the-secret"}, 401, "50113"),
        ({"passphrase": "not-the-phrase"}, 401, "50105"),
        ({"key": "not-the-key"}, 200, "50119"),
        ({"late_s": 31}, 401, "50102"),
        ({"late_s": -31}, 401, "50102"),
        ({"stamp": "1767571200"}, 401, "50112"),
        ({"stamp": "2026-13-45T00:00:00.000Z"}, 401, "50112"),
        ({"without": "OK-ACCESS-KEY"}, 401, "50103"),
        ({"without": "OK-ACCESS-PASSPHRASE"}, 401, "50104"),
        ({"without": "OK-ACCESS-SIGN"}, 401, "50106"),
        ({"without": "OK-ACCESS-TIMESTAMP"}, 401, "50107"),
    ],
)
async def test_a_request_that_is_not_ours_or_not_in_time_is_refused(
    raw: Raw, wrong: dict[str, Any], status: int, code: str
) -> None:
    answer = await raw.send("GET", BALANCE, "", **wrong)
    assert (raw.status, answer["code"]) == (status, code)


@pytest.mark.parametrize("late_s", [29, -29])
async def test_a_timestamp_may_be_off_by_less_than_30_seconds(raw: Raw, late_s: int) -> None:
    assert (await raw.send("GET", BALANCE, "", late_s=late_s))["code"] == "0"


async def test_the_query_and_the_body_are_judged_as_sent(raw: Raw) -> None:
    body = '{ "instId":"BTC-JPY",  "ordId":"1" }'
    assert (await raw.send("POST", "/api/v5/trade/cancel-order", body))["data"][0]["sCode"] == "51400"
    changed = await raw.send("POST", "/api/v5/trade/cancel-order", body, sent=body.replace("  ", " "))
    assert changed["code"] == "50113"
    assert (await raw.send("GET", BALANCE + "?ccy=BTC%2CJPY", ""))["code"] == "0"


@pytest.mark.parametrize(
    "path", ["system/status", "account/positions", "asset/balances", "public/mark-price", "nothing"]
)
async def test_what_the_venue_lacks_is_a_404_in_its_own_shape(raw: Raw, path: str) -> None:
    answer = await raw.get(f"/api/v5/{path}")
    assert (raw.status, answer["code"], answer["data"]) == (404, 404, {})
    assert answer["error_code"] == "404"


async def test_money_cannot_be_moved_away(raw: Raw) -> None:
    for path in ("transfer", "withdrawal", "jpywithdrawal"):
        answer = await raw.post(f"/api/v5/asset/{path}", {"currency": "JPY", "amount": "1", "from": 1, "to": 6})
        assert answer["code"] == "50120"
    [config] = (await raw.get("/api/v5/account/config"))["data"]
    assert config["perm"] == "read_only,trade"


async def test_the_funding_account_is_another_one_and_empty(raw: Raw) -> None:
    wallet = await raw.get("/api/v5/asset/wallet")
    assert [row["balance"] for row in wallet["data"]] == ["0"] * 3
    assert [row["currency"] for row in (await raw.get("/api/v5/asset/wallet/BTC"))["data"]] == ["BTC"]
    assert {row["currency"] for row in (await raw.get("/api/v5/asset/currencies"))["data"]} == {
        "JPY",
        "BTC",
        "ETH",
    }


async def test_every_answer_carries_the_gateways_headers(raw: Raw) -> None:
    await raw.get("/api/v5/public/time")
    assert raw.headers["ratelimit-limit"] == raw.headers["x-ratelimit-limit-second"] == "300"
    assert int(raw.headers["ratelimit-remaining"]) < 300


# --- market data ------------------------------------------------------------------------------------------


async def test_only_spot_has_instruments(raw: Raw) -> None:
    path = "/api/v5/public/instruments"
    assert [row["instId"] for row in (await raw.get(path, instType="SPOT"))["data"]] == ["BTC-JPY", "ETH-JPY"]
    for kind in ("MARGIN", "SWAP", "FUTURES"):
        assert await raw.get(path, instType=kind) == {"code": "0", "msg": "", "data": []}
    assert (await raw.get(path, instType="OPTION", uly="BTC-JPY"))["code"] == "51014"
    assert (await raw.get(path))["code"] == "50014"
    assert raw.status == 400


async def test_a_book_level_has_four_texts_and_401_levels_are_too_many(raw: Raw) -> None:
    [book] = (await raw.get("/api/v5/market/books", **BTC, sz="5"))["data"]
    assert [len(level) for level in book["bids"]] == [4] * 5
    assert len((await raw.get("/api/v5/market/books", **BTC))["data"][0]["asks"]) == 1
    answer = await raw.get("/api/v5/market/books", **BTC, sz="401")
    assert (raw.status, answer["code"]) == (200, "51000")


async def test_candles_come_newest_first_marked_when_closed_and_page_backwards(raw: Raw) -> None:
    path = "/api/v5/market/candles"
    raw.venue.advance(450_000 - raw.venue.now_ms() % 300_000)  # the middle of a bar, wherever other tests left the time
    rows = (await raw.get(path, **BTC, bar="5m", limit="4"))["data"]
    assert [row[8] for row in rows] == ["0", "1", "1", "1"]
    assert [int(row[0]) - int(rows[-1][0]) for row in rows] == [900_000, 600_000, 300_000, 0]
    older = (await raw.get(path, **BTC, bar="5m", limit="2", after=rows[1][0]))["data"]
    assert older == rows[2:]
    newer = (await raw.get(path, **BTC, bar="5m", before=rows[2][0]))["data"]
    assert [row[0] for row in newer] == [rows[0][0], rows[1][0]]
    closed = (await raw.get("/api/v5/market/history-candles", **BTC, bar="5m", limit="3"))["data"]
    assert closed == rows[1:]
    assert (await raw.get(path, **BTC, bar="7m"))["code"] == "51000"
    assert (await raw.get(path, **BTC, limit="301"))["code"] == "51000"


@pytest.mark.parametrize(("bar", "opens"), [("1D", 16), ("1Dutc", 0), ("1W", 16), ("1Mutc", 0)])
async def test_days_open_at_midnight_in_hong_kong_unless_they_say_utc(raw: Raw, bar: str, opens: int) -> None:
    rows = (await raw.get("/api/v5/market/candles", **BTC, bar=bar))["data"]
    assert time.gmtime(int(rows[0][0]) // 1000).tm_hour == opens
    hours = (await raw.get("/api/v5/market/candles", **BTC, bar="1H", limit="300"))["data"]
    inside = [D(row[2]) for row in hours if int(row[0]) >= int(rows[0][0])]
    assert D(rows[0][2]) == max(inside)


async def test_an_unknown_instrument_is_named_as_such(raw: Raw) -> None:
    for path in ("ticker", "books", "candles", "trades"):
        assert (await raw.get(f"/api/v5/market/{path}", instId="DOGE-JPY"))["code"] == "51001"


# --- how often --------------------------------------------------------------------------------------------


async def test_public_and_private_limits_refuse_with_50011_and_their_own_status(raw: Raw) -> None:
    public = [(await raw.get("/api/v5/public/time"))["code"] for _ in range(11)]
    assert (public, raw.status) == (["0"] * 10 + ["50011"], 429)
    private = [(await raw.get(BALANCE))["code"] for _ in range(11)]
    assert (private, raw.status) == (["0"] * 10 + ["50011"], 200)
    raw.venue.advance(2_000)
    assert (await raw.get(BALANCE))["code"] == "0"


async def test_orders_are_counted_by_instrument_and_batches_by_order(raw: Raw) -> None:
    ghost = BTC | {"ordId": "1"}
    for _ in range(60):
        assert (await raw.post("/api/v5/trade/cancel-order", ghost))["code"] == "1"
    assert (await raw.post("/api/v5/trade/cancel-order", ghost))["code"] == "50011"
    assert (await raw.post("/api/v5/trade/cancel-order", ghost | {"instId": "ETH-JPY"}))["code"] == "1"
    for _ in range(15):
        assert (await raw.post("/api/v5/trade/cancel-batch-orders", [ghost] * 20))["code"] == "1"
    assert (await raw.post("/api/v5/trade/cancel-batch-orders", [ghost]))["code"] == "50011"


async def test_the_guide_allows_20_requests_a_minute() -> None:
    with RunningVenue("okcoinjp", limits="guide") as venue:
        async with aiohttp.ClientSession() as session:
            raw = Raw(venue, session)
            codes = [(await raw.get("/api/v5/account/config"))["code"] for _ in range(21)]
            venue.advance(60_000)
            codes.append((await raw.get("/api/v5/account/config"))["code"])
        refused = venue.truth()["requests"]["refused_for_rate"]
    assert codes == ["0"] * 20 + ["50011", "0"]
    assert refused == 1


async def test_an_order_that_is_not_fetched_by_its_number_is_still_in_the_truth(raw: Raw) -> None:
    order_id = await placed(raw, clOrdId="truth1")
    order = raw.venue.true_order(order_id)
    assert (order["client_id"], order["symbol"], order["status"]) == ("truth1", "BTC/JPY", "open")
    await raw.post("/api/v5/trade/cancel-order", BTC | {"clOrdId": "truth1"})
    assert raw.venue.true_order(order_id)["status"] == "cancelled"
