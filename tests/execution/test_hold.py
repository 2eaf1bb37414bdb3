import asyncio
import multiprocessing
import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from config.settings import ExecutionSettings
from exchanges.budget import RequestBudget, Window
from execution.hold import AccountHeld, beside_the_holder, hold_account, holder_elsewhere
from services.clock import WallClock
from services.ledger import LeaseLost, Ledger
from tests.execution.conftest import Workplace
from tests.execution.venue import an_intent


async def test_a_second_instance_is_refused_at_once_and_told_who_holds_the_account(work: Workplace) -> None:
    async with hold_account(work.home, "bybit", work.ledger, "host:1"):
        with pytest.raises(AccountHeld, match="bybit is traded by host:1"):
            async with hold_account(work.home, "bybit", work.ledger, "host:2"):
                pytest.fail("two writers for one account")


class Impatient(WallClock):
    async def sleep(self, seconds: float) -> None:
        raise AssertionError("the lease was waited for: the lock on this host let a second instance in")


async def test_a_second_instance_on_this_host_is_refused_by_the_file_lock_alone(work: Workplace) -> None:
    async with hold_account(work.home, "bybit", work.ledger, "host:1"):
        with pytest.raises(AccountHeld, match="traded by host:1"):
            async with hold_account(work.home, "bybit", work.ledger, "host:2", clock=Impatient()):
                pytest.fail("two writers for one account")


async def test_an_account_that_was_given_back_can_be_held_again(work: Workplace) -> None:
    for holder in ("host:1", "host:2"):
        async with hold_account(work.home, "bybit", work.ledger, holder) as lease:
            assert lease.holder == holder


async def test_two_accounts_are_held_side_by_side(work: Workplace) -> None:
    async with (
        hold_account(work.home, "bybit", work.ledger, "host:1") as one,
        hold_account(work.home, "bybit:paper", work.ledger, "host:1") as other,
    ):
        assert one.account != other.account


async def test_a_holder_on_another_host_is_named_after_its_lease_was_waited_for(work: Workplace) -> None:
    work.ledger.take_lease("bybit", "elsewhere:7", WallClock().now(), 3600)
    with pytest.raises(AccountHeld, match="elsewhere:7"):
        async with hold_account(work.home, "bybit", work.ledger, "host:1", lease_seconds=0.4):
            pytest.fail("the lease of a living holder was ignored")


async def test_the_lease_is_renewed_while_the_account_is_held(work: Workplace) -> None:
    async with hold_account(work.home, "bybit", work.ledger, "host:1", lease_seconds=1.2):
        await asyncio.sleep(1.5)
        with pytest.raises(LeaseLost, match="host:1"):
            work.ledger.take_lease("bybit", "host:2", WallClock().now(), 60)


async def test_who_loses_the_account_is_thrown_out_and_cannot_write(work: Workplace) -> None:
    with pytest.raises(AccountHeld, match="host:2"):
        async with hold_account(work.home, "bybit", work.ledger, "host:1", lease_seconds=0.3) as lease:
            # another process, after this one slept through its lease
            work.ledger.take_lease("bybit", "host:2", WallClock().now().replace(year=2100), 60)
            with pytest.raises(LeaseLost):
                work.ledger.write_intent(
                    an_intent("late"),
                    lease,
                    rung="adopted",
                    cycle_id=None,
                    known_ids=frozenset(),
                    now=WallClock().now(),
                )
            await asyncio.sleep(5)
            pytest.fail("still inside after the account was lost")


async def test_a_cancelled_holder_is_cancelled_and_gives_the_account_back(work: Workplace) -> None:
    inside = asyncio.Event()

    async def hold() -> None:
        async with hold_account(work.home, "bybit", work.ledger, "host:1"):
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(hold())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with hold_account(work.home, "bybit", work.ledger, "host:2"):
        pass


def hold_for_ever(home: Path, ready: "multiprocessing.synchronize.Event") -> None:
    async def hold() -> None:
        ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
        async with hold_account(home, "bybit", ledger, f"host:{os.getpid()}", lease_seconds=1.0):
            ready.set()
            await asyncio.sleep(60)

    asyncio.run(hold())


async def test_a_killed_process_leaves_nothing_that_keeps_the_next_one_out(work: Workplace) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=hold_for_ever, args=(work.home, ready))
    process.start()
    assert ready.wait(10)
    with pytest.raises(AccountHeld, match=f"host:{process.pid}"):
        async with hold_account(work.home, "bybit", work.ledger, "host:2", lease_seconds=1.0):
            pytest.fail("two processes hold one account")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(5)
    async with hold_account(work.home, "bybit", work.ledger, "host:2", lease_seconds=1.0) as lease:
        assert lease.holder == "host:2"


def test_an_account_is_held_elsewhere_only_by_a_living_lease_of_another_home(work: Workplace, tmp_path: Path) -> None:
    now = WallClock().now()
    assert holder_elsewhere(tmp_path / "b", work.ledger, "bybit", now) == ""  # nobody has it
    work.ledger.take_lease("bybit", "a:1 (aaaa)", now, 60)
    assert holder_elsewhere(tmp_path / "b", work.ledger, "bybit", now) == "a:1 (aaaa)"
    assert holder_elsewhere(tmp_path / "b", work.ledger, "bybit", now + timedelta(seconds=61)) == ""


async def test_what_a_dead_process_of_this_home_holds_is_not_held_elsewhere(work: Workplace) -> None:
    for number in (1, 2, 3):  # each dies with its lease, and the next begins before that has run out
        async with hold_account(work.home, "bybit", work.ledger, f"a:{number}"):
            pass
    work.ledger.take_lease("bybit", "a:1", WallClock().now(), 60)
    assert holder_elsewhere(work.home, work.ledger, "bybit", WallClock().now()) == ""


@pytest.mark.parametrize("limit", [20, 60, 100, 120])
def test_a_host_beside_the_holder_keeps_the_sum_within_the_limit(tmp_path: Path, limit: int) -> None:
    def budget(of: ExecutionSettings) -> RequestBudget:
        return RequestBudget(
            tmp_path / "b", (), WallClock(), margin=of.rate_limit_margin, cancel_reserve=of.cancel_reserve
        )

    holder = ExecutionSettings()
    beside = beside_the_holder(holder)
    window = Window("a minute", limit, 60)
    assert budget(holder).allowed(window) + budget(beside).allowed(window, cancelling=True) <= limit
    assert budget(holder).allowed(window, cancelling=True) + budget(beside).allowed(window) <= limit
    assert budget(beside).allowed(window, cancelling=True) >= 7  # a stop needs five (docs/emergency-stop.md)
