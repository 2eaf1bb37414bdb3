"""The request budget: how many requests we allow ourselves, counted across every process that uses the
account.

One small file per venue host holds the recent requests; a lock beside it makes "count, then add" one step.
Windows roll in market time. The venue's figures are limits; the budget is a share of them
(`rate_limit_margin`), and a share of the budget (`cancel_reserve`) is left for cancelling, so that a busy
strategy can never keep us from getting out.

A venue that says "too many" has the last word over our own count: from then on every process is quiet (`be_quiet`),
longer each time it is said again, and what gets us out leaves at a slow pace.
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
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from services.clock import Clock

# A file that cannot be read may have been full: as long as this it is taken to be.
HOLD_MS = 60_000
_FIRST = "requests 1"
# How long "too many" keeps us quiet where the venue tells no time: doubled while it goes on, and forgotten after a
# minute without.
FIRST_QUIET_MS = 10_000
LONGEST_QUIET_MS = 60_000
_LONGEST_TOLD_MS = 3_600_000
_QUIET_FORGOTTEN_MS = 60_000
# What gets us out leaves so far apart while the venue wants quiet: it must be tried, and must not prolong a ban.
PACE_MS = 5_000
_EVERYBODY = "*"  # every account behind this address

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


@dataclass(frozen=True)
class _Quiet:
    """The venue has said "too many" to an account (`*`: to the address)."""

    since_ms: int
    until_ms: int
    account: str


@dataclass
class _Book:
    """What the file says: recent requests, until when everything waits because the file was torn, and who is to be
    quiet.
    """

    requests: list[_Request]
    hold_until_ms: int = 0
    quiet: list[_Quiet] = field(default_factory=list)


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
        self._uncounted: list[int] = []  # times (ms) of requests that left while the file could not be written

    def allowed(self, window: Window, *, cancelling: bool = False) -> int:
        """Requests that this budget lets through in one window (at least 1, or nothing would ever move)."""
        share = self._margin if cancelling else self._margin * (1 - self._cancel_reserve)
        return max(1, math.floor(window.limit * share + 1e-9))

    async def acquire(self, windows: Sequence[Window], *, cancelling: bool = False, at_most: float = math.inf) -> float:
        """Count one request in `windows`, waiting in market time for room in all; return the seconds waited.

        Raises NoRoom, uncounted, where that would take longer than `at_most` seconds; OSError when the file cannot be
        written, unless the request is one that gets us out: those then leave within the reserve, counted in memory.
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
                wait_ms = self._take_from_reserve(windows)
            if wait_ms == 0:
                return waited
            if waited + wait_ms / 1000 > at_most:
                raise NoRoom(f"the next request may leave in {wait_ms / 1000:g} s")
            await self._clock.sleep(wait_ms / 1000)
            waited += wait_ms / 1000

    async def room(self, windows: Sequence[Window]) -> None:
        """Return when the next request would not have to wait; nothing is counted and no place is kept.

        Raises NoRoom while the venue wants quiet (what was decided before would be old by its end), OSError when the
        file cannot be read or written.
        """
        if (quiet_ms := self.quiet_ms()) > 0:
            raise NoRoom(f"the venue has asked for fewer requests, we are quiet for {quiet_ms / 1000:g} s more")
        while (wait_ms := self._take(windows, cancelling=False, counted=False)) > 0:
            await self._clock.sleep(wait_ms / 1000)

    def be_quiet(self, seconds: float = 0.0, *, whole_address: bool = False) -> float:
        """Note that the venue has said "too many": no request of the account (or address) for a while, by any process;
        return for how many seconds.

        `seconds`: what the venue told; a longer time of our own holds. Never raises: what the venue said must reach
        the caller, and a file that cannot be written lets no request out but those that get us out.
        """
        account = _EVERYBODY if whole_address else self._account
        try:
            with self._locked():
                now_ms = self._now_ms()
                book = self._read(now_ms)
                before = next((each for each in book.quiet if each.account == account), None)
                length_ms, since_ms = FIRST_QUIET_MS, now_ms
                if before is not None and now_ms < before.until_ms:  # said again meanwhile: further
                    length_ms, since_ms = min(before.until_ms - before.since_ms, LONGEST_QUIET_MS), before.since_ms
                elif before is not None:
                    length_ms = min(2 * (before.until_ms - before.since_ms), LONGEST_QUIET_MS)
                length_ms = max(length_ms, min(math.ceil(seconds * 1000), _LONGEST_TOLD_MS))
                until_ms = max(now_ms + length_ms, before.until_ms if before is not None else 0)
                book.quiet = [each for each in book.quiet if each.account != account]
                book.quiet.append(_Quiet(since_ms, until_ms, account))
                self._write(book)
        except OSError as error:
            _log.warning("the venue asks for fewer requests, and that cannot be written down: %s", error)
            return 0.0
        return (until_ms - now_ms) / 1000

    def quiet_ms(self) -> int:
        """Milliseconds for which the venue still wants quiet, 0 when it does not."""
        with self._locked():
            now_ms = self._now_ms()
            return self._quiet_ms(self._read(now_ms), now_ms)

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
            quiet_ms = self._quiet_ms(book, now_ms)
            if quiet_ms and cancelling:
                ours = [request.at_ms for request in book.requests if request.account == self._account]
                wait_ms = max(wait_ms, max(ours, default=0) + PACE_MS - now_ms)
            elif quiet_ms:
                wait_ms = max(wait_ms, quiet_ms)
            if wait_ms == 0 and counted:
                names = frozenset(window.name for window in windows)
                book.requests.append(_Request(now_ms, self._account, names))
                self._write(book)
            return wait_ms

    def _take_from_reserve(self, windows: Sequence[Window]) -> int:
        """Count in memory, where the file cannot; nothing but what gets us out is sent then. As `_take`."""
        now_ms, wait_ms = self._now_ms(), 0
        self._uncounted = [at_ms for at_ms in self._uncounted if now_ms - self._memory_ms <= at_ms <= now_ms]
        for window in windows:
            inside = [at_ms for at_ms in self._uncounted if at_ms >= now_ms - window.milliseconds]
            excess = len(inside) - max(1, self.allowed(window, cancelling=True) - self.allowed(window))
            if excess >= 0:
                wait_ms = max(wait_ms, inside[excess] + window.milliseconds + 1 - now_ms)
        if wait_ms == 0:
            self._uncounted.append(now_ms)
        return wait_ms

    def _quiet_ms(self, book: _Book, now_ms: int) -> int:
        ours = [each.until_ms - now_ms for each in book.quiet if each.account in (self._account, _EVERYBODY)]
        return max(0, *ours, 0)

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
        book.quiet = [
            each
            for each in book.quiet
            if now_ms - _QUIET_FORGOTTEN_MS <= each.until_ms <= now_ms + _LONGEST_TOLD_MS and each.since_ms <= latest
        ]
        return book

    def _write(self, book: _Book) -> None:
        lines = [f"{_FIRST} {book.hold_until_ms}"]
        lines += [f"{each.at_ms} {each.account} {','.join(sorted(each.windows))}" for each in book.requests]
        lines += [f"quiet {each.since_ms} {each.until_ms} {each.account}" for each in book.quiet]
        lines.append(f"end {len(lines) - 1}\n")
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
            if line.startswith("quiet "):
                _, since_ms, until_ms, account = line.split(" ", 3)
                book.quiet.append(_Quiet(int(since_ms), int(until_ms), account))
                continue
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
