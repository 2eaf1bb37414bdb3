"""Alerts: who is told what, how often, and that nobody waits for a channel."""

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_string
from pathlib import Path
from typing import Any

import pytest

from config.errors import ConfigurationError
from config.loader import load_settings
from config.settings import Settings
from services.alert_channels import Channel, secret_parts
from services.alert_memory import AlertMemory
from services.alerts import AlertDesk, Level, flush, send_digest, send_now, tell
from services.logs import mask_secrets
from tests.services.sinks import WebSink, mail_sink, silent_port, web_sink
from trading.notices import Notice

NOON = datetime(2026, 1, 5, 3, 0, tzinfo=UTC)  # noon in Japan
LEVELS = ("info", "warning", "critical")


class StillClock:
    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("alerts never wait on this clock")


@pytest.fixture(autouse=True)
def _desks_of_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.alerts._desks", {})


@pytest.fixture
def sink() -> Iterator[WebSink]:
    with web_sink() as made:
        yield made


Configured = Callable[..., Settings]


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configured:
    """Settings with channels: name=URL, the URL in the environment under the channel's own secret."""

    def make(*, levels: dict[str, str] | None = None, **urls: str) -> Settings:
        channels = []
        for name, url in urls.items():
            monkeypatch.setenv(f"ALERTS_{name.upper()}", url)
            channels.append(
                {"name": name, "url_secret": f"ALERTS_{name.upper()}", "level": (levels or {}).get(name, "warning")}
            )
        told = json.dumps(channels)
        return load_settings((), [f"home={tmp_path}", f"alerts.channels={told}", "alerts.timeout_seconds=5"], {})

    return make


def json_url(sink: WebSink, path: str = "") -> str:
    return f"json://127.0.0.1:{sink.port}{path}"


def desk_of(settings: Settings, clock: StillClock) -> Callable[..., None]:
    desk = AlertDesk(settings, clock)

    def take(level: str, key: str, text: str = "", *, over: bool = False, once: bool = False) -> None:
        desk.take((Notice(level, key, text, over, once),))
        assert desk.flush(10)

    return take


def test_what_still_is_so_is_told_again_only_after_a_while_with_how_often(
    configured: Configured, sink: WebSink
) -> None:
    clock = StillClock()
    take = desk_of(configured(web=json_url(sink)), clock)
    for _ in range(5):
        take("critical", "bitbank:halt", "bitbank is halted")
        clock.time += timedelta(minutes=15)
    assert [text.splitlines()[:-1] for text in sink.texts] == [
        ["bitbank is halted"],
        ["bitbank is halted", "still so: 5 times since 01-05 12:00 JST"],
    ]


def test_the_end_is_told_to_who_heard_of_the_beginning_and_to_nobody_else(
    configured: Configured, sink: WebSink
) -> None:
    clock = StillClock()
    take = desk_of(configured(web=json_url(sink)), clock)
    take("info", "bitbank:halt", over=True)
    take("critical", "bitbank:halt", "bitbank is halted")
    take("info", "bitbank:halt", over=True)
    take("info", "bitbank:halt", over=True)
    assert [each.told["type"] for each in sink.arrived] == ["failure", "failure"]
    assert sink.texts[1].startswith("over: bitbank is halted (1 times since 01-05 12:00 JST)")


def test_what_has_got_worse_is_told_at_once(configured: Configured, sink: WebSink) -> None:
    take = desk_of(configured(web=json_url(sink)), StillClock())
    take("warning", "bitbank:unknown_order", "no answer yet")
    take("warning", "bitbank:unknown_order", "no answer yet")
    take("critical", "bitbank:unknown_order", "a person must look")
    assert [text.splitlines()[0] for text in sink.texts] == ["no answer yet", "a person must look"]


