"""What befalls orders and lists: through each venue's own wire, while the true books stay right."""

from decimal import Decimal as D

import pytest

from simvenue.order_faults import NOT_APPLICABLE
from tests.simvenue.four_by_hand import Hand

CANCELLED = {"bitbank": "CANCELED_UNFILLED", "bitflyer": "CANCELED", "bybit": "Cancelled", "okcoinjp": "canceled"}
EXPIRED = CANCELLED | {"bitflyer": "EXPIRED"}
REJECTED = {"bitbank": "REJECTED", "bitflyer": "REJECTED", "bybit": "Rejected"}
RESTING = {"bitbank": "UNFILLED", "bitflyer": "ACTIVE", "bybit": "New", "okcoinjp": "live"}
PARTLY = {
    "bitbank": "PARTIALLY_FILLED",
    "bitflyer": "ACTIVE",
    "bybit": "PartiallyFilled",
    "okcoinjp": "partially_filled",
}
FILLED = {"bitbank": "FULLY_FILLED", "bitflyer": "COMPLETED", "bybit": "Filled", "okcoinjp": "filled"}
GONE_AT_CANCEL = {"bitbank": "50009", "bitflyer": "-111", "bybit": "170213", "okcoinjp": "51400"}
FILLED_AT_CANCEL = {"bitbank": "50027", "bitflyer": "", "bybit": "170213", "okcoinjp": "51400"}
TOO_FAR = {"bitbank": "60006", "bitflyer": "-106", "bybit": "170133", "okcoinjp": "51006"}
RAISED = {"bitbank": "70010", "bitflyer": "-110", "bybit": "170136", "okcoinjp": "51020"}
SMALLEST = {"bitbank": "0.0001", "bitflyer": "0.001", "bybit": "0.0001", "okcoinjp": "0.001"}


def name_of(hand: Hand) -> str:
    return hand.venue.spec.name


def true_state(hand: Hand, order_id: str) -> str:
    return str(hand.running.true_order(order_id)["status"])


async def test_an_order_that_is_seen_late_is_in_no_list_and_no_lookup_but_in_the_book(hand: Hand) -> None:
    hand.venue.faults.set("late_visibility", "8", times=1)
    late = await hand.taken()
    soon = await hand.taken()
    assert await hand.open() == [soon]
    assert await hand.look(late) == ""
    assert true_state(hand, late) == "open"
    hand.running.advance(8_000)
    assert await hand.look(late) == RESTING[name_of(hand)]
    assert set(await hand.open()) == {late, soon}


async def test_the_fills_of_an_order_that_is_seen_late_are_not_listed_either(hand: Hand) -> None:
    hand.venue.faults.set("late_visibility")
    late = await hand.taken(share="1.01")
    assert true_state(hand, late) == "filled"
    assert late not in {row.order_id for row in await hand.fills()}
    hand.running.advance(10_000)
    assert late in {row.order_id for row in await hand.fills()}


async def test_an_order_that_is_seen_late_can_be_cancelled_meanwhile(hand: Hand) -> None:
    hand.venue.faults.set("late_visibility")
    late = await hand.taken()
    assert await hand.cancel(late) == ""
    assert true_state(hand, late) == "cancelled"


async def test_lists_that_lag_show_ended_orders_as_open_and_new_ones_not_yet(hand: Hand) -> None:
    before = await hand.taken()
    hand.running.advance(6_000)
    hand.venue.faults.set("list_lag")
    after, bought = await hand.taken(), await hand.taken(share="1.01")
    assert await hand.cancel(before) == ""
    assert await hand.open() == [before]
    assert bought not in {row.order_id for row in await hand.fills()}
    assert await hand.look(before) == CANCELLED[name_of(hand)]
    assert await hand.look(after) == RESTING[name_of(hand)]
    hand.running.advance(5_000)
    assert await hand.open() == [after]
    assert bought in {row.order_id for row in await hand.fills()}


