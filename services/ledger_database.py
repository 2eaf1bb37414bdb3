"""Open the ledger's database: SQLite (WAL, synchronous=FULL) or PostgreSQL, brought to the newest schema.

Every write runs alone: SQLite begins it with BEGIN IMMEDIATE, PostgreSQL by locking the head of the event
chain first.
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event as Pause
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, inspect, make_url, select, text
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    SQLAlchemyError,
    StatementError,
)

from config.errors import ConfigurationError
from config.secret import know_passwords
from services.ledger_tables import SCHEMA_VERSION, chain_head
from services.ledger_types import LedgerConflict, LedgerUnavailable

BUSY_SECONDS = 5.0  # how long a write waits for another process before it gives up
_MIGRATION_LOCK = 0x6C65646765720A  # any number that nobody else locks


class Database:
    """One open ledger database. `writing()` and `reading()` are transactions; both translate errors."""

    def __init__(self, url: str, busy_seconds: float = BUSY_SECONDS) -> None:
        """Open, creating and migrating where needed.

        Raises ConfigurationError for a place or URL that cannot work, LedgerUnavailable for one that does not
        answer.
        """
        self._url = checked_url(url)
        self.place = self._url.database or "" if self.is_sqlite else self._url.set(query={}).render_as_string(True)
        if self.is_sqlite:
            _prepare_sqlite_file(Path(self.place), busy_seconds)
        self._busy_seconds = busy_seconds
        self._engine = _create_engine(self._url, self.place, busy_seconds)
        self._writer = self._engine.execution_options(ledger_write=True)
        # SQLite's reading transactions see one moment by nature
        self._reader = (
            self._engine if self.is_sqlite else self._engine.execution_options(isolation_level="REPEATABLE READ")
        )
        try:
            with self.translated():
                self._migrate()
        except BaseException:
            self.close()
            raise

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of this machine; else PostgreSQL."""
        return self._url.get_backend_name() == "sqlite"

    def close(self) -> None:
        """Close every connection; SQLite's write-ahead log is folded into the file."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment of the ledger. Raises LedgerUnavailable."""
        with self.translated(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes, alone, and is committed at the end.

        Raises LedgerUnavailable, LedgerConflict; in both cases nothing has been written.
        """
        with self.translated(), self._writer.begin() as connection:
            if not self.is_sqlite:
                connection.execute(select(chain_head.c.seq).with_for_update())
            yield connection

    def time_of(self, connection: Connection) -> datetime | None:
        """What the database server's clock says, None where the database is a file of this machine."""
        if self.is_sqlite:
            return None
        told: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return told.astimezone(UTC)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """What a database's errors mean: LedgerConflict, LedgerUnavailable."""
        try:
            yield
        except (IntegrityError, DataError) as error:
            raise LedgerConflict(f"the ledger at {self.place} refuses the row: {_first_line(error)}") from error
        except (SQLAlchemyError, sqlite3.Error) as error:
            if isinstance(error, StatementError) and isinstance(error.orig, (TypeError, ValueError)):
                raise error.orig from error  # a value that no ledger takes, not a database that fails
            raise LedgerUnavailable(_unavailable(self.place, error, self._busy_seconds)) from error

    def _migrate(self) -> None:
        with self._engine.begin() as connection:
            if _schema_version(connection) == SCHEMA_VERSION:
                return
        with self._writer.begin() as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            # asked again: while we waited, another process may have done it
            if _schema_version(connection) != SCHEMA_VERSION:
                _upgrade(connection, self.place)


def checked_url(url: str) -> URL:
    """The ledger's URL, its passwords known to the log mask. Raises ConfigurationError for one that cannot work."""
    know_passwords(url)  # before the first connection can fail
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        raise ConfigurationError(
            "ledger.url: not a database URL; write sqlite:////path/ledger.db or postgresql://user@host/name"
        ) from None
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")  # ours, whatever SQLAlchemy's own choice is
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise ConfigurationError(f"ledger.url: {backend} is not supported; use sqlite or postgresql")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigurationError("ledger.url: a ledger in memory would forget; name a file: sqlite:////path/ledger.db")
    return parsed


def _prepare_sqlite_file(path: Path, busy_seconds: float) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = _set_write_ahead_log(path, busy_seconds)
    except (OSError, sqlite3.OperationalError) as error:
        raise ConfigurationError(
            f"cannot write the ledger {path} ({error}); set CRYPTO_BOT_HOME to a directory that this user may write",
            section="ledger",
        ) from error
    except sqlite3.DatabaseError as error:
        raise LedgerUnavailable(_unavailable(str(path), error, busy_seconds)) from error
    if mode != "wal":
        raise ConfigurationError(
            f"the file system of {path} cannot hold a write-ahead log; set CRYPTO_BOT_HOME to a local disk",
            section="ledger",
        )


def _set_write_ahead_log(path: Path, busy_seconds: float) -> str:
    """Turn on the write-ahead log (it stays on) and return the mode in force."""
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)
    try:
        # This one statement does not honour the busy timeout when two processes create the file at once.
        for _ in range(1 + int(busy_seconds * 50)):
            try:
                return str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                Pause().wait(0.02)
        locked = sqlite3.OperationalError("database is locked")
        raise LedgerUnavailable(_unavailable(str(path), locked, busy_seconds))
    finally:
        connection.close()


