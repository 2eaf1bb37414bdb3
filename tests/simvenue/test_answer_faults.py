"""Answers that are lost, broken, late or refused: at every venue in its own words, with its books telling the truth."""

import asyncio
import contextlib
import email.utils
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import pytest

from simvenue.server import VenueServer
from tests.simvenue.doors import DOORS, Caller, Reply
from tests.simvenue.running import RunningVenue

GONE = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
VENUES = tuple(DOORS)


@pytest.fixture(scope="module", params=VENUES)
def venue(request: pytest.FixtureRequest) -> Iterator[RunningVenue]:
    with RunningVenue(request.param) as running:
        yield running


@pytest.fixture
async def call(venue: RunningVenue) -> AsyncIterator[Caller]:
    """A caller with room in the venue's rate limits, no fault set, and no order resting."""
    core = venue.server.venue
    core.faults.clear()
    for order in core.open_orders():
        core.cancel(order)
    venue.advance(60_000)
    async with aiohttp.ClientSession() as session:
        yield Caller(venue, session)


async def lost(asked: Any) -> None:
    """Ask, and have the connection drop without an answer."""
    with pytest.raises(GONE):
        await asked


# --- answers to placing -----------------------------------------------------------------------------------


async def test_after_a_lost_answer_the_order_rests_and_after_a_lost_request_there_is_none(call: Caller) -> None:
    before = len(call.orders())
    await call.fault("lost_ack", times=1)
    await lost(call.place())
    assert len(call.orders()) == before + 1
    assert call.orders()[-1]["status"] == "open"
    await call.fault("lost_request", times=1)
    await lost(call.place())
    assert len(call.orders()) == before + 1
    await call.placed()
    assert len(call.orders()) == before + 2


SERVER_ERRORS: dict[str, Any] = {"bybit": 10016, "bitbank": 70001, "bitflyer": -208, "okcoinjp": "50026"}


async def test_a_500_after_acceptance_is_in_the_venues_form_and_another_5xx_is_a_page(call: Caller) -> None:
    before = len(call.orders())
    await call.fault("ack_500", times=1)
    reply = await call.place()
    assert (reply.status, reply.code) == (500, SERVER_ERRORS[call.door.name])
    await call.fault("ack_500", value=502, times=1)
    reply = await call.place()
    assert (reply.status, reply.is_page) == (502, True)
    assert len(call.orders()) == before + 2


def _empty(reply: Reply) -> bool:
    return reply.text == ""


def _page(reply: Reply) -> bool:
    return reply.is_page and "<html>" in reply.text


def _broken(reply: Reply) -> bool:
    with contextlib.suppress(ValueError):
        json.loads(reply.text)
        return False
    return reply.text.startswith("{")


@pytest.mark.parametrize(("name", "is_so"), [("ack_empty", _empty), ("ack_html", _page), ("ack_truncated", _broken)])
async def test_an_unusable_200_hides_an_order_that_rests(
    call: Caller, name: str, is_so: Callable[[Reply], bool]
) -> None:
    before = len(call.orders())
    await call.fault(name, times=1)
    reply = await call.place()
    assert reply.status == 200 and is_so(reply)
    assert len(call.orders()) == before + 1


@pytest.mark.parametrize(("name", "match"), [("hang", ""), ("slow", "place")])
async def test_who_waits_for_an_answer_that_does_not_come_gives_up_and_the_order_rests(
    call: Caller, name: str, match: str
) -> None:
    before = len(call.orders())
    await call.fault(name, value=600, match=match)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call.place(), 0.2)
    assert len(call.orders()) == before + 1
    assert (await call.get(call.door.ticker)).status == 200  # others are served meanwhile


async def test_a_slow_answer_comes_whole_and_a_hanging_one_ends_in_a_dropped_connection(call: Caller) -> None:
    await call.fault("slow", value="0.01")
    assert (await call.place()).code in (0, "0")
    await call.fault("hang", value="0.01")
    await lost(call.place())


async def test_who_gives_up_is_no_longer_waited_for() -> None:
    server = VenueServer.build("bitbank", clock="stepped", faults=["hang@ticker"])
    await server.start()
    busy = len(asyncio.all_tasks())
    async with aiohttp.ClientSession() as session:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.get(server.base_url + "/btc_jpy/ticker"), 0.2)
    async with asyncio.timeout(10):  # the request would hang for ten minutes
        while len(asyncio.all_tasks()) > busy:  # noqa: ASYNC110 a server tells nobody that it has given up
            await asyncio.sleep(0.01)
    await server.stop()


