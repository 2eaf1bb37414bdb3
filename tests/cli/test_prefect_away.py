"""Without the Prefect API nothing new is placed; what rests is taken back; trading resumes when the API is back."""

import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cli.prefect_server import free_port, prefect_server
from tests.cli.accounts import certify, rest_orders
from tests.cli.command import Command, control, resting, until
from tests.cli.conftest import Venues
from tests.cli.test_trade import RESTING

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


def test_a_trader_without_prefect_places_nothing_and_takes_back_what_rests(
    command: Command, venues: Venues, tmp_path: Path
) -> None:
    url = venues("bybit")["bybit"].address.control_url
    certify(command.home, "bybit", *RESTING)
    port = free_port()
    command.environment["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"

    def placed() -> int:
        return len(control(url, "truth")["orders"])

    with prefect_server(tmp_path / "prefect", port) as server:
        server.wait_until_up()
        process = command.start("trade", "bybit", *RESTING)
        until(lambda: placed() >= 2 or process.poll() is not None, "two orders")
        assert process.poll() is None, command.said(process)
    until(
        lambda: "the Prefect API is away" in command.said(process) or process.poll() is not None, "the trader's notice"
    )
    # The cycle that was under way when the API went may have placed its order; then nothing more.
    until(lambda: resting(url) == [] or process.poll() is not None, "an empty book")
    assert process.poll() is None, command.said(process)
    before, told = placed(), command.said(process).count("API is away")
    until(lambda: command.said(process).count("API is away") >= told + 3, "more rounds without the API")
    assert placed() == before and resting(url) == []

    with prefect_server(tmp_path / "prefect", port) as server:
        server.wait_until_up()
        until(lambda: placed() >= before + 2 or process.poll() is not None, "orders after the API is back")
        process.send_signal(signal.SIGTERM)
        assert command.ended(process) == 0, command.said(process)
    assert resting(url) == []
    assert "Traceback" not in command.said(process), command.said(process)


def test_a_trader_whose_prefect_hangs_in_the_middle_of_a_cycle_can_be_ended(
    command: Command, venues: Venues, tmp_path: Path
) -> None:
    url = venues("bybit")["bybit"].address.control_url
    certify(command.home, "bybit", *RESTING)
    port = free_port()
    command.environment["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    with prefect_server(tmp_path / "prefect", port) as server:
        server.wait_until_up()
        process = command.start("trade", "bybit", *RESTING)
        until(lambda: command.said(process).count("ramp_100:") >= 2 or process.poll() is not None, "two cycles")
        os.killpg(server.process.pid, signal.SIGSTOP)
        try:
            process.send_signal(signal.SIGINT)
            assert command.ended(process, 60) == 0, command.said(process)
        finally:
            os.killpg(server.process.pid, signal.SIGCONT)
    assert resting(url) == []


class _Sick(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        words = b"true" if self.path == "/api/health" else b'{"exception_message": "the database is away"}'
        self.send_response(200 if self.path == "/api/health" else 503)
        self.send_header("Content-Length", str(len(words)))
        self.end_headers()
        self.wfile.write(words)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def sick_api() -> Iterator[str]:
    """Its address: what Prefect's server answers while its PostgreSQL is down."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sick)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/api"
    server.shutdown()


async def test_while_every_cycle_fails_at_prefect_what_rests_is_taken_back(
    command: Command, venues: Venues, sick_api: str
) -> None:
    venue = venues("bybit")["bybit"]
    await rest_orders(command.home, venue, ours=1, by_hand=0)
    certify(command.home, "bybit", *RESTING)
    url = venue.address.control_url
    command.environment["PREFECT_API_URL"] = sick_api
    process = command.start("trade", "bybit", *RESTING)
    until(lambda: command.said(process).count("failed, the next cycle reconciles first") >= 2, "two failed cycles")
    until(lambda: resting(url) == [], "an empty book", 30)
    assert len(control(url, "truth")["orders"]) == 1
    process.send_signal(signal.SIGTERM)
    assert command.ended(process) == 0, command.said(process)
    assert resting(url) == []
