"""A simulated venue served in a thread of its own: tests of any event loop reach it over real HTTP."""

import asyncio
import json
import threading
from types import TracebackType
from typing import Any
from urllib.request import Request, urlopen

from simvenue.server import VenueServer


class RunningVenue:
    """One venue on a stepped clock from entering to leaving the context."""

    def __init__(self, exchange: str, **options: Any) -> None:
        self.server = VenueServer.build(exchange, **{"clock": "stepped", **options})
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._listening = threading.Event()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self.server.start())
        self._listening.set()
        self._loop.run_forever()

    def __enter__(self) -> "RunningVenue":
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        return self.server.base_url

    @property
    def api_key(self) -> str:
        return self.server.venue.secrets.api_key

    @property
    def api_secret(self) -> str:
        return self.server.venue.secrets.api_secret

    def control(self, path: str, **body: Any) -> Any:
        """Call the control side: GET without a body, POST with one."""
        data = json.dumps(body).encode() if body else None
        with urlopen(Request(f"{self.url}/_control/{path}", data=data), timeout=30) as reply:
            return json.load(reply)

    def advance(self, ms: int) -> None:
        """Let market time pass."""
        self.control("clock", advance_ms=ms)

    def now_ms(self) -> int:
        return int(self.control("clock")["now_ms"])

    def truth(self) -> Any:
        return self.control("truth")

    def true_order(self, order_id: str) -> Any:
        """Give one order as the venue itself knows it."""
        return next(order for order in self.truth()["orders"] if order["id"] == order_id)
