import asyncio

from services.clock import MarketClock
from tests.simvenue.running import RunningVenue


async def test_those_who_sleep_at_the_same_time_sleep_through_the_same_time():
    with RunningVenue("bitbank") as venue:
        clock = await MarketClock.connect(f"{venue.url}/_control")
        began = clock.now()
        await asyncio.gather(clock.sleep(60), clock.sleep(45), clock.sleep(60))
        assert (clock.now() - began).total_seconds() == 60
        await clock.sleep(5)
        assert (clock.now() - began).total_seconds() == 65
