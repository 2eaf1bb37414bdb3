"""Evidence comes from the ledger and cannot be had by running again; a person's part is written down."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from config.errors import ConfigurationError
from config.loader import load_settings
from execution.ladder import NothingToApprove, Place, answer_proposal, demote, evidence_of, issue, propose, slippage
from services.ledger import CycleRecord, Ledger
from tests.execution.venue import BEGIN, SPOT
from tests.trading.examples import a_fill, an_intent, an_order
from trading.approval import Answer, approval_code
from trading.certificates import PARTS, Fingerprint
from trading.instruments import Side
from trading.stages import PAPER, Evidence

NAME = "bitbank"
SECRET = "a secret of a test, long enough"
DAY = timedelta(days=1)
EXAMINED = Fingerprint(**{part: part for part in PARTS})


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A simulated account that does not approve itself; two cycles are enough on paper."""
    rules = ["simulated_approves_itself=false", "paper.min_cycles=2", "paper.min_fills=0", "paper.min_seconds=60"]
    settings = load_settings((), [f"home={tmp_path}", *(f"ladder.{rule}" for rule in rules)], {})
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield Place(settings, NAME, ledger, EXAMINED)
    ledger.close()


def cycle(place: Place, number: int, *, minute: int, ok: bool = True, account: str = f"{NAME}:{PAPER}") -> None:
    at = BEGIN + timedelta(minutes=minute)
    report = {"discrepancies": [], "breach": "", "error": "" if ok else "x", "latency_p95_ms": 100.0 * number}
    place.ledger.record_cycle(CycleRecord(f"c{number}", account, SPOT, PAPER, at, at, ok, None, report))


def on_paper(place: Place, *, cycles: int = 2) -> None:
    issue(place, PAPER, Decimal("0.01"), {}, "a test", BEGIN)
    for number in range(1, cycles + 1):
        cycle(place, number, minute=number)


def evidence(place: Place, minutes: int = 10) -> Evidence:
    record = place.record()
    assert record is not None
    return evidence_of(place, record, BEGIN + timedelta(minutes=minutes))


def change(place: Place, statement: str) -> None:
    engine = create_engine(f"sqlite:///{place.settings.home / 'ledger.db'}")
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_a_cycle_that_is_replayed_counts_once(place: Place) -> None:
    on_paper(place, cycles=1)
    for minute in (1, 2, 3):
        cycle(place, 1, minute=minute)
    assert evidence(place).cycles == 1


def test_cycles_from_before_the_newest_or_before_the_certificate_do_not_count(place: Place) -> None:
    on_paper(place, cycles=1)
    cycle(place, 7, minute=5)
    cycle(place, 8, minute=4)  # the clock went back
    cycle(place, 9, minute=-1)
    assert evidence(place).cycles == 2
    issue(place, PAPER, Decimal("0.01"), {}, "a test", BEGIN + timedelta(minutes=6))
    assert evidence(place).cycles == 0
    assert evidence(place, minutes=5).before_issue


def test_runs_that_are_deleted_in_prefect_change_nothing(place: Place) -> None:
    on_paper(place)  # none of these was ever a run there
    assert evidence(place).cycles == 2


def test_an_edited_ledger_is_named_and_nothing_is_proposed(place: Place) -> None:
    on_paper(place, cycles=1)
    cycle(place, 2, minute=2, ok=False)
    change(place, "UPDATE cycles SET ok = true, report = replace(report, 'x', '') WHERE cycle_id = 'c2'")
    with pytest.raises(NothingToApprove, match="the ledger was edited: cycle c2 of bitbank:paper"):
        propose(place, BEGIN + timedelta(minutes=10))


def test_what_a_rung_has_shown_is_measured(place: Place) -> None:
    on_paper(place, cycles=20)
    for number, worth in enumerate((100, 110, 99, 105)):
        place.ledger.record_equity(f"{NAME}:{PAPER}", "JPY", Decimal(worth), BEGIN + timedelta(minutes=number))
    place.ledger.latch(NAME, "a test", "a test", BEGIN + timedelta(minutes=9))
    found = evidence(place)
    assert (found.cycles, found.latency_p95_ms, found.drawdown, found.warnings) == (20, 2000.0, Decimal("0.1"), 1)
    assert evidence(place, minutes=11).warnings == 0  # longer ago than the rung takes at least


