"""The questions of the safety steps, and the client with which they are asked."""

import pytest

from exchanges.errors import NoAnswer
from tasks.account_checks import check_account, check_key
from tasks.asking import ask_all, expect
from tasks.books import percentile
from tasks.session import reading, trading
from tests.flows.conftest import Market


async def test_every_question_is_asked_and_a_venues_error_is_an_answer() -> None:
    async def fine() -> str:
        return "seen"

    async def wrong() -> str:
        expect(False, "not as it should be")
        return "never"

    async def silent() -> str:
        raise NoAnswer("bitbank", "nothing came")

    told = await ask_all([("wrong", wrong), ("silent", silent), ("fine", fine)])
    assert [(each.name, each.passed) for each in told] == [("wrong", False), ("silent", False), ("fine", True)]
    assert told[0].detail == "not as it should be" and "nothing came" in told[1].detail


async def test_a_defect_of_ours_is_no_answer() -> None:
    async def broken() -> str:
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        await ask_all([("broken", broken)])


@pytest.mark.parametrize("name", ["bybit", "bitbank", "bitflyer", "okcoinjp"])
async def test_the_reading_steps_client_has_no_way_to_place_even_beside_a_trader(market: Market, name: str) -> None:
    market(name)
    async with trading(name), reading(name) as here:  # type: ignore[arg-type]
        for way in ("place", "cancel", "cancel_all"):
            assert not hasattr(here.reader, way)
        checks = await check_key.fn(name) + await check_account.fn(name)  # type: ignore[arg-type]
        assert all(check.passed for check in checks), checks
        assert "no way to place" in checks[0].detail


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile((), 0.95) is None
    assert percentile((3.0,), 0.95) == 3.0
    assert percentile(tuple(float(n) for n in range(1, 101)), 0.95) == 96.0
