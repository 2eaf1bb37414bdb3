"""One channel: a message goes to one Apprise URL, in a time that is bounded whatever the other side does.

Apprise is imported by the first message, in the thread that delivers it. The URL is a secret, and so is each part of it
that opens something: Apprise builds other addresses from them, and libraries log those.
"""

import logging
import queue
import re
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from config.errors import ConfigurationError
from config.secret import Secret
from config.settings import Settings
from config.settings_alerts import ChannelSettings
from services.secrets import named

if TYPE_CHECKING:
    from apprise import NotifyBase

log = logging.getLogger(__name__)

_WAITING = 100  # messages that a channel may be behind
_WAITS = (0.0, 2.0, 8.0)  # seconds before each try
_LONGEST = 8000  # characters of a message; what a service takes at most in one is sent in several
# Words of a URL that are no secret however long: `markdown`, `crypto-bot`, a host's name. A random text has digits, or
# letters of both sizes.
_PLAIN_WORD = re.compile(r"[a-z]+([_-][a-z]+)*|[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}|\d+(\.\d+){3}|localhost")
_LEAST_PART = 8  # characters


class Channel:
    """Delivers to one channel, one message after the other, in a thread of its own that begins with the first."""

    def __init__(self, settings: ChannelSettings, whole: Settings) -> None:
        """`whole`: the settings that say where secrets come from."""
        self.settings = settings
        self._whole = whole
        self._timeout = whole.alerts.timeout_seconds
        self._queue: queue.Queue[tuple[str, str, str, Callable[[str], None]]] = queue.Queue(_WAITING)
        self._worker: threading.Thread | None = None
        self._left_behind: tuple[threading.Thread, list[str], tuple[str, str, str]] | None = None
        self._plugin: tuple[Secret, NotifyBase] | None = None

    def offer(self, level: str, title: str, text: str, done: Callable[[str], None]) -> None:
        """Deliver in the background and call `done` with "" or with why not; never waits."""
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, name=f"alerts {self.settings.name}", daemon=True)
            self._worker.start()
        try:
            self._queue.put_nowait((level, title, text, done))
        except queue.Full:
            done(f"{_WAITING} messages wait already")

    def _work(self) -> None:
        while True:
            level, title, text, done = self._queue.get()
            problem = ""
            for wait in _WAITS:
                time.sleep(wait)
                problem = self.deliver(level, title, text)
                if not problem:
                    break
            done(problem)

    def deliver(self, level: str, title: str, text: str) -> str:
        """Try once, within the channel's time; "" or why the message was not taken (masked by whoever prints it)."""
        message = (level, title, text)
        if self._left_behind is not None:
            thread, said, theirs = self._left_behind
            if thread.is_alive():
                return "it still hangs on the message before"
            self._left_behind = None
            if theirs == message and said == [""]:
                return ""  # taken after its time: not sent twice
        said = []
        sending = threading.Thread(
            target=lambda: said.append(self._send(*message)), name=f"alert to {self.settings.name}", daemon=True
        )
        sending.start()
        sending.join(self._timeout)
        if sending.is_alive():
            # A server that drips one byte at a time outlasts every socket's time limit.
            self._left_behind = (sending, said, message)
            return f"no answer within {self._timeout:g} s"
        return said[0] if said else "it failed"

    def _send(self, level: str, title: str, text: str) -> str:
        try:
            plugin = self._ready_plugin()
            with _WordsOfThisThread() as words:
                taken = plugin.notify(body=text[:_LONGEST], title=title, notify_type=_kind(level))
            return "" if taken else "; ".join(words.heard) or "it was not accepted"
        except ConfigurationError as error:
            return str(error)
        except Exception as error:  # whatever a plugin raises, the trader goes on and the next channel is tried
            return f"{type(error).__name__}: {error}"

    def _ready_plugin(self) -> "NotifyBase":
        url = channel_url(self.settings, self._whole)
        if self._plugin is None or self._plugin[0] != url:
            self._plugin = (url, _plugin_of(url, self._timeout))
        return self._plugin[1]


def channel_url(channel: ChannelSettings, settings: Settings) -> Secret:
    """The channel's URL; every part of it that may open something is known to the log mask then.

    Raises ConfigurationError naming the secret.
    """
    url = named(settings, channel.url_secret)
    for part in secret_parts(url.reveal()):
        Secret(part)
    return url


def secret_parts(url: str) -> set[str]:
    """Password, path and parameters of a URL, as written and decoded, without hosts and plain words."""
    try:
        split = urlsplit(url)
        password = split.password or ""
    except ValueError:
        return set()
    pieces = re.split(r"[/:@?&=#,]", url.partition("://")[2])
    found = {
        each
        for piece in pieces
        if len(piece) >= _LEAST_PART and not _PLAIN_WORD.fullmatch(unquote(piece))
        for each in (piece, unquote(piece))
    }
    # A token with characters of its own (`a/b=`) is cut by the split above; the decoded whole is one too.
    return found | {each for each in (password, unquote(password)) if each}


def _plugin_of(url: Secret, timeout: float) -> "NotifyBase":
    import apprise

    asset = apprise.AppriseAsset(app_id="crypto-bot", app_desc="crypto-bot", app_url="", async_mode=False)
    asset.image_url_mask = asset.image_url_logo = ""
    with _WordsOfThisThread() as words:
        plugin = apprise.Apprise.instantiate(url.reveal(), asset=asset, suppress_exceptions=True)
    if plugin is None:
        why = f" ({'; '.join(words.heard)})" if words.heard else ""
        raise ConfigurationError(f"Apprise does not understand the URL{why}")
    plugin.socket_connect_timeout = plugin.socket_read_timeout = timeout
    plugin.overflow_mode = apprise.OverflowMode.SPLIT
    plugin.request_rate_per_sec = 0  # it would sleep for seconds, within our time; what comes too fast is tried again
    return plugin


def _kind(level: str) -> Any:
    from apprise import NotifyType

    return {"info": NotifyType.INFO, "warning": NotifyType.WARNING, "critical": NotifyType.FAILURE}[level]


class _WordsOfThisThread(logging.Handler):
    """What Apprise logs while this thread uses it: it returns no more than yes or no."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.heard.append(record.getMessage().strip().rstrip("."))

    def __enter__(self) -> "_WordsOfThisThread":
        logging.getLogger("apprise").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("apprise").removeHandler(self)
