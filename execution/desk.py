"""The desk: all that one account needs to carry out orders, and the rules for working at it.

One desk per account and process. What changes an order's fate (placing, reconciling) happens one at a time
(`turn`), and once begun it is seen through: a cancelled task ends when the outcome is in the ledger, not
before.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from config.settings import ExecutionSettings
from exchanges.base import Exchange
from execution.tally import Tally
from services.clock import Clock
from services.ledger import Lease, Ledger
from trading.certificates import Fingerprint
from trading.pnl import EquityPoint
from trading.reconcile import Discrepancy

T = TypeVar("T")

# A late copy of a request is refused by the venue itself after its request window: Bybit 5 s, OKJ 30 s,
# bitbank 5 s. bitFlyer has no such window (docs/venues.md#bitflyer): only the order's own lifetime bounds
# what may still appear.
_WITHOUT_REQUEST_WINDOW = frozenset({"bitflyer"})
_WIDEST_REQUEST_WINDOW_SECONDS = 35.0
# How long bitFlyer has been seen to hide an order that it had already accepted (docs/venues.md#bitflyer).
_LATEST_SIGHT_SECONDS = 600.0


@dataclass
class Desk:
    """One account: its exchange, its ledger, its clock, its right to write.

    `home` is where a latch file may lie; `order_lifetime_minutes` how long an order nobody knows of can live
    at a venue that has no request window (bitFlyer: the `minute_to_expire` that the adapter puts on every
    order).
    """

    account: str
    exchange: Exchange
    ledger: Ledger
    clock: Clock
    lease: Lease
    settings: ExecutionSettings
    home: Path | None = None
    order_lifetime_minutes: int = 60
    running: Fingerprint | None = None  # of what this process runs; the certificate must be for the same
    told_differences: tuple[Discrepancy, ...] = field(default=(), repr=False)  # in the last look at the books
    tally: Tally = field(default_factory=Tally, repr=False)  # what its fills come to
    # by purse: the day that was last asked about (its midnight, UTC) and the equity with which it began
    day_starts: dict[str, tuple[datetime, EquityPoint]] = field(default_factory=dict, repr=False)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    def absence_after(self, *, accepted: bool) -> timedelta:
        """How long after sending an order that is found nowhere can be called absent.

        `accepted`: the venue has answered with an id, so that the order can only be late in the lists.
        """
        return absence_after(
            self.exchange.name,
            self.settings.unknown_patience,
            order_lifetime_minutes=self.order_lifetime_minutes,
            accepted=accepted,
        )


def absence_after(venue: str, patience_seconds: float, *, order_lifetime_minutes: int, accepted: bool) -> timedelta:
    """The time after sending from which "found nowhere" is proof at a venue; never less than the patience."""
    if venue not in _WITHOUT_REQUEST_WINDOW:
        return timedelta(seconds=max(patience_seconds, _WIDEST_REQUEST_WINDOW_SECONDS))
    longest = _LATEST_SIGHT_SECONDS if accepted else order_lifetime_minutes * 60
    return timedelta(seconds=max(patience_seconds, longest))


async def see_through(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end even when the calling task is cancelled, and only then let the cancellation
    through.

    SIGTERM while an order is on its way thus ends in a recorded state. When the event loop itself ends
    `work`, the work's own handling of CancelledError is the last word.
    """
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait((task,))  # unlike a plain await, this leaves the task alone when we are cancelled
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError from (None if task.cancelled() else task.exception())
    return task.result()
