"""The way between client and venue, without a socket: ccxt's session on one side, the venue's application on the
other, and in between whatever can befall a request.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.streams import EmptyStreamReader
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from simvenue.server import make_app
from simvenue.venue import Venue
from simvenue.wire import Wire
from tests.simulation.life import Life

# How long after it was sent a copy of a request may still reach a venue, seconds of market time. The venue would refuse
# a later one by its request window, which the simulated venue judges on the wall clock: the simulation keeps to it.
LATEST_ARRIVAL = {"bybit": 5.0, "bitbank": 3.0, "okcoinjp": 30.0, "bitflyer": 60.0}
_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>"

AT_READS = ("lost_ack", "error_before", "error_after", "empty", "html", "truncated", "slow", "rate", "twice")
AT_CHANGES = (
    "lost_request",
    "lost_request",
    "lost_ack",
    "lost_ack",
    "late_arrival",
    "late_arrival",
    "error_before",
    "error_after",
    "empty",
    "html",
    "truncated",
    "slow",
    "rate",
    "no_connection",
)


@dataclass
class Answer:
    """What a client hears."""

    status: int
    body: bytes
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    reason: str = ""

    async def text(self, **_: object) -> str:
        return self.body.decode("utf-8", "replace")


class _Transport:
    """Stands where the server's socket would be."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default


class _Protocol:
    """What aiohttp's request asks of the connection that it came by."""

    ssl_context = None
    peername = ("127.0.0.1", 1)
    sockname = ("127.0.0.1", 2)

    def __init__(self) -> None:
        self.transport = _Transport()
        self._reading_paused = False

    def force_close(self) -> None:
        self.transport.close()


