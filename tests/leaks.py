"""Search everything that a run leaves behind for secrets that were planted in it, in each form that they may take.

Written apart from the mask on purpose: a form that one of them forgets is not forgotten by both.
"""

import base64
import binascii
import contextlib
import gzip
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

from config.secret import Secret
from services.archive import read_archive


@dataclass(frozen=True)
class Leak:
    """One planted value found: its name, the form in which it stood, and where."""

    name: str
    form: str
    place: str

    def __str__(self) -> str:
        return f"{self.name} ({self.form}) in {self.place}"


def forms(value: str) -> Iterator[tuple[str, bytes]]:
    """Every form in which a value is looked for, by name. In base64 only what does not depend on the neighbours."""
    raw = value.encode()
    yield "raw", raw
    for name, quoted in (("URL-encoded", quote(value, safe="")), ("URL-encoded as a form", quote_plus(value))):
        if quoted != value:
            yield name, quoted.encode()
            yield f"{name}, small letters", quoted.lower().encode()
    yield "hex", binascii.hexlify(raw)
    yield "hex, capitals", binascii.hexlify(raw).upper()
    for before in range(3):
        # Three bytes become four characters: those wholly made of our bytes are the same whatever stands around.
        text = base64.b64encode(b"\xff" * before + raw + b"\xff" * 3)
        begin = {0: 0, 1: 2, 2: 3}[before]
        end = (before + len(raw)) * 4 // 3
        yield f"base64 at offset {before}", text[begin:end]
        yield f"base64 of URLs at offset {before}", text[begin:end].translate(bytes.maketrans(b"+/", b"-_"))


def search(data: bytes, planted: Mapping[str, str], place: str) -> list[Leak]:
    """Every planted value that stands in `data`, in any form."""
    return [
        Leak(name, form, place)
        for name, value in planted.items()
        for form, text in forms(value)
        if len(text) >= 6 and text in data
    ]


def search_files(folder: Path, planted: Mapping[str, str]) -> tuple[list[Leak], int, int]:
    """Search every file under a folder, databases also cell by cell and packed ones unpacked; also how many files and
    bytes that were.
    """
    found: list[Leak] = []
    files = size = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        data = path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
        files, size = files + 1, size + len(data)
        found += search(data, planted, str(path.relative_to(folder)))
        found += search(str(path.name).encode(), planted, f"the name of {path.relative_to(folder)}")
        if data.startswith(b"SQLite format 3\0"):
            for table, cells in _cells(path):
                found += search(cells, planted, f"{path.relative_to(folder)}, table {table}")
    return found, files, size


def search_backups(folder: Path, secret: str, planted: Mapping[str, str]) -> tuple[list[Leak], list[str]]:
    """Open every backup under a folder and search what is in it; also the names of the parts.

    Raises BackupUnreadable.
    """
    parts = []
    with tempfile.TemporaryDirectory() as room:
        for path in sorted(folder.rglob("*.backup")):
            with read_archive(path, Secret(secret)) as members:
                for name, file in members:
                    place = Path(room) / path.name / name
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(file.read())
                    parts.append(name)
        found, _, _ = search_files(Path(room), planted)
    return found, parts


def _cells(path: Path) -> Iterator[tuple[str, bytes]]:
    """Each table of an SQLite file as one run of bytes, the write-ahead log taken in; large values span pages of the
    file, where raw bytes alone would miss them.
    """
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.text_factory = bytes
        names = [name.decode() for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            yield name, b"\n".join(_bytes(row) for row in database.execute(f'SELECT * FROM "{name}"'))


def _bytes(row: Iterable[object]) -> bytes:
    return b"\x1f".join(each if isinstance(each, bytes) else str(each).encode() for each in row)
