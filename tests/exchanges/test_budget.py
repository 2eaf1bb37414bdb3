import asyncio
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from exchanges.budget import RequestBudget, Window, key_fingerprint, requests_needed, urgent
from tests.exchanges.loopback import NOW, StillClock

MINUTE = Window("venue a minute", 10, 60.0)


def budget(
    path: Path, clock: StillClock, *, account: str = "", margin: float = 1.0, reserve: float = 0.0
) -> RequestBudget:
    longest = Window("longest", 1, 300.0)
    return RequestBudget(path, (MINUTE, longest), clock, account=account, margin=margin, cancel_reserve=reserve)


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "budget" / "venue.requests"


async def take(allowance: RequestBudget, count: int, *windows: Window, cancelling: bool = False) -> float:
    return sum([await allowance.acquire(windows or (MINUTE,), cancelling=cancelling) for _ in range(count)])


async def test_a_full_window_is_waited_out_until_its_oldest_request_has_left(file: Path, clock: StillClock) -> None:
    allowance = budget(file, clock)
    await take(allowance, 4)
    await clock.sleep(20)
    assert await take(allowance, 6) == 0
    assert await take(allowance, 1) == pytest.approx(40, abs=0.01)
    assert allowance.used(MINUTE) == 7


async def test_only_the_margin_of_the_limit_is_used(file: Path, clock: StillClock) -> None:
    allowance = budget(file, clock, margin=0.8)
    assert await take(allowance, 8) == 0
    assert await take(allowance, 1) > 0


async def test_cancelling_may_use_the_share_that_nothing_else_may(file: Path, clock: StillClock) -> None:
    allowance = budget(file, clock, margin=0.8, reserve=0.25)
    assert allowance.allowed(MINUTE) == 6
    assert await take(allowance, 6) == 0
    assert await take(allowance, 2, cancelling=True) == 0
    assert await take(allowance, 1, cancelling=True) > 0


async def test_urgent_reads_may_use_the_reserve_too_and_only_those(file: Path, clock: StillClock) -> None:
    allowance = budget(file, clock, reserve=0.5)
    await take(allowance, 5)
    with urgent():
        assert await take(allowance, 5) == 0
    assert await take(allowance, 1) > 0


async def test_every_window_must_have_room(file: Path, clock: StillClock) -> None:
    allowance = budget(file, clock)
    second = Window("orders a second", 2, 1.0)
    assert await take(allowance, 2, MINUTE, second) == 0
    assert await take(allowance, 1, MINUTE) == 0
    assert await take(allowance, 1, MINUTE, second) == pytest.approx(1, abs=0.01)


async def test_a_window_too_small_for_the_margin_still_lets_one_request_through(file: Path, clock: StillClock) -> None:
    assert budget(file, clock, margin=0.1, reserve=0.9).allowed(Window("one a second", 1, 1.0)) == 1


async def test_another_account_counts_only_where_the_venue_counts_the_address(file: Path, clock: StillClock) -> None:
    address = Window("address", 10, 60.0, per_address=True)
    ours, theirs = budget(file, clock, account="ours"), budget(file, clock, account="theirs")
    await take(theirs, 10, MINUTE, address)
    assert await take(ours, 10, MINUTE) == 0
    assert await take(ours, 1, address) > 0


async def test_a_second_client_of_the_account_shares_the_budget(file: Path, clock: StillClock) -> None:
    await take(budget(file, clock), 10)
    assert await take(budget(file, clock), 1) > 0


