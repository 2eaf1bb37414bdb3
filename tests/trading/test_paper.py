from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.examples import BITBANK, BITFLYER, NOON, D, a_book, an_intent
from trading.instruments import Side
from trading.market import Candle
from trading.orders import OrderIntent, OrderType, State, TimeInForce
from trading.paper import PaperOutcome, rest_in_book, rest_in_candle, take

IOC = TimeInForce.IMMEDIATE_OR_CANCEL


def taken(intent: OrderIntent, **book: tuple[tuple[str, str], ...]) -> PaperOutcome:
    return take(intent, a_book(**book), BITBANK, NOON, venue_order_id="p1")


def candle(low: str, high: str, volume: str = "1") -> Candle:
    return Candle(NOON, D(low), D(high), D(low), D(high), D(volume))


def test_a_taker_walks_the_book_up_to_its_limit():
    outcome = taken(an_intent(quantity=D("0.05"), price=D(10_002_000)))
    assert [(fill.price, fill.quantity) for fill in outcome.fills] == [
        (D(10_001_000), D("0.02")),
        (D(10_002_000), D("0.03")),
    ]
    assert outcome.state is State.FILLED


def test_what_the_limit_does_not_reach_rests_or_is_cancelled():
    assert taken(an_intent(quantity=D("0.05"))).state is State.PARTIALLY_FILLED
    assert taken(an_intent(quantity=D("0.05"), time_in_force=IOC)).state is State.CANCELLED
    assert taken(an_intent(price=D(9_000_000))) == PaperOutcome((), State.OPEN)
    assert taken(an_intent(price=D(9_000_000), time_in_force=IOC)) == PaperOutcome((), State.CANCELLED)


def test_a_market_order_takes_any_price_and_never_rests():
    market = an_intent(type=OrderType.MARKET, price=None, quantity=D(1))
    outcome = taken(market)
    assert sum(fill.quantity for fill in outcome.fills) == D("0.07")
    assert outcome.state is State.CANCELLED
    assert taken(replace(market, quantity=D("0.07"))).state is State.FILLED


def test_a_post_only_order_that_would_cross_is_cancelled_untouched():
    post_only = an_intent(time_in_force=TimeInForce.POST_ONLY)
    assert taken(post_only) == PaperOutcome((), State.CANCELLED)
    assert taken(replace(post_only, price=D(10_000_999))) == PaperOutcome((), State.OPEN)


def test_a_sale_walks_the_bids():
    outcome = taken(an_intent(side=Side.SELL, quantity=D("0.03"), price=D(9_998_000)))
    assert [fill.price for fill in outcome.fills] == [D(9_999_000), D(9_998_000)]


def test_the_fee_is_taken_in_the_venues_currency_and_rounded_up():
    (fill,) = taken(an_intent()).fills
    assert (fill.fee, fill.fee_currency, fill.maker) == (D("120.012"), "JPY", False)
    small = an_intent(quantity=D("0.00123457"))
    (fill,) = take(small, a_book(), BITFLYER, NOON, venue_order_id="p1").fills
    assert (fill.fee, fill.fee_currency) == (D("0.00000186"), "BTC")
    assert fill.quote_quantity == D(12_347)  # 12,346.93457 yen, booked up


def test_a_resting_order_is_filled_as_maker_at_its_own_price():
    resting = an_intent(price=D(10_001_500))
    outcome = rest_in_book(resting, D("0.004"), a_book(), BITBANK, NOON, venue_order_id="p1")
    (fill,) = outcome.fills
    assert (fill.price, fill.quantity, fill.maker) == (D(10_001_500), D("0.006"), True)
    assert fill.fee < 0
    assert outcome.state is State.FILLED


def test_a_later_book_fills_no_more_than_it_shows():
    resting = an_intent(price=D(10_001_500), quantity=D("0.05"))
    outcome = rest_in_book(resting, D(0), a_book(), BITBANK, NOON, venue_order_id="p1")
    assert (outcome.fills[0].quantity, outcome.state) == (D("0.02"), State.PARTIALLY_FILLED)
    away = replace(resting, price=D(9_000_000))
    assert rest_in_book(away, D(0), a_book(), BITBANK, NOON, venue_order_id="p1").state is State.OPEN


def test_a_candle_must_go_through_the_price_touching_is_not_enough():
    resting = an_intent(price=D(9_000_000))

    def seen(low: str, volume: str = "1") -> PaperOutcome:
        return rest_in_candle(resting, D(0), candle(low, "9500000", volume), BITBANK, NOON, venue_order_id="p1")

    assert seen("9000000") == PaperOutcome((), State.OPEN)
    assert seen("8999999").state is State.FILLED
    assert seen("8999999", "0.00405").fills[0].quantity == D("0.004")
    assert seen("8999999", "0") == PaperOutcome((), State.OPEN)


def test_a_resting_sale_waits_for_a_higher_price():
    resting = an_intent(side=Side.SELL, price=D(11_000_000))
    touched, through = candle("10000000", "11000000"), candle("10000000", "11000001")
    assert rest_in_candle(resting, D(0), touched, BITBANK, NOON, venue_order_id="p1").state is State.OPEN
    assert rest_in_candle(resting, D(0), through, BITBANK, NOON, venue_order_id="p1").state is State.FILLED


def test_a_market_order_cannot_rest():
    market = an_intent(type=OrderType.MARKET, price=None)
    with pytest.raises(ValueError, match="does not rest"):
        rest_in_candle(market, D(0), candle("1", "2"), BITBANK, NOON, venue_order_id="p1")


def test_every_fill_of_an_order_has_its_own_id():
    resting = an_intent(quantity=D("0.05"))
    ids = [fill.id for fill in taken(resting).fills]
    for filled in (D("0.02"), D("0.03")):
        ids += [f.id for f in rest_in_book(resting, filled, a_book(), BITBANK, NOON, venue_order_id="p1").fills]
    assert len(ids) == len(set(ids)) == 3


@given(
    st.integers(1, 2000),
    st.integers(9_990_000, 10_010_000),
    st.sampled_from(Side),
    st.sampled_from(TimeInForce),
)
def test_paper_never_fills_more_than_was_ordered_nor_at_a_worse_price(
    lots: int, price: int, side: Side, time_in_force: TimeInForce
):
    intent = an_intent(quantity=D(lots) / 10_000, price=D(price), side=side, time_in_force=time_in_force)
    outcome = taken(intent)
    filled = sum((fill.quantity for fill in outcome.fills), Decimal(0))
    assert filled <= intent.quantity
    assert all((fill.price - price) * side.sign <= 0 for fill in outcome.fills)
    assert (outcome.state is State.FILLED) == (filled == intent.quantity)
