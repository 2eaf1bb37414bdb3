"""How a price gets from open to close: the trades inside a minute, the minutes inside a longer bar."""

from decimal import Decimal
from itertools import pairwise
from random import Random

from simvenue.values import Candle, Pair, Trade

MINUTE = 60_000
IDS_A_MINUTE = 1_000_000  # trade id = minute number x this + print number x IDS_A_PRINT (+ moves by hand)
IDS_A_PRINT = 10_000


def leg_points(rng: Random, bar: Candle, count: int, tick: Decimal) -> list[Decimal]:
    """Give `count` >= 4 prices from open to close that touch high and low and never go beyond."""
    rising = bar.close >= bar.open
    if rng.random() < 0.2:
        rising = not rising
    corners = [bar.open, bar.low, bar.high, bar.close] if rising else [bar.open, bar.high, bar.low, bar.close]
    first = rng.randrange(1, count - 2)
    second = rng.randrange(first + 1, count - 1)
    points: list[Decimal] = []
    for begin, end, length in zip(corners, corners[1:], (first, second - first, count - 1 - second), strict=False):
        width = int((end - begin) / tick)
        points.append(begin)
        if length > 1:
            wobble = sorted(rng.random() for _ in range(length - 1))
            points.extend(begin + int(width * share) * tick for share in wobble)
    points.append(bar.close)
    return points


def tape(candle: Candle, pair: Pair, seed: int, *, auction: bool = False) -> list[Trade]:
    """Make the public prints of one minute: they give exactly its open, high, low, close and volume.

    The first is at the open itself. After an opening auction the first prints have no side.
    """
    if candle.volume <= 0:
        return []
    rng = Random(f"{seed}:{pair.symbol}:tape:{candle.open_ms}")
    wanted = rng.randint(6, 24)
    unit = next((u for u in (pair.lot, Decimal("1e-8")) if candle.volume // u >= 4), Decimal("1e-16"))
    count = max(4, min(wanted, int(candle.volume // unit)))
    prices = leg_points(rng, candle, count, pair.tick)
    sides = [rng.choice(("buy", "sell"))]
    for before, after in pairwise(prices):
        sides.append(rng.choice(("buy", "sell")) if after == before else "buy" if after > before else "sell")
    if auction:
        prints = rng.randint(2, 5)
        prices = [candle.open] * prints + prices
        sides = [""] * prints + sides
    offsets = [0, *sorted(rng.randrange(1, MINUTE) for _ in prices[1:])]
    sizes = _sizes(rng, candle.volume, unit, len(prices))
    base = candle.open_ms // MINUTE * IDS_A_MINUTE
    return [
        Trade(base + number * IDS_A_PRINT, side, price, size, candle.open_ms + offset)
        for number, (side, price, size, offset) in enumerate(zip(sides, prices, sizes, offsets, strict=True))
    ]


def _sizes(rng: Random, volume: Decimal, unit: Decimal, count: int) -> list[Decimal]:
    """Share the volume out in whole units, at least one each; the last takes what is left over."""
    units = int(volume // unit)
    if units < count:  # an auction in a tiny minute: finer than the lot
        unit, units = unit / 1000, units * 1000
    weights = [rng.expovariate(1.0) for _ in range(count)]
    spare, total = units - count, sum(weights)
    shares = [1 + int(spare * weight / total) for weight in weights]
    sizes = [share * unit for share in shares]
    sizes[-1] += volume - sum(sizes)
    return sizes
