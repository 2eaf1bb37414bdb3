"""Run an asyncio program so that Ctrl+C, SIGTERM and the closing of its terminal end it in order."""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

from services.children import ending_signals

T = TypeVar("T")

_LET_FINISH_SECONDS = 3.0
_LAST_WORDS_SECONDS = 5.0


def run_until_stopped(program: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """Run `program` to its end and return its exit status; a signal sets its event, a second one changes nothing.

    The program runs in a thread of its own: Prefect takes over SIGTERM in the main thread while a flow runs, and would
    raise in the middle of whatever the event loop does (docs/adr/0007-the-cycle-is-a-flow.md).
    """
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    ended: list[int | BaseException] = []

    def work() -> None:
        asyncio.set_event_loop(loop)
        try:
            ended.append(loop.run_until_complete(program(stop)))
        except BaseException as error:  # handed to the main thread, which raises it
            ended.append(error)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)

    before = {each: signal.signal(each, on_signal) for each in ending_signals()}
    thread = threading.Thread(target=work, name="crypto-bot")
    try:
        thread.start()
        while thread.is_alive():
            thread.join(0.2)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    if isinstance(ended[0], BaseException):
        raise ended[0]
    return ended[0]


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Await `work`; a stop lets it finish for a moment, then cancels it (a placement is seen through): None.

    Prefect tells its server of every run that is cancelled, and one that hangs keeps it for most of a minute, three
    tries at each thing it says: each gets 5 s and is cancelled as well.
    """
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait({task}, timeout=_LET_FINISH_SECONDS)
    finally:
        # Also where the account was lost, which cancels us: no cycle goes on behind a trader that has ended.
        stopped.cancel()
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_LAST_WORDS_SECONDS)
    try:
        return task.result()
    except asyncio.CancelledError:
        if stop.is_set():
            return None
        raise
