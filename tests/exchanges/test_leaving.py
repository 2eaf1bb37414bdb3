"""An order whose process was held up between writing it down and sending it does not leave any more."""

from pathlib import Path

import pytest

from exchanges.bybit import CANCEL, PLACE, BybitClient
from exchanges.errors import Busy
from exchanges.leaving import LATEST_LEAVING_SECONDS, late_by, written_down
from exchanges.transport import connect
from tests.exchanges.loopback import Said, StillClock, loopback, wiring


class Steady:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_what_leaves_at_once_is_not_late_and_what_was_held_up_is() -> None:
    clock = Steady()
    with written_down(clock):
        clock.seconds += LATEST_LEAVING_SECONDS
        assert late_by() == 0
        clock.seconds += 0.1
        assert late_by() == pytest.approx(LATEST_LEAVING_SECONDS + 0.1)
    assert late_by() == 0  # nothing is under way


async def test_a_late_order_is_not_sent_and_a_late_cancel_is(tmp_path: Path) -> None:
    clock = Steady()
    async with loopback() as venue:
        bybit = connect(BybitClient, wiring(venue, tmp_path, StillClock()))
        venue.answers[f"{CANCEL.method} /{CANCEL.path}"] = Said(200, '{"retCode":0,"retMsg":"OK","result":{}}')
        with written_down(clock):
            clock.seconds += 20
            with pytest.raises(Busy, match="held up for 20 s"):
                await bybit.call(PLACE, {})
            await bybit.call(CANCEL, {})
        await bybit.close()
        assert venue.paths() == [f"{CANCEL.method} /{CANCEL.path}"]
