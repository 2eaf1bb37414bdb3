"""The request budget: how many requests we allow ourselves, counted across every process that uses the
account.

One small file per venue host holds the recent requests; a lock beside it makes "count, then add" one step.
Windows roll in market time. The venue's figures are limits; the budget is a share of them
(`rate_limit_margin`), and a share of the budget (`cancel_reserve`) is left for cancelling, so that a busy
strategy can never keep us from getting out.
"""

import errno
import fcntl
import hashlib
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from services.clock import Clock

# A file that cannot be read may have been full: as long as this it is taken to be.
HOLD_MS = 60_000
_FIRST = "requests 1"

_log = logging.getLogger(__name__)

_urgent: ContextVar[bool] = ContextVar("whether requests may use the cancel reserve", default=False)


@contextmanager
def urgent() -> Iterator[None]:
    """Inside, every request may draw on the cancel reserve: for the reads that a stop cannot do without."""
    token = _urgent.set(True)
    try:
        yield
    finally:
        _urgent.reset(token)


class NoRoom(Exception):
    """The budget is used up for longer than the request can wait; nothing was counted."""


@dataclass(frozen=True)
class Window:
    """At most `limit` requests in any `seconds`, as the venue (or the configuration) says it.

    Requests with the same `name` are counted together. `per_address`: every account behind this machine's
    address counts, not ours alone.
    """

    name: str
    limit: int
    seconds: float
    per_address: bool = False

    @property
    def milliseconds(self) -> int:
        return math.ceil(self.seconds * 1000)


@dataclass(frozen=True)
class _Request:
    at_ms: int
    account: str
    windows: frozenset[str]


@dataclass
class _Book:
    """What the file says: recent requests, and until when everything waits because the file was torn."""

    requests: list[_Request]
    hold_until_ms: int = 0


def key_fingerprint(api_key: str) -> str:
    """Eight hex characters that tell one API key from another without telling the key."""
    return hashlib.sha256(b"crypto-bot budget " + api_key.encode()).hexdigest()[:8]


class RequestBudget:
    """Waits until a request may leave, and counts it.

    `windows` must name every window that is ever asked for: they say how long requests are remembered.
    """

    def __init__(
        self,
        path: Path,
        windows: Sequence[Window],
        clock: Clock,
        *,
        account: str = "",
        margin: float = 0.8,
        cancel_reserve: float = 0.2,
    ) -> None:
        self._path = path
        self._lock_path = path.with_name(path.name + ".lock")
        self._clock = clock
        self._account = account or "-"
        self._margin = margin
        self._cancel_reserve = cancel_reserve
        self._memory_ms = max((window.milliseconds for window in windows), default=HOLD_MS)

    def allowed(self, window: Window, *, cancelling: bool = False) -> int:
        """Requests that this budget lets through in one window (at least 1, or nothing would ever move)."""
        share = self._margin if cancelling else self._margin * (1 - self._cancel_reserve)
        return max(1, math.floor(window.limit * share + 1e-9))

    async def acquire(self, windows: Sequence[Window], *, cancelling: bool = False, at_most: float = math.inf) -> float:
        """Count one request in `windows`, waiting in market time for room in all; return the seconds waited.

        Raises NoRoom, uncounted, where that would take longer than `at_most` seconds; OSError when the file cannot be
        written, unless the request is one that gets us out.
        """
        waited = 0.0
        cancelling = cancelling or _urgent.get()
        while True:
            try:
                wait_ms = self._take(windows, cancelling=cancelling)
            except OSError as error:
                if not cancelling:
                    raise
                # A full disk must not keep orders in the market: uncounted is better than uncancelled.
                _log.warning("request budget cannot be kept, cancelling without it: %s", error)
                return waited
            if wait_ms == 0:
                return waited
            if waited + wait_ms / 1000 > at_most:
                raise NoRoom(f"the next request may leave in {wait_ms / 1000:g} s")
            await self._clock.sleep(wait_ms / 1000)
            waited += wait_ms / 1000

    async def room(self, windows: Sequence[Window]) -> None:
        """Return when the next request would not have to wait; nothing is counted and no place is kept. Raises OSError
        when the file cannot be read or written.
        """
        while (wait_ms := self._take(windows, cancelling=False, counted=False)) > 0:
            await self._clock.sleep(wait_ms / 1000)

    def used(self, window: Window) -> int:
        """Requests counted in the window up to now, by all processes."""
        with self._locked():
            now_ms = self._now_ms()
            return len(self._counted(self._read(now_ms), window, now_ms))

    def _take(self, windows: Sequence[Window], *, cancelling: bool, counted: bool = True) -> int:
        """Count the request (or only look) and return 0, or return the milliseconds after which to try again."""
        with self._locked():
            # Read behind the lock: a process that waited for it would else write down a moment long past.
            now_ms = self._now_ms()
            book = self._read(now_ms)
            held = book.hold_until_ms > now_ms
            wait_ms = 0 if cancelling or not held else book.hold_until_ms - now_ms
            for window in windows:
                inside = self._counted(book, window, now_ms)
                allowed = self.allowed(window, cancelling=cancelling)
                if cancelling and held:
                    # What the torn file knew may have used up all but what is kept back for this.
                    allowed = max(1, allowed - self.allowed(window))
                excess = len(inside) - allowed
                if excess >= 0:
                    # The request that must leave the window before there is room for one more.
                    wait_ms = max(wait_ms, inside[excess] + window.milliseconds + 1 - now_ms)
            if wait_ms == 0 and counted:
                names = frozenset(window.name for window in windows)
                book.requests.append(_Request(now_ms, self._account, names))
                self._write(book)
            return wait_ms

    def _counted(self, book: _Book, window: Window, now_ms: int) -> list[int]:
        """Times of the requests that stand in the window, oldest first; the far edge counts as inside."""
        return sorted(
            request.at_ms
            for request in book.requests
            if window.name in request.windows
            and (window.per_address or request.account == self._account)
            and request.at_ms >= now_ms - window.milliseconds
        )

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Held for microseconds and never across an await: the kernel lets go when a process dies.
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock_path.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self, now_ms: int) -> _Book:
        try:
            text = self._path.read_text(encoding="ascii")
        except FileNotFoundError:
            return _Book([])
        except UnicodeDecodeError:
            text = ""
        book = _parse(text)
        if book is None:
            book = _Book([], hold_until_ms=now_ms + HOLD_MS)
            self._write(book)
        # A time beyond one window ahead was written on another clock (a demo's market time): it says nothing
        # here.
        earliest, latest = now_ms - self._memory_ms, now_ms + self._memory_ms
        book.requests = [request for request in book.requests if earliest <= request.at_ms <= latest]
        if book.hold_until_ms > now_ms + HOLD_MS:
            book.hold_until_ms = 0
        return book

    def _write(self, book: _Book) -> None:
        lines = [f"{_FIRST} {book.hold_until_ms}"]
        lines += [f"{each.at_ms} {each.account} {','.join(sorted(each.windows))}" for each in book.requests]
        lines.append(f"end {len(book.requests)}\n")
        text = "\n".join(lines).encode("ascii")
        # Written over in one piece, in microseconds (a rename waits for the disk), and only then cut: a
        # process that dies in between leaves old lines behind the end, and those are not read.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            written = os.write(descriptor, text)
            os.ftruncate(descriptor, written)
        finally:
            os.close(descriptor)
        if written < len(text):
            raise OSError(errno.ENOSPC, "the request budget was written in part", str(self._path))


