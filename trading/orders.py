"""Orders: what we want (intent), what a venue has (venue order), and the table of what may follow what.

    INTENDED ─sent→ SENT ─acked→ OPEN ─fill→ PARTIALLY_FILLED ─fill→ FILLED
        │             ├─refused→ REJECTED          │
        │             └─no answer→ UNKNOWN         ├─cancel sent→ CANCEL_SENT ─→ CANCELLED
        └─abandoned→ REJECTED       └─ found by reading the venue, or proved absent

"Not heard" is a state: UNKNOWN is never treated as failed. It ends only by proof.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from trading.instruments import Side
from trading.money import ZERO


class OrderType(StrEnum):
    LIMIT = "limit"
    MARKET = "market"


class TimeInForce(StrEnum):
    GOOD_TILL_CANCELLED = "gtc"
    IMMEDIATE_OR_CANCEL = "ioc"
    POST_ONLY = "post_only"


class State(StrEnum):
    INTENDED = "intended"
    SENT = "sent"
    OPEN = "open"
    PARTIALLY_FILLED = "partially_filled"
    CANCEL_SENT = "cancel_sent"
    UNKNOWN = "unknown"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"


TERMINAL = frozenset({State.FILLED, State.CANCELLED, State.REJECTED, State.EXPIRED})
# What reconcile must look at: asked for, and not yet at its end.
IN_FLIGHT = frozenset(State) - TERMINAL


class Event(StrEnum):
    SENT = "sent"  # written just before the request leaves
    ABANDONED = "abandoned"  # intended, but never sent (the process ended, or a check refused)
    ACKED = "acked"  # the venue answered with its order id
    REFUSED = "refused"  # the venue answered no
    NO_ANSWER = "no_answer"  # outcome not known
    SEEN_OPEN = "seen_open"  # read at the venue: resting, nothing filled
    SEEN_PARTIAL = "seen_partial"  # read at the venue: resting, partly filled
    SEEN_FILLED = "seen_filled"
    SEEN_CANCELLED = "seen_cancelled"  # read at the venue: ended, perhaps with a partial fill
    SEEN_REJECTED = "seen_rejected"
    SEEN_EXPIRED = "seen_expired"
    CANCEL_SENT = "cancel_sent"
    PROVED_ABSENT = "proved_absent"  # the venue's own procedure proved that the order never came to be


@dataclass(frozen=True)
class OrderIntent:
    """What we want, before risk. Quantity in base; price in quote (None for a market order).

    `client_order_id` is 32 lower-case hex characters: valid at Bybit and OKJ, our own key at the others.
    `reason` is the strategy's sentence; `decision_price` the price on which the decision rested (quote).
    """

    client_order_id: str
    venue: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None
    time_in_force: TimeInForce
    decision_price: Decimal
    decided_at: datetime
    reason: str
    reduce_only: bool = False
    # The position (signed base) that this order works towards; a different one is a change of mind.
    target_quantity: Decimal | None = None

    def __post_init__(self) -> None:
        if self.quantity <= 0:
            raise ValueError(f"an order needs a positive quantity, was {self.quantity}")
        if (self.price is None) is not (self.type is OrderType.MARKET):
            raise ValueError(f"a {self.type} order {'needs a' if self.price is None else 'has no'} price")
        if self.type is OrderType.MARKET and self.time_in_force is TimeInForce.POST_ONLY:
            raise ValueError("a market order cannot be post-only")

    @property
    def notional(self) -> Decimal:
        """Price x quantity in quote; a market order is valued at its decision price."""
        return self.quantity * (self.price if self.price is not None else self.decision_price)


@dataclass(frozen=True)
class Fill:
    """One trade against our order.

    `price` quote per base, `quantity` base, `fee` positive when charged and negative when rebated, in
    `fee_currency`. `quote_quantity` is the quote leg as the venue books it (bitFlyer: whole yen, against the
    customer). `sequence`: the venue's own order of trades of one moment; what a position realises depends on it.
    """

    id: str
    venue_order_id: str
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    quote_quantity: Decimal
    fee: Decimal
    fee_currency: str
    at: datetime
    maker: bool | None = None
    sequence: int = 0

    @property
    def moment(self) -> tuple[datetime, int]:
        """Where it stands among the account's trades."""
        return self.at, self.sequence


@dataclass(frozen=True)
class VenueOrder:
    """An order as the venue tells it. `client_order_id` is None where the venue knows none (bitbank,
    bitFlyer)."""

    venue_order_id: str
    client_order_id: str | None
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None
    filled: Decimal
    average_price: Decimal | None
    state: State  # one of OPEN, PARTIALLY_FILLED, FILLED, CANCELLED, REJECTED, EXPIRED
    created_at: datetime

    @property
    def remaining(self) -> Decimal:
        """Base quantity that may still be filled."""
        return self.quantity - self.filled


@dataclass(frozen=True)
class Order:
    """An order as our ledger knows it: the intent and where it stands."""

    intent: OrderIntent
    account: str
    state: State
    venue_order_id: str | None
    filled: Decimal
    sent_at: datetime | None
    updated_at: datetime
    note: str = ""
    fills: tuple[Fill, ...] = field(default=())

    @property
    def remaining(self) -> Decimal:
        """Base quantity that may still be filled."""
        return self.intent.quantity - self.filled

    @property
    def is_finished(self) -> bool:
        return self.state in TERMINAL


