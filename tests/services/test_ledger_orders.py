from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from services.ledger import Lease, LeaseLost, Ledger, LedgerConflict
from tests.services.samples import ACCOUNT, NOW, SYMBOL, client_id, fill, intent, resting, write
from trading.instruments import Side
from trading.orders import Event, IllegalTransition, OrderType, State, TimeInForce

JST = timezone(timedelta(hours=9))


def test_an_intent_is_there_for_another_process_as_soon_as_it_is_written(
    ledger: Ledger, lease: Lease, ledger_url: str
) -> None:
    write(ledger, lease, intent())
    other = Ledger(ledger_url)
    found = other.order(ACCOUNT, client_id(1))
    other.close()
    assert found is not None
    assert (found.state, found.intent, found.venue_order_id, found.filled) == (
        State.INTENDED,
        intent(),
        None,
        Decimal(0),
    )


def test_a_market_order_and_a_perpetuals_closing_order_come_back_as_they_were_intended(
    ledger: Ledger, lease: Lease
) -> None:
    wanted = intent(
        2,
        type=OrderType.MARKET,
        price=None,
        side=Side.SELL,
        time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL,
        reduce_only=True,
        target_quantity=None,
        symbol="BTC/USDT:USDT",
    )
    write(ledger, lease, wanted)
    found = ledger.order(ACCOUNT, client_id(2))
    assert found is not None
    assert found.intent == wanted


def test_an_amount_keeps_every_digit(ledger: Ledger, lease: Lease) -> None:
    exact = Decimal("0.123456789012345678901234567")
    write(ledger, lease, intent(quantity=exact, price=Decimal("1E-8")))
    found = ledger.order(ACCOUNT, client_id(1))
    assert found is not None
    assert (found.intent.quantity, found.intent.price) == (exact, Decimal("0.00000001"))


def test_a_time_of_another_zone_is_the_same_moment_in_utc(ledger: Ledger, lease: Lease) -> None:
    write(ledger, lease, intent(decided_at=NOW.astimezone(JST)))
    found = ledger.order(ACCOUNT, client_id(1))
    assert found is not None
    assert found.intent.decided_at == NOW
    assert found.intent.decided_at.utcoffset() == timedelta(0)


def test_a_naive_time_is_refused_and_nothing_is_written(ledger: Ledger, lease: Lease) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - the point
    with pytest.raises(ValueError, match="aware"):
        write(ledger, lease, intent(decided_at=naive))
    assert ledger.order(ACCOUNT, client_id(1)) is None


def test_a_client_order_id_is_used_once_per_account(ledger: Ledger, lease: Lease) -> None:
    write(ledger, lease, intent())
    with pytest.raises(LedgerConflict, match=f"bitbank has used the client order id {client_id(1)}"):
        write(ledger, lease, intent(quantity=Decimal(1)))
    paper = ledger.take_lease("bitbank:paper", "host:1", NOW, 60)
    write(ledger, paper, intent())
    assert len(ledger.orders()) == 2


def test_the_sender_of_a_lost_lease_writes_no_intent(ledger: Ledger, lease: Lease) -> None:
    later = NOW + timedelta(seconds=61)
    ledger.take_lease(ACCOUNT, "host:2", later, 60)
    with pytest.raises(LeaseLost, match="no longer held by host:1 but by host:2"):
        write(ledger, lease, intent())
    assert ledger.orders() == ()


def test_an_order_moves_along_the_state_table_to_its_end(ledger: Ledger, lease: Lease) -> None:
    wanted = resting(ledger, lease)
    partly = ledger.record(ACCOUNT, wanted.client_order_id, Event.SEEN_PARTIAL, NOW, filled=Decimal("0.01"))
    assert (partly.state, partly.filled, partly.remaining) == (
        State.PARTIALLY_FILLED,
        Decimal("0.01"),
        Decimal("0.02"),
    )
    done = ledger.record(
        ACCOUNT,
        wanted.client_order_id,
        Event.SEEN_FILLED,
        NOW + timedelta(seconds=1),
        filled=Decimal("0.03"),
    )
    assert done.is_finished
    assert done == ledger.order(ACCOUNT, wanted.client_order_id)
    assert done.sent_at == NOW
    assert done.updated_at == NOW + timedelta(seconds=1)


