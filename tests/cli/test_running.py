"""How a part of the trader's work is ended by a stop."""

import asyncio

import anyio
import pytest

from cli import running
from cli.running import unless_stopped
from execution.desk import see_through


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_LET_FINISH_SECONDS", 0.05)
    monkeypatch.setattr(running, "_LAST_WORDS_SECONDS", 0.05)


@pytest.fixture
def stop() -> asyncio.Event:
    told = asyncio.Event()
    told.set()
    return told


async def test_work_that_is_nearly_done_is_let_finish(stop: asyncio.Event) -> None:
    assert await unless_stopped(stop, asyncio.sleep(0.001, "done")) == "done"


async def test_last_words_to_a_server_that_hangs_are_cut_short_each_of_them(stop: asyncio.Event) -> None:
    said = []

    async def work() -> None:
        try:
            try:
                await asyncio.sleep(60)
            finally:
                said.append("crashed")
                with anyio.CancelScope(shield=True):  # as Prefect's engine does
                    await anyio.sleep(60)
        finally:
            said.append("ended")
            await asyncio.sleep(60)

    assert await asyncio.wait_for(unless_stopped(stop, work()), 10) is None
    assert said == ["crashed", "ended"]


async def test_what_is_seen_through_is_not_cut_short(stop: asyncio.Event) -> None:
    answer = asyncio.Event()
    placing = asyncio.ensure_future(unless_stopped(stop, see_through(answer.wait())))
    done, _ = await asyncio.wait({placing}, timeout=0.5)  # of ten cancellations none
    assert not done
    answer.set()
    assert await placing is None
