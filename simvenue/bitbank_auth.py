"""bitbank's request signatures, judged over the raw bytes and the wall clock (docs/venues.md#bitbank)."""

import hashlib
import hmac
from collections.abc import Mapping

from simvenue.amounts import is_whole
from simvenue.keys import Keys
from simvenue.values import Secrets

DEFAULT_WINDOW_MS = 5_000
WIDEST_WINDOW_MS = 60_000
LEAD_MS = 1_000  # a request may come from a clock that runs this much ahead

AUTHENTICATION_FAILED = 20001
UNKNOWN_KEY = 20002
NO_KEY = 20003
NO_NONCE = 20004
NO_SIGNATURE = 20005
NO_REQUEST_TIME = 20033
BAD_REQUEST_TIME = 20034
OUTSIDE_WINDOW = 20035
BAD_WINDOW = 20036


class BitbankGate:
    """Judge one account's signed requests; remembers the highest nonce of each key."""

    def __init__(self, keys: Keys) -> None:
        """Take the keys that are let in."""
        self._keys = keys
        self._last_nonces: dict[str, int] = {}

    def refusal(self, method: str, target: str, body: bytes, headers: Mapping[str, str], wall_ms: int) -> int | None:
        """Return the venue's error code for a request that is not let in, else None.

        `target` is the raw path with its query as received, `body` the raw bytes.
        """
        key = headers.get("ACCESS-KEY", "")
        if not key:
            return NO_KEY
        secrets = self._keys.find(key)
        if secrets is None:
            return UNKNOWN_KEY
        signature = headers.get("ACCESS-SIGNATURE", "")
        if not signature:
            return NO_SIGNATURE
        signed = body if method == "POST" else target.encode()
        # with both kinds of header the time window wins
        if "ACCESS-REQUEST-TIME" in headers:
            return self._judge_window(secrets, signed, signature, headers, wall_ms)
        if "ACCESS-NONCE" in headers:
            return self._judge_nonce(secrets, signed, signature, headers["ACCESS-NONCE"])
        return NO_REQUEST_TIME if "ACCESS-TIME-WINDOW" in headers else NO_NONCE

    def _judge_window(
        self, secrets: Secrets, signed: bytes, signature: str, headers: Mapping[str, str], wall_ms: int
    ) -> int | None:
        stamp = headers["ACCESS-REQUEST-TIME"]
        # a client that leaves the window header out signs an empty text in its place
        window = headers.get("ACCESS-TIME-WINDOW", "")
        if not is_whole(stamp):
            return BAD_REQUEST_TIME
        if window and not (is_whole(window) and int(window) <= WIDEST_WINDOW_MS):
            return BAD_WINDOW
        width_ms = int(window) if window else DEFAULT_WINDOW_MS
        if int(stamp) >= wall_ms + LEAD_MS or wall_ms - int(stamp) > width_ms:
            return OUTSIDE_WINDOW
        return _judge_signature(secrets, (stamp + window).encode() + signed, signature)

    def _judge_nonce(self, secrets: Secrets, signed: bytes, signature: str, nonce: str) -> int | None:
        if not is_whole(nonce):
            return NO_NONCE
        refusal = _judge_signature(secrets, nonce.encode() + signed, signature)
        if refusal is not None:
            return refusal
        if int(nonce) <= self._last_nonces.get(secrets.api_key, -1):
            return AUTHENTICATION_FAILED
        self._last_nonces[secrets.api_key] = int(nonce)
        return None


def _judge_signature(secrets: Secrets, message: bytes, signature: str) -> int | None:
    expected = hmac.new(secrets.api_secret.encode(), message, hashlib.sha256).hexdigest()
    same = hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogateescape"))
    return None if same else AUTHENTICATION_FAILED