def test_an_event_that_cannot_follow_leaves_the_order_where_it_was(ledger: Ledger, lease: Lease) -> None:
    write(ledger, lease, intent())
    with pytest.raises(IllegalTransition):
        ledger.record(ACCOUNT, client_id(1), Event.ACKED, NOW, venue_order_id="v1")
    found = ledger.order(ACCOUNT, client_id(1))
    assert found is not None
    assert (found.state, found.venue_order_id) == (State.INTENDED, None)
    assert ledger.verify_chain() is None


def test_what_was_filled_never_becomes_less(ledger: Ledger, lease: Lease) -> None:
    wanted = resting(ledger, lease)
    ledger.record(ACCOUNT, wanted.client_order_id, Event.SEEN_PARTIAL, NOW, filled=Decimal("0.02"))
    late = ledger.record(ACCOUNT, wanted.client_order_id, Event.SEEN_PARTIAL, NOW, filled=Decimal("0.01"))
    assert late.filled == Decimal("0.02")


def test_a_fill_during_the_cancel_is_told_to_a_cancelled_order(ledger: Ledger, lease: Lease) -> None:
    wanted = resting(ledger, lease)
    ledger.record(ACCOUNT, wanted.client_order_id, Event.CANCEL_SENT, NOW)
    ledger.record(ACCOUNT, wanted.client_order_id, Event.SEEN_CANCELLED, NOW)
    ended = ledger.record(ACCOUNT, wanted.client_order_id, Event.SEEN_CANCELLED, NOW, filled=Decimal("0.01"))
    assert (ended.state, ended.filled) == (State.CANCELLED, Decimal("0.01"))


def test_more_filled_than_was_asked_is_refused(ledger: Ledger, lease: Lease) -> None:
    wanted = resting(ledger, lease)
    with pytest.raises(LedgerConflict, match=r"0\.04 filled of 0\.03"):
        ledger.record(ACCOUNT, wanted.client_order_id, Event.SEEN_FILLED, NOW, filled=Decimal("0.04"))


def test_an_order_never_changes_its_id_at_the_venue(ledger: Ledger, lease: Lease) -> None:
    wanted = resting(ledger, lease)
    with pytest.raises(LedgerConflict, match="is v1 at the venue, not v2"):
        ledger.record(ACCOUNT, wanted.client_order_id, Event.SEEN_OPEN, NOW, venue_order_id="v2")


def test_two_of_our_orders_never_claim_the_same_order_at_the_venue(ledger: Ledger, lease: Lease) -> None:
    resting(ledger, lease, 1)
    write(ledger, lease, intent(2))
    ledger.record(ACCOUNT, client_id(2), Event.SENT, NOW)
    with pytest.raises(LedgerConflict):
        ledger.record(ACCOUNT, client_id(2), Event.ACKED, NOW, venue_order_id="v1")
    unchanged = ledger.order(ACCOUNT, client_id(2))
    assert unchanged is not None
    assert unchanged.state is State.SENT


def test_a_sighting_that_changes_nothing_is_not_stored(ledger: Ledger, lease: Lease) -> None:
    wanted = resting(ledger, lease)
    before = ledger.record(ACCOUNT, wanted.client_order_id, Event.SEEN_OPEN, NOW)
    later = NOW + timedelta(minutes=5)
    assert ledger.record(ACCOUNT, wanted.client_order_id, Event.SEEN_OPEN, later) == before


def test_an_event_for_an_order_that_was_never_intended_is_refused(ledger: Ledger) -> None:
    with pytest.raises(LedgerConflict, match="bitbank has no order"):
        ledger.record(ACCOUNT, client_id(9), Event.SENT, NOW)


def test_in_flight_are_the_orders_that_have_not_ended(ledger: Ledger, lease: Lease) -> None:
    resting(ledger, lease, 1)
    resting(ledger, lease, 2)
    write(ledger, lease, intent(3, symbol="ETH/JPY"))
    ledger.record(ACCOUNT, client_id(1), Event.SEEN_CANCELLED, NOW)
    assert [order.intent.client_order_id for order in ledger.in_flight(ACCOUNT)] == [
        client_id(2),
        client_id(3),
    ]
    assert [order.state for order in ledger.in_flight(ACCOUNT, "ETH/JPY")] == [State.INTENDED]
    assert ledger.in_flight("bybit") == ()