async def test_a_server_that_stops_does_not_wait_for_those_who_hang() -> None:
    server = VenueServer.build("bitbank", clock="stepped", faults=["hang@ticker"])
    await server.start()
    async with aiohttp.ClientSession() as session:
        waiting = asyncio.create_task(session.get(server.base_url + "/btc_jpy/ticker"))
        while not server.venue.requests.total:  # noqa: ASYNC110 the venue tells nobody whom it keeps waiting
            await asyncio.sleep(0.01)
        await asyncio.wait_for(server.stop(), 10)  # the request would hang for ten minutes
        await lost(waiting)
        assert isinstance(waiting.exception(), GONE)


# --- refusals ---------------------------------------------------------------------------------------------

PAGE = "page"
# fault -> venue -> status and code of a refused order
REFUSALS: dict[str, dict[str, tuple[int, Any]]] = {
    "rate_limited": {
        "bybit": (200, 10006),
        "bitbank": (429, 10009),
        "bitflyer": (429, -1),
        "okcoinjp": (200, "50011"),
    },
    "rate_limited_html": {
        "bybit": (403, "access too frequent"),
        "bitbank": (429, PAGE),
        "bitflyer": (429, PAGE),
        "okcoinjp": (429, PAGE),
    },
    "forbidden": dict.fromkeys(VENUES, (403, PAGE)),
    "auth_revoked": {
        "bybit": (200, 10003),
        "bitbank": (200, 20002),
        "bitflyer": (401, -500),
        "okcoinjp": (200, "50119"),
    },
    "maintenance": {
        "bybit": (200, 10016),
        "bitbank": (200, 10007),
        "bitflyer": (400, -2),
        "okcoinjp": (503, "50001"),
    },
    "unavailable": dict.fromkeys(VENUES, (503, PAGE)),
}


def code_or_page(reply: Reply) -> Any:
    if reply.is_page:
        return PAGE
    return reply.code if reply.text.startswith("{") else reply.text


@pytest.mark.parametrize("name", REFUSALS)
async def test_every_refusal_has_the_venues_own_words_and_takes_no_order(call: Caller, name: str) -> None:
    before = call.orders()
    await call.fault(name)
    expected = REFUSALS[name][call.door.name]
    for _ in range(2):
        reply = await call.place()
        assert (reply.status, code_or_page(reply)) == expected
    reply = await call.get(call.door.balances)
    assert (reply.status, code_or_page(reply)) == expected
    assert call.orders() == before


async def test_a_refused_address_is_told_by_the_status_at_okj_where_addresses_are_counted(call: Caller) -> None:
    await call.fault("rate_limited")
    reply = await call.get(call.door.ticker)
    status = {"bybit": 200}.get(call.door.name, 429)
    assert (reply.status, reply.code) == (status, REFUSALS["rate_limited"][call.door.name][1])


async def test_a_withdrawn_key_still_reads_what_needs_none(call: Caller) -> None:
    await call.fault("auth_revoked")
    assert (await call.get(call.door.ticker)).code in (0, "0")
    await call.fault("auth_revoked", match="place")
    assert (await call.get(call.door.balances)).code in (0, "0")


async def test_a_struck_request_is_counted_and_no_breach_unless_the_venue_was_not_reached(call: Caller) -> None:
    def counted() -> tuple[int, int]:
        requests = call.venue.truth()["requests"]
        return requests["total"], requests["refused_for_rate"]

    total, breaches = counted()
    for number, name in enumerate(("rate_limited", "ack_500", "lost_request", "maintenance"), start=1):
        await call.fault(name, times=1)
        with contextlib.suppress(*GONE):
            await call.place()
        assert counted() == (total + number, breaches)
    await call.fault("unavailable", times=1)
    assert (await call.place()).status == 503
    await call.fault("unavailable", value="reset", times=1)
    await lost(call.place())
    assert counted() == (total + 4, breaches)


