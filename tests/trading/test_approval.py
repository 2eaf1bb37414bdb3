"""What a person must give to approve real money."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.trading.examples import NOON
from trading.approval import Answer, Approval, Proposal, approval_code, refused_answer, still_counts

SECRET = "a secret of a test, long enough"
PROPOSAL = Proposal(9, "bitbank@live", "BTC/JPY", 7, "paper", "minimal", "d" * 64, ("3 days",), NOON)
ANSWER = Answer("Aoki", "three quiet days", "bitbank@live BTC/JPY minimal", approval_code(SECRET, "d" * 64))


def refused(answer: Answer = ANSWER, **changes: Any) -> str | None:
    given: dict[str, Any] = {"secret": SECRET, "refusals": 0, "now": NOON, "hours": 24, **changes}
    return refused_answer(PROPOSAL, answer, **given)


def test_name_reason_phrase_and_code_approve():
    assert refused() is None
    assert refused(replace(ANSWER, code=f" {ANSWER.code.upper()} ")) is None


def test_the_code_is_what_openssl_says():
    # printf %s abc | openssl dgst -sha256 -hmac "key"
    assert approval_code("key", "abc") == "9c196e32dc"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"by": " "}, "a name and a reason"),
        ({"reason": ""}, "a name and a reason"),
        ({"phrase": "bitbank@live BTC/JPY ramp_25"}, "must be typed as"),
        ({"code": approval_code(SECRET, "e" * 64)}, "the code is not"),
        ({"code": ""}, "the code is not"),
        ({"code": "ｃ"}, "the code is not"),
    ],
)
def test_each_thing_that_is_missing_or_wrong_refuses(wrong: dict[str, str], said: str):
    assert said in (refused(replace(ANSWER, **wrong)) or "")


@pytest.mark.parametrize("state", [{"secret": ""}, {"secret": "short"}])
def test_without_a_secret_nobody_approves(state: dict[str, str]):
    guessed = replace(ANSWER, code=approval_code(state["secret"], PROPOSAL.digest))
    assert "no approval secret" in (refused(guessed, **state) or "")


def test_a_proposal_is_void_after_five_wrong_answers_and_after_its_time():
    assert "is void" in (refused(refusals=5) or "")
    assert refused(refusals=4) is None
    assert "last 24 hours" in (refused(now=NOON + timedelta(hours=25)) or "")
    assert "last 24 hours" in (refused(now=NOON - timedelta(seconds=1)) or "")


def test_an_approval_counts_for_its_step_and_its_time_only():
    given = Approval(9, 7, "minimal", "Aoki", "", NOON)
    assert still_counts(given, 7, "minimal", NOON + timedelta(hours=24), 24)
    assert not still_counts(given, 8, "minimal", NOON, 24)
    assert not still_counts(given, 7, "ramp_25", NOON, 24)
    assert not still_counts(given, 7, "minimal", NOON + timedelta(hours=25), 24)
    assert not still_counts(given, 7, "minimal", NOON - timedelta(seconds=1), 24)
