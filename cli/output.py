"""What commands print: one JSON document for programs, tables and sentences for people. No known secret passes."""

import dataclasses
import errno
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.logs import mask_known_secrets
from trading.money import plain


class _Terminal(Console):
    """A console that ends no work: rich would leave the process where the reader of a pipe has gone (Ctrl+C ends `tee`
    too), and raises where the disk is full or the terminal was closed. What was under way must go on: orders are taken
    back behind these sentences.
    """

    def on_broken_pipe(self) -> None:
        self.quiet = True
        _let_go(self.file)

    def print(self, *objects: Any, **options: Any) -> None:
        try:
            super().print(*objects, **options)
        except OSError as error:  # it could not be told, and there is nowhere else to tell it
            if error.errno == errno.EIO:  # a terminal that was closed
                self.on_broken_pipe()


def _let_go(stream: IO[str]) -> None:
    """Nobody reads it any more: the rest goes nowhere, also what Python writes out at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


console = _Terminal()
# Progress and remarks: never on stdout, which may be read by a program.
remarks = _Terminal(stderr=True)


def say(sentence: str) -> None:
    """Print a sentence for people; it is not broken into lines, so that a command in it can be copied."""
    console.print(mask_known_secrets(sentence), soft_wrap=True)


def plain_value(value: object) -> object:
    """Turn our values into what JSON knows: amounts and times become text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain_value(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain_value(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_value(each) for each in value]
    return value


def print_json(value: object) -> None:
    """Print one JSON document on stdout."""
    try:
        sys.stdout.write(mask_known_secrets(json.dumps(plain_value(value), ensure_ascii=False, indent=2)) + "\n")
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        # Nobody reads it: the exit status still says what came of the command.
        _let_go(sys.stdout)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Print a table for people, or the sentence `empty` when there is no row."""
    rows = list(rows)
    if not rows:
        console.print(f"{title}: {empty}")
        return
    console.print(title, style="italic")
    table = Table(header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(mask_known_secrets(cell(value))) for value in row))
    console.print(table)


def cell(value: object) -> str:
    """Write one value for people: times in UTC to the second, amounts without noise, nothing as a dash."""
    if value is None or value == "":
        return "-"
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(plain_value(value))
