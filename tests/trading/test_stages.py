from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.examples import ALL, BITBANK, BITFLYER, BYBIT, D
from trading.certificates import PARTS
from trading.instruments import Instrument
from trading.stages import (
    CHECKS,
    COVERED_BY,
    Demote,
    Evidence,
    Halt,
    Hold,
    Promote,
    RungThresholds,
    TargetTooSmall,
    Thresholds,
    Verdict,
    cap_for,
    judge,
    rung_in_force,
    rungs,
)

NEEDED = RungThresholds(
    min_seconds=3600,
    min_cycles=10,
    min_fills=3,
    max_error_rate=D("0.1"),
    max_latency_p95_ms=500,
    max_slippage=D("0.001"),
    max_drawdown=D("0.05"),
    max_warnings=1,
)
THRESHOLDS = Thresholds(paper=NEEDED, minimal=NEEDED, ramp=NEEDED)
LADDER = rungs(THRESHOLDS.ramp_steps)
ENOUGH = Evidence(passed=True, seconds=3600, cycles=10, failed_cycles=1, fills=3, approved_by="Aoki")


def judged(rung: str, **changes: object) -> Verdict:
    return judge(rung, replace(ENOUGH, **changes), THRESHOLDS)  # type: ignore[arg-type]


def test_the_ladder_is_named_after_its_ramp_steps():
    assert LADDER[:5] == ("compatibility", "read_only", "minimal_order", "paper", "minimal")
    assert LADDER[5:] == ("ramp_25", "ramp_50", "ramp_100")
    assert rungs([D("0.125")])[-1] == "ramp_12.5"


def test_enough_of_everything_goes_up_one_rung():
    for rung, following in pairwise(LADDER):
        verdict = judged(rung)
        assert isinstance(verdict, Promote) and verdict.to == following and verdict.reasons


def test_a_ramp_step_that_is_configured_no_more_goes_down_to_the_next_lower_one():
    gone = "ladder.ramp_steps has no ramp_33 any more"
    assert judged("ramp_33") == Demote("ramp_25", (gone,))
    assert judged("ramp_10") == Demote("minimal", ("ladder.ramp_steps has no ramp_10 any more",))
    assert judged("ramp_33", unresolved=1) == Demote("paper", (gone, "1 orders of unknown outcome"))
    assert judged("ramp_33", expired=True) == Demote("compatibility", (gone, "the certificate has expired"))
    assert rung_in_force("ramp_33", ENOUGH, LADDER) == "ramp_25"
    with pytest.raises(ValueError, match="unknown rung 'ramp_fast'"):
        judged("ramp_fast")


def test_the_top_rung_holds():
    assert judged("ramp_100") == Hold(("the top of the ladder",))


def test_the_top_rung_is_renewed_before_its_end_by_what_it_was_earned_with():
    soon = judged("ramp_100", ends_soon=True)
    assert isinstance(soon, Promote) and soon.to == "ramp_100" and "approved by Aoki" in soon.reasons
    assert judged("ramp_100", ends_soon=True, approved_by=None) == Hold(("a human's approval",))
    assert judged("ramp_100", ends_soon=True, fills=2) == Hold(("2 of 3 fills",))
    late = judged("ramp_100", ends_soon=True, expired=True)
    assert isinstance(late, Demote) and late.to == LADDER[0]


def test_a_rung_below_the_top_is_not_renewed_but_left_upwards():
    for rung, following in pairwise(LADDER):
        verdict = judged(rung, ends_soon=True)
        assert isinstance(verdict, Promote) and verdict.to == following


@pytest.mark.parametrize(
    ("short", "said"),
    [
        ({"seconds": 3599}, "3599 of 3600 s"),
        ({"cycles": 9, "failed_cycles": 0}, "9 of 10 cycles"),
        ({"fills": 2}, "2 of 3 fills"),
        ({"failed_cycles": 2}, "2 of 10 cycles failed"),
        ({"approved_by": None}, "a human's approval"),
    ],
)
def test_whatever_is_missing_holds_the_rung_and_is_named(short: dict[str, object], said: str):
    assert judged("minimal", **short) == Hold((said,))


def test_a_check_that_has_not_passed_holds():
    for rung in CHECKS:
        assert judged(rung, passed=False) == Hold((f"the {rung} check has not passed",))


def test_a_check_needs_no_time_and_no_approval():
    verdict = judge("read_only", Evidence(passed=True), THRESHOLDS)
    assert isinstance(verdict, Promote)


