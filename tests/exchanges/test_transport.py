import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from config.credentials import Credentials
from config.secret import Secret
from exchanges.budget import RequestBudget, Window
from exchanges.bybit import BALANCES, CANCEL, PLACE, TIME, BybitClient
from exchanges.errors import (
    AuthenticationError,
    BadRequest,
    Busy,
    NoAnswer,
    RateLimitExceeded,
    Refused,
    VenueError,
)
from exchanges.transport import CallNotAllowed, Purpose, Route, connect
from tests.exchanges.loopback import NOW, Said, StillClock, Venue, loopback, wiring

OK = {"retCode": 0, "retMsg": "OK", "result": {"list": []}}
GARBAGE = {
    "empty": Said(200, ""),
    "html": Said(200, "<html><body>Gateway</body></html>", "text/html"),
    "truncated": Said(200, '{"retCode":0,"result":{"orderId":"1'),
    "a list": Said(200, "[]"),
    "another envelope": Said(200, '{"success":1}'),
}


@pytest.fixture
async def venue() -> AsyncIterator[Venue]:
    async with loopback() as running:
        yield running


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


def client(venue: Venue, folder: Path, clock: StillClock, **changes: Any) -> Any:
    return connect(BybitClient, wiring(venue, folder, clock, **changes))


def path_of(route: Route) -> str:
    return f"{route.method} /{route.path}"


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("route", [PLACE, CANCEL, BALANCES])
async def test_a_2xx_answer_that_is_not_the_venues_form_is_no_answer(
    venue: Venue, tmp_path: Path, clock: StillClock, route: Route, garbage: str
) -> None:
    venue.answers[path_of(route)] = GARBAGE[garbage]
    bybit = client(venue, tmp_path, clock)
    with pytest.raises(NoAnswer):
        await bybit.call(route, {})
    await bybit.close()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AuthenticationError),
        (403, RateLimitExceeded),
        (429, RateLimitExceeded),
        (404, NoAnswer),
        (500, NoAnswer),
        (502, NoAnswer),
        (503, NoAnswer),
        (504, NoAnswer),
    ],
)
async def test_an_order_that_a_gateway_answered_may_be_repeated_only_where_that_is_certain(
    venue: Venue, tmp_path: Path, clock: StillClock, status: int, kind: type[VenueError]
) -> None:
    venue.answers[path_of(PLACE)] = Said(status, "<html></html>", "text/html")
    bybit = client(venue, tmp_path, clock)
    with pytest.raises(kind):
        await bybit.call(PLACE, {})
    await bybit.close()


async def test_a_code_that_no_table_knows_leaves_an_order_unknown_and_refuses_a_read(
    venue: Venue, tmp_path: Path, clock: StillClock
) -> None:
    unheard = {"retCode": 987654, "retMsg": "new words", "result": {}}
    venue.answers = {path_of(PLACE): unheard, path_of(CANCEL): unheard, path_of(BALANCES): unheard}
    bybit = client(venue, tmp_path, clock)
    for route, kind in ((PLACE, NoAnswer), (CANCEL, NoAnswer), (BALANCES, Refused)):
        with pytest.raises(kind) as raised:
            await bybit.call(route, {})
        assert raised.value.code == "987654"
        assert "new words" in str(raised.value)
    await bybit.close()


async def test_a_success_inside_a_server_error_is_no_answer(venue: Venue, tmp_path: Path, clock: StillClock) -> None:
    venue.answers[path_of(PLACE)] = Said(500, '{"retCode":0,"result":{"orderId":"1"}}')
    bybit = client(venue, tmp_path, clock)
    with pytest.raises(NoAnswer):
        await bybit.call(PLACE, {})
    await bybit.close()


@pytest.mark.parametrize("answer", [Said(503, "down"), Said(200, "")])
async def test_a_read_is_repeated_with_growing_pauses_in_market_time(
    venue: Venue, tmp_path: Path, clock: StillClock, answer: Said
) -> None:
    venue.answers[path_of(BALANCES)] = answer
    bybit = client(venue, tmp_path, clock, attempts=3, retry_delay_seconds=1.0)
    with pytest.raises((NoAnswer, Busy)):
        await bybit.call(BALANCES, {})
    await bybit.close()
    assert len(venue.asked) == 3
    assert clock.now() - NOW == timedelta(seconds=3)


