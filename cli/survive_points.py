"""Named points of the order path at which a drill's trader kills its own process, or is held up.

The order path knows nothing of them: the drill puts thin wrappers around the trader's ledger and exchange, which watch
the calls go by.
"""

import asyncio
import json
import os
import signal
import time
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from trading.orders import SEEN, Event

_SIGHTINGS = frozenset(SEEN.values())
_ENDINGS = frozenset({Event.SEEN_CANCELLED, Event.SEEN_FILLED, Event.SEEN_EXPIRED})
_LONGEST_OUT_SECONDS = 5.0


@dataclass(frozen=True)
class Point:
    """A call of the ledger or the exchange, and whether before it, after it, or while its request is out.

    `events`: only these events of `Ledger.record`. `style`: with orders of this style the point is reached.
    """

    room: str  # ledger or exchange
    call: str
    when: str  # before, after, out
    events: frozenset[Event] = frozenset()
    style: str = "taker"


POINTS: dict[str, Point] = {
    "place.before_intent": Point("ledger", "write_intent", "before"),
    "place.intent_written": Point("ledger", "write_intent", "after"),
    "place.sent_written": Point("ledger", "record", "after", frozenset({Event.SENT})),
    "place.request_out": Point("exchange", "place", "out"),
    "place.answered": Point("ledger", "record", "before", frozenset({Event.ACKED})),
    "place.acked": Point("ledger", "record", "after", frozenset({Event.ACKED})),
    "follow.told": Point("exchange", "order", "after"),
    "follow.seen": Point("ledger", "record", "after", _SIGHTINGS),
    "record.fills_before": Point("ledger", "record_fills", "before"),
    "record.fills_written": Point("ledger", "record_fills", "after"),
    "cancel.before": Point("ledger", "record", "before", frozenset({Event.CANCEL_SENT}), "maker"),
    "cancel.written": Point("ledger", "record", "after", frozenset({Event.CANCEL_SENT}), "maker"),
    "cancel.request_out": Point("exchange", "cancel", "out", style="maker"),
    "cancel.answered": Point("exchange", "cancel", "after", style="maker"),
    "cancel.recorded": Point("ledger", "record", "after", _ENDINGS, "maker"),
    "reconcile.listed": Point("exchange", "open_orders", "after", style="maker"),
    "reconcile.balances_read": Point("exchange", "balances", "after", style="maker"),
    "reconcile.balances_written": Point("ledger", "record_balances", "after"),
}

Act = Callable[[], Awaitable[None]]


class Watch:
    """Waits for the n-th time that a point is reached, and acts once: `act` kills, or tells the drill and waits."""

    def __init__(self, control_url: str) -> None:
        self._control_url = control_url
        self._point: Point | None = None
        self._left = 0
        self._act: Callable[[], float] = die

    def arm(self, point: str, nth: int, act: Callable[[], float] | None = None) -> None:
        """Have `act` done at the n-th time from now on; default: this process dies. `act` gives the seconds for which
        an answer of the exchange is then held up.
        """
        self._point, self._left, self._act = POINTS[point], nth, act or die

    def ledger_call(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The ledger's method, watched."""

        def watched(*words: Any, **named: Any) -> Any:
            if self._meets("ledger", name, "before", words):
                self._act()
            result = call(*words, **named)
            if self._meets("ledger", name, "after", words):
                self._act()
            return result

        return watched

    def exchange_call(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The exchange's method, watched."""

        async def watched(*words: Any, **named: Any) -> Any:
            if self._meets("exchange", name, "out", words):
                return await self._while_out(call(*words, **named))
            result = await call(*words, **named)
            if self._meets("exchange", name, "after", words):
                self._act()
            return result

        return watched

    def _meets(self, room: str, call: str, when: str, words: tuple[Any, ...]) -> bool:
        point = self._point
        if point is None or (point.room, point.call, point.when) != (room, call, when):
            return False
        if point.events and words[2] not in point.events:
            return False
        self._left -= 1
        if self._left > 0:
            return False
        self._point = None
        return True

    async def _while_out(self, request: Awaitable[Any]) -> Any:
        """Act once the venue has carried the request out, before its answer is heard; then hand the answer on."""
        before = _orders_at(self._control_url)
        sending = asyncio.ensure_future(request)
        deadline = time.monotonic() + _LONGEST_OUT_SECONDS
        # The look at the venue blocks the event loop on purpose: meanwhile no answer can be heard.
        while not sending.done() and _orders_at(self._control_url) == before and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        held = self._act()
        answer = await sending
        await asyncio.sleep(held)
        return answer


class Watched:
    """A ledger or an exchange whose calls pass by a watch."""

    def __init__(self, inner: Any, wrap: Callable[[str, Callable[..., Any]], Callable[..., Any]], room: str) -> None:
        self._inner = inner
        self._wrap = wrap
        self._names = {point.call for point in POINTS.values() if point.room == room}

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        return self._wrap(name, value) if name in self._names else value


def die() -> float:
    """End this process as a power cut would: nothing is unwound."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0.0


def _orders_at(control_url: str) -> list[tuple[str, str]]:
    with urllib.request.urlopen(f"{control_url}/truth", timeout=5) as reply:
        return [(row["id"], row["status"]) for row in json.load(reply)["orders"]]