def test_slippage_is_what_was_paid_beyond_the_decision_price() -> None:
    buy = an_order(intent=an_intent(decision_price=Decimal(100)), fills=(a_fill(quantity="1", price="101"),))
    sell = an_order(
        intent=an_intent(decision_price=Decimal(100), side=Side.SELL),
        fills=(a_fill(Side.SELL, quantity="3", price="101"),),
    )
    assert slippage([buy]) == Decimal("0.01")
    assert slippage([buy, sell]) == Decimal("-0.005")
    assert slippage([an_order(fills=())]) is None


@pytest.mark.parametrize("part", PARTS)
def test_a_changed_part_is_seen_by_name(place: Place, part: str) -> None:
    on_paper(place)
    other = replace(place, running=replace(EXAMINED, **{part: "another"}))
    assert evidence(other).changed == (part,)
    with pytest.raises(NothingToApprove, match=f"changed since it was examined: {part}"):
        propose(other, BEGIN + timedelta(minutes=10))


def approved(place: Place, minutes: int = 10, **wrong: str) -> str | None:
    now = BEGIN + timedelta(minutes=minutes)
    proposal = propose(place, now)
    answer = Answer("Aoki", "quiet days", proposal.phrase, approval_code(SECRET, proposal.digest))
    return answer_proposal(place, proposal, replace(answer, **wrong), secret=SECRET, via="a test", now=now)


def test_a_person_approves_the_next_rung_and_no_other(place: Place) -> None:
    on_paper(place)
    assert evidence(place).approved_by is None
    assert approved(place) is None
    assert evidence(place).approved_by == "Aoki"
    assert evidence(place, minutes=10 + 24 * 60 + 1).approved_by is None
    issue(place, "minimal", Decimal("0.001"), {}, "Aoki", BEGIN + timedelta(minutes=11))
    assert evidence(place, minutes=12).approved_by is None
    assert place.ledger.verify_chain() is None


def test_the_top_rung_is_renewed_in_its_last_days_by_a_person(place: Place) -> None:
    ladder = place.settings.ladder
    ramp = ladder.ramp.model_copy(update={"min_seconds": 60, "min_cycles": 2, "min_fills": 0})
    settings = place.settings.model_copy(update={"ladder": ladder.model_copy(update={"ramp": ramp})})
    place = replace(place, settings=settings)
    issue(place, "ramp_100", Decimal("0.01"), {}, "a test", BEGIN)
    for number in (1, 2):
        cycle(place, number, minute=number, account=NAME)
    days = timedelta(days=ladder.certificate_days - ladder.renewal_days)
    soon = round(days / timedelta(minutes=1))
    with pytest.raises(NothingToApprove, match=f"to be renewed from {BEGIN + days:%Y-%m-%d %H:%M} UTC on"):
        propose(place, BEGIN + timedelta(minutes=soon - 1))
    assert not evidence(place, minutes=soon - 1).ends_soon
    assert propose(place, BEGIN + timedelta(minutes=soon)).step == "ramp_100 renewed"
    assert approved(place, minutes=soon) is None
    assert evidence(place, minutes=soon).approved_by == "Aoki"
    issue(place, "ramp_100", Decimal("0.01"), {}, "Aoki", BEGIN + timedelta(minutes=soon + 1))
    renewed = evidence(place, minutes=soon + 2)
    assert (renewed.cycles, renewed.approved_by, renewed.ends_soon) == (0, None, False)


def test_what_was_shown_stays_what_is_approved(place: Place) -> None:
    on_paper(place)
    first = propose(place, BEGIN + timedelta(minutes=10))
    cycle(place, 3, minute=11)
    assert propose(place, BEGIN + timedelta(minutes=12)) == first
    later = propose(place, BEGIN + DAY + timedelta(minutes=11))
    assert later.number > first.number and later.digest != first.digest