async def test_maintenance_is_shown_where_the_venue_shows_its_state(call: Caller) -> None:
    await call.fault("maintenance")
    if call.door.name == "bitbank":
        statuses = (await call.get("/v1/spot/status")).told["data"]["statuses"]
        assert {row["status"] for row in statuses} == {"HALT"}
        assert (await call.get("/btc_jpy/ticker")).code == 0  # files are served while the venue is away
        assert (await call.get("/spot/pairs")).code == 10007
    elif call.door.name == "bitflyer":
        state = (await call.get("/v1/getboardstate?product_code=FX_BTC_JPY")).told
        assert (state["health"], state["state"]) == ("STOP", "CLOSED")
        assert (await call.get("/v1/gethealth")).told == {"status": "STOP"}
        assert (await call.get("/v1/ticker")).told["state"] == "CLOSED"
        assert (await call.get("/v1/getboardstate?product_code=NO_SUCH")).code == -100
        assert (await call.get("/v1/board")).code == -2
    elif call.door.name == "bybit":
        (event,) = (await call.get("/v5/system/status")).told["result"]["list"]
        assert event["state"] == "ongoing"
        assert int(event["begin"]) <= time.time() * 1000 <= int(event["end"])
        assert (await call.get("/v5/market/time")).code == 0
        assert (await call.get(call.door.ticker)).code == 10016
    else:
        assert (await call.get("/api/v5/public/time")).code == "50001"


# --- the clock --------------------------------------------------------------------------------------------


def minutes_ahead(reply: Reply) -> float:
    told = email.utils.parsedate_to_datetime(reply.headers["Date"]).timestamp()
    return round((told - time.time()) / 60, 1)


@pytest.mark.parametrize("seconds", [600, -600])
async def test_a_clock_that_differs_is_told_by_every_date_and_judged_in_every_signature(
    call: Caller, seconds: int
) -> None:
    assert minutes_ahead(await call.get(call.door.balances)) == 0
    before = call.orders()
    await call.fault("clock_skew", value=seconds)
    assert minutes_ahead(await call.get(call.door.ticker)) == seconds / 60
    reply = await call.place()
    assert minutes_ahead(reply) == seconds / 60
    assert reply.code == {"bybit": 10002, "bitbank": 20035, "bitflyer": -500, "okcoinjp": "50102"}[call.door.name]
    assert call.orders() == before
    told_ms = {
        "bybit": lambda told: told["time"],
        "okcoinjp": lambda told: int(told["data"][0]["ts"]),
    }
    if call.door.name in told_ms:
        path = {"bybit": "/v5/market/time", "okcoinjp": "/api/v5/public/time"}[call.door.name]
        at_ms = told_ms[call.door.name]((await call.get(path)).told)
        assert round(at_ms / 1000 - time.time(), -1) == seconds
    call.venue.server.venue.faults.clear()
    assert minutes_ahead(await call.place()) == 0
    assert len(call.orders()) == len(before) + 1


async def test_without_a_value_the_clock_is_ten_seconds_ahead(call: Caller) -> None:
    await call.fault("clock_skew")
    reply = await call.get(call.door.ticker)
    told = email.utils.parsedate_to_datetime(reply.headers["Date"]).timestamp()
    assert 5 < told - time.time() <= 10
    # two of the venues have so wide a window that they take the order all the same
    taken = call.door.name in ("bitflyer", "okcoinjp")
    assert ((await call.place()).code in (0, "0")) == taken


# --- cancels ----------------------------------------------------------------------------------------------

NOT_CANCELLED: dict[str, Any] = {"bybit": 170150, "bitbank": 50010, "okcoinjp": "51410"}


@pytest.mark.parametrize("how", ["cancel", "cancel_all"])
async def test_a_cancel_fails_in_each_of_its_ways(call: Caller, how: str) -> None:
    order_id = await call.placed()

    def cancel() -> Any:
        return getattr(call, how)(order_id)

    def status() -> str:
        return str(call.venue.true_order(order_id)["status"])

    await call.fault("cancel_500", times=1)
    assert (await cancel()).status == 500
    assert status() == "open"
    await call.fault("cancel_refused", times=1)
    reply = await cancel()
    if call.door.name == "bitflyer":  # the door takes every cancel: only the order's state tells
        assert (reply.status, reply.text) == (200, "")
    else:
        assert (reply.status, reply.code) == (200, NOT_CANCELLED[call.door.name])
    assert status() == "open"
    await call.fault("cancel_lost_ack", times=1)
    await lost(cancel())
    assert status() == "cancelled"


