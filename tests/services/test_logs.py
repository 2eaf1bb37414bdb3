import base64
import json
import logging
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from config.errors import ConfigurationError
from config.loader import load_settings
from config.secret import Secret
from config.settings import Settings
from services import masking
from services.logs import configure_logging, mask_secrets
from services.masking import DOTS, Mask, forms_of

KEY = "k+y/OF=the bank&ünlike-any-0ther"


def settings_at(home: Path, *overrides: str) -> Settings:
    return load_settings((), [f"home={home}", *overrides], {})


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    before = logging.getLogger().level
    Secret(KEY)
    configure_logging(settings_at(tmp_path, "logging.handlers=[file]"))
    yield tmp_path / "logs" / "crypto-bot.log"
    configure_logging(settings_at(tmp_path, "logging.handlers=[]"))
    logging.getLogger().setLevel(before)


def test_a_secret_never_reaches_the_file_in_message_or_arguments(log_file: Path) -> None:
    logger = logging.getLogger("anything.at.all")
    logger.warning("signing with " + KEY)
    logger.warning("signing with %s and %r", KEY, {"key": KEY})
    logger.warning("GET /order?key=%s", quote(KEY, safe=""))
    logger.warning("GET /order?key=%s", quote(KEY, safe="").lower())
    text = log_file.read_text(encoding="utf-8")
    assert "signing with •••• and {'key': '••••'}" in text
    assert text.count("GET /order?key=••••") == 2
    assert KEY not in text


def test_a_secret_never_reaches_the_file_in_a_traceback(log_file: Path) -> None:
    try:
        raise ValueError(f"bad header {KEY}")
    except ValueError:
        logging.getLogger("anything").exception("request failed")
    text = log_file.read_text(encoding="utf-8")
    assert "ValueError: bad header ••••" in text
    assert KEY not in text


def test_a_traceback_without_a_secret_stays_as_it_is(log_file: Path) -> None:
    try:
        raise ValueError("nothing to hide")
    except ValueError:
        logging.getLogger("anything").exception("request failed")
    assert "ValueError: nothing to hide" in log_file.read_text(encoding="utf-8")


