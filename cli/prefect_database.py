"""The database of Prefect's server as its own migrations leave it, made once at install.

Those migrations are more than half of a new server's start (docs/adr/0006-prefect-server-on-sqlite.md).
`python -m cli.prefect_database` lets one server run them in a scratch place and keeps the file beside the interpreter,
under the version of Prefect; a server whose home has no database begins with a copy. Without such a file, or for
another version, it migrates as ever.
"""

import contextlib
import os
import shutil
import sqlite3
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

NAME = "prefect.db"  # of the database, in PREFECT_HOME


def prepared_database() -> Path:
    """Where the prepared database of the installed Prefect is, or would be."""
    return Path(sys.prefix) / "share" / "crypto-bot" / f"prefect-{version('prefect')}.db"


def begin_with_prepared(prefect_home: Path, prepared: Path | None = None) -> None:
    """Give a PREFECT_HOME without a database the prepared one. Where that is not to be had or not to be done, nothing
    happens: the server makes its own, or says what is wrong.
    """
    mine, prepared = prefect_home / NAME, prepared or prepared_database()
    if mine.exists() or not prepared.is_file():
        return
    with contextlib.suppress(OSError), tempfile.TemporaryDirectory(dir=prefect_home) as scratch:
        whole = Path(scratch) / NAME
        shutil.copyfile(prepared, whole)
        os.link(whole, mine)  # fails in the place of one that another command has begun meanwhile


def prepare() -> None:
    """Make the prepared database. Raises ConfigurationError when Prefect's server does not start, and OSError."""
    from cli.prefect_server import prefect_server

    prepared = prepared_database()
    prepared.unlink(missing_ok=True)
    prepared.parent.mkdir(parents=True, exist_ok=True)
    whole = prepared.with_suffix(f".{os.getpid()}")
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        with prefect_server(home) as server:
            server.wait_until_up()
        with contextlib.closing(sqlite3.connect(home / NAME)) as database:
            database.execute("VACUUM INTO ?", (str(whole),))
    whole.replace(prepared)


if __name__ == "__main__":
    prepare()
