"""`crypto-bot alerts`, and the alert of the emergency stop: after the proof, and never in its way."""

import json
import time

import pytest

from tests.cli.command import Command, one_line
from tests.services.sinks import WebSink, silent_port, web_sink


def channels(command: Command, **urls: str) -> None:
    """Configure channels by the environment, each with a secret of its own."""
    told = [{"name": name, "url_secret": f"ALERTS_{name.upper()}"} for name in urls]
    command.environment["CRYPTO_BOT__ALERTS__CHANNELS"] = json.dumps(told)
    command.environment |= {f"ALERTS_{name.upper()}": url for name, url in urls.items()}


def url_of(sink: WebSink) -> str:
    return f"json://127.0.0.1:{sink.port}/p4th-Of-the-hook"


def test_a_test_says_of_each_channel_what_came_of_it(command: Command) -> None:
    with web_sink() as sink:
        channels(command, web=url_of(sink), gone="json://127.0.0.1:9")
        both = command.run("alerts", "test")
        one = command.run("alerts", "test", "--channel", "web")
        neither = command.run("alerts", "test", "--channel", "wib")
    assert both.returncode == 1 and one.returncode == 0 and neither.returncode == 2
    rows = [line for line in both.stdout.splitlines() if "web" in line or "gone" in line]
    assert "taken" in rows[0] and "FAILED" in rows[1]
    assert "crypto-bot: alerts: there is no channel wib; there are web, gone (docs" in one_line(neither.stderr)
    assert len(sink.arrived) == 2 and "This is a test" in sink.texts[0]
    assert "p4th-Of-the-hook" not in both.stdout + both.stderr


def test_without_a_channel_a_test_says_how_to_make_one(command: Command) -> None:
    done = command.run("alerts", "test")
    assert done.returncode == 2
    assert "url_secret" in one_line(done.stderr)


def test_a_stop_tells_what_it_came_to(command: Command) -> None:
    with web_sink() as sink:
        channels(command, web=url_of(sink))
        done = command.run("stop", "--exchange", "bitbank", "--reason", "a drill")
        sink.wait_for(1)
    assert done.returncode == 0, done.stderr
    assert sink.texts[0].startswith("stop of bitbank by ") and "a drill" in sink.texts[0]
    assert "proved empty" in sink.texts[0]


def test_a_channel_that_hangs_changes_nothing_of_a_stop_and_keeps_it_for_seconds_only(command: Command) -> None:
    with silent_port() as port:
        channels(command, silent=f"json://127.0.0.1:{port}")
        command.environment["CRYPTO_BOT__ALERTS__TIMEOUT_SECONDS"] = "60"
        began = time.monotonic()
        done = command.run("stop", "--json")
        assert time.monotonic() - began < 30
    assert done.returncode == 0
    assert json.loads(done.stdout)["clean"] is True


@pytest.mark.parametrize("configured", [False, True])
def test_a_stop_imports_apprise_only_for_a_channel(command: Command, configured: bool) -> None:
    with web_sink() as sink:
        if configured:
            channels(command, web=url_of(sink))
        done = command.run("stop", python=("-X", "importtime"))
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    assert ("apprise" in imported) == configured
    assert "prefect" not in imported
