"""An hour of a trader on a stepped clock: its real cycles and pushes, the real pipeline, Google's own client."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from services import monitoring
from services.metrics_google import CloudMonitoringSink, Resource
from services.monitoring import Pipeline, Plan, push_custom_metric
from tasks import session as sessions
from tasks.books import close_books
from tasks.carry_out import carry_out, reconcile_account
from tasks.decide import decide
from tasks.measures import Measures
from tests.google.metric_server import MetricService, metric_server
from tests.tasks.test_money_in_a_cycle import NAME, Room

FLUSH_SECONDS = 10.0  # the shortest that is allowed
HOUR = 3600
OWN_SERIES = 250  # that the strategy pushes itself, in every fifth cycle
OWN_EVERY = 5
RESOURCE = Resource("my-project-1", "asia-northeast1", "crypto-bot", "crypto-bot", "host/home/trader-bitbank")


class Hour:
    """A trader in its room, and the pipeline that its clock paces."""

    def __init__(self, room: Room, service: MetricService) -> None:
        self.room, self.service = room, service
        self.sink = CloudMonitoringSink(RESOURCE, target=service.address)
        self.pipeline = Pipeline(
            "trader-bitbank", lambda: Plan([self.sink], FLUSH_SECONDS), clock=room.clock, steady=self.seconds
        )
        self.pipeline.prepare()

    def seconds(self) -> float:
        return self.room.clock.now().timestamp()

    async def cycle(self, number: int) -> None:
        """The five steps of flows.trading_cycle, then what the trader tells."""
        room, name = self.room, f"c{number}"
        room.wanted = 1 - room.wanted
        for series in range(OWN_SERIES if number % OWN_EVERY == 0 else 0):
            push_custom_metric("signal", number, {"series": str(series)})
        began = room.clock.now()
        books = await reconcile_account.fn(NAME)
        market = await room.market()
        decision = await decide.fn(NAME, name, books, market)
        room.venue.placing.append("fill" if number % 3 else "half")
        outcome = await carry_out.fn(NAME, name, decision, books)
        report = await close_books.fn(NAME, name, began, books, market, decision, outcome)
        self.measures.after_cycle(report)

    async def run(self) -> None:
        room = self.room
        room.certify("ramp_100")
        self.measures = Measures(room.here)
        end = self.seconds() + HOUR
        number = 0
        while self.seconds() < end:
            await self.cycle(number)
            number += 1
            boundary = min(end, (self.seconds() // 60 + 1) * 60)
            while self.seconds() < boundary:
                await room.clock.sleep(1)
                self.pipeline.turn()
                assert self.pipeline.sinks[0].settle(10)


@pytest.fixture
def hour(tmp_path: Path) -> Iterator[Hour]:
    with metric_server() as service:
        room = Room(tmp_path)
        sessions._traders[NAME] = room.here
        one = Hour(room, service)
        monitoring._pipeline = one.pipeline
        yield one
        monitoring._pipeline = None
        sessions._traders.pop(NAME, None)
        one.pipeline.stop()
        room.ledger.close()


async def test_an_hour_of_trading_keeps_every_limit_of_the_service_and_loses_no_point(hour: Hour) -> None:
    await hour.run()
    service, room = hour.service, hour.room
    assert not service.refusals
    # The limits, as the service saw them: series a call, spacing in each series, order in each series.
    assert max(call.series for call in service.calls) <= 200
    assert all(call.points == call.series for call in service.calls)
    for series in service.stored.values():
        times = [stored.at for stored in series]
        assert all((after - before).total_seconds() >= 10 for before, after in pairwise(times))
    # Counted: what was written is what the hour was.
    flushes = len(service.values("process_memory_bytes"))
    assert 320 <= flushes <= HOUR / FLUSH_SECONDS
    cycles = len(room.ledger.cycles(NAME))
    fills = room.ledger.fills(NAME)
    assert cycles == 60 and len(fills) >= 40
    assert service.values("cycle", result="ok")[-1] + sum(service.values("cycle", result="unexplained")[-1:]) == cycles
    for side in ("buy", "sell"):
        executed = service.values("trade_executed", side=side, symbol="BTC/JPY", exchange=NAME)[-1]
        assert executed == sum(str(fill.side) == side for fill in fills)
    assert service.values("api_request", exchange=NAME)[-1] == room.venue.requests.total()
    newest = room.ledger.equity(NAME, "JPY", limit=1)[0]
    assert service.values("equity", currency="JPY")[-1] == float(newest.equity)
    assert service.values("rung") and set(service.values("rung")) == {8}
    assert len(service.values("signal")) == OWN_SERIES * cycles / OWN_EVERY
    assert not service.values("metrics_dropped")
