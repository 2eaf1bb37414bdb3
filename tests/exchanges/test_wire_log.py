"""What ccxt tells of its requests, verbose or at DEBUG: nothing that opens an account, and nothing on stdout."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import ccxt.async_support as ccxt
import pytest

import services.logs
from config.credentials import Credentials
from config.secret import Secret
from exchanges.bitbank import BitbankClient
from exchanges.bitflyer_client import BitflyerClient
from exchanges.bybit import PLACE, BybitClient
from exchanges.errors import VenueError
from exchanges.okcoinjp import OkjClient
from exchanges.transport import Purpose, Transport, connect
from exchanges.wire_log import harmless
from tests.exchanges.loopback import Said, StillClock, Venue, loopback, wiring

KEYS = ("wire-key-4711-aa", "d2lyZS1zZWNyZXQtNDcxMQ==", "wire-passphrase-4711")
SIGNING = ("sign", "key", "passphrase")


@pytest.fixture
async def venue() -> AsyncIterator[Venue]:
    async with loopback() as running:
        yield running


def client(kind: type[Transport], venue: Venue, folder: Path, keys: tuple[str, str, str] = KEYS) -> Any:
    credentials = Credentials(*(Secret(each) for each in keys))
    return connect(kind, wiring(venue, folder, StillClock(), credentials=credentials))


@pytest.mark.parametrize("kind", [BybitClient, BitbankClient, BitflyerClient, OkjClient])
async def test_verbose_and_debug_show_neither_key_nor_signature_even_without_the_mask(
    venue: Venue,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Transport],
) -> None:
    monkeypatch.setattr(logging.Logger, "callHandlers", services.logs._hand_over)  # the second lock is open
    caplog.set_level(logging.DEBUG)
    for name in ("ccxt", "aiohttp", "asyncio"):
        caplog.set_level(logging.DEBUG, name)
    venue.anything = Said(500, "the venue's own words", headers={"Set-Cookie": "session=the-cookie-4711"})
    talkative = client(kind, venue, tmp_path)
    talkative.verbose = True
    for purpose in (Purpose.PLACE, Purpose.CANCEL):
        route = next(each for each in kind.routes.values() if each.purpose is purpose)
        with pytest.raises(VenueError):
            await talkative.call(route, {"symbol": "BTCUSDT"})
    await talkative.close()
    assert venue.asked
    signed = [
        value
        for asked in venue.asked
        for name, value in asked.headers.items()
        if any(word in name.lower() for word in SIGNING)
    ]
    assert len(signed) >= 2 * len(venue.asked)
    for shown in (caplog.text, capsys.readouterr().out):
        for secret in (*KEYS, *signed, "the-cookie-4711"):
            assert secret not in shown
    assert "fetch Request" in caplog.text and "the venue's own words" in caplog.text


def test_nothing_is_printed_where_verbose_tells_something(
    venue: Venue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talkative = client(BybitClient, venue, tmp_path)
    talkative.log("backward pagination call", 1)
    assert capsys.readouterr().out == ""
    asyncio.run(talkative.close())


def test_of_headers_only_those_stay_that_say_what_a_message_is() -> None:
    told = harmless({"Content-Type": "application/json", "X-Whatever": "x", "ACCESS-SIGN": "y", "Date": "now"})
    assert told == {"Content-Type": "application/json", "X-Whatever": "••••", "ACCESS-SIGN": "••••", "Date": "now"}
    assert harmless("https://x/?a=1&signature=ff&b=2") == "https://x/?a=1&signature=••••&b=2"


async def test_a_venue_that_repeats_our_key_does_not_bring_it_into_an_error(venue: Venue, tmp_path: Path) -> None:
    told = {"retCode": 10003, "retMsg": f"API key {KEYS[0]} is invalid", "result": {}}
    bybit = client(BybitClient, venue, tmp_path)
    for answer in (told, Said(502, f"<html>{KEYS[0]}", "text/html")):
        venue.anything = answer
        with pytest.raises(VenueError) as raised:
            await bybit.call(PLACE, {})
        assert KEYS[0] not in str(raised.value) and "••••" in str(raised.value)
    await bybit.close()


async def test_a_key_that_no_header_can_hold_does_not_come_into_an_error(
    venue: Venue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bybit = client(BybitClient, venue, tmp_path)

    async def refuse(*_: object) -> None:
        raise ValueError(f"Invalid header value b'{KEYS[0]}'")

    monkeypatch.setattr(ccxt.Exchange, "fetch", refuse)
    with pytest.raises(VenueError) as raised:
        await bybit.call(PLACE, {})
    assert KEYS[0] not in str(raised.value)
    await bybit.close()
