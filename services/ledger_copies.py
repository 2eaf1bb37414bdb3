"""The whole ledger, copied at one moment while traders write it: out of either database into an SQLite file, and back.

A backup always holds an SQLite file, so that it is read, proved and restored in the same way wherever it came from.
"""

import contextlib
import sqlite3
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, select, text

from config.errors import ConfigurationError
from services.ledger_database import Database
from services.ledger_tables import events, metadata

_ROWS_AT_ONCE = 1000


def snapshot(url: str, target: Path) -> None:
    """Copy the ledger at `url` to a new SQLite file. Raises ConfigurationError, LedgerUnavailable, OSError.

    SQLite: by its own backup, in one step, which sees one moment and holds up no writer. PostgreSQL: table by table in
    one REPEATABLE READ transaction.
    """
    source = Database(url)
    try:
        if source.is_sqlite:
            with (
                source.translated(),
                contextlib.closing(sqlite3.connect(source.place)) as live,
                contextlib.closing(sqlite3.connect(target)) as copy,
            ):
                live.backup(copy)
            return
        copied = Database(f"sqlite:///{target}")
        try:
            with source.reading() as reader, copied.writing() as writer:
                _copy_rows(reader, writer)
        finally:
            copied.close()
    finally:
        source.close()


def fill(url: str, source: Path) -> None:
    """Copy an SQLite file's ledger into the empty one at `url`, all or nothing. Raises ConfigurationError where the
    ledger there has events already.
    """
    target, copied = Database(url), Database(f"sqlite:///{source}")
    try:
        with copied.reading() as reader, target.writing() as writer:
            if writer.execute(select(func.count()).select_from(events)).scalar_one():
                raise ConfigurationError(f"{target.place} holds a ledger already: name an empty database")
            _copy_rows(reader, writer)
            if not target.is_sqlite:
                _number_on(writer)
    finally:
        copied.close()
        target.close()


def _copy_rows(reader: Connection, writer: Connection) -> None:
    for table in metadata.sorted_tables:
        writer.execute(delete(table))  # the head of an empty chain
        for rows in reader.execute(select(table).execution_options(yield_per=_ROWS_AT_ONCE)).partitions():
            writer.execute(insert(table), [row._asdict() for row in rows])


def _number_on(writer: Connection) -> None:
    """PostgreSQL gives row numbers by sequences, which rows that bring their number do not move."""
    for table in metadata.sorted_tables:
        if "id" in table.c and table.c.id.autoincrement is True:
            highest = writer.execute(select(func.max(table.c.id))).scalar_one()
            if highest is not None:
                sequence = text("SELECT setval(pg_get_serial_sequence(:table, 'id'), :highest)")
                writer.execute(sequence, {"table": table.name, "highest": highest})
