"""The `Date` headers of a venue's answers: what is known of its clock where it tells no time."""

from pathlib import Path

import pytest

from exchanges.bybit import BALANCES
from services.clock import WallWatch, skew_bounds
from tests.exchanges.conftest import Market
from tests.exchanges.loopback import Said, StillClock, loopback
from tests.exchanges.test_transport import client

TELL_NO_TIME = pytest.mark.parametrize("market", ["bitbank", "bitflyer"], indirect=True)


@TELL_NO_TIME
async def test_a_venue_without_a_server_time_tells_its_clock_by_its_answers(market: Market) -> None:
    assert await market.exchange.server_time() is None
    for _ in range(3):
        await market.exchange.balances()
    bounds = skew_bounds(WallWatch().apart(), market.exchange.dates_heard())
    assert bounds is not None
    least, most = bounds
    assert -1 <= least <= 0 <= most < 2


@TELL_NO_TIME
async def test_a_clock_that_is_off_shows_in_the_answers(market: Market) -> None:
    await market.exchange.instruments()
    await market.control("faults", {"name": "clock_skew", "value": "40", "times": 1})
    await market.exchange.ticker(market.symbol)
    heard = market.exchange.dates_heard()[-1:]
    bounds = skew_bounds(WallWatch().apart(), heard)
    assert bounds is not None and -42 < bounds[0] <= bounds[1] < -38


@pytest.mark.parametrize(
    "headers", [{"Age": "30"}, {"Date": "yesterday"}, {"Date": ""}, {"Date": "Mon, 99 Jan 2026 00:00:00 GMT"}]
)
async def test_an_answer_out_of_a_cache_and_a_date_that_is_none_are_not_heard(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async with loopback() as venue:
        venue.anything = Said(200, '{"retCode":0,"result":{}}', headers=headers)
        bybit = client(venue, tmp_path, StillClock())
        await bybit.call(BALANCES, {})
        await bybit.close()
        assert bybit.dates_heard() == ()
