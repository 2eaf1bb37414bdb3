"""The way to Prefect's API in a drill: a door that can be shut, and a stand-in for its health."""

import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit


class Gate:
    """Hands connections on to Prefect's server; while it is shut, none is taken and those that were are cut."""

    def __init__(self, port: int) -> None:
        """Listen on `port` of loopback."""
        self.api = f"http://127.0.0.1:{port}/api"
        self._port = port
        self._behind: int | None = None
        self._listening: socket.socket | None = None
        self._open: set[socket.socket] = set()

    def leads_to(self, api: str) -> None:
        """Open the door to the API at `api`."""
        self._behind = urlsplit(api).port
        self._listen()

    @contextlib.contextmanager
    def shut(self) -> Iterator[None]:
        """Keep the door shut for the length of the block."""
        self.close()
        try:
            yield
        finally:
            self._listen()

    def close(self) -> None:
        """Take no more connections and cut those that there are."""
        listening, self._listening = self._listening, None
        for each in (*([listening] if listening else []), *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def _listen(self) -> None:
        self._listening = listening = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._take, args=(listening,), daemon=True).start()

    def _take(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
                behind = socket.create_connection(("127.0.0.1", self._behind or 0))
            except OSError:
                return
            self._open |= {client, behind}
            for source, sink in ((client, behind), (behind, client)):
                threading.Thread(target=self._hand_on, args=(source, sink), daemon=True).start()

    def _hand_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while told := source.recv(65536):
                sink.sendall(told)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
            self._open.discard(each)


@contextlib.contextmanager
def healthy_stand_in() -> Iterator[str]:
    """An address that answers like a healthy Prefect API, for traders whose cycles are not recorded there."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Healthy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api"
    finally:
        server.shutdown()
        server.server_close()


class _Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: what is asked here is no news."""