@pytest.mark.parametrize(
    "torn",
    [
        b"",
        b"requests 1 0\n1767614430000 - venue a minute\n",  # the line that counts is missing
        b"requests 1 0\n17676",
        b"requests 1 0\n1767614430000 - a\nend 7\n",
        b"requests 9 0\nend 0\n",
        b"requests 1 0\nyesterday - a\nend 1\n",
        b"\xff\xfe\x00",
    ],
)
def test_a_torn_file_counts_as_full_for_a_minute(file: Path, clock: StillClock, torn: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(torn)
    allowance = budget(file, clock)
    assert asyncio.run(take(allowance, 1)) == pytest.approx(60, abs=0.01)
    assert asyncio.run(take(allowance, 9)) == 0


def test_a_whole_file_is_read_back_by_the_next_process(file: Path, clock: StillClock) -> None:
    asyncio.run(take(budget(file, clock), 3))
    assert file.read_text().endswith("end 3\n")
    assert budget(file, clock).used(MINUTE) == 3


def test_what_stands_behind_the_end_of_a_file_is_not_read(file: Path, clock: StillClock) -> None:
    """A process that died between writing and cutting leaves the tail of the longer, older text."""
    asyncio.run(take(budget(file, clock), 2))
    file.write_text(file.read_text() + "1767614430000 - venue a minute\nend 10\n")
    assert budget(file, clock).used(MINUTE) == 2


def test_without_a_place_to_count_nothing_is_sent_but_a_cancel(tmp_path: Path, clock: StillClock) -> None:
    (tmp_path / "in-the-way").write_text("a file, not a folder")
    allowance = budget(tmp_path / "in-the-way" / "venue.requests", clock)
    with pytest.raises(OSError, match="in-the-way"):
        asyncio.run(take(allowance, 1))
    assert asyncio.run(take(allowance, 1, cancelling=True)) == 0


@pytest.mark.parametrize("days", [-300, 300])
async def test_requests_of_another_clock_are_forgotten(file: Path, clock: StillClock, days: int) -> None:
    await take(budget(file, StillClock(NOW + timedelta(days=days))), 10)
    assert await take(budget(file, clock), 10) == 0


def test_a_hold_of_another_clock_is_forgotten(file: Path, clock: StillClock) -> None:
    file.parent.mkdir()
    file.write_text("torn")
    later = budget(file, StillClock(NOW + timedelta(days=300)))
    assert later.used(MINUTE) == 0  # has written its hold
    assert asyncio.run(take(budget(file, clock), 1)) == 0


async def test_a_request_of_a_process_whose_clock_is_a_little_ahead_counts(file: Path, clock: StillClock) -> None:
    await take(budget(file, StillClock(NOW + timedelta(seconds=30))), 10)
    assert await take(budget(file, clock), 1) == pytest.approx(90, abs=0.01)


async def test_tasks_of_one_process_never_share_a_place(file: Path, clock: StillClock) -> None:
    allowance = budget(file, clock)
    await asyncio.gather(*(take(allowance, 1) for _ in range(25)))
    assert clock.now() - NOW >= timedelta(seconds=120)


_PROCESS = """
import asyncio, json, sys
from pathlib import Path
from exchanges.budget import RequestBudget, Window
from services.clock import WallClock

class Watch(WallClock):
    def now(self):
        self.last = super().now()
        return self.last

async def main():
    clock, window = Watch(), Window("shared", 20, 0.5)
    budget = RequestBudget(Path(sys.argv[1]), (window,), clock, margin=0.8, cancel_reserve=0)
    taken = []
    for _ in range(30):
        await budget.acquire((window,))
        taken.append(int(clock.last.timestamp() * 1000))
    print(json.dumps(taken))

asyncio.run(main())
"""


def test_three_processes_together_never_exceed_the_budget(file: Path) -> None:
    command = [sys.executable, "-c", _PROCESS, str(file)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    taken = sorted(moment for each in running for moment in json.loads(each.communicate(timeout=60)[0]))
    assert len(taken) == 90
    # Sixteen may stand in any half second: the sixteenth after a request comes later than that.
    assert all(later - earlier >= 500 for earlier, later in zip(taken, taken[16:], strict=False))
    # Nor are they slower than the budget makes them: six full windows, and time to start.
    assert taken[-1] - taken[0] < 6000


def test_a_key_is_named_without_being_told() -> None:
    assert key_fingerprint("a-key") == key_fingerprint("a-key") != key_fingerprint("b-key")
    assert "a-key" not in key_fingerprint("a-key")


def test_the_needed_requests_are_shown_beside_the_allowed_ones() -> None:
    calls, costs = {"candles": 1, "balances": 1, "order": 3}, {"candles": 2}
    need = requests_needed(calls, costs, cycle_seconds=30, requests_per_minute=20, margin=0.8, cancel_reserve=0.25)
    assert need.per_minute == 12
    assert need.allowed_per_minute == 12
    assert need.fits
    tight = requests_needed(calls, costs, cycle_seconds=20, requests_per_minute=20, margin=0.8, cancel_reserve=0.25)
    assert not tight.fits
    assert "18.0 requests a minute" in str(tight)
    assert "cycle_seconds" in str(tight)
