"""Break out of a range: in above the range's high, out below its low, else as it is."""

from decimal import Decimal

import pandas

from strategies.holding import hold
from trading.sizing import Target


def breakout(candles: pandas.DataFrame, position: Decimal, *, entry: int = 20, exit: int = 10) -> Target:
    """Want all above the high of the `entry` candles before the last, nothing below the low of the `exit`
    before it."""
    if entry < 1 or exit < 1:
        raise ValueError(f"breakout needs entry and exit of at least 1, was entry={entry}, exit={exit}")
    needed = max(entry, exit) + 1
    if len(candles) < needed:
        return hold(position, f"{len(candles)} of {needed} candles")
    close, before = candles["close"].iloc[-1], candles.iloc[:-1]
    if close > before["high"].tail(entry).max():
        return Target(Decimal(1), f"closed above the high of {entry} candles")
    if close < before["low"].tail(exit).min():
        return Target(Decimal(0), f"closed below the low of {exit} candles")
    return hold(position, "inside the range")
