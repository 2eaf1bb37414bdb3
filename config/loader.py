"""Load the settings: ours <- files <- environment <- overrides; one clear line when it is wrong."""

import os
from collections.abc import Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from config.checks import check_possible
from config.errors import ConfigurationError
from config.reading import (
    DEFAULT_FILE,
    DEMO_FILE,
    LADDER_FILE,
    SIMULATED_ONLY,
    KeyPath,
    Tree,
    read_environment,
    read_file,
    read_overrides,
)
from config.settings import EXCHANGES, ExchangeName, Settings
from trading.money import plain

__all__ = ["DEMO_FILE", "ConfigurationError", "canonical_exchange", "load_settings", "show_settings"]

_ALIASES = {"okj": "okcoinjp"}
# pydantic's kinds of error in words for the person who edits a file
_PLAIN_WORDS = {
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "string_pattern_mismatch": "has not the right form",
    "model_type": "must be a section with keys below it",
    "dict_type": "must be a section with keys below it",
    "tuple_type": "must be a list such as [a, b]",
}
_SECRET_WORDS = ("secret", "api_key", "apikey", "passphrase", "password", "token")


def canonical_exchange(name: str) -> ExchangeName:
    """Our name of an exchange, however it was typed (`okj` is okcoinjp). Raises ConfigurationError."""
    typed = name.strip().lower()
    known = _ALIASES.get(typed, typed)
    for exchange in EXCHANGES:
        if exchange == known:
            return exchange
    near = get_close_matches(typed, (*EXCHANGES, *_ALIASES), 1, 0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigurationError(f"unknown exchange {name!r}: {hint}there are {', '.join(EXCHANGES)} (or okj)")


def load_settings(
    files: Sequence[Path] = (), overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> Settings:
    """Load and validate the settings.

    Later wins: default.yml and ladder.yml, the files named in CRYPTO_BOT_CONFIG, `files`, CRYPTO_BOT__SECTION__KEY,
    `overrides` ("section.key=value"). `environ` defaults to this process's. Raises ConfigurationError: one
    line with the place, the key, what is wrong and the remedy.
    """
    return _validated(_read(files, overrides, os.environ if environ is None else environ))


def show_settings(
    files: Sequence[Path] = (), overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> str:
    """The settings in force as YAML, each value with the place that set it; passwords in URLs are masked."""
    from config.showing import render

    tree = _read(files, overrides, os.environ if environ is None else environ)
    return render(_validated(tree), tree)


def _read(files: Sequence[Path], overrides: Sequence[str], environ: Mapping[str, str]) -> Tree:
    tree = Tree()
    read_file(tree, DEFAULT_FILE, "config/default.yml")
    read_file(tree, LADDER_FILE, "config/ladder.yml")
    named = [Path(name).expanduser() for name in environ.get("CRYPTO_BOT_CONFIG", "").split(os.pathsep) if name]
    for path in (*named, *files):
        before = _strategy(tree)
        read_file(tree, path, SIMULATED_ONLY.get(path.resolve()))
        _forget_parameters_of_another_strategy(tree, before)
    before = _strategy(tree)
    read_environment(tree, environ)
    _forget_parameters_of_another_strategy(tree, before)
    before = _strategy(tree)
    read_overrides(tree, overrides)
    _forget_parameters_of_another_strategy(tree, before)
    _name_exchanges(tree)
    return tree


def _strategy(tree: Tree) -> tuple[object, dict[KeyPath, str]]:
    strategy = tree.values.get("strategy")
    name = strategy.get("name") if isinstance(strategy, dict) else None
    return name, {path: place for path, place in tree.places.items() if path[:2] == ("strategy", "parameters")}


def _forget_parameters_of_another_strategy(tree: Tree, before: tuple[object, dict[KeyPath, str]]) -> None:
    """Whoever names another strategy starts with its own defaults, not with what the last one was given."""
    name, _ = _strategy(tree)
    old_name, old_places = before
    if name == old_name or not isinstance(tree.values["strategy"].get("parameters"), dict):
        return
    for path, place in old_places.items():
        if tree.places.get(path) == place:
            del tree.places[path]
            if len(path) == 3:
                tree.values["strategy"]["parameters"].pop(path[2], None)


def _name_exchanges(tree: Tree) -> None:
    """Accept `okj` wherever an exchange is named."""
    data, blocks = tree.values.get("data"), tree.values.get("exchanges")
    if isinstance(data, dict) and isinstance(data.get("exchange"), str):
        data["exchange"] = _canonical_at(tree, ("data", "exchange"), data["exchange"])
    if not isinstance(blocks, dict):
        return
    for typed in [name for name in blocks if name not in EXCHANGES]:
        path = ("exchanges", typed)
        name = _canonical_at(tree, path, typed)
        for below, place in [(each, where) for each, where in tree.places.items() if each[:2] == path]:
            value: Any = tree.values
            for key in below:
                value = value[key]
            tree.put(("exchanges", name, *below[2:]), value, place)
        del blocks[typed]


def _canonical_at(tree: Tree, path: KeyPath, typed: str) -> str:
    try:
        return canonical_exchange(typed)
    except ConfigurationError as error:
        raise ConfigurationError(f"{tree.place(path)}: {'.'.join(path)}: {error}") from None


def _validated(tree: Tree) -> Settings:
    try:
        settings = Settings.model_validate(tree.values)
    except ValidationError as error:
        details = error.errors(include_url=False)
        # an unknown key is often the cause of the others
        details.sort(key=lambda each: each["type"] != "extra_forbidden")
        more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
        raise ConfigurationError(_sentence(tree, details[0]) + more) from None
    check_possible(settings, tree)
    return settings


def _sentence(tree: Tree, error: ErrorDetails) -> str:
    path = tuple(str(key) for key in error["loc"] if key != "[key]")
    key, place = ".".join(path), tree.place(path)
    if error["type"] == "extra_forbidden":
        return f"{place}: {key}: there is no such key; {_remedy_for_unknown(path)}"
    described = _description(path)
    wanted = f"; write {described}" if described else ""
    if error["type"] == "missing":
        return f"{place}: {key} is missing{wanted}"
    is_symbol = error["type"] == "string_pattern_mismatch" and path[-1] == "symbol"
    plain_words = "must be a symbol such as BTC/JPY" if is_symbol else _PLAIN_WORDS.get(error["type"])
    said = plain_words or error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    was = "" if isinstance(error["input"], dict) or ", was" in said else f", was {_as_written(error['input'])}"
    return f"{place}: {key}: {said}{was}{wanted}".replace("\n", " ")


def _as_written(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "empty", True: "yes", False: "no"}[value]
    return plain(value) if isinstance(value, Decimal) else repr(value)


def _remedy_for_unknown(path: KeyPath) -> str:
    if any(word in path[-1].lower() for word in _SECRET_WORDS):
        return "secrets never stand here: remove it and set them in the environment, e.g. BITBANK_API_SECRET"
    model = _model_at(path[:-1])
    siblings = list(model.model_fields) if model is not None else []
    longer = [each for each in siblings if each.startswith(f"{path[-1]}_")]  # `url` for `url_secret`
    near = longer or get_close_matches(path[-1], siblings, 1, 0.6)
    if near:
        return f"did you mean {'.'.join((*path[:-1], near[0]))}?"
    elsewhere = [each for each in _every_key(Settings) if each[-1] == path[-1]]
    if elsewhere:
        return f"did you mean {'.'.join(elsewhere[0])}?"
    near_anywhere = get_close_matches(path[-1], [each[-1] for each in _every_key(Settings)], 1, 0.75)
    found = [each for each in _every_key(Settings) if near_anywhere and each[-1] == near_anywhere[0]]
    if found:
        return f"did you mean {'.'.join(found[0])}?"
    return f"there are {', '.join(siblings)}" if siblings else "remove it"


def _model_at(path: KeyPath) -> type[BaseModel] | None:
    """The settings class whose fields stand below `path`, or None."""
    model: type[BaseModel] = Settings
    for key in path:
        below = _section(model, key)
        if below is None:
            # `exchanges.bitbank`, `alerts.channels.0`: the name of an exchange, or a place in a list, stands between
            if key in EXCHANGES or key.isdigit():
                continue
            return None
        model = below
    return model


def _section(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    found = model.model_fields.get(key)
    if found is None:
        return None
    for candidate in (found.annotation, *getattr(found.annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _every_key(model: type[BaseModel], above: KeyPath = ()) -> list[KeyPath]:
    keys: list[KeyPath] = []
    for name in model.model_fields:
        below = _section(model, name)
        path = (*above, name)
        keys.append(path)
        if below is not None:
            keys.extend(_every_key(below, (*path, "NAME") if name == "exchanges" else path))
    return keys


def _description(path: KeyPath) -> str | None:
    """What a person must write there, from the settings class."""
    for end in range(len(path), 0, -1):
        model = _model_at(path[: end - 1])
        found = model.model_fields.get(path[end - 1]) if model is not None else None
        if found is not None:
            return found.description
    return None
