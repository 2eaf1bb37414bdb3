"""The ledger as the emergency stop uses it: asked in a thread, waited for a moment only, and never in the way.

A database that is locked, gone or on a host that does not answer costs its caller seconds; cancelling has no
time for that. What comes too late is dropped, and the stop goes on as if there were no ledger.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from config.errors import ConfigurationError
from services.ledger import Ledger, LedgerConflict, LedgerUnavailable
from trading.orders import IllegalTransition

T = TypeVar("T")

ANSWER_SECONDS = 2.0
BUSY_SECONDS = 1.0  # how long the ledger itself waits for another process's lock


async def within(seconds: float, work: Callable[[], T]) -> T:
    """Run blocking `work` in a thread and return its result, or raise what it raised.

    Raises LedgerUnavailable when it takes longer than `seconds` of the wall; the thread is left behind (a daemon: it
    keeps no process alive) and what it comes to is dropped.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failed = None, None
        try:
            result = work()
        except Exception as error:  # handed on to whoever waits
            failed = error
        try:
            loop.call_soon_threadsafe(settle, result, failed)
        except RuntimeError:
            return  # the loop has ended meanwhile: nobody waits

    threading.Thread(target=run, daemon=True).start()
    try:
        return await asyncio.wait_for(answer, seconds)
    except TimeoutError:
        raise LedgerUnavailable(f"the ledger has not answered within {seconds:g} s") from None


class LedgerInReach:
    """A ledger that may be away, or come back: opened when first asked, asked one question at a time."""

    def __init__(self, opener: Callable[[], Ledger] | None, ledger: Ledger | None = None) -> None:
        self._opener = opener
        self._ledger = ledger
        self._asking = asyncio.Lock()
        self._running = 0

    @classmethod
    def of(cls, ledger: "Ledger | LedgerInReach | None") -> "LedgerInReach":
        """What a caller has, as one of these; None stays a ledger that is away."""
        return ledger if isinstance(ledger, LedgerInReach) else cls(None, ledger)

    @property
    def opened(self) -> Ledger | None:
        """The ledger, where it could be opened."""
        return self._ledger

    async def ask(self, work: Callable[[Ledger], T]) -> T:
        """Return what `work` makes of the ledger. Raises LedgerUnavailable, also when it takes too long or fails in a
        way of its own; LedgerConflict and IllegalTransition as they are.
        """
        async with self._asking:
            if self._running:
                raise LedgerUnavailable("the ledger still owes an answer to an earlier question")
            self._running += 1
            return await within(ANSWER_SECONDS, lambda: self._answer(work))

    def _answer(self, work: Callable[[Ledger], T]) -> T:
        try:
            if self._ledger is None:
                if self._opener is None:
                    raise LedgerUnavailable("there is no ledger")
                try:
                    self._ledger = self._opener()
                except ConfigurationError as error:
                    raise LedgerUnavailable(str(error)) from error
            return work(self._ledger)
        except (LedgerUnavailable, LedgerConflict, IllegalTransition):
            raise
        except Exception as error:  # a row that cannot be read, a text that no database takes: cancelling goes on
            raise LedgerUnavailable(f"the ledger failed with {type(error).__name__}: {error}") from error
        finally:
            self._running -= 1

    def close(self) -> None:
        """Close the ledger, where it was opened."""
        if self._ledger is not None and self._opener is not None:
            self._ledger.close()
