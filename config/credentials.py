"""Keys of an exchange account from environment variables (development, simulated venues, testnet)."""

from collections.abc import Mapping
from dataclasses import dataclass

from config.errors import ConfigurationError
from config.secret import Secret
from config.settings import Endpoint


@dataclass(frozen=True)
class Credentials:
    """What signs a request. An unused passphrase is empty (and false)."""

    api_key: Secret
    api_secret: Secret
    passphrase: Secret


def credential_variables(exchange: str, endpoint: Endpoint) -> tuple[str, ...]:
    """Names of the variables that must be set, e.g. BITBANK_API_KEY; Bybit's testnet has keys of its own."""
    prefix = exchange.upper()
    if exchange == "bybit" and endpoint is Endpoint.TESTNET:
        prefix = "BYBIT_TESTNET"
    names = (f"{prefix}_API_KEY", f"{prefix}_API_SECRET")
    return (*names, f"{prefix}_PASSPHRASE") if exchange == "okcoinjp" else names


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
    key, secret, *passphrase = (Secret(value) for value in values)
    return Credentials(key, secret, passphrase[0] if passphrase else Secret(""))
