"""Keep the value of the holding steady: less of it when the price is above its average, more when it is
below."""

from decimal import Decimal

import pandas

from strategies.holding import hold
from trading.money import amount
from trading.sizing import Target


def rebalance(
    candles: pandas.DataFrame,
    position: Decimal,
    *,
    weight: str | Decimal = "0.5",
    window: int = 30,
    band: str | Decimal = "0.05",
) -> Target:
    """Want `weight` (fraction of the certified size) at the average close of `window` candles.

    The wanted fraction moves against the price; nothing is done while it is within `band` (a fraction of the
    certified size) of what is held.
    """
    middle, tolerance = amount(str(weight)), amount(str(band))
    if not (0 < middle <= 1 and 0 <= tolerance < 1 and window >= 1):
        raise ValueError(
            f"rebalance needs 0 < weight <= 1, 0 <= band < 1 and window >= 1, "
            f"was weight={weight}, band={band}, window={window}"
        )
    closes = candles["close"].tail(window)
    if len(closes) < window:
        return hold(position, f"{len(closes)} of {window} candles")
    # Four places: the target moves in steps that a person can read, not with every last digit of a float.
    ratio = Decimal(f"{closes.mean() / closes.iloc[-1]:.4f}")
    wanted = min(Decimal(1), middle * ratio)
    if abs(wanted - position) <= tolerance:
        return hold(position, f"within {tolerance} of the wanted part")
    return Target(wanted, f"{middle} of the certified size at the average price of {window} candles")
