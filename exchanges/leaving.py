"""An order leaves soon after it was written down as sent, or never.

All that reckons with orders on their way does so from that moment: the emergency stop, the search for a lost order, and
another host that has taken the account over. A process that was held up in between (stopped, its machine asleep or
starved) must not send what everybody else has given up by then.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from services.clock import seconds_since_boot

# With the widest request window of the venues (30 s) this stays within the 35 s after which an order that is found
# nowhere is called absent.
LATEST_LEAVING_SECONDS = 5.0

_written: ContextVar[tuple[Callable[[], float], float] | None] = ContextVar("clock and moment of writing", default=None)


@contextmanager
def written_down(steady: Callable[[], float] = seconds_since_boot) -> Iterator[None]:
    """Enter before the order is written down as sent; what is placed inside is refused when it would leave too late."""
    token = _written.set((steady, steady()))
    try:
        yield
    finally:
        _written.reset(token)


def late_by() -> float:
    """Seconds since the order under way was written down, where they are too many; else 0."""
    told = _written.get()
    if told is None:
        return 0.0
    steady, began = told
    waited = steady() - began
    return waited if waited > LATEST_LEAVING_SECONDS else 0.0
