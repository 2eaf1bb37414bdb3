"""A venue that says "too many": real clients over HTTP, judged by the venue's own count of what arrived."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from config.credentials import Credentials
from config.loader import load_settings
from config.secret import Secret
from exchanges import create_exchange_client
from exchanges.bitbank import BitbankClient
from exchanges.bitflyer_client import BitflyerClient
from exchanges.budget import FIRST_QUIET_MS, LONGEST_QUIET_MS, PACE_MS
from exchanges.bybit import ADDRESS_BAN_SECONDS, BybitClient
from exchanges.errors import RateLimitExceeded, VenueError
from exchanges.okcoinjp import OkjClient
from exchanges.transport import Purpose, Transport, connect
from services.clock import MarketClock
from simvenue.build import build_venue, wire_class
from simvenue.rates import RateWindow
from simvenue.server import VenueServer
from tests.exchanges.loopback import Said, StillClock, loopback, wiring

SYMBOLS = {"bybit": "BTC/USDT", "bitbank": "BTC/JPY", "bitflyer": "BTC/JPY", "okcoinjp": "BTC/JPY"}
# The venue's window that is full in the test: it decides in which of its forms the venue refuses.
ADDRESS = {"bybit": "address", "bitbank": "query", "bitflyer": "ip address", "okcoinjp": "GET /api/v5/market/ticker"}


@dataclass
class Door:
    """A simulated venue whose door can be shut: while it is, every request is one too many, in the venue's words."""

    server: VenueServer
    shut: bool = False

    @property
    def arrived(self) -> int:
        """Requests that the venue has counted, refused ones too."""
        return self.server.venue.requests.total


@asynccontextmanager
async def a_venue(
    exchange: str, window: str = "shut", *more: RateWindow, clock: str = "stepped"
) -> AsyncIterator[Door]:
    kind = wire_class(exchange)
    venue = build_venue(kind.spec, mode=clock, candles=None, seed=1)
    wire = kind(venue)
    published = wire.limits
    door: list[Door] = []

    def weigh(request: object, body: bytes) -> int:
        return 2 if door[0].shut else 0

    wire.limits = lambda limits: [*published(limits), RateWindow(window, 1, 1, weigh), *more]  # type: ignore[method-assign]
    server = VenueServer(venue, wire)
    door.append(Door(server))
    await server.start()
    try:
        yield door[0]
    finally:
        await server.stop()


async def a_client(door: Door, home: Path) -> tuple[Any, MarketClock]:
    told = door.server.announcement()
    name = told["exchange"]
    settings = load_settings(overrides=[f"home={home}", f"exchanges.{name}.base_url={told['base_url']}"], environ={})
    keys = Credentials(Secret(told["api_key"]), Secret(told["api_secret"]), Secret(told["passphrase"]))
    clock = await MarketClock.connect(told["control_url"])
    return create_exchange_client(name, settings=settings, credentials=keys, clock=clock), clock


async def some_minutes(door: Door, client: Any, clock: MarketClock, symbol: str, minutes: int) -> list[int]:
    """Read stubbornly for whole minutes, all that a cycle reads in each, whatever the venue answers; returns how many
    requests the venue has counted in each minute.
    """
    await clock.sleep(60 - clock.now().timestamp() % 60)
    begun = clock.now()
    calls = [lambda read=read: read(symbol) for read in (client.open_orders, client.ticker, client.order_book)]
    calls += [lambda: client.status(symbol), client.balances, lambda: client.fills(symbol, since=begun)]
    while (clock.now() - begun).total_seconds() < minutes * 60:
        for call in calls:
            with contextlib.suppress(VenueError):
                await call()
        await clock.sleep(60 - (clock.now() - begun).total_seconds() % 60)
    counted, first = door.server.venue.requests.by_minute(), int(begun.timestamp() * 1000)
    return [counted.get(first + 60_000 * number, 0) for number in range(minutes)]


