"""Which processes are ours, and what they take."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from config.settings import EXCHANGES
from services.ledger import Ledger
from services.processes import UP_MARK, account_holder, host_network_bytes, our_processes, usage

ACCOUNTS = {name: name for name in EXCHANGES}
SLEEPER = "import time; time.sleep(60)"


def note(home: Path, account: str, pid: int) -> Path:
    path = home / "locks" / f"{account}.lock"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{socket.gethostname()}:{pid} (69b5)\n{socket.gethostname()}:1 (3b5b)")
    return path


async def test_the_holder_of_an_account_is_found_by_its_lock(tmp_path: Path) -> None:
    from execution.hold import hold_account

    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert account_holder(tmp_path, "bitbank@live") is None
    for run in ("69b5", "3b5b"):  # the second writes its name above that of the first
        async with hold_account(tmp_path, "bitbank@live", ledger, f"{socket.gethostname()}:{os.getpid()} ({run})"):
            holder = account_holder(tmp_path, "bitbank@live")
        assert holder is not None and holder[0] == os.getpid()
    ledger.close()


def test_the_note_of_a_process_that_is_gone_names_nobody(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    note(tmp_path, "bitbank", ended.pid)
    assert account_holder(tmp_path, "bitbank") is None
    # its number is somebody else's by now: written long before that process began
    path = note(tmp_path, "bitbank", os.getpid())
    os.utime(path, (1, 1))
    assert account_holder(tmp_path, "bitbank") is None
    note(tmp_path, "bitbank", 0).write_text("another host:1")
    assert account_holder(tmp_path, "bitbank") is None
    note(tmp_path, "bitbank", 0).write_text("")
    assert account_holder(tmp_path, "bitbank") is None


def test_server_worker_and_venues_are_found_below_traders_and_up(tmp_path: Path) -> None:
    # Stand-ins with the command lines of the real ones; `up` starts all of them. Each says that it runs: for a moment
    # after its start a process has neither command line nor environment to read.
    children = {"cli.prefect_server": "server", "cli.prefect_worker": "worker", "simvenue bybit": "venue-bybit"}
    runs = f"import os; os.write(1, b'runs\\n'); {SLEEPER}"
    starts = "".join(f"subprocess.Popen([sys.executable, '-c', {runs!r}, *{words.split()!r}]);" for words in children)
    up = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess, sys; {starts} {runs}"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    trader = subprocess.Popen(
        [sys.executable, "-c", runs],
        env={**os.environ, UP_MARK: str(up.pid)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert up.stdout is not None and [up.stdout.readline() for _ in range(4)] == [b"runs\n"] * 4
        assert trader.stdout is not None and trader.stdout.readline() == b"runs\n"
        note(tmp_path, "bitbank", trader.pid)
        found = our_processes(tmp_path, ACCOUNTS)
        assert set(found) == {"up", "trader-bitbank", *children.values()}
        assert (found["up"].pid, found["trader-bitbank"].pid) == (up.pid, trader.pid)
    finally:
        for each in (*psutil.Process(up.pid).children(), psutil.Process(up.pid), psutil.Process(trader.pid)):
            each.kill()
        up.wait()
        trader.wait()


def test_what_a_process_takes_is_read_and_one_that_is_gone_takes_nothing() -> None:
    ours = usage(psutil.Process())
    assert ours is not None and ours.memory_bytes > 10_000_000 and ours.cpu_seconds > 0
    ended = subprocess.Popen([sys.executable, "-c", SLEEPER])
    gone = psutil.Process(ended.pid)
    ended.kill()
    ended.wait()
    assert usage(gone) is None
    assert all(count >= 0 for count in host_network_bytes())


def test_the_mark_is_the_one_that_up_sets() -> None:
    from cli.worker import _MARK

    assert _MARK == UP_MARK
