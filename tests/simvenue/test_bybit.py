"""Bybit's wire, driven by ccxt, pybit, pybotters and by hand: doors, market data, rate limits."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal as D
from typing import Any

import aiohttp
import ccxt.async_support as ccxt
import pybotters
import pytest
from pybit.exceptions import InvalidRequestError
from pybit.unified_trading import HTTP
from pybotters.auth import Hosts

from tests.simvenue.bybit_by_hand import (
    CREATE,
    LINEAR,
    REALTIME,
    RESTING,
    SPOT,
    Raw,
)
from tests.simvenue.running import RunningVenue


@pytest.fixture(scope="module")
def running() -> Iterator[RunningVenue]:
    with RunningVenue("bybit") as venue:
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
async def exchange(venue: RunningVenue) -> AsyncIterator[ccxt.bybit]:
    keys = {"apiKey": venue.api_key, "secret": venue.api_secret, "enableRateLimit": False}
    client = ccxt.bybit(keys)
    client.urls["api"] = dict.fromkeys(client.urls["api"], venue.url)
    try:
        await client.load_markets()
        yield client
    finally:
        await client.close()


@pytest.fixture
def pybit(venue: RunningVenue) -> HTTP:
    session = HTTP(api_key=venue.api_key, api_secret=venue.api_secret, max_retries=1)
    session.endpoint = venue.url
    return session


async def test_ccxt_places_sees_and_cancels_an_order_on_spot(exchange: ccxt.bybit) -> None:
    before = await exchange.fetch_balance()
    made = await exchange.create_order("BTC/USDT", "limit", "buy", 0.001, 30_000, {"clientOrderId": "ccxt-1"})
    [shown] = await exchange.fetch_open_orders("BTC/USDT", params={"orderLinkId": "ccxt-1"})
    during = await exchange.fetch_balance()
    await exchange.cancel_order(made["id"], "BTC/USDT")
    after = await exchange.fetch_balance()

    assert (shown["id"], shown["status"], shown["amount"]) == (made["id"], "open", 0.001)
    assert during["USDT"]["used"] == pytest.approx(before["USDT"]["used"] + 30)  # price x quantity, no fee
    assert after["USDT"] == before["USDT"]
    assert await exchange.fetch_open_orders("BTC/USDT") == []


async def test_ccxt_finds_two_spot_pairs_one_contract_and_nothing_else(exchange: ccxt.bybit) -> None:
    assert sorted(exchange.markets) == ["BTC/USDT", "BTC/USDT:USDT", "ETH/USDT"]
    spot, contract = exchange.market("BTC/USDT"), exchange.market("BTC/USDT:USDT")
    assert (spot["limits"]["amount"]["min"], spot["limits"]["cost"]["min"]) == (0.000011, 5)
    assert (contract["precision"]["amount"], contract["limits"]["cost"]["min"]) == (0.001, 5)
    assert set(exchange.currencies) >= {"BTC", "ETH", "USDT"}


async def test_ccxt_reads_the_market(exchange: ccxt.bybit) -> None:
    ticker = await exchange.fetch_ticker("BTC/USDT")
    book = await exchange.fetch_order_book("BTC/USDT:USDT", 20)
    candles = await exchange.fetch_ohlcv("BTC/USDT", "1m", limit=5)
    contract = await exchange.fetch_ticker("BTC/USDT:USDT")

    assert ticker["low"] <= ticker["last"] <= ticker["high"]
    assert book["bids"][0][0] < book["asks"][0][0]
    assert len(book["bids"]) == len(book["asks"]) == 20
    assert [row[0] for row in candles] == sorted(row[0] for row in candles)
    assert len(candles) == 5
    assert contract["symbol"] == "BTC/USDT:USDT"
    assert (await exchange.fetch_status())["status"] == "ok"
    assert abs(await exchange.fetch_time() - time.time() * 1000) < 5_000


@pytest.mark.parametrize("symbol", ["BTC/USDT", "BTC/USDT:USDT"])
async def test_ccxt_reads_the_public_tape(exchange: ccxt.bybit, symbol: str) -> None:
    trades = await exchange.fetch_trades(symbol, limit=40)
    ticker = await exchange.fetch_ticker(symbol)

    assert len(trades) == 40
    assert [trade["timestamp"] for trade in trades] == sorted(trade["timestamp"] for trade in trades)
    assert trades[-1]["price"] == ticker["last"]
    assert {trade["side"] for trade in trades} == {"buy", "sell"}


async def test_ccxt_reads_the_rates_at_which_fills_are_charged(exchange: ccxt.bybit) -> None:
    every = await exchange.fetch_trading_fees()
    assert every["BTC/USDT:USDT"]["taker"] == 0.00055
    spot = await exchange.fetch_trading_fee("BTC/USDT")
    contract = await exchange.fetch_trading_fee("BTC/USDT:USDT")
    assert (spot["taker"], spot["maker"]) == (0.001, 0.001)
    assert (contract["taker"], contract["maker"]) == (0.00055, 0.0002)


async def test_ccxt_trades_a_contract_and_closes_it(exchange: ccxt.bybit) -> None:
    symbol = "BTC/USDT:USDT"
    await exchange.create_order(symbol, "market", "buy", 0.002)
    [position] = await exchange.fetch_positions([symbol])
    assert (position["side"], position["contracts"]) == ("long", 0.002)

    await exchange.create_order(symbol, "market", "sell", 0.002, params={"reduceOnly": True})
    trades = await exchange.fetch_my_trades(symbol)
    assert [trade["side"] for trade in trades[-2:]] == ["buy", "sell"]
    assert trades[-1]["fee"]["currency"] == "USDT"
    assert not any(position["contracts"] for position in await exchange.fetch_positions([symbol]))


async def test_pybit_places_sees_and_cancels_an_order(pybit: HTTP) -> None:
    def trade() -> tuple[Any, Any, Any, Any]:
        made = pybit.place_order(**RESTING, orderLinkId="pybit-1")["result"]
        shown = pybit.get_open_orders(category="spot", orderLinkId="pybit-1")["result"]["list"]
        gone = pybit.cancel_order(category="spot", symbol="BTCUSDT", orderId=made["orderId"])["result"]
        wallet = pybit.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]["coin"]
        return made, shown, gone, wallet

    made, shown, gone, wallet = await asyncio.to_thread(trade)
    assert [row["orderId"] for row in shown] == [made["orderId"]]
    assert gone == made
    assert {row["coin"] for row in wallet} >= {"BTC", "USDT"}


async def test_pybit_asks_for_everything_that_an_account_check_wants(pybit: HTTP) -> None:
    def ask() -> dict[str, Any]:
        answers = {
            "time": pybit.get_server_time(),
            "instruments": pybit.get_instruments_info(category="linear"),
            "book": pybit.get_orderbook(**SPOT, limit=5),
            "kline": pybit.get_kline(**SPOT, interval="60"),
            "account": pybit.get_account_info(),
            "key": pybit.get_api_key_information(),
            "fees": pybit.get_fee_rates(category="spot"),
            "positions": pybit.get_positions(category="linear", settleCoin="USDT"),
            "history": pybit.get_order_history(category="spot"),
            "executions": pybit.get_executions(category="spot"),
            "all": pybit.cancel_all_orders(category="spot"),
        }
        return {name: answer["result"] for name, answer in answers.items()}

    answers = await asyncio.to_thread(ask)
    assert answers["key"]["ips"] == ["127.0.0.1"]
    assert "Withdraw" not in answers["key"]["permissions"]["Wallet"]
    assert answers["account"]["unifiedMarginStatus"] == 6
    assert len(answers["book"]["b"]) == 5
    assert len(answers["kline"]["list"]) >= 24


async def test_pybotters_signs_without_a_window_and_is_let_in(venue: RunningVenue) -> None:
    Hosts.items["127.0.0.1"] = Hosts.items["api.bybit.com"]
    try:
        keys = {"bybit": [venue.api_key, venue.api_secret]}
        async with pybotters.Client(apis=keys, base_url=venue.url) as client:
            made = await client.fetch("POST", CREATE, data=RESTING)
            found = await client.fetch("GET", REALTIME, params=SPOT)
            order_id = made.data["result"]["orderId"]
            gone = await client.fetch("POST", "/v5/order/cancel", data=SPOT | {"orderId": order_id})
            wallet = await client.fetch("GET", "/v5/account/wallet-balance", params={"accountType": "UNIFIED"})
    finally:
        del Hosts.items["127.0.0.1"]
    assert order_id in [row["orderId"] for row in found.data["result"]["list"]]
    assert gone.data["retCode"] == 0
    assert wallet.data["retCode"] == 0


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"secret": "not-the-secret"}, 10004),
        ({"key": "not-the-key"}, 10003),
        ({"late_ms": 5_500}, 10002),
        ({"late_ms": 4_000, "window": "3000"}, 10002),
        ({"late_ms": 5_500, "window": None}, 10002),
        ({"late_ms": -1_500}, 10002),
        ({"without": "X-BAPI-API-KEY"}, 10003),
        ({"without": "X-BAPI-TIMESTAMP"}, 10002),
        ({"without": "X-BAPI-SIGN"}, 10004),
        ({"sent": "accountType=UNIFIED&coin=USDT"}, 10004),
    ],
)
async def test_a_request_that_is_not_ours_or_not_in_time_is_refused(raw: Raw, wrong: dict[str, Any], code: int) -> None:
    answer = await raw.send("GET", "/v5/account/wallet-balance", "accountType=UNIFIED", **wrong)
    assert (raw.status, answer["retCode"]) == (200, code)


@pytest.mark.parametrize(
    "fine", [{"late_ms": 4_000}, {"late_ms": 8_000, "window": "10000"}, {"late_ms": -500}, {"window": None}]
)
async def test_a_request_inside_the_window_is_let_in(raw: Raw, fine: dict[str, Any]) -> None:
    answer = await raw.send("GET", "/v5/account/wallet-balance", "accountType=UNIFIED", **fine)
    assert answer["retCode"] == 0


async def test_the_body_is_judged_as_sent_not_as_understood(raw: Raw) -> None:
    spaced = json.dumps(RESTING, indent=2)
    assert (await raw.send("POST", CREATE, spaced))["retCode"] == 0
    assert (await raw.send("POST", CREATE, spaced, sent=json.dumps(RESTING)))["retCode"] == 10004


async def test_an_unknown_path_is_a_404_in_text(raw: Raw) -> None:
    assert isinstance(await raw.get("/v5/nothing/here"), str)
    assert raw.status == 404
    await raw.send("GET", CREATE, "")
    assert raw.status == 404


async def test_candles_come_newest_first_and_the_first_still_runs(raw: Raw) -> None:
    raw.venue.advance(20_000)
    now_ms = raw.venue.now_ms()
    answer = await raw.get("/v5/market/kline", **SPOT, interval="5", limit="10")
    opened = [int(row[0]) for row in answer["result"]["list"]]
    assert opened == sorted(opened, reverse=True)
    assert opened[0] <= now_ms < opened[0] + 300_000
    assert all(len(row) == 7 for row in answer["result"]["list"])

    forward = await raw.get("/v5/market/kline", **SPOT, interval="5", limit="3", start=str(opened[-1]))
    assert [int(row[0]) for row in forward["result"]["list"]] == opened[-3:]


@pytest.mark.parametrize("interval", ["D", "W", "M"])
async def test_long_candles_hold_the_short_ones(raw: Raw, interval: str) -> None:
    answer = await raw.get("/v5/market/kline", **SPOT, interval=interval)
    newest = answer["result"]["list"][0]
    opened = time.gmtime(int(newest[0]) // 1000)
    assert (opened.tm_hour, opened.tm_min) == (0, 0)
    assert opened.tm_wday == 0 or interval != "W"
    assert opened.tm_mday == 1 or interval != "M"
    hours = (await raw.get("/v5/market/kline", **SPOT, interval="60", start=newest[0], limit="1000"))["result"]
    assert D(newest[2]) == max(D(row[2]) for row in hours["list"])


async def test_inverse_and_option_are_known_and_empty(raw: Raw) -> None:
    for category in ("inverse", "option"):
        answer = await raw.get("/v5/market/instruments-info", category=category)
        assert (answer["retCode"], answer["result"]["list"]) == (0, [])
    assert (await raw.get("/v5/market/instruments-info", category="margin"))["retCode"] == 10001
    assert (await raw.get("/v5/market/kline", **SPOT, interval="7"))["retCode"] == 10001


async def test_the_book_has_the_depth_asked_for(raw: Raw) -> None:
    spot = (await raw.get("/v5/market/orderbook", **SPOT))["result"]
    linear = (await raw.get("/v5/market/orderbook", **LINEAR))["result"]
    assert (len(spot["b"]), len(linear["b"])) == (1, 25)
    assert D(spot["b"][0][0]) < D(spot["a"][0][0])


async def test_too_many_creates_in_a_second_are_refused_with_the_time_to_come_back(raw: Raw) -> None:
    answers = [await raw.post(CREATE, **(RESTING | {"category": "linear"})) for _ in range(11)]
    assert [answer["retCode"] for answer in answers] == [0] * 10 + [10006]
    assert raw.headers["X-Bapi-Limit"] == "10"
    assert raw.headers["X-Bapi-Limit-Status"] == "0"
    assert int(raw.headers["X-Bapi-Limit-Reset-Timestamp"]) == pytest.approx(time.time() * 1000, abs=3_000)
    raw.venue.advance(1_000)
    assert (await raw.post("/v5/order/cancel-all", **LINEAR))["retCode"] == 0


async def test_private_answers_count_down_what_is_left_of_the_second(raw: Raw) -> None:
    await raw.get("/v5/account/info")
    first = int(raw.headers["X-Bapi-Limit-Status"])
    await raw.get("/v5/account/info")
    assert (first, int(raw.headers["X-Bapi-Limit-Status"])) == (49, 48)


async def test_an_address_that_asks_too_much_is_kept_out_for_ten_minutes() -> None:
    with RunningVenue("bybit") as venue:
        async with aiohttp.ClientSession() as session:
            raw = Raw(venue, session)
            for _ in range(600):
                await raw.get("/v5/market/time")
            assert raw.status == 200
            assert await raw.get("/v5/market/time") == "access too frequent"
            assert raw.status == 403
            venue.advance(9 * 60_000)
            await raw.get("/v5/market/time")
            assert raw.status == 403
            venue.advance(60_000)
            await raw.get("/v5/market/time")
            assert raw.status == 200
        assert venue.truth()["requests"]["refused_for_rate"] == 2


async def test_the_guide_allows_120_requests_a_minute() -> None:
    with RunningVenue("bybit", limits="guide") as venue:
        async with aiohttp.ClientSession() as session:
            raw = Raw(venue, session)
            codes = [(await raw.get("/v5/market/time"))["retCode"] for _ in range(121)]
            venue.advance(60_000)
            codes.append((await raw.get("/v5/market/time"))["retCode"])
    assert codes == [0] * 120 + [10006, 0]


def test_pybit_names_the_venues_code_for_a_wrong_secret(venue: RunningVenue) -> None:
    session = HTTP(api_key=venue.api_key, api_secret="wrong", max_retries=1)
    session.endpoint = venue.url
    with pytest.raises(InvalidRequestError) as caught:
        session.get_account_info()
    assert caught.value.status_code == 10004
