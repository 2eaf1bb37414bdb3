from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.examples import D, an_intent, an_order
from trading.instruments import Side
from trading.orders import (
    IN_FLIGHT,
    SEEN,
    TERMINAL,
    TRANSITIONS,
    Event,
    IllegalTransition,
    OrderType,
    State,
    TimeInForce,
    advance,
)

EVENTS = st.lists(st.sampled_from(list(Event)), max_size=40)


def story(*events: Event) -> State:
    state = State.INTENDED
    for event in events:
        state = advance(state, event)
    return state


def test_an_order_that_is_acknowledged_and_filled_is_filled():
    assert story(Event.SENT, Event.ACKED, Event.SEEN_PARTIAL, Event.SEEN_FILLED) is State.FILLED


def test_a_missing_answer_is_unknown_and_not_a_failure():
    assert story(Event.SENT, Event.NO_ANSWER) is State.UNKNOWN
    assert State.UNKNOWN in IN_FLIGHT


def test_an_unknown_order_ends_only_by_what_is_seen_or_proved():
    ends = {event for (state, event), after in TRANSITIONS.items() if state is State.UNKNOWN and after in TERMINAL}
    assert ends == {
        Event.SEEN_FILLED,
        Event.SEEN_CANCELLED,
        Event.SEEN_REJECTED,
        Event.SEEN_EXPIRED,
        Event.PROVED_ABSENT,
    }


def test_an_unknown_order_can_be_refused_no_more():
    with pytest.raises(IllegalTransition, match="refused cannot follow unknown"):
        story(Event.SENT, Event.NO_ANSWER, Event.REFUSED)


def test_asking_to_cancel_an_unknown_order_proves_nothing_about_it():
    assert story(Event.SENT, Event.NO_ANSWER, Event.CANCEL_SENT) is State.UNKNOWN


def test_an_answer_that_comes_after_another_process_saw_the_order_changes_nothing():
    assert story(Event.SENT, Event.SEEN_PARTIAL, Event.ACKED) is State.PARTIALLY_FILLED
    assert story(Event.SENT, Event.SEEN_CANCELLED, Event.ACKED) is State.CANCELLED


def test_a_lagging_list_does_not_undo_a_partial_fill_or_a_cancel():
    assert story(Event.SENT, Event.ACKED, Event.SEEN_PARTIAL, Event.SEEN_OPEN) is State.PARTIALLY_FILLED
    assert story(Event.SENT, Event.ACKED, Event.CANCEL_SENT, Event.SEEN_OPEN) is State.CANCEL_SENT


def test_a_fill_that_beats_the_cancel_is_a_fill():
    assert story(Event.SENT, Event.ACKED, Event.CANCEL_SENT, Event.SEEN_FILLED) is State.FILLED


def test_a_rejected_order_that_is_seen_alive_calls_a_human():
    for event in (Event.SEEN_OPEN, Event.SEEN_PARTIAL, Event.SEEN_FILLED, Event.ACKED):
        with pytest.raises(IllegalTransition):
            story(Event.SENT, Event.NO_ANSWER, Event.PROVED_ABSENT, event)


def test_what_has_a_fill_is_never_proved_to_have_been_absent():
    assert advance(State.UNKNOWN, Event.PROVED_ABSENT, filled=D("0.1")) is State.CANCELLED
    assert advance(State.UNKNOWN, Event.PROVED_ABSENT) is State.REJECTED
    with pytest.raises(IllegalTransition):
        advance(State.PARTIALLY_FILLED, Event.PROVED_ABSENT)


def test_an_intent_that_was_never_sent_is_not_looked_for_at_the_venue():
    with pytest.raises(IllegalTransition):
        advance(State.INTENDED, Event.SEEN_OPEN)


@given(EVENTS)
def test_what_has_ended_stays_ended(events: list[Event]):
    state, ended = State.INTENDED, None
    for event in events:
        try:
            state = advance(state, event)
        except IllegalTransition:
            continue
        if ended is not None:
            assert state is ended
        if state in TERMINAL:
            ended = state


@given(EVENTS)
def test_no_order_is_ever_sent_twice(events: list[Event]):
    state, sent = State.INTENDED, 0
    for event in events:
        try:
            state = advance(state, event)
        except IllegalTransition:
            continue
        sent += event is Event.SENT
    assert sent <= 1


@given(EVENTS, st.lists(st.integers(0, 12), max_size=40))
def test_the_filled_quantity_never_shrinks_nor_passes_the_order(events: list[Event], told: list[int]):
    order = an_order(State.INTENDED, filled="0")
    quantity, filled, state = order.intent.quantity, Decimal(0), State.INTENDED
    for event, tenths in zip(events, told, strict=False):
        try:
            state = advance(state, event, filled=filled)
        except IllegalTransition:
            continue
        before, filled = filled, max(filled, min(quantity, quantity * tenths / 10))
        assert before <= filled <= quantity
        assert not (state is State.REJECTED and before > 0)


def test_every_state_that_a_venue_tells_has_its_event():
    assert set(SEEN) == {State.OPEN, State.PARTIALLY_FILLED, *TERMINAL}
    assert len(set(SEEN.values())) == len(SEEN)


def test_every_living_state_can_reach_an_end():
    for state in IN_FLIGHT - {State.INTENDED}:
        assert advance(state, Event.SEEN_CANCELLED) is State.CANCELLED


@pytest.mark.parametrize(
    "wrong",
    [
        {"quantity": D(0)},
        {"quantity": D("-0.01")},
        {"price": None},
        {"type": OrderType.MARKET},
        {"type": OrderType.MARKET, "price": None, "time_in_force": TimeInForce.POST_ONLY},
    ],
)
def test_an_intent_that_makes_no_sense_cannot_be_written(wrong: dict[str, object]):
    with pytest.raises(ValueError, match="order"):
        an_intent(**wrong)


def test_the_notional_of_a_market_order_is_valued_at_its_decision_price():
    market = an_intent(type=OrderType.MARKET, price=None, side=Side.SELL, decision_price=D(9_000_000))
    assert market.notional == D(90_000)
