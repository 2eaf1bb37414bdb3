"""Keep processes running: see that one died or fell silent, clear up after it, start it again, give up in time.

Knows nothing of traders or Prefect; what a process is and what its death asks for comes in as functions.
"""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

Process = subprocess.Popen[bytes]

POLL_SECONDS = 0.25
# A process that dies so often within the window does so for a reason that no restart removes.
MOST_DEATHS = 5
DEATH_WINDOW_SECONDS = 600.0
# The first restart is at once; then it waits 2, 4, 8 ... seconds.
LONGEST_WAIT_SECONDS = 30.0


@dataclass
class Child:
    """One process that must run. All times are seconds of a clock that never goes back.

    `clear_up` is called in a thread of its own after a death, before the next start; `may_start` holds the next start
    back while it says why not; `is_silent` asks for the end of a process that lives and does nothing; `give_up` is
    called once instead of one restart too many (None: never given up).
    """

    name: str
    start: Callable[[], Process]
    clear_up: Callable[[], object] = lambda: None
    may_start: Callable[[], str] = lambda: ""
    is_silent: Callable[[], bool] = lambda: False
    give_up: Callable[[], None] | None = None
    process: Process | None = None
    given_up: bool = False
    deaths: list[float] = field(default_factory=list)
    clearing: "Future[object] | None" = None
    waits_for: str = ""

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Looks after children until it is told to stop; they then keep running as they are.

    `say` tells a person; a callback that raises is told and the child is started again all the same.
    """

    def __init__(self, say: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._now = now
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="clear up")
        self.children: list[Child] = []

    def add(self, child: Child) -> None:
        """Start a child, as soon as it may, and look after it from now on."""
        self.children.append(child)
        self._start_if_allowed(child)

    def watch(self, stopped: threading.Event, enough: Callable[[], bool] = lambda: False) -> None:
        """Look after all children until `stopped` is set or there was `enough`."""
        while not stopped.is_set() and not enough():
            for child in self.children:
                self.look_after(child)
            stopped.wait(POLL_SECONDS)

    def look_after(self, child: Child) -> None:
        """One look at one child; never blocks."""
        if child.given_up:
            return
        if child.clearing is not None:
            self._after_clearing(child)
        elif child.process is None:
            self._start_if_allowed(child)
        elif child.process.poll() is not None:
            self._bury(child)
        elif child.is_silent():
            self._say(f"[red]{child.name} lives and does nothing: it is killed[/]")
            child.process.kill()

    def finish_clearing(self) -> None:
        """Wait for what still clears up; nothing is begun after this."""
        self._threads.shutdown(wait=True)

    def _bury(self, child: Child) -> None:
        assert child.process is not None
        now = self._now()
        child.deaths = [at for at in child.deaths if now - at < DEATH_WINDOW_SECONDS] + [now]
        self._say(f"[red]{child.name} ended with status {child.process.returncode}[/]; it starts again")
        child.process = None
        tired = child.give_up is not None and len(child.deaths) >= MOST_DEATHS
        child.given_up = tired
        after: Callable[[], object] = child.give_up if tired and child.give_up is not None else child.clear_up
        child.clearing = self._threads.submit(after)
        if tired:
            self._say(f"[red]{child.name} died {MOST_DEATHS} times in ten minutes: it is given up[/]")

    def _after_clearing(self, child: Child) -> None:
        assert child.clearing is not None
        if not child.clearing.done():
            return
        trouble = child.clearing.exception()
        child.clearing = None
        if trouble is not None:
            self._say(f"[red]clearing up after {child.name} failed: {trouble}[/]")
        self._start_if_allowed(child)

    def _start_if_allowed(self, child: Child) -> None:
        before = len(child.deaths)
        if before > 1 and self._now() - child.deaths[-1] < min(LONGEST_WAIT_SECONDS, 2.0 ** (before - 1)):
            return
        held = child.may_start()
        if held != child.waits_for:
            child.waits_for = held
            if held:
                self._say(f"{child.name} waits: {held}")
        if held:
            return
        try:
            child.process = child.start()
        except OSError as error:  # no memory for a process, a disk that takes no log: the other children go on
            self._say(f"[red]{child.name} could not be started ({error})[/]; it is tried again")
            child.deaths.append(self._now())


def end_in_order(process: Process | None, number: signal.Signals, seconds: float) -> int | None:
    """Send a signal, wait, kill what has not ended by then; the exit status, None for what never ran."""
    if process is None:
        return None
    if process.poll() is None:
        process.send_signal(number)
    return wait_or_kill(process, seconds)


def wait_or_kill(process: Process, seconds: float) -> int:
    """Wait for the end of a process; kill it after `seconds`."""
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def end_all(processes: Sequence[Process | None], number: signal.Signals, seconds: float) -> list[int | None]:
    """Signal all at once, then wait for all of them so long together; exit statuses in the same order."""
    for process in processes:
        if process is not None and process.poll() is None:
            process.send_signal(number)
    until = time.monotonic() + seconds
    return [
        None if process is None else wait_or_kill(process, max(0.0, until - time.monotonic())) for process in processes
    ]
