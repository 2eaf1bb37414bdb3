"""Run an asyncio program so that Ctrl+C and SIGTERM end it in order."""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from types import FrameType


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

    before = {each: signal.signal(each, on_signal) for each in (signal.SIGINT, signal.SIGTERM)}
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
