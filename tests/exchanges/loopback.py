"""A venue made of prepared answers: what an adapter really sends, and what it makes of an answer."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from config.credentials import Credentials
from config.secret import Secret
from exchanges.budget import RequestBudget, Window
from exchanges.transport import Wiring

NOW = datetime(2026, 1, 5, 12, 0, 30, tzinfo=UTC)


class StillClock:
    """Market time that moves only by sleeping, at once."""

    def __init__(self, now: datetime = NOW) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Asked:
    """One request as it arrived. `body` is the text that was signed."""

    method: str
    path: str
    query: dict[str, str]
    body: str
    headers: dict[str, str]

    @property
    def told(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Said:
    """An answer that is not simply 200 and JSON."""

    status: int
    text: str
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


Answer = Callable[[Asked], Any]


@dataclass
class Venue:
    """Answers by `METHOD path`, `anything` to what has no answer of its own; a function gets the request, all else is
    sent as it is.
    """

    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    anything: Any = field(default_factory=lambda: Said(404, "no such path", "text/plain"))

    def paths(self) -> list[str]:
        return [f"{each.method} {each.path}" for each in self.asked]

    async def handle(self, request: web.Request) -> web.Response:
        asked = Asked(
            request.method,
            request.path,
            dict(request.query),
            await request.text(),
            dict(request.headers),
        )
        self.asked.append(asked)
        answer = self.answers.get(f"{asked.method} {asked.path}", self.anything)
        if callable(answer):
            answer = answer(asked)
        if isinstance(answer, Said):
            return web.Response(
                status=answer.status, text=answer.text, content_type=answer.content_type, headers=answer.headers
            )
        return web.Response(text=json.dumps(answer), content_type="application/json")


@asynccontextmanager
async def loopback() -> AsyncIterator[Venue]:
    """Serve a venue of prepared answers on 127.0.0.1."""
    venue = Venue()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", venue.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    venue.url = f"http://{host}:{port}"
    try:
        yield venue
    finally:
        await runner.cleanup()


def wiring(venue: Venue, folder: Path, clock: StillClock, **changes: Any) -> Wiring:
    """Wiring to the venue with a wide budget and one attempt a read."""
    per_minute = Window("test a minute", 100_000, 60.0)
    windows = (per_minute, Window("longest", 1, 300.0))
    settings: dict[str, Any] = {
        "clock": clock,
        "budget": RequestBudget(folder / "budget", windows, clock, margin=1, cancel_reserve=0),
        "per_minute": per_minute,
        "credentials": Credentials(Secret("test-key"), Secret("test-secret"), Secret("")),
        "base_url": venue.url,
        "may_trade": True,
        "attempts": 1,
    }
    return Wiring(**{**settings, **changes})
