"""Whatever clients, hands and the market do to a venue, its books explain every last yen."""

from dataclasses import replace
from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simvenue.candles import MINUTE
from simvenue.values import AlreadyEnded, Candle, Order, OrderRequest, Pair, Rejection
from simvenue.venue import Venue
from tests.simvenue.material import PERPETUAL, SPOT, START, venue_on

FEES = {
    "in quote, maker rebated": replace(SPOT, maker_rate=D("-0.0002"), taker_rate=D("0.0012")),
    "in quote, maker charged": replace(SPOT, maker_rate=D("0.0005")),
    "in base": replace(SPOT, fee_in="base", maker_rate=D("0.0015"), taker_rate=D("0.0015")),
    "in what is received, rounded up": replace(
        SPOT, fee_in="received", maker_rate=D("0.0007"), taker_rate=D("0.0014"), fee_step=D("1e-8")
    ),
    "in base, yen rounded": replace(
        SPOT, fee_in="base", maker_rate=D("0.0015"), taker_rate=D("0.0015"), quote_step=D(1), tick=D("0.3")
    ),
}

# close together, so that orders meet each other, the book and the path of the price
prices = st.integers(-30, 30).map(lambda steps: D(9_999_999 + steps * 999))
quantities = st.integers(1, 3000).map(lambda lots: lots * D("0.0001"))
requests = st.builds(
    dict,
    side=st.sampled_from(["buy", "sell"]),
    type=st.sampled_from(["limit", "limit", "limit", "market"]),
    quantity=quantities,
    price=prices,
    time_in_force=st.sampled_from(["gtc", "gtc", "gtc", "ioc", "fok", "post_only"]),
    expires_after=st.sampled_from([None, None, 1_000, 200_000]),
)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("place"), requests),
        st.tuples(st.just("place"), requests),
        st.tuples(st.just("cancel"), st.integers(0, 50)),
        st.tuples(st.just("advance"), st.sampled_from([1, 500, 30_000, 60_000, 61_001, 300_000])),
        st.tuples(st.just("advance"), st.sampled_from([5_000, 60_000])),
        st.tuples(st.just("price"), prices),
        st.tuples(st.just("timer"), st.sampled_from([10, 120])),
    ),
    max_size=25,
)


@st.composite
def markets(draw: st.DrawFn) -> list[Candle]:
    """An hour of minutes around ten million, some of them absent, some with hardly any volume."""
    bars = []
    last = 10_000_000
    for minute in range(60):
        step = draw(st.sampled_from([0, 300, -300, 9_000, -9_000, 45_000, -45_000]))
        close = min(10_090_000, max(9_910_000, last + step))
        high, low = max(last, close) + abs(step) // 3, min(last, close) - abs(step) // 3
        volume = draw(st.sampled_from(["0.0003", "0.05", "1.2345", "8"]))
        if minute == 0 or draw(st.integers(0, 9)):
            opens = START + minute * MINUTE
            bars.append(Candle(opens, D(last), D(high), D(low), D(close), D(volume)))
        last = close
    return bars


def act(venue: Venue, action: tuple[str, object], symbol: str) -> None:
    """Do one thing; a refusal is an answer like any other."""
    what, how = action
    if what == "place":
        assert isinstance(how, dict)
        expires = venue.now_ms() + how["expires_after"] if how["expires_after"] else None
        words = {key: how[key] for key in ("side", "type", "quantity", "price", "time_in_force")}
        if words["type"] == "market":
            words |= {"price": None, "time_in_force": "ioc"}
        try:
            venue.place(OrderRequest(symbol=symbol, expires_at=expires, **words))
        except Rejection:
            return
    elif what == "cancel":
        assert isinstance(how, int)
        if how < len(venue.orders):
            try:
                venue.cancel(venue.orders[how])
            except AlreadyEnded:
                return
    elif what == "advance":
        assert isinstance(how, int)
        venue.advance(how)
    elif what == "price":
        assert isinstance(how, D)
        venue.move_price(symbol, how)
    else:
        assert isinstance(how, int)
        venue.cancel_all_after(how)


def rank(order: Order) -> tuple[D, int]:
    assert order.price is not None
    return (-order.price if order.side == "buy" else order.price, order.number)


def balances_from_fills(venue: Venue, pair: Pair) -> dict[str, D]:
    expected = dict(venue.spec.opening)
    for fill in venue.fills:
        sign = 1 if fill.order.side == "buy" else -1
        expected[pair.base] += sign * fill.quantity
        expected[pair.quote] -= sign * fill.quote
        expected[fill.fee_currency] -= fill.fee
    return expected


def held_by_resting(venue: Venue, pair: Pair) -> dict[str, D]:
    held = {pair.base: D(0), pair.quote: D(0)}
    for order in venue.open_orders():
        assert order.price is not None
        held[pair.quote if order.side == "buy" else pair.base] += (
            order.price * order.remaining if order.side == "buy" else order.remaining
        )
    return held


