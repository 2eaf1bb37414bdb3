"""What commands print: one JSON document for programs, tables and sentences for people. No known secret passes."""

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.logs import mask_known_secrets
from trading.money import plain


class _Screen(Console):
    """Where sentences go. Its reader may have gone (`| tee`, which Ctrl+C ends first): that ends no work of ours."""

    def on_broken_pipe(self) -> None:
        """Be silent from now on; rich itself would end the process."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


console = _Screen()
# Progress and remarks: never on stdout, which may be read by a program.
remarks = Console(stderr=True)


def say(sentence: str) -> None:
    """Print a sentence for people; it is not broken into lines, so that a command in it can be copied."""
    with contextlib.suppress(OSError):  # a terminal that was closed: those who look after orders go on without it
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
    sys.stdout.write(mask_known_secrets(json.dumps(plain_value(value), ensure_ascii=False, indent=2)) + "\n")
    sys.stdout.flush()


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
