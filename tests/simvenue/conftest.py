"""The four venues on stepped clocks, shared by the tests of a module, each time without faults and open orders."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import aiohttp
import pytest

from tests.simvenue.four_by_hand import EXCHANGES, HANDS, Hand
from tests.simvenue.running import RunningVenue


@pytest.fixture(scope="module")
def four() -> Iterator[dict[str, RunningVenue]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(RunningVenue(name, seed=3)) for name in EXCHANGES}


@pytest.fixture(params=EXCHANGES)
async def hand(four: dict[str, RunningVenue], request: pytest.FixtureRequest) -> AsyncIterator[Hand]:
    running = four[request.param]
    venue = running.server.venue
    venue.faults.clear()
    for order in venue.open_orders():
        venue.cancel(order)
    running.advance(60_000)  # rate windows are empty again
    async with aiohttp.ClientSession() as session:
        yield HANDS[request.param](running, session)
    venue.faults.clear()
