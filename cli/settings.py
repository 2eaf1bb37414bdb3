"""The common options of every command, and the settings they lead to.

They travel in the environment, so that a flow run in another process (a worker's child) sees the same configuration.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from config.errors import ConfigurationError
from config.settings import Settings
from services.logs import configure_logging

_TAKES_VALUE = ("--home", "--config", "--set")


def take_common_options(words: list[str], environ: MutableMapping[str, str]) -> list[str]:
    """Move --home, --config and --set from anywhere in the command line into `environ`; return the other words.

    Raises ConfigurationError for an option without its value.
    """
    rest: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        name, equals, value = word.partition("=")
        if name not in _TAKES_VALUE:
            rest.append(word)
            continue
        if not equals:
            if not queue:
                raise ConfigurationError(f"{name} needs a value")
            value = queue.pop(0)
        _into_environment(name, value, environ)
    return rest


def _into_environment(name: str, value: str, environ: MutableMapping[str, str]) -> None:
    if name == "--home":
        environ["CRYPTO_BOT_HOME"] = value
    elif name == "--config":
        files = environ.get("CRYPTO_BOT_CONFIG")
        environ["CRYPTO_BOT_CONFIG"] = f"{files}{os.pathsep}{value}" if files else value
    else:
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise ConfigurationError(f"--set {value}: write it as section.key=value")
        environ["CRYPTO_BOT__" + key.replace(".", "__").upper()] = text


def logged(settings: Settings) -> Settings:
    """Point logging at the settings and return them. Raises ConfigurationError for a place that cannot be written."""
    configure_logging(settings)
    return settings


@contextlib.contextmanager
def no_trace_of_refusal(home: Path) -> Iterator[None]:
    """Take away what the block has left under a home that was not there before, when it refuses to begin.

    For the time before a ledger exists: only logs and notes are taken away, and folders that are empty then.
    """
    made = [each for each in (home, *home.parents) if not each.exists()]
    try:
        yield
    except ConfigurationError:
        if made:
            for name in ("logs", "venues", "budget", "demo.lock"):
                path = home / name
                path.unlink(missing_ok=True) if path.is_file() else shutil.rmtree(path, ignore_errors=True)
            with contextlib.suppress(OSError):
                for folder in made:
                    folder.rmdir()
        raise


@contextlib.contextmanager
def fresh_folder(folder: Path, what: str) -> Iterator[None]:
    """A command's own folder, emptied; one such command (`what`) at a time. Raises ConfigurationError."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = (folder.parent / f"{what}.lock").open("w")
    except OSError as error:
        raise _unwritable(error) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(f"another {what} runs under {folder}: wait, or give --home") from None
        try:
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir()
        except OSError as error:
            raise _unwritable(error) from None
        yield


def _unwritable(error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{error.filename} cannot be written ({error.strerror}): set --home or CRYPTO_BOT_HOME")
