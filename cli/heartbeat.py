"""A trader's sign of life for the `crypto-bot up` that looks after it: a small file that changes each second.

It is written by the trader's event loop, so that it stands still when the process is stopped and when the loop hangs.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from config.settings import ExchangeName

_BEAT_SECONDS = 1.0


def beat_file(home: Path, exchange: ExchangeName) -> Path:
    """Where the trader of an exchange writes its sign of life."""
    return home / "run" / f"trader-{exchange}.beat"


@contextlib.asynccontextmanager
async def beating(file: Path) -> AsyncIterator[None]:
    """Write signs of life for the length of the block. A disk that takes none ends no trader: it is then taken for one
    that hangs, and started again.
    """
    task = asyncio.create_task(_beat(file))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _beat(file: Path) -> None:
    number = 0
    while True:
        number += 1
        with contextlib.suppress(OSError):
            _write(file, number)
        await asyncio.sleep(_BEAT_SECONDS)


def _write(file: Path, number: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{number}\n", encoding="utf-8")


def last_beat(file: Path) -> str | None:
    """What the sign of life says now: something else each second; None before the first."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return None
