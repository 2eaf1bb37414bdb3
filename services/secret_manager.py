"""Google Secret Manager, as far as we read it: bounded, checked, kept in memory. Imports Google's client when asked.

Its own retry is not used: there `timeout` bounds one attempt, and a server that is down costs forty-nine seconds. Here
one reading, the making of the client and every repetition included, ends within `total_seconds`.

No response and no payload leaves this file otherwise than inside a `Secret`. What is raised is raised where neither
stands in a frame, and without the client's own exception behind it: an answer of Secret Manager prints its payload.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from config.errors import ConfigurationError
from config.secret import Secret

if TYPE_CHECKING:
    from google.cloud import secretmanager_v1

log = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 1.0
# Whoever asks next for another secret of a service that was away just now is not kept waiting again.
_AWAY_SECONDS = 10.0
_ASK_AGAIN_SECONDS = 30.0  # while a last good value is used
_PASSING = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL", "ABORTED", "UNKNOWN", "CANCELLED")
_REMEDIES = {
    "PERMISSION_DENIED": "the identity that this process runs as needs roles/secretmanager.secretAccessor on it",
    "UNAUTHENTICATED": "Google does not know this process: workload identity, or gcloud auth application-default login",
    "NOT_FOUND": "there is no such secret, or no such version of it",
    "FAILED_PRECONDITION": "the version is disabled or destroyed",
}


class SecretUnavailable(ConfigurationError):
    """The service does not answer, or what came was damaged: asked again later, it may."""

    usual_section = "secret"


class SecretRefused(ConfigurationError):
    """The secret may not be read, is not there, is disabled or destroyed, or is not what it should be."""

    usual_section = "secret"


class SecretMissing(SecretRefused):
    """There is no such secret."""


@dataclass(frozen=True)
class SecretVersion:
    """One version as it was read; `number` is told also where `latest` was asked for."""

    text: Secret
    number: int


@dataclass(frozen=True)
class VersionFacts:
    """What Secret Manager tells of a version without its payload. `created_at` aware UTC; `state` enabled, disabled or
    destroyed.
    """

    number: int
    state: str
    created_at: datetime | None


@dataclass
class _Kept:
    version: SecretVersion
    read_at: float  # seconds of the steady clock
    ask_again_at: float


@dataclass(frozen=True)
class _Failed:
    code: str
    said: str = ""

    @property
    def may_pass(self) -> bool:
        return self.code in _PASSING or self.code == "DATA_LOSS"


class SecretManager:
    """Reads secrets of one project. Safe to use from several threads."""

    def __init__(
        self,
        project: str,
        location: str | None = None,
        target: str | None = None,
        *,
        attempt_seconds: float = 2.0,
        total_seconds: float = 5.0,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """`target`: host and port on loopback of a server in Google's place, spoken to in the clear (development)."""
        self._parent = f"projects/{project}" + (f"/locations/{location}" if location else "")
        self._location = location
        self._target = target
        self._attempt = attempt_seconds
        self._total = total_seconds
        self._steady = steady
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._away_until = float("-inf")
        self._made: secretmanager_v1.SecretManagerServiceClient | None = None
        self._making = threading.Lock()

    def read(self, secret_id: str, version: int | str, *, ttl: float, fresh: bool = False) -> SecretVersion:
        """The payload of a version, at most `ttl` seconds old; `fresh` asks whatever is kept.

        While the service does not answer, the last good value is given. Raises SecretRefused (what was kept is then
        forgotten), SecretUnavailable where nothing is kept; within `total_seconds`.
        """
        key = (secret_id, str(version))
        kept, now = self._kept.get(key), self._steady()
        if kept is not None and not fresh and now < kept.ask_again_at:
            return kept.version
        name = self._name(secret_id, version)
        read = self._asked(name, lambda client, seconds: _payload(client, name, seconds), fresh=fresh)
        now = self._steady()
        if isinstance(read, SecretVersion):
            self._kept[key] = _Kept(read, now, now + ttl)
            return read
        if read.may_pass and kept is not None:
            kept.ask_again_at = now + min(ttl, _ASK_AGAIN_SECONDS)
            log.warning(
                "%s cannot be read again (%s): what was read %.0f s ago is used", name, read.code, now - kept.read_at
            )
            return kept.version
        self._kept.pop(key, None)
        raise _error(name, read)

    def facts(self, secret_id: str, version: int | str) -> VersionFacts:
        """State and age of a version. Needs secretmanager.versions.get (roles/secretmanager.viewer), which reading does
        not. Raises as `read`.
        """
        name = self._name(secret_id, version)
        told = self._asked(name, lambda client, seconds: _facts(client, name, seconds))
        if isinstance(told, _Failed):
            raise _error(name, told)
        return told

    def _name(self, secret_id: str, version: int | str) -> str:
        return f"{self._parent}/secrets/{secret_id}/versions/{version}"

    def _asked(self, name: str, ask: Callable[[Any, float], T | _Failed], *, fresh: bool = False) -> T | _Failed:
        """Ask until there is an answer that repeating would not change, or the time is up."""
        if not fresh and self._steady() < self._away_until:
            return _Failed("UNAVAILABLE", "it was away a moment ago")
        deadline = self._steady() + self._total

        def repeat() -> T | _Failed:
            pause = _FIRST_PAUSE_SECONDS
            while True:
                client = self._client()
                told = client if isinstance(client, _Failed) else ask(client, min(self._attempt, self._left(deadline)))
                if not isinstance(told, _Failed) or not told.may_pass or self._left(deadline) <= pause:
                    return told
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

        told = _within(self._total, repeat)
        if isinstance(told, _Failed) and told.may_pass:
            self._away_until = self._steady() + _AWAY_SECONDS
            log.warning("%s: Secret Manager: %s", name, told.code)
        return told

    def _left(self, deadline: float) -> float:
        return max(0.05, deadline - self._steady())

    def _client(self) -> "secretmanager_v1.SecretManagerServiceClient | _Failed":
        with self._making:
            if self._made is None:
                made = _connected(self._target, self._location)
                if isinstance(made, _Failed):
                    return made
                self._made = made
            return self._made


