"""Logging: to stderr and to a rotating file, with every known secret masked whoever logs it.

The mask is the second lock; the first is `config.secret.Secret`, whose text nobody prints. It stands in two
places: where any record is made (so that handlers of other libraries, also later ones, never see a secret)
and on our own handlers.
"""

import fcntl
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from config.errors import ConfigurationError
from config.secret import watch_secrets
from config.settings import Settings

FILE_BYTES = 10_000_000
OLD_FILES = 9
_DOTS = "••••"
# They tell of every request at INFO, with its URL.
_TALKATIVE = ("aiosqlite", "alembic", "asyncio", "httpcore", "httpx", "urllib3")


_TOLD_ELSEWHERE = (
    "prefect.flow_runs",
    "prefect.task_runs",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.events",  # one warning for each event while the API is away
    "APILogWorker",  # at its end Prefect's client counts what it has yet to hand in
    "EventsWorker",
)


class Mask:
    """Replaces every known secret text, in its raw, URL-encoded and escaped forms."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def learn(self, secret: str) -> None:
        """Hide this text from now on."""
        self._forms |= _forms(secret)
        longest_first = sorted(self._forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)

    def hide(self, text: str) -> str:
        """The text with every secret replaced by dots."""
        return text if self._pattern is None else self._pattern.sub(_DOTS, text)

    def hide_in_record(self, record: logging.LogRecord) -> None:
        """Mask message, arguments, traceback, stack and extra texts of a record."""
        if self._pattern is None:
            return
        try:
            said = record.getMessage()
        except (TypeError, ValueError, KeyError):
            # Format and arguments do not fit. Logging would print both as they are: say them here, masked.
            said = f"{record.msg} {record.args!r}"
            record.msg, record.args = said, ()
        hidden = self.hide(said)
        if hidden != said:
            record.msg, record.args = hidden, ()
        if isinstance(record.exc_info, tuple):
            trace = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            hidden = self.hide(trace)
            if hidden != trace:
                # without exc_info no formatter can render the exception anew
                record.exc_text, record.exc_info = hidden, None
        for name, value in list(vars(record).items()):
            if isinstance(value, str):
                setattr(record, name, self.hide(value))


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
        with self._alone():
            self._follow()
            # another process may have done it while we waited
            if Path(self.baseFilename).stat().st_size >= self.maxBytes // 2:
                super().doRollover()

    def _follow(self) -> None:
        """Reopen when the path no longer leads to the file that is open."""
        if self.stream is None:
            self.stream = self._open()
            return
        path, ours = Path(self.baseFilename), _identity(self.stream.fileno())
        if not path.exists() or _identity(path) != ours:
            self.stream.close()
            self.stream = self._open()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with Path(f"{self.baseFilename}.lock").open("w") as lock:
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
    """The text with every secret known to config.secret replaced by dots."""
    _start_masking()
    return _mask.hide(text)


def configure_logging(settings: Settings) -> None:
    """Send every logger's records to the configured handlers; calling it again replaces ours and no other's.

    Raises ConfigurationError when the log file cannot be written.
    """
    _start_masking()
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
        handler.setFormatter(_formatter())
        root.addHandler(handler)
    for handler in _every_handler():
        if not any(isinstance(each, MaskFilter) for each in handler.filters):
            handler.addFilter(MaskFilter())
    root.setLevel(settings.logging.level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


_mask = Mask()
_ours: list[logging.Handler] = []
_masking: list[Callable[..., logging.LogRecord]] = []  # the record factory that was there before ours


def _start_masking() -> None:
    if _masking:
        return
    made_by = logging.getLogRecordFactory()
    _masking.append(made_by)

    def masked_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = made_by(*args, **kwargs)
        _mask.hide_in_record(record)
        return record

    logging.setLogRecordFactory(masked_record)
    watch_secrets(_mask.learn)


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


def _forms(secret: str) -> set[str]:
    """The texts under which a secret may turn up: as it is, URL-encoded, escaped in a repr."""
    return {secret, repr(secret)[1:-1], quote(secret, safe=""), quote(secret), quote_plus(secret)}


def _every_handler() -> Iterator[logging.Handler]:
    loggers = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]
    for logger in loggers:
        if isinstance(logger, logging.Logger):
            yield from logger.handlers


def _identity(file: int | Path) -> tuple[int, int]:
    told = os.stat(file)  # noqa: PTH116 - of an open file as well
    return told.st_dev, told.st_ino
