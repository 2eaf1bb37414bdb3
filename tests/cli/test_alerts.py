"""`crypto-bot alerts`, and the alert of the emergency stop: after the proof, and never in its way."""

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from cli.alerting import _named
from config.errors import ConfigurationError
from config.loader import load_settings
from tests.cli.command import Command
from tests.services.sinks import WebSink, silent_port, web_sink


@dataclass
class Stop:
    """A stop that has ended: its one JSON document, what came to the channel that takes, and how long it took."""

    done: "subprocess.CompletedProcess[str]"
    told: list[str]
    seconds: float


@pytest.fixture(scope="module", autouse=True)
def stop_under_way(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Future[Stop]"]:
    """A stop with a channel that takes messages and one that hangs for a minute. It waits for that one, five seconds at
    most: the other tests run meanwhile.
    """
    command = Command(tmp_path_factory.mktemp("stop") / "home")
    with web_sink() as sink, silent_port() as port, ThreadPoolExecutor(1) as apart:
        channels(command, web=url_of(sink), silent=f"json://127.0.0.1:{port}")
        command.environment["CRYPTO_BOT__ALERTS__TIMEOUT_SECONDS"] = "60"

        def stop() -> Stop:
            began = time.monotonic()
            done = command.run(
                "stop", "--exchange", "bitbank", "--reason", "a drill", "--json", python=("-X", "importtime")
            )
            return Stop(done, sink.texts, time.monotonic() - began)

        yield apart.submit(stop)


def channels(command: Command, **urls: str) -> None:
    """Configure channels by the environment, each with a secret of its own."""
    told = [{"name": name, "url_secret": f"ALERTS_{name.upper()}"} for name in urls]
    command.environment["CRYPTO_BOT__ALERTS__CHANNELS"] = json.dumps(told)
    command.environment |= {f"ALERTS_{name.upper()}": url for name, url in urls.items()}


def url_of(sink: WebSink) -> str:
    return f"json://127.0.0.1:{sink.port}/p4th-Of-the-hook"


def imported(done: "subprocess.CompletedProcess[str]") -> set[str]:
    """The modules that a command run with `-X importtime` has imported."""
    lines = done.stderr.splitlines()
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time")}


def test_a_test_says_of_each_channel_what_came_of_it(command: Command) -> None:
    with web_sink() as sink:
        channels(command, web=url_of(sink), gone="json://127.0.0.1:9")
        both = command.run("alerts", "test")
        one = command.run("alerts", "test", "--channel", "web")
    assert both.returncode == 1 and one.returncode == 0
    rows = [line for line in both.stdout.splitlines() if "web" in line or "gone" in line]
    assert "taken" in rows[0] and "FAILED" in rows[1]
    assert len(sink.arrived) == 2 and "This is a test" in sink.texts[0]
    assert "p4th-Of-the-hook" not in both.stdout + both.stderr


def test_a_test_of_a_channel_that_is_not_there_says_which_there_are_or_how_to_make_one() -> None:
    with pytest.raises(ConfigurationError, match="url_secret"):
        _named(load_settings((), (), {}), "wib")
    two = "alerts.channels=[{name: web, url_secret: ALERTS_WEB}, {name: gone, url_secret: ALERTS_GONE}]"
    with pytest.raises(ConfigurationError, match=r"^alerts: there is no channel wib; there are web, gone$"):
        _named(load_settings((), (two,), {}), "wib")


def test_a_stop_without_a_channel_imports_no_apprise(command: Command) -> None:
    done = command.run("stop", python=("-X", "importtime"))
    assert done.returncode == 0
    assert not {"apprise", "prefect"} & imported(done)


def test_a_stop_tells_what_it_came_to(stop_under_way: "Future[Stop]") -> None:
    stop = stop_under_way.result()
    assert stop.done.returncode == 0, stop.done.stderr
    assert len(stop.told) == 1 and stop.told[0].startswith("stop of bitbank by ") and "a drill" in stop.told[0]
    assert "proved empty" in stop.told[0]
    assert "apprise" in imported(stop.done) and "prefect" not in imported(stop.done)


def test_a_channel_that_hangs_changes_nothing_of_a_stop_and_keeps_it_for_seconds_only(
    stop_under_way: "Future[Stop]",
) -> None:
    stop = stop_under_way.result()
    assert stop.done.returncode == 0
    assert json.loads(stop.done.stdout)["clean"] is True
    assert stop.seconds < 30