def _connected(target: str | None, location: str | None) -> "secretmanager_v1.SecretManagerServiceClient | _Failed":
    """Google's client, with the credentials that Google finds for this process (ADC)."""
    from google.auth import exceptions as auth
    from google.cloud import secretmanager_v1

    if target is not None:
        import grpc
        from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
            SecretManagerServiceGrpcTransport,
        )

        channel = grpc.insecure_channel(target)
        return secretmanager_v1.SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))
    # A regional secret is kept, and served, in its region alone.
    options = {"api_endpoint": f"secretmanager.{location}.rep.googleapis.com"} if location else None
    try:
        return secretmanager_v1.SecretManagerServiceClient(client_options=options)
    except auth.TransportError:
        return _Failed("UNAVAILABLE", "its metadata server does not answer")
    except Exception as error:  # what GOOGLE_APPLICATION_CREDENTIALS leads to may be anything, also a folder
        return _Failed("UNAUTHENTICATED", type(error).__name__)


def _payload(client: Any, name: str, seconds: float) -> SecretVersion | _Failed:
    """Read a version once. Nothing is raised from here: the answer stands in this frame."""
    answer = _call(lambda: client.access_secret_version(request={"name": name}, retry=None, timeout=seconds))
    if isinstance(answer, _Failed):
        return answer
    if not _is_whole(answer.payload):
        return _Failed("DATA_LOSS", "its checksum does not fit")
    try:
        text = answer.payload.data.decode("utf-8-sig").strip()  # Windows puts a mark before what it saves as UTF-8
    except UnicodeDecodeError:
        return _Failed("NOT_TEXT", "it is not UTF-8 text")
    if not text:
        return _Failed("NOT_TEXT", "it is empty")
    return SecretVersion(Secret(text), int(answer.name.rpartition("/")[2]))


def _facts(client: Any, name: str, seconds: float) -> VersionFacts | _Failed:
    answer = _call(lambda: client.get_secret_version(request={"name": name}, retry=None, timeout=seconds))
    if isinstance(answer, _Failed):
        return answer
    created = answer.create_time
    return VersionFacts(
        number=int(answer.name.rpartition("/")[2]),
        state=answer.state.name.lower(),
        created_at=None if created is None else datetime.fromtimestamp(created.timestamp(), UTC),
    )


def _call(ask: Callable[[], Any]) -> Any:
    from google.api_core import exceptions as google
    from google.auth import exceptions as auth

    try:
        return ask()
    except google.GoogleAPICallError as error:
        code = error.grpc_status_code
        return _Failed("UNKNOWN" if code is None else code.name)
    except auth.TransportError:
        return _Failed("UNAVAILABLE", "no token from Google's metadata or token server")
    except auth.GoogleAuthError as error:
        return _Failed("UNAUTHENTICATED", type(error).__name__)


def _is_whole(payload: Any) -> bool:
    """Whether the checksum that came with the payload is the payload's; Google's client does not look."""
    import google_crc32c

    return "data_crc32c" in payload and int(google_crc32c.value(payload.data)) == payload.data_crc32c


def _within(seconds: float, work: Callable[[], T | _Failed]) -> T | _Failed:
    """Run `work` in a thread of its own and wait so long: the search for credentials heeds no deadline of ours."""
    answers: queue.SimpleQueue[T | _Failed | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put(work())
        except BaseException as error:  # handed on to whoever waits, below
            answers.put(error)

    threading.Thread(target=run, daemon=True, name="secret-manager").start()
    try:
        told = answers.get(timeout=seconds)
    except queue.Empty:
        return _Failed("DEADLINE_EXCEEDED")
    if isinstance(told, BaseException):
        raise told
    return told


def _error(name: str, failed: _Failed) -> ConfigurationError:
    if failed.may_pass:
        said = "comes damaged" if failed.code == "DATA_LOSS" else f"cannot be read now ({failed.code})"
        return SecretUnavailable(f"{name} {said}; Secret Manager is asked again later")
    remedy = _REMEDIES.get(failed.code, failed.said or "Secret Manager does not take the request")
    kind = SecretMissing if failed.code == "NOT_FOUND" else SecretRefused
    told = f"{failed.code}, {failed.said}" if failed.said and failed.code in _REMEDIES else failed.code
    return kind(f"{name} may not be used ({told}): {remedy}")
