"""docs/outcomes.md and the code say the same of every code: what it proves about an order, and about a cancel."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from exchanges.bitbank import BitbankClient
from exchanges.bitflyer_client import BitflyerClient
from exchanges.bybit import BybitClient
from exchanges.errors import Busy, NoAnswer, Refused
from exchanges.okcoinjp import OkjClient
from exchanges.transport import Purpose, Transport, connect
from tests.exchanges.loopback import StillClock, Venue, wiring

CLIENTS: dict[str, type[Transport]] = {
    "bybit": BybitClient,
    "bitbank": BitbankClient,
    "bitflyer": BitflyerClient,
    "okcoinjp": OkjClient,
}
PAGE = Path(__file__).parents[2] / "docs" / "outcomes.md"

# The codes about which a wrong verdict doubles or loses an order, written out: placing, cancelling.
UNKNOWN_WHEN_PLACING = {
    "bybit": "-1 429 10000 10014 10016 110001 110072 170007 170139 170141 170142 170146 170147 170149 170150 170213",
    "bitbank": "10001 10003 10005 10008 40013 50009 50010 50026 50027 70001 70002 70003 70011 70012",
    "bitflyer": "-208",
    "okcoinjp": "1 2 50004 50013 50026 51016 51400 51401 51402 51410 51603",
}
CERTAINLY_NOT_DONE = {
    "bybit": "10001 10002 10003 10005 10006 10018 110007 170131 170136 170222",
    "bitbank": "10007 10009 20001 20035 40001 60001 60004 70004 70009 70020",
    "bitflyer": "-1 -2 -110 -200 -204 -500 -508",
    "okcoinjp": "50001 50011 50061 50102 50113 51000 51008 51020",
}


def body_of(exchange: str, code: str) -> str:
    """An error in the venue's own form."""
    if exchange == "bybit":
        return json.dumps({"retCode": int(code), "retMsg": "no", "result": {}})
    if exchange == "bitbank":
        return json.dumps({"success": 0, "data": {"code": int(code)}})
    if exchange == "bitflyer":
        said = {"order not found": (-1111, "Order not found"), "permission denied": (-500, "Permission denied")}
        status, message = said.get(code, (code, "no"))
        return json.dumps({"status": int(status), "error_message": message, "data": None})
    return json.dumps({"code": code, "msg": "no", "data": []})


def verdict(client: Any, purpose: Purpose, body: str, status: int = 200) -> str:
    """refused, busy or unknown, as the client judges an answer; "done" where it says yes."""
    route = next(each for each in client.routes.values() if each.purpose is purpose)
    try:
        decoded = json.loads(body)
    except ValueError:
        decoded = None
    error = client.judge(route, status, body, decoded)
    for kind, word in ((NoAnswer, "unknown"), (Busy, "busy"), (Refused, "refused")):
        if isinstance(error, kind):
            return word
    return "done"


@pytest.fixture
def client_of(tmp_path: Path) -> Any:
    return lambda exchange: connect(CLIENTS[exchange], wiring(Venue(url="http://127.0.0.1:9"), tmp_path, StillClock()))


def rows(exchange: str) -> dict[str, tuple[str, str]]:
    """code -> (placing, cancelling), as the page says."""
    part = PAGE.read_text(encoding="utf-8").split(f"<!-- {exchange} -->")[1].split("<!-- ")[0]
    told: dict[str, tuple[str, str]] = {}
    for line in re.findall(r"^\| (.*) \|$", part, re.MULTILINE):
        codes, _, placing, cancelling = (cell.strip() for cell in line.split("|"))
        if codes in ("codes", "---"):
            continue
        phrases = [phrase for phrase in ("order not found", "permission denied") if phrase in codes]
        for phrase in phrases:
            codes = codes.replace(phrase, "")
        for code in (*codes.split(), *phrases):
            assert code not in told, f"{exchange}: {code} stands in two rows"
            told[code] = (placing, cancelling)
    return told


