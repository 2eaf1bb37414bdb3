"""Buy in equal instalments at fixed times, and keep what was bought."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pandas

from strategies.holding import hold
from trading.sizing import Target


def dca(
    candles: pandas.DataFrame,
    position: Decimal,
    *,
    start: str | datetime,
    every_minutes: int = 1440,
    instalments: int = 10,
) -> Target:
    """Want one more instalment of the certified size every `every_minutes` from `start` (ISO time, UTC unless
    it says).

    The target follows from the time of the newest candle alone: however often a cycle repeats or restarts, an
    instalment is bought once. Starting late means catching up.
    """
    if every_minutes < 1 or instalments < 1:
        raise ValueError(
            f"dca needs every_minutes and instalments of at least 1, "
            f"was every_minutes={every_minutes}, instalments={instalments}"
        )
    begins = start if isinstance(start, datetime) else datetime.fromisoformat(start)
    if begins.tzinfo is None:
        begins = begins.replace(tzinfo=UTC)
    if candles.empty:
        return hold(position, "no candles")
    waited = candles.index[-1] - begins
    if waited < timedelta(0):
        return hold(position, f"the first instalment is due at {begins.isoformat()}")
    due = min(instalments, waited // timedelta(minutes=every_minutes) + 1)
    wanted = Decimal(due) / Decimal(instalments)
    if position >= wanted:
        return hold(position, f"instalment {due} of {instalments} is bought")
    return Target(wanted, f"instalment {due} of {instalments}")
