"""Small files that other processes read at any moment."""

import os
from pathlib import Path
from threading import get_native_id


def write_whole(path: Path, text: str, mode: int = 0o644) -> None:
    """Put a text in a file's place: whoever reads it sees the one before or this one, never a part. Makes its folder.

    Raises OSError; the file is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{get_native_id()}")  # two may write at the same moment
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
