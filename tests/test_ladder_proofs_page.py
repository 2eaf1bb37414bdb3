"""docs/ladder-proofs.md names a test for each claim, and only tests that exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "ladder-proofs.md").read_text(encoding="utf-8")
CLAIMS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| claim")]


def test_every_claim_names_a_test() -> None:
    assert len(CLAIMS) > 20
    assert not [claim for claim in CLAIMS if not re.search(r"`tests/[\w/]+\.py::test_\w+` \|$", claim)]


def test_every_named_test_exists() -> None:
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE):
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        known = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in known, f"{file} has no {name}"