async def test_one_list_alone_can_lag(hand: Hand) -> None:
    hand.running.advance(6_000)
    hand.venue.faults.set("list_lag", match="open_orders")
    await hand.taken()
    bought = await hand.taken(share="1.01")
    assert await hand.open() == []
    assert bought in {row.order_id for row in await hand.fills()}
    with pytest.raises(ValueError, match="the match of list_lag is open_orders or order_history or fills"):
        hand.venue.faults.set("list_lag", match="place")


async def test_after_clearing_the_lists_are_current_again(hand: Hand) -> None:
    hand.venue.faults.set("list_lag", "3600")
    order = await hand.taken()
    assert await hand.open() == []
    hand.venue.faults.clear("list_lag")
    assert await hand.open() == [order]


async def test_fills_that_are_listed_twice_have_one_id_and_happened_once(hand: Hand) -> None:
    order = await hand.taken(share="1.01")
    honest = await hand.fills()
    hand.venue.faults.set("duplicate_fill")
    rows = await hand.fills()
    assert sorted(rows) == sorted(honest * 2)
    assert D(hand.running.true_order(order)["filled"]) == D(hand.size)
    hand.venue.faults.clear()
    assert await hand.fills() == honest


async def test_fills_out_of_order_are_the_same_fills_in_another_order_with_earlier_times(hand: Hand) -> None:
    for _ in range(3):
        await hand.taken(share="1.01")
    honest = await hand.fills()
    hand.venue.faults.set("out_of_order_fills")
    rows = await hand.fills()
    assert [row.id for row in rows] != [row.id for row in honest]
    assert sorted((row.id, row.quantity) for row in rows) == sorted((row.id, row.quantity) for row in honest)
    times = {row.id: row.at for row in honest}
    assert all(row.at <= times[row.id] for row in rows)
    assert any(row.at < times[row.id] for row in rows)


async def test_of_an_order_only_a_share_is_filled_and_the_rest_stays(hand: Hand) -> None:
    hand.venue.faults.set("partial_fill", "0.3", times=1)
    order = await hand.taken(share="1.01")
    assert D(hand.running.true_order(order)["filled"]) == D(hand.size) * D("0.3")
    assert await hand.look(order) == PARTLY[name_of(hand)]
    hand.running.advance(60_000)
    assert true_state(hand, order) == "partially_filled"
    assert await hand.cancel(order) == ""
    whole = await hand.taken(share="1.01")
    assert true_state(hand, whole) == "filled"


async def test_a_partial_fill_can_be_below_the_smallest_order(hand: Hand) -> None:
    hand.venue.faults.set("partial_fill", "0.00001")
    order = await hand.taken(share="1.01")
    pair = hand.venue.market(hand.symbol).pair
    filled = D(hand.running.true_order(order)["filled"])
    assert pair.lot <= filled <= pair.min_quantity
    placed = await hand.place("buy", None)
    assert D(hand.running.true_order(placed.id)["filled"]) == filled  # a market order takes no more, and ends
    assert true_state(hand, placed.id) == "cancelled"


async def test_an_order_filled_while_it_is_cancelled_is_answered_in_the_venues_words(hand: Hand) -> None:
    hand.venue.faults.set("fill_during_cancel", times=1)
    order, other = await hand.taken(), await hand.taken()
    assert await hand.cancel(order) == FILLED_AT_CANCEL[name_of(hand)]
    assert await hand.look(order) == FILLED[name_of(hand)]
    assert await hand.cancel(other) == ""
    assert true_state(hand, other) == "cancelled"


async def test_of_an_order_partly_filled_while_it_is_cancelled_the_rest_is_cancelled(hand: Hand) -> None:
    hand.venue.faults.set("fill_during_cancel", "0.25")
    order = await hand.taken()
    assert await hand.cancel(order) == ""
    row = hand.running.true_order(order)
    assert (row["status"], D(row["filled"])) == ("cancelled", D(hand.size) / 4)


