"""Leave the position as it is."""

from decimal import Decimal

from trading.sizing import Target


def hold(position: Decimal, reason: str) -> Target:
    """Want what is held (as a fraction of the certified size), or the full size where more than that is
    held."""
    return Target(max(Decimal(-1), min(Decimal(1), position)), f"hold: {reason}")
