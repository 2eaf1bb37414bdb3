from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.breakout import breakout
from strategies.dca import dca
from strategies.rebalance import rebalance
from strategies.registry import OURS, StrategyError, strategy, strategy_from
from strategies.sma_cross import sma_cross
from trading.sizing import Target

D = Decimal
START = "2026-01-05T00:00:00Z"


def candles(closes: Sequence[float], start: str = START) -> pandas.DataFrame:
    index = pandas.date_range(start, periods=len(closes), freq="1min", name="opened_at")
    rows = {"open": closes, "high": [c + 1 for c in closes], "low": [c - 1 for c in closes], "close": closes}
    return pandas.DataFrame({**rows, "volume": [1.0] * len(closes)}, index=index)


RISING, FALLING = [float(n) for n in range(100, 140)], [float(n) for n in range(140, 100, -1)]


def test_sma_cross_is_in_while_the_price_rises_and_out_while_it_falls():
    assert sma_cross(candles(RISING), D(0)).fraction == 1
    assert sma_cross(candles(FALLING), D(1)).fraction == 0


def test_sma_cross_turns_on_the_very_candle_of_the_crossing():
    closes = [100.0] * 20 + [101.0]
    assert sma_cross(candles(closes[:-1]), D("0.4")).fraction == D("0.4")
    assert sma_cross(candles(closes), D("0.4")).fraction == 1


def test_sma_cross_gives_the_same_reason_for_the_same_decision():
    first, second = sma_cross(candles(RISING), D(0)), sma_cross(candles(RISING[:-1]), D("0.3"))
    assert first == second == Target(D(1), "the average of 5 closes is above that of 20")


def test_breakout_needs_a_close_beyond_the_range_before_it():
    flat = [100.0] * 30
    assert breakout(candles([*flat, 101.0]), D("0.2")).fraction == D("0.2")
    assert breakout(candles([*flat, 101.5]), D(0)).fraction == 1
    assert breakout(candles([*flat, 98.5]), D(1)).fraction == 0


def test_rebalance_sells_what_has_risen_and_buys_what_has_fallen():
    assert rebalance(candles([100.0] * 29 + [130.0]), D("0.5")).fraction < D("0.5")
    assert rebalance(candles([100.0] * 29 + [70.0]), D("0.5")).fraction > D("0.5")
    assert rebalance(candles([100.0] * 29 + [1.0]), D("0.5")).fraction == 1


def test_rebalance_leaves_small_differences_alone():
    assert rebalance(candles([100.0] * 30), D("0.46")).fraction == D("0.46")
    assert rebalance(candles([100.0] * 30), D("0.44")).fraction == D("0.5")


def test_dca_buys_one_instalment_at_a_time_and_only_when_it_is_due():
    def wanted(minutes: int, position: str = "0") -> Decimal:
        frame = candles([100.0] * (minutes + 1))
        return dca(frame, D(position), start=START, every_minutes=10, instalments=4).fraction

    assert [wanted(minute) for minute in (0, 9, 10, 29, 30, 300)] == [
        D("0.25"),
        D("0.25"),
        D("0.5"),
        D("0.75"),
        D(1),
        D(1),
    ]
    assert wanted(9, "0.25") == D("0.25")


def test_dca_never_sells_and_waits_for_its_start():
    early = candles([100.0], start="2026-01-04T23:59:00Z")
    assert dca(early, D("0.1"), start=START).fraction == D("0.1")
    assert dca(candles([100.0]), D("0.9"), start=START).fraction == D("0.9")


def test_dca_counts_from_the_same_moment_in_any_notation():
    frame = candles([100.0] * 30)
    wanted = [
        dca(frame, D(0), start=start, every_minutes=10)
        for start in (
            "2026-01-05T00:00:00Z",
            "2026-01-05T00:00:00",
            "2026-01-05",
            "2026-01-05T09:00:00+09:00",
        )
    ]
    assert set(wanted) == {Target(D("0.3"), "instalment 3 of 10")}


ALL: dict[str, Callable[..., Target]] = {
    "sma_cross": sma_cross,
    "breakout": breakout,
    "rebalance": rebalance,
    "dca": lambda frame, position: dca(frame, position, start=START, every_minutes=5),
}
prices = st.lists(st.floats(1, 1e8, allow_nan=False), max_size=40)


@pytest.mark.parametrize("name", OURS)
@given(closes=prices, position=st.integers(-12, 12).map(lambda n: D(n) / 10))
def test_every_strategy_answers_any_market_within_bounds_and_without_memory(
    name: str, closes: list[float], position: Decimal
):
    frame = candles(closes)
    before = frame.copy()
    target = ALL[name](frame, position)
    assert -1 <= target.fraction <= 1 and target.reason
    assert ALL[name](frame, position) == target
    pandas.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("name", OURS)
def test_with_too_few_candles_a_strategy_holds(name: str):
    assert ALL[name](candles([]), D("0.3")).fraction == D("0.3")


def test_a_strategy_is_found_by_name_and_takes_its_parameters():
    follow = strategy_from("sma_cross", {"fast": 2, "slow": 3})
    assert follow(candles([1.0, 2.0, 3.0]), D(0)).fraction == 1
    assert [strategy(name).__name__ for name in OURS] == list(OURS)


def test_a_users_own_strategy_is_found_by_dotted_path():
    own = strategy_from("tests.strategies.my_strategies.always", {"part": "0.5"})
    assert own(candles([1.0]), D(0)) == Target(D("0.5"), "1 candles")


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("sma_cros", {}, "did you mean sma_cross?"),
        ("martingale", {}, "ours are sma_cross, breakout, rebalance, dca"),
        ("no.such.module", {}, "cannot import 'no.such'"),
        ("tests.strategies.my_strategies.never", {}, "has no function 'never'"),
        ("tests.strategies.my_strategies.NOT_A_FUNCTION", {}, "has no function"),
        ("sma_cross", {"fats": 3}, "'fats'.*it takes fast: int = 5, slow: int = 20"),
        ("sma_cross", {"fast": 30}, "0 < fast < slow"),
        ("sma_cross", {"fast": "many"}, "'<' not supported"),
        ("dca", {}, "missing a required argument: 'start'"),
        ("dca", {"start": "soon"}, "soon"),
        ("rebalance", {"weight": "half"}, "rebalance: not a decimal number: 'half'"),
        ("tests.strategies.my_strategies.always", {"parts": 1}, "it takes part: str = '1'"),
    ],
)
def test_a_wrong_choice_is_one_line_with_the_remedy(name: str, parameters: dict[str, Any], said: str):
    with pytest.raises(StrategyError, match=said) as caught:
        strategy_from(name, parameters)
    assert "\n" not in str(caught.value)