def test_a_record_whose_arguments_do_not_fit_is_masked_too(log_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("anything").warning("one %s two %s", KEY)
    assert "one %s two %s ('••••',)" in log_file.read_text(encoding="utf-8")
    assert KEY not in capsys.readouterr().err


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("not bound to a session")


@pytest.mark.parametrize(("form", "argument"), [("holds %s", Unspeakable()), ("took %d s", float("inf"))])
def test_whoever_logs_what_cannot_be_shown_goes_on(log_file: Path, form: str, argument: object) -> None:
    logging.getLogger("anything").warning(form, argument)
    assert form in log_file.read_text(encoding="utf-8")


def test_a_log_whose_folder_is_taken_away_goes_on_in_a_new_one(log_file: Path) -> None:
    shutil.rmtree(log_file.parent)
    logging.getLogger("anything").warning("said after it")
    assert log_file.read_text(encoding="utf-8").endswith("said after it\n")


def test_a_log_that_could_not_be_opened_for_a_while_goes_on_afterwards(
    log_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(log_file.parent)
    log_file.parent.write_text("something else stands in the way")
    logging.getLogger("anything").warning("lost")
    log_file.parent.unlink()
    logging.getLogger("anything").warning("said when the way was free")
    assert log_file.read_text(encoding="utf-8").endswith("said when the way was free\n")
    assert "FileExistsError" in capsys.readouterr().err


class Sender(logging.Handler):
    """Another library's handler, which looks at more than the message."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(f"{record.msg} {record.args} {record.__dict__.get('url')}")


def test_a_handler_that_was_there_before_never_sees_a_secret(log_file: Path, tmp_path: Path) -> None:
    logger, sender = logging.getLogger("another.library"), Sender()
    logger.addHandler(sender)
    configure_logging(settings_at(tmp_path, "logging.handlers=[file]"))
    logger.warning("with %s", KEY, extra={"url": f"https://x/?k={KEY}"})
    logger.removeHandler(sender)
    assert sender.seen == ["with •••• () https://x/?k=••••"]


def test_a_handler_that_comes_later_never_sees_a_secret_in_a_message(log_file: Path) -> None:
    logger, sender = logging.getLogger("a.third.library"), Sender()
    logger.addHandler(sender)
    logger.warning("with %s", KEY)
    logger.removeHandler(sender)
    assert sender.seen == ["with •••• () None"]


def test_a_secret_made_after_the_start_is_masked_as_well(log_file: Path) -> None:
    late = Secret("made-later-93cf")
    logging.getLogger("anything").warning("key %s", late.reveal())
    assert "key ••••" in log_file.read_text(encoding="utf-8")


def test_a_longer_secret_that_begins_like_a_shorter_one_is_hidden_whole(log_file: Path) -> None:
    Secret("prefix-41")
    Secret("prefix-41-and-more")
    assert mask_secrets("x prefix-41-and-more y prefix-41") == "x •••• y ••••"


def test_configuring_twice_does_not_log_twice(log_file: Path, tmp_path: Path) -> None:
    configure_logging(settings_at(tmp_path, "logging.handlers=[file]"))
    logging.getLogger("anything").warning("said once")
    assert log_file.read_text(encoding="utf-8").count("said once") == 1


def test_the_level_of_the_settings_decides_what_is_kept(log_file: Path, tmp_path: Path) -> None:
    configure_logging(settings_at(tmp_path, "logging.handlers=[file]", "logging.level=WARNING"))
    logging.getLogger("anything").info("quiet")
    logging.getLogger("anything").warning("loud")
    text = log_file.read_text(encoding="utf-8")
    assert "quiet" not in text
    assert "Z WARNING anything: loud" in text


def test_the_console_is_stderr_so_that_stdout_stays_for_programs(tmp_path: Path) -> None:
    code = (
        "import logging, sys\n"
        "from config.loader import load_settings\n"
        "from services.logs import configure_logging\n"
        "configure_logging(load_settings((), ['home=' + sys.argv[1]], {}))\n"
        "logging.getLogger('x').info('hello')\n"
        "logging.getLogger('EventsWorker').warning('Still processing items: 1 items remaining...')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == ""
    assert done.stderr.endswith("INFO x: hello\n")  # and nothing of what Prefect's client has yet to hand in


def test_a_log_file_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"set CRYPTO_BOT_HOME or logging\.file_path") as raised:
        configure_logging(settings_at(tmp_path / "file"))
    assert "\n" not in str(raised.value)


WRITE_MANY = """
import logging, sys
from pathlib import Path
from services.logs import SharedRotatingFile
name, size, kept, lines = sys.argv[2], *map(int, sys.argv[3:])
handler = SharedRotatingFile(Path(sys.argv[1]), maxBytes=size, backupCount=kept, encoding="utf-8")
for number in range(lines):
    handler.handle(logging.makeLogRecord({"msg": f"{name}-{number} " + "." * 60}))
"""


def write_together(path: Path, *, size: int, kept: int, lines: int) -> list[bytes]:
    """Three processes, a, b and c, write into one log file; what each of them complained of."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE_MANY, path, name, str(size), str(kept), str(lines)], stderr=subprocess.PIPE
        )
        for name in "abc"
    ]
    return [writer.communicate(timeout=60)[1] for writer in writers]


def test_processes_that_share_a_log_file_lose_no_line_when_it_rotates(tmp_path: Path) -> None:
    assert write_together(tmp_path / "shared.log", size=20_000, kept=50, lines=500) == [b"", b"", b""]
    written = [line.split()[0] for each in tmp_path.glob("shared.log*") for line in each.read_text().splitlines()]
    assert len(list(tmp_path.glob("shared.log.*"))) > 3
    assert sorted(written) == sorted(f"{name}-{number}" for name in "abc" for number in range(500))


def test_a_process_goes_on_while_another_has_moved_the_log_and_not_begun_the_next(tmp_path: Path) -> None:
    # The moment is short: there are some 2,000 of them.
    assert write_together(tmp_path / "shared.log", size=500, kept=3, lines=5_000) == [b"", b"", b""]


HEADERS = {
    "ACCESS-KEY": "unknown-key-1",
    "ACCESS-SIGNATURE": "0a1b2c3d4e",
    "ACCESS-SIGN": "5f6a7b8c9d",
    "X-BAPI-SIGN": "1234567890abcdef",
    "OK-ACCESS-SIGN": "bGF0ZQ==",
    "OK-ACCESS-PASSPHRASE": "unknown phrase",
    "Authorization": "Basic dXNlcjpwdw==",
    "Cookie": "session=abc",
}


