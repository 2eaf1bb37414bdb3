"""What a certificate covers, and what is refused with rule, limit and observed."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.examples import NOON, D, an_intent
from trading.certificates import (
    ADOPTED,
    EMERGENCY_STOP,
    PARTS,
    Certificate,
    Claim,
    Fingerprint,
    Standing,
    refused_by_certificate,
)
from trading.instruments import Side
from trading.orders import OrderIntent
from trading.risk import Refused

EXAMINED = Fingerprint(**{part: f"{part} 1" for part in PARTS})
CERTIFICATE = Certificate(
    number=7,
    symbol="BTC/JPY",
    rung="minimal",
    max_quantity=D("0.01"),
    max_orders_per_day=3,
    issued_at=NOON - timedelta(days=1),
    expires_at=NOON + timedelta(days=1),
    examined=EXAMINED,
)
CLAIM = Claim("minimal", 7, running=EXAMINED)


def asked(
    intent: OrderIntent | None = None,
    claim: Claim = CLAIM,
    certificate: Certificate | None = CERTIFICATE,
    standing: Standing = Standing(0),  # noqa: B008  a frozen value
) -> Refused | None:
    return refused_by_certificate(intent or an_intent(), claim, certificate, standing, NOON)


def refused(**given: Any) -> Refused:
    verdict = asked(**given)
    assert verdict is not None, "was covered"
    assert verdict.rule == "certificate" and verdict.limit and verdict.observed
    return verdict


def test_an_order_within_its_certificate_is_covered():
    assert asked() is None
    assert asked(standing=Standing(2)) is None


def test_without_a_certificate_nothing_is_covered():
    assert refused(certificate=None).observed == "none"


def test_the_caps_bind_quantity_and_orders_a_day():
    assert str(refused(intent=an_intent(quantity=D("0.0101")))) == "certificate: limit minimal: 0.01, observed 0.0101"
    assert refused(standing=Standing(3)).limit == "minimal: 3 orders a day"


def test_only_an_order_that_reduces_may_be_larger_than_the_cap():
    out = an_intent(side=Side.SELL, quantity=D("0.05"))
    assert asked(intent=out, standing=Standing(0, held=D("0.05"))) is None
    refused(intent=out, standing=Standing(0, held=D("0.049")))
    refused(intent=out, standing=Standing(0, held=D("0.05"), resting=D("0.001")))
    refused(intent=out, standing=Standing(0, held=D("-0.05")))


@pytest.mark.parametrize(
    "wrong",
    [
        {"expires_at": NOON},
        {"issued_at": NOON + timedelta(seconds=1)},  # the clock went back
        {"symbol": "ETH/JPY"},
        {"number": 8},
        {"rung": "ramp_25"},
        *({"rung": rung} for rung in ("compatibility", "read_only", "minimal_order", "paper")),
    ],
    ids=str,
)
def test_a_certificate_that_is_not_the_one_in_force_covers_nothing(wrong: dict[str, Any]):
    assert refused(certificate=replace(CERTIFICATE, **wrong)).rule == "certificate"


@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_the_fingerprint_must_be_what_was_examined(part: str):
    for running, examined in (("other", "as it was"), ("as it was", ""), ("", "as it was")):
        now = replace(EXAMINED, **{part: running})
        before = replace(CERTIFICATE, examined=replace(EXAMINED, **{part: examined}))
        assert refused(claim=replace(CLAIM, running=now), certificate=before).observed == f"changed: {part}"


def test_the_emergency_stop_closes_and_does_nothing_else():
    assert asked(an_intent(reduce_only=True), Claim(EMERGENCY_STOP), None) is None
    refused(intent=an_intent(), claim=Claim(EMERGENCY_STOP), certificate=None)


def test_an_adopted_order_is_at_the_venue_already():
    assert asked(claim=Claim(ADOPTED), certificate=None) is None


def test_the_minimal_order_check_brings_its_own_cap_and_needs_the_check_below():
    own = Claim("minimal_order", own_cap=D("0.01"), running=EXAMINED)
    below = replace(CERTIFICATE, rung="read_only", max_quantity=D(0), max_orders_per_day=0)
    assert asked(claim=own, certificate=below) is None
    refused(claim=own, certificate=None)
    refused(claim=own, certificate=replace(below, rung="compatibility"))
    refused(claim=own, certificate=replace(below, expires_at=NOON))
    refused(claim=replace(own, own_cap=None), certificate=below)
    refused(claim=replace(own, own_cap=D("0.009")), certificate=below)
    refused(claim=replace(own, running=replace(EXAMINED, code="other")), certificate=below)
    other_strategy = replace(EXAMINED, strategy="other")  # no check looks at it
    assert asked(claim=replace(own, running=other_strategy), certificate=below) is None


@given(st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 40)), max_size=30))
def test_no_sequence_of_orders_gets_past_the_certificate(wanted: list[tuple[Side, int]]):
    """Whatever is covered fills at once."""
    held, orders = D(0), 0
    for side, lots in wanted:
        intent = an_intent(side=side, quantity=lots * D("0.001"))
        before = held
        if asked(intent, standing=Standing(orders, held)) is not None:
            continue
        orders += 1
        held += intent.quantity * side.sign
        assert orders <= 3
        assert intent.quantity <= D("0.01") or abs(held) < abs(before)
