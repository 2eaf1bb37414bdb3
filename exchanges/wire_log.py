"""What ccxt says about its requests, made safe before any log sees it.

ccxt tells every request and answer at DEBUG, and prints them to stdout where `verbose` is set, with keys and signatures
in the headers. Here the values of headers that may open something are left out, and those of such parameters in a URL;
the log mask (services/masking.py) is the second lock. Nothing of ccxt's is printed to stdout.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any

_log = logging.getLogger(__name__)

# Headers that say what a message is, not who sends it. Everything else is left out.
_HARMLESS = re.compile(
    r"content-|date$|accept|user-agent|server$|retry-after|connection|transfer-|vary|cache-|age$|etag"
)
_IN_QUERY = re.compile(
    r"(?P<name>[?&](?:sign(?:ature)?|api_?key|access_?key|token|secret|passphrase|password)=)[^&\s\"']*", re.IGNORECASE
)


class WireLog(logging.LoggerAdapter[logging.Logger]):
    """Stands where ccxt expects its logger; header values and signed parameters do not pass."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if self.isEnabledFor(level):
            super().log(level, msg, *(harmless(each) for each in args), **kwargs)


wire_log = WireLog(_log, {})


def tell_verbose(*args: object) -> None:
    """ccxt's `log`, which prints: the same words at DEBUG."""
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug("%s", " ".join(str(harmless(each)) for each in args).strip())


def harmless(value: object) -> object:
    """The value without what may open an account: of headers (any mapping) the values of well-known ones stay."""
    if isinstance(value, Mapping):
        return {name: each if _HARMLESS.match(str(name).lower()) else "••••" for name, each in value.items()}
    return _IN_QUERY.sub(r"\g<name>••••", value) if isinstance(value, str) else value
