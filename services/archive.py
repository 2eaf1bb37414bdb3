"""The form of a backup file: a compressed tar, encrypted piece by piece, that shows when anything in it was changed.

    8 bytes  "CBBACKUP"        16 bytes  salt          7 bytes  nonce prefix
    then pieces of 1 MiB, each sealed with AES-256-GCM (16 bytes of tag); the last piece is marked as the last

The key is derived from the operator's secret with scrypt. Piece by piece (the STREAM construction), because a ledger
does not fit in memory twice: Fernet would want it whole and a third larger. A nonce holds the piece's number and
whether it is the last, so that pieces cannot be left out, swapped or cut off.
"""

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from config.secret import Secret

_MAGIC = b"CBBACKUP"
_SALT_BYTES, _PREFIX_BYTES, _TAG_BYTES = 16, 7, 16
_PIECE = 1 << 20
# 32 MiB and a tenth of a second: a guess at the secret costs as much
_SCRYPT = {"n": 1 << 15, "r": 8, "p": 1, "maxmem": 1 << 26, "dklen": 32}
_COMPRESSION = 6


class BackupUnreadable(Exception):
    """The file is no backup, was damaged, or the secret is another one; the text says which, as far as that shows."""


def write_archive(target: BinaryIO, members: list[tuple[str, Path]], secret: Secret) -> None:
    """Write files under their names, in this order, into an encrypted archive. Raises OSError (a full disk)."""
    with (
        _Sealed(target, secret) as sealed,
        gzip.GzipFile(fileobj=sealed, mode="wb", compresslevel=_COMPRESSION) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        for name, path in members:
            told = tarfile.TarInfo(name)
            told.size, told.mode = path.stat().st_size, 0o600
            with path.open("rb") as file:
                archive.addfile(told, file)


@contextmanager
def read_archive(path: Path, secret: Secret) -> Iterator[Iterator[tuple[str, BinaryIO]]]:
    """The members of an archive, one after the other; each must be read before the next.

    Raises BackupUnreadable, also in the middle: what was read before then proves nothing yet.
    """
    try:
        with path.open("rb") as source, _Opened(source, secret) as opened:
            yield _members(opened)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise BackupUnreadable(f"{path.name}: damaged ({error})") from error
    except OSError as error:
        raise BackupUnreadable(f"{path.name}: cannot be read ({error.strerror or error})") from error


def _members(opened: "_Opened") -> Iterator[tuple[str, BinaryIO]]:
    buffered = io.BufferedReader(opened, _PIECE)
    with gzip.GzipFile(fileobj=buffered) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as archive:
        for told in archive:
            file = archive.extractfile(told)
            if file is None:
                raise BackupUnreadable(f"holds {told.name}, which is no file")
            yield told.name, file  # type: ignore[misc]
        while unpacked.read(_PIECE):  # up to the last piece: only then nothing was cut off
            pass
    while buffered.read(_PIECE):
        pass


class _Sealed(io.RawIOBase):
    """Encrypts what is written to it."""

    def __init__(self, target: BinaryIO, secret: Secret) -> None:
        salt, prefix = os.urandom(_SALT_BYTES), os.urandom(_PREFIX_BYTES)
        self._target = target
        self._header = _MAGIC + salt + prefix
        self._cipher = _Cipher(secret, salt, prefix, self._header)
        self._waiting = bytearray()
        self._target.write(self._header)

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        self._waiting += data
        while len(self._waiting) > _PIECE:  # not the last one: that is sealed in the end
            self._target.write(self._cipher.seal(bytes(self._waiting[:_PIECE]), last=False))
            del self._waiting[:_PIECE]
        return len(data)

    def __exit__(self, *failure: object) -> None:
        if failure[0] is None:
            self._target.write(self._cipher.seal(bytes(self._waiting), last=True))
        self.close()


class _Opened(io.RawIOBase):
    """Decrypts what is read from it."""

    def __init__(self, source: BinaryIO, secret: Secret) -> None:
        header = source.read(len(_MAGIC) + _SALT_BYTES + _PREFIX_BYTES)
        if not header.startswith(_MAGIC) or len(header) < len(_MAGIC) + _SALT_BYTES + _PREFIX_BYTES:
            raise BackupUnreadable("this is no backup of crypto-bot")
        salt = header[len(_MAGIC) : len(_MAGIC) + _SALT_BYTES]
        self._source = source
        self._cipher = _Cipher(secret, salt, header[-_PREFIX_BYTES:], header)
        self._next = source.read(_PIECE + _TAG_BYTES)
        self._ready = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        while not self._ready and not self._ended:
            piece, self._next = self._next, self._source.read(_PIECE + _TAG_BYTES)
            self._ended = not self._next
            self._ready = memoryview(self._cipher.open(piece, last=self._ended))
        taken = min(len(buffer), len(self._ready))
        buffer[:taken] = self._ready[:taken]
        self._ready = self._ready[taken:]
        return taken


class _Cipher:
    def __init__(self, secret: Secret, salt: bytes, prefix: bytes, header: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = hashlib.scrypt(secret.reveal().encode(), salt=salt, **_SCRYPT)
        self._cipher = AESGCM(key)
        self._prefix = prefix
        self._header = header
        self._number = 0

    def seal(self, piece: bytes, *, last: bool) -> bytes:
        return self._cipher.encrypt(self._nonce(last), piece, self._header)

    def open(self, piece: bytes, *, last: bool) -> bytes:
        from cryptography.exceptions import InvalidTag

        number = self._number
        try:
            return self._cipher.decrypt(self._nonce(last), piece, self._header)
        except (InvalidTag, ValueError):
            if number == 0 and not last:
                raise BackupUnreadable("the secret does not open it, or its beginning is damaged") from None
            what = "the secret does not open it, or it is damaged" if number == 0 else "damaged or cut off"
            raise BackupUnreadable(f"{what} (piece {number + 1})") from None

    def _nonce(self, last: bool) -> bytes:
        nonce = self._prefix + self._number.to_bytes(4, "big") + bytes([last])
        self._number += 1
        return nonce
