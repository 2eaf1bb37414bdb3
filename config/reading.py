"""Read settings from files, environment and command line into one tree; remember where each came from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from config.errors import ConfigurationError

PREFIX = "CRYPTO_BOT__"
DEFAULT_FILE = Path(__file__).with_name("default.yml").resolve()
LADDER_FILE = DEFAULT_FILE.with_name("ladder.yml")
DEMO_FILE = DEFAULT_FILE.with_name("demo.yml")
PRACTICE_FILE = DEFAULT_FILE.with_name("practice.yml")
# Whose thresholds prove nothing: refused together with a live or test endpoint.
SIMULATED_ONLY = {DEMO_FILE: "config/demo.yml", PRACTICE_FILE: "config/practice.yml"}
KeyPath = tuple[str, ...]


@dataclass
class Tree:
    """Nested values, and for every key path the place that set it: `file:line`, a variable, or an option."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    def put(self, path: KeyPath, value: Any, place: str) -> None:
        """Set one value; a mapping is merged key by key. Raises ConfigurationError below a plain value."""
        if isinstance(value, dict):
            for key, each in value.items():
                self.put((*path, key), each, place)
            if value:
                return
        node = self.values
        for depth, key in enumerate(path[:-1], 1):
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise ConfigurationError(
                    f"{place}: {'.'.join(path)}: {'.'.join(path[:depth])} is a single value, there is no key below it"
                )
        node[path[-1]] = value
        self.places[path] = place

    def place(self, path: KeyPath) -> str:
        """Where the value at `path`, or the nearest one around or below it, was set."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        below = [place for each, place in self.places.items() if each[: len(path)] == path]
        return below[0] if below else "the configuration"


def read_file(tree: Tree, path: Path, shown_as: str | None = None) -> None:
    """Merge one YAML file into the tree. Raises ConfigurationError naming file and line."""
    name = shown_as or str(path)
    tree.files.append(path.resolve())
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigurationError(f"{name}: cannot be read ({reason}); check --config") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            return
        if not isinstance(node, yaml.MappingNode):
            raise ConfigurationError(f"{name}:1: must hold sections such as `execution:`, not a single value")
        for key_path, value, line in _leaves(node, (), name):
            tree.put(key_path, value, f"{name}:{line}")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f":{mark.line + 1}" if mark is not None else ""
        raise ConfigurationError(
            f"{name}{at}: is not valid YAML ({error.problem}); check indentation, colons and quotes there"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{name}: is not valid YAML ({str(error).splitlines()[0]})") from error


def _leaves(node: yaml.MappingNode, above: KeyPath, name: str) -> Iterator[tuple[KeyPath, Any, int]]:
    seen: set[str] = set()
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigurationError(f"{name}:{line}: a key must be a word")
        key = key_node.value  # as written: YAML would turn `on` into true
        if key in seen:
            raise ConfigurationError(f"{name}:{line}: {'.'.join((*above, key))} is given twice; remove one of them")
        seen.add(key)
        if isinstance(value_node, yaml.MappingNode) and value_node.value:
            yield from _leaves(value_node, (*above, key), name)
        else:
            yield (*above, key), _value(value_node, f"{name}:{line}: {'.'.join((*above, key))}"), line


def _value(node: yaml.Node, place: str) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    except ValueError as error:  # a date that the calendar does not have, such as 2026-11-31
        raise ConfigurationError(f"{place}: cannot be meant: {error}") from None
    finally:
        loader.dispose()


def read_environment(tree: Tree, environ: Mapping[str, str]) -> None:
    """Merge every CRYPTO_BOT__SECTION__KEY into the tree, and CRYPTO_BOT_HOME."""
    if environ.get("CRYPTO_BOT_HOME"):
        tree.put(("home",), environ["CRYPTO_BOT_HOME"], "CRYPTO_BOT_HOME")
    for variable in sorted(environ):
        if variable.startswith(PREFIX):
            words = variable.removeprefix(PREFIX).split("__")
            tree.put(_as_known(tree, words), _parsed(environ[variable], variable), variable)


def read_overrides(tree: Tree, overrides: Sequence[str]) -> None:
    """Merge `section.key=value` texts into the tree."""
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise ConfigurationError(f"--set {override}: write it as section.key=value")
        tree.put(_as_known(tree, key.strip().split(".")), _parsed(text, f"--set {key}"), "--set")


def _as_known(tree: Tree, words: Sequence[str]) -> KeyPath:
    """Spell a key as the tree does: environment variables are all upper case, `bitbank` and `JPY` differ."""
    path: list[str] = []
    node: Any = tree.values
    for word in words:
        known = list(node) if isinstance(node, dict) else []
        same = [key for key in known if key.lower() == word.lower()]
        if same:
            path.append(same[0])
        else:
            # below a currency table every key is upper case, elsewhere none is
            upper = bool(known) and all(key.isupper() for key in known)
            path.append(word.upper() if upper else word.lower())
        node = node.get(path[-1]) if isinstance(node, dict) else None
    return tuple(path)


def _parsed(text: str, place: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigurationError(f"{place}: the value is not valid YAML; put it in quotes") from error
