"""Show the settings in force and where each value comes from."""

import re
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from config.reading import KeyPath, Tree
from config.settings import Settings
from trading.money import plain

# Up to the last @, and also where the // is missing: who shows a URL that is wrong must not show what is right in it.
_PASSWORD_IN_URL = re.compile(r"((?:^(?!.*//)|//)[^/@\s:]*:)\S*(?=@)|(?<=[?&])(\w*password=)[^&\s]*", re.IGNORECASE)


def render(settings: Settings, tree: Tree) -> str:
    """YAML that could be loaded again, each value with the place that set it; URL passwords are masked."""
    lines = list(_lines(settings.model_dump(), tree, ()))
    width = min(60, max(len(text) for text, _ in lines))
    return "\n".join(f"{text:<{width}}  # {place}" if place else text for text, place in lines) + "\n"


def _lines(values: dict[str, Any], tree: Tree, above: KeyPath) -> Iterator[tuple[str, str]]:
    indent = "  " * len(above)
    for key, value in values.items():
        path = (*above, key)
        if isinstance(value, dict) and value:
            yield f"{indent}{key}:", ""
            yield from _lines(value, tree, path)
        else:
            yield f"{indent}{key}: {_scalar(value, tree, path)}", _place(tree, path)


def _place(tree: Tree, path: KeyPath) -> str:
    known = any(path[:end] in tree.places for end in range(1, len(path) + 1))
    return tree.place(path) if known else "built in"


def _scalar(value: Any, tree: Tree, path: KeyPath) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_scalar(each, tree, path) for each in value)}]"
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, (Path, Enum)):
        value = str(value)
    if isinstance(value, str):
        value = _PASSWORD_IN_URL.sub(r"\1\2••••", value)
    return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000).split("\n...")[0].strip()
