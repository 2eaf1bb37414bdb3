"""Where alerts arrive in tests: a web server and a mail server on loopback that keep what they are sent."""

import contextlib
import json
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Arrived:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: str

    @property
    def told(self) -> Any:
        return json.loads(self.body)


@dataclass
class WebSink:
    """A web server that takes everything; `status` is what it answers, at a byte each 0.1 s where it `drips`."""

    port: int = 0
    status: int = 200
    drips: bool = False
    arrived: list[Arrived] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def texts(self) -> list[str]:
        """The messages of json:// channels."""
        return [each.told["message"] for each in self.arrived]

    def wait_for(self, count: int, seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while len(self.arrived) < count:
            assert time.monotonic() < deadline, f"{len(self.arrived)} of {count} messages came: {self.arrived}"
            time.sleep(0.01)


@contextlib.contextmanager
def web_sink(**how: Any) -> Iterator[WebSink]:
    """A web sink for the length of the block."""
    sink = WebSink(**how)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            sink.arrived.append(Arrived(self.path, dict(self.headers), body))
            with contextlib.suppress(OSError):  # who asked may be gone
                for byte in b"HTTP/1.0 200 " + b"x" * 300 if sink.drips else b"":
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.1)
                self.send_response(sink.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sink.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class MailSink:
    """A mail server that takes everything without encryption."""

    port: int = 0
    mails: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)


@contextlib.contextmanager
def mail_sink() -> Iterator[MailSink]:
    """A mail sink for the length of the block: as much of SMTP as smtplib speaks with a server that offers nothing."""
    sink = MailSink()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 a test")
            while line := self.rfile.readline().decode().rstrip("\r\n"):
                sink.words.append(line)
                word = line.split(":")[0].split(" ")[0].upper()
                if word == "DATA":
                    self._say("354 go on")
                    sink.mails.append(self._mail())
                    self._say("250 taken")
                elif word == "QUIT":
                    self._say("221 bye")
                    return
                else:
                    self._say("250 ok")

        def _mail(self) -> str:
            lines = []
            while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                lines.append(line)
            return "\n".join(lines)

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        sink.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield sink
        server.shutdown()


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener.getsockname()[1]
