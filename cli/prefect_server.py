"""Prefect's server as a child process, made fit for many runs on SQLite; and where other commands find one.

Run as a module (`python -m cli.prefect_server`) it is `prefect server start` with one difference on SQLite: every
writing transaction begins IMMEDIATE. Prefect begins them DEFERRED; two that read before they write then meet SQLite's
"database is locked" at once, without waiting, the server answers 503 and the client sleeps 2 to 30 seconds
(docs/adr/0006-prefect-server-on-sqlite.md). On PostgreSQL that changes nothing.
"""

import contextlib
import errno
import http.client
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from cli.prefect_auth import authorization, known_password, password_environment
from cli.prefect_database import begin_with_prepared
from config.credentials import without_secrets
from config.errors import ConfigurationError
from config.guide import API_AWAY
from config.secret import know_passwords
from config.settings_prefect import PrefectSettings
from services.children import signals_held
from services.files import write_whole

# Where a running server leaves its address for other commands.
_NOTE = "api-address"
_LOOPBACK = "127.0.0.1"
# Prefect 3.8.8 also knows it as PREFECT_API_DATABASE_CONNECTION_URL; this name wins.
_DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"

# Measured: with batches of one the recorder of task runs is the bottleneck (docs/adr/0006-prefect-server-on-sqlite.md).
SERVER_ENVIRONMENT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "2",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
    "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
}

# A trader whose API is away takes its orders back: Prefect's client may not keep it waiting for a minute before that.
CLIENT_ENVIRONMENT = {
    "PREFECT_CLIENT_MAX_RETRIES": "2",  # after 2 and 4 seconds
    "PREFECT_API_REQUEST_TIMEOUT": "10",  # seconds, for 60: a server that hangs says nothing at all
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
}


def free_port() -> int:
    """Return a TCP port on loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def api_is_up(url: str, timeout: float = 2.0) -> bool:
    """Ask the Prefect API at `url` (ending in /api) for its health; `timeout` in seconds."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=timeout) as reply:
            healthy: bool = reply.status == 200
            return healthy
    except (OSError, ValueError, http.client.HTTPException):
        return False


