"""`crypto-bot up`: what dies under it starts again and leaves no order unattended; Ctrl+C leaves none at all."""

import os
import signal
import stat
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from cli.prefect_auth import password_file
from cli.prefect_server import api_is_up, free_port
from config.settings import EXCHANGES
from services.simulated import find_venue, simulated_venues
from tests.cli.accounts import certify
from tests.cli.command import Command, processes_of, resting, until
from tests.cli.test_trade import RESTING

# A cycle each quarter of a minute: every step below waits for one.
QUICK = (
    *RESTING,
    "--set=execution.cycle_seconds=15",
    *(f"--set=exchanges.{name}.requests_per_minute=600" for name in EXCHANGES),
)

pytestmark = [
    pytest.mark.walk,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc to find the processes of `up`"),
]


CYCLE_SECONDS = 30
TRADES = (
    *RESTING,
    f"--set=execution.cycle_seconds={CYCLE_SECONDS}",
    "--set=exchanges.okcoinjp.requests_per_minute=60",  # so short a cycle needs more of it; it does not trade here
)


def child(parent: int, words: str) -> int | None:
    """The process with these words in its command line that `parent` has started."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command_line = (process / "cmdline").read_text().replace("\0", " ")
            state, above = (process / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it has ended
        if int(above) == parent and state != "Z" and words in command_line:
            return int(process.name)
    return None


def test_what_is_killed_starts_again_and_the_end_leaves_no_order(command: Command) -> None:
    with simulated_venues(command.home, {"bybit": ()}):  # to read its rules from; `up` starts one of its own
        certify(command.home, "bybit", *TRADES)
    port = free_port()
    up = command.start("up", "--port", str(port), "--exchange", "bybit", *TRADES)
    api = f"http://127.0.0.1:{port}/api"

    def alive() -> bool:
        assert up.poll() is None, command.said(up)
        return True

    def told(words: str) -> bool:
        return alive() and words in command.said(up)

    until(lambda: told("ready after"), "a first cycle", 240)
    venue = find_venue(command.home, "bybit")
    assert venue is not None

    # Whoever reaches the port still needs the password, which nothing has printed.
    password = password_file(command.home)
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"{api}/flow_runs/filter", data=b"{}"), timeout=30)
    assert refused.value.code == 401
    secret = password.read_text().partition(":")[2]
    logs = [*command.home.glob("logs/*.log"), command.home / "prefect" / "server.log"]
    assert len(secret) > 20 and not [log for log in logs if secret in log.read_text()]
    assert secret not in command.said(up)

    until(lambda: alive() and resting(venue.control_url), "an order at the venue")
    (unattended,) = (order["id"] for order in resting(venue.control_url))
    trader = child(up.pid, "trade bybit")
    assert trader is not None
    os.kill(trader, signal.SIGKILL)
    until(lambda: alive() and child(up.pid, "trade bybit") not in (None, trader), "another trader")
    assert unattended not in [order["id"] for order in resting(venue.control_url)]
    assert "1 cancelled, 0 left" in command.said(up)

    # One that hangs is as bad as one that died: its order lies there for less than two cycles.
    until(lambda: alive() and resting(venue.control_url), "an order at the venue")
    (unattended,) = (order["id"] for order in resting(venue.control_url))
    trader = child(up.pid, "trade bybit")
    assert trader is not None
    os.kill(trader, signal.SIGSTOP)
    until(lambda: unattended not in [order["id"] for order in resting(venue.control_url)], "its end", 2 * CYCLE_SECONDS)
    until(lambda: alive() and child(up.pid, "trade bybit") not in (None, trader), "another trader")
    assert "lives and does nothing: it is killed" in command.said(up)

    for name, words in (("the worker", "cli.prefect_worker"), ("Prefect's server", "cli.prefect_server")):
        process = until(lambda words=words: alive() and child(up.pid, words), name)
        os.kill(process, signal.SIGKILL)
        until(
            lambda words=words, process=process: alive() and child(up.pid, words) not in (None, process),
            f"{name} again",
        )
    until(lambda: alive() and api_is_up(api), "the API again")

    until(lambda: alive() and resting(venue.control_url), "an order after all that", 240)
    up.send_signal(signal.SIGINT)
    assert command.ended(up, 120) == 0, command.said(up)
    assert "all is down" in command.said(up) and "Traceback" not in command.said(up)
    assert processes_of(command.home) == []
