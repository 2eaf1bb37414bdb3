"""Look for orders whose fate is open: asked for and not answered, or accepted and nowhere to be seen.

One empty answer proves nothing: lists lag, records expire. An order is found, or it is looked for several
times until its venue can no longer bring it up late (`Desk.absence_after`); what then is missing everywhere
may be called absent, and only when the account's books agree (`execution/reconcile.py`). Until then it stays
unknown.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from exchanges.errors import Busy, NoAnswer, OrderNotFound
from execution.desk import Desk
from execution.follow import look, note_seen, with_its_fills
from trading.money import ZERO, plain
from trading.orders import Event, Order, State, VenueOrder
from trading.reconcile import Discrepancy

log = logging.getLogger(__name__)

_LOOKS_FOR_PROOF = 3
_MOST_LOOKS = 12
_LONGEST_GAP_SECONDS = 15.0


@dataclass(frozen=True)
class Sought:
    """What the search came to: orders found nowhere for long enough, and orders still open to
    question.
    """

    nowhere: tuple[Order, ...] = ()
    unknown: tuple[Order, ...] = ()
    discrepancies: tuple[Discrepancy, ...] = ()


@dataclass
class _Case:
    order: Order
    looks: int = 0
    looked_late: bool = False  # a look began when the venue could no longer bring the order up
    candidates: tuple[VenueOrder, ...] = ()
    resolved: Order | None = None

    @property
    def is_closed(self) -> bool:
        return self.resolved is not None or len(self.candidates) > 1


async def search(desk: Desk, orders: tuple[Order, ...]) -> Sought:
    """Look for the orders until each is found, or its patience (market seconds since it was sent) is over.

    Looks are `unknown_patience / 4` apart, 15 s at most. Costs per order and look 1 request where it has a
    venue id (2 when it is missing) and what the venue's `find_order` costs where it has none.
    """
    cases = [_Case(order) for order in orders]
    gap = min(_LONGEST_GAP_SECONDS, max(1.0, desk.settings.unknown_patience / 4))
    for _ in range(_MOST_LOOKS):
        for case in cases:
            if not case.is_closed:
                await _look_once(desk, case)
        waiting = [case for case in cases if not case.is_closed and not _has_looked_enough(desk, case)]
        if not waiting:
            break
        await desk.clock.sleep(gap)
    return _sum_up(desk, cases)


async def _look_once(desk: Desk, case: _Case) -> None:
    late = _may_be_proved(desk, case.order)
    try:
        if case.order.venue_order_id is not None:
            case.resolved = await _by_its_id(desk, case.order)
        else:
            case.resolved, case.candidates = await _by_its_looks(desk, case.order)
    except (NoAnswer, Busy, OrderNotFound) as error:  # the last: a fill is listed whose order cannot be read yet
        log.warning("%s: a look for order %s failed: %s", desk.account, case.order.intent.client_order_id, error)
        return
    case.looks += 1
    case.looked_late = case.looked_late or late


async def _by_its_id(desk: Desk, order: Order) -> Order | None:
    """The order as read by its venue id; else as its fills prove it (all of it filled); else None."""
    try:
        return await look(desk, order)
    except OrderNotFound:
        pass  # the record may have expired, or is not there yet: its fills may tell
    fills = await desk.exchange.fills(order.intent.symbol, venue_order_id=str(order.venue_order_id))
    desk.ledger.record_fills(order.account, fills, desk.clock.now())
    filled = sum((fill.quantity for fill in fills), ZERO)
    if filled < order.intent.quantity:
        return None
    return desk.ledger.record(
        order.account,
        order.intent.client_order_id,
        Event.SEEN_FILLED,
        desk.clock.now(),
        filled=filled,
        note="the venue has no record of the order left; its fills add up to all of it",
    )


async def _by_its_looks(desk: Desk, order: Order) -> tuple[Order | None, tuple[VenueOrder, ...]]:
    """The order if exactly one order at the venue can be it, and all that could be."""
    known = desk.ledger.known_ids(order.account, order.intent.client_order_id)
    candidates = await desk.exchange.find_order(order.intent, _sent_at(order), known)
    if len(candidates) != 1:
        return None, tuple(candidates)
    adopted = note_seen(desk, order, candidates[0], note="found at the venue after an unknown outcome")
    return await with_its_fills(desk, adopted), tuple(candidates)


def _has_looked_enough(desk: Desk, case: _Case) -> bool:
    if desk.clock.now() < _sent_at(case.order) + timedelta(seconds=desk.settings.unknown_patience):
        return False
    # Past patience one look a time will do, until the looks can prove something.
    return _is_proof(case) if _may_be_proved(desk, case.order) else case.looks >= 1


def _is_proof(case: _Case) -> bool:
    return case.looks >= _LOOKS_FOR_PROOF and case.looked_late


def _may_be_proved(desk: Desk, order: Order) -> bool:
    accepted = order.venue_order_id is not None
    return desk.clock.now() >= _sent_at(order) + desk.absence_after(accepted=accepted)


def _sum_up(desk: Desk, cases: list[_Case]) -> Sought:
    nowhere, unknown, discrepancies = [], [], []
    now = desk.clock.now()
    for case in cases:
        order = case.order
        if case.resolved is not None:
            continue
        if len(case.candidates) > 1:
            ids = ", ".join(candidate.venue_order_id for candidate in case.candidates)
            discrepancies.append(_discrepancy("several_candidates", order, "one order at the venue", ids))
            unknown.append(_as_unknown(desk, order))
        elif _is_proof(case):
            nowhere.append(order)
        else:
            told = f"{in_words(order)} not found in {case.looks} looks until {now:%Y-%m-%d %H:%M:%S} UTC"
            discrepancies.append(_discrepancy("unproved_order", order, "an outcome", told))
            unknown.append(_as_unknown(desk, order))
    return Sought(tuple(nowhere), tuple(unknown), tuple(discrepancies))


def conclude_absent(desk: Desk, order: Order) -> Order:
    """Record that the order is found nowhere and the books agree: it never was, or it ended without a
    further fill.

    No request. Only for what `search` returned as `nowhere`.
    """
    if order.venue_order_id is None:
        event, note = (
            Event.PROVED_ABSENT,
            "never arrived: found nowhere, and the account's books do not know it",
        )
    else:
        event = Event.SEEN_CANCELLED
        note = "ended: neither listed nor found any more, and the account's books show no further fill"
    order = desk.ledger.order(order.account, order.intent.client_order_id) or order  # with all its fills by now
    filled = sum((fill.quantity for fill in order.fills), ZERO)
    return desk.ledger.record(
        order.account,
        order.intent.client_order_id,
        event,
        desk.clock.now(),
        filled=max(filled, order.filled),
        note=note,
    )


def _as_unknown(desk: Desk, order: Order) -> Order:
    if order.state is State.UNKNOWN:
        return order
    return desk.ledger.record(
        order.account,
        order.intent.client_order_id,
        Event.NO_ANSWER,
        desk.clock.now(),
        note="accepted by the venue, but neither listed nor found",
    )


def in_words(order: Order) -> str:
    """What a person must look for on the venue's own page."""
    intent, sent_at = order.intent, _sent_at(order)
    price = "the market" if intent.price is None else plain(intent.price)
    number = f" as {order.venue_order_id}" if order.venue_order_id is not None else ""
    what = f"{intent.side} {plain(intent.quantity)} {intent.symbol} at {price}"
    return f"{what}, sent {sent_at:%Y-%m-%d %H:%M:%S} UTC{number},"


def _discrepancy(kind: str, order: Order, expected: str, found: str) -> Discrepancy:
    return Discrepancy(kind=kind, subject=order.intent.client_order_id, expected=expected, found=found)


def _sent_at(order: Order) -> datetime:
    return order.sent_at or order.intent.decided_at
