"""Hide secrets in text: known ones in every form in which they turn up, unknown ones by the place where they stand."""

import base64
import html
import json
import logging
import re
import threading
import traceback
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus

DOTS = "••••"
# Of a shorter secret so little is left in base64 or hex that the fragment turns up in text that hides nothing.
_LEAST_ENCODED = 8
_LEAST_HIDDEN = 4  # characters; no venue gives or takes so short a key, secret or passphrase

# What a header, a field or a parameter of such a name holds is a secret, whoever made it. A bare word before a colon
# may be part of a sentence ("the token: ..."): there the name must be one that only a machine writes, or be quoted.
_HEADERS = (
    r"(?:ok-)?access-(?:sign(?:ature)?|key|passphrase)|x-bapi-(?:sign|api-key)|(?:proxy-)?authorization|(?:set-)?cookie"
    r"|x-api-key|x-auth-token|x-csrf-token"
)
_FIELDS = (
    r"sign(?:ature)?|api_?-?key|api_?-?secret|access_?key|secret(?:_?key)?|pass(?:word|phrase|wd)|"
    r"(?:access_?|refresh_?|auth_?|webhook_?|bot_?)?token|client_?secret"
)
_VALUE = r"""(?:b?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\]|\\.)*'|(?:(?:basic|bearer)\s+)?[^\s"'`,;&<>)}\]]+)"""
_BY_NAME = re.compile(
    rf"""(?P<name>(?:\b(?:{_HEADERS})["']?\s*[:=]|["'](?:{_FIELDS})["']\s*:|(?<![\w-])(?:{_FIELDS})=)\s*){_VALUE}""",
    re.IGNORECASE,
)
# Webhooks and bots whose address is the key, and passwords in URLs.
_BY_ADDRESS = re.compile(
    r"(?P<name>hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/"
    r"|discord(?:app)?\.com/api/(?:v\d+/)?webhooks/|api\.telegram\.org/bot"
    r"|\b(?:slack|discord|line|tgram)://)[^\s\"'<>]+",
    re.IGNORECASE,
)
_BY_LOGIN = re.compile(r"(?P<name>://[^\s/:@\"']*:)[^\s/@\"']+(?=@)")
# A pattern is tried where the text has one of its words: looking for those is many times cheaper.
_BY_PLACE = (
    (_BY_ADDRESS, ("slack", "discord", "telegram", "tgram", "line://")),
    (_BY_LOGIN, ("://",)),
    (_BY_NAME, ("sign", "key", "secret", "pass", "token", "authorization", "cookie")),
)

_NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?"
_AMOUNTS = re.compile(
    r"(?P<name>\b(?:\w*balances?|\w*equity|free|locked|total|available|\w+_amount|avail\w*|frozen\w*|cashbal|eq|collateral"
    r"|profit|pnl|fees?|held|position|worth|expected|found)[\"']?\s*[:=]?\s*(?:Decimal\()?[\"']?)" + _NUMBER + r"\b"
    r"|" + _NUMBER + r"(?=\s(?!UTC|JST|HTTP|GET|POST)(?-i:[A-Z][A-Z0-9]{2,4})\b)",
    re.IGNORECASE,
)
_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({})))


