"""The five watches: what each of them calls a finding, and what it lets pass."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from trading.day import CyclePoint
from trading.watches import WATCHES, Bounds, Finding, OpenOrder, Watched, watch

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
BOUNDS = Bounds(timedelta(minutes=5), timedelta(minutes=5), 2000.0, 0.05, 10)


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def cycles(count: int, *, failed: int = 0, error: str = "", newest: float = 1) -> tuple[CyclePoint, ...]:
    """One a minute, the newest `newest` minutes ago; the last `failed` of them failed."""
    return tuple(
        CyclePoint(ago(newest + count - 1 - n), n < count - failed, "minimal", None, None, 100.0, "", said)
        for n in range(count)
        for said in (error if n >= count - failed else "",)
    )


QUIET = Watched(
    now=NOW,
    points=cycles(60),
    trader_since=ago(600),
    trouble=None,
    latency_ms=100.0,
    differences=(),
    orders=(),
)


def found(seen: Watched) -> dict[str, str]:
    told: Sequence[Finding] = watch(seen, BOUNDS)
    assert [each.watch for each in told] == list(WATCHES) and all(each.detail for each in told)
    return {each.watch: each.detail for each in told if each.found}


def test_a_bot_that_runs_well_has_no_finding() -> None:
    assert found(QUIET) == {}


def test_a_venue_that_no_cycle_has_reached_for_too_long_is_found() -> None:
    away = replace(QUIET, points=cycles(60, failed=6, error="NoAnswer: bitbank: no answer"))
    assert "last reached 7.0 min ago; last error: NoAnswer" in found(away)["api_connectivity"]
    assert "api_connectivity" not in found(replace(QUIET, points=cycles(60, failed=4, error="Busy: full")))


def test_a_trader_without_any_cycle_is_found_once_it_has_had_the_time() -> None:
    assert "api_connectivity" in found(replace(QUIET, points=(), trader_since=ago(6)))
    assert found(replace(QUIET, points=(), trader_since=ago(4))) == {}


def test_a_refusal_is_an_answer_of_the_venue() -> None:
    refused = replace(QUIET, points=cycles(60, failed=60, error="AuthenticationError: bad key"))
    assert set(found(refused)) == {"error_rate"}


@pytest.mark.parametrize(("trouble", "is_found"), [(None, False), ("", False), ("Busy: cannot connect", True)])
def test_where_no_trader_runs_the_venues_own_answer_counts(trouble: str | None, is_found: bool) -> None:
    idle = replace(QUIET, points=(), trader_since=None, trouble=trouble, latency_ms=None)
    assert ("api_connectivity" in found(idle)) == is_found


def test_every_difference_of_a_balance_is_found_and_a_few_are_named() -> None:
    differences = tuple(f"balance A{number}" for number in range(7))
    said = found(replace(QUIET, differences=differences))["balance_changes"]
    assert said.startswith("balance A0; balance A1") and said.endswith("and 2 more")


def test_an_order_is_found_when_it_is_unknown_old_or_nobody_looks_after_it() -> None:
    young, old = OpenOrder("young", ago(1), False), OpenOrder("old", ago(5.1), False)
    unknown = OpenOrder("lost", ago(0.1), True)
    assert found(replace(QUIET, orders=(young,))) == {}
    assert found(replace(QUIET, orders=(young, old)))["open_orders"] == "open for more than 5.0 min: old"
    assert found(replace(QUIET, orders=(unknown,)))["open_orders"] == "of unknown outcome: lost"
    left = replace(QUIET, orders=(young, unknown), trader_since=None)
    assert found(left)["open_orders"] == "of unknown outcome: lost; open while no trader runs: young"


def test_a_bound_of_latency_and_error_rate_is_itself_in_order() -> None:
    assert found(replace(QUIET, latency_ms=2000.0, points=cycles(60, failed=3, error="KeyError"))) == {}
    assert found(replace(QUIET, latency_ms=2000.1))["response_latency"] == "95 % within 2000.1 ms, bound 2000 ms"
    assert found(replace(QUIET, points=cycles(60, failed=4)))["error_rate"] == "4 of 60 cycles failed, bound 5%"


def test_a_few_cycles_are_no_rate() -> None:
    assert found(replace(QUIET, points=cycles(9, failed=9))) == {}
    assert "error_rate" in found(replace(QUIET, points=cycles(10, failed=9)))
