import asyncio

import pytest

from exchanges.errors import NoAnswer
from execution.latch import set_latch
from execution.place import PlacementHeld, place
from services.ledger import LeaseLost, LedgerUnavailable
from tests.execution.conftest import Workplace
from tests.execution.venue import BEGIN, SPOT, an_intent
from trading.orders import State
from trading.risk import Approved


async def test_an_accepted_order_is_open_in_the_ledger_with_the_venues_id(work: Workplace) -> None:
    order = await work.place()
    assert (order.state, order.venue_order_id) == (State.OPEN, "1000")
    assert work.ledger.order("bitbank", order.intent.client_order_id) == order


async def test_the_intent_and_its_sending_are_in_the_ledger_when_the_request_arrives(work: Workplace) -> None:
    seen = []
    real = work.venue.place

    async def watched(intent):  # type: ignore[no-untyped-def]
        seen.append(work.ledger.order("bitbank", intent.client_order_id).state)
        return await real(intent)

    work.venue.place = watched  # type: ignore[method-assign]
    await work.place()
    assert seen == [State.SENT]


@pytest.mark.parametrize("word", ["refuse", "busy"])
async def test_what_the_venue_certainly_did_not_take_is_rejected_with_its_words(work: Workplace, word: str) -> None:
    work.venue.placing.append(word)
    order = await work.place()
    assert order.state is State.REJECTED
    assert "bitbank" in order.note
    assert (await work.place("two")).state is State.OPEN  # the symbol is free


async def test_a_lost_answer_leaves_an_unknown_order_and_blocks_the_symbol(work: Workplace) -> None:
    work.venue.placing.append("lost_ack")
    assert (await work.place()).state is State.UNKNOWN
    with pytest.raises(PlacementHeld, match="reconcile first"):
        await work.place("two")
    assert work.venue.requests["place"] == 1


async def test_an_answer_without_an_order_id_is_no_answer(work: Workplace) -> None:
    async def nameless(intent):  # type: ignore[no-untyped-def]
        return ""

    work.venue.place = nameless  # type: ignore[method-assign]
    assert (await work.place()).state is State.UNKNOWN


async def test_a_defect_while_sending_is_recorded_as_unknown_and_still_seen(work: Workplace) -> None:
    work.venue.placing.append("defect")
    with pytest.raises(KeyError):
        await work.place()
    (order,) = work.ledger.in_flight("bitbank")
    assert order.state is State.UNKNOWN


async def test_an_intent_that_is_already_in_the_ledger_is_never_sent_again(work: Workplace) -> None:
    first = await work.place()
    assert await work.place() == first
    assert work.venue.requests["place"] == 1


async def test_an_id_that_belongs_to_another_order_is_refused(work: Workplace) -> None:
    await work.place()
    with pytest.raises(PlacementHeld, match="id of its own"):
        await work.place(quantity="0.005")
    assert work.venue.requests["place"] == 1


async def test_a_cancelled_task_still_ends_in_a_recorded_state(work: Workplace) -> None:
    work.venue.placing.append("hang")
    task = asyncio.create_task(work.place())
    await work.venue.arrived.wait()
    task.cancel()
    await asyncio.sleep(0.01)
    task.cancel()  # an impatient one
    await asyncio.sleep(0.01)
    assert not task.done()
    work.venue.answer.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    (order,) = work.ledger.in_flight("bitbank")
    assert (order.state, order.venue_order_id) == (State.OPEN, "1000")


def test_the_end_of_the_event_loop_while_the_request_is_out_is_recorded_as_unknown(work: Workplace) -> None:
    work.venue.placing.append("hang")

    async def main() -> None:
        placing = asyncio.ensure_future(work.place())
        await work.venue.arrived.wait()
        assert not placing.done()  # and the loop ends here

    asyncio.run(main())
    (order,) = work.ledger.in_flight("bitbank")
    assert order.state is State.UNKNOWN


