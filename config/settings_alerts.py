"""The section `alerts`: who is told what, how often, and when the day is summed up.

An Apprise URL opens the channel that it names, so it is a secret: the settings hold the secret's name alone.
"""

import re
from typing import Literal

from pydantic import Field, field_validator

from config.settings_secrets import SecretName
from config.strict import Strict

_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_MINUTES_A_DAY = 24 * 60


class ChannelSettings(Strict):
    name: str = Field(description="name: yours, for `crypto-bot alerts test --channel NAME`", min_length=1)
    url_secret: SecretName = Field(
        description="name of the secret that holds the channel's Apprise URL, e.g. ALERTS_SLACK"
    )
    level: Literal["info", "warning", "critical"] = Field(
        "warning", description="info, warning or critical: the least level that is told at once"
    )
    digest: bool = Field(True, description="true or false: whether the daily digest goes there")


class AlertSettings(Strict):
    channels: tuple[ChannelSettings, ...] = Field((), description="list of channels, each with name and url_secret")
    repeat_minutes: float = Field(60, gt=0, description="minutes after which what still is so is told again")
    digest_at: str | None = Field("08:00", description="time of day in Japan as HH:MM; null: no daily digest")
    timeout_seconds: float = Field(10, gt=0, le=60, description="seconds that a channel has to take a message")
    show_amounts: bool = Field(False, description="true or false: whether messages may tell balances and profit")

    @field_validator("channels", mode="before")
    @classmethod
    def _are_sections(cls, value: object) -> object:
        if not isinstance(value, (list, tuple)) or not all(isinstance(each, (dict, ChannelSettings)) for each in value):
            raise ValueError("must be a list such as [{name: slack, url_secret: ALERTS_SLACK}], was something else")
        return value

    @field_validator("channels")
    @classmethod
    def _names_differ(cls, value: tuple[ChannelSettings, ...]) -> tuple[ChannelSettings, ...]:
        names = [channel.name for channel in value]
        if len(set(names)) < len(names):
            raise ValueError(f"must have different names, was {', '.join(names)}")
        return value

    @field_validator("digest_at", mode="before")
    @classmethod
    def _is_a_time_of_day(cls, value: object) -> object:
        if isinstance(value, int) and 0 <= value < _MINUTES_A_DAY:
            value = f"{value // 60:02}:{value % 60:02}"  # YAML reads 18:30 as a number of base 60
        if value is not None and not (isinstance(value, str) and _TIME_OF_DAY.fullmatch(value)):
            raise ValueError("must be a time such as 08:00")
        return value