@pytest.mark.parametrize("exchange", CLIENTS)
def test_the_page_lists_every_code_that_the_code_knows_and_no_other(exchange: str) -> None:
    assert set(rows(exchange)) == set(CLIENTS[exchange].errors)


@pytest.mark.parametrize("exchange", CLIENTS)
def test_every_code_means_to_an_order_and_to_a_cancel_what_the_page_says(exchange: str, client_of: Any) -> None:
    client = client_of(exchange)
    judged = {
        code: (
            verdict(client, Purpose.PLACE, body_of(exchange, code)),
            verdict(client, Purpose.CANCEL, body_of(exchange, code)),
        )
        for code in rows(exchange)
    }
    assert judged == rows(exchange)


@pytest.mark.parametrize("exchange", CLIENTS)
def test_what_may_have_been_done_is_unknown_at_any_http_status(exchange: str, client_of: Any) -> None:
    client = client_of(exchange)
    for status in (200, 400, 429, 500, 503):
        for code in UNKNOWN_WHEN_PLACING[exchange].split():
            assert verdict(client, Purpose.PLACE, body_of(exchange, code), status) == "unknown", (code, status)


@pytest.mark.parametrize("exchange", CLIENTS)
def test_what_was_certainly_not_done_does_not_block_the_symbol(exchange: str, client_of: Any) -> None:
    client = client_of(exchange)
    for code in CERTAINLY_NOT_DONE[exchange].split():
        assert verdict(client, Purpose.PLACE, body_of(exchange, code)) in ("refused", "busy"), code


@pytest.mark.parametrize("purpose", [Purpose.PLACE, Purpose.CANCEL])
@pytest.mark.parametrize("exchange", CLIENTS)
def test_what_no_table_knows_and_what_is_not_the_venues_form_is_unknown(
    exchange: str, purpose: Purpose, client_of: Any
) -> None:
    client = client_of(exchange)
    assert verdict(client, purpose, body_of(exchange, "987654")) == "unknown"
    for body in ("<html>", '{"other":1}', "[", "[]", "null", '"text"'):
        for status in (200, 201, 404, 408, 500, 502, 503, 504):
            assert verdict(client, purpose, body, status) == "unknown", (body, status)
    if exchange != "bitflyer" or purpose is Purpose.PLACE:  # bitFlyer's cancel says yes with nothing
        assert verdict(client, purpose, "") == "unknown"


@pytest.mark.parametrize("status", [401, 403, 429])
@pytest.mark.parametrize("exchange", CLIENTS)
def test_a_front_that_turns_a_request_away_is_certain(exchange: str, status: int, client_of: Any) -> None:
    told = verdict(client_of(exchange), Purpose.PLACE, "<html>", status)
    assert told == ("busy" if status == 429 or (exchange, status) == ("bybit", 403) else "refused")


@pytest.mark.parametrize(
    ("outer", "items", "said"),
    [
        ("0", [{"ordId": "1", "sCode": "0"}], "done"),
        ("0", [{"ordId": "", "sCode": "51008"}], "refused"),
        ("1", [{"ordId": "", "sCode": "51008"}], "refused"),
        ("2", [{"ordId": "", "sCode": "51008"}], "refused"),
        ("1", [{"ordId": "", "sCode": "50004"}], "unknown"),
        ("1", [{"ordId": "", "sCode": "51016"}], "unknown"),
        ("1", [{"ordId": "", "sCode": "59999"}], "unknown"),
        ("2", [{"ordId": "1", "sCode": "0"}], "unknown"),
        ("1", [{"ordId": ""}], "unknown"),
        ("1", [], "unknown"),
    ],
)
def test_at_okj_the_code_of_the_item_decides(
    outer: str, items: list[dict[str, str]], said: str, client_of: Any
) -> None:
    body = json.dumps({"code": outer, "msg": "", "data": items})
    assert verdict(client_of("okcoinjp"), Purpose.PLACE, body) == said
