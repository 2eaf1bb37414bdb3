"""Keys of an exchange account: what they are called, and how they are read from environment variables."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from config.errors import ConfigurationError
from config.secret import Secret
from config.settings import EXCHANGES, Endpoint
from config.settings_secrets import SecretsSettings

# Keys of exchanges, and those of ours that only a person's part needs (approval, backup).
_SECRET_VARIABLE = re.compile(
    rf"({'|'.join(EXCHANGES)})_.*(KEY|SECRET|PASSPHRASE)|crypto_bot_(?!_).*SECRET", re.IGNORECASE
)


@dataclass(frozen=True)
class Credentials:
    """What signs a request. An unused passphrase is empty (and false)."""

    api_key: Secret
    api_secret: Secret
    passphrase: Secret


def credential_fields(exchange: str) -> tuple[str, ...]:
    """What a key of the exchange consists of, in the order of `Credentials`."""
    fields = ("api_key", "api_secret")
    return (*fields, "passphrase") if exchange == "okcoinjp" else fields


def credential_variables(exchange: str, endpoint: Endpoint) -> tuple[str, ...]:
    """Names of the variables that must be set, e.g. BITBANK_API_KEY; Bybit's testnet has keys of its own."""
    return tuple(f"{_prefix(exchange, endpoint)}_{field.upper()}" for field in credential_fields(exchange))


def credential_secrets(settings: SecretsSettings, exchange: str, endpoint: Endpoint) -> tuple[str, ...]:
    """Ids of the exchange's secrets in Secret Manager: one JSON secret, or one for each field."""
    if settings.gcp.layout == "exchange":
        return (settings.gcp.secret_id(_prefix(exchange, endpoint)),)
    return tuple(map(settings.gcp.secret_id, credential_variables(exchange, endpoint)))


def _prefix(exchange: str, endpoint: Endpoint) -> str:
    return "BYBIT_TESTNET" if exchange == "bybit" and endpoint is Endpoint.TESTNET else exchange.upper()


def credentials_from_environment(exchange: str, endpoint: Endpoint, environ: Mapping[str, str]) -> Credentials:
    """Read the keys. Raises ConfigurationError naming the variables that are missing or empty."""
    names = credential_variables(exchange, endpoint)
    values = [environ.get(name, "").strip() for name in names]
    missing = [name for name, value in zip(names, values, strict=True) if not value]
    if missing:
        raise ConfigurationError(
            f"{exchange} ({endpoint}) needs credentials: set {', '.join(missing)} in the environment",
            section="keys",
        )
    for name, value in zip(names, values, strict=True):
        if not is_one_line(value):
            raise ConfigurationError(f"{name} {NOT_ONE_LINE}: set it anew, typed or copied alone", section="keys")
    return credentials_of(values)


# What a file with two lines leaves, or a web page from which more was copied than is seen. No header can carry it, and
# where one can, the venue says no more than that the key is wrong.
NOT_ONE_LINE = "holds a line break or another character that cannot be seen"


def is_one_line(value: str) -> bool:
    """Whether a key, secret or passphrase holds nothing but what can be seen."""
    return value.isprintable()


def credentials_of(values: Iterable[str]) -> Credentials:
    """The values of `credential_fields`, as what signs."""
    key, secret, *passphrase = (Secret(value) for value in values)
    return Credentials(key, secret, passphrase[0] if passphrase else Secret(""))


def without_secrets(environ: Mapping[str, str], keep: Iterable[str] = ()) -> dict[str, str]:
    """An environment for a child process: without the keys of exchanges, except those of `keep`, and without secrets
    of ours that no child of that kind needs.
    """
    kept = tuple(f"{exchange.upper()}_" for exchange in keep)
    return {
        name: value
        for name, value in environ.items()
        if not _SECRET_VARIABLE.fullmatch(name) or (kept and name.startswith(kept))
    }
