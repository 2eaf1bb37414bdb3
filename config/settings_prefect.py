"""Where Prefect's server keeps its records and where it is, when it is not on this machine alone."""

from pydantic import Field, field_validator

from config.strict import Strict


class PrefectSettings(Strict):
    database_url: str | None = Field(
        None, description="database URL, e.g. postgresql://user@host/prefect; null: SQLite under <home>/prefect"
    )
    listen_on: str = Field("127.0.0.1", description="address of this machine on which `up` lets the server listen")
    api_url: str | None = Field(
        None,
        pattern=r"^https?://.+/api$",
        description="URL ending in /api of a server that runs elsewhere, e.g. http://10.0.0.5:4200/api; null: our own",
    )

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("postgresql://", "postgresql+asyncpg://")):
            raise ValueError("must begin with postgresql://")
        return value