def _parse(text: str) -> _Book | None:
    """What a budget file says, or None when it is not whole."""
    whole, end, _ = text.partition("\nend ")
    lines = whole.splitlines()
    if not end or not text.startswith(f"{whole}\nend {len(lines) - 1}\n"):
        return None
    first, _, hold = lines[0].rpartition(" ")
    try:
        book = _Book([], hold_until_ms=int(hold))
        for line in lines[1:]:
            at_ms, account, names = line.split(" ", 2)
            book.requests.append(_Request(int(at_ms), account, frozenset(names.split(","))))
    except ValueError:
        return None
    return book if first == _FIRST else None


@dataclass(frozen=True)
class Need:
    """The requests a minute that a configuration asks for, beside what is allowed for them."""

    per_minute: float
    allowed_per_minute: int
    requests_per_minute: int
    by_call: Mapping[str, float]

    @property
    def fits(self) -> bool:
        return self.per_minute <= self.allowed_per_minute

    def __str__(self) -> str:
        calls = ", ".join(f"{call} {count:g}" for call, count in self.by_call.items())
        verdict = "fits" if self.fits else "does not fit: raise execution.cycle_seconds or requests_per_minute"
        return (
            f"{self.per_minute:.1f} requests a minute ({calls} a cycle) of {self.allowed_per_minute} "
            f"allowed (limit {self.requests_per_minute}): {verdict}"
        )


def requests_needed(
    calls: Mapping[str, float],
    costs: Mapping[str, int],
    *,
    cycle_seconds: float,
    requests_per_minute: int,
    margin: float,
    cancel_reserve: float,
) -> Need:
    """What a cycle asks of the budget: `calls` are method calls a cycle, `costs` requests a call (1 where
    unnamed).
    """
    by_call = {call: count * costs.get(call, 1) for call, count in calls.items()}
    allowed = max(1, math.floor(requests_per_minute * margin * (1 - cancel_reserve) + 1e-9))
    per_minute = sum(by_call.values()) * timedelta(minutes=1).total_seconds() / cycle_seconds
    return Need(per_minute, allowed, requests_per_minute, by_call)
