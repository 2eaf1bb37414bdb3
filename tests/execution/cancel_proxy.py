"""A proxy on loopback before a simulated venue that answers cancels with 502, or not at all, while it is told to."""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

_HOP = {"content-length", "transfer-encoding", "connection", "content-encoding"}


@dataclass
class CancelProxy:
    """`fails`: what a cancel comes to: "" (goes through), "502", "hang"; `times`: so often (None: always)."""

    upstream: str
    fails: str = ""
    times: int | None = None
    url: str = ""
    requests: Counter[str] = field(default_factory=Counter)
    cancel_arrived: threading.Event = field(default_factory=threading.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Pass the request on, unless it is a cancel that fails."""
        is_cancel = "cancel" in request.path
        self.requests["cancel" if is_cancel else "other"] += 1
        if is_cancel:
            self.cancel_arrived.set()
        if is_cancel and self.fails and self.times != 0:
            self.times = None if self.times is None else self.times - 1
            if self.fails == "hang":
                await asyncio.sleep(3600)
            return web.Response(status=502, text="<html>bad gateway</html>", content_type="text/html")
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method,
                self.upstream + request.path_qs,
                headers=headers,
                data=await request.read(),
                skip_auto_headers=("Content-Type",),
            ) as reply,
        ):
            kept = {name: value for name, value in reply.headers.items() if name.lower() not in _HOP}
            return web.Response(status=reply.status, headers=kept, body=await reply.read())


@contextlib.contextmanager
def cancel_proxy(upstream: str, fails: str = "", times: int | None = None) -> Iterator[CancelProxy]:
    """Serve a proxy in a thread of its own for the length of the block."""
    proxy, loop, ready = CancelProxy(upstream.rstrip("/"), fails, times), asyncio.new_event_loop(), threading.Event()

    async def serve() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", proxy.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(serve())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