async def test_a_post_only_order_that_finds_the_market_there_is_accepted_then_cancelled(hand: Hand) -> None:
    if ("post_only_cross", name_of(hand)) in NOT_APPLICABLE:
        pytest.skip(NOT_APPLICABLE["post_only_cross", name_of(hand)])
    hand.venue.faults.set("post_only_cross", times=1)
    plain, crossed = await hand.taken(), await hand.taken(post_only=True)
    assert await hand.look(plain) == RESTING[name_of(hand)]
    assert await hand.look(crossed) == CANCELLED[name_of(hand)]
    assert await hand.look(await hand.taken(post_only=True)) == RESTING[name_of(hand)]


async def test_an_order_is_rejected_after_it_was_accepted(hand: Hand) -> None:
    if ("late_rejection", name_of(hand)) in NOT_APPLICABLE:
        pytest.skip(NOT_APPLICABLE["late_rejection", name_of(hand)])
    hand.venue.faults.set("late_rejection", times=1)
    shown = await hand.taken(share="1.01")
    hand.venue.faults.set("late_rejection", "unlisted", times=1)
    unlisted = await hand.taken(share="1.01")
    assert await hand.look(shown) == REJECTED[name_of(hand)]
    assert await hand.look(unlisted) == ""
    assert {true_state(hand, order) for order in (shown, unlisted)} == {"rejected"}
    assert {shown, unlisted}.isdisjoint(row.order_id for row in await hand.fills())


async def test_an_order_that_ended_without_a_fill_is_found_nowhere(hand: Hand) -> None:
    hand.venue.faults.set("order_vanishes", "2")
    order, bought = await hand.taken(), await hand.taken(share="1.01")
    assert await hand.cancel(order) == ""
    assert await hand.look(order) == CANCELLED[name_of(hand)]
    hand.running.advance(2_000)
    assert await hand.look(order) == ""
    assert await hand.cancel(order) == GONE_AT_CANCEL[name_of(hand)]
    assert await hand.look(bought) == FILLED[name_of(hand)]
    assert true_state(hand, order) == "cancelled"


async def test_a_resting_order_ends_by_itself(hand: Hand) -> None:
    hand.venue.faults.set("self_expiry", times=1)
    short, long = await hand.taken(), await hand.taken()
    hand.running.advance(4_999)
    assert set(await hand.open()) == {short, long}
    hand.running.advance(1)
    assert await hand.open() == [long]
    assert await hand.look(short) == EXPIRED[name_of(hand)]


async def test_the_smallest_order_is_raised_and_what_is_below_refused_with_the_venues_code(hand: Hand) -> None:
    small = SMALLEST[name_of(hand)]
    price = hand.at("0.95")
    assert (await hand.place("buy", price, small)).id
    hand.venue.faults.set("min_size_raised")
    assert (await hand.place("buy", price, small)).code == RAISED[name_of(hand)]
    assert (await hand.place("buy", price, str(D(small) * 10))).id
    hand.venue.faults.clear()
    assert (await hand.place("buy", price, small)).id


async def test_a_price_far_from_the_market_is_refused_with_the_venues_code(hand: Hand) -> None:
    hand.venue.faults.set("price_band")
    assert (await hand.place("buy", hand.at("0.98"))).code == TOO_FAR[name_of(hand)]
    assert (await hand.place("buy", hand.at("0.995"))).id
    hand.venue.faults.clear()
    assert (await hand.place("buy", hand.at("0.98"))).id


def test_every_pair_of_fault_and_venue_that_does_not_apply_names_both_as_they_are_known(hand: Hand) -> None:
    known = {"bitbank", "bitflyer", "bybit", "okcoinjp"}
    for fault, exchange in NOT_APPLICABLE:
        assert exchange in known
        hand.venue.faults.set(fault)


@pytest.mark.parametrize(
    ("name", "value"),
    [("list_lag", "soon"), ("partial_fill", "1.5"), ("late_rejection", "never"), ("candle_gap", "0.5")],
)
def test_a_value_that_a_fault_cannot_have_is_refused_in_one_sentence(hand: Hand, name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"the value of {name} is "):
        hand.venue.faults.set(name, value)
    assert hand.venue.faults.active(name) is None