async def test_faults_of_cancels_leave_placing_alone_and_those_of_placing_leave_cancels(call: Caller) -> None:
    for name in ("cancel_500", "cancel_lost_ack", "cancel_refused"):
        await call.fault(name)
    order_id = await call.placed()
    call.venue.server.venue.faults.clear()
    for name in ("lost_ack", "lost_request", "ack_500", "hang"):
        await call.fault(name)
    assert (await call.cancel(order_id)).status == 200
    assert call.venue.true_order(order_id)["status"] == "cancelled"


# --- aiming and counting ----------------------------------------------------------------------------------


async def test_a_fault_strikes_only_where_it_is_aimed(call: Caller) -> None:
    await call.fault("lost_ack", match="cancel")
    await call.fault("ack_500", match="open_orders")
    order_id = await call.placed()
    assert (await call.get(call.door.open_orders)).status == 500
    assert (await call.get(call.door.balances)).status == 200
    await lost(call.cancel(order_id))
    assert call.venue.true_order(order_id)["status"] == "cancelled"


async def test_times_are_used_up_by_strikes_alone(call: Caller) -> None:
    await call.fault("ack_500", times=2)
    await call.get(call.door.ticker)
    statuses = [(await call.place()).status for _ in range(3)]
    assert statuses == [500, 500, 200]
    assert call.venue.control("faults")["set"] == []


async def test_a_key_may_withdraw_where_the_venue_tells_what_a_key_may(call: Caller) -> None:
    paths = {
        "bybit": ("/v5/user/query-api", "Withdraw"),
        "bitflyer": ("/v1/me/getpermissions", "/v1/me/withdraw"),
        "okcoinjp": ("/api/v5/account/config", "read_only,trade,withdraw"),
    }
    if call.door.name not in paths:  # bitbank has no call that tells: nothing shows, and the fault stays set
        await call.fault("withdraw_permission", times=1)
        assert "ithdraw" not in (await call.get("/v1/user/spot/active_orders")).text
        assert [row["name"] for row in call.venue.control("faults")["set"]] == ["withdraw_permission"]
        return
    path, sign = paths[call.door.name]
    assert f'"{sign}"' not in (await call.get(path)).text
    await call.fault("withdraw_permission", times=1)
    assert f'"{sign}"' in (await call.get(path)).text
    assert f'"{sign}"' not in (await call.get(path)).text


# --- at random --------------------------------------------------------------------------------------------


async def drawn(exchange: str, value: str, seed: int, requests: int = 40) -> list[str]:
    """Ask the same of a new venue; tell what came of each request."""
    outcomes = []
    with RunningVenue(exchange, seed=seed) as running:
        async with aiohttp.ClientSession() as session:
            call = Caller(running, session)
            await call.fault("random", value=value)
            for number in range(requests):
                running.advance(1_000)
                try:
                    reply = await (call.place() if number % 4 == 0 else call.get(call.door.open_orders))
                    outcomes.append(f"{reply.status} {reply.headers['Content-Type']} {_broken(reply)}")
                except GONE:
                    outcomes.append("lost")
            taken = len(call.orders())
    return [*outcomes, f"{taken} taken"]


async def test_what_is_drawn_at_random_is_the_same_for_the_same_seed() -> None:
    first = await drawn("bybit", "0.5", 11)
    assert first == await drawn("bybit", "0.5", 11)
    assert first != await drawn("bybit", "0.5", 12)
    assert len(set(first)) > 5


async def test_only_requests_that_were_struck_at_random_are_counted_as_struck() -> None:
    with RunningVenue("okcoinjp", seed=11) as running:
        async with aiohttp.ClientSession() as session:
            call = Caller(running, session)
            await call.fault("random", value="0.5:ack_empty")
            replies = []
            for _ in range(20):
                running.advance(1_000)
                replies.append(await call.get(call.door.open_orders))
            struck = running.control("faults")["struck"]["random"]
    assert 0 < struck == len([reply for reply in replies if not reply.text]) < len(replies)


async def test_a_share_of_nought_strikes_never_and_of_one_always_with_what_is_named() -> None:
    assert set(await drawn("okcoinjp", "0", 1, 8)) == {"200 application/json; charset=utf-8 False", "2 taken"}
    assert set(await drawn("okcoinjp", "1:lost_request", 1, 8)) == {"lost", "0 taken"}
    assert set(await drawn("okcoinjp", "1:lost_ack", 1, 8)) == {"lost", "2 taken"}
    assert set(await drawn("okcoinjp", "1:cancel_refused", 1, 8)) == {
        "200 application/json; charset=utf-8 False",
        "2 taken",
    }