class Connection:
    """Carries requests to one venue. `rate`: how many of them something befalls; 0 leaves them alone."""

    def __init__(self, venue: Venue, wire: Wire, limits: str, dice: Random, tell: Callable[[str], None]) -> None:
        self.venue = venue
        self.rate = 0.0
        self.latency = True
        self.requests = 0
        self.on_handled: Callable[[], None] = lambda: None
        self._wire = wire
        self._app = make_app(venue, wire, limits)
        self._app.freeze()
        self._window = wire.limits("guide")[0]
        self._dice = dice
        self._tell = tell
        self._under_way: set[asyncio.Task[None]] = set()

    async def exchange(self, life: Life, method: str, url: URL, headers: Any, body: bytes, patience: float) -> Answer:
        """One request and its answer; raises what aiohttp would, or Killed."""
        life.check()
        self.requests += 1
        fault = self._draw(method)
        self._tell(f"{life.name} {method} {url.path}{f' [{fault}]' if fault else ''}")
        life.step(f"before {method} {url.path}")
        if fault == "no_connection":
            raise aiohttp.ClientConnectorError(_key(), OSError(111, "refused"))
        await self._pass_time(0.01, 0.2)
        if fault in ("lost_request", "late_arrival"):
            if fault == "late_arrival":
                self._send_later(method, url, headers, body)
            raise aiohttp.ServerDisconnectedError
        life.check()
        answer = await self._answer(method, url, headers, body, fault)
        # The process may end while the answer is on its way.
        life.step(f"after {method} {url.path} -> {answer.status if answer else 'nothing'}", 3 if method != "GET" else 1)
        if fault == "slow":
            delay = self._dice.choice((1.0, 4.0, 30.0))
            await asyncio.sleep(min(delay, patience))
            if delay > patience:
                raise TimeoutError
        await self._pass_time(0.01, 0.2)
        life.check()
        if answer is None or fault == "lost_ack":
            raise aiohttp.ServerDisconnectedError
        return answer

    async def settle(self) -> None:
        """Wait until nothing is under way any more."""
        while self._under_way:
            await asyncio.wait(set(self._under_way))

    def _draw(self, method: str) -> str:
        reads = method == "GET"
        if self._dice.random() >= self.rate * (1 if reads else 3):
            return ""
        return self._dice.choice(AT_READS if reads else AT_CHANGES)

    async def _pass_time(self, low: float, high: float) -> None:
        if self.latency:
            await asyncio.sleep(self._dice.uniform(low, high))

    def _send_later(self, method: str, url: URL, headers: Any, body: bytes) -> None:
        async def deliver() -> None:
            await asyncio.sleep(self._dice.uniform(0.5, LATEST_ARRIVAL[self.venue.spec.name]))
            self._tell(f"late {method} {url.path} arrives")
            await self._handle(method, url, headers, body)

        task = asyncio.get_running_loop().create_task(deliver())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _answer(self, method: str, url: URL, headers: Any, body: bytes, fault: str) -> Answer | None:
        if fault == "error_before":
            return Answer(self._dice.choice((500, 502, 503)), _PAGE)
        if fault == "rate":
            request = _request(method, url, headers, body)
            request._match_info = await self._app.router.resolve(request)  # type: ignore[assignment]
            self.venue.catch_up()
            return _heard(self._wire.rate_refusal(request, self._window))
        if fault == "twice":
            await self._handle(method, url, headers, body)
        answer = await self._handle(method, url, headers, body)
        if answer is None:
            return None
        if fault == "error_after":
            return Answer(self._dice.choice((500, 502, 504)), _PAGE)
        if fault == "empty":
            return Answer(200, b"", answer.headers)
        if fault == "html":
            return Answer(200, _PAGE)
        if fault == "truncated":
            return Answer(200, answer.body[: len(answer.body) // 2], answer.headers)
        return answer

    async def _handle(self, method: str, url: URL, headers: Any, body: bytes) -> Answer | None:
        """The venue acts on a request; None: it closed the connection instead of answering."""
        request = _request(method, url, headers, body)
        response = await self._app._handle(request)
        self.on_handled()
        if request.protocol.transport.closed:  # type: ignore[union-attr]
            return None
        return _heard(response)


class Session:
    """What ccxt takes for an aiohttp session, for one life of a trader."""

    def __init__(self, connection: Connection, life: Life) -> None:
        self.headers: dict[str, str] = {}
        self._connection = connection
        self._life = life

    def _call(self, method: str, url: URL, data: bytes | None, headers: Any, timeout: Any) -> "_Pending":
        seconds = timeout.total
        return _Pending(lambda: self._connection.exchange(self._life, method, url, headers, data or b"", seconds))

    def get(self, url: URL, *, data: Any, headers: Any, timeout: Any, proxy: Any) -> "_Pending":
        return self._call("GET", url, data, headers, timeout)

    def post(self, url: URL, *, data: Any, headers: Any, timeout: Any, proxy: Any) -> "_Pending":
        return self._call("POST", url, data, headers, timeout)

    async def close(self) -> None:
        return None


class _Pending:
    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask = ask

    async def __aenter__(self) -> Answer:
        answer: Answer = await self._ask()
        return answer

    async def __aexit__(self, *_: object) -> None:
        return None


def _key() -> Any:
    return aiohttp.client_reqrep.ConnectionKey("venue", 80, False, True, None, None, None)


def _request(method: str, url: URL, headers: Any, body: bytes) -> web.Request:
    named = CIMultiDict({str(name): str(value) for name, value in headers.items()})
    named.setdefault("Host", "127.0.0.1")
    path = url.raw_path_qs
    raw = tuple((name.encode(), value.encode()) for name, value in named.items())
    message = RawRequestMessage(
        method, path, HttpVersion11, CIMultiDictProxy(named), raw, False, None, False, False, URL(path, encoded=True)
    )
    loop = asyncio.get_running_loop()
    protocol: Any = _Protocol()
    task: Any = asyncio.current_task()
    request = web.Request(message, EmptyStreamReader(), protocol, None, task, loop, client_max_size=2**20)  # type: ignore[arg-type]
    request._read_bytes = body
    return request


def _heard(response: Any) -> Answer:
    body = response.body
    return Answer(response.status, bytes(body or b""), CIMultiDict(response.headers), response.reason or "")
