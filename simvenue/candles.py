"""Market data by the minute: a replayed file, or a seeded generator that behaves as badly as real data does.

An absent minute is absent: `at` gives None, never a bar of zero volume.
"""

import csv
from collections import Counter
from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from itertools import pairwise
from math import exp
from pathlib import Path
from random import Random
from typing import Protocol

from simvenue.path import leg_points
from simvenue.values import Candle, Pair

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")


class CandleSource(Protocol):
    """Where a market's minutes come from."""

    first_ms: int  # open of the first minute
    ends_ms: int | None  # end of the last minute; None = never

    def at(self, open_ms: int) -> Candle | None:
        """Give the minute that opens at open_ms, None where the data has none."""
        ...


# --- a recorded file --------------------------------------------------------------------------------------


def read_candles(path: Path) -> list[Candle]:
    """Read the bars of a candle CSV, oldest first.

    Raises ValueError (one line, naming the file, what was found and what is needed).
    """
    needed = f"needed are the columns {','.join(COLUMNS)}, timestamp in Unix ms UTC"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            found = reader.fieldnames or []
            if missing := [name for name in COLUMNS if name not in found]:
                raise ValueError(
                    f"{path}: found {','.join(found) or 'no header'}, without {', '.join(missing)}; {needed}"
                )
            bars = [_bar(path, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file of comma separated values"
        raise ValueError(f"{path}: cannot be read ({reason}); {needed}") from error
    if not bars:
        raise ValueError(f"{path}: found no rows; {needed}")
    for before, after in pairwise(bars):
        if after.open_ms <= before.open_ms:
            raise ValueError(f"{path}: found timestamp {after.open_ms} after {before.open_ms}; needed are rising ones")
    while bars and not bars[0].volume:  # no price is known before the first trade
        bars.pop(0)
    if not bars:
        raise ValueError(f"{path}: found no traded volume; needed is a row with volume > 0")
    return bars


def _bar(path: Path, line: int, row: dict[str, str | None]) -> Candle:
    texts = [row[name] or "" for name in COLUMNS]
    try:
        open_ms = int(texts[0])
        numbers = [Decimal(text) for text in texts[1:]]
    except (ValueError, InvalidOperation):
        raise ValueError(f"{path}: line {line}: found {','.join(texts)}; needed are numbers") from None
    if open_ms < 100_000_000_000 or open_ms % MINUTE:
        raise ValueError(f"{path}: line {line}: found timestamp {open_ms}; needed is a whole minute in Unix ms")
    bar = Candle(open_ms, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4])
    sane = all(number.is_finite() for number in numbers) and bar.volume >= 0
    if not (sane and 0 < bar.low <= min(bar.open, bar.close) and bar.high >= max(bar.open, bar.close)):
        raise ValueError(
            f"{path}: line {line}: found {','.join(texts)}; needed is 0 < low <= open, close <= high and volume >= 0"
        )
    return bar


def bar_length(bars: Sequence[Candle]) -> int:
    """Give the length of the bars in ms: their most common spacing."""
    spacings = Counter(after.open_ms - before.open_ms for before, after in pairwise(bars))
    return spacings.most_common(1)[0][0] if spacings else MINUTE


class FileCandles:
    """Recorded bars, moved by `shift_ms`; bars longer than a minute are split into minutes."""

    def __init__(self, bars: Sequence[Candle], pair: Pair, seed: int, shift_ms: int = 0) -> None:
        self._pair = pair
        self._seed = seed
        self._shift = shift_ms
        self._length = bar_length(bars)
        self._bars = {bar.open_ms + shift_ms: bar for bar in bars}
        self._origin = bars[0].open_ms + shift_ms
        self._minutes: dict[int, Candle] = {}
        self.first_ms = self._origin
        self.ends_ms: int | None = bars[-1].open_ms + shift_ms + self._length

    def at(self, open_ms: int) -> Candle | None:
        known = self._minutes.get(open_ms)
        if known is not None:
            return known
        bar_ms = open_ms - (open_ms - self._origin) % self._length
        bar = self._bars.get(bar_ms)
        if bar is None:
            return None
        minutes = [bar] if self._length == MINUTE else split_bar(bar, self._length // MINUTE, self._pair, self._seed)
        for number, minute in enumerate(minutes):
            self._minutes[bar_ms + number * MINUTE] = on_tick(
                minute._replace(open_ms=bar_ms + number * MINUTE), self._pair.tick
            )
        return self._minutes[open_ms]


def split_bar(bar: Candle, count: int, pair: Pair, seed: int) -> list[Candle]:
    """Cut one bar into `count` minutes that together have its open, high, low, close and volume."""
    rng = Random(f"{seed}:{pair.symbol}:split:{bar.open_ms}")
    points = leg_points(rng, bar, count * 3 + 1, pair.tick)
    weights = [rng.expovariate(1.0) + 0.05 for _ in range(count)]
    unit = Decimal("0.00000001")
    scale = float(bar.volume) / sum(weights)
    volumes = [Decimal(weight * scale).quantize(unit, ROUND_DOWN) for weight in weights[:-1]]
    volumes.append(bar.volume - sum(volumes))
    minutes = []
    for number, volume in enumerate(volumes):
        inside = points[number * 3 : number * 3 + 4]
        minutes.append(Candle(bar.open_ms + number * MINUTE, inside[0], max(inside), min(inside), inside[-1], volume))
    return minutes


def on_tick(candle: Candle, tick: Decimal) -> Candle:
    """Round the four prices to the tick (keeps their order)."""

    def rounded(price: Decimal) -> Decimal:
        return max(tick, (price / tick).to_integral_value() * tick)

    return candle._replace(
        open=rounded(candle.open),
        high=rounded(candle.high),
        low=rounded(candle.low),
        close=rounded(candle.close),
    )


# --- the generator ----------------------------------------------------------------------------------------

HISTORY_DAYS = 40
NOTIONAL_A_MINUTE = {"JPY": 5_000_000.0, "USDT": 35_000.0}


class GeneratedCandles:
    """A seeded market around the pair's start price, for ever in both directions.

    Unless `quiet`: falls of some percent within an hour, minutes that are absent, prices that stand still,
    and the venue's daily gap. The half hour after `origin_ms` is always there.
    """

    def __init__(
        self, pair: Pair, seed: int, origin_ms: int, *, quiet: bool, daily_gap: tuple[int, int] | None = None
    ) -> None:
        self._pair = pair
        self._asset = f"{pair.base}/{pair.quote}"  # spot and perpetual of one asset go together
        self._seed = seed
        self._origin_ms = origin_ms
        self._quiet = quiet
        self._daily_gap = None if quiet else daily_gap
        self._levels = {origin_ms // DAY: 0.0}  # logarithm of price / start price at 00:00 UTC
        self._days: dict[int, list[Candle | None]] = {}
        self.first_ms = (origin_ms // DAY - HISTORY_DAYS) * DAY
        self.ends_ms: int | None = None

    def at(self, open_ms: int) -> Candle | None:
        if open_ms < self.first_ms:
            return None
        day, inside = divmod(open_ms, DAY)
        if day not in self._days:
            self._days[day] = self._make_day(day)
        return self._days[day][inside // MINUTE]

    def _level(self, day: int) -> float:
        """Walk from the origin; pulled back to the start price, so that it never drifts away."""
        if day not in self._levels:
            step = 1 if day > self._origin_ms // DAY else -1
            rng = Random(f"{self._seed}:{self._asset}:level:{day}")
            size = 0.003 if self._quiet else 0.015
            self._levels[day] = 0.9 * self._level(day - step) + size * rng.gauss(0, 1)
        return self._levels[day]

    def _make_day(self, day: int) -> list[Candle | None]:
        rng = Random(f"{self._seed}:{self._asset}:day:{day}")
        sigma = 0.00008 if self._quiet else 0.0004
        path = _bridge(rng, self._level(day), self._level(day + 1), sigma)
        busy = [1.0] * 1440
        absent: set[int] = set()
        if not self._quiet:
            if rng.random() < 0.25:
                _add_fall(rng, path, busy, absent)
            for _ in range(rng.randrange(3)):
                _stand_still(rng, path, busy)
            absent |= self._gaps(rng)
            absent = {minute for minute in absent if not self._kept(day * DAY + minute * MINUTE)}
        return [
            None if minute in absent else self._candle(rng, day * DAY, minute, path, sigma, busy[minute])
            for minute in range(1440)
        ]

    def _kept(self, open_ms: int) -> bool:
        return self._origin_ms - 5 * MINUTE <= open_ms < self._origin_ms + 30 * MINUTE

    def _gaps(self, rng: Random) -> set[int]:
        absent: set[int] = set()
        for _ in range(rng.randrange(4)):
            start, length = rng.randrange(1440), rng.choice((1, 1, 2, 4, 13, 20))
            absent.update(range(start, min(1440, start + length)))
        if self._daily_gap:
            start, length = self._daily_gap
            absent.update((start + number) % 1440 for number in range(length))
        return absent

    def _candle(self, rng: Random, day_ms: int, minute: int, path: list[float], sigma: float, busy: float) -> Candle:
        start, end = path[minute], path[minute + 1]
        stands = busy < 0.1
        above = 0.0 if stands else abs(rng.gauss(0, sigma)) * 0.6
        below = 0.0 if stands else abs(rng.gauss(0, sigma)) * 0.6
        if stands:
            end = start
        tick, price = self._pair.tick, float(self._pair.start_price)
        scale = price / float(tick)

        def on_path(level: float) -> Decimal:
            return max(1, round(scale * exp(level))) * tick

        high, low = max(start, end) + above, min(start, end) - below
        lot = self._pair.lot
        notional = NOTIONAL_A_MINUTE.get(self._pair.quote, 35_000.0) * busy * rng.lognormvariate(0, 0.7)
        lots = max(1, int(notional / price / float(lot)))
        return Candle(day_ms + minute * MINUTE, on_path(start), on_path(high), on_path(low), on_path(end), lots * lot)


def _bridge(rng: Random, start: float, end: float, sigma: float) -> list[float]:
    """Give 1441 levels from start to end."""
    walk = [0.0]
    for _ in range(1440):
        walk.append(walk[-1] + rng.gauss(0, sigma))
    drift = (end - start - walk[-1]) / 1440
    return [start + level + drift * number for number, level in enumerate(walk)]


def _add_fall(rng: Random, path: list[float], busy: list[float], absent: set[int]) -> None:
    """Take 4 to 9 % off within the hour, with a hole in the middle, and give it back over some hours."""
    begin, length = rng.randrange(120, 1000), rng.randrange(30, 60)
    depth, back = rng.uniform(0.04, 0.09), rng.randrange(200, 350)
    for minute in range(begin, min(1440, begin + length + back)):
        into = minute - begin
        path[minute] -= depth * (into / length if into < length else 1 - (into - length) / back)
        busy[minute] = 6.0 if into < length else 2.0
    hole = begin + length // 2
    absent.update(range(hole, hole + rng.choice((3, 8, 13))))


def _stand_still(rng: Random, path: list[float], busy: list[float]) -> None:
    begin, length = rng.randrange(1400), rng.randrange(5, 16)
    for minute in range(begin, min(1439, begin + length)):
        path[minute + 1] = path[minute]
        busy[minute] = 0.02
