from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from services.ledger import (
    Adjustment,
    CycleRecord,
    EquityPoint,
    Latch,
    Ledger,
    LedgerConflict,
    RungRecord,
)
from tests.services.samples import ACCOUNT, NOW, SYMBOL
from trading.market import Balance

LATER = NOW + timedelta(minutes=1)


def cycle(number: int, **changes: object) -> CycleRecord:
    plain = CycleRecord(
        cycle_id=f"c{number}",
        account=ACCOUNT,
        symbol=SYMBOL,
        rung="paper",
        started_at=NOW,
        finished_at=LATER,
        ok=True,
        flow_run_id=None,
        report={"target": "0.5"},
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def certificate(rung: str, account: str = ACCOUNT) -> RungRecord:
    return RungRecord(account, SYMBOL, rung, Decimal("0.005"), {"cycles": 3}, "hanako", NOW, NOW + timedelta(days=30))


def test_opening_balances_are_written_once(ledger: Ledger) -> None:
    assert ledger.opening(ACCOUNT) is None
    ledger.set_opening(ACCOUNT, {"JPY": Decimal("5000000"), "BTC": Decimal("0.10000001")}, NOW)
    with pytest.raises(LedgerConflict, match="bitbank has its opening balances"):
        ledger.set_opening(ACCOUNT, {"JPY": Decimal(1)}, LATER)
    assert ledger.opening(ACCOUNT) == ({"JPY": Decimal("5000000"), "BTC": Decimal("0.10000001")}, NOW)


def test_an_adjustment_names_the_person_and_needs_an_opening(ledger: Ledger) -> None:
    with pytest.raises(LedgerConflict):
        ledger.adjust(ACCOUNT, "JPY", Decimal("-100.5"), "hanako", "withdrawal", NOW)
    ledger.set_opening(ACCOUNT, {"JPY": Decimal("5000000")}, NOW)
    ledger.adjust(ACCOUNT, "JPY", Decimal("-100.5"), "hanako", "withdrawal", LATER)
    assert ledger.adjustments(ACCOUNT) == (
        Adjustment(ACCOUNT, "JPY", Decimal("-100.5"), "hanako", "withdrawal", LATER),
    )


def test_the_latest_balances_are_those_recorded_last(ledger: Ledger) -> None:
    assert ledger.latest_balances(ACCOUNT) is None
    ledger.record_balances(ACCOUNT, {"JPY": Balance("JPY", Decimal(5), Decimal("0.5"))}, NOW)
    newest = {"BTC": Balance("BTC", Decimal("0.1"), Decimal(0))}
    ledger.record_balances(ACCOUNT, newest, LATER)
    assert ledger.latest_balances(ACCOUNT) == (newest, LATER)


def test_the_equity_peak_is_remembered_across_a_restart(ledger: Ledger, ledger_url: str) -> None:
    ledger.record_equity(ACCOUNT, "JPY", Decimal("9.5"), NOW)
    ledger.record_equity(ACCOUNT, "JPY", Decimal("10"), NOW)  # as text "10" would come before "9.5"
    ledger.record_equity("bybit", "USDT", Decimal("99"), NOW)
    restarted = Ledger(ledger_url)
    fallen = restarted.record_equity(ACCOUNT, "JPY", Decimal("8"), LATER)
    restarted.close()
    assert fallen == EquityPoint(LATER, Decimal(8), Decimal(10))
    assert ledger.equity(ACCOUNT, "JPY", limit=1) == (fallen,)
    assert ledger.equity(ACCOUNT, "JPY", since=LATER) == (fallen,)


def test_cycles_are_listed_newest_first(ledger: Ledger) -> None:
    ledger.record_cycle(cycle(1))
    ledger.record_cycle(cycle(2, symbol="ETH/JPY", started_at=LATER, ok=False))
    assert [each.cycle_id for each in ledger.cycles(ACCOUNT)] == ["c2", "c1"]
    assert ledger.cycles(ACCOUNT, SYMBOL) == (cycle(1),)
    assert [each.cycle_id for each in ledger.cycles(ACCOUNT, since=LATER)] == ["c2"]
    assert ledger.cycles("bybit") == ()


def test_a_repeated_cycle_counts_once_and_mends_nothing(ledger: Ledger) -> None:
    ledger.record_cycle(cycle(1, ok=False))
    ledger.record_cycle(cycle(1, report={"target": "1"}))
    assert ledger.cycles(ACCOUNT) == (cycle(1, ok=False),)
    tally = ledger.tally_cycles(ACCOUNT, SYMBOL, since=NOW)
    assert (tally.cycles, tally.failed) == (1, 1)
    assert ledger.verify_chain() is None


def test_a_cycle_from_before_the_newest_one_counts_only_where_it_is_bad_news(ledger: Ledger) -> None:
    ledger.record_cycle(cycle(1, started_at=LATER))
    ledger.record_cycle(cycle(2, started_at=NOW))  # the clock went back
    ledger.record_cycle(cycle(3, started_at=LATER, ok=False))
    tally = ledger.tally_cycles(ACCOUNT, SYMBOL, since=NOW)
    assert (tally.cycles, tally.failed) == (1, 1)
    assert ledger.tally_cycles(ACCOUNT, SYMBOL, since=LATER + timedelta(seconds=1)).cycles == 0


def test_amounts_and_times_in_a_report_are_kept_as_text(ledger: Ledger) -> None:
    ledger.record_cycle(cycle(1, report={"equity": Decimal("10.50"), "at": NOW, "by": {"b", "a"}}))
    assert ledger.cycles(ACCOUNT)[0].report == {
        "equity": "10.5",
        "at": "2026-11-22T03:00:00.123456+00:00",
        "by": ["a", "b"],
    }


def test_a_float_in_a_report_is_kept_as_it_is_but_an_object_is_refused(ledger: Ledger) -> None:
    ledger.record_cycle(cycle(1, report={"seconds": 0.25}))
    assert ledger.cycles(ACCOUNT)[0].report == {"seconds": 0.25}
    with pytest.raises(TypeError, match="cannot store a object"):
        ledger.record_cycle(cycle(2, report={"client": object()}))


def test_the_certificate_in_force_is_the_newest(ledger: Ledger) -> None:
    assert ledger.rung(ACCOUNT, SYMBOL) is None
    ledger.issue_rung(certificate("paper"))
    ledger.issue_rung(certificate("minimal"))
    ledger.issue_rung(certificate("paper", "bybit"))
    assert ledger.rung(ACCOUNT, SYMBOL) == certificate("minimal")
    assert ledger.rungs() == (certificate("minimal"), certificate("paper", "bybit"))
    assert [each.rung for each in ledger.rung_history(ACCOUNT, SYMBOL)] == ["minimal", "paper"]


def test_the_first_reason_of_a_latch_stays_until_a_person_rearms(ledger: Ledger) -> None:
    ledger.latch(ACCOUNT, "drawdown 6 %", "risk", NOW)
    ledger.latch(ACCOUNT, "something later", "risk", LATER)
    assert ledger.latched(ACCOUNT) == Latch(ACCOUNT, "drawdown 6 %", "risk", NOW)
    ledger.rearm(ACCOUNT, "hanako", "looked at it", LATER)
    assert ledger.latched(ACCOUNT) is None
    ledger.latch(ACCOUNT, "again", "risk", LATER)
    assert ledger.latched(ACCOUNT) == Latch(ACCOUNT, "again", "risk", LATER)


def test_the_latch_for_all_holds_every_account_and_outlives_ones_own(ledger: Ledger) -> None:
    ledger.latch("*", "crypto-bot stop", "taro", NOW)
    ledger.latch(ACCOUNT, "drawdown", "risk", NOW)
    ledger.rearm(ACCOUNT, "hanako", "looked at it", LATER)
    assert ledger.latched(ACCOUNT) == Latch("*", "crypto-bot stop", "taro", NOW)
    assert ledger.latched("bybit") == Latch("*", "crypto-bot stop", "taro", NOW)


def test_rearming_what_is_not_latched_changes_nothing(ledger: Ledger) -> None:
    ledger.rearm(ACCOUNT, "hanako", "to be sure", NOW)
    assert ledger.latched(ACCOUNT) is None
