"""Beginning a child process so that it is always known to the one who must end it."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


def ending_signals() -> tuple[signal.Signals, ...]:
    """The signals that end a process in order: Ctrl+C, SIGTERM and the terminal's closing (not under `nohup`)."""
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    return signal.SIGINT, signal.SIGTERM, *hangup


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Let what ends us in order wait for the end of the block: a child that begins in that moment is not forgotten.

    The child itself begins with the usual answers to it. In another thread than the main one nothing is to be held:
    Python runs no handlers there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)

    before = {each: signal.signal(each, hold) for each in ending_signals()}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for number in held:
            signal.raise_signal(number)
