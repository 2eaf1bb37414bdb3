"""Debian's PostgreSQL for a test: its own data directory, a free port of loopback, ended by its own process id.

The wheel that the ledger's tests use has no pg_trgm, which Prefect's migrations need.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.prefect_server import free_port

_ROOT = Path("/usr/lib/postgresql")


def _binaries() -> Path | None:
    found = sorted(_ROOT.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """Run a server with the databases `ledger` and `prefect`; yields the beginning of their URLs, up to the last slash.

    Skips the test, and says why, where the package is absent or its user cannot be taken on.
    """
    binaries = _binaries()
    if binaries is None:
        pytest.skip("Debian's PostgreSQL is not installed (make postgresql)")
    if not list(Path("/usr/share/postgresql").glob("*/extension/pg_trgm.control")):
        pytest.skip("PostgreSQL's contrib modules are not installed (make postgresql)")
    user = None
    if os.getuid() == 0:  # it refuses to run as root
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam("postgres")
        if user is None:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    ids: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()} if user is not None else {}
    folder = Path(tempfile.mkdtemp(prefix="crypto-bot-postgresql-"))
    try:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        data, port = folder / "data", free_port()
        # trust: the port is of loopback, and the data last as long as the test
        words = ["-D", str(data), "-U", "bot", "--auth=trust", "--no-sync", "--locale=C.UTF-8"]
        subprocess.run([binaries / "initdb", *words], check=True, cwd=folder, capture_output=True, **ids)
        # Its socket lies in its own folder, and it listens on loopback alone.
        words = ["-D", str(data), "-p", str(port), "-k", str(folder), "-h", "127.0.0.1"]
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(
                [binaries / "postgres", *words], cwd=folder, stdout=log, stderr=log, start_new_session=True, **ids
            )
        try:
            at = ["-h", "127.0.0.1", "-p", str(port), "-U", "bot"]
            deadline = time.monotonic() + 30
            while subprocess.run([binaries / "pg_isready", *at], capture_output=True, check=False).returncode:
                assert server.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.1)
            for name in ("ledger", "prefect"):
                subprocess.run([binaries / "createdb", *at, name], check=True, capture_output=True)
            yield f"postgresql+psycopg://bot@127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: the data are thrown away
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
