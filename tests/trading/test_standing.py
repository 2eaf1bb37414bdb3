from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trading.standing import AccountState, Known, account_state

NOW = datetime(2026, 1, 5, tzinfo=UTC)
FINE = Known(
    kill_switch=None,
    rung="ramp_25",
    expires_at=NOW + timedelta(days=3),
    unknown_orders=0,
    discrepancies=(),
    told="active",
    to_run="crypto-bot check bitbank --orders",
)


def test_an_account_with_nothing_against_it_is_normal_without_a_cause() -> None:
    assert account_state(FINE, NOW) == (AccountState.NORMAL, "")
    assert account_state(replace(FINE, told=""), NOW) == (AccountState.NORMAL, "")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"kill_switch": "a drill (by ann)"}, "kill switch: a drill (by ann)"),
        ({"rung": None}, "no rung yet: crypto-bot check bitbank --orders"),
        (
            {"rung": "compatibility"},
            "on compatibility, the checks have to be passed: crypto-bot check bitbank --orders",
        ),
        ({"expires_at": NOW}, "the certificate expired at 2026-01-05 00:00 UTC: crypto-bot check bitbank --orders"),
        ({"unknown_orders": 1}, "1 orders of unknown outcome"),
        ({"discrepancies": ("balance JPY: 1", "more")}, "the books do not add up: balance JPY: 1"),
        ({"told": "halted: kill switch: risk"}, "kill switch: risk"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_lets_nothing_new_out_halts_and_says_why(change: dict[str, Any], cause: str) -> None:
    assert account_state(replace(FINE, **change), NOW) == (AccountState.HALT, cause)


def test_what_lets_only_reducing_orders_out_says_why() -> None:
    told = replace(FINE, told="reduce_only: drawdown 0.1 of 0.1")
    assert account_state(told, NOW) == (AccountState.REDUCE_ONLY, "drawdown 0.1 of 0.1")


def test_the_kill_switch_is_told_before_everything_else() -> None:
    stopped = replace(FINE, kill_switch="a drill (by ann)", rung=None, unknown_orders=2)
    assert account_state(stopped, NOW)[1].startswith("kill switch")
