"""A child that begins while somebody presses Ctrl+C is known to the one who must end it."""

import signal
import threading
from types import FrameType

import pytest

from services.children import signals_held


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def number(request: pytest.FixtureRequest) -> signal.Signals:
    return signal.Signals(request.param)


def test_a_signal_waits_for_the_end_of_the_block(number: signal.Signals) -> None:
    def unwind(got: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, unwind)
    done = []
    try:
        with pytest.raises(KeyboardInterrupt), signals_held():
            signal.raise_signal(number)
            done.append("the child is known")
        assert signal.getsignal(number) is unwind
    finally:
        signal.signal(number, before)
    assert done == ["the child is known"]


def test_in_another_thread_the_block_is_simply_run() -> None:
    def inside() -> None:
        with signals_held():
            done.append(threading.current_thread().name)

    done: list[str] = []
    thread = threading.Thread(target=inside, name="apart")
    thread.start()
    thread.join()
    assert done == ["apart"]