async def test_two_orders_at_once_go_out_one_after_the_other(work: Workplace) -> None:
    work.venue.placing.append("lost_ack")
    outcomes = await asyncio.gather(work.place("one"), work.place("two"), return_exceptions=True)
    assert outcomes[0].state is State.UNKNOWN  # type: ignore[union-attr]
    assert isinstance(outcomes[1], PlacementHeld)
    assert work.venue.requests["place"] == 1


async def test_nothing_is_sent_when_the_intent_cannot_be_written(work: Workplace) -> None:
    def unavailable(*_: object, **__: object) -> None:
        raise LedgerUnavailable("disk full")

    work.ledger.write_intent = unavailable  # type: ignore[method-assign]
    with pytest.raises(LedgerUnavailable):
        await work.place()
    assert work.venue.requests["place"] == 0


async def test_nothing_is_sent_when_the_sending_cannot_be_written(work: Workplace) -> None:
    def unavailable(*_: object, **__: object) -> None:
        raise LedgerUnavailable("disk full")

    work.ledger.record = unavailable  # type: ignore[method-assign]
    with pytest.raises(LedgerUnavailable):
        await work.place()
    assert work.venue.requests["place"] == 0


async def test_nothing_is_sent_after_another_process_took_the_account(work: Workplace) -> None:
    work.ledger.take_lease("bitbank", "another", BEGIN.replace(year=2030), 60)
    with pytest.raises(LeaseLost):
        await work.place()
    assert work.venue.requests["place"] == 0


async def test_a_latched_kill_switch_holds_the_order_back(work: Workplace) -> None:
    work.ledger.latch("bitbank", "drill", "ann", BEGIN)
    with pytest.raises(PlacementHeld, match="ann"):
        await work.place()
    assert work.venue.requests["place"] == 0


async def test_a_latch_file_holds_the_order_back_though_the_ledger_knows_nothing(work: Workplace) -> None:
    set_latch(work.home, None, "*", "drill", "ann", BEGIN)
    assert work.ledger.latched("bitbank") is None
    with pytest.raises(PlacementHeld, match="ann"):
        await work.place()
    assert work.venue.requests["place"] == 0


async def test_placing_never_repeats_by_itself(work: Workplace) -> None:
    for word in ("lost_request", "busy", "refuse"):
        work.venue.placing.append(word)
        work.venue.requests.clear()
        intent = an_intent(word)
        try:
            await place(work.desk, Approved(intent, "minimal"), cycle_id=None, known_ids=frozenset())
        except NoAnswer:
            pytest.fail("the outcome belongs into the order, not into an exception")
        assert work.venue.requests == {"place": 1}
        await work.reconcile(SPOT)


async def test_a_kill_switch_pulled_while_the_intent_is_being_written_holds_the_order_back(work: Workplace) -> None:
    write = work.ledger.write_intent

    def written_late(*told: object, **more: object) -> None:
        set_latch(work.home, work.ledger, "bitbank", "drill", "ann", BEGIN)  # a stop that sees no order in flight yet
        write(*told, **more)  # type: ignore[arg-type]

    work.ledger.write_intent = written_late  # type: ignore[method-assign]
    order = await work.place()
    assert order.state is State.REJECTED and "latched by ann" in order.note
    assert work.venue.requests["place"] == 0


async def test_a_kill_switch_pulled_while_the_budget_makes_an_order_wait_holds_that_order(work: Workplace) -> None:
    work.venue.room_after = 30.0
    real = work.clock.sleep

    async def meanwhile(seconds: float) -> None:
        await real(seconds)
        set_latch(work.home, work.ledger, "bitbank", "drill", "ann", BEGIN)

    work.clock.sleep = meanwhile  # type: ignore[method-assign]
    with pytest.raises(PlacementHeld, match="latched by ann"):
        await work.place()
    assert work.venue.requests["place"] == 0
    assert not work.ledger.orders("bitbank")


async def test_an_order_is_down_as_sent_only_when_the_budget_has_room_for_it(work: Workplace) -> None:
    work.venue.room_after = 50.0
    order = await work.place()
    assert order.sent_at == work.clock.now() == work.venue.booked["1000"].told.created_at