async def test_a_venue_that_says_slow_down_is_not_asked_again_at_once(
    venue: Venue, tmp_path: Path, clock: StillClock
) -> None:
    venue.answers[path_of(BALANCES)] = Said(429, "slow down")
    bybit = client(venue, tmp_path, clock, attempts=3)
    with pytest.raises(RateLimitExceeded):
        await bybit.call(BALANCES, {})
    await bybit.close()
    assert len(venue.asked) == 1


async def test_while_the_venue_is_in_trouble_a_read_is_asked_once_until_one_is_answered(
    venue: Venue, tmp_path: Path, clock: StillClock
) -> None:
    venue.answers[path_of(BALANCES)] = Said(503, "down")
    bybit = client(venue, tmp_path, clock, attempts=3)
    asked = []
    for answer in (Said(503, "down"), Said(503, "down"), OK, Said(503, "down")):
        venue.answers[path_of(BALANCES)] = answer
        venue.asked.clear()
        with contextlib.suppress(NoAnswer):
            await bybit.call(BALANCES, {})
        asked.append(len(venue.asked))
    await bybit.close()
    assert asked == [3, 1, 1, 3]


async def test_an_order_that_would_have_to_wait_for_the_budget_is_not_sent(
    venue: Venue, tmp_path: Path, clock: StillClock
) -> None:
    venue.answers[path_of(PLACE)] = OK
    per_minute = Window("test a minute", 5, 60.0)
    budget = RequestBudget(tmp_path / "tight", (per_minute,), clock, margin=1, cancel_reserve=0)
    bybit = client(venue, tmp_path, clock, budget=budget, per_minute=per_minute)
    for _ in range(5):
        await budget.acquire((per_minute,))
    with pytest.raises(Busy, match="not sent"):
        await bybit.call(PLACE, {})
    assert not venue.asked and clock.now() == NOW
    await bybit.room_for_an_order()
    assert clock.now() - NOW >= timedelta(seconds=60)
    await bybit.call(PLACE, {})
    await bybit.close()
    assert venue.paths() == [path_of(PLACE)]


async def test_a_repeated_read_gives_the_first_good_answer(venue: Venue, tmp_path: Path, clock: StillClock) -> None:
    replies = iter([Said(502, ""), OK])
    venue.answers[path_of(BALANCES)] = lambda _: next(replies)
    bybit = client(venue, tmp_path, clock, attempts=3)
    assert await bybit.call(BALANCES, {}) == OK
    await bybit.close()


async def test_a_refusal_is_not_repeated(venue: Venue, tmp_path: Path, clock: StillClock) -> None:
    venue.answers[path_of(BALANCES)] = {"retCode": 10001, "retMsg": "bad", "result": {}}
    bybit = client(venue, tmp_path, clock, attempts=3)
    with pytest.raises(BadRequest):
        await bybit.call(BALANCES, {})
    await bybit.close()
    assert len(venue.asked) == 1


@pytest.mark.parametrize("route", [PLACE, CANCEL])
async def test_what_changes_something_is_sent_once_even_where_ccxt_is_told_to_repeat(
    venue: Venue, tmp_path: Path, clock: StillClock, route: Route
) -> None:
    venue.answers[path_of(route)] = Said(503, "")
    options = {"options": {"maxRetriesOnFailure": 5}}
    bybit = client(venue, tmp_path, clock, attempts=5, options=options)
    with pytest.raises(NoAnswer):
        await bybit.call(route, {})
    await bybit.close()
    assert len(venue.asked) == 1