def test_what_no_channel_took_is_told_when_it_is_seen_again_and_what_one_took_is_not(
    configured: Configured, sink: WebSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.alert_channels._WAITS", (0.0,))
    clock = StillClock()
    take = desk_of(configured(dead="json://127.0.0.1:9", web=json_url(sink)), clock)
    sink.status = 500
    take("critical", "bitbank:halt", "bitbank is halted")
    sink.arrived.clear()
    sink.status = 200
    for _ in range(3):
        clock.time += timedelta(minutes=1)
        take("critical", "bitbank:halt", "bitbank is halted")
    assert [text.splitlines()[0] for text in sink.texts] == ["bitbank is halted"]


def test_a_clock_that_was_ahead_and_is_set_right_holds_nothing_back(configured: Configured, sink: WebSink) -> None:
    clock = StillClock()
    take = desk_of(configured(web=json_url(sink)), clock)
    clock.time += timedelta(hours=9)  # Japan's time taken for UTC, as a machine has it that boots two systems
    take("critical", "bitbank:halt", "bitbank is halted")
    clock.time -= timedelta(hours=9)
    take("critical", "bitbank:halt", "bitbank is halted")
    take("critical", "bitbank:halt", "bitbank is halted")
    assert len(sink.arrived) == 2


def test_what_happens_is_told_each_time(configured: Configured, sink: WebSink) -> None:
    take = desk_of(configured(web=json_url(sink)), StillClock())
    for _ in range(2):
        take("critical", "stop", "stop of bitbank: NOT CLEAN", once=True)
    assert len(sink.arrived) == 2


def test_other_processes_and_a_restart_know_what_was_told(configured: Configured, sink: WebSink) -> None:
    settings, clock = configured(web=json_url(sink)), StillClock()
    desk_of(settings, clock)("critical", "bitbank:halt", "bitbank is halted")
    clock.time += timedelta(minutes=1)
    desk_of(settings, clock)("critical", "bitbank:halt", "bitbank is halted")
    assert len(sink.arrived) == 1


def test_each_channel_hears_from_its_level_on(configured: Configured) -> None:
    with web_sink() as quiet, web_sink() as curious:
        settings = configured(quiet=json_url(quiet), curious=json_url(curious), levels={"quiet": "critical"})
        take = desk_of(settings, StillClock())
        for level in LEVELS:
            take(level, f"key:{level}", level)
    assert [text.splitlines()[0] for text in quiet.texts] == ["critical"]
    assert [text.splitlines()[0] for text in curious.texts] == ["warning", "critical"]


def test_a_channel_that_hangs_holds_up_neither_the_caller_nor_another_channel(
    configured: Configured, sink: WebSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.alert_channels._WAITS", (0.0,))
    with silent_port() as port:
        settings = configured(silent=f"json://127.0.0.1:{port}", dead="json://127.0.0.1:9", web=json_url(sink))
        slow = settings.model_copy(update={"alerts": settings.alerts.model_copy(update={"timeout_seconds": 60.0})})
        for number in range(5):
            tell(Level.CRITICAL, f"key:{number}", "look", settings=slow)
        sink.wait_for(5, 30)
        assert not flush(0)  # all is told there, and the silent one still hangs at its first
    assert flush(20)


def test_a_channel_that_drips_for_ever_is_given_up_after_its_time(configured: Configured) -> None:
    with web_sink(drips=True) as sink:
        settings = configured(web=json_url(sink))
        quick = settings.model_copy(update={"alerts": settings.alerts.model_copy(update={"timeout_seconds": 1.0})})
        channel = Channel(quick.alerts.channels[0], quick)
        began = time.perf_counter()
        assert channel.deliver("info", "t", "x") == "no answer within 1 s"
        assert channel.deliver("info", "t", "x") == "it still hangs on the message before"
        assert time.perf_counter() - began < 10  # to the last byte it would be 30 s


def test_a_channel_that_failed_is_tried_again_logged_without_its_url_and_counted(
    configured: Configured, sink: WebSink, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.alert_channels._WAITS", (0.0, 0.05, 0.05))
    sink.status = 500
    settings, clock = configured(web=json_url(sink, "/hook/t0ken-of-the-Channel")), StillClock()
    for name in ("", "apprise", "urllib3"):  # another test may have set theirs
        caplog.set_level(logging.DEBUG, logger=name or None)
    desk_of(settings, clock)("critical", "bitbank:halt", "bitbank is halted")
    assert len(sink.arrived) == 3
    assert sink.arrived[0].path == "/hook/t0ken-of-the-Channel"
    assert "channel web did not take bitbank:halt" in caplog.text
    assert "t0ken-of-the-Channel" not in caplog.text and "hook/" in caplog.text
    since = AlertMemory(settings.home, timedelta(hours=1), LEVELS, "info").since_last_digest()
    assert since.failures == {"web": 1}


def test_without_a_channel_nothing_is_begun(configured: Configured, tmp_path: Path) -> None:
    tell(Level.CRITICAL, "bitbank:halt", "halted", settings=configured())
    assert flush(1)
    assert not (tmp_path / "alerts").exists()


def test_a_secret_and_by_default_an_amount_are_in_no_message(configured: Configured, sink: WebSink) -> None:
    settings = configured(web=json_url(sink))
    take = desk_of(settings, StillClock())
    take("critical", "k", "balance JPY: expected 5000000, found 4990000.5; 0.25 BTC stay; api_key=abcdef0123456789")
    assert sink.texts[0].splitlines()[0] == "balance JPY: expected …, found …; … BTC stay; api_key=••••"


def test_amounts_are_told_where_that_is_wanted(configured: Configured, sink: WebSink) -> None:
    settings = configured(web=json_url(sink))
    shown = settings.model_copy(update={"alerts": settings.alerts.model_copy(update={"show_amounts": True})})
    desk_of(shown, StillClock())("critical", "k", "0.25 BTC stay")
    assert sink.texts[0].startswith("0.25 BTC stay")


def test_a_mail_arrives_whole(configured: Configured) -> None:
    with mail_sink() as mail:
        url = f"mailto://127.0.0.1:{mail.port}?from=bot@example.com&to=ops@example.com&mode=insecure"
        (told,) = send_now(configured(mail=url), Level.CRITICAL, "crypto-bot: CRITICAL", "bitbank is halted")
    assert told.problem == ""
    received = message_from_string(mail.mails[0])
    assert "ops@example.com" in str(received["To"])
    assert str(received["Subject"]) == "crypto-bot: CRITICAL"
    parts = [part.get_payload(decode=True) for part in received.walk() if not part.is_multipart()]
    assert any(b"bitbank is halted" in part for part in parts if isinstance(part, bytes))


def test_a_message_that_a_service_does_not_take_in_one_is_sent_in_several(
    configured: Configured, sink: WebSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apprise.plugins.discord.NotifyDiscord.notify_url", sink.url)
    settings = configured(web="discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js")
    (told,) = send_now(settings, Level.INFO, "digest", "\n".join(f"line {number:04}" for number in range(500)))
    assert told.problem == ""
    assert len(sink.arrived) > 1
    assert "line 0000" in sink.arrived[0].body and "line 0499" in sink.arrived[-1].body


SLACK = ("T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ")


@pytest.mark.parametrize(
    ("url", "plugin", "address", "path", "text_of"),
    [
        (
            f"slack://{'/'.join(SLACK)}",
            "slack.NotifySlack",
            "webhook_url",
            "/" + "/".join(SLACK),
            lambda told: str(told),
        ),
        (
            "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
            "discord.NotifyDiscord",
            "notify_url",
            "/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
            lambda told: str(told),
        ),
        (
            "line://a1b2c3d4e5f6a7b8c9d0/Ud41d8cd98f00b204",
            "line.NotifyLine",
            "notify_url",
            "/",
            lambda told: told["messages"][0]["text"],
        ),
    ],
    ids=["slack", "discord", "line"],
)
def test_each_service_is_sent_what_it_takes(
    configured: Configured,
    sink: WebSink,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    plugin: str,
    address: str,
    path: str,
    text_of: Callable[[Any], str],
) -> None:
    # Their hosts are fixed in Apprise; here they are this machine.
    monkeypatch.setattr(f"apprise.plugins.{plugin}.{address}", f"{sink.url}{'' if path != '/' else '/'}")
    (told,) = send_now(configured(web=url), Level.CRITICAL, "crypto-bot: CRITICAL", "bitbank is halted")
    assert told.problem == ""
    assert sink.arrived[0].path.partition("?")[0] == path
    assert "bitbank is halted" in text_of(sink.arrived[0].told)


def test_a_url_that_apprise_does_not_know_is_refused_without_being_shown(configured: Configured) -> None:
    (told,) = send_now(configured(web="nosuch://s3cret-Part-0f-it/x"), Level.INFO, "t", "x")
    assert "Apprise does not understand the URL" in told.problem
    assert "s3cret-Part-0f-it" not in told.problem


def test_a_channel_whose_secret_is_not_set_says_which(configured: Configured, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = configured(web="json://127.0.0.1:9")
    monkeypatch.delenv("ALERTS_WEB")
    (told,) = send_now(settings, Level.INFO, "t", "x")
    assert "ALERTS_WEB" in told.problem


@pytest.mark.parametrize(
    ("url", "hidden", "shown"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts", ["A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ"], []),
        ("slack://crypto-bot@T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXr", ["A1BRTD4JD"], ["crypto-bot"]),
        (
            "mailto://joe:correct-horse@smtp.example.com?mode=starttls",
            ["correct-horse"],
            ["smtp.example.com", "starttls"],
        ),
        ("json://127.0.0.1:8080/hook/s3cretPath?format=markdown", ["s3cretPath"], ["127.0.0.1", "markdown"]),
        ("line://aB%2Bc%3Dd9f8e7/U0001", ["aB%2Bc%3Dd9f8e7", "aB+c=d9f8e7"], []),
    ],
)
def test_the_parts_of_a_url_that_open_something_are_secrets(url: str, hidden: list[str], shown: list[str]) -> None:
    found = secret_parts(url)
    assert not set(hidden) - found
    assert not set(shown) & found


def test_a_url_in_the_settings_is_refused_and_not_repeated() -> None:
    for channels in (
        '[{"name": "a", "url_secret": "slack://T1JJ/A1BR/TIia"}]',
        '["slack://T1JJ/A1BR/TIia"]',
        "slack://T1JJ",
    ):
        with pytest.raises(ConfigurationError) as raised:
            load_settings((), [f"alerts.channels={channels}"], {})
        assert "T1JJ" not in str(raised.value)
        assert "alerts.channels" in str(raised.value)


@pytest.mark.parametrize(("written", "read"), [("'08:00'", "08:00"), ("18:30", "18:30"), ("null", None)])
def test_the_digests_time_is_read_as_it_was_written(written: str, read: str | None) -> None:
    assert load_settings((), [f"alerts.digest_at={written}"], {}).alerts.digest_at == read


@pytest.mark.parametrize("written", ["25:00", "8", "noon", "08:60"])
def test_a_time_that_is_none_is_refused(written: str) -> None:
    if written == "8":
        written = "'8'"
    with pytest.raises(ConfigurationError, match="08:00"):
        load_settings((), [f"alerts.digest_at={written}"], {})


def test_the_digest_tells_what_was_held_back_and_begins_anew_once_it_is_taken(
    configured: Configured, sink: WebSink
) -> None:
    settings, clock = configured(web=json_url(sink)), StillClock()
    take = desk_of(settings, clock)
    take("info", "bitbank:rung", "bitbank: the rung went up", once=True)
    for _ in range(3):
        take("critical", "bitbank:halt", "bitbank is halted")
    sink.status = 500
    assert send_digest(settings, ["bitbank: 1440 cycles"], clock)[0].problem
    sink.status = 200
    sink.arrived.clear()
    assert not send_digest(settings, ["bitbank: 1440 cycles"], clock)[0].problem
    assert sink.texts[0].splitlines() == [
        "bitbank: 1440 cycles",
        "",
        "alerts since the last digest:",
        "[info] bitbank: the rung went up (1 times, told 0, last 01-05 12:00 JST)",
        "[critical] bitbank is halted (3 times, told 1, last 01-05 12:00 JST, still so)",
    ]
    send_digest(settings, [], clock)
    assert "no alert since the last digest" in sink.texts[1]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"open": {"k": {}}, "day": {}, "failed": {}}', '{"open": 3}'])
def test_a_torn_memory_silences_nothing(configured: Configured, sink: WebSink, tmp_path: Path, content: str) -> None:
    memory = tmp_path / "alerts" / "memory.json"
    memory.parent.mkdir()
    memory.write_text(content)
    desk_of(configured(web=json_url(sink)), StillClock())("critical", "k", "look")
    assert len(sink.arrived) == 1


def test_a_home_that_cannot_be_written_silences_nothing_and_floods_nobody(
    configured: Configured, sink: WebSink, tmp_path: Path
) -> None:
    (tmp_path / "alerts").write_text("a file where the folder should be")
    take = desk_of(configured(web=json_url(sink)), StillClock())
    take("critical", "k", "look")
    take("critical", "k", "look")
    assert len(sink.arrived) == 1


PROCESS = """
import sys
from config.loader import load_settings
from services.alerts import Level, tell
tell(Level.CRITICAL, "a:process", "the last words of a process", settings=load_settings())
"""


def test_a_process_that_ends_at_once_still_tells(configured: Configured, sink: WebSink, tmp_path: Path) -> None:
    _run(PROCESS, tmp_path, json_url(sink))
    assert sink.texts[0].startswith("the last words of a process")


def test_a_process_whose_settings_are_not_handed_over_loads_them(sink: WebSink, tmp_path: Path) -> None:
    _run(PROCESS.replace(", settings=load_settings()", ""), tmp_path, json_url(sink))
    assert sink.texts[0].startswith("the last words of a process")


def test_a_channel_that_hangs_holds_up_the_end_of_a_process_for_seconds_only(tmp_path: Path) -> None:
    with silent_port() as port:
        began = time.monotonic()
        _run(PROCESS, tmp_path, f"json://127.0.0.1:{port}", "alerts.timeout_seconds=30")
        assert time.monotonic() - began < 25


def _run(code: str, home: Path, url: str, *more: str) -> None:
    environ = {
        "CRYPTO_BOT_HOME": str(home),
        "CRYPTO_BOT__ALERTS__CHANNELS": '[{"name": "web", "url_secret": "ALERTS_WEB"}]',
        "ALERTS_WEB": url,
        "PATH": "/usr/bin:/bin",
    }
    for each in more:
        key, _, value = each.partition("=")
        environ["CRYPTO_BOT__" + key.replace(".", "__").upper()] = value
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_everything_that_apprise_says_at_debug_is_without_the_token(
    configured: Configured, sink: WebSink, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apprise.plugins.slack.NotifySlack.webhook_url", sink.url)
    for name in ("", "apprise", "urllib3"):  # another test may have set theirs
        caplog.set_level(logging.DEBUG, logger=name or None)
    for name in ("apprise", "urllib3"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    mask_secrets("")
    send_now(configured(web=f"slack://{'/'.join(SLACK)}"), Level.INFO, "t", "x")
    for name in ("apprise", "urllib3"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    assert "Slack POST URL" in caplog.text and "POST /" in caplog.text
    for part in SLACK:
        assert part not in caplog.text
