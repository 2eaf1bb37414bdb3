"""Where the faults of answers strike: between the door of a venue and its wire.

A request is struck by at most one fault that takes its answer's place; `slow` delays whatever comes, and `clock_skew`
is told and judged by whatever answers. Waiting ends when the client gives up or the server stops.
"""

import asyncio
from collections.abc import Awaitable, Callable
from email.utils import formatdate

from aiohttp import web

from simvenue.answer_faults import (
    CANCELLING,
    CHANGING,
    DRAWN_AT_CHANGES,
    DRAWN_AT_READS,
    DRAWN_SLOW_S,
    OPERATIONS,
    USUAL,
    seconds_of,
    share_of,
    status_of,
    usual_operations,
)
from simvenue.faults import Fault
from simvenue.pages import page
from simvenue.venue import Venue
from simvenue.wire import Wire

CarryOut = Callable[[], Awaitable[web.StreamResponse]]
BEFORE = ("maintenance", "forbidden", "rate_limited_html", "rate_limited", "auth_revoked", "cancel_refused")
AFTER = ("lost_ack", "cancel_lost_ack", "hang", "ack_500", "ack_empty", "ack_html", "ack_truncated")


class StruckRequest:
    """One request of the wire, and the faults that strike at it."""

    def __init__(self, venue: Venue, wire: Wire, request: web.Request, body: bytes) -> None:
        """Name its operation and, where `random` is set, draw for it."""
        self._venue = venue
        self._wire = wire
        self._request = request
        self._body = body
        self._operation = wire.operation(request, body)
        self._drawn = self._draw()
        self._skewed = False

    def unreached(self) -> web.StreamResponse | None:
        """Answer for a venue that is not reached: such a request is no request of the venue, and nothing counts it."""
        fault = self._strikes("unavailable")
        if fault is None:
            return None
        return self._drop() if fault.value == "reset" else page(503)

    def set_clock(self) -> None:
        """Let the venue's wall clock differ from ours while this request is judged and answered."""
        fault = self._strikes("clock_skew")
        self._skewed = fault is not None
        self._venue.clock.skew_ms = int(seconds_of(fault.name, fault.value) * 1000) if fault is not None else 0

    def stamped(self, answer: web.StreamResponse) -> web.StreamResponse:
        """Tell a clock that differs from ours in the Date header too."""
        if self._skewed:
            answer.headers["Date"] = formatdate(self._venue.clock.wall_ms() / 1000, usegmt=True)
        return answer

    async def answer(self, carry_out: CarryOut) -> web.StreamResponse:
        """Carry the request out and answer it, or what the faults leave of that."""
        answer = self._refusal()
        if answer is None:
            answer = await self._carried_out(carry_out)
        late = self._strikes("slow")
        if late is not None:
            await asyncio.sleep(seconds_of(late.name, late.value))
        return self.stamped(answer)

    def _refusal(self) -> web.StreamResponse | None:
        """Find what keeps the request from being carried out."""
        for name in BEFORE:
            if name == "auth_revoked" and not self._wire.needs_key(self._request):
                continue
            if self._strikes(name) is not None:
                refusal = page(403) if name == "forbidden" else self._refused(name)
                if refusal is not None:
                    return refusal
        if self._strikes("lost_request") is not None:
            return self._drop()
        broken = self._strikes("cancel_500")
        return self._error(broken) if broken is not None else None

    async def _carried_out(self, carry_out: CarryOut) -> web.StreamResponse:
        answer = await carry_out()
        fault = next(filter(None, map(self._strikes, AFTER)), None)
        if fault is None:
            return answer
        if fault.name == "hang":
            await asyncio.sleep(seconds_of(fault.name, fault.value))
        if fault.name in ("lost_ack", "cancel_lost_ack", "hang"):
            return self._drop()
        if fault.name == "ack_500":
            return self._error(fault)
        return page(200) if fault.name == "ack_html" else _cut(answer, keep_half=fault.name == "ack_truncated")

    def _error(self, fault: Fault) -> web.StreamResponse:
        """Answer with a 5xx: 500 in the venue's own form, another status with the page of a gateway."""
        status = status_of(fault.name, fault.value)
        own = self._refused("server_error") if status == 500 else None
        return page(status) if own is None else own

    def _refused(self, why: str) -> web.StreamResponse | None:
        return self._wire.refusal(why, self._request, self._body, self._operation)

    def _drop(self) -> web.StreamResponse:
        """Cut the connection; what is returned goes nowhere."""
        if self._request.transport is not None:
            self._request.transport.abort()
        return web.Response()

    def _strikes(self, name: str) -> Fault | None:
        """Find a fault that strikes here, the drawn one or one that is set; one of its times is used up."""
        if self._drawn is not None and self._drawn.name == name:
            return self._drawn
        return self._venue.faults.strike(name, self._operation, usual_operations(name))

    def _draw(self) -> Fault | None:
        faults, rng = self._venue.faults, self._venue.fault_rng
        asked = faults.there("random", self._operation, OPERATIONS)
        if asked is None:
            return None
        share, named = share_of(asked.value)
        changing = self._operation in CHANGING
        names = named or (DRAWN_AT_CHANGES if changing else DRAWN_AT_READS)
        names = tuple(name for name in names if USUAL.get(name) != CANCELLING or self._operation in CANCELLING)
        if rng.random() >= share or not names:
            return None
        faults.strike("random", self._operation, OPERATIONS)
        name = rng.choice(names)
        return Fault(name, str(DRAWN_SLOW_S) if name == "slow" else "")


def _cut(answer: web.StreamResponse, *, keep_half: bool) -> web.StreamResponse:
    """Answer 200 with nothing, or with the first half of what was to be said."""
    body = answer.body if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else b""
    kept = (body[: len(body) // 2] or b"{") if keep_half else b""
    return web.Response(body=kept, content_type="application/json")
