"""Rate limits, counted in market time."""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

Weigh = Callable[[web.Request, bytes], int]

MINUTES_REMEMBERED = 200_000  # about 139 days of market; older minutes are dropped


@dataclass
class RateWindow:
    """At most `limit` admitted requests in any `window_ms` of market time.

    `weigh(request, raw_body)` says how much a request counts here, 0 = not at all. Refused ones do not count.
    """

    name: str
    limit: int
    window_ms: int
    weigh: Weigh
    _admitted: deque[tuple[int, int]] = field(default_factory=deque, repr=False)
    _sum: int = field(default=0, repr=False)

    def used(self, now_ms: int) -> int:
        """Give the weight inside the window that ends now."""
        while self._admitted and self._admitted[0][0] <= now_ms - self.window_ms:
            self._sum -= self._admitted.popleft()[1]
        return self._sum

    def has_room(self, now_ms: int, weight: int) -> bool:
        return self.used(now_ms) + weight <= self.limit

    def admit(self, now_ms: int, weight: int) -> None:
        self._admitted.append((now_ms, weight))
        self._sum += weight

    def remaining(self, now_ms: int) -> int:
        return max(0, self.limit - self.used(now_ms))

    def resets_at(self, now_ms: int) -> int:
        """Give the market time in ms at which the oldest counted request leaves; now when empty."""
        self.used(now_ms)
        return self._admitted[0][0] + self.window_ms if self._admitted else now_ms


class RequestCounts:
    """How many wire requests came in which market minute. Refused ones count too, control calls never."""

    def __init__(self) -> None:
        self.total = 0
        self.refused_for_rate = 0
        self._by_minute: OrderedDict[int, int] = OrderedDict()

    def count(self, now_ms: int) -> None:
        minute = now_ms - now_ms % 60_000
        self.total += 1
        self._by_minute[minute] = self._by_minute.get(minute, 0) + 1
        if len(self._by_minute) > MINUTES_REMEMBERED:
            self._by_minute.popitem(last=False)

    def by_minute(self) -> dict[int, int]:
        """Give {start of the market minute in ms: requests}, the newest 200,000 minutes that had any."""
        return dict(self._by_minute)


def first_full(windows: list[RateWindow], request: web.Request, body: bytes, now_ms: int) -> RateWindow | None:
    """Admit a request into every window that it counts in, or into none and give the first without room."""
    weights = [(window, window.weigh(request, body)) for window in windows]
    for window, weight in weights:
        if weight and not window.has_room(now_ms, weight):
            return window
    for window, weight in weights:
        if weight:
            window.admit(now_ms, weight)
    return None
