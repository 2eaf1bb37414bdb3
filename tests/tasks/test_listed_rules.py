"""A rule that the venue changes while a trader runs: seen before the next order, and what was certified is void."""

import json
import urllib.request

import pytest

from services.simulated import RunningVenue
from tasks.decide import certified_cap
from tasks.ladder import grant_rung, review_rung, rung_is_due
from tasks.session import TradingSession, trading
from tests.flows.conftest import Market
from tests.tasks.test_ladder import in_force, report
from trading.stages import CHECKS

KEPT = 3600 + 60  # seconds of market time, and a little


def smallest_is_raised(venue: RunningVenue) -> None:
    body = json.dumps({"name": "min_size_raised", "value": "10"}).encode()
    asked = urllib.request.Request(f"{venue.address.control_url}/faults", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked) as reply:
        assert reply.status == 200


async def climbed_to_paper(here: TradingSession) -> None:
    for stage in CHECKS:
        await grant_rung.fn(here.name, report(here, stage))
    await review_rung.fn(here.name)
    assert in_force(here) == "paper"


@pytest.mark.parametrize("name", ["bybit", "okcoinjp"])
async def test_a_rule_that_the_venue_changes_takes_the_certificate_back_to_the_first_check(
    market: Market, name: str
) -> None:
    venue = market(name)
    async with trading(name) as here:  # type: ignore[arg-type]
        await climbed_to_paper(here)
        before = await here.listed()
        smallest_is_raised(venue)
        assert await here.listed() == before  # read an hour ago at most
        assert here.running().instrument != "" and not rung_is_due(here)
        await here.clock.sleep(KEPT)
        after = await here.listed()
        assert after.min_quantity > before.min_quantity or after.min_notional != before.min_notional
        record = here.ledger.rung(here.account, here.symbol)
        assert record is not None
        assert certified_cap(record, here.running(after)).changed == ("instrument",)  # no order goes out on it
        assert rung_is_due(here)
        review = await review_rung.fn(name)
        assert (review.verdict, review.after) == ("demote", "compatibility")
        assert any("instrument" in reason for reason in review.reasons)


async def test_what_bitbank_raises_for_a_while_is_no_change_of_its_rules(market: Market) -> None:
    venue = market("bitbank")
    async with trading("bitbank") as here:
        await climbed_to_paper(here)
        before = await here.listed()
        smallest_is_raised(venue)
        await here.clock.sleep(KEPT)
        await here.reader.status(here.symbol)
        now = await here.reader.instrument(here.symbol)
        assert now.min_quantity > before.min_quantity  # orders are sized by it at once
        assert await here.listed() == before
        here.running(await here.listed())
        assert not rung_is_due(here)


async def test_an_instrument_that_leaves_the_list_stays_known(market: Market) -> None:
    market("bitbank")
    async with trading("bitbank") as here:
        before = await here.listed()

        async def emptied() -> dict[str, object]:
            return {}

        here.reader.load_instruments = emptied  # type: ignore[attr-defined]  # the pair is suspended
        await here.clock.sleep(KEPT)
        assert await here.listed() == before
