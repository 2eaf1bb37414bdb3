"""A secret has its own type: whatever prints it prints dots."""

from collections.abc import Callable
from urllib.parse import parse_qsl, unquote, urlsplit

_listeners: list[Callable[[str], None]] = []
_known: set[str] = set()


class Secret:
    """Holds one secret text. `reveal()` is called only where a request is signed.

    Creating one tells the log mask about the text first (`watch_secrets`).
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text
        if text and text not in _known:
            _known.add(text)
            for listener in _listeners:
                listener(text)

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "••••"

    __str__ = __repr__

    def __format__(self, _: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> tuple[object, ...]:
        # A pickled secret would land in results, queues and databases.
        raise TypeError("a secret is never pickled")


def know_passwords(url: str) -> None:
    """Tell the log mask each password in a URL: before its host, and among its parameters."""
    try:
        split = urlsplit(url)
    except ValueError:
        return  # no URL; whoever opens it says so
    found = [value for name, value in parse_qsl(split.query) if "password" in name.lower()]
    for each in (split.password or "", *found):
        Secret(each)
        Secret(unquote(each))


def watch_secrets(listener: Callable[[str], None]) -> None:
    """Call `listener` with every secret text known now or created later; the log mask does."""
    _listeners.append(listener)
    for text in list(_known):
        listener(text)