@pytest.mark.parametrize("name", HEADERS)
def test_what_stands_in_a_signing_header_is_hidden_though_nobody_knows_it(log_file: Path, name: str) -> None:
    logging.getLogger("any").warning("sent %s", {name: HEADERS[name], "Content-Type": "application/json"})
    logging.getLogger("any").warning("sent %s: %s", name, HEADERS[name].split()[-1])
    text = log_file.read_text(encoding="utf-8")
    assert HEADERS[name].split()[-1] not in text
    assert text.count("••••") == 2
    assert "application/json" in text


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("GET https://x/v5?symbol=BTCUSDT&signature=00ff&nonce=7", "symbol=BTCUSDT&signature=••••&nonce=7"),
        ("GET /x?apiKey=abc-def&token=xyz HTTP/1.1", "/x?apiKey=••••&token=•••• HTTP/1.1"),
        ('{"api_secret": "a b", "size": 3}', '{"api_secret": ••••, "size": 3}'),
        ("POST https://hooks.slack.com/services/T1/B2/abc 200", "hooks.slack.com/services/•••• 200"),
        ("POST https://discord.com/api/webhooks/41/JHM-x", "discord.com/api/webhooks/••••"),
        ("postgresql://bot:pa55@host/db refused", "postgresql://bot:••••@host/db refused"),
        ("slack://T1/B2/abc is wrong", "slack://•••• is wrong"),
    ],
)
def test_a_secret_is_told_by_the_place_where_it_stands(said: str, kept: str) -> None:
    assert mask_secrets(said).endswith(kept)


@pytest.mark.parametrize(
    "said",
    [
        "the token: see docs/venues.md",
        "bitbank: the key was refused - check key, secret, passphrase",
        "crypto-bot approve bitbank --code CODE: no approval secret is set",
        "http://127.0.0.1:4200/api answers, key=bitbank:halt",
    ],
)
def test_a_sentence_about_secrets_stays_as_it_is(said: str) -> None:
    assert mask_secrets(said) == said


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "key:"])
def test_a_known_secret_is_hidden_in_base64_and_hex_at_every_offset(before: str) -> None:
    text = "planted-S3cret/Value+0f=mine"
    Secret(text)
    whole = (before + text + "after").encode()
    for encoded in (base64.b64encode(whole), base64.urlsafe_b64encode(whole), whole.hex().encode()):
        hidden = mask_secrets(f"x {encoded.decode()} y")
        assert DOTS in hidden
        # What is left shows nothing: at most the characters that the neighbours share.
        assert len(hidden) <= len("x  y") + len(DOTS) + 2 * (len(before) + len("after")) + 4
    assert DOTS in mask_secrets(whole.hex().upper())
    assert DOTS in mask_secrets(quote(base64.b64encode(text.encode()).decode(), safe=""))


class Extra(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request = {"headers": [KEY], "url": f"/x?{KEY}"}
        return True


def test_a_handler_that_comes_later_sees_no_secret_in_what_a_record_carries_besides(log_file: Path) -> None:
    logger, sender = logging.getLogger("a.fourth.library"), Sender()
    logger.addHandler(sender)
    logger.addFilter(Extra())
    logger.warning("with", extra={"url": f"https://x/?k={KEY}"})
    logger.handle(logging.makeLogRecord({"msg": f"by hand {KEY}", "name": logger.name, "levelno": 40}))
    logger.removeHandler(sender)
    assert sender.seen == ["with () https://x/?k=••••", "by hand •••• () None"]


def test_json_is_one_object_a_line_with_what_a_machine_asks_for(log_file: Path, tmp_path: Path) -> None:
    configure_logging(settings_at(tmp_path, "logging.handlers=[file]", "logging.format=json"))
    logging.getLogger("a").info("bitbank@live: two\nlines with %s", KEY)
    try:
        raise ValueError(f"bad {KEY}")
    except ValueError:
        logging.getLogger("b").exception("failed", extra={"exchange": "bybit"})
    first, second = (json.loads(line) for line in log_file.read_text(encoding="utf-8").splitlines())
    assert datetime.fromisoformat(first["time"]).utcoffset() == timedelta(0)
    assert {key: first[key] for key in ("level", "logger", "message", "exchange")} == {
        "level": "INFO",
        "logger": "a",
        "message": "bitbank@live: two\nlines with ••••",
        "exchange": "bitbank",
    }
    assert second["exchange"] == "bybit"
    assert second["exception"].endswith("ValueError: bad ••••")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("bitbank BTC/JPY: balance JPY: expected 5000000, found 4999000.5", "balance JPY: expected ••••, found ••••"),
        ("{'free': Decimal('4990000'), \"equity\": \"12.5\"}", "{'free': Decimal('••••'), \"equity\": \"••••\"}"),
        ("sold 0.02 BTC, profit -24.28", "sold •••• BTC, profit ••••"),
        ('{"onhand_amount":"0.1000","asset":"btc"}', '{"onhand_amount":"••••","asset":"btc"}'),
    ],
)
def test_balances_are_hidden_where_that_is_wanted(log_file: Path, tmp_path: Path, said: str, kept: str) -> None:
    logging.getLogger("a").info(said)
    configure_logging(settings_at(tmp_path, "logging.handlers=[file]", "logging.mask_balances=true"))
    logging.getLogger("a").info(said)
    shown, hidden = log_file.read_text(encoding="utf-8").splitlines()
    assert shown.endswith(said)
    assert hidden.endswith(kept)


