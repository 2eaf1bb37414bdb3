"""Serves one simulated venue on loopback: the wire under /, the control side under /_control."""

import asyncio
import errno
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from aiohttp import web

from simvenue.build import build_venue, wire_class
from simvenue.control import PREFIX, Control, not_simulated
from simvenue.fault_front import StruckRequest
from simvenue.fault_settings import read_fault, set_fault
from simvenue.rates import first_full
from simvenue.venue import Venue
from simvenue.wire import Wire

PARENT_POLL_S = 0.5

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(venue: Venue, wire: Wire, limits: str) -> web.Application:
    """Build the web application. Before every call the market catches up with the clock."""
    windows = wire.limits(limits)

    @web.middleware
    async def front(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            body = await request.read()
        except web.RequestPayloadError:  # a body that cannot be unpacked
            request.content.feed_eof()  # or aiohttp reads on after the answer, fails again and resets the connection
            unreadable = web.Response(status=400, text="the body cannot be read")
            unreadable.force_close()
            return unreadable
        venue.catch_up()
        if request.path == PREFIX or request.path.startswith(PREFIX + "/"):
            return await handler(request)
        struck = StruckRequest(venue, wire, request, body)
        unreached = struck.unreached()
        if unreached is not None:
            return unreached
        struck.set_clock()
        now = venue.now_ms()
        venue.requests.count(now)
        full = first_full(windows, request, body, now)
        if full is not None:
            venue.requests.refused_for_rate += 1
            return struck.stamped(wire.rate_refusal(request, full))

        async def carry_out() -> web.StreamResponse:
            if request.match_info.http_exception is not None:
                return wire.not_found(request)
            return await handler(request)

        return await struck.answer(carry_out)

    app = web.Application(middlewares=[front])
    app.add_routes(Control(venue).routes())
    app.add_routes(wire.routes())
    return app


class VenueServer:
    """One venue in this event loop, from `start` to `stop`."""

    def __init__(self, venue: Venue, wire: Wire, *, limits: str = "published") -> None:
        self.venue = venue
        self.wire = wire
        self.base_url = ""
        venue.order_id_maker, venue.fill_id_maker = wire.order_id, wire.fill_id
        self._runner = web.AppRunner(
            make_app(venue, wire, limits),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=0.2,
            handler_cancellation=True,  # who waits for a client that has gone (hang, slow) stops waiting
        )

    @classmethod
    def build(
        cls,
        exchange: str,
        *,
        clock: str = "wall",
        candles: Path | None = None,
        seed: int = 1,
        limits: str = "published",
        faults: Sequence[str] = (),
    ) -> "VenueServer":
        """Put a venue together by name; `faults` are set from the start, as NAME[=VALUE][@OPERATION][xTIMES].

        Raises ValueError, one line, for an unknown name or a bad file.
        """
        make_wire = wire_class(exchange)
        asked = [read_fault(text) for text in faults]
        venue = build_venue(make_wire.spec, mode=clock, candles=candles, seed=seed)
        server = cls(venue, make_wire(venue), limits=limits)
        for fault in asked:
            set_fault(venue, fault)
        return server

    async def start(self, host: str = "127.0.0.1", port: int | None = None) -> None:
        """Listen; port None or 0 takes a free one. Raises ValueError when the port is in use."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port or 0)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise ValueError(f"port {port} on {host} {why}: choose another with --port") from error
        self.base_url = f"http://{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    def announcement(self) -> dict[str, str]:
        """Give what a client needs: the line that is printed at start."""
        secrets = self.venue.secrets
        return {
            "exchange": self.venue.spec.name,
            "base_url": self.base_url,
            "api_key": secrets.api_key,
            "api_secret": secrets.api_secret,
            "passphrase": secrets.passphrase,
            "control_url": self.base_url + PREFIX,
        }


async def serve(server: VenueServer, *, host: str, port: int | None, parent: int | None) -> None:
    """Serve until SIGTERM, SIGINT or the end of process `parent`. The first line on stdout is JSON."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await server.start(host, port)
    print(json.dumps(server.announcement()), flush=True)  # noqa: T201 the contract of this command
    _say(f"{server.venue.spec.name} is simulated at {server.base_url}; not simulated are:")
    for line in not_simulated(server.venue):
        _say(f"- {line}")
    watch = asyncio.create_task(_when_gone(parent, stopped.set)) if parent is not None else None
    await stopped.wait()
    if watch is not None:
        watch.cancel()
    await server.stop()


async def _when_gone(pid: int, then: Callable[[], None]) -> None:
    is_own = os.getppid() == pid
    while _is_alive(pid) and not (is_own and os.getppid() != pid):  # noqa: ASYNC110 nothing tells us
        await asyncio.sleep(PARENT_POLL_S)
    then()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, as somebody else's
        return True
    return True


def run(
    exchange: str,
    *,
    port: int | None = None,
    host: str = "127.0.0.1",
    candles: Path | None = None,
    seed: int = 1,
    limits: str = "published",
    clock: str = "wall",
    parent: int | None = None,
    faults: Sequence[str] = (),
) -> int:
    """Serve one venue in the foreground; give the exit status: 0 stopped, 2 with one line on stderr."""
    try:
        server = VenueServer.build(exchange, clock=clock, candles=candles, seed=seed, limits=limits, faults=faults)
        asyncio.run(serve(server, host=host, port=port, parent=parent))
    except ValueError as error:
        _say(str(error))
        return 2
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 words for people; stdout holds the JSON line