def _create_engine(url: URL, place: str, busy_seconds: float) -> Engine:
    sqlite = url.get_backend_name() == "sqlite"
    try:
        engine = create_engine(url if sqlite else _with_defaults(url, busy_seconds), pool_pre_ping=not sqlite)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"ledger.url: the driver {error.name} for {place} is not installed; pip install 'psycopg[binary]'"
        ) from None
    set_up = _set_up_sqlite if sqlite else _set_up_postgresql
    event.listen(engine, "connect", lambda connection, _: set_up(connection, busy_seconds))
    if sqlite:
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _with_defaults(url: URL, busy_seconds: float) -> URL:
    """The URL with bounds on every wait for the server (libpq's parameters; those that the URL has are kept).

    Without them a host that has gone keeps a query waiting for a quarter of an hour, and the trader with it: TCP
    repeats what is not acknowledged, and a silent connection is not even asked. And text is UTF-8: a server that was
    set up without a locale (SQL_ASCII) leaves it to the client, and would have psycopg read bytes.
    """
    if "psycopg" not in url.drivername:
        return url
    seconds = max(2, round(busy_seconds))  # libpq takes no less for connecting
    defaults = {
        "client_encoding": "utf8",
        "connect_timeout": str(seconds),
        "tcp_user_timeout": str(2 * seconds * 1000),
        "keepalives_idle": str(seconds),
        "keepalives_interval": "2",
        "keepalives_count": "3",
    }
    return url.update_query_dict({name: value for name, value in defaults.items() if name not in url.query})


def _set_up_sqlite(connection: Any, busy_seconds: float) -> None:
    connection.isolation_level = None  # we begin and commit ourselves (_begin_sqlite)
    connection.execute(f"PRAGMA busy_timeout={round(busy_seconds * 1000)}")
    connection.execute("PRAGMA synchronous=FULL")  # a committed intent survives a power cut
    connection.execute("PRAGMA foreign_keys=ON")


def _set_up_postgresql(connection: Any, busy_seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = {round(busy_seconds * 1000)}")
        cursor.execute(f"SET statement_timeout = {round(4 * busy_seconds * 1000)}")
        # A committed intent survives a power cut, whatever the server's own setting says.
        cursor.execute("SET synchronous_commit = on")
    connection.commit()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("ledger_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _schema_version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection, place: str) -> None:
    """Run the missing migrations inside the connection's transaction: all of them or none."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every step, its own imports included
    from alembic import command  # half a second of imports, needed only when the schema is old
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    migrations = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigurationError(
            f"the ledger {place} was written by a newer crypto-bot ({error}); use that version or a newer one",
            section="rollback",
        ) from error


def _first_line(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return str(cause).strip().partition("\n")[0]


def _unavailable(place: str, error: BaseException, busy_seconds: float) -> str:
    said = _first_line(error)
    if "locked" in said or "lock timeout" in said:
        waited = f"(waited {busy_seconds:g} s)"
        return f"the ledger {place} is locked by another process {waited}; nothing was written"
    if "full" in said:
        return f"the disk of the ledger {place} is full ({said}); free some space; nothing was written"
    return f"the ledger {place} cannot be used: {said}"
