"""Backups: ledger and settings in one encrypted file, read back before an older one goes, and proved by a drill.

    ledger.db        the ledger at one moment (services/ledger_copies.py)
    settings.yml     the settings in force, and config/NAME, the files that they come from; passwords left out
    manifest.json    first in the file: versions, head of the chain, rows by table, size and SHA-256 of each part

The form of the file is services/archive.py. Keys of exchanges, Prefect's database and logs are in no backup.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from config.errors import ConfigurationError
from config.secret import Secret
from config.settings import Settings
from services.archive import BackupUnreadable, read_archive, write_archive
from services.ledger import Ledger
from services.ledger_copies import snapshot
from services.ledger_tables import SCHEMA_VERSION
from services.ledger_upkeep import ChainHead
from services.secrets import SecretMissing, named

_NAME = "crypto-bot-%Y%m%dT%H%M%SZ.backup"
_NAMED = re.compile(r"crypto-bot-\d{8}T\d{6}Z\.backup")
_FORM = 1
_MANIFEST, LEDGER_PART = "manifest.json", "ledger.db"
_LEAST_SECRET = 16  # characters
_PIECE = 1 << 20


class BackupFailed(Exception):
    """No backup was made, or it cannot be relied on; those from before are as they were."""


@dataclass(frozen=True)
class Part:
    """One file in a backup."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself. `fault`: the ledger's own, found when it was copied (None: its chain holds)."""

    version: str
    schema: str
    taken_at: datetime  # wall, UTC
    head: ChainHead
    counts: Mapping[str, int]
    parts: Mapping[str, Part]
    fault: str | None


@dataclass(frozen=True)
class Backup:
    """A backup that was made and read back. `removed`: older ones that went."""

    path: Path
    bytes: int
    manifest: Manifest
    removed: tuple[str, ...]


@dataclass(frozen=True)
class Proved:
    """A backup that was unpacked, and what its ledger says. `differences`: between ledger and manifest."""

    manifest: Manifest
    ledger: Path
    fault: str | None
    differences: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        return self.fault is None and not self.differences


def backup_secret(settings: Settings) -> Secret:
    """The secret that encrypts backups. Raises ConfigurationError where there is none: nothing is kept in the clear."""
    name = settings.maintenance.backup_secret
    try:
        secret = named(settings, name)
    except SecretMissing as error:
        raise ConfigurationError(
            f"backups are encrypted and need a secret: {error}; set {name}, and keep it where the backups are not",
            section="backup",
        ) from None
    if len(secret.reveal()) < _LEAST_SECRET:
        raise ConfigurationError(
            f"{name} is shorter than {_LEAST_SECRET} characters: choose a longer one", section="backup"
        )
    return secret


def backup_directory(settings: Settings) -> Path:
    """Where backups go."""
    return settings.maintenance.backup_directory or settings.home / "backups"


def backups_in(directory: Path) -> tuple[Path, ...]:
    """The backups in a directory, newest first, by the time in their names."""
    found = [path for path in directory.glob("crypto-bot-*.backup") if _NAMED.fullmatch(path.name)]
    return tuple(sorted(found, key=lambda path: path.name, reverse=True))


def taken_at(path: Path) -> datetime:
    """When a backup was made, by its name."""
    return datetime.strptime(path.name, _NAME).replace(tzinfo=UTC)


def make_backup(
    settings: Settings, texts: Mapping[str, str], secret: Secret, now: datetime, directory: Path | None = None
) -> Backup:
    """Copy the ledger while it is written, put it with `texts` (by name) into a new backup, read that back, and remove
    the older ones beyond `maintenance.backups_kept`.

    Nothing is removed while the ledger's own chain does not hold: the older ones may be the last good ones. Raises
    BackupFailed, ConfigurationError, LedgerUnavailable.
    """
    where = directory or backup_directory(settings)
    path = where / now.astimezone(UTC).strftime(_NAME)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_alone(settings.home))
            room = stack.enter_context(scratch(settings.home))
            ledger = room / LEDGER_PART
            where.mkdir(parents=True, exist_ok=True)
            snapshot(settings.ledger_url, ledger)
            manifest = _write(path, ledger, texts, secret, now, room)
            told = read_backup(path, secret)
        except (OSError, BackupUnreadable) as error:
            reason = f"{error.filename or where}: {error.strerror}" if isinstance(error, OSError) else error
            left = backups_in(where)
            older = f"the newest one is still {left[0].name}" if left else "there is none from before"
            raise BackupFailed(f"no backup was made in {where}: {reason}; {older}") from error
        if told != manifest:
            raise BackupFailed(f"{path.name} does not read as it was written; nothing older was removed")
        removed = _prune(where, settings.maintenance.backups_kept) if manifest.fault is None else ()
    return Backup(path, path.stat().st_size, manifest, removed)