def test_a_wrong_answer_is_written_down_and_five_of_them_end_the_proposal(place: Place) -> None:
    on_paper(place)
    for _ in range(5):
        assert approved(place, code="0000000000") == "the code is not the one for this proposal"
    assert "void" in (approved(place) or "")
    assert evidence(place).approved_by is None


def test_evidence_that_was_lost_since_it_was_shown_is_not_approved(place: Place) -> None:
    on_paper(place)
    proposal = propose(place, BEGIN + timedelta(minutes=10))
    for number in (3, 4):
        cycle(place, number, minute=number + 10, ok=False)
    answer = Answer("Aoki", "quiet days", proposal.phrase, approval_code(SECRET, proposal.digest))
    now = BEGIN + timedelta(minutes=20)
    assert "cycles failed" in (answer_proposal(place, proposal, answer, secret=SECRET, via="a test", now=now) or "")
    issue(place, PAPER, Decimal("0.01"), {}, "a test", now)
    said = answer_proposal(place, proposal, answer, secret=SECRET, via="a test", now=now)
    assert said == "another certificate is in force than the one that was shown"


def test_a_live_venue_never_approves_itself(place: Place) -> None:
    keys = ["exchanges.bitbank.endpoint=live", "ladder.simulated_approves_itself=true"]
    live = replace(place, settings=load_settings((), [f"home={place.settings.home}", *keys], {}))
    assert not live.approves_itself
    simulated = replace(place, settings=load_settings((), keys[1:], {}))
    assert simulated.approves_itself


def test_a_rung_of_other_ramp_steps_is_taken_down_with_a_cap_that_was_earned(place: Place) -> None:
    for number, rung in enumerate((PAPER, "minimal", "ramp_25", "ramp_50", "ramp_100")):
        issue(place, rung, Decimal(number + 1) / 1000, {}, "a test", BEGIN + timedelta(minutes=number))
    now = BEGIN + timedelta(hours=1)
    steps = [f"home={place.settings.home}", "ladder.ramp_steps=[0.25, 0.75, 0.9]"]
    other = replace(place, settings=load_settings((), steps, {}))
    with pytest.raises(NothingToApprove, match="has no ramp_100 any more"):
        propose(other, now)
    down = demote(other, None, "Aoki", "other steps", now)
    assert (down.rung, down.max_quantity) == (
        "ramp_90",
        Decimal("0.003"),
    )  # of the steps that are left, 25 % was earned
    assert demote(other, None, "Aoki", "lower", now).max_quantity == Decimal("0.003")


def test_a_demotion_never_makes_a_certificate_last_longer(place: Place) -> None:
    for rung in ("ramp_50", "ramp_100"):
        issue(place, rung, Decimal("0.01"), {}, "a test", BEGIN)
    ends = BEGIN + place.settings.ladder.certificate_days * DAY
    same = demote(place, "ramp_100", "Aoki", "it counts from now on", ends - DAY)
    assert (same.rung, same.expires_at) == ("ramp_100", ends)
    after = ends + DAY
    revived = demote(place, "ramp_50", "Aoki", "back from a holiday", after)
    assert revived.expires_at <= after
    assert evidence_of(place, revived, after).expired


def test_a_person_takes_a_rung_down_but_never_up(place: Place) -> None:
    for number, rung in enumerate((PAPER, "minimal", "ramp_25", "ramp_50")):
        issue(place, rung, Decimal(number + 1) / 1000, {}, "a test", BEGIN + timedelta(minutes=number))
    now = BEGIN + timedelta(hours=1)
    down = demote(place, None, "Aoki", "too hot", now)
    assert (down.rung, down.max_quantity, down.approved_by) == ("ramp_25", Decimal("0.003"), "Aoki")
    with pytest.raises(ConfigurationError, match="is on ramp_25; write one of"):
        demote(place, "ramp_50", "Aoki", "up again", now)
    assert demote(place, "minimal", "Aoki", "lower", now).max_quantity == Decimal("0.002")
    bottom = demote(place, "compatibility", "Aoki", "all anew", now)
    assert bottom.expires_at == now  # void: the check is passed anew
    assert place.ledger.verify_chain() is None
