"""A user's own strategy, as the tests find it by dotted path."""

from decimal import Decimal

import pandas

from trading.sizing import Target

NOT_A_FUNCTION = 7


def always(candles: pandas.DataFrame, position: Decimal, *, part: str = "1") -> Target:
    return Target(Decimal(part), f"{len(candles)} candles")
