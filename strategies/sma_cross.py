"""Follow the trend: in while the fast average of closes is above the slow one, out while it is below."""

from decimal import Decimal

import pandas

from strategies.holding import hold
from trading.sizing import Target


def sma_cross(candles: pandas.DataFrame, position: Decimal, *, fast: int = 5, slow: int = 20) -> Target:
    """Want all of the certified size above the crossing and nothing below it; `fast` and `slow` count
    candles."""
    if not 0 < fast < slow:
        raise ValueError(f"sma_cross needs 0 < fast < slow, was fast={fast}, slow={slow}")
    closes = candles["close"]
    if len(closes) < slow:
        return hold(position, f"{len(closes)} of {slow} candles")
    fast_average, slow_average = closes.tail(fast).mean(), closes.tail(slow).mean()
    if fast_average > slow_average:
        return Target(Decimal(1), f"the average of {fast} closes is above that of {slow}")
    if fast_average < slow_average:
        return Target(Decimal(0), f"the average of {fast} closes is below that of {slow}")
    return hold(position, f"the averages of {fast} and {slow} closes are equal")