def test_a_simulated_venue_may_approve_itself_where_that_is_configured():
    assert isinstance(judged("paper", approved_by=None, approval_needed=False), Promote)


def test_a_losing_day_steps_down_one_rung_and_not_to_paper():
    assert judged("ramp_50", breaches=("daily_loss",)) == Demote("ramp_25", ("broke daily_loss",))


@pytest.mark.parametrize("trouble", [{"unresolved": 1}, {"discrepancies": 2}])
def test_books_that_do_not_add_up_stop_real_money(trouble: dict[str, object]):
    for rung in LADDER[4:]:
        verdict = judged(rung, **trouble)
        assert isinstance(verdict, Demote) and verdict.to == "paper"
    assert isinstance(judged("paper", **trouble), Hold)


@pytest.mark.parametrize(
    "drift",
    [{"expired": True}, *({"changed": (part,)} for part in ("instrument", "ccxt", "code", "adapter", "key", "?"))],
)
def test_what_was_not_examined_starts_anew(drift: dict[str, object]):
    for rung in LADDER[1:]:
        verdict = judged(rung, **drift)
        assert isinstance(verdict, Demote) and verdict.to == "compatibility"
    assert isinstance(judged("compatibility", **drift), Hold)


@pytest.mark.parametrize("part", ["strategy", "limits"])
def test_another_strategy_or_limit_goes_back_to_paper_and_begins_there_anew(part: str):
    for rung in LADDER[3:]:
        assert judged(rung, changed=(part,)) == Demote("paper", (f"changed since it was examined: {part}",))
    for rung in CHECKS:  # they do not look at it
        assert isinstance(judged(rung, changed=(part,)), Promote)


def test_the_lowest_rung_that_covers_a_change_counts():
    verdict = judged("ramp_100", changed=("limits", "code"))
    assert verdict == Demote("compatibility", ("changed since it was examined: limits, code",))


def test_every_part_of_the_fingerprint_has_a_rung_that_looks_at_it():
    assert set(COVERED_BY) == set(PARTS)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, "ramp_50"),
        ({"changed": ("strategy",)}, "paper"),
        ({"changed": ("strategy", "key")}, None),
        ({"expired": True}, None),
        ({"before_issue": True}, None),
    ],
)
def test_what_still_stands_after_a_change(state: dict[str, object], expected: str | None):
    assert rung_in_force("ramp_50", replace(ENOUGH, **state), LADDER) == expected  # type: ignore[arg-type]


def test_an_edited_ledger_halts_and_is_named():
    for rung in LADDER:
        verdict = judged(rung, ledger_fault="rung BTC/JPY of bitbank is not what was written")
        assert isinstance(verdict, Halt) and "rung BTC/JPY" in verdict.reasons[0]
        assert LADDER.index(verdict.to) <= LADDER.index("paper")


def test_a_clock_before_the_certificate_proves_nothing():
    assert judged("minimal", before_issue=True) == Hold(("the clock is before the certificate's own time",))


@pytest.mark.parametrize(
    ("worse", "said"),
    [
        ({"latency_p95_ms": 501.0}, "p95 latency 501 of at most 500 ms"),
        ({"slippage": D("0.0011")}, "slippage 0.11 % of at most 0.1 %"),
        ({"warnings": 2}, "2 warnings of at most 1"),
    ],
)
def test_what_went_worse_than_allowed_holds_the_rung(worse: dict[str, object], said: str):
    assert judged("minimal", **worse) == Hold((said,))


def test_what_went_as_well_as_allowed_goes_up():
    met = {"latency_p95_ms": 500.0, "slippage": D("0.001"), "warnings": 1, "drawdown": D("0.05")}
    assert isinstance(judged("minimal", **met), Promote)
    assert isinstance(judged("minimal", latency_p95_ms=None, slippage=None), Promote)


def test_a_deep_drawdown_on_the_rung_takes_it_down_one_rung_but_not_below_paper():
    fallen = judged("ramp_25", drawdown=D("0.051"))
    assert fallen == Demote("minimal", ("drawdown 5.1 % of at most 5 %",))
    assert judged("paper", drawdown=D("0.051")) == Hold(("drawdown 5.1 % of at most 5 %",))


def test_the_deepest_fall_counts_and_every_reason_is_told():
    verdict = judged("ramp_100", breaches=("drawdown",), unresolved=1)
    assert isinstance(verdict, Demote)
    assert verdict.to == "paper" and len(verdict.reasons) == 2