SEEN: dict[State, Event] = {
    State.OPEN: Event.SEEN_OPEN,
    State.PARTIALLY_FILLED: Event.SEEN_PARTIAL,
    State.FILLED: Event.SEEN_FILLED,
    State.CANCELLED: Event.SEEN_CANCELLED,
    State.REJECTED: Event.SEEN_REJECTED,
    State.EXPIRED: Event.SEEN_EXPIRED,
}

_SEEN_ANY: dict[Event, State] = {
    Event.SEEN_OPEN: State.OPEN,
    Event.SEEN_PARTIAL: State.PARTIALLY_FILLED,
    Event.SEEN_FILLED: State.FILLED,
    Event.SEEN_CANCELLED: State.CANCELLED,
    Event.SEEN_REJECTED: State.REJECTED,
    Event.SEEN_EXPIRED: State.EXPIRED,
}

_LIVING = (State.SENT, State.UNKNOWN, State.OPEN, State.PARTIALLY_FILLED, State.CANCEL_SENT)

# Two processes may tell about one order (a trader and an emergency stop), so the same news may come twice and
# in any order. Only SENT has a single place in the table: that is what "never sent twice" rests on.
TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.INTENDED, Event.SENT): State.SENT,
    (State.INTENDED, Event.ABANDONED): State.REJECTED,
    (State.SENT, Event.ACKED): State.OPEN,
    (State.SENT, Event.REFUSED): State.REJECTED,
    (State.SENT, Event.NO_ANSWER): State.UNKNOWN,
    # Asking to cancel what has not been seen proves nothing about it: it still blocks its symbol.
    (State.SENT, Event.CANCEL_SENT): State.SENT,
    (State.UNKNOWN, Event.CANCEL_SENT): State.UNKNOWN,
    (State.UNKNOWN, Event.NO_ANSWER): State.UNKNOWN,
    (State.UNKNOWN, Event.ACKED): State.OPEN,  # a late answer is an answer
    # Accepted, but after long looking neither listed nor found: its fate is as open as that of a lost answer.
    (State.OPEN, Event.NO_ANSWER): State.UNKNOWN,
    (State.PARTIALLY_FILLED, Event.NO_ANSWER): State.UNKNOWN,
    (State.CANCEL_SENT, Event.NO_ANSWER): State.UNKNOWN,
    (State.UNKNOWN, Event.PROVED_ABSENT): State.REJECTED,
    (State.OPEN, Event.CANCEL_SENT): State.CANCEL_SENT,
    (State.PARTIALLY_FILLED, Event.CANCEL_SENT): State.CANCEL_SENT,
    (State.CANCEL_SENT, Event.CANCEL_SENT): State.CANCEL_SENT,  # a lost cancel is repeated
    # A cancelled order may still be seen resting: the cancel is under way, not refuted.
    (State.CANCEL_SENT, Event.SEEN_OPEN): State.CANCEL_SENT,
    (State.CANCEL_SENT, Event.SEEN_PARTIAL): State.CANCEL_SENT,
    # Lists lag: after a partial fill an older page may still show the order untouched.
    (State.PARTIALLY_FILLED, Event.SEEN_OPEN): State.PARTIALLY_FILLED,
    # An accepted order that its venue then swears never to have had (checked by the venue's own procedure).
    # Not from PARTIALLY_FILLED: what has a fill was there.
    (State.OPEN, Event.PROVED_ABSENT): State.CANCELLED,
    (State.CANCEL_SENT, Event.PROVED_ABSENT): State.CANCELLED,
    (State.REJECTED, Event.PROVED_ABSENT): State.REJECTED,
    (State.CANCELLED, Event.PROVED_ABSENT): State.CANCELLED,
}
for _state in _LIVING:
    for _event, _target in _SEEN_ANY.items():
        TRANSITIONS.setdefault((_state, _event), _target)
for _state in (State.OPEN, State.PARTIALLY_FILLED, State.CANCEL_SENT):
    # Another process saw the order at the venue before our own answer came: nothing new.
    TRANSITIONS[(_state, Event.ACKED)] = _state
for _state in (State.FILLED, State.CANCELLED, State.EXPIRED):
    # What has ended stays ended, however often and however late it is told again.
    for _event in (*_SEEN_ANY, Event.ACKED, Event.NO_ANSWER, Event.CANCEL_SENT):
        TRANSITIONS[(_state, _event)] = _state
# REJECTED means "never came to be". To see such an order alive or filled refutes that: no silent absorption
# here, the pair is illegal and a human is called. To hear again that it is gone changes nothing.
for _event in (
    Event.SEEN_CANCELLED,
    Event.SEEN_REJECTED,
    Event.SEEN_EXPIRED,
    Event.NO_ANSWER,
    Event.CANCEL_SENT,
):
    TRANSITIONS[(State.REJECTED, _event)] = State.REJECTED


class IllegalTransition(ValueError):
    """The event cannot follow the state: a defect of ours, or news from the venue that needs a human."""


def advance(state: State, event: Event, *, filled: Decimal = ZERO) -> State:
    """The state that follows; `filled` is the base quantity known to be filled.

    Raises IllegalTransition for a pair that is not in the table.
    """
    try:
        target = TRANSITIONS[(state, event)]
    except KeyError:
        raise IllegalTransition(f"{event} cannot follow {state}") from None
    if target is State.REJECTED and filled > 0:
        return State.CANCELLED  # what has a fill was there: it may have ended, it cannot never have been
    return target
