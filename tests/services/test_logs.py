import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from config.errors import ConfigurationError
from config.loader import load_settings
from config.secret import Secret
from config.settings import Settings
from services.logs import configure_logging, mask_secrets

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
handler = SharedRotatingFile(Path(sys.argv[1]), maxBytes=20_000, backupCount=50, encoding="utf-8")
for number in range(500):
    handler.handle(logging.makeLogRecord({"msg": f"{sys.argv[2]}-{number} " + "." * 60}))
"""


def test_processes_that_share_a_log_file_lose_no_line_when_it_rotates(tmp_path: Path) -> None:
    path = tmp_path / "shared.log"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE_MANY, str(path), name], stderr=subprocess.PIPE)
        for name in ("a", "b", "c")
    ]
    for writer in writers:
        assert writer.communicate(timeout=60)[1] == b""
    written = [line.split()[0] for each in tmp_path.glob("shared.log*") for line in each.read_text().splitlines()]
    assert len(list(tmp_path.glob("shared.log.*"))) > 3
    assert sorted(written) == sorted(f"{name}-{number}" for name in "abc" for number in range(500))