async def test_a_venue_that_cannot_be_reached_has_taken_nothing(
    venue: Venue, tmp_path: Path, clock: StillClock, unused_tcp_port: int
) -> None:
    bybit = client(venue, tmp_path, clock, base_url=f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(Busy, match="cannot connect"):
        await bybit.call(PLACE, {})
    await bybit.close()


@pytest.mark.parametrize("behaviour", ["drop", "hang", "half"])
async def test_a_connection_that_ends_without_an_answer_leaves_the_outcome_unknown(
    tmp_path: Path, clock: StillClock, behaviour: str
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        await request.text()
        if behaviour == "hang":
            await asyncio.sleep(5)
        if behaviour == "half":
            half = web.StreamResponse(headers={"Content-Length": "1000"})
            await half.prepare(request)
            await half.write(b'{"retCode":0,')
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    venue = Venue(url=f"http://127.0.0.1:{runner.addresses[0][1]}")
    bybit = client(venue, tmp_path, clock, timeout_seconds=0.3)
    with pytest.raises(NoAnswer):
        await bybit.call(PLACE, {})
    await bybit.close()
    await runner.cleanup()


@asynccontextmanager
async def venue_that_drops_the_second_request() -> AsyncIterator[Venue]:
    """Its first answer keeps the connection; the next request on it is read and dropped; later ones are answered."""
    venue = Venue(anything=OK)

    async def answer(request: web.Request) -> web.Response:
        told = await venue.handle(request)
        if len(venue.asked) == 2:
            assert request.transport is not None
            request.transport.abort()
        return told

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    venue.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield venue
    finally:
        await runner.cleanup()


async def test_a_read_on_a_connection_that_was_dropped_is_repeated_by_us_and_counted(
    tmp_path: Path, clock: StillClock
) -> None:
    async with venue_that_drops_the_second_request() as venue:
        bybit = client(venue, tmp_path, clock, attempts=2)
        assert await bybit.call(BALANCES, {}) == OK
        assert await bybit.call(BALANCES, {}) == OK
        await bybit.close()
        assert (len(venue.asked), bybit.traffic().requests, bybit.traffic().errors) == (3, 3, 1)


async def test_a_read_that_may_be_asked_once_is_asked_once_on_a_connection_that_is_dropped(
    tmp_path: Path, clock: StillClock
) -> None:
    async with venue_that_drops_the_second_request() as venue:
        bybit = client(venue, tmp_path, clock, attempts=1)
        await bybit.call(BALANCES, {})
        with pytest.raises(NoAnswer):
            await bybit.call(BALANCES, {})
        await bybit.close()
        assert len(venue.asked) == 2


@pytest.mark.parametrize("route", [PLACE, CANCEL])
async def test_an_order_on_a_connection_that_was_dropped_is_never_repeated(
    tmp_path: Path, clock: StillClock, route: Route
) -> None:
    async with venue_that_drops_the_second_request() as venue:
        bybit = client(venue, tmp_path, clock, attempts=3)
        await bybit.call(BALANCES, {})
        with pytest.raises(NoAnswer):
            await bybit.call(route, {})
        await bybit.close()
        assert venue.paths()[1:] == [path_of(route)]


@pytest.mark.parametrize("route", [PLACE, CANCEL])
async def test_a_client_that_only_reads_sends_nothing_else(
    venue: Venue, tmp_path: Path, clock: StillClock, route: Route
) -> None:
    bybit = client(venue, tmp_path, clock, may_trade=False)
    with pytest.raises(CallNotAllowed, match="only reads"):
        await bybit.call(route, {})
    await bybit.close()
    assert venue.asked == []


async def test_a_call_that_is_not_listed_never_leaves(venue: Venue, tmp_path: Path, clock: StillClock) -> None:
    bybit = client(venue, tmp_path, clock)
    with pytest.raises(CallNotAllowed):
        await bybit.privatePostV5AssetWithdrawCreate({"coin": "BTC"})
    with pytest.raises(CallNotAllowed):
        await bybit.call(Route("POST", "v5/order/amend", purpose=Purpose.PLACE), {})
    await bybit.close()
    assert venue.asked == []


class _SlowClock(StillClock):
    """Sleeping takes a moment of the wall, too."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        await asyncio.sleep(0.3)


async def test_a_request_is_signed_after_it_has_waited_for_the_budget(venue: Venue, tmp_path: Path) -> None:
    venue.answers[path_of(BALANCES)] = OK
    clock = _SlowClock()
    wired = wiring(venue, tmp_path, clock)
    for _ in range(50):  # the venue's own limit for such reads, in one second of market time
        await wired.budget.acquire(BALANCES.windows)
    bybit: Any = connect(BybitClient, wired)
    asked_at = time.time() * 1000
    await bybit.call(BALANCES, {})
    await bybit.close()
    assert int(venue.asked[0].headers["X-BAPI-TIMESTAMP"]) >= asked_at + 300
    assert clock.now() > NOW


async def test_a_missing_secret_is_told_before_anything_is_sent(
    venue: Venue, tmp_path: Path, clock: StillClock
) -> None:
    credentials = Credentials(Secret("test-key"), Secret(""), Secret(""))
    bybit = client(venue, tmp_path, clock, credentials=credentials)
    with pytest.raises(AuthenticationError, match="missing"):
        await bybit.call(BALANCES, {})
    await bybit.close()
    assert venue.asked == []


async def test_digits_arrive_as_they_were_sent(venue: Venue, tmp_path: Path, clock: StillClock) -> None:
    venue.answers[path_of(TIME)] = Said(200, '{"retCode":0,"result":{"x":0.1234567890123456789}}')
    bybit = client(venue, tmp_path, clock)
    reply = await bybit.call(TIME)
    await bybit.close()
    assert reply["result"]["x"] == Decimal("0.1234567890123456789")


async def test_traffic_counts_requests_failures_and_times(venue: Venue, tmp_path: Path, clock: StillClock) -> None:
    venue.answers[path_of(TIME)] = OK
    bybit = client(venue, tmp_path, clock)
    await bybit.call(TIME)
    with pytest.raises(NoAnswer):
        await bybit.call(PLACE, {})
    await bybit.close()
    traffic = bybit.traffic()
    assert (traffic.requests, traffic.errors, len(traffic.latencies_ms)) == (2, 1, 2)
    assert all(each > 0 for each in traffic.latencies_ms)


async def test_traffic_tells_failures_by_kind_bytes_and_the_share_of_the_budget(
    venue: Venue, tmp_path: Path, clock: StillClock
) -> None:
    venue.answers = {path_of(TIME): OK, path_of(PLACE): Said(200, ""), path_of(BALANCES): {**OK, "retCode": 10003}}
    bybit = client(venue, tmp_path, clock)
    await bybit.call(TIME)
    for route, kind in ((PLACE, NoAnswer), (BALANCES, AuthenticationError)):
        with pytest.raises(kind):
            await bybit.call(route, {"symbol": "BTCUSDT"})
    traffic = bybit.traffic()
    assert traffic.errors_by_kind == {"NoAnswer": 1, "AuthenticationError": 1} and traffic.errors == 2
    assert traffic.bytes_sent > 3 * len(venue.url) + len('{"symbol":"BTCUSDT"}')
    assert traffic.bytes_received > 2 * len('{"retCode":0}')
    allowed = bybit.wiring.budget.allowed(bybit.wiring.per_minute, cancelling=True)
    assert traffic.budget_used == 3 / allowed
    await bybit.close()


async def test_a_budget_that_cannot_be_read_ends_no_cycle(venue: Venue, tmp_path: Path, clock: StillClock) -> None:
    bybit = client(venue, tmp_path, clock)
    (tmp_path / "in the way").touch()
    bybit.wiring.budget._lock_path = tmp_path / "in the way" / "lock"
    bybit.wiring.budget._path = tmp_path / "in the way" / "requests"
    assert bybit.traffic().budget_used is None
    await bybit.close()


async def test_closing_takes_no_pause(venue: Venue, tmp_path: Path, clock: StillClock) -> None:
    venue.answers[path_of(TIME)] = OK
    took = []
    for _ in range(5):
        bybit = client(venue, tmp_path, clock)
        await bybit.call(TIME)
        started = time.perf_counter()
        await bybit.close()
        took.append(time.perf_counter() - started)
    assert min(took) < 0.1  # a busy machine has its pauses, but not each time


async def test_neither_key_nor_signature_reach_a_log_or_an_error(
    venue: Venue, tmp_path: Path, clock: StillClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bybit = client(venue, tmp_path, clock)
    with pytest.raises(NoAnswer) as raised:
        await bybit.call(PLACE, {"symbol": "BTCUSDT"})
    await bybit.close()
    signature = venue.asked[0].headers["X-BAPI-SIGN"]
    for text in (caplog.text, str(raised.value), repr(bybit.wiring)):
        assert "test-key" not in text
        assert "test-secret" not in text
        assert signature not in text
