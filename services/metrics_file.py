"""Metrics as JSON lines in a rotating file that all our processes share: for a look with `jq`, and for who has no
other place.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from services.logs import SharedRotatingFile
from services.metrics import Snapshot

FILE_BYTES = 10_000_000
OLD_FILES = 4


class _Lines(SharedRotatingFile):
    """A line that cannot be written is the sink's failure; logging would print it and go on."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise


class FileSink:
    """One line for each fresh point."""

    name = "file"

    def __init__(self, path: Path, *, most_bytes: int = FILE_BYTES) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._lines: _Lines | None = None

    def send(self, snapshot: Snapshot) -> Mapping[str, int]:
        """Append. Raises OSError."""
        if self._lines is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lines = _Lines(self._path, maxBytes=self._most_bytes, backupCount=OLD_FILES, encoding="utf-8")
        rows = [
            {
                "at": snapshot.at.isoformat(timespec="milliseconds"),
                "process": snapshot.process,
                "name": point.name,
                "kind": point.kind.value,
                "labels": dict(point.labels),
                "value": point.value,
            }
            for point in snapshot.fresh
        ]
        if rows:
            text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
            self._lines.emit(logging.makeLogRecord({"msg": "%s", "args": (text,)}))
        return {}

    def close(self) -> None:
        if self._lines is not None:
            self._lines.close()
