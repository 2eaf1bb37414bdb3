"""What dies starts again; what dies again and again is given up."""

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest

from cli.supervisor import MOST_DEATHS, Child, Process, Supervisor, end_all
from cli.up import _Operation
from config.loader import load_settings
from execution.hold import hold_account
from execution.latch import kill_switch
from services.ledger import Ledger
from tests.cli.command import until


@dataclass
class Time:
    """A clock that a test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def sleeper() -> Process:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


@pytest.fixture
def time() -> Time:
    return Time()


def look_until(supervisor: Supervisor, child: Child, condition: Callable[[], bool], what: str) -> None:
    def looked() -> bool:
        supervisor.look_after(child)
        return condition()

    until(looked, what)


def kill(child: Child) -> None:
    assert child.process is not None
    child.process.kill()
    child.process.wait()


def test_a_process_that_died_is_cleared_up_after_before_it_starts_again(time: Time) -> None:
    said: list[str] = []
    order: list[str] = []

    def start() -> Process:
        order.append("start")
        return sleeper()

    supervisor = Supervisor(said.append, time)
    child = Child("it", start, clear_up=lambda: order.append("clear up"))
    supervisor.add(child)
    try:
        kill(child)
        look_until(supervisor, child, lambda: child.is_running, "a new start")
        assert order == ["start", "clear up", "start"]
        assert any("ended with status -9" in each for each in said)
    finally:
        kill(child)


def test_a_second_death_soon_after_waits_before_the_next_start(time: Time) -> None:
    supervisor = Supervisor(lambda told: None, time)
    child = Child("it", sleeper)
    supervisor.add(child)
    try:
        kill(child)
        look_until(supervisor, child, lambda: child.is_running, "the first restart, at once")
        kill(child)
        look_until(supervisor, child, lambda: child.clearing is None and child.process is None, "the burial")
        supervisor.look_after(child)
        assert not child.is_running
        time.now += 2
        look_until(supervisor, child, lambda: child.is_running, "the second restart")
    finally:
        kill(child)


def test_what_dies_again_and_again_is_given_up(time: Time) -> None:
    given_up = threading.Event()
    supervisor = Supervisor(lambda told: None, time)
    child = Child("it", sleeper, give_up=given_up.set)
    supervisor.add(child)
    for death in range(MOST_DEATHS):
        assert child.is_running, death
        kill(child)
        look_until(supervisor, child, lambda: child.process is None, "the burial")
        time.now += 40
        look_until(supervisor, child, lambda: child.is_running or child.given_up, "a restart or the end")
    assert given_up.wait(10)
    supervisor.look_after(child)
    assert not child.is_running


def test_what_may_not_start_waits_and_says_why_once(time: Time) -> None:
    said: list[str] = []
    held = ["latched"]
    supervisor = Supervisor(said.append, time)
    child = Child("it", sleeper, may_start=lambda: held[0])
    supervisor.add(child)
    supervisor.look_after(child)
    assert child.process is None and said == ["it waits: latched"]
    held[0] = ""
    supervisor.look_after(child)
    assert child.is_running
    kill(child)


def test_what_lives_and_does_nothing_is_killed(time: Time) -> None:
    supervisor = Supervisor(lambda told: None, time)
    child = Child("it", sleeper, is_silent=lambda: True)
    supervisor.add(child)
    process = child.process
    assert process is not None
    supervisor.look_after(child)
    assert process.wait(10) == -9


def test_a_failure_of_clearing_up_is_told_and_stops_no_restart(time: Time) -> None:
    said: list[str] = []

    def fail() -> None:
        raise OSError("no such venue")

    supervisor = Supervisor(said.append, time)
    child = Child("it", sleeper, clear_up=fail)
    supervisor.add(child)
    kill(child)
    look_until(supervisor, child, lambda: child.is_running, "a new start")
    assert any("no such venue" in each for each in said)
    kill(child)


def test_a_start_that_the_machine_refuses_is_tried_again_and_ends_nothing(time: Time) -> None:
    said: list[str] = []
    refusals = [OSError("Cannot allocate memory")] * 2

    def start() -> Process:
        if refusals:
            raise refusals.pop()
        return sleeper()

    supervisor = Supervisor(said.append, time)
    child = Child("it", start)
    supervisor.add(child)
    try:
        supervisor.look_after(child)
        assert not child.is_running and len(refusals) == 0
        supervisor.look_after(child)
        assert not child.is_running, "it waits after two refusals"
        time.now += 2.1
        supervisor.look_after(child)
        assert child.is_running
        assert sum("could not be started (Cannot allocate memory)" in each for each in said) == 2
    finally:
        kill(child)


def test_a_disk_that_takes_no_log_keeps_no_trader_from_being_ended(tmp_path: Path) -> None:
    settings = load_settings(environ={"CRYPTO_BOT_HOME": str(tmp_path)})
    (tmp_path / "logs").write_text("not a folder")
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    ends_well = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(0)); print(flush=True); time.sleep(600)"
    )
    trader = subprocess.Popen([sys.executable, "-c", ends_well], stdout=subprocess.PIPE)
    assert trader.stdout is not None
    trader.stdout.readline()
    up = _Operation(settings, ("bybit",), "http://127.0.0.1:9/api", None, threading.Event(), began=0.0)
    up.ledger = Ledger(settings.ledger_url)
    up.traders["bybit"] = Child("the trader of bybit", sleeper, process=trader)
    try:
        assert up._take_down(Child("the worker", sleeper), done)
        assert trader.returncode == 0
    finally:
        trader.kill()
        up.ledger.close()


async def test_orders_of_a_trader_in_another_terminal_are_not_taken_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings(environ={"CRYPTO_BOT_HOME": str(tmp_path)})
    up = _Operation(settings, ("bybit",), "http://127.0.0.1:9/api", None, threading.Event(), began=0.0)
    with contextlib.closing(Ledger(settings.ledger_url)) as up.ledger:
        async with hold_account(tmp_path, "bybit", up.ledger, "host:1"):
            assert up._held_elsewhere("bybit") == "bybit is traded by host:1"
            up._after_death("bybit")
            up._give_up("bybit")
        assert "taken back" not in capsys.readouterr().out
        assert kill_switch(tmp_path, up.ledger, "bybit") is None
        assert up._held_elsewhere("bybit") == ""


def test_of_several_processes_that_hang_each_waits_only_for_what_is_left_of_the_time() -> None:
    deaf = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.write(1, b'-'); time.sleep(600)"
    hanging = [subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) for _ in range(3)]
    for each in hanging:
        assert each.stdout is not None and each.stdout.read(1) == b"-"
    began = monotonic()
    statuses = end_all([hanging[0], None, *hanging[1:]], signal.SIGTERM, 1.5)
    assert statuses == [-signal.SIGKILL, None, -signal.SIGKILL, -signal.SIGKILL]
    assert monotonic() - began < 3.0  # not three times as long
