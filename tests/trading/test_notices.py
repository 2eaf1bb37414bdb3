from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from exchanges.base import KeyRights
from tasks.key_report import key_checks
from trading.checks import Check, StageReport
from trading.cycle import CycleReport
from trading.notices import (
    Notice,
    notice_of_failure,
    notice_of_review,
    notice_of_stop,
    notices_of_checks,
    notices_of_cycle,
    without_amounts,
)

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
CALM = CycleReport(
    cycle_id="2026-01-05T12:00Z",
    exchange="bitbank",
    account="bitbank@live",
    symbol="BTC/JPY",
    rung="minimal",
    started_at=NOON,
    finished_at=NOON,
    price=Decimal(9000000),
    target=Decimal(1),
    reason="above the average",
    refused="",
    breach="",
    order_state="filled",
    order_filled=Decimal("0.01"),
    position=Decimal("0.01"),
    equity=Decimal(5000000),
    profit=Decimal(0),
    fees=Decimal(0),
    unknown_orders=0,
    discrepancies=(),
    requests=9,
    latency_p95_ms=80.0,
    trading_state="active",
)


def told(report: CycleReport, latch: str | None = None) -> dict[str, Notice]:
    """What is so, by its key without the exchange."""
    return {each.key.partition(":")[2]: each for each in notices_of_cycle(report, latch) if not each.over}


def over(report: CycleReport, latch: str | None = None) -> set[str]:
    return {each.key.partition(":")[2] for each in notices_of_cycle(report, latch) if each.over}


def test_a_calm_cycle_tells_nothing_and_says_that_all_trouble_is_over() -> None:
    assert told(CALM) == {}
    ours = "halt venue_halt drift orphan unknown_order reduce_only certificate clock_skew data_age refused_in_a_row"
    assert over(CALM) == {*ours.split(), *["key", "ledger", "cycle", "trader", "prefect"]}


@pytest.mark.parametrize(
    ("report", "latch", "key", "level", "words"),
    [
        (CALM, "six equal orders (by risk)", "halt", "critical", "crypto-bot rearm bitbank"),
        (replace(CALM, venue_halt="CIRCUIT BREAK"), None, "venue_halt", "critical", "CIRCUIT BREAK"),
        (replace(CALM, discrepancies=("balance JPY: expected 1, found 2",)), None, "drift", "critical", "balance JPY"),
        (replace(CALM, discrepancies=("orphan 4711",)), None, "orphan", "critical", "orphan 4711"),
        (replace(CALM, unknown_orders=1), None, "unknown_order", "warning", "looks for it"),
        (
            replace(CALM, unknown_orders=1, discrepancies=("unproved_order ab12: expected an outcome, found nothing",)),
            None,
            "unknown_order",
            "critical",
            "crypto-bot resolve bitbank",
        ),
        (
            replace(CALM, trading_state="reduce_only: daily loss 200 JPY of 100 JPY"),
            None,
            "reduce_only",
            "critical",
            "loss",
        ),
        (
            replace(CALM, order_state="", refused="clock_skew: limit 2 s, observed 9 s"),
            None,
            "clock_skew",
            "warning",
            "9 s",
        ),
    ],
)
def test_each_trouble_of_a_cycle_has_one_notice_of_its_own(
    report: CycleReport, latch: str | None, key: str, level: str, words: str
) -> None:
    found = told(report, latch)
    assert set(found) == {key}
    assert found[key].level == level
    assert words in found[key].text and "bitbank" in found[key].text
    assert key not in over(report, latch)


def test_what_was_not_judged_is_neither_so_nor_over() -> None:
    unjudged = replace(CALM, trading_state="", order_state="", refused="")
    standing = {"certificate", "clock_skew", "data_age", "refused_in_a_row"}
    assert over(CALM) - over(unjudged) == {"reduce_only", *standing}
    assert over(CALM) - over(replace(CALM, order_state="rejected")) == {"refused_in_a_row"}  # by the venue, once more


@pytest.mark.parametrize(
    ("kinds", "key", "level"),
    [
        (("AuthenticationError", "Refused"), "key", "critical"),
        (("PermissionDenied", "Refused"), "key", "critical"),
        (("LedgerUnavailable",), "ledger", "critical"),
        (("AccountHeld",), "trader", "critical"),
        (("NoAnswer", "VenueError"), "cycle", "warning"),
        (("KeyError",), "cycle", "warning"),
    ],
)
def test_a_failure_is_told_by_what_it_means(kinds: tuple[str, ...], key: str, level: str) -> None:
    notice = notice_of_failure("bybit", kinds, "the venue's words")
    assert (notice.key, notice.level) == (f"bybit:{key}", level)
    assert "the venue's words" in notice.text


def stage(*checks: Check) -> StageReport:
    return StageReport("read_only", "bybit", "BTC/USDT", checks, NOON, NOON)


def test_a_key_that_may_withdraw_is_key_trouble_and_critical() -> None:
    rights = key_checks(KeyRights(True, True, True, True), NOON, 14)  # the rows of the real check
    report = stage(Check("key rights", True, "the venue tells them"), *rights, Check("clock", False, "9 s off"))
    found = {each.key: each for each in notices_of_checks(report)}
    assert found["bybit:key"].level == "critical" and "may withdraw" in found["bybit:key"].text
    assert found["bybit:read_only"].level == "warning" and found["bybit:read_only"].text.endswith("clock: 9 s off")


def test_a_key_that_the_venue_refuses_is_key_trouble_and_critical() -> None:
    found = {each.key: each for each in notices_of_checks(stage(Check("key rights", False, "10003: key not known")))}
    assert found["bybit:key"].level == "critical" and "10003" in found["bybit:key"].text and not found["bybit:key"].over


def test_checks_that_pass_end_what_was_told_of_them() -> None:
    found = notices_of_checks(stage(Check("key rights", True, "read yes"), Check("clock", True, "0 s")))
    assert {each.key for each in found if each.over} == {"bybit:key", "bybit:read_only"}


def test_a_rung_that_goes_down_is_a_warning_one_that_goes_up_is_for_the_digest() -> None:
    down = notice_of_review("bybit", "demote", "ramp_25", "minimal", ("drawdown",))
    up = notice_of_review("bybit", "promote", "paper", "minimal", ())
    assert down is not None and (down.level, "DOWN" in down.text) == ("warning", True)
    assert up is not None and up.level == "info"
    assert notice_of_review("bybit", "hold", "paper", "paper", ()) is None


def test_a_stop_that_is_not_clean_says_what_a_person_does_now() -> None:
    notice = notice_of_stop(["bybit"], clean=False, latched=True, by="ops", reason="drill", to_do=["look at bybit.com"])
    assert notice.level == "critical" and notice.once
    assert "NOT CLEAN" in notice.text and "look at bybit.com" in notice.text


def test_amounts_of_money_are_left_out_and_everything_else_stays() -> None:
    assert without_amounts("balance JPY: expected 5000000, found 4990000.5") == "balance JPY: expected …, found …"
    assert without_amounts("0.02 BTC stay; 12 of 1440 cycles; 3 orders") == "… BTC stay; 12 of 1440 cycles; 3 orders"
    sent = (
        "buy … BTC, sent 2026-01-05 12:00:43 UTC (21:00:43 JST)"  # the second is what a person looks for at the venue
    )
    assert without_amounts(sent.replace("…", "0.02")) == sent
