"""For drills, not for trading: it wants an order in every cycle, whatever the market does."""

from decimal import Decimal

import pandas

from trading.sizing import Target


def in_and_out(candles: pandas.DataFrame, position: Decimal) -> Target:
    """Want everything while nothing is held, and nothing while anything is."""
    return Target(Decimal(0) if position > 0 else Decimal(1), f"a drill, on {len(candles)} candles")
