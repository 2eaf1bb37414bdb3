"""Logging: to stderr and to a rotating file, as text or JSON, with every secret masked whoever logs it.

The mask is the second lock; the first is `config.secret.Secret`, whose text nobody prints. It stands where any record
goes to its handlers (so that those of other libraries, also later ones, never see a secret), on every handler that is
there at the start (for records that are handed to one directly), and before the traceback of a crash.
"""

import fcntl
import json
import logging
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType

from config.errors import ConfigurationError
from config.secret import watch_secrets
from config.settings import EXCHANGES, Settings
from services.masking import Mask

FILE_BYTES = 10_000_000
OLD_FILES = 9
# They tell of every request at INFO, with its URL; whoever wants DEBUG wants that too.
_TALKATIVE = ("aiosqlite", "alembic", "apprise", "asyncio", "httpcore", "httpx", "urllib3")


_TOLD_ELSEWHERE = (
    "prefect.flow_runs",
    "prefect.task_runs",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.events",  # one warning for each event while the API is away
    "APILogWorker",  # at its end Prefect's client counts what it has yet to hand in
    "EventsWorker",
)


class MaskFilter(logging.Filter):
    """Masks each record that passes a handler; lets all of them pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        _mask.hide_in_record(record)
        return True


class SharedRotatingFile(RotatingFileHandler):
    """A rotating log file that several processes write: one rotates it, the others follow."""

    def shouldRollover(self, record: logging.LogRecord) -> int:
        self._follow()
        return int(super().shouldRollover(record))

    def doRollover(self) -> None:
        with no_rotation(Path(self.baseFilename)):
            self._follow()
            assert self.stream is not None
            # another process may have done it while we waited
            if os.fstat(self.stream.fileno()).st_size >= self.maxBytes // 2:
                super().doRollover()

    def _follow(self) -> None:
        """Reopen when the path no longer leads to the file that is open."""
        path = Path(self.baseFilename)
        if self.stream is not None:
            if _leads_to(path, self.stream.fileno()):
                return
            self.stream.close()
            # Where it cannot be opened now (no descriptor, no room), the next record tries again.
            self.stream = None
        path.parent.mkdir(parents=True, exist_ok=True)
        self.stream = self._open()


@contextmanager
def no_rotation(path: Path) -> Iterator[None]:
    """No process rotates the log file `path` during the block; waits for one that does. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{path}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _worth_the_console(record: logging.LogRecord) -> bool:
    """A flow run says ten lines about itself, a failed one a traceback: its page in the UI and the file keep them. The
    terminal hears of a failure from whoever started the run.
    """
    if record.name.startswith(_TOLD_ELSEWHERE):
        return False
    return record.levelno >= logging.WARNING or not record.name.startswith("prefect")


def mask_secrets(text: str) -> str:
    """The text with dots in place of every secret known to config.secret, and of what stands where secrets stand."""
    _start_masking()
    return _mask.hide(text)


def mask_known_secrets(text: str) -> str:
    """As `mask_secrets`, for text that a program may read: only the secrets themselves are replaced."""
    _start_masking()
    return _mask.hide_known(text)


def configure_logging(settings: Settings) -> None:
    """Send every logger's records to the configured handlers; calling it again replaces ours and no other's.

    Raises ConfigurationError when the log file cannot be written.
    """
    _start_masking()
    mask_crashes()
    _mask.hides_amounts = settings.logging.mask_balances
    handlers: list[logging.Handler] = []
    if "console" in settings.logging.handlers:
        console = logging.StreamHandler(sys.stderr)
        console.addFilter(_worth_the_console)
        handlers.append(console)
    if "file" in settings.logging.handlers:
        handlers.append(_file_handler(settings.log_file))
    root = logging.getLogger()
    for handler in _ours:
        root.removeHandler(handler)
        handler.close()
    _ours[:] = handlers
    for handler in handlers:
        handler.setFormatter(JsonFormatter() if settings.logging.format == "json" else _formatter())
        root.addHandler(handler)
    for handler in _every_handler():
        if not any(isinstance(each, MaskFilter) for each in handler.filters):
            handler.addFilter(MaskFilter())
    root.setLevel(settings.logging.level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.NOTSET if settings.logging.level == "DEBUG" else logging.WARNING)


_mask = Mask()
_ours: list[logging.Handler] = []
_hand_over = logging.Logger.callHandlers


def _start_masking() -> None:
    if logging.Logger.callHandlers is _masked_hand_over:
        return
    # The one door through which every record goes to every handler, also to one that is added later (Prefect's, which
    # sends logs to its server). A record factory sees neither `extra` nor a record that somebody made by hand.
    logging.Logger.callHandlers = _masked_hand_over  # type: ignore[method-assign]
    watch_secrets(_mask.learn)


def _masked_hand_over(self: logging.Logger, record: logging.LogRecord) -> None:
    _mask.hide_in_record(record)
    _hand_over(self, record)


def mask_crashes() -> None:
    """Print the traceback of an error that nobody caught with its secrets masked, and keep it in the log file."""
    _start_masking()
    sys.excepthook = _tell_crash
    # Where somebody else (a test runner) listens to these, it keeps doing so.
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = lambda ignored: _tell_crash(
            ignored.exc_type, ignored.exc_value, ignored.exc_traceback, f"ignored in {ignored.err_msg or 'a finalizer'}"
        )
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda ended: _tell_crash(
            ended.exc_type, ended.exc_value, ended.exc_traceback, f"in thread {getattr(ended.thread, 'name', '?')}"
        )


def _tell_crash(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None, where: str = ""
) -> None:
    if issubclass(kind, SystemExit):
        return
    told = mask_secrets(f"{where}\n".lstrip() + "".join(traceback.format_exception(kind, error, trace)).rstrip())
    if sys.stderr is not None:
        # The terminal may be gone; the file must be told all the same.
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{told}\n")
    if not issubclass(kind, KeyboardInterrupt):
        crash = logging.LogRecord(__name__, logging.CRITICAL, __file__, 0, "crashed: %s", (told,), None)
        for handler in _ours:
            if isinstance(handler, SharedRotatingFile):
                handler.handle(crash)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC, ISO 8601), level, logger, message, and where known exchange and exception."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        exchange = getattr(record, "exchange", None) or _exchange_in(str(told["message"]))
        if exchange:
            told["exchange"] = str(exchange)
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            told["exception"] = record.exc_text
        if record.stack_info:
            told["stack"] = record.stack_info
        return json.dumps(told, ensure_ascii=False)


_EXCHANGE = re.compile(rf"\b({'|'.join(EXCHANGES)})\b")


def _exchange_in(message: str) -> str | None:
    """The exchange that a message begins with, as nearly all of ours do."""
    found = _EXCHANGE.search(message[:40])
    return found[1] if found else None


def _file_handler(path: Path) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return SharedRotatingFile(path, maxBytes=FILE_BYTES, backupCount=OLD_FILES, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"logging.file_path: cannot write {path} ({error.strerror}); "
            "set CRYPTO_BOT_HOME or logging.file_path to a place that this user may write"
        ) from error


def _formatter() -> logging.Formatter:
    form = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s"
    formatter = logging.Formatter(form, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    return formatter


def _every_handler() -> Iterator[logging.Handler]:
    loggers = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]
    for logger in loggers:
        if isinstance(logger, logging.Logger):
            yield from logger.handlers


def _leads_to(path: Path, file: int) -> bool:
    try:
        there = path.stat()
    except (FileNotFoundError, NotADirectoryError):  # another process may have moved it and not begun the next yet
        return False
    return os.path.samestat(there, os.fstat(file))
