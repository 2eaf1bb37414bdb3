"""For drills, not for trading: it wants an order in every cycle, whatever the market does."""

from decimal import Decimal

import pandas

from trading.sizing import Target

_HALF = Decimal("0.5")


def in_and_out(candles: pandas.DataFrame, position: Decimal) -> Target:
    """Want everything while less than half of it is held (dust, a part of an order), and nothing while more is."""
    return Target(Decimal(0) if position >= _HALF else Decimal(1), f"a drill, on {len(candles)} candles")
