"""Simulated venues as processes: start some, find one that runs.

A running venue leaves its first line as `<home>/venues/NAME.json` (readable by its owner only), so that a command in
another terminal, the emergency stop above all, meets the same market. The keys open nothing but that simulation.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from config.credentials import without_secrets
from config.errors import ConfigurationError
from config.settings import ExchangeName
from services.children import signals_held
from services.files import write_whole


@dataclass(frozen=True)
class VenueAddress:
    """Where a simulated venue listens and what it wants to be told (URLs on loopback)."""

    exchange: str
    base_url: str
    api_key: str
    api_secret: str
    passphrase: str
    control_url: str
    pid: int = 0
    requests_per_minute: int | None = None  # where it allows more than the configuration asks of the real venue


@dataclass(frozen=True)
class RunningVenue:
    """A simulated venue that is a child of this process."""

    address: VenueAddress
    process: "subprocess.Popen[str]"

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None


def find_venue(home: Path, exchange: ExchangeName) -> VenueAddress | None:
    """Return the simulated venue of this home that is running now, if any."""
    try:
        address = VenueAddress(**json.loads(_note(home, exchange).read_text()))
        os.kill(address.pid, 0)
    except (OSError, ValueError, TypeError, OverflowError):
        return None  # no note, none of ours, or a process that is gone or is somebody else's by now
    return address


@contextlib.contextmanager
def simulated_venues(
    home: Path, arguments: Mapping[ExchangeName, Sequence[str]], *, requests_per_minute: int | None = None
) -> Iterator[dict[ExchangeName, RunningVenue]]:
    """Run simulated venues, named by exchange, as child processes for the length of the block.

    `arguments` holds what `python -m simvenue` is told for each; `requests_per_minute` is what their clients may ask
    at least, whatever the configuration says of the real venue. The children also end when this process does, however
    it ends. Raises ConfigurationError with the last words of one that does not start.
    """
    processes: dict[ExchangeName, subprocess.Popen[str]] = {}
    try:
        for exchange, words in arguments.items():
            with signals_held():
                processes[exchange] = _start(home, exchange, words)
        running = {name: _when_ready(home, name, process, requests_per_minute) for name, process in processes.items()}
        try:
            yield running
        finally:
            for exchange, venue in running.items():
                _forget(home, exchange, venue.process.pid)
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            _wait(process)


def _start(home: Path, exchange: ExchangeName, arguments: Sequence[str]) -> "subprocess.Popen[str]":
    log = _log(home, exchange)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as words:
            # Its own session: Ctrl+C reaches us alone, and the venue outlives our emergency stop.
            return subprocess.Popen(
                [sys.executable, "-m", "simvenue", exchange, "--parent", str(os.getpid()), *arguments],
                stdout=subprocess.PIPE,
                stderr=words,
                text=True,
                start_new_session=True,
                env=without_secrets(os.environ),
            )
    except OSError as error:
        raise ConfigurationError(f"{log.parent}: cannot be written ({error.strerror}); set --home") from None


def _when_ready(
    home: Path, exchange: ExchangeName, process: "subprocess.Popen[str]", requests_per_minute: int | None
) -> RunningVenue:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.wait(timeout=5)
        words = _log(home, exchange).read_text().strip().splitlines()
        raise ConfigurationError(words[-1] if words else f"the simulated venue {exchange} did not start")
    return RunningVenue(note_venue(home, line, process.pid, requests_per_minute), process)


def note_venue(home: Path, line: str, pid: int, requests_per_minute: int | None = None) -> VenueAddress:
    """Leave the first line of a venue that runs as process `pid` where commands under `home` look for it.

    `requests_per_minute`: what its clients may ask at least.
    """
    told = json.loads(line)
    known = {field.name for field in fields(VenueAddress)}
    told = {key: value for key, value in told.items() if key in known}
    address = VenueAddress(**told, pid=pid, requests_per_minute=requests_per_minute)
    write_whole(_note(home, told["exchange"]), json.dumps(asdict(address)), mode=0o600)
    return address


def _forget(home: Path, exchange: ExchangeName, pid: int) -> None:
    """Remove our note; one that another venue of the same name has written since stays."""
    address = find_venue(home, exchange)
    if address is None or address.pid == pid:
        _note(home, exchange).unlink(missing_ok=True)


def _wait(process: "subprocess.Popen[str]") -> None:
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _log(home: Path, exchange: ExchangeName) -> Path:
    return home / "logs" / f"venue-{exchange}.log"


def _note(home: Path, exchange: ExchangeName) -> Path:
    return home / "venues" / f"{exchange}.json"
