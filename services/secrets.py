"""Where every secret comes from: the environment, or Google Secret Manager, and never the one for the other.

    credentials(settings, "bitbank")            keys of an exchange account
    await read_credentials(settings, "bitbank") the same, from a coroutine
    named(settings, "CRYPTO_BOT_APPROVAL_SECRET")   any other secret, by the name of its variable

Every value is a `config.secret.Secret`: known to the log mask before anybody can use it, printed as dots, never
pickled. All of it may be called from any thread. What is raised is a ConfigurationError and names the secret, never
its value: `SecretMissing`, `SecretRefused`, `SecretUnavailable` of `services.secret_manager`.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from config.credentials import (
    NOT_ONE_LINE,
    Credentials,
    credential_fields,
    credential_secrets,
    credential_variables,
    credentials_from_environment,
    credentials_of,
    is_one_line,
)
from config.errors import ConfigurationError
from config.secret import Secret
from config.settings import Endpoint, ExchangeName, Settings
from config.settings_secrets import LATEST, GoogleSecretsSettings, SecretsSettings
from services.secret_manager import SecretManager, SecretMissing, SecretRefused, SecretUnavailable, VersionFacts

__all__ = [
    "APPROVAL_SECRET",
    "SecretMissing",
    "SecretRefused",
    "SecretReport",
    "SecretUnavailable",
    "approval_secret",
    "credentials",
    "describe",
    "describe_named",
    "is_from_provider",
    "named",
    "read_credentials",
]

APPROVAL_SECRET = "CRYPTO_BOT_APPROVAL_SECRET"

# One for each project: a changed version in the configuration needs no new client.
_managers: dict[tuple[object, ...], SecretManager] = {}


@dataclass(frozen=True)
class SecretReport:
    """What may be told of a secret. `state`: enabled, disabled, destroyed, set (environment), or what kept it from us.

    `created_at` and `age_days` are None where the provider does not tell; `checksum` where there is none to compare.
    """

    purpose: str  # an exchange, or the name of the variable
    provider: str
    secret: str
    version: int | str | None
    state: str
    created_at: datetime | None = None
    age_days: float | None = None
    rotation_due: bool = False
    checksum: bool | None = None
    api_key: Secret | None = None  # for its short id; never printed
    problem: str = ""

    def __str__(self) -> str:
        version = "" if self.version is None else f" version {self.version}"
        age = "" if self.age_days is None else f", {self.age_days:.0f} days old"
        return f"{self.secret}{version}: {self.state}{age}"


def is_from_provider(settings: Settings, exchange: ExchangeName) -> bool:
    """Whether the keys of an exchange come from the provider: those of a simulated venue that we start ourselves come
    with it.
    """
    block = settings.exchanges[exchange]
    return block.endpoint is not Endpoint.SIMULATED or block.base_url is not None


def credentials(settings: Settings, exchange: ExchangeName, *, fresh: bool = False) -> Credentials:
    """The keys of an exchange account. `fresh`: asked for whatever is kept in memory.

    Raises ConfigurationError (see the module) within `secrets.gcp.total_timeout` for each secret.
    """
    endpoint, secrets = settings.exchanges[exchange].endpoint, settings.secrets
    if secrets.provider == "env":
        return credentials_from_environment(exchange, endpoint, os.environ)
    ids = credential_secrets(secrets, exchange, endpoint)
    texts = [_read(secrets, each, live=endpoint is Endpoint.LIVE, fresh=fresh) for each in ids]
    if secrets.gcp.layout == "field":
        for each, text in zip(ids, texts, strict=True):
            if not is_one_line(text.reveal()):
                raise SecretRefused(f"{each} {NOT_ONE_LINE}: write it into a new version and pin that")
        return credentials_of(text.reveal() for text in texts)
    fields = credential_fields(exchange)
    values = _fields_of(texts[0], fields)
    if values is None:
        told = ", ".join(f'"{field}": "..."' for field in fields)
        raise SecretRefused(f"{ids[0]} is not what it should be: write {{{told}}} into a new version and pin that")
    for field, value in zip(fields, (values.api_key, values.api_secret, values.passphrase), strict=False):
        if not is_one_line(value.reveal()):
            raise SecretRefused(f"{ids[0]}: {field} {NOT_ONE_LINE}: write it into a new version and pin that")
    return values


async def read_credentials(settings: Settings, exchange: ExchangeName, *, fresh: bool = False) -> Credentials:
    """As `credentials`, without holding up the event loop."""
    if settings.secrets.provider == "env":
        return credentials(settings, exchange)
    return await asyncio.to_thread(credentials, settings, exchange, fresh=fresh)


def named(settings: Settings, name: str, *, fresh: bool = False) -> Secret:
    """A secret by the name of its environment variable; in Secret Manager it is called by `secrets.gcp.name`.

    Raises SecretMissing where it is not set, and else as `credentials`. While an exchange is live, `latest` is refused.
    """
    secrets = settings.secrets
    if secrets.provider == "env":
        text = os.environ.get(name, "").strip()
        if not text:
            raise SecretMissing(f"{name} is not set in the environment")
        return Secret(text)
    return _read(secrets, secrets.gcp.secret_id(name), live=_any_live(settings), fresh=fresh)


def approval_secret(settings: Settings) -> Secret:
    """The secret with which a person approves a rung; an empty one where there is none, which approves nothing.

    Raises SecretRefused and SecretUnavailable.
    """
    try:
        return named(settings, APPROVAL_SECRET)
    except SecretMissing:
        return Secret("")


def describe(settings: Settings, exchange: ExchangeName, now: datetime) -> tuple[SecretReport, ...]:
    """What may be told of the secrets of an exchange, a row each; what cannot be read is a row too. `now` aware UTC."""
    endpoint, secrets = settings.exchanges[exchange].endpoint, settings.secrets
    if not is_from_provider(settings, exchange):
        return (SecretReport(exchange, "simulated", "comes with the simulated venue", None, "set"),)
    if secrets.provider == "env":
        names = credential_variables(exchange, endpoint)
        absent = {name for name in names if not os.environ.get(name, "").strip()}
        rows = [_in_environment(exchange, name, name in absent) for name in names]
    else:
        ids = credential_secrets(secrets, exchange, endpoint)
        rows = [_in_manager(settings, exchange, each, endpoint is Endpoint.LIVE, now) for each in ids]
    try:
        key = credentials(settings, exchange).api_key if not any(row["problem"] for row in rows) else None
    except ConfigurationError as error:
        key, rows[0]["problem"] = None, str(error)
    return tuple(SecretReport(**row, api_key=key if number == 0 else None) for number, row in enumerate(rows))


def describe_named(settings: Settings, name: str, now: datetime) -> SecretReport:
    """As `describe`, for one other secret."""
    if settings.secrets.provider == "env":
        return SecretReport(**_in_environment(name, name, not os.environ.get(name, "").strip()))
    secret_id = settings.secrets.gcp.secret_id(name)
    return SecretReport(**_in_manager(settings, name, secret_id, _any_live(settings), now))


def _in_environment(purpose: str, name: str, absent: bool) -> dict[str, Any]:
    problem = f"{name} is not set in the environment" if absent else ""
    return {
        "purpose": purpose,
        "provider": "env",
        "secret": name,
        "version": None,
        "state": "missing" if absent else "set",
        "problem": problem,
    }


def _in_manager(settings: Settings, purpose: str, secret_id: str, live: bool, now: datetime) -> dict[str, Any]:
    secrets = settings.secrets
    pinned = secrets.gcp.version_of(secret_id)
    row: dict[str, Any] = {
        "purpose": purpose,
        "provider": "gcp",
        "secret": secret_id,
        "version": pinned,
        "state": "",
        "problem": "",
    }
    manager = _manager(secrets.gcp)
    try:
        _refuse_latest(secret_id, pinned, live=live)
        read = manager.read(secret_id, pinned, ttl=secrets.cache_ttl)
        row |= {"version": read.number, "state": "enabled", "checksum": True}
    except ConfigurationError as error:
        row |= {"state": _word_for(error), "problem": str(error)}
    facts = _facts(manager, secret_id, row["version"])
    if facts is not None:
        age = None if facts.created_at is None else (now - facts.created_at) / timedelta(days=1)
        due = age is not None and age > secrets.rotation_days
        row |= {"version": facts.number, "created_at": facts.created_at, "age_days": age, "rotation_due": due}
        # Reading says that it may not be read; the state says why.
        if row["problem"] and facts.state != "enabled":
            row["state"] = facts.state
    return row


def _word_for(error: ConfigurationError) -> str:
    if isinstance(error, SecretMissing):
        return "missing"
    return "unavailable" if isinstance(error, SecretUnavailable) else "refused"


def _facts(manager: SecretManager, secret_id: str, version: int | str) -> VersionFacts | None:
    """None where reading the payload is all that is granted, which is enough for trading."""
    try:
        return manager.facts(secret_id, version)
    except ConfigurationError:
        return None


def _any_live(settings: Settings) -> bool:
    return any(block.endpoint is Endpoint.LIVE for block in settings.exchanges.values())


def _read(secrets: SecretsSettings, secret_id: str, *, live: bool, fresh: bool) -> Secret:
    version = secrets.gcp.version_of(secret_id)
    _refuse_latest(secret_id, version, live=live)
    return _manager(secrets.gcp).read(secret_id, version, ttl=secrets.cache_ttl, fresh=fresh).text


def _refuse_latest(secret_id: str, version: int | str, *, live: bool) -> None:
    if live and version == LATEST:
        raise ConfigurationError(
            f"secrets.gcp.versions: an exchange is live, and no version of {secret_id} is pinned (latest is not one); "
            f"add {secret_id}: NUMBER"
        )


def _manager(gcp: GoogleSecretsSettings) -> SecretManager:
    key = (gcp.project, gcp.location, gcp.target, gcp.attempt_timeout, gcp.total_timeout)
    if key not in _managers:
        if gcp.project is None:
            raise ConfigurationError("secrets.gcp.project: is missing; write the project's id")
        _managers[key] = SecretManager(
            gcp.project,
            gcp.location,
            gcp.target,
            attempt_seconds=gcp.attempt_timeout,
            total_seconds=gcp.total_timeout,
        )
    return _managers[key]


def _fields_of(document: Secret, fields: tuple[str, ...]) -> Credentials | None:
    """The fields of a JSON secret, or None. Nothing is raised from here: a JSON error holds the whole text."""
    try:
        told = json.loads(document.reveal())
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, Mapping):
        return None
    values = [str(told.get(field) or "").strip() for field in fields]
    return credentials_of(values) if all(values) else None