def read_backup(path: Path, secret: Secret, into: Path | None = None) -> Manifest:
    """Read a backup to its end, prove every part by its hash, and put the parts into a folder where one is named.

    Raises BackupUnreadable, OSError for a folder that cannot be written.
    """
    with read_archive(path, secret) as members:
        name, file = next(members)
        if name != _MANIFEST:
            raise BackupUnreadable(f"{path.name}: begins with {name}, not with its manifest")
        manifest = _manifest(file.read())
        seen = {}
        for name, file in members:
            expected = manifest.parts.get(name)
            if expected is None or name in seen:
                raise BackupUnreadable(f"{path.name}: holds {name}, of which its manifest says nothing")
            place = None if into is None else _place(into, name)
            digest, size = sha256(), 0
            with contextlib.nullcontext() if place is None else place.open("wb") as out:
                while piece := file.read(_PIECE):
                    digest.update(piece)
                    size += len(piece)
                    if out is not None:
                        out.write(piece)
            seen[name] = Part(size, digest.hexdigest())
            if seen[name] != expected:
                raise BackupUnreadable(f"{path.name}: {name} is not what was put into it")
    if missing := set(manifest.parts) - set(seen):
        raise BackupUnreadable(f"{path.name}: {', '.join(sorted(missing))} is missing")
    return manifest


def prove_backup(path: Path, secret: Secret, room: Path) -> Proved:
    """Unpack a backup into an empty folder, open its ledger, verify the chain, and compare it with the manifest.

    An older schema is brought up to date in the copy, after the comparison. Raises BackupUnreadable, OSError,
    ConfigurationError (a newer crypto-bot wrote it), LedgerUnavailable.
    """
    manifest = read_backup(path, secret, room)
    place = room / LEDGER_PART
    with contextlib.closing(Ledger(f"sqlite:///{place}")) as ledger:
        fault = ledger.verify_chain()
        differences: tuple[str, ...] = ()
        if manifest.schema == SCHEMA_VERSION:
            differences = _differences(manifest, ledger.head(), ledger.counts())
    return Proved(manifest, place, fault, differences)


@contextlib.contextmanager
def scratch(home: Path) -> Iterator[Path]:
    """A folder of its own under home, which only its owner reads: what is in a ledger is nobody else's business."""
    room = home / "scratch" / f"{os.getpid()}-{os.urandom(4).hex()}"
    room.mkdir(parents=True, mode=0o700)
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One backup at a time; what one that was killed has left is cleared away."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "backup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupFailed(f"another backup of {home} is being made") from None
        for left in (home / "scratch").glob("*-*"):
            if not _lives(left.name.partition("-")[0]):
                shutil.rmtree(left, ignore_errors=True)
        yield


def _lives(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True


def _write(path: Path, ledger: Path, texts: Mapping[str, str], secret: Secret, now: datetime, room: Path) -> Manifest:
    """The backup under a temporary name, on the disk, and then under its own."""
    with contextlib.closing(Ledger(f"sqlite:///{ledger}")) as copied:
        fault, head, counts = copied.verify_chain(), copied.head(), copied.counts()
    files = {LEDGER_PART: ledger}
    for name, text in texts.items():
        files[name] = _place(room, name)
        files[name].write_text(text, encoding="utf-8")
    parts = {name: _part(each) for name, each in files.items()}
    manifest = Manifest(version("crypto-bot"), SCHEMA_VERSION, now.astimezone(UTC), head, counts, parts, fault)
    told = room / _MANIFEST
    told.write_text(
        json.dumps({"form": _FORM, **asdict(manifest), "taken_at": manifest.taken_at.isoformat()}, indent=1)
    )
    draft = path.with_name(f".{path.name}.partial")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            write_archive(file, [(_MANIFEST, told), *files.items()], secret)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    _on_disk(path.parent)
    return manifest


def _on_disk(folder: Path) -> None:
    """See to it that a new name in a folder survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _place(room: Path, name: str) -> Path:
    """Where a part goes. Raises BackupUnreadable for a name that leads out of the folder."""
    folder, slash, last = name.rpartition("/")
    if folder not in ("", "config") or not re.fullmatch(r"[\w][\w.-]*", last):
        raise BackupUnreadable(f"holds a part called {name!r}")
    path = room / folder / last if slash else room / last
    path.parent.mkdir(exist_ok=True)
    return path


def _part(path: Path) -> Part:
    with path.open("rb") as file:
        digest = sha256()
        while piece := file.read(_PIECE):
            digest.update(piece)
    return Part(path.stat().st_size, digest.hexdigest())


def _manifest(text: bytes) -> Manifest:
    try:
        told = json.loads(text)
        if told["form"] != _FORM:
            raise BackupUnreadable(f"is of form {told['form']}, which a newer crypto-bot reads")
        return Manifest(
            told["version"],
            told["schema"],
            datetime.fromisoformat(told["taken_at"]),
            ChainHead(**told["head"]),
            told["counts"],
            {name: Part(**part) for name, part in told["parts"].items()},
            told["fault"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BackupUnreadable(f"its manifest cannot be read ({error})") from error


def _differences(manifest: Manifest, head: ChainHead, counts: Mapping[str, int]) -> tuple[str, ...]:
    found = []
    if head != manifest.head:
        found.append(f"the chain ends with event {head.seq}, the backup's manifest says {manifest.head.seq}")
    for table in sorted({*counts, *manifest.counts}):
        ours, told = counts.get(table, 0), manifest.counts.get(table, 0)
        if ours != told:
            found.append(f"{ours} rows in {table}, the manifest says {told}")
    return tuple(found)


def _prune(where: Path, kept: int) -> tuple[str, ...]:
    removed = backups_in(where)[kept:]
    for path in removed:
        path.unlink()
    return tuple(path.name for path in removed)
