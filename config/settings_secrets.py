"""Where secrets come from: the settings section `secrets`. No secret stands in it, only where each is kept."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from config.strict import Strict

LATEST = "latest"
# The longest that a secret service which is away may hold up whoever asks for a secret.
LONGEST_WAIT_SECONDS = 5.0
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,99}")  # of a variable; capitals, so that hardly any secret looks like one
_PART_OF_A_NAME = re.compile(r"[A-Za-z0-9_-]*")  # of a secret's id in Secret Manager


def _version(value: object) -> int | str:
    if value == LATEST:
        return LATEST
    number = int(value) if isinstance(value, str) and value.isdigit() else value
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ValueError(f"must be the number of a version, or {LATEST}")
    return number


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        # The words ", was" keep the loader from printing the value, which may be the secret itself.
        raise ValueError(
            "must be the name of a variable in capitals, was something else (the secret itself never stands here)"
        )
    return value


Version = Annotated[int | str, BeforeValidator(_version)]
SecretName = Annotated[str, AfterValidator(_name)]  # of a secret that a setting points to


class GoogleSecretsSettings(Strict):
    """Google Secret Manager: which secret and which version of it; who may read it is decided there."""

    project: str | None = Field(None, description="id of the Google Cloud project that holds the secrets")
    location: str | None = Field(None, description="region of regional secrets, e.g. asia-northeast1; null: global")
    layout: Literal["exchange", "field"] = Field(
        "exchange", description="exchange: one JSON secret for each exchange; field: one secret for each field"
    )
    name: str = Field("crypto-bot-{name}", description="text with {name}: how secrets are called there")
    versions: dict[str, Version] = Field(
        default_factory=dict, description="numbers by the secret's name; one that is not named is read as latest"
    )
    attempt_timeout: float = Field(
        2.0, gt=0, le=LONGEST_WAIT_SECONDS, description="seconds until one request counts as not answered; at most 5"
    )
    total_timeout: float = Field(
        LONGEST_WAIT_SECONDS, gt=0, le=LONGEST_WAIT_SECONDS, description="seconds for all tries together; at most 5"
    )
    target: str | None = Field(
        None, description="host:port on loopback of a server in Secret Manager's place (development only)"
    )

    @field_validator("project", "location")
    @classmethod
    def _is_one_word(cls, value: str | None) -> str | None:
        # Both become part of a name or of a host.
        if value is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.:-]*", value):
            raise ValueError("must be one word of lower-case letters, digits and dashes")
        return value

    @field_validator("name")
    @classmethod
    def _names_each_secret_apart(cls, value: str) -> str:
        before, name, after = value.partition("{name}")
        if not name or not _PART_OF_A_NAME.fullmatch(before + after):
            raise ValueError("must hold {name} once, and else letters, digits, - and _")
        return value

    def secret_id(self, variable: str) -> str:
        """What a secret is called in Secret Manager: BITBANK_API_KEY is `crypto-bot-bitbank-api-key`."""
        short = variable.removeprefix("CRYPTO_BOT_").lower().replace("_", "-")
        return self.name.replace("{name}", short)

    def version_of(self, secret_id: str) -> int | str:
        """The pinned version, `latest` where none is."""
        return self.versions.get(secret_id, LATEST)


class SecretsSettings(Strict):
    provider: Literal["env", "gcp"] = Field(
        "env",
        description="env: environment variables; gcp: Google Secret Manager. The one never stands in for the other",
    )
    cache_ttl: float = Field(300, ge=0, description="seconds that a secret is used before it is asked for again")
    rotation_days: float = Field(90, gt=0, description="days after which a version, or a key, should be replaced")
    expiry_days: float = Field(14, ge=0, description="days before a key expires at the venue in which it is warned of")
    gcp: GoogleSecretsSettings = Field(default_factory=lambda: GoogleSecretsSettings())
