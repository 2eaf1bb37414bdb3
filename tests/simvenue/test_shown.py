"""What is shown is worked out from the true books, and is the true books when no fault is set."""

from decimal import Decimal as D

from hypothesis import given, settings
from hypothesis import strategies as st

from simvenue.bitflyer_replies import page
from simvenue.venue import Venue
from tests.simvenue.material import MINUTE, PERPETUAL, SPOT, flat, limit, market, rested, venue_on


def on_a_flat_market() -> Venue:
    return venue_on(flat(range(600)), SPOT, PERPETUAL, at_minute=10, collateral={"JPY": D(1_000_000)})


def test_without_a_fault_the_shown_books_are_the_true_ones_themselves() -> None:
    venue = on_a_flat_market()
    rested(venue, "buy", "0.01", 9_000_000)
    venue.place(market("buy", "0.01"))
    assert venue.shown.orders() is venue.orders
    assert venue.shown.fills() is venue.fills
    assert venue.shown.open_orders() == venue.open_orders()
    assert venue.shown.market("BTC/JPY") is venue.market("BTC/JPY")
    assert venue.shown.balances() == venue.balances()
    assert venue.shown.collateral() == venue.collateral()


def test_an_order_is_shown_with_the_fills_that_it_had_then() -> None:
    venue = on_a_flat_market()
    venue.faults.set("partial_fill", "0.5", times=1)
    order = venue.place(limit("buy", "0.02", 10_100_000))
    half = order.filled
    venue.advance(6_000)
    venue.faults.set("fill_during_cancel", "0.5")
    venue.cancel(order)
    venue.faults.set("list_lag", "5")
    (then,) = venue.shown.open_orders()
    assert (then.status, then.filled, then.ended_at) == ("partially_filled", half, None)
    assert then.filled == D("0.01") < order.filled
    assert sum(fill.quantity for fill in venue.shown.fills_of(then)) == half
    assert (order.status, order.filled) == ("cancelled", D("0.015"))


def test_a_fill_that_is_listed_twice_comes_again_behind_the_border_of_a_page() -> None:
    venue = on_a_flat_market()
    venue.faults.set("duplicate_fill")
    for _ in range(3):
        venue.place(market("buy", "0.001"))
    rows = venue.shown.marked(venue.shown.fills(), lambda fill: int(fill.id))
    first = page(rows, {"count": 3})
    second = page(rows, {"count": 3, "before": int(first[-1].id)})
    assert [fill.id for fill in first] == ["3", "3", "2"]
    assert [fill.id for fill in second] == ["2", "1", "1"]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(("rest", "buy", "sell", "cancel", "pay", "margin")), st.integers(0, 4)),
        min_size=1,
        max_size=12,
    )
)
def test_balances_and_orders_of_an_earlier_time_are_exactly_what_they_were(steps: list[tuple[str, int]]) -> None:
    venue = on_a_flat_market()
    seen = []
    for what, number in steps:
        venue.advance(1_000)
        if what == "rest":
            rested(venue, "buy", "0.01", 9_000_000 + number)
        elif what in ("buy", "sell"):
            venue.place(market(what, "0.01"))
        elif what == "margin":
            venue.place(market("buy" if number % 2 else "sell", "0.01", "BTC/JPY:JPY"))
        elif what == "pay":
            venue.deposit("JPY", D(number - 2))
        elif venue.open_orders():
            venue.cancel(venue.open_orders()[0])
        looks = [(order.id, order.status, order.filled) for order in venue.open_orders()]
        seen.append((venue.now_ms(), venue.balances(), venue.collateral(), looks))
    for at_ms, balances, collateral, looks in seen:
        ago = str(D(venue.now_ms() - at_ms) / 1000)
        venue.faults.set("list_lag", ago)
        venue.faults.set("balance_lag", ago)
        assert venue.shown.balances() == balances
        assert venue.shown.collateral() == collateral
        if D(ago):
            assert [(each.id, each.status, each.filled) for each in venue.shown.open_orders()] == looks


def test_a_crash_is_seen_by_a_market_that_moves_in_one_step() -> None:
    venue = on_a_flat_market()
    venue.faults.set("flash_crash", "0.2")
    assert venue.market("BTC/JPY").last == 8_000_000
    venue.advance(5 * MINUTE)
    assert venue.market("BTC/JPY").last == 10_000_000
    lows = [bar.low for bar in venue.market("BTC/JPY").candles(60, limit=6)]
    assert min(lows) == 8_000_000
    assert lows[-1] == 10_000_000
