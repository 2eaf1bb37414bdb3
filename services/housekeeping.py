"""Look after the ledger's database and the log files: proved, tidied, and kept no longer than asked."""

import contextlib
import gzip
import os
import re
import shutil
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

from config.settings import Settings
from services.ledger_database import Database
from services.ledger_types import LedgerUnavailable
from services.logs import FILE_BYTES, no_rotation
from trading.checks import Check

_ROTATED = re.compile(r".+\.log\.\d+(\.gz)?")


def database_checks(settings: Settings) -> tuple[Check, ...]:
    """Prove the ledger's pages, let the database plan anew, fold its write-ahead log in. Traders go on meanwhile."""
    database = Database(settings.ledger_url)
    try:
        if not database.is_sqlite:
            with database.reading() as connection:
                told = str(connection.exec_driver_sql("SHOW server_version").scalar())
            return (Check("ledger database", True, f"PostgreSQL {told} tidies up by itself (autovacuum)"),)
        return _sqlite_checks(database)
    except LedgerUnavailable as error:
        return (Check("ledger database", False, str(error)),)
    finally:
        database.close()


def _sqlite_checks(database: Database) -> tuple[Check, ...]:
    with database.reading() as connection:
        said = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check")]
    whole = said == ["ok"]
    pages = Check("ledger pages", whole, "every page is sound" if whole else "; ".join(said[:5]))
    if not whole:
        return (pages,)
    # A connection of its own: neither is done inside a transaction.
    with database.translated(), contextlib.closing(sqlite3.connect(database.place, isolation_level=None)) as connection:
        connection.execute("PRAGMA optimize=0x10002")
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    size = Path(database.place).stat().st_size / 1e6
    folded = "its write-ahead log is folded in" if not busy else "its write-ahead log is in use and folds in later"
    return pages, Check("ledger database", True, f"{size:.1f} MB, {folded}")


def disk_checks(settings: Settings) -> tuple[Check, ...]:
    """How full the disks of home and log are: on a full one nothing can be written down, so nothing is placed."""
    most = settings.maintenance.disk_used_percent
    checks: dict[int, Check] = {}  # by device
    for path in (settings.home, settings.log_file.parent):
        if path.exists():
            used = shutil.disk_usage(path)
            percent = 100 * used.used / (used.used + used.free)  # as df counts it: what root alone may use is not free
            said = f"{percent:.0f} % used, {used.free / 1e9:.1f} GB free"
            full = percent >= most
            detail = f"{said}: free some space before it is full" if full else said
            checks.setdefault(path.stat().st_dev, Check(f"disk of {path}", not full, detail))
    return tuple(checks.values())


def log_checks(settings: Settings, now: datetime) -> tuple[Check, ...]:
    """Cut logs that only grow, and remove old ones after `maintenance.log_days`.

    The main log rotates by itself (services/logs.py). What a child of `crypto-bot up` prints goes to a file that the
    child holds open: that one is copied and emptied.
    """
    folders = dict.fromkeys((settings.home / "logs", settings.home / "prefect", settings.log_file.parent))
    growing = [path for folder in folders for path in folder.glob("*.log") if path != settings.log_file]
    cut = [path for path in growing if path.stat().st_size > FILE_BYTES]
    for path in cut:
        _cut(path)
    oldest = (now - timedelta(days=settings.maintenance.log_days)).timestamp()
    # A rotation gives every old file the next one's name: the one that is removed would not be the one that was old.
    with no_rotation(settings.log_file):
        old = [
            path
            for folder in folders
            for path in folder.glob("*.log.*")
            if _ROTATED.fullmatch(path.name) and path.stat().st_mtime < oldest
        ]
        for path in old:
            path.unlink()
    names = ", ".join(path.name for path in cut)
    return (Check("logs", True, f"{len(cut)} cut{f' ({names})' if names else ''}, {len(old)} old ones removed"),)


def _cut(path: Path) -> None:
    """Keep what is in a log under the next number, and empty it. Lines of that very moment may be lost."""
    number = 1
    while path.with_name(f"{path.name}.{number}.gz").exists():
        number += 1
    with path.open("rb") as source, gzip.open(path.with_name(f"{path.name}.{number}.gz"), "wb") as packed:
        shutil.copyfileobj(source, packed)
    os.truncate(path, 0)
