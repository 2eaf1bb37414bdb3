"""The rooms and who may import whom (docs/adr/0001-rooms-and-arrows.md): read from the source, nothing is imported.

Every offence names file and line. The rules themselves are tried on bad snippets below.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# room -> rooms (or single modules) that it may import besides itself
ARROWS: dict[str, tuple[str, ...]] = {
    "flows": ("tasks", "trading", "config"),
    "tasks": ("execution", "exchanges", "services", "strategies", "trading", "config"),
    "execution": ("exchanges", "services", "trading", "config"),
    "strategies": ("trading",),
    "exchanges": ("trading", "config", "services.clock"),  # the seam for time
    "services": ("trading", "config"),
    "config": ("trading",),
    "trading": (),
    "simvenue": (),
    "cli": ("flows", "tasks", "execution", "config", "services", "trading", "exchanges.errors", "simvenue.server"),
}
ROOMS = frozenset(ARROWS)
HEAVY = frozenset({"prefect", "ccxt", "pandas"})
# Rooms in which a heavy import may stand inside a function only; in `cli` that includes our own heavy rooms.
LIGHT = {
    "config": HEAVY,
    "trading": HEAVY,
    "services": HEAVY,
    "execution": HEAVY,
    "cli": HEAVY | {"flows", "tasks"},
}
# room -> what it may never import, not even inside a function
NEVER = {"execution": frozenset({"prefect"})}
# room -> the only packages from outside that it may use
OUTSIDE = {"trading": frozenset[str](), "strategies": frozenset({"pandas"})}
CLOCKS = frozenset({"services/clock.py", "simvenue/clock.py"})
WALL = frozenset(
    {
        "datetime.now",
        "datetime.utcnow",
        "datetime.today",
        "date.today",
        "time.time",
        "time.time_ns",
        "Timestamp.now",
        "Timestamp.utcnow",
        "Timestamp.today",
    }
)


@dataclass(frozen=True)
class Import:
    module: str
    line: int
    at_top: bool  # runs when the file is imported


def imports_of(tree: ast.Module) -> Iterator[Import]:
    """Every import of the file, including `import_module("...")` with a plain text."""
    for node, at_top in _walk(tree, at_top=True):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(name.name, node.lineno, at_top)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield Import("." * node.level + (node.module or ""), node.lineno, at_top)
            else:
                for name in node.names:
                    yield Import(f"{node.module}.{name.name}", node.lineno, at_top)
        elif isinstance(node, ast.Call) and _dotted(node.func).split(".")[-1] in (
            "import_module",
            "__import__",
        ):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield Import(first.value, node.lineno, at_top)


def _walk(node: ast.AST, *, at_top: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        yield child, at_top
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inside = False
        elif isinstance(child, ast.If) and _dotted(child.test).split(".")[-1] == "TYPE_CHECKING":
            inside = False  # read by the type checker only
        else:
            inside = at_top
        yield from _walk(child, at_top=inside)


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def offences(file: str, source: str) -> list[str]:
    """What the file (path from the root) does against the rules of its room, each as `file:line: what`."""
    room = file.split("/")[0]
    tree = ast.parse(source)
    found: list[tuple[int, str]] = []
    for each in imports_of(tree):
        what = _import_offence(room, each)
        if what is not None:
            found.append((each.line, what))
    if file not in CLOCKS:
        found.extend((line, f"{call} reads the wall clock; ask a Clock") for line, call in _wall_reads(tree))
    return [f"{file}:{line}: {what}" for line, what in sorted(found)]


def _import_offence(room: str, each: Import) -> str | None:
    if each.module.startswith("."):
        return f"relative import {each.module}; imports are absolute"
    top = each.module.split(".")[0]
    if top in ROOMS and top != room:
        allowed = ARROWS[room]
        if not any(each.module == a or each.module.startswith(f"{a}.") for a in allowed):
            return f"{room} may not import {each.module}"
    if top == "tests" or top in NEVER.get(room, ()):
        return f"{room} may never import {top}"
    if each.at_top and top in LIGHT.get(room, ()):
        return f"{room} imports {top} inside functions only"
    from_outside = top not in ROOMS and top not in sys.stdlib_module_names
    if room in OUTSIDE and from_outside and top not in OUTSIDE[room]:
        return f"{room} may not import {top} (from outside: {', '.join(sorted(OUTSIDE[room])) or 'nothing'})"
    return None


def _wall_reads(tree: ast.Module) -> Iterator[tuple[int, str]]:
    names = {
        (alias.asname or alias.name): f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "time"
        for alias in node.names
    }
    # Not calls alone: handing the function on (`default_factory=datetime.now`) reads the wall as well.
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            last_two = ".".join(_dotted(node).split(".")[-2:])
            if last_two in WALL:
                yield node.lineno, last_two
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and names.get(node.id) in WALL:
            yield node.lineno, names[node.id]


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_what_its_arrows_allow(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files, f"the room {room} is empty"
    found = [
        offence
        for path in files
        for offence in offences(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n" + "\n".join(found)


def test_the_page_about_the_rooms_has_the_same_arrows() -> None:
    page = (ROOT / "docs" / "adr" / "0001-rooms-and-arrows.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.M)
    assert {room: set(re.findall(r"`([\w.]+)`", told)) for room, told in rows} == {
        room: set(arrows) for room, arrows in ARROWS.items()
    }


def test_every_folder_of_code_is_a_room_that_the_arrows_know() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders - {"tests"} == ROOMS


@pytest.mark.parametrize(
    ("file", "source", "offence"),
    [
        ("trading/risk.py", "import os\nimport pandas\n", "trading/risk.py:2: trading imports pandas"),
        (
            "trading/risk.py",
            "def f():\n    import aiohttp\n",
            "trading/risk.py:2: trading may not import aiohttp",
        ),
        (
            "trading/risk.py",
            "from services.clock import Clock\n",
            "trading/risk.py:1: trading may not import",
        ),
        (
            "simvenue/engine.py",
            "from trading.money import amount\n",
            "simvenue/engine.py:1: simvenue may not",
        ),
        (
            "exchanges/bybit.py",
            "from services.ledger import Ledger\n",
            "exchanges/bybit.py:1: exchanges may not",
        ),
        ("exchanges/bybit.py", "from services import ledger\n", "exchanges/bybit.py:1: exchanges may not"),
        (
            "flows/cycle.py",
            "from exchanges import base\n",
            "flows/cycle.py:1: flows may not import exchanges.base",
        ),
        (
            "services/logs.py",
            "import execution.stop\n",
            "services/logs.py:1: services may not import execution",
        ),
        (
            "execution/place.py",
            "def f():\n    from prefect import flow\n",
            "execution/place.py:2: execution may never",
        ),
        (
            "execution/place.py",
            "import ccxt.async_support\n",
            "execution/place.py:1: execution imports ccxt inside",
        ),
        (
            "cli/main.py",
            "try:\n    import prefect\nfinally:\n    pass\n",
            "cli/main.py:2: cli imports prefect inside",
        ),
        ("cli/main.py", "class A:\n    from flows import cycle\n", "cli/main.py:2: cli imports flows inside"),
        (
            "cli/main.py",
            "import_module('exchanges.bybit')\n",
            "cli/main.py:1: cli may not import exchanges.bybit",
        ),
        (
            "config/loader.py",
            "from tests import fakes\n",
            "config/loader.py:1: config may never import tests",
        ),
        ("config/loader.py", "from . import secret\n", "config/loader.py:1: relative import"),
        ("strategies/mine.py", "import numpy\n", "strategies/mine.py:1: strategies may not import numpy"),
        ("tasks/read.py", "x = datetime.now(UTC)\n", "tasks/read.py:1: datetime.now reads the wall clock"),
        (
            "tasks/read.py",
            "import datetime\nx = datetime.datetime.utcnow()\n",
            "tasks/read.py:2: datetime.utcnow",
        ),
        ("tasks/read.py", "import time\n\nx = time.time()\n", "tasks/read.py:3: time.time reads"),
        ("tasks/read.py", "from time import time as t\nx = t()\n", "tasks/read.py:2: time.time reads"),
        ("tasks/read.py", "x = field(default_factory=datetime.now)\n", "tasks/read.py:1: datetime.now reads"),
        ("simvenue/venue.py", "x = time.time_ns()\n", "simvenue/venue.py:1: time.time_ns reads"),
    ],
)
def test_an_offence_is_found_with_its_file_and_line(file: str, source: str, offence: str) -> None:
    found = offences(file, source)
    assert len(found) == 1
    assert found[0].startswith(offence)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("trading/risk.py", "from collections.abc import Mapping\nfrom trading.money import amount\n"),
        ("exchanges/adapter.py", "from services.clock import Clock\n"),
        ("cli/demo.py", "def run():\n    import prefect\n    from flows import trading_cycle\n"),
        ("services/logs.py", "if TYPE_CHECKING:\n    import pandas\n"),
        ("strategies/mine.py", "import pandas\nfrom trading.sizing import Target\n"),
        ("services/clock.py", "x = datetime.now(UTC)\n"),
        ("tasks/read.py", "import time\nbegan = time.perf_counter()\nx = clock.now()\n"),
    ],
)
def test_what_is_allowed_is_no_offence(file: str, source: str) -> None:
    assert offences(file, source) == []
