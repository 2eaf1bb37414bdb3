"""Prefect's worker and the runs that it has going: under `crypto-bot up`, and by itself as `crypto-bot worker`."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cli.output import say
from cli.prefect_server import prefect_api
from cli.provision import POOL
from cli.supervisor import Child, Process, Supervisor, end_in_order
from config.credentials import without_secrets
from config.errors import ConfigurationError
from config.loader import load_settings
from config.reading import PREFIX
from config.settings import Settings
from services.children import ending_signals
from services.ledger_database import checked_url

CHECKOUT = Path(__file__).resolve().parents[1]
_RUN_SECONDS = 20.0  # what a deployment's run may take to clear up behind itself
_WORKER_SECONDS = 10.0
# What the worker's runs carry in their environment, so that they are found also when the worker has died.
_MARK = "CRYPTO_BOT_UP"


def run_worker() -> int:
    """Keep a worker running at a Prefect server that runs already, until Ctrl+C or SIGTERM; its runs may clear up
    before it ends.
    """
    settings = load_settings()
    if not (settings.prefect.api_url or os.environ.get("PREFECT_API_URL")):
        raise ConfigurationError(
            "worker: name the server, prefect.api_url or PREFECT_API_URL (`up` has its own worker)"
        )
    absolute_places(settings)
    with prefect_api(settings.home, settings.prefect) as api:
        stopped = threading.Event()
        for each in ending_signals():
            signal.signal(each, lambda *_: stopped.set())
        worker = Child("the worker", lambda: start_worker(settings))
        supervisor = Supervisor(say)
        supervisor.add(worker)
        say(f"a worker runs for {api}; Ctrl+C ends it")
        supervisor.watch(stopped)
        end_worker(worker)
    say("the worker is down")
    return 0


def start_worker(settings: Settings) -> Process:
    """Start a worker as a child of this process; two of them on one pool share its runs."""
    name = f"crypto-bot on {socket.gethostname()}"
    words = (str(os.getpid()), "worker", "start", "--pool", POOL, "--type", "process", "--name", name)
    return start_module(settings, "worker", "cli.prefect_worker", *words)


def start_module(settings: Settings, log: str, module: str, *words: str) -> Process:
    """Start one of our modules as a child of this process, its words appended to the log of that name."""
    path = log_of(settings, log)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as told:
        return subprocess.Popen(
            [sys.executable, "-m", module, *words],
            cwd=CHECKOUT if module != "cli.main" else None,
            env={**_environment_for(module, words), _MARK: str(os.getpid())},
            stdout=told,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _environment_for(module: str, words: Sequence[str]) -> dict[str, str]:
    """A trader gets the keys of its own exchange and no other's; the worker's runs may be of any exchange."""
    if module == "cli.prefect_worker":
        return dict(os.environ)
    return without_secrets(os.environ, keep=words[1:2] if module == "cli.main" else ())


def log_of(settings: Settings, name: str) -> Path:
    """Where a child's words go."""
    return settings.home / "logs" / f"{name}.log"


def end_worker(worker: Child) -> None:
    """End the worker, its runs first."""
    _end_runs()
    end_in_order(worker.process, signal.SIGINT, _WORKER_SECONDS)


def _end_runs() -> None:
    """Ask the worker's runs to end and wait for them: a worker that stops kills its runs before they can clear up, and
    those of a worker that died go on by themselves.
    """
    running = list(_runs())
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _RUN_SECONDS
    while time.monotonic() < deadline and any(pid in running for pid in _runs()):
        time.sleep(0.2)


def _runs() -> Iterator[int]:
    """Processes of flow runs that began under this process (read from /proc; elsewhere none)."""
    mark = f"{_MARK}={os.getpid()}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environ = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended, or is somebody else's
        if mark in environ and any(each.startswith(b"PREFECT__FLOW_RUN_ID=") for each in environ):
            yield int(process.name)


def _quoted(text: str) -> str:
    """As the environment's YAML reads it, whatever is in it."""
    return json.dumps(text, ensure_ascii=False)


def absolute_places(settings: Settings) -> None:
    """The worker's runs have another working directory, a temporary one: what the settings name must be found from it,
    or a backup would be gone with the run; and a strategy of the user's own in the folder in which the traders find it.
    """
    os.environ["CRYPTO_BOT_HOME"] = str(settings.home.resolve())
    places = {
        "MAINTENANCE__BACKUP_DIRECTORY": settings.maintenance.backup_directory,
        "LOGGING__FILE_PATH": settings.logging.file_path,
        "MONITORING__FILE_PATH": settings.monitoring.file_path,
    }
    for key, place in places.items():
        if place is not None:
            os.environ[f"{PREFIX}{key}"] = _quoted(str(place.resolve()))
    url = checked_url(settings.ledger.url) if settings.ledger.url else None
    if url is not None and not settings.ledger_is_shared:
        os.environ[f"{PREFIX}LEDGER__URL"] = _quoted(f"sqlite:///{Path(url.database or '').resolve()}")
    modules = os.pathsep.join((os.environ.get("PYTHONPATH", ""), str(Path.cwd())))
    for name, told in (("CRYPTO_BOT_CONFIG", os.environ.get("CRYPTO_BOT_CONFIG", "")), ("PYTHONPATH", modules)):
        if told:
            os.environ[name] = os.pathsep.join(
                str(Path(each).expanduser().resolve()) for each in told.split(os.pathsep) if each
            )
