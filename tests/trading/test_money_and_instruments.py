import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.examples import ALL, BITBANK, BITFLYER, BYBIT, CFD, D
from trading.identifiers import client_order_id
from trading.instruments import Instrument, Side
from trading.money import NotMoney, amount, ceil_to, floor_to, plain


@pytest.mark.parametrize("wrong", [0.1, True, "", "abc", "NaN", "Infinity", None, "1,000"])
def test_what_is_no_plain_number_is_no_money(wrong: object):
    with pytest.raises(NotMoney):
        amount(wrong)  # type: ignore[arg-type]


def test_text_keeps_every_digit():
    assert str(amount("0.10000000")) == "0.10000000"
    assert amount(7) == 7


@given(st.decimals(-(10**12), 10**12, places=8), st.sampled_from([D("0.0001"), D(1), D("0.5"), D("1E-8")]))
def test_floor_and_ceiling_lie_one_step_around_the_value(value: Decimal, step: Decimal):
    low, high = floor_to(value, step), ceil_to(value, step)
    assert low <= value <= high
    assert high - low in (0, step)


@pytest.mark.parametrize(
    ("value", "text"),
    [("1E+7", "10000000"), ("0.00100", "0.001"), ("-0.0", "0"), ("1E-8", "0.00000001"), ("100", "100")],
)
def test_numbers_are_written_plainly(value: str, text: str):
    assert plain(D(value)) == text


def test_prices_are_rounded_away_from_the_other_side():
    assert BITBANK.passive_price(Side.BUY, D("10.7")) == 10
    assert BITBANK.passive_price(Side.SELL, D("10.2")) == 11


def test_the_smallest_order_reaches_the_least_notional():
    assert BYBIT.smallest_quantity(D(70_000)) == D("0.000072")
    assert BITBANK.smallest_quantity(D(70_000)) == D("0.0001")


@given(st.sampled_from(ALL), st.integers(1000, 10**8).map(D))
def test_the_smallest_order_is_accepted_and_one_lot_less_is_not(instrument: Instrument, price: Decimal):
    least = instrument.smallest_quantity(price)
    assert instrument.is_large_enough(least, price)
    assert not instrument.is_large_enough(least - instrument.lot_size, price)


def test_fees_are_taken_where_the_venue_takes_them():
    assert [BITBANK.fee_currency(side) for side in Side] == ["JPY", "JPY"]
    assert [BITFLYER.fee_currency(side) for side in Side] == ["BTC", "BTC"]
    assert [BYBIT.fee_currency(side) for side in Side] == ["BTC", "USDT"]


def test_a_rebate_is_never_reckoned_with():
    assert replace(BITBANK, taker_fee_rate=D("-0.0001")).highest_fee_rate == 0
    assert CFD.quote_fee_rate(Side.BUY) == 0


def test_yen_are_booked_whole_and_against_us():
    assert BITFLYER.booked_cost(Side.BUY, D(10_000_001), D("0.001")) == 10_001
    assert BITFLYER.booked_cost(Side.SELL, D(10_000_001), D("0.001")) == 10_000
    assert BITBANK.booked_cost(Side.SELL, D(10_000_001), D("0.001")) == D("10000.001")


def test_a_repeated_decision_makes_the_same_id():
    name = client_order_id("bybit", "cycle-1", 0)
    assert name == client_order_id("bybit", "cycle-1", "0")
    assert len(name) == 32 and set(name) <= set("0123456789abcdef")


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3), st.text(max_size=3)), unique=True, max_size=20))
def test_no_two_decisions_share_an_id(parts: list[tuple[str, str, str]]):
    assert len({client_order_id(*each) for each in parts}) == len(parts)


def assert_runs_light(code: str) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("light\n"), done.stdout + done.stderr


def test_deciding_needs_neither_prefect_nor_ccxt_nor_pandas():
    files = sorted((Path(__file__).resolve().parents[2] / "trading").glob("*.py"))
    modules = [f"trading.{path.stem}" for path in files if path.stem != "__init__"]
    assert "trading.risk" in modules
    assert_runs_light(
        f"import sys, {', '.join(modules)}\n"
        "assert not {'prefect', 'ccxt', 'pandas', 'pydantic', 'sqlalchemy'} & set(sys.modules)\n"
        "print('light')\n"
    )


def test_the_tests_of_the_decisions_are_as_light():
    assert_runs_light(
        "import sys, pytest\n"
        "assert pytest.main(['--collect-only', '-qq', '-p', 'no:cacheprovider', 'tests/trading']) == 0\n"
        "assert not {'prefect', 'ccxt', 'pandas'} & set(sys.modules)\n"
        "print('light')\n"
    )
