"""Every way to place an order asks for the certificate in the transaction that writes; refused, nothing is written."""

from dataclasses import asdict, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from execution.place import PlacementHeld, place, write_intent
from services.ledger import CertificateRefused, RungRecord
from tests.execution.conftest import Workplace
from tests.execution.venue import BEGIN, SPOT, an_intent
from trading.certificates import ADOPTED, EMERGENCY_STOP, PARTS, Fingerprint
from trading.instruments import Side
from trading.risk import Approved

EXAMINED = Fingerprint(**{part: f"{part} 1" for part in PARTS})


def certify(work: Workplace, rung: str = "minimal", **changes: Any) -> int:
    now = work.clock.now()
    given = RungRecord(
        work.venue.name,
        SPOT,
        rung,
        Decimal("0.003"),
        {},
        "a test",
        now,
        now + timedelta(days=1),
        asdict(EXAMINED),
        Decimal("0.003"),
        2,
    )
    work.desk.running = EXAMINED
    return work.ledger.issue_rung(replace(given, **changes))


async def sent(work: Workplace, name: str, number: int | None = None, rung: str = "minimal", **wanted: Any) -> None:
    approved = Approved(an_intent(name, venue=work.venue.name, **wanted), rung, number)
    await place(work.desk, approved, cycle_id=None, known_ids=frozenset())


async def refused(work: Workplace, number: int | None = None, rung: str = "minimal", **wanted: Any) -> str:
    """The refusal; nothing was written, nothing was sent."""
    orders, booked = len(work.ledger.orders(work.venue.name)), len(work.venue.booked)
    with pytest.raises(CertificateRefused) as told:
        await sent(work, "refused", number, rung, **wanted)
    assert (len(work.ledger.orders(work.venue.name)), len(work.venue.booked)) == (orders, booked)
    assert told.value.refused.rule == "certificate" and work.ledger.verify_chain() is None
    return f"{told.value.refused.limit} | {told.value.refused.observed}"


async def test_an_order_within_its_certificate_goes_out(work: Workplace) -> None:
    await sent(work, "one", certify(work))
    assert len(work.venue.booked) == 1


async def test_an_order_without_a_certificate_is_refused(work: Workplace) -> None:
    assert await refused(work, symbol="ETH/JPY") == "a certificate for ETH/JPY | none"


async def test_an_order_above_the_cap_is_refused(work: Workplace) -> None:
    assert await refused(work, certify(work), quantity="0.004") == "minimal: 0.003 | 0.004"


async def test_an_expired_certificate_and_a_clock_that_went_back_are_refused(work: Workplace) -> None:
    assert "valid until" in await refused(work, certify(work, expires_at=work.clock.now()))
    early = certify(work, issued_at=work.clock.now() + timedelta(seconds=1))
    assert "the clock went back" in await refused(work, early)


@pytest.mark.parametrize("part", PARTS)
async def test_what_was_not_examined_is_refused(work: Workplace, part: str) -> None:
    number = certify(work)
    work.desk.running = replace(EXAMINED, **{part: "another"})
    assert await refused(work, number) == f"what was examined | changed: {part}"


async def test_a_demotion_between_verdict_and_sending_is_heeded(work: Workplace) -> None:
    number = certify(work, "ramp_25")
    certify(work, "minimal")
    assert await refused(work, number, "ramp_25") == "in force: minimal | the verdict went by ramp_25"
    certify(work, "ramp_25")
    assert "the verdict went by" in await refused(work, number, "ramp_25")
    for rung in ("compatibility", "read_only", "minimal_order", "paper"):
        assert "trades at the venue" in await refused(work, certify(work, rung), rung if rung == "paper" else "minimal")


async def test_no_more_orders_a_day_than_the_certificate_says(work: Workplace) -> None:
    number = certify(work)
    for name in ("one", "two"):
        await sent(work, name, number)
        await work.clock.sleep(60)
    assert await refused(work, number) == "minimal: 2 orders a day | 3 orders"
    await work.clock.sleep(86400 - 120)
    renewed = certify(work)
    assert await refused(work, renewed) == "minimal: 2 orders a day | 3 orders"  # a new certificate brings no new day
    await work.clock.sleep(120)
    await sent(work, "three", renewed)


async def test_the_way_out_may_be_larger_than_the_cap_and_no_larger_than_the_position(work: Workplace) -> None:
    work.venue.placing.append("fill")
    await sent(work, "in", certify(work, max_quantity=Decimal("0.01")), quantity="0.01")
    await work.reconcile()
    smaller = certify(work)
    assert await refused(work, smaller, side=Side.SELL, quantity="0.011") == "minimal: 0.003 | 0.011"
    await sent(work, "out", smaller, side=Side.SELL, quantity="0.01")


async def test_a_latched_account_places_nothing_with_any_certificate(work: Workplace) -> None:
    number = certify(work)
    work.ledger.latch(work.venue.name, "a test", "a test", BEGIN)
    with pytest.raises(PlacementHeld, match="kill switch"):
        await sent(work, "one", number)
    assert not work.venue.booked and not work.ledger.orders(work.venue.name)


async def test_the_exemptions_open_no_other_way(work: Workplace) -> None:
    certify(work)
    assert "reduce-only" in await refused(work, rung=EMERGENCY_STOP)
    with pytest.raises(PlacementHeld, match="adopted order"):
        await sent(work, "one", rung=ADOPTED)
    assert "cap of the minimal-order check" in await refused(work, rung="minimal_order")
    with pytest.raises(CertificateRefused):
        approved = Approved(an_intent("one", quantity="0.5"), "minimal")
        write_intent(work.desk, approved, cycle_id=None, known_ids=frozenset())
    assert not work.ledger.orders(work.venue.name)