class PrefectServer:
    """A server that is starting or up. `api` is its address, ending in /api; `log` holds what it says."""

    def __init__(self, api: str, log: Path, port: int, listen_on: str = _LOOPBACK) -> None:
        self.api = api
        self.log = log
        self._port = port
        self._listen_on = listen_on
        self.process = self._start("w")

    def start_again(self) -> "subprocess.Popen[bytes]":
        """Start it anew, at the same address on the same database, after it has ended."""
        self.process = self._start("a")
        return self.process

    def _start(self, mode: str) -> "subprocess.Popen[bytes]":
        with self.log.open(mode) as words:
            return subprocess.Popen(
                [sys.executable, "-m", "cli.prefect_server", str(self._port), str(os.getpid()), self._listen_on],
                stdout=words,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=without_secrets(os.environ),
            )

    @property
    def ui(self) -> str:
        return self.api.removesuffix("/api")

    def wait_until_up(self, seconds: float = 120) -> None:
        """Return when the API answers. Raises ConfigurationError when the server ends, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while not api_is_up(self.api):
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = f"Prefect's server did not start; its last words are in {self.log}"
                raise ConfigurationError(said, section=API_AWAY)
            time.sleep(0.1)


@contextlib.contextmanager
def prefect_server(
    home: Path,
    port: int | None = None,
    password: str | None = None,
    settings: PrefectSettings | None = None,
) -> Iterator[PrefectServer]:
    """Run a Prefect server for the length of the block, with its database under `home` or where `settings` say; it is
    still starting when the block begins.

    The environment of this process is pointed at it, so flows that run here and children find it (import prefect
    inside the block). With a `password` (`user:password`) it answers only those who send it. Raises ConfigurationError
    when the port is in use.
    """
    home.mkdir(parents=True, exist_ok=True)
    settings = settings or PrefectSettings()
    if port is not None:
        refuse_used_port(port, settings.listen_on)
    port = port or free_port()
    everywhere = settings.listen_on in ("0.0.0.0", "::")
    api = f"http://{_LOOPBACK if everywhere else settings.listen_on}:{port}/api"
    changes = {
        **SERVER_ENVIRONMENT,
        "PREFECT_HOME": str(home.resolve()),
        "PREFECT_API_URL": api,
        # Without it the UI asks port 4200, whatever port the API has.
        "PREFECT_SERVER_UI_API_URL": api,
        "PREFECT_API_SSL_CERT_FILE": str(_one_certificate(home)),
        **(password_environment(password) if password else {}),
        **_database(settings),
    }
    if settings.database_url is None:
        begin_with_prepared(home)
    log, note = home / "server.log", home / _NOTE
    with _environment(changes), contextlib.ExitStack() as at_end:
        with signals_held():
            server = PrefectServer(api, log, port, settings.listen_on)
            at_end.callback(lambda: _stop(server.process))
        write_whole(note, api)
        try:
            yield server
        finally:
            note.unlink(missing_ok=True)
            send_what_is_left()


def _database(settings: PrefectSettings) -> dict[str, str]:
    if settings.database_url is None:
        return {}
    url = settings.database_url.replace("postgresql://", "postgresql+asyncpg://", 1)
    know_passwords(url)
    return {_DATABASE: url}


def refuse_absent_api(settings: PrefectSettings) -> None:
    """Raise ConfigurationError when an API is named (PREFECT_API_URL, `prefect.api_url`) and does not answer."""
    named = os.environ.get("PREFECT_API_URL")
    know_passwords(named or settings.api_url or "")
    if named and not api_is_up(named):
        said = f"PREFECT_API_URL {named} does not answer: start that server or unset it"
        raise ConfigurationError(said, section=API_AWAY)
    if not named and settings.api_url and not api_is_up(settings.api_url):
        said = f"prefect.api_url: {settings.api_url} does not answer: start that server first"
        raise ConfigurationError(said, section=API_AWAY)


@contextlib.contextmanager
def joined_api(home: Path, api: str) -> Iterator[str]:
    """Use a server that runs elsewhere for the length of the block; children do so too.

    The password is PREFECT_API_AUTH_STRING, or a copy of that server's file under `home` (`cli/prefect_auth.py`).
    """
    (home / "prefect").mkdir(parents=True, exist_ok=True)
    where = {
        "PREFECT_API_URL": api,
        "PREFECT_HOME": str((home / "prefect").resolve()),
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
    }
    password = {} if authorization() else known_password(home)
    with _environment({**where, **password}):
        try:
            yield api
        finally:
            send_what_is_left()


@contextlib.contextmanager
def prefect_api(home: Path, settings: PrefectSettings) -> Iterator[str]:
    """Have a Prefect API for the length of the block: PREFECT_API_URL where it is set, `prefect.api_url`, the server
    that runs under `home`, else one of our own.

    Yields its address. Raises ConfigurationError when the one that is named does not answer.
    """
    refuse_absent_api(settings)
    logging.raiseExceptions = False  # Prefect's log worker prints to stderr when the API is away; we say it ourselves
    for name, value in CLIENT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with running_api(home, settings) as running:
        if running is not None:
            try:
                yield running
            finally:
                if not api_is_up(running):
                    _leave_the_rest_unsent()
            return
    sys.stderr.write("starting Prefect's server (some seconds; `crypto-bot up` keeps one running)\n")
    with prefect_server(home / "prefect", settings=settings) as server:
        server.wait_until_up()
        yield server.api


@contextlib.contextmanager
def running_api(home: Path, settings: PrefectSettings) -> Iterator[str | None]:
    """The Prefect API that is there already: PREFECT_API_URL, `prefect.api_url`, or the server that runs under `home`;
    else None.

    For the length of the block this process's environment is pointed at it.
    """
    named = os.environ.get("PREFECT_API_URL")
    if named:
        yield named if api_is_up(named) else None
        return
    if settings.api_url:
        with joined_api(home, settings.api_url):
            yield settings.api_url if api_is_up(settings.api_url) else None
        return
    running = ""
    with contextlib.suppress(FileNotFoundError):  # none runs, or it has just ended
        running = (home / "prefect" / _NOTE).read_text().strip()
    if not running or not api_is_up(running):
        yield None
        return
    where = {"PREFECT_API_URL": running, "PREFECT_HOME": str((home / "prefect").resolve())}
    with _environment({**where, **known_password(home)}):
        yield running


def send_what_is_left() -> None:
    """Send what Prefect has still to tell its server: logs and events leave in batches, and complain aloud when the
    server has gone before them.
    """
    for worker in _senders():
        worker.drain_all(timeout=5)


def _leave_the_rest_unsent() -> None:
    """Prefect sends it at the end of a process, and waits for a server that hangs, ten seconds for each of three tries:
    half a minute in which a person presses Ctrl+C again.
    """
    for each in [each for worker in _senders() for each in worker._instances.values()]:
        if each._loop is not None and each._task is not None:
            each._loop.call_soon_threadsafe(each._task.cancel)


def _senders() -> tuple[Any, ...]:
    """What sends logs and events in the background; nothing where Prefect was not imported."""
    if "prefect" not in sys.modules:
        return ()
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    return APILogWorker, EventsWorker


@contextlib.contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def _one_certificate(home: Path) -> Path:
    """A file with one of the public root certificates.

    Prefect makes two HTTP clients a flow run, and each reads a certificate file, also for plain HTTP on loopback: with
    all 140 roots that was 40 % of a cycle's CPU (docs/adr/0006-prefect-server-on-sqlite.md).
    """
    import certifi

    end = "-----END CERTIFICATE-----\n"
    first = Path(certifi.where()).read_text(encoding="ascii", errors="ignore").partition(end)[0]
    path = (home / "one-root-certificate.pem").resolve()
    write_whole(path, first[first.index("-----BEGIN") :] + end)
    return path


def refuse_used_port(port: int, address: str = _LOOPBACK) -> None:
    """Raise ConfigurationError when something listens on this TCP port, or the address is not this machine's."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigurationError(f"prefect.listen_on: {address}: {error.strerror}") from None
            raise ConfigurationError(
                f"port {port} is in use ({error.strerror}): choose another with --port", section=API_AWAY
            ) from None


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _begin_immediate() -> None:
    from prefect.server.database import configurations

    @contextlib.asynccontextmanager
    async def begin_transaction(self: object, session: Any, with_for_update: bool = False) -> AsyncIterator[Any]:
        token = configurations.SQLITE_BEGIN_MODE.set("IMMEDIATE")
        try:
            async with session.begin() as transaction:
                yield transaction
        finally:
            configurations.SQLITE_BEGIN_MODE.reset(token)

    configurations.AioSqliteConfiguration.begin_transaction = begin_transaction  # type: ignore[method-assign]


def end_with(parent: int) -> None:
    """From now on interrupt this process when its parent is gone, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


def _serve(port: str, parent: str, listen_on: str) -> None:
    end_with(int(parent))
    _begin_immediate()
    from prefect.cli import app

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["prefect", "server", "start", "--host", listen_on, "--port", port]
    app()


if __name__ == "__main__":
    _serve(*sys.argv[1:4])