class Mask:
    """Replaces known secrets in their raw, escaped, URL-encoded, base64 and hex forms, and what stands where only a
    secret stands.
    """

    def __init__(self) -> None:
        self._learning = threading.Lock()
        self._forms: tuple[str, ...] = ()
        # The forms that the pattern was made of stand beside it: any thread may learn while another one hides.
        self._compiled: tuple[tuple[str, ...], re.Pattern[str]] = ((), re.compile(r"(?!)"))
        self.hides_amounts = False
        self.version = 0  # changes with everything that is learned

    def learn(self, secret: str) -> None:
        """Hide this text from now on. One of fewer than four characters is in too many words to be hidden."""
        if len(secret) < _LEAST_HIDDEN:
            return
        forms = forms_of(secret)
        # What grows when it is folded (`ß` is `ss` then) stands in the pattern as it is too: that folds one by one.
        found = {form.casefold() for form in forms} | {form for form in forms if len(form) != len(form.casefold())}
        with self._learning:
            self._forms = tuple(sorted({*self._forms, *found}, key=len, reverse=True))
            self.version += 1

    def hide_known(self, text: str) -> str:
        """The text with dots in place of every secret that was learned; nothing else of it changes."""
        folded = text.casefold()
        # Looking for each form first is many times faster than the pattern, and nearly every text holds none.
        forms = self._forms
        if not any(form in folded for form in forms):
            return text
        made_of, pattern = self._compiled
        if made_of is not forms:
            pattern = re.compile("|".join(map(re.escape, forms)), re.IGNORECASE)
            self._compiled = (forms, pattern)
        return pattern.sub(DOTS, text)

    def hide(self, text: str) -> str:
        """The text with dots in place of every secret, learned or told by its place."""
        text = self.hide_known(text)
        folded = text.casefold()
        for pattern, words in _BY_PLACE:
            if any(word in folded for word in words):
                text = pattern.sub(_keep_name, text)
        return _AMOUNTS.sub(_keep_name, text) if self.hides_amounts else text

    def hide_in_record(self, record: logging.LogRecord) -> None:
        """Mask message, arguments, traceback, stack and extra values of a record; once for all its handlers."""
        if getattr(record, "_masked", None) == (self.version, self.hides_amounts):
            return
        try:
            said = record.getMessage()
        except Exception as error:  # an argument's own code is run; whoever logs must not fail of that
            # Format and arguments do not fit. Logging would print both as they are: say them here, masked.
            said = _as_far_as_it_goes(record, error)
            record.msg, record.args = said, ()
        hidden = self.hide(said)
        if hidden != said:
            record.msg, record.args = hidden, ()
        if isinstance(record.exc_info, tuple) and record.exc_info[0] is not None:
            trace = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            hidden = self.hide(trace)
            if hidden != trace:
                # without exc_info no formatter can render the exception anew
                record.exc_text, record.exc_info = hidden, None
        for name, value in list(vars(record).items()):
            if name not in _OF_EVERY_RECORD or name in ("exc_text", "stack_info", "message"):
                vars(record)[name] = self._hide_within(value)
        vars(record)["_masked"] = (self.version, self.hides_amounts)

    def _hide_within(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping):
            return {key: self._hide_within(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
            return type(value)(self._hide_within(each) for each in value)
        return value


def _as_far_as_it_goes(record: logging.LogRecord, error: Exception) -> str:
    try:
        return f"{record.msg} {record.args!r}"
    except Exception:  # what cannot be shown at all; the format is text nearly always
        form = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        return f"{form} ({type(error).__name__})"


def _keep_name(found: re.Match[str]) -> str:
    return (found.groupdict().get("name") or "") + DOTS


def forms_of(secret: str) -> set[str]:
    """The texts under which a secret may turn up: as it is, escaped, URL-encoded, in base64 (at each of the three
    offsets, both alphabets) and in hex.
    """
    raw = secret.encode()
    forms = {
        secret,
        repr(secret)[1:-1],
        repr(raw)[2:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        html.escape(secret),
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
    }
    if len(raw) >= _LEAST_ENCODED:
        forms.add(raw.hex())
        for offset in range(3):
            for encoded in _base64(raw, offset):
                forms |= {encoded, quote(encoded, safe="")}
    return forms


def _base64(raw: bytes, offset: int) -> tuple[str, str]:
    """What every base64 text shows that holds `raw` after `offset` (modulo 3) other bytes; in both alphabets."""
    padded = b"\0" * offset + raw
    first = (offset * 8 + 5) // 6  # characters that depend on what stands before
    last = len(padded) * 8 // 6  # the rest depends on what follows
    return base64.b64encode(padded).decode()[first:last], base64.urlsafe_b64encode(padded).decode()[first:last]