@pytest.mark.parametrize("words", FEES)
@settings(max_examples=25)
@given(bars=markets(), doing=actions)
def test_fills_explain_balances_and_resting_orders_explain_what_is_locked(
    words: str, bars: list[Candle], doing: list[tuple[str, object]]
) -> None:
    pair = FEES[words]
    venue = venue_on(bars, pair)
    for action in doing:
        act(venue, action, pair.symbol)
        balances = venue.balances()
        expected, held = balances_from_fills(venue, pair), held_by_resting(venue, pair)
        for asset, (free, locked) in balances.items():
            assert free + locked == expected[asset]
            assert locked == held[asset]
        if pair.quote_step is None and pair.fee_step is None:
            assert all(free >= 0 for free, _ in balances.values())


@settings(max_examples=60)
@given(bars=markets(), doing=actions)
def test_no_order_is_overfilled_and_every_order_is_the_sum_of_its_fills(
    bars: list[Candle], doing: list[tuple[str, object]]
) -> None:
    venue = venue_on(bars)
    for action in doing:
        act(venue, action, "BTC/JPY")
    for order in venue.orders:
        fills = venue.fills_of(order)
        assert order.filled == sum((fill.quantity for fill in fills), D(0)) <= order.quantity
        assert order.cost == sum((fill.price * fill.quantity for fill in fills), D(0))
        assert order.fee == sum((fill.fee for fill in fills), D(0))
        assert (order.status == "filled") == (order.filled == order.quantity)
        assert all(not fill.maker or fill.price == order.price for fill in fills)
        for fill in fills:
            assert fill.quantity > 0
            if order.price is not None:
                assert fill.price <= order.price if order.side == "buy" else fill.price >= order.price
    assert sorted(fill.at for fill in venue.fills) == [fill.at for fill in venue.fills]


@settings(max_examples=60)
@given(bars=markets(), doing=actions)
def test_a_resting_order_is_never_passed_over_for_a_worse_or_later_one(
    bars: list[Candle], doing: list[tuple[str, object]]
) -> None:
    venue = venue_on(bars)
    for action in doing:
        before, seen = venue.open_orders(), len(venue.fills)
        act(venue, action, "BTC/JPY")
        for fill in venue.fills[seen:]:
            if fill.maker:
                waiting = [o for o in before if o.is_open and o.side == fill.order.side and o is not fill.order]
                assert all(rank(order) > rank(fill.order) for order in waiting)


@settings(max_examples=60)
@given(bars=markets(), doing=actions)
def test_the_book_never_crosses_and_shows_what_rests(bars: list[Candle], doing: list[tuple[str, object]]) -> None:
    venue = venue_on(bars)
    for action in doing:
        act(venue, action, "BTC/JPY")
        bids, asks = venue.market("BTC/JPY").book()
        assert len(bids) >= 20
        assert len(asks) >= 20
        assert bids[0].price < asks[0].price
        shown = dict(bids) | dict(asks)
        for order in venue.open_orders():
            assert order.price is not None
            assert shown[order.price] >= order.remaining


@settings(max_examples=60)
@given(bars=markets(), doing=actions)
def test_a_position_is_the_sum_of_its_fills_and_its_profit_reaches_the_collateral(
    bars: list[Candle], doing: list[tuple[str, object]]
) -> None:
    venue = venue_on(bars, PERPETUAL, collateral={"JPY": D(1_000_000)})
    for action in doing:
        act(venue, action, PERPETUAL.symbol)
    net = sum((f.quantity if f.order.side == "buy" else -f.quantity for f in venue.fills), D(0))
    held = venue.positions(PERPETUAL.symbol)
    assert sum((p.quantity if p.side == "buy" else -p.quantity for p in held), D(0)) == net
    assert venue.collateral()["JPY"] == 1_000_000 + sum((f.realised - f.fee for f in venue.fills), D(0))
    assert venue.balances() == {"JPY": (D(5_000_000), D(0)), "BTC": (D("0.1"), D(0))}
    if not net:  # flat: the profit is the cash that went in and out, at most a yen less per fill
        cash = sum((f.quote if f.order.side == "sell" else -f.quote for f in venue.fills), D(0))
        booked = venue.collateral()["JPY"] - 1_000_000
        assert cash - len(venue.fills) <= booked <= cash


@settings(max_examples=30)
@given(bars=markets(), doing=actions)
def test_the_same_seed_and_deeds_give_the_same_books(bars: list[Candle], doing: list[tuple[str, object]]) -> None:
    ends = []
    for _ in range(2):
        venue = venue_on(bars)
        for action in doing:
            act(venue, action, "BTC/JPY")
        ends.append(([(f.price, f.quantity, f.at) for f in venue.fills], venue.balances()))
    assert ends[0] == ends[1]
