"""Without the Prefect API nothing new is placed; what rests is taken back; trading resumes when the API is back."""

import signal
from pathlib import Path

import pytest

from cli.prefect_server import free_port, prefect_server
from tests.cli.accounts import certify
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
