"""The order table under any news in any order, from two tellers: what it promises holds for every sequence.

The one bound that the table itself cannot keep, filled never above quantity, is kept by the ledger beside it, and is
searched in tests/simulation.
"""

from collections import deque
from decimal import Decimal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trading.orders import IN_FLIGHT, TERMINAL, TRANSITIONS, Event, IllegalTransition, State, advance

QUANTITY = 10
SIGHTINGS = {
    Event.SEEN_OPEN,
    Event.SEEN_PARTIAL,
    Event.SEEN_FILLED,
    Event.SEEN_CANCELLED,
    Event.SEEN_REJECTED,
    Event.SEEN_EXPIRED,
}
PROOFS = {*SIGHTINGS, Event.PROVED_ABSENT, Event.ACKED}
OF_FILLS = {Event.SEEN_PARTIAL, Event.SEEN_FILLED}


class OrderTable(RuleBasedStateMachine):
    """A trader and an emergency stop tell what they asked and saw: twice, late, in any order, or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State.INTENDED
        self.filled = 0
        self.sent = 0
        self.ended: State | None = None

    @rule(event=st.sampled_from(list(Event)), filled=st.integers(0, QUANTITY))
    def news(self, event: Event, filled: int) -> None:
        known = max(self.filled, filled if event in SIGHTINGS else 0)
        try:
            after = advance(self.state, event, filled=Decimal(known))
        except IllegalTransition:
            # Nothing moves. What refutes a rejection must end here, and calls a human.
            return
        assert not (self.state is State.REJECTED and event in {*OF_FILLS, Event.SEEN_OPEN})
        if event is Event.SENT:
            self.sent += 1
        self.filled = known
        self.state = after
        if after in TERMINAL and self.ended is None:
            self.ended = after

    @invariant()
    def it_is_sent_once_at_most(self) -> None:
        assert self.sent <= 1

    @invariant()
    def what_has_ended_never_comes_back_to_life(self) -> None:
        assert self.ended is None or self.state in TERMINAL

    @invariant()
    def it_does_not_end_twice_differently_except_that_fills_unmake_a_rejection(self) -> None:
        if self.ended is not None and self.state is not self.ended:
            assert (self.ended, self.state) == (State.REJECTED, State.CANCELLED)
            assert self.filled > 0

    @invariant()
    def what_has_a_fill_was_never_rejected(self) -> None:
        # REJECTED says "never came to be"; it may only have been said before the fill was known, and then it is illegal
        # to hear of the fill (see `news`).
        assert not (self.state is State.REJECTED and self.filled > 0)


TestOrderTable = OrderTable.TestCase
TestOrderTable.settings = settings(max_examples=400, stateful_step_count=30)


def reachable() -> set[State]:
    found, todo = {State.INTENDED}, deque([State.INTENDED])
    while todo:
        state = todo.popleft()
        for (before, _), after in TRANSITIONS.items():
            if before is state and after not in found:
                found.add(after)
                todo.append(after)
    return found


@pytest.mark.parametrize("state", sorted(IN_FLIGHT & reachable() - {State.INTENDED}))
@pytest.mark.parametrize("ending", [Event.SEEN_FILLED, Event.SEEN_CANCELLED, Event.SEEN_EXPIRED])
def test_whatever_is_in_flight_ends_by_what_is_read_at_the_venue(state: State, ending: Event) -> None:
    assert advance(state, ending) in TERMINAL


def test_what_is_unknown_ends_by_each_proof_and_by_nothing_else() -> None:
    ends = {
        event
        for event in Event
        if (State.UNKNOWN, event) in TRANSITIONS and event not in (Event.NO_ANSWER, Event.CANCEL_SENT)
    }
    assert ends == PROOFS
    assert all(TRANSITIONS[State.UNKNOWN, event] is not State.UNKNOWN for event in ends)
    assert TRANSITIONS[State.UNKNOWN, Event.NO_ANSWER] is State.UNKNOWN
    assert TRANSITIONS[State.UNKNOWN, Event.CANCEL_SENT] is State.UNKNOWN


def test_every_state_can_be_reached() -> None:
    assert reachable() == set(State)
