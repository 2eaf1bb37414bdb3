"""The daily digest as a deployment runs it."""

import json
from pathlib import Path

import pytest

from flows.daily_digest import daily_digest
from tasks.digest import DigestNotTaken
from tests.services.sinks import web_sink

pytestmark = pytest.mark.prefect


async def test_without_a_channel_it_says_so_and_sends_nothing(home: Path, prefect_url: str) -> None:
    assert await daily_digest() == "no digest is configured (alerts.channels, alerts.digest_at)"


async def test_it_goes_to_the_channels_that_want_it_and_fails_where_one_does_not_take_it(
    home: Path, prefect_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web_sink() as sink, web_sink() as quiet:
        told = [{"name": "web", "url_secret": "ALERTS_WEB"}, {"name": "q", "url_secret": "ALERTS_Q", "digest": False}]
        monkeypatch.setenv("CRYPTO_BOT__ALERTS__CHANNELS", json.dumps(told))
        monkeypatch.setenv("ALERTS_WEB", f"json://127.0.0.1:{sink.port}")
        monkeypatch.setenv("ALERTS_Q", f"json://127.0.0.1:{quiet.port}")
        assert await daily_digest("bitbank") == "taken by web"
        assert sink.texts[0].splitlines() == [
            "bitbank BTC/JPY: no cycle ran",
            "",
            "no alert since the last digest",
        ]
        sink.status = 500
        with pytest.raises(DigestNotTaken, match="web"):
            await daily_digest("bitbank")
        assert not quiet.arrived