CRASH = """
import asyncio, logging, sys, threading
from config.loader import load_settings
from config.secret import Secret
from services.logs import configure_logging
configure_logging(load_settings((), ['home=' + sys.argv[1]], {}))
key = Secret("planted-in-a-crash-77").reveal()

def fail():
    raise RuntimeError("with " + key)

class Falls:
    def __del__(self):
        fail()

thread = threading.Thread(target=fail)
thread.start()
thread.join()
Falls()
async def main():
    loop = asyncio.get_running_loop()
    loop.call_soon(fail)
    loop.create_task(asyncio.sleep(0)).add_done_callback(lambda _: fail())
    await asyncio.sleep(0.05)
asyncio.run(main())
try:
    fail()
except RuntimeError as error:
    raise KeyError(key) from error
"""


def test_no_crash_shows_a_secret_in_thread_loop_finalizer_or_at_the_end(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CRASH, str(tmp_path)], capture_output=True, text=True, timeout=30, check=False
    )
    file = (tmp_path / "logs" / "crypto-bot.log").read_text(encoding="utf-8")
    assert done.returncode == 1
    for text in (done.stderr, file):
        assert "planted-in-a-crash-77" not in text
        assert text.count("RuntimeError: with ••••") == 5  # thread, finalizer, loop twice, cause of the last
        assert "KeyError: '••••'" in text


def test_a_crash_is_in_the_file_though_the_terminal_is_gone(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from config.loader import load_settings\n"
        "from services.logs import configure_logging\n"
        "configure_logging(load_settings((), ['home=' + sys.argv[1]], {}))\n"
        "raise RuntimeError('nobody caught this')\n"
    )
    with Path("/dev/full").open("w") as gone:
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], stderr=gone, timeout=30, check=False)
    file = (tmp_path / "logs" / "crypto-bot.log").read_text(encoding="utf-8")
    assert "RuntimeError: nobody caught this" in file


@pytest.mark.parametrize("secret", ["Straße-geheim-1", "İstanbul-77", "ﬁnance-key-3", 'quote"sé-9', "パスフレーズ7"])
def test_a_secret_of_letters_that_change_their_length_is_hidden_as_it_is_and_in_json(secret: str) -> None:
    mask = Mask()
    mask.learn(secret)
    assert mask.hide(f"x {secret} y") == "x •••• y"
    assert mask.hide(json.dumps([secret])) == '["••••"]'
    assert mask.hide(json.dumps([secret], ensure_ascii=False)) == '["••••"]'


def test_secrets_that_two_threads_learn_at_once_are_hidden_both(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = Mask()

    def interrupted(secret: str) -> set[str]:
        monkeypatch.undo()
        mask.learn("of another thread")
        return forms_of(secret)

    monkeypatch.setattr(masking, "forms_of", interrupted)
    mask.learn("of this thread")
    assert mask.hide_known("of this thread, of another thread") == "••••, ••••"


def test_a_secret_that_is_learned_while_another_thread_hides_is_hidden_from_then_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mask, really = Mask(), re.compile

    def interrupted(pattern: str, flags: int) -> re.Pattern[str]:
        monkeypatch.undo()
        mask.learn("of another thread")
        return really(pattern, flags)

    mask.learn("of this thread")
    monkeypatch.setattr("services.masking.re.compile", interrupted)
    assert mask.hide_known("says of this thread") == "says ••••"
    assert mask.hide_known("of this thread, of another thread") == "••••, ••••"


def test_masking_costs_little_of_a_long_record() -> None:
    mask = Mask()
    for number in range(40):
        mask.learn(f"one-of-many-secrets-{number:04}-0123456789abcdef")
    line = "GET https://api.example.com/v5/order/realtime answered 200 with " + "'price': '9000000.5', " * 10
    began = time.perf_counter()
    for _ in range(200):
        mask.hide(line)
    assert (time.perf_counter() - began) / 200 < 0.002
