"""A venue over real HTTP: the wire in front, the control side beside it, and the command that serves them."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from simvenue.build import GENERATED_START_MS, build_venue
from simvenue.candles import DAY, MINUTE
from simvenue.server import VenueServer
from tests.simvenue.plain_wire import PlainWire

HOUR = 60 * MINUTE


class Caller:
    """Calls one served venue; paths under /_control are its control side."""

    def __init__(self, server: VenueServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self._session = session

    async def get(self, path: str) -> tuple[int, Any]:
        async with self._session.get(self.server.base_url + path) as reply:
            return reply.status, await reply.json()

    async def post(self, path: str, **body: object) -> tuple[int, Any]:
        async with self._session.post(self.server.base_url + path, json=body) as reply:
            return reply.status, await reply.json()

    async def truth(self) -> Any:
        return (await self.get("/_control/truth"))[1]


async def served(limits: str = "published", mode: str = "stepped") -> VenueServer:
    venue = build_venue(PlainWire.spec, mode=mode, candles=None, seed=3)
    server = VenueServer(venue, PlainWire(venue), limits=limits)
    await server.start()
    return server


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    server = await served()
    async with aiohttp.ClientSession() as session:
        yield Caller(server, session)
    await server.stop()


ORDER = {"symbol": "BTC/JPY", "side": "buy", "type": "limit", "quantity": "0.01", "price": "9900000"}


async def test_truth_tells_orders_fills_balances_and_requests_as_a_client_sees_them(call: Caller) -> None:
    await call.post("/orders", **ORDER)
    market_order = {key: ORDER[key] for key in ("symbol", "side", "quantity")} | {"type": "market"}
    await call.post("/orders", **market_order)
    truth = await call.truth()
    assert list(truth) == ["orders", "fills", "balances", "positions", "collateral", "deposits", "requests"]
    assert truth["orders"][0] == {
        "id": "order-1",
        "client_id": "",
        "symbol": "BTC/JPY",
        "side": "buy",
        "type": "limit",
        "price": "9900000",
        "quantity": "0.01",
        "filled": "0",
        "status": "open",
        "created_at": GENERATED_START_MS,
        "by_hand": False,
    }
    assert truth["orders"][1]["price"] is None
    assert truth["orders"][1]["status"] == "filled"
    (fill,) = truth["fills"]
    assert set(fill) == {"id", "order_id", "price", "quantity", "fee", "fee_currency", "at"}
    assert (fill["id"], fill["order_id"], fill["fee_currency"]) == ("fill-1", "order-2", "JPY")
    assert truth["balances"]["JPY"]["locked"] == "99000"
    assert truth["balances"]["BTC"] == {"free": "0.11", "locked": "0"}
    assert (truth["positions"], truth["collateral"]) == ([], {})
    assert truth["requests"] == {
        "total": 2,
        "by_minute": {str(GENERATED_START_MS): 2},
        "refused_for_rate": 0,
    }


async def test_a_stepped_clock_stands_still_and_goes_where_it_is_told(call: Caller) -> None:
    clock = {"now_ms": GENERATED_START_MS, "mode": "stepped", "ends_ms": None}
    assert await call.get("/_control/clock") == (200, clock)
    await asyncio.sleep(0.02)
    assert await call.get("/_control/clock") == (200, clock)
    told = await call.post("/_control/clock", advance_ms=90_000)
    assert told == (200, {"now_ms": GENERATED_START_MS + 90_000})
    for wrong in (-1, "60000", 1.5, True, None):
        status, body = await call.post("/_control/clock", advance_ms=wrong)
        assert status == 400
        assert body["error"]
    assert (await call.get("/_control/clock"))[1]["now_ms"] == GENERATED_START_MS + 90_000


async def test_hands_on_the_market_place_deposit_and_move_the_price(call: Caller) -> None:
    await call.post("/orders", **ORDER)
    status, placed = await call.post("/_control/orders", **(ORDER | {"price": "9800000"}))
    assert (status, placed["id"], placed["status"]) == (200, "order-2", "open")
    assert call.server.venue.orders[1].by_hand
    await call.post("/_control/balances", currency="BTC", change="0.5")
    await call.post("/_control/balances", currency="XRP", change=7)
    assert await call.post("/_control/price", symbol="BTC/JPY", price="9850000") == (
        200,
        {"symbol": "BTC/JPY", "price": "9850000"},
    )
    truth = await call.truth()
    assert [order["status"] for order in truth["orders"]] == ["filled", "open"]
    assert truth["balances"]["BTC"]["free"] == "0.61"
    assert truth["balances"]["XRP"] == {"free": "7", "locked": "0"}
    assert truth["requests"]["total"] == 1


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("orders", ORDER | {"symbol": "DOGE/JPY"}, "has no DOGE/JPY, but BTC/JPY"),
        ("orders", ORDER | {"side": "BUY"}, "side is buy or sell"),
        ("orders", ORDER | {"quantity": "9999"}, "too_large"),
        ("orders", ORDER | {"quantity": "0.5", "price": "10500000"}, "insufficient_funds"),
        ("orders", ORDER | {"quantity": "-0.01"}, "too_small"),
        ("orders", {key: ORDER[key] for key in ("symbol", "side", "type", "quantity")}, "needs a price"),
        ("orders", ORDER | {"quantity": "much"}, "not an amount"),
        ("orders", ORDER | {"quantity": "NaN"}, "not an amount"),
        ("balances", {"currency": "BTC", "change": "-0.2"}, "only 0.1 is free"),
        ("balances", {"currency": "BTC"}, "change is missing"),
        ("price", {"symbol": "BTC/JPY", "price": "0"}, "not a multiple"),
        ("price", {"symbol": "BTC/JPY", "price": "1.5"}, "not a multiple"),
        ("nothing", {}, "no POST /_control/nothing"),
    ],
)
async def test_a_wrong_hand_is_told_why_and_changes_nothing(
    call: Caller, path: str, body: dict[str, str], says: str
) -> None:
    before = await call.truth()
    status, answer = await call.post(f"/_control/{path}", **body)
    assert status in (400, 404)
    assert says in answer["error"]
    assert await call.truth() == before


async def test_what_is_not_simulated_is_said(call: Caller) -> None:
    for path in ("/_control", "/_control/"):
        status, body = await call.get(path)
        assert status == 200
        assert body["exchange"] == "plain"
        assert any("liquidation" in line for line in body["not_simulated"])


async def test_unknown_paths_and_methods_get_the_venues_own_answer_and_count(call: Caller) -> None:
    assert await call.get("/nowhere") == (404, {"refused": "nothing here"})
    assert await call.get("/orders") == (404, {"refused": "nothing here"})
    assert (await call.truth())["requests"]["total"] == 2


async def test_a_wire_sees_path_and_query_as_they_were_sent(call: Caller) -> None:
    assert (await call.get("/BTC%2FJPY/price?b=1&a=%20"))[1]["raw"] == "/BTC%2FJPY/price?b=1&a=%20"


async def test_the_rate_limit_counts_market_time_and_spares_the_control_side() -> None:
    server = await served("guide")
    async with aiohttp.ClientSession() as session:
        call = Caller(server, session)
        answers = [(await call.get("/BTC/price"))[0] for _ in range(7)]
        assert answers == [200] * 5 + [429] * 2
        await call.post("/_control/clock", advance_ms=MINUTE)
        assert (await call.get("/BTC/price"))[0] == 200
        requests = (await call.truth())["requests"]
    await server.stop()
    minute = GENERATED_START_MS
    by_minute = {str(minute): 7, str(minute + MINUTE): 1}
    assert requests == {"total": 8, "by_minute": by_minute, "refused_for_rate": 2}


async def test_on_the_wall_clock_the_newest_candle_is_the_current_one_and_a_market_order_fills() -> None:
    server = await served(mode="wall")
    async with aiohttp.ClientSession() as session:
        call = Caller(server, session)
        order = {"symbol": "BTC/JPY", "side": "buy", "type": "market", "quantity": "0.002"}
        assert (await call.post("/orders", **order))[1]["status"] == "filled"
        assert (await call.post("/_control/clock", advance_ms=1))[0] == 400
        bars = server.venue.market("BTC/JPY").candles(60, limit=1500)
        now = server.venue.now_ms()
    await server.stop()
    assert len(bars) == 1500
    assert bars[-1].open_ms == now // MINUTE * MINUTE
    assert abs(now - time.time() * 1000) < 60_000


def test_recorded_hours_are_served_as_the_same_hours_on_the_wall_clock(tmp_path: Path) -> None:
    hours = range(GENERATED_START_MS, GENERATED_START_MS + 2 * DAY, HOUR)
    rows = [
        f"{at},{10_000_000 + n * 10},{10_000_900 + n},{9_999_000 + n},{10_000_100 + n},5" for n, at in enumerate(hours)
    ]
    file = tmp_path / "hours.csv"
    file.write_text("timestamp,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    venue = VenueServer.build("bitbank", clock="wall", candles=file).venue
    bars = venue.market("BTC/JPY").candles(3600)
    recorded = {tuple(row.split(",")[1:5]) for row in rows}
    assert len(bars) >= 24
    assert all(tuple(str(amount) for amount in bar[1:5]) in recorded for bar in bars if bar.closed)
    assert bars[-1].open_ms == venue.now_ms() // HOUR * HOUR


async def test_minutes_pass_quickly_with_orders_resting_and_a_day_in_one_jump_too(
    call: Caller,
) -> None:
    for number in range(30):
        await call.post("/_control/orders", **(ORDER | {"price": str(9_000_000 + number), "quantity": "0.001"}))
    begun = time.perf_counter()
    for _ in range(1000):
        call.server.venue.advance(MINUTE)
    assert time.perf_counter() - begun < 5  # under 5 ms a minute, on any machine
    begun = time.perf_counter()
    call.server.venue.advance(DAY)
    assert time.perf_counter() - begun < 3


# --- the command ------------------------------------------------------------------------------------------


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "simvenue", *words]


def refused(*words: str) -> str:
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


def started(*words: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    process = subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def test_an_unknown_exchange_is_one_clear_line() -> None:
    assert "unknown exchange mtgox" in refused("mtgox")


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} on 127.0.0.1 is in use" in refused("bitbank", "--port", str(port))


def test_a_candle_file_with_wrong_columns_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text("when,price\n1,2\n")
    assert f"{path}: found when,price, without timestamp" in refused("bitbank", "--candles", str(path))


def test_wrong_words_are_one_clear_line() -> None:
    assert "invalid int value" in refused("bitbank", "--port", "http")
    assert "clock" in refused("bitbank", "--clock", "sundial")


def test_the_first_line_says_how_to_reach_the_venue_and_sigterm_ends_it_in_order() -> None:
    process, line = started("bitbank", "--seed", "7")
    again, same = started("bitbank", "--seed", "7")
    names = ["exchange", "base_url", "api_key", "api_secret", "passphrase", "control_url"]
    assert list(line) == names
    assert line["control_url"] == line["base_url"] + "/_control"
    assert line["passphrase"] == ""
    assert (line["api_key"], line["api_secret"]) == (same["api_key"], same["api_secret"])
    assert line["base_url"] != same["base_url"]
    process.send_signal(signal.SIGTERM)
    again.send_signal(signal.SIGINT)
    for one in (process, again):
        rest, _ = one.communicate(timeout=10)
        assert one.returncode == 0
        assert rest == ""


def test_a_venue_ends_when_the_process_that_it_belongs_to_is_gone() -> None:
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process, _ = started("bitbank", "--parent", str(owner.pid))
    time.sleep(0.2)
    assert process.poll() is None
    owner.kill()
    owner.wait()
    assert process.wait(timeout=10) == 0
    if process.stdout is not None:
        process.stdout.close()


def test_a_command_that_starts_takes_well_under_a_second_of_its_own() -> None:
    begun = os.times()
    process, _ = started("bitbank")
    process.terminate()
    process.communicate(timeout=10)
    ended = os.times()
    assert ended.children_user - begun.children_user < 2
