"""Market data: recorded files of any bar length, and a generator that is no kinder than the real thing."""

from decimal import Decimal as D
from pathlib import Path

import pytest

from simvenue.candles import DAY, HOUR, MINUTE, FileCandles, GeneratedCandles, bar_length, read_candles
from simvenue.path import tape
from simvenue.values import Candle
from tests.simvenue.material import PERPETUAL, SPOT, START, bar

HEADER = "timestamp,open,high,low,close,volume\n"
REAL = Path(__file__).parents[3] / "shared/data/bitflyer_btc_jpy_1m_20180121_20180130.csv"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "candles.csv"
    path.write_text(text)
    return path


def test_bars_are_read_as_written_and_further_columns_are_ignored(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER.strip() + ",trades\n1767571200000,10000000.0,10000100,9999900,10000050,0.451,30\n")
    assert read_candles(path) == [Candle(START, D("10000000.0"), D(10000100), D(9999900), D(10000050), D("0.451"))]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("time,o,h,l,c,v\n1,2,3,4,5,6\n", "found time,o,h,l,c,v, without timestamp"),
        ("", "found no header"),
        (HEADER, "found no rows"),
        (HEADER + "1767571200000,1,2,x,1,1\n", "line 2: found 1767571200000,1,2,x,1,1"),
        (HEADER + "1767571200000,1,2\n", "line 2"),
        (HEADER + "1767571200,1,2,1,1,1\n", "found timestamp 1767571200"),
        (HEADER + "1767571200000,5,4,3,3,1\n", "needed is 0 < low"),
        (HEADER + "1767571200000,NaN,4,3,3,1\n", "line 2"),
        (HEADER + "1767571260000,1,1,1,1,1\n1767571200000,1,1,1,1,1\n", "rising"),
        (HEADER + "1767571200000,1,1,1,1,0\n", "no traded volume"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_with_name_found_and_needed(
    tmp_path: Path, text: str, found: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match="needed") as refusal:
        read_candles(path)
    assert str(path) in str(refusal.value)
    assert found in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_refused_in_the_same_way(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent.csv: cannot be read \(No such file"):
        read_candles(tmp_path / "absent.csv")


def test_an_absent_minute_of_the_file_stays_absent() -> None:
    source = FileCandles([bar(0, 5, 5, 5, 5), bar(1, 5, 5, 5, 5), bar(3, 5, 5, 5, 5)], SPOT, 1)
    assert source.at(START + 2 * MINUTE) is None
    assert source.at(START + 3 * MINUTE) is not None
    assert source.ends_ms == START + 4 * MINUTE


def test_hourly_bars_are_split_into_minutes_that_add_up_to_them() -> None:
    bars = [
        Candle(START, D(100_000), D(101_000), D(99_000), D(100_400), D("3.21")),
        Candle(START + HOUR, D(100_400), D(100_500), D(97_000), D(97_500), D("0.5")),
        Candle(START + 3 * HOUR, D(97_500), D(97_500), D(97_500), D(97_500), D("2")),
    ]
    source = FileCandles(bars, SPOT, seed=4)
    assert bar_length(bars) == HOUR
    for whole in bars:
        minutes = [source.at(whole.open_ms + number * MINUTE) for number in range(60)]
        there = [minute for minute in minutes if minute is not None]
        assert len(there) == 60
        assert there[0].open == whole.open
        assert there[-1].close == whole.close
        assert max(minute.high for minute in there) == whole.high
        assert min(minute.low for minute in there) == whole.low
        assert sum(minute.volume for minute in there) == whole.volume
    assert source.at(START + 2 * HOUR + 5 * MINUTE) is None


def test_a_shifted_file_keeps_its_shape() -> None:
    source = FileCandles([bar(0, 5, 7, 4, 6), bar(1, 6, 6, 6, 6)], SPOT, 1, shift_ms=10 * DAY)
    assert source.at(START) is None
    moved = source.at(START + 10 * DAY)
    assert moved is not None
    assert moved.high == 7


def test_the_generator_has_gaps_falls_and_standstills_as_real_markets_do() -> None:
    source = GeneratedCandles(SPOT, 1, START, quiet=False, daily_gap=(19 * 60, 10))
    days = [[source.at(START + day * DAY + m * MINUTE) for m in range(1440)] for day in range(12)]
    absent = sum(minute is None for day in days for minute in day)
    assert 12 * 10 < absent < 12 * 120
    assert all(day[19 * 60 + number] is None for day in days for number in range(10))
    hourly = [
        (day[m].low / day[m - 60].open) - 1  # type: ignore[union-attr]
        for day in days
        for m in range(60, 1440)
        if day[m] is not None and day[m - 60] is not None
    ]
    assert min(hourly) < D("-0.03")
    assert any(candle is not None and candle.high == candle.low for day in days for candle in day)
    there = [candle for day in days for candle in day if candle is not None]
    assert all(8_000_000 < candle.low <= candle.open <= candle.high < 12_000_000 for candle in there)
    assert all(candle.volume >= SPOT.lot and candle.volume % SPOT.lot == 0 for candle in there)


def test_the_quiet_generator_is_always_there_and_moves_little() -> None:
    source = GeneratedCandles(SPOT, 1, START, quiet=True, daily_gap=(19 * 60, 10))
    minutes = [source.at(START + number * MINUTE) for number in range(-1440, 1440)]
    there = [minute for minute in minutes if minute is not None]
    assert len(there) == 2880
    assert all(minute.high / minute.low < D("1.002") for minute in there)


def test_generated_days_join_and_repeat_for_the_same_seed() -> None:
    first, again, other = (GeneratedCandles(SPOT, seed, START, quiet=True) for seed in (1, 1, 2))
    assert [first.at(START + n * HOUR) for n in range(-48, 48)] == [
        again.at(START + n * HOUR) for n in range(48 - 96, 48)
    ]
    assert first.at(START + HOUR) != other.at(START + HOUR)
    for day in range(-3, 4):
        before, after = first.at(START + day * DAY - MINUTE), first.at(START + day * DAY)
        assert before is not None
        assert after is not None
        assert abs(before.close / after.open - 1) < D("0.001")


def test_spot_and_perpetual_of_one_asset_go_together() -> None:
    spot, perpetual = (GeneratedCandles(pair, 1, START, quiet=True) for pair in (SPOT, PERPETUAL))
    assert spot.at(START + 3 * DAY) == perpetual.at(START + 3 * DAY)


@pytest.mark.parametrize(
    "candle",
    [
        bar(0, 10_000_000, 10_005_000, 9_990_000, 9_995_000, "1.2345"),
        bar(0, 100, 100, 100, 100, "0.00000001"),
        bar(0, 100, 101, 99, 100, "0.0002"),
        bar(0, 100, 100, 50, 50, "8"),
    ],
)
@pytest.mark.parametrize("auction", [False, True])
def test_the_prints_of_a_minute_are_its_candle(candle: Candle, auction: bool) -> None:
    for seed in range(20):
        prints = tape(candle, SPOT, seed, auction=auction)
        prices = [trade.price for trade in prints]
        assert (prices[0], max(prices), min(prices), prices[-1]) == candle[1:5]
        assert sum(trade.size for trade in prints) == candle.volume
        assert all(trade.size > 0 for trade in prints)
        assert [trade.at for trade in prints] == sorted(trade.at for trade in prints)
        assert prints[0].at == candle.open_ms
        assert prints[-1].at < candle.open_ms + MINUTE
        assert len({trade.id for trade in prints}) == len(prints)
        assert (prints[0].side == "") == auction


@pytest.mark.skipif(not REAL.exists(), reason="the recorded bitFlyer minutes are not on this machine")
def test_the_recorded_bitflyer_minutes_come_through_unchanged() -> None:
    bars = read_candles(REAL)
    source = FileCandles(bars, SPOT, 1)
    assert len(bars) == 14_147
    assert all(source.at(candle.open_ms) == candle for candle in bars)
    last = bars[-1].open_ms
    minutes = range(bars[0].open_ms, last + MINUTE, MINUTE)
    assert sum(source.at(minute) is None for minute in minutes) == len(minutes) - 14_147