def test_an_unknown_order_stays_in_flight(ledger: Ledger, lease: Lease) -> None:
    write(ledger, lease, intent())
    ledger.record(ACCOUNT, client_id(1), Event.SENT, NOW)
    unknown = ledger.record(ACCOUNT, client_id(1), Event.NO_ANSWER, NOW, note="timed out after 10 s")
    assert ledger.in_flight(ACCOUNT) == (unknown,)
    assert unknown.note == "timed out after 10 s"


def test_a_fill_is_stored_once_however_often_it_is_told(ledger: Ledger) -> None:
    assert ledger.record_fills(ACCOUNT, [fill(1), fill(1), fill(2)], NOW) == (fill(1), fill(2))
    assert ledger.record_fills(ACCOUNT, [fill(2), fill(3)], NOW) == (fill(3),)
    assert ledger.fills(ACCOUNT) == (fill(1), fill(2), fill(3))


def test_the_same_fill_id_at_another_symbol_is_another_fill(ledger: Ledger) -> None:
    other = replace(fill(1), symbol="ETH/JPY")
    assert ledger.record_fills(ACCOUNT, [fill(1), other], NOW) == (fill(1), other)
    assert ledger.fills(ACCOUNT, "ETH/JPY") == (other,)


def test_a_fill_finds_its_order_also_when_it_was_heard_of_first(ledger: Ledger, lease: Lease) -> None:
    write(ledger, lease, intent())
    ledger.record(ACCOUNT, client_id(1), Event.SENT, NOW)
    ledger.record_fills(ACCOUNT, [fill(1)], NOW)
    told = ledger.record(ACCOUNT, client_id(1), Event.ACKED, NOW, venue_order_id="v1")
    assert told.fills == (fill(1),)
    assert ledger.orders(ACCOUNT)[0].fills == (fill(1),)


def test_fills_are_listed_oldest_first_and_since_a_time(ledger: Ledger) -> None:
    early = fill(2, at=NOW - timedelta(minutes=1))
    ledger.record_fills(ACCOUNT, [fill(1), early], NOW)
    assert ledger.fills(ACCOUNT) == (early, fill(1))
    assert ledger.fills(ACCOUNT, since=NOW) == (fill(1),)
    assert ledger.fills(ACCOUNT, limit=1) == (early,)


def test_orders_are_listed_newest_first_since_a_time_and_counted(ledger: Ledger, lease: Lease) -> None:
    write(ledger, lease, intent(1))
    later = NOW + timedelta(minutes=1)
    ledger.write_intent(
        intent(2, reduce_only=True), lease, rung="emergency_stop", cycle_id=None, known_ids=frozenset(), now=later
    )
    assert [order.intent.client_order_id for order in ledger.orders(ACCOUNT, SYMBOL)] == [
        client_id(2),
        client_id(1),
    ]
    assert [order.intent.client_order_id for order in ledger.orders(since=later)] == [client_id(2)]
    assert len(ledger.orders(limit=1)) == 1
    assert (ledger.count_orders(ACCOUNT, since=NOW), ledger.count_orders(ACCOUNT, since=later)) == (2, 1)
    assert ledger.rung_of_order(ACCOUNT, client_id(2)) == "emergency_stop"


def test_known_ids_are_the_baseline_and_our_other_orders_but_not_the_order_itself(ledger: Ledger, lease: Lease) -> None:
    resting(ledger, lease, 1)
    write(ledger, lease, intent(2), frozenset({"theirs"}))
    ledger.record(ACCOUNT, client_id(2), Event.SENT, NOW)
    ledger.record(ACCOUNT, client_id(2), Event.ACKED, NOW, venue_order_id="v2")
    assert ledger.known_ids(ACCOUNT, client_id(2)) == frozenset({"theirs", "v1"})


def test_an_order_is_found_by_the_venues_id(ledger: Ledger, lease: Lease) -> None:
    wanted = resting(ledger, lease)
    found = ledger.order_by_venue_id(ACCOUNT, "v1")
    assert found is not None
    assert found.intent == wanted
    assert ledger.order_by_venue_id("bybit", "v1") is None
