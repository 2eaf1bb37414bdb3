"""What no client should send: every venue refuses it in its own words, and its books stay as they were."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from tests.simvenue import bitbank_by_hand, bitflyer_by_hand, bybit_by_hand, okcoinjp_by_hand
from tests.simvenue.running import RunningVenue

Send = Callable[[RunningVenue, aiohttp.ClientSession, str], Awaitable[Any]]
UNBOOKABLE: tuple[Any, ...] = ("NaN", "1e400", "1E+999999999", "1E-999999999", "1e-30", "1_0", None, True, [])
DEEP = '{"a":' * 50_000
ODD_AMOUNTS: tuple[Any, ...] = (
    "NaN", "sNaN", "Infinity", "-Infinity", "-1", "0", "1e30", "1e400", "1E+999999999", "1E-999999999", "1e-30",
    "9" * 400, "0." + "0" * 5_000 + "1", "\u0661", "\uff11", "1_0", " 0.01", "0.01 ", "0x10", "abc", "",
    None, True, [], {},
)  # fmt: skip


async def _bybit(venue: RunningVenue, session: aiohttp.ClientSession, text: str) -> Any:
    return await bybit_by_hand.Raw(venue, session).send("POST", bybit_by_hand.CREATE, text)


async def _bitbank(venue: RunningVenue, session: aiohttp.ClientSession, text: str) -> Any:
    return await bitbank_by_hand.post(session, venue, "/v1/user/spot/order", text)


async def _bitflyer(venue: RunningVenue, session: aiohttp.ClientSession, text: str) -> Any:
    return (await bitflyer_by_hand.post(session, venue, "sendchildorder", text))[1]


async def _okcoinjp(venue: RunningVenue, session: aiohttp.ClientSession, text: str) -> Any:
    return await okcoinjp_by_hand.Raw(venue, session).send("POST", "/api/v5/trade/order", text)


@dataclass
class Door:
    """How orders enter one venue: the call, a sound order, its amounts, and the header that is signed."""

    send: Send
    order: dict[str, Any]
    amounts: tuple[str, str]
    reader: str
    headers: tuple[str, ...]


DOORS = {
    "bybit": Door(_bybit, bybit_by_hand.RESTING, ("qty", "price"), "/v5/account/info",
                  ("X-BAPI-API-KEY", "X-BAPI-TIMESTAMP", "X-BAPI-SIGN", "X-BAPI-RECV-WINDOW")),
    "bitbank": Door(_bitbank, bitbank_by_hand.an_order(), ("amount", "price"), "/v1/user/assets",
                    ("ACCESS-KEY", "ACCESS-REQUEST-TIME", "ACCESS-SIGNATURE", "ACCESS-TIME-WINDOW")),
    "bitflyer": Door(_bitflyer, bitflyer_by_hand.an_order(), ("size", "price"), "/v1/me/getbalance",
                     ("ACCESS-KEY", "ACCESS-TIMESTAMP", "ACCESS-SIGN")),
    "okcoinjp": Door(_okcoinjp, okcoinjp_by_hand.RESTING, ("sz", "px"), "/api/v5/account/balance",
                     ("OK-ACCESS-KEY", "OK-ACCESS-TIMESTAMP", "OK-ACCESS-SIGN", "OK-ACCESS-PASSPHRASE")),
}  # fmt: skip


@pytest.fixture(params=DOORS)
def venue(request: pytest.FixtureRequest) -> Iterator[RunningVenue]:
    with RunningVenue(request.param) as running:
        yield running


@pytest.fixture
def door(venue: RunningVenue) -> Door:
    return DOORS[venue.server.venue.spec.name]


async def send(venue: RunningVenue, door: Door, session: aiohttp.ClientSession, text: str) -> Any:
    """Send an order after a quiet minute, so that no rate limit answers in its place."""
    await asyncio.to_thread(venue.advance, 61_000)
    return await door.send(venue, session, text)


async def test_an_amount_that_is_none_is_refused_and_nothing_is_booked(venue: RunningVenue, door: Door) -> None:
    before = venue.truth()["balances"]
    async with aiohttp.ClientSession() as session:
        for name in door.amounts:
            for amount in ODD_AMOUNTS:
                answer = await send(venue, door, session, json.dumps({**door.order, name: amount}))
                assert isinstance(answer, dict), (name, amount)  # the venue's envelope, not an error page
    assert venue.truth()["orders"] == []
    assert venue.truth()["balances"] == before


async def test_a_body_that_is_no_order_is_refused(venue: RunningVenue, door: Door) -> None:
    async with aiohttp.ClientSession() as session:
        for text in ("{", "", "null", "[1]", '"x"', "5", '{"a":NaN}', "{}", DEEP, "[" * 100_000):
            assert isinstance(await send(venue, door, session, text), dict), text[:20]
    assert venue.truth()["orders"] == []


async def test_a_body_that_cannot_be_unpacked_is_refused(venue: RunningVenue, door: Door) -> None:
    async with aiohttp.ClientSession(headers={"Content-Encoding": "gzip"}) as session:
        for path in (door.reader, "/_control/orders"):
            async with session.post(venue.url + path, data=b"not packed") as reply:
                assert reply.status == 400


async def test_headers_of_any_bytes_are_refused_as_what_they_are(venue: RunningVenue, door: Door) -> None:
    sound = dict.fromkeys(door.headers, "1") | {door.headers[0]: venue.api_key}
    odd = ("caf\xe9", "9" * 5_000)
    async with aiohttp.ClientSession() as session:
        for name in door.headers:
            for value in odd:
                async with session.get(venue.url + door.reader, headers={**sound, name: value}) as reply:
                    assert reply.status in (200, 401), (name, value[:5])
                    assert "json" in reply.content_type


async def test_the_control_side_takes_no_amount_that_the_books_cannot_hold(venue: RunningVenue) -> None:
    symbol = venue.server.venue.spec.pairs[0].symbol
    order = {"symbol": symbol, "side": "buy", "type": "limit", "price": "1", "quantity": "1"}
    before = venue.truth()
    async with aiohttp.ClientSession() as session:
        for amount in UNBOOKABLE:
            for path, body in (
                ("price", {"symbol": symbol, "price": amount}),
                ("balances", {"currency": "BTC", "change": amount}),
                ("orders", {**order, "quantity": amount}),
            ):
                async with session.post(f"{venue.url}/_control/{path}", json=body) as reply:
                    assert (reply.status, list(await reply.json())) == (400, ["error"]), (path, amount)
        for currency in ("btc", "", None, 5):
            body = {"currency": currency, "change": "1"}
            async with session.post(f"{venue.url}/_control/balances", json=body) as reply:
                assert (reply.status, list(await reply.json())) == (400, ["error"]), currency
        async with session.post(f"{venue.url}/_control/orders", data=DEEP) as reply:
            assert (reply.status, list(await reply.json())) == (400, ["error"])
    assert venue.truth() == before
