"""Our processes on this machine: which run for a home, and what memory and CPU they take (psutil).

Traders are found by the note in their account's lock file, venues by theirs, Prefect's server and worker as children of
a trader or of `crypto-bot up`. The operating system keeps no count of network bytes by process: a trader counts the
bodies of its own requests (`crypto_bot/http_bytes`), for the machine there are its interfaces.
"""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from config.settings import EXCHANGES, ExchangeName
from services.simulated import find_venue

if TYPE_CHECKING:
    import psutil

# In the environment of every process that `crypto-bot up` started, with its process id.
UP_MARK = "CRYPTO_BOT_UP"
_FORGIVEN_SECONDS = 2.0  # between the clocks of a file system and of the process table


@dataclass(frozen=True)
class Usage:
    """What one process takes. `cpu_seconds`: used since it began."""

    pid: int
    memory_bytes: int
    cpu_seconds: float


def account_holder(home: Path, account: str) -> tuple[int, float] | None:
    """Process id and start (seconds since the epoch) of the process on this machine that holds an account now."""
    import psutil

    path = home / "locks" / f"{account.replace(':', '_').replace('/', '_')}.lock"
    try:
        newest = path.read_text(encoding="utf-8", errors="replace").partition("\n")[0]  # below: who held it before
        host, _, pid = newest.partition(" ")[0].rpartition(":")  # HOST:PID (four random digits)
        written_at = path.stat().st_mtime
        began = psutil.Process(int(pid)).create_time()
    except (OSError, ValueError, psutil.Error):
        return None
    # The note stays when its process is gone, and another may bear its number by now.
    if host != socket.gethostname() or began > written_at + _FORGIVEN_SECONDS:
        return None
    return int(pid), began


def our_processes(home: Path, accounts: Mapping[ExchangeName, str]) -> dict[str, "psutil.Process"]:
    """The processes that work for a home, by name: up, server, worker, trader-EXCHANGE, venue-EXCHANGE."""
    import psutil

    found: dict[str, psutil.Process] = {}
    for exchange in EXCHANGES:
        holder = account_holder(home, accounts[exchange])
        if holder is not None:
            _note(found, f"trader-{exchange}", holder[0])
        venue = find_venue(home, exchange)
        if venue is not None:
            _note(found, f"venue-{exchange}", venue.pid)
    up = _up_process([os.getpid(), *(each.pid for name, each in found.items() if name.startswith("trader-"))])
    if up is not None:
        _note(found, "up", up)
    for above in list(found.values()):
        for child in _children(above):
            name = _name_of(child)
            if name is not None:
                found.setdefault(name, child)
    return dict(sorted(found.items()))


def usage(process: "psutil.Process") -> Usage | None:
    """What a process takes now; None when it is gone."""
    import psutil

    try:
        times = process.cpu_times()
        return Usage(process.pid, int(process.memory_info().rss), float(times.user + times.system))
    except psutil.Error:
        return None


def host_network_bytes() -> tuple[int, int]:
    """Bytes sent and received through this machine's interfaces since it started, loopback included."""
    import psutil

    told = psutil.net_io_counters()
    return (told.bytes_sent, told.bytes_recv) if told is not None else (0, 0)


def _note(found: dict[str, "psutil.Process"], name: str, pid: int) -> None:
    import psutil

    try:
        found[name] = psutil.Process(pid)
    except psutil.Error:
        return


def _up_process(pids: Sequence[int]) -> int | None:
    import psutil

    for pid in pids:
        try:
            told = psutil.Process(pid).environ().get(UP_MARK, "")
        except psutil.Error:
            continue
        if told.isdigit() and psutil.pid_exists(int(told)):
            return int(told)
    return None


def _children(process: "psutil.Process") -> "list[psutil.Process]":
    import psutil

    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _name_of(process: "psutil.Process") -> str | None:
    """What a child of ours is, by its command line."""
    import psutil

    try:
        words = process.cmdline()
    except psutil.Error:
        return None
    for module, name in (("cli.prefect_server", "server"), ("cli.prefect_worker", "worker")):
        if module in words:
            return name
    for word, kind in (("simvenue", "venue"), ("trade", "trader")):
        following = words[words.index(word) + 1 :] if word in words else []
        if following and following[0] in EXCHANGES:
            return f"{kind}-{following[0]}"
    return None
