"""bitFlyer's request signatures, judged over the raw bytes and the wall clock (docs/venues.md#bitflyer)."""

import hashlib
import hmac
import re
from collections.abc import Mapping

from simvenue.keys import Keys

# The venue documents no validity window. A request this far off is refused, so that a client whose clock
# is wrong learns it here.
WIDEST_SKEW_MS = 30_000
# clients in the field send whole seconds, seconds with a fraction, or milliseconds
_STAMP = re.compile(r"\d{1,16}(\.\d+)?", re.ASCII)
_MILLISECONDS_FROM = 10**11


class BitflyerGate:
    """Judge one account's signed requests."""

    def __init__(self, keys: Keys) -> None:
        """Take the keys that are let in."""
        self._keys = keys

    def refusal(self, method: str, target: str, body: bytes, headers: Mapping[str, str], wall_ms: int) -> str | None:
        """Return the venue's message (its status is -500) for a request that is not let in, else None.

        `target` is the raw path with its query as received, `body` the raw bytes.
        """
        for name in ("ACCESS-KEY", "ACCESS-TIMESTAMP", "ACCESS-SIGN"):
            if not headers.get(name):
                return f"{name} header is required"
        secrets = self._keys.find(headers["ACCESS-KEY"])
        if secrets is None:
            return "Key not found"
        stamp = headers["ACCESS-TIMESTAMP"]
        stamp_ms = _milliseconds(stamp)
        if stamp_ms is None or abs(wall_ms - stamp_ms) > WIDEST_SKEW_MS:
            return "Invalid timestamp"
        message = f"{stamp}{method}{target}".encode() + body
        expected = hmac.new(secrets.api_secret.encode(), message, hashlib.sha256).hexdigest()
        same = hmac.compare_digest(expected.encode(), headers["ACCESS-SIGN"].encode("utf-8", "surrogateescape"))
        return None if same else "Invalid signature"


def _milliseconds(stamp: str) -> int | None:
    if not _STAMP.fullmatch(stamp):
        return None
    whole, _, fraction = stamp.partition(".")
    if int(whole) >= _MILLISECONDS_FROM:
        return int(whole)
    return int(whole) * 1000 + int((fraction + "000")[:3])
