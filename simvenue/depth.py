"""The shape of a book: how much waits at which distance from the last price."""

from decimal import Decimal
from random import Random

from simvenue.values import Level, Pair

LEVELS = 200  # a side


def shaped_side(side: str, last: Decimal, volume: Decimal, pair: Pair, seed: int, minute_ms: int) -> list[Level]:
    """Make one side of the book ("buy" = bids), best first; sizes follow the minute's volume, in whole lots.

    The same minute has the same shape wherever the price is. Fewer than 200 levels only near zero.
    """
    rng = Random(f"{seed}:{pair.symbol}:book:{side}:{minute_ms}")
    ticks = int(last / pair.tick)
    step = max(1, int(ticks * 0.00004))
    # a minute in which nearly nothing traded still has a book behind it
    lots = float(max(volume, 50 * pair.min_quantity) / pair.lot)
    direction = -1 if side == "buy" else 1
    price = ticks
    levels = []
    for number in range(LEVELS):
        price += direction * rng.randint(1, step)
        if price < 1:
            break
        size = max(1, int(lots * 0.15 * (1 + number / 20) * rng.expovariate(1.0)))
        levels.append(Level(price * pair.tick, size * pair.lot))
    return levels
