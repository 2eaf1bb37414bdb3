"""The password of the Prefect API that `crypto-bot up` starts: made once, kept under home, never printed.

Whoever reaches the API can run every deployment, so loopback alone is not enough where other people have accounts on
the machine (docs/prefect-ui.md).
"""

import base64
import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from config.errors import ConfigurationError

_USER = "crypto-bot"
# What Prefect's server asks for, and what its clients send.
_SERVER, _CLIENT = "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"


def password_file(home: Path) -> Path:
    """Where the text for the UI's login stands; `home` is the bot's home."""
    return home / "prefect" / "api-password"


def api_password(home: Path) -> str:
    """The text `user:password` that the API asks for; made at the first call, in a file that only its owner reads.

    Raises ConfigurationError where that file is empty, OSError where it cannot be made.
    """
    path = password_file(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # Never there without its text: a server with an empty one asks for none.
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as draft:  # its owner alone reads it
            draft.write(f"{_USER}:{secrets.token_urlsafe(24)}")
            draft.flush()
            with contextlib.suppress(FileExistsError):  # another command has made one meanwhile
                os.link(draft.name, path)
    path.chmod(0o600)
    told = path.read_text().strip()
    if not told:
        raise ConfigurationError(
            f"{path} is empty, and the API would be open to everybody here: remove it and try again"
        )
    return told


def password_environment(password: str) -> dict[str, str]:
    """What server and clients need in their environment."""
    return {_SERVER: password, _CLIENT: password}


def known_password(home: Path) -> dict[str, str]:
    """What a client of a server under `home` needs in its environment; empty where no password was made."""
    path = password_file(home)
    return {_CLIENT: path.read_text().strip()} if path.exists() else {}


def authorization() -> dict[str, str]:
    """The header for a request of our own to the API that this process's environment names."""
    told = os.environ.get(_CLIENT)
    return {"Authorization": f"Basic {base64.b64encode(told.encode()).decode()}"} if told else {}
