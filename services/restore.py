"""Put a backup's ledger back into its place: proved first, every account stopped, nothing overwritten.

What happened after the backup is missing in it, so that nothing may trade on it before execution/restored.py has
reconciled it with the venue (docs/adr/0015-a-restored-ledger.md).
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import make_url

from config.errors import ConfigurationError
from config.secret import Secret
from services.backup import LEDGER_PART, Manifest, prove_backup, scratch
from services.ledger import Ledger, LedgerUnavailable
from services.ledger_copies import fill

_BESIDE = ("", "-wal", "-shm")  # a write-ahead log that is left of a lost ledger would be played into the new one


class RestoreRefused(Exception):
    """Nothing was changed; the text says why and what to do."""


@dataclass(frozen=True)
class Restored:
    """A ledger that was put back. `moved_aside`: the one that stood there before; `accounts` are stopped."""

    manifest: Manifest
    place: str
    accounts: tuple[str, ...]
    settings_folder: Path
    moved_aside: Path | None


def restore(
    backup: Path,
    secret: Secret,
    *,
    home: Path,
    url: str,
    accounts: Collection[str],
    now: datetime,
    move_aside: bool = False,
) -> Restored:
    """Restore the ledger at a database URL, which the bot of `home` uses; `accounts` are stopped besides those in it.

    An SQLite file that stands there is moved aside where that is allowed; a PostgreSQL database must be empty. Raises
    RestoreRefused, BackupUnreadable, ConfigurationError, LedgerUnavailable, OSError; then all is as it was.
    """
    parsed = make_url(url)
    target = Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None
    home.mkdir(parents=True, exist_ok=True)
    with _nobody_trades(home), scratch(home) as room:
        there = target is not None and target.exists() and target.stat().st_size > 0
        if there or target is None:
            _refuse_live(url, now)
        if there and not move_aside:
            raise RestoreRefused(f"{target} is a ledger: with --move-aside it is kept under another name, beside it")
        proved = prove_backup(backup, secret, room)
        if not proved.is_sound:
            why = proved.fault or "; ".join(proved.differences)
            raise RestoreRefused(f"{backup.name} does not hold a sound ledger: {why}; take another one")
        with contextlib.closing(Ledger(f"sqlite:///{proved.ledger}")) as ledger:
            ledger.mark_restored(proved.manifest.taken_at, proved.manifest.head, accounts, now)
            stopped = ledger.accounts()
        stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        aside = None
        if target is None:
            fill(url, proved.ledger)
        else:
            aside = _put(proved.ledger, target, f"replaced-{stamp}") if there else _put(proved.ledger, target, None)
        settings = home / f"settings-from-backup-{stamp}"
        _keep_settings(room, settings)
    place = str(target) if target is not None else parsed.render_as_string(hide_password=True)
    return Restored(proved.manifest, place, tuple(sorted({*stopped, *accounts})), settings, aside)


@contextlib.contextmanager
def _nobody_trades(home: Path) -> Iterator[None]:
    """Hold every account of this home on this host. Raises RestoreRefused, naming who trades."""
    with contextlib.ExitStack() as stack:
        for path in sorted((home / "locks").glob("*.lock")):
            lock = stack.enter_context(path.open("r+"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = path.read_text().partition("\n")[0] or "another process"  # below: who held it before
                raise RestoreRefused(f"{path.stem} is traded by {holder}; stop that process first") from None
        yield


def _refuse_live(url: str, now: datetime) -> None:
    """Raise RestoreRefused while somebody holds a lease in the ledger that is there, if it can be read."""
    try:
        with contextlib.closing(Ledger(url)) as ledger:
            live = ledger.live_leases(now)
    except (LedgerUnavailable, ConfigurationError):
        return
    if live:
        raise RestoreRefused(f"the ledger is in use ({'; '.join(live)}); stop that process first")


def _put(source: Path, target: Path, aside: str | None) -> Path | None:
    """Move a ledger into its place, on the disk; what is there goes aside. Returns where the old one is now."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.restoring")
    shutil.move(source, draft)  # a copy where it is another file system
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    moved = target.with_name(f"{target.name}.{aside or 'left-over'}")
    for suffix in _BESIDE:
        old = target.with_name(f"{target.name}{suffix}")
        if old.exists():
            old.rename(moved.with_name(f"{moved.name}{suffix}"))
    draft.rename(target)
    handle = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return moved if aside else None


def _keep_settings(room: Path, folder: Path) -> None:
    """The settings from the backup, beside the home's own: to look at, not in force."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for path in room.iterdir():
        if not path.name.startswith(LEDGER_PART):
            shutil.move(path, folder / path.name)