def test_an_unknown_rung_is_an_error():
    for call in (lambda: judged("summit"), lambda: cap_for("summit", D(1), BITBANK, D(1))):
        with pytest.raises(ValueError, match="unknown rung"):
            call()


@given(
    rung=st.sampled_from(LADDER),
    evidence=st.builds(
        Evidence,
        passed=st.booleans(),
        seconds=st.integers(0, 7200),
        cycles=st.integers(0, 20),
        failed_cycles=st.integers(0, 20),
        fills=st.integers(0, 6),
        unresolved=st.integers(0, 2),
        discrepancies=st.integers(0, 2),
        breaches=st.lists(st.just("daily_loss"), max_size=2).map(tuple),
        latency_p95_ms=st.sampled_from([None, 100.0, 900.0]),
        slippage=st.sampled_from([None, D("-0.001"), D("0.01")]),
        drawdown=st.sampled_from([D(0), D("0.2")]),
        warnings=st.integers(0, 2),
        changed=st.lists(st.sampled_from(PARTS), max_size=2).map(tuple),
        expired=st.booleans(),
        before_issue=st.booleans(),
        ledger_fault=st.sampled_from([None, "a row"]),
        approval_needed=st.booleans(),
        approved_by=st.sampled_from([None, "Aoki"]),
    ),
)
def test_up_is_one_rung_with_clean_books_and_down_is_always_down(rung: str, evidence: Evidence):
    verdict = judge(rung, evidence, THRESHOLDS)
    place = LADDER.index(rung)
    assert isinstance(verdict, Hold) or verdict.reasons
    if isinstance(verdict, Promote):
        assert LADDER.index(verdict.to) == place + 1
        assert rung_in_force(rung, evidence, LADDER) == rung and evidence.ledger_fault is None
        if rung not in CHECKS:
            assert not (evidence.unresolved or evidence.discrepancies or evidence.breaches)
            assert evidence.drawdown <= D("0.05") and evidence.warnings <= 1
            assert evidence.latency_p95_ms in (None, 100.0) and evidence.slippage in (None, D("-0.001"))
            assert evidence.approved_by or not evidence.approval_needed
    if isinstance(verdict, Demote):
        assert LADDER.index(verdict.to) < place or (verdict.to == rung and evidence.changed)
    if isinstance(verdict, Halt):
        assert LADDER.index(verdict.to) <= place


PRICE = D(10_000_000)


def test_each_rung_allows_what_it_has_earned():
    caps = {rung: cap_for(rung, D("0.04"), BITBANK, PRICE) for rung in LADDER}
    assert caps == {
        "compatibility": 0,
        "read_only": 0,
        "minimal_order": D("0.0001"),
        "paper": D("0.04"),
        "minimal": D("0.0001"),
        "ramp_25": D("0.01"),
        "ramp_50": D("0.02"),
        "ramp_100": D("0.04"),
    }


def test_the_minimal_rung_can_also_sell_what_it_bought():
    assert cap_for("minimal", D(1), BITFLYER, PRICE) == D("0.00100301")
    assert cap_for("minimal_order", D(1), BITFLYER, PRICE) == D("0.001")
    # 5 USDT, and a fall of a fifth to spare, at 100,000 USDT; the fee is taken from what is bought
    assert cap_for("minimal", D(1), BYBIT, D(100_000)) == D("0.000064")


def test_no_ramp_step_lies_below_the_minimal_rung():
    assert cap_for("ramp_25", D("0.002"), BITFLYER, PRICE) == D("0.00100301")


def test_a_target_that_could_not_be_sold_again_is_refused_with_the_remedy():
    with pytest.raises(TargetTooSmall, match=r"bitflyer BTC/JPY: target_quantity 0\.001 .* at least 0\.00100301 BTC"):
        cap_for("ramp_100", D("0.001"), BITFLYER, PRICE)


@given(st.sampled_from(ALL), st.integers(1, 10**7).map(lambda n: D(n) / 10**6), st.integers(10_000, 10**8).map(D))
def test_caps_rise_with_the_rung_and_never_pass_the_target(instrument: Instrument, target: Decimal, price: Decimal):
    try:
        caps = [cap_for(rung, target, instrument, price) for rung in LADDER[4:]]
    except TargetTooSmall:
        return
    assert caps == sorted(caps)
    assert all(0 < cap <= target and cap % instrument.lot_size == 0 for cap in caps)
