"""A strategy for tests that always wants what it has not."""

from decimal import Decimal

import pandas

from trading.sizing import Target


def restless(candles: pandas.DataFrame, position: Decimal) -> Target:
    """Everything when little is held, nothing when much is; a fee in base leaves dust that cannot be sold."""
    return Target(Decimal(0) if position > Decimal("0.5") else Decimal(1), f"{len(candles)} candles")


def leaves(candles: pandas.DataFrame, position: Decimal) -> Target:
    """What a script does that was not written to be called."""
    raise SystemExit(3)
