"""Setting faults: at start, and over the control side."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.request import urlopen

import aiohttp
import pytest

from simvenue.fault_settings import FaultSetting, known_faults, not_applicable, read_fault
from simvenue.faults import FaultBoard
from simvenue.server import VenueServer
from simvenue.venue import FAULT_NAMES
from tests.simvenue.test_server import refused, started


class Faults:
    """The control side of one venue, as far as faults go."""

    def __init__(self, server: VenueServer, session: aiohttp.ClientSession) -> None:
        self._url = server.base_url + "/_control/faults"
        self._session = session

    async def ask(self, method: str, query: str = "", body: Any = None) -> tuple[int, Any]:
        async with self._session.request(method, self._url + query, json=body) as reply:
            return reply.status, await reply.json()


@pytest.fixture
async def faults() -> AsyncIterator[Faults]:
    server = VenueServer.build("bitbank", clock="stepped", faults=["slow=0.5"])
    await server.start()
    async with aiohttp.ClientSession() as session:
        yield Faults(server, session)
    await server.stop()


def row(name: str, value: str = "", times: int | None = None, match: str = "") -> dict[str, Any]:
    return {"name": name, "value": value, "times": times, "match": match}


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("lost_ack", FaultSetting("lost_ack")),
        ("ack_500x2", FaultSetting("ack_500", times=2)),
        ("ack_500=503@open_ordersx3", FaultSetting("ack_500", "503", 3, "open_orders")),
        ("lost_ack@cancel", FaultSetting("lost_ack", match="cancel")),
        ("clock_skew=-10", FaultSetting("clock_skew", "-10")),
        ("slow=0.5x1", FaultSetting("slow", "0.5", 1)),
        ("random=0.05:lost_ack,ack_html", FaultSetting("random", "0.05:lost_ack,ack_html")),
    ],
)
def test_a_fault_is_written_with_value_operation_and_times(text: str, setting: FaultSetting) -> None:
    assert read_fault(text) == setting


async def test_faults_are_set_listed_replaced_and_taken_back(faults: Faults) -> None:
    slow = row("slow", "0.5")
    assert (await faults.ask("GET"))[1]["set"] == [slow]
    lost = row("lost_ack", times=2, match="cancel")
    assert await faults.ask("POST", body=lost) == (200, {"set": [slow, lost]})
    broken = row("ack_500", "503")
    answer = await faults.ask("POST", body={"name": "ack_500", "value": 503})
    assert answer == (200, {"set": [slow, lost, broken]})
    answer = await faults.ask("POST", body={"name": "slow", "value": 0.25})
    assert answer == (200, {"set": [row("slow", "0.25"), lost, broken]})
    assert await faults.ask("DELETE", "?name=lost_ack") == (200, {"set": [row("slow", "0.25"), broken]})
    assert await faults.ask("DELETE", "?name=lost_ack") == (200, {"set": [row("slow", "0.25"), broken]})
    assert await faults.ask("DELETE") == (200, {"set": []})


def test_it_is_counted_how_often_a_fault_was_met_also_after_it_is_cleared() -> None:
    board = FaultBoard(["lost_ack", "list_lag"])
    board.set("lost_ack", times=1)
    board.set("list_lag", match="fills")
    assert board.strike("lost_ack") and not board.strike("lost_ack")
    assert board.active("list_lag", "open_orders") is None and board.active("list_lag", "fills")
    board.clear()
    assert board.active("list_lag", "fills") is None
    assert board.struck == {"lost_ack": 1, "list_lag": 1}


async def test_every_fault_that_is_known_is_listed_with_a_sentence(faults: Faults) -> None:
    told = (await faults.ask("GET"))[1]
    assert told["struck"] == {}
    assert tuple(told["known"]) == FAULT_NAMES
    assert told["known"] == known_faults()
    assert all(len(sentence) > 20 and "\n" not in sentence for sentence in told["known"].values())


async def test_what_does_not_apply_to_a_venue_is_said(faults: Faults) -> None:
    told = (await faults.ask("GET"))[1]["not_applicable"]
    assert told["withdraw_permission"] == "bitbank has no call that tells what a key may"
    assert "withdraw_permission" not in not_applicable("bybit")
    assert set(told) < set(FAULT_NAMES)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "name is missing"),
    ({"name": "lost_akc"}, "no fault lost_akc: there are ack_500"),
    ({"name": "lost_ack", "time": 1}, "not time"),
    ({"name": "lost_ack", "times": 0}, "times is a whole number from 1, not 0"),
    ({"name": "lost_ack", "times": 1.5}, "times is a whole number from 1, not 1.5"),
    ({"name": "lost_ack", "times": True}, "times is a whole number from 1, not True"),
    ({"name": "lost_ack", "value": "much"}, "lost_ack takes no value"),
    ({"name": "lost_ack", "value": True}, "a number or a string, not True"),
    ({"name": "lost_ack", "value": []}, "a number or a string, not []"),
    ({"name": "lost_ack", "match": "buy"}, "no operation buy: there are place, cancel"),
    ({"name": "lost_ack", "match": 3}, "match is an operation, not 3"),
    ({"name": "slow", "value": "soon"}, "the value of slow is a number of seconds, not 'soon'"),
    ({"name": "slow", "value": -1}, "the value of slow is a number of seconds, not '-1'"),
    ({"name": "hang", "value": "1e99"}, "the value of hang is a number of seconds, not '1e99'"),
    ({"name": "ack_500", "value": 404}, "an HTTP status from 500 to 599, not '404'"),
    ({"name": "unavailable", "value": "never"}, "the value of unavailable is reset or nothing"),
    ({"name": "random"}, "with a share from 0 to 1, not ''"),
    ({"name": "random", "value": 5}, "with a share from 0 to 1, not '5'"),
    ({"name": "random", "value": "0.1:clock_skew"}, "random cannot draw clock_skew"),
]


@pytest.mark.parametrize(("body", "says"), WRONG)
async def test_a_fault_that_cannot_be_set_is_refused_in_one_sentence(
    faults: Faults, body: dict[str, Any], says: str
) -> None:
    status, answer = await faults.ask("POST", body=body)
    assert status == 400
    assert says in answer["error"] and "\n" not in answer["error"]
    assert (await faults.ask("GET"))[1]["set"] == [row("slow", "0.5")]


async def test_a_name_that_is_no_fault_cannot_be_taken_back(faults: Faults) -> None:
    status, answer = await faults.ask("DELETE", "?name=lost_akc")
    assert status == 400 and answer["error"].startswith("no fault lost_akc: there are lost_ack")
    assert (await faults.ask("GET"))[1]["set"] == [row("slow", "0.5")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lost_akc", "no fault lost_akc: there are"),
        ("slow=soon", "a number of seconds"),
        ("lost_ack@buy", "no operation buy"),
        ("lost_ackx0", "times is a whole number from 1, not 0"),
        ("lost ack", "a fault is written NAME[=VALUE][@OPERATION][xTIMES]"),
        ("", "a fault is written"),
    ],
)
def test_a_wrong_fault_at_start_is_one_clear_line(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)) as refusal:
        VenueServer.build("bitbank", faults=[text])
    assert "\n" not in str(refusal.value)


def test_the_command_refuses_a_wrong_fault_and_sets_the_right_ones() -> None:
    assert "no fault lost_akc" in refused("bitbank", "--fault", "slow", "--fault", "lost_akc")
    process, told = started("bitbank", "--fault", "lost_ack@cancelx2", "--fault=clock_skew=-3")
    with process:
        assert process.poll() is None and told["control_url"]
        answer = control(told["control_url"] + "/faults")
        process.terminate()
    assert answer["set"] == [row("lost_ack", times=2, match="cancel"), row("clock_skew", "-3")]


def control(url: str) -> Any:
    with urlopen(url, timeout=30) as reply:
        return json.load(reply)
