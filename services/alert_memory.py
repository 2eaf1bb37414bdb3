"""What has been told, so that it is not told again every minute: a small file under home that all processes share.

Held back is what was told less than `repeat` ago; it comes with the daily digest. A file that cannot be read, written
or locked holds up nothing: this process then goes by what it remembers itself, and rather tells too much.
"""

import contextlib
import fcntl
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from services.files import write_whole
from trading.day import JAPAN
from trading.notices import Notice

log = logging.getLogger(__name__)

_MOST_KEYS = 200  # kept for the digest; what names ids could otherwise grow without end
_LOCK_SECONDS = 2.0


@dataclass(frozen=True)
class Since:
    """What has happened since the last digest: a line for each key, and what could not be delivered."""

    lines: tuple[str, ...]
    failures: dict[str, int]


class AlertMemory:
    """The file `<home>/alerts/memory.json`. All times aware UTC, from the caller's clock; calls may wait for a lock."""

    def __init__(self, home: Path, repeat: timedelta, levels: tuple[str, ...], least: str) -> None:
        """`levels` from the least to the gravest; `least` is the first that any channel is told."""
        self._path = home / "alerts" / "memory.json"
        self._repeat = repeat
        self._levels = levels
        self._heard = frozenset(levels[levels.index(least) :])
        self._state = _empty()
        self._stamp: tuple[int, ...] | None = None  # of the file as this process left it
        self._changed = False

    def judge(self, notices: Sequence[Notice], now: datetime) -> tuple[Notice, ...]:
        """What to tell of these now, in their order; what is missing is held back."""
        with self._shared() as state:
            judged = (self._judge(state, notice, now) for notice in notices)
            return tuple(each for each in judged if each is not None)

    def _judge(self, state: dict[str, Any], notice: Notice, now: datetime) -> Notice | None:
        level, key, text = notice.level, notice.key, notice.text
        known = state["open"].get(key)
        if notice.over and known is None:
            return None
        self._changed = True
        if notice.once:
            _note(state, f"{key} {now.isoformat()}", level, text, now, sent=level in self._heard)
            return notice
        if notice.over:
            del state["open"][key]
            _note(state, key, known["level"], known["text"], now, sent=known["level"] in self._heard, more=0)
            text = f"over: {known['text']} ({known['times']} times since {_clock_time(known['since'])})"
            return replace(notice, level=known["level"], text=text)
        if known is None or now - datetime.fromisoformat(known["last"]) > self._repeat:
            known = {"since": now.isoformat(), "times": 0, "sent": "", "level": level}
        known["times"] += 1
        said_before = bool(known["sent"])
        graver = self._levels.index(level) > self._levels.index(known["level"])
        # A time that is yet to come was written by a clock that has been set back since: it holds nothing back.
        waits = said_before and timedelta(0) <= now - datetime.fromisoformat(known["sent"]) < self._repeat
        told = graver or not waits
        gravest = max(level, known["level"], key=self._levels.index)
        sent = now.isoformat() if told else known["sent"]
        state["open"][key] = {**known, "level": gravest, "text": text, "last": now.isoformat(), "sent": sent}
        _note(state, key, gravest, text, now, sent=told and level in self._heard)
        if not told:
            return None
        if said_before:
            text = f"{text}\nstill so: {known['times']} times since {_clock_time(known['since'])}"
        return replace(notice, text=text)

    def take_back(self, key: str) -> None:
        """No channel took what was to be told under this key: nobody was told, and the next time somebody must be."""
        with self._shared() as state:
            if key in state["open"]:
                self._changed = True
                state["open"][key]["sent"] = ""

    def count_failure(self, channel: str) -> None:
        """One message that a channel did not take."""
        with self._shared() as state:
            self._changed = True
            state["failed"][channel] = state["failed"].get(channel, 0) + 1

    def since_last_digest(self) -> Since:
        """What the next digest tells."""
        with self._shared() as state:
            lines = tuple(
                f"[{told['level']}] {told['text']} ({told['times']} times, told {told['sent']}, last "
                f"{_clock_time(told['last'])}{', still so' if key in state['open'] else ''})"
                for key, told in state["day"].items()
            )
            return Since(lines, dict(state["failed"]))

    def begin_new_digest(self) -> None:
        """The digest was taken by somebody: the next one begins empty."""
        with self._shared() as state:
            self._changed = True
            state["day"], state["failed"] = {}, {}

    def forget(self) -> None:
        """Begin anew, where what stands there cannot be understood."""
        with self._shared() as state:
            self._changed = True
            state |= _empty()

    @contextlib.contextmanager
    def _shared(self) -> Iterator[dict[str, Any]]:
        """The state as all processes know it, written back at the end; our own where there is no sharing."""
        with contextlib.ExitStack() as stack:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context(self._path.with_name("lock").open("w"))
                _lock_in_time(lock.fileno())
                if self._stamp is None or self._stamp != _stamp(self._path):
                    self._state = self._read()
            except OSError as error:
                log.warning("alerts: %s cannot be shared (%s)", self._path, error)
                yield self._state
                return
            self._changed = False
            yield self._state
            if not self._changed:
                return
            try:
                write_whole(self._path, json.dumps(self._state, ensure_ascii=False))
                self._stamp = _stamp(self._path)
            except OSError as error:
                log.warning("alerts: %s cannot be written (%s)", self._path, error)

    def _read(self) -> dict[str, Any]:
        try:
            told = json.loads(self._path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return _empty()
        return told if isinstance(told, dict) and set(told) == set(_empty()) else _empty()


def _empty() -> dict[str, Any]:
    return {"open": {}, "day": {}, "failed": {}}


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        told = path.stat()
    except FileNotFoundError:
        return None
    return told.st_ino, told.st_size, told.st_mtime_ns


def _lock_in_time(file: int) -> None:
    """Raises BlockingIOError when another process keeps the lock."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _note(state: dict[str, Any], key: str, level: str, text: str, now: datetime, *, sent: bool, more: int = 1) -> None:
    """Count it for the digest."""
    day = state["day"]
    if key not in day and len(day) >= _MOST_KEYS:
        key, text = "more", "more than can be listed"
    told = day.setdefault(key, {"times": 0, "sent": 0})
    told |= {"level": level, "text": text, "last": now.isoformat()}
    told["times"] += more
    told["sent"] += sent


def _clock_time(moment: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone(JAPAN):%m-%d %H:%M} JST"
