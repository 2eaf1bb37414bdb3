"""A strategy for tests that always wants what it has not."""

from decimal import Decimal

import pandas

from trading.sizing import Target


def restless(candles: pandas.DataFrame, position: Decimal) -> Target:
    """Everything when nothing is held, nothing when anything is."""
    return Target(Decimal(0) if position > 0 else Decimal(1), f"{len(candles)} candles")