@pytest.mark.parametrize("form", ["account", "address"])
@pytest.mark.parametrize("exchange", SYMBOLS)
async def test_a_trader_that_is_told_to_slow_down_sends_fewer_requests_than_before(
    tmp_path: Path, exchange: str, form: str
) -> None:
    async with a_venue(exchange, ADDRESS[exchange] if form == "address" else "shut") as door:
        client, clock = await a_client(door, tmp_path)
        await client.instruments()
        await clock.sleep(120)
        calm = await some_minutes(door, client, clock, SYMBOLS[exchange], 2)
        assert min(calm) >= 6
        door.shut = True
        shut = await some_minutes(door, client, clock, SYMBOLS[exchange], 3)
        assert all(during <= min(calm) // 2 for during in shut), (calm, shut)
        door.shut = False
        await clock.sleep(ADDRESS_BAN_SECONDS)
        assert await some_minutes(door, client, clock, SYMBOLS[exchange], 1) == calm[1:]  # and it comes back by itself
        await client.close()


@pytest.mark.parametrize("exchange", SYMBOLS)
async def test_a_cancel_is_still_tried_while_the_venue_wants_quiet_but_slowly(tmp_path: Path, exchange: str) -> None:
    async with a_venue(exchange) as door:
        client, clock = await a_client(door, tmp_path)
        await client.instruments()
        door.shut = True
        for _ in range(2):
            with pytest.raises(RateLimitExceeded):
                await client.ticker(SYMBOLS[exchange])
        begun, before = clock.now(), door.arrived
        for _ in range(6):
            with pytest.raises(RateLimitExceeded):
                await client.cancel(SYMBOLS[exchange], "1")
        took = (clock.now() - begun).total_seconds()
        assert door.arrived - before == 6
        assert 6 * PACE_MS / 1000 - 1 <= took <= 7 * PACE_MS / 1000, took
        await client.close()


async def test_an_order_is_not_kept_until_the_quiet_is_over(tmp_path: Path) -> None:
    async with a_venue("bitbank") as door:
        client, clock = await a_client(door, tmp_path)
        await client.instruments()
        door.shut = True
        with pytest.raises(RateLimitExceeded):
            await client.ticker("BTC/JPY")
        at, before = clock.now(), door.arrived
        with pytest.raises(RateLimitExceeded, match="not sent"):
            await client.room_for_an_order()
        assert (clock.now(), door.arrived) == (at, before)
        await client.close()


async def test_what_one_process_is_told_all_of_the_account_heed(tmp_path: Path) -> None:
    async with a_venue("bitbank") as door:
        (one, clock), (other, _) = await a_client(door, tmp_path), await a_client(door, tmp_path)
        await one.instruments()
        await other.instruments()
        door.shut = True
        with pytest.raises(RateLimitExceeded):
            await one.ticker("BTC/JPY")
        other.client.wiring = one.client.wiring  # one market time for both
        before, at = door.arrived, clock.now()
        door.shut = False
        await other.ticker("BTC/JPY")
        assert door.arrived == before + 1
        assert (clock.now() - at).total_seconds() >= FIRST_QUIET_MS / 1000 - 0.1
        for client in (one, other):
            await client.close()


TOLD: dict[str, tuple[type[Transport], int, str, dict[str, str], float]] = {
    "bybit 10006": (BybitClient, 200, '{"retCode":10006,"retMsg":"","result":{}}', {"Retry-After": "7"}, 10),
    "bybit 403": (BybitClient, 403, "access too frequent", {}, ADDRESS_BAN_SECONDS),
    "bybit 403 of another kind": (BybitClient, 403, "<html>", {}, 10),
    "bybit 429 page": (BybitClient, 429, "<html>", {}, 10),
    "okj 50011 at 200": (OkjClient, 200, '{"code":"50011","msg":"","data":[]}', {}, 10),
    "okj 50011 at 429": (OkjClient, 429, '{"code":"50011","msg":"","data":[]}', {"ratelimit-reset": "25"}, 25),
    "okj page": (OkjClient, 429, "<html>", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 10),
    "bitbank 10009": (BitbankClient, 429, '{"success":0,"data":{"code":10009}}', {"Retry-After": "45"}, 45),
    "bitbank page": (BitbankClient, 429, "<html>", {}, 10),
    "bitflyer -1": (BitflyerClient, 429, '{"status":-1,"error_message":"Over"}', {"X-RateLimit-Period": "120"}, 120),
    "bitflyer -508": (BitflyerClient, 400, '{"status":-508,"error_message":"limited"}', {}, 60),
    "bitflyer page": (BitflyerClient, 429, "<html>", {"Retry-After": "nan"}, 10),
}


@pytest.mark.parametrize("case", TOLD)
async def test_the_quiet_lasts_as_long_as_the_venue_tells_or_ten_seconds(tmp_path: Path, case: str) -> None:
    kind, status, body, headers, seconds = TOLD[case]
    clock = StillClock()
    async with loopback() as venue:
        client = connect(kind, wiring(venue, tmp_path, clock))
        client.requiredCredentials = {}
        venue.anything = Said(status, body, "text/html", headers)
        read = next(route for route in kind.routes.values() if route.api == "private" and route.purpose is Purpose.READ)
        with pytest.raises(RateLimitExceeded):
            await client.call(read, {})
        assert client.wiring.budget.quiet_ms() / 1000 == pytest.approx(seconds, abs=0.01)
        await client.close()


async def test_bybits_reset_stamp_is_heeded(tmp_path: Path) -> None:
    clock = StillClock()
    async with loopback() as venue:
        client = connect(BybitClient, wiring(venue, tmp_path, clock))
        headers = {"X-Bapi-Limit-Reset-Timestamp": str(client.milliseconds() + 30_000)}
        venue.anything = Said(200, '{"retCode":10006,"retMsg":"","result":{}}', "application/json", headers)
        with pytest.raises(RateLimitExceeded):
            await client.call(next(iter(BybitClient.routes.values())), {})
        assert 25 <= client.wiring.budget.quiet_ms() / 1000 <= 30
        await client.close()


async def test_the_quiet_doubles_while_it_is_said_again_up_to_a_minute_and_is_then_forgotten(tmp_path: Path) -> None:
    clock = StillClock()
    async with loopback() as venue:
        budget = wiring(venue, tmp_path, clock).budget
        lasted = []
        for _ in range(5):
            lasted.append(budget.be_quiet())
            await clock.sleep(lasted[-1] + 0.001)
        assert lasted == [10, 20, 40, 60, 60] and LONGEST_QUIET_MS == 60_000
        await clock.sleep(61)
        assert budget.be_quiet() == 10


async def test_a_rate_refusal_reaches_its_caller_though_the_quiet_cannot_be_written_down(tmp_path: Path) -> None:
    """An order that was refused must not become one of unknown outcome because of our own disk."""
    async with loopback() as venue:
        wired = wiring(venue, tmp_path, StillClock())
        client = connect(BitbankClient, wired)
        venue.anything = Said(429, '{"success":0,"data":{"code":10009}}')
        cancel = next(route for route in BitbankClient.routes.values() if route.purpose is Purpose.CANCEL)
        (tmp_path / "budget.lock").mkdir()
        with pytest.raises(RateLimitExceeded):
            await client.call(cancel, {"pair": "btc_jpy", "order_id": 1})
        await client.close()


_READER = """
import asyncio, sys
from pathlib import Path
from config.credentials import Credentials
from config.secret import Secret
from exchanges.bitbank import BitbankReader
from exchanges.budget import RequestBudget, Window, key_fingerprint
from exchanges.transport import Wiring
from services.clock import WallClock

async def main():
    url, key, secret, file, times = sys.argv[1:]
    window = Window("shared", 20, 4.0)
    clock = WallClock()
    budget = RequestBudget(Path(file), (window,), clock, account=key_fingerprint(key), margin=0.8, cancel_reserve=0)
    keys = Credentials(Secret(key), Secret(secret), Secret(""))
    reader = BitbankReader(Wiring(clock=clock, budget=budget, per_minute=window, credentials=keys, base_url=url))
    await reader.instruments()
    for _ in range(int(times)):
        await reader.balances()
    await reader.close()

asyncio.run(main())
"""
_HOLDER = (
    "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print('held', flush=True); time.sleep(60)"
)


@pytest.mark.slow
async def test_three_processes_on_one_account_never_exceed_the_budget_as_the_venue_counts(tmp_path: Path) -> None:
    """Twenty in 4 s are configured, so sixteen may come; a fourth process dies while it holds the lock."""
    # A request is counted when it leaves, and the venue counts it when it comes: a second is allowed for the way.
    judge = RateWindow("judge", 16, 3000, lambda request, body: 1)
    async with a_venue("bitbank", "shut", judge, clock="wall") as door:
        told, file = door.server.announcement(), tmp_path / "budget" / "bitbank.requests"
        file.parent.mkdir()
        holder = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _HOLDER, f"{file}.lock", stdout=subprocess.PIPE
        )
        assert holder.stdout is not None
        await holder.stdout.readline()
        arguments = (told["base_url"], told["api_key"], told["api_secret"], str(file), "15")
        running = [await asyncio.create_subprocess_exec(sys.executable, "-c", _READER, *arguments) for _ in range(3)]
        await asyncio.sleep(1)
        assert door.arrived == 0
        holder.send_signal(signal.SIGKILL)
        assert [await process.wait() for process in running] == [0, 0, 0]
        await holder.wait()
        assert door.arrived == 3 * 16
        assert door.server.venue.requests.refused_for_rate == 0
