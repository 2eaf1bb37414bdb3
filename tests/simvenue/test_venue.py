"""How a venue treats orders: what it refuses, fills, locks, expires and cancels."""

from dataclasses import replace
from decimal import Decimal as D

import pytest

from simvenue.candles import MINUTE
from simvenue.values import AlreadyEnded, OrderRequest, Pair, Rejection
from tests.simvenue.material import PERPETUAL, SPOT, START, bar, flat, limit, market, rested, venue_on


def assert_refused(reason: str, request: OrderRequest, pair: Pair = SPOT, **facts: object) -> None:
    venue = venue_on(flat(range(5)), pair, **facts)  # type: ignore[arg-type]
    before = venue.balances()
    with pytest.raises(Rejection) as refusal:
        venue.place(request)
    assert refusal.value.reason == reason
    assert venue.orders == []
    assert venue.balances() == before


def test_what_breaks_the_venues_rules_is_refused_and_leaves_no_trace() -> None:
    assert_refused("off_tick", limit("buy", "0.01", D("9000000.5")))
    assert_refused("off_lot", limit("buy", "0.01005", 9_000_000))
    assert_refused("too_small", limit("buy", "0.00005", 9_000_000))
    assert_refused("too_large", limit("buy", "1001", 9_000_000))
    assert_refused("too_large", market("buy", "0.5"), replace(SPOT, max_market_quantity=D("0.4")))
    assert_refused("below_min_notional", limit("buy", "0.0001", 9_000_000), replace(SPOT, min_notional=D(1000)))
    assert_refused("price_band", limit("sell", "0.01", 12_000_001), price_band=D("0.2"))
    assert_refused("too_many_orders", limit("buy", "0.01", 9_000_000), max_open_orders=0)
    assert_refused("insufficient_funds", limit("buy", "0.6", 9_000_000))
    assert_refused("insufficient_funds", limit("sell", "0.1001", 11_000_000))
    assert_refused("insufficient_funds", market("buy", "0.6"))
    assert_refused("reduce_only", replace(limit("buy", "0.01", 9_000_000, symbol="BTC/JPY:JPY"), reduce_only=True),
            PERPETUAL)  # fmt: skip


def test_an_order_whose_fee_cannot_be_paid_is_refused() -> None:
    assert_refused("insufficient_funds", market("buy", "0.4998"))
    assert_refused("insufficient_funds", limit("buy", "0.625", 8_000_000), replace(SPOT, maker_rate=D("0.0002")))
    charged_in_base = replace(SPOT, fee_in="base", maker_rate=D("0.0015"))
    assert_refused("insufficient_funds", limit("sell", "0.1", 11_000_000), charged_in_base)


def test_the_whole_balance_may_rest_where_resting_is_free_of_charge() -> None:
    venue = venue_on(flat(range(5)))
    rested(venue, "buy", "0.625", 8_000_000)
    assert venue.balances()["JPY"] == (D(0), D(5_000_000))
    rested(venue, "sell", "0.1", 12_000_000)
    assert venue.balances()["BTC"] == (D(0), D("0.1"))


def test_a_resting_buy_locks_exactly_price_times_quantity_and_a_cancel_frees_it() -> None:
    venue = venue_on(flat(range(5)))
    order = rested(venue, "buy", "0.0123", 9_876_543)
    assert venue.balances()["JPY"] == (D(5_000_000) - D("121481.4789"), D("121481.4789"))
    venue.cancel(order)
    assert venue.balances()["JPY"] == (D(5_000_000), D(0))
    assert (order.status, order.why, order.ended_at) == ("cancelled", "client", START)
    with pytest.raises(AlreadyEnded):
        venue.cancel(order)


def test_a_resting_sale_locks_its_quantity() -> None:
    venue = venue_on(flat(range(5)))
    rested(venue, "sell", "0.04", 11_000_000)
    assert venue.balances()["BTC"] == (D("0.06"), D("0.04"))


def test_a_market_order_of_two_thousandths_fills_at_once() -> None:
    venue = venue_on(flat(range(5)))
    order = venue.place(market("buy", "0.002"))
    assert order.status == "filled"
    assert order.fee == order.cost * D("0.001")
    assert order.fee_currency == "JPY"
    assert venue.balances()["JPY"][0] == 5_000_000 - order.cost - order.fee


def test_a_large_market_order_walks_the_book_one_fill_a_level() -> None:
    venue = venue_on(flat(range(5), volume="0.5"))
    asks = venue.market("BTC/JPY").book()[1]
    order = venue.place(market("buy", "0.3"))
    fills = venue.fills_of(order)
    assert len(fills) > 1
    assert [f.price for f in fills] == [a.price for a in asks[: len(fills)]]
    assert [f.quantity for f in fills[:-1]] == [a.size for a in asks[: len(fills) - 1]]


def test_a_market_order_beyond_the_whole_book_keeps_what_it_got() -> None:
    venue = venue_on(flat(range(5), volume="0.0001"))
    venue.deposit("JPY", D(10) ** 12)
    order = venue.place(market("buy", "900"))
    assert (order.status, order.why) == ("cancelled", "no_liquidity")
    assert 0 < order.filled < 900


def test_a_market_buy_by_cost_spends_its_budget_and_no_more() -> None:
    venue = venue_on(flat(range(5)))
    order = venue.place(OrderRequest("BTC/JPY", "buy", "market", None, quote_budget=D(50_000)))
    assert order.status == "filled"
    assert order.quantity == order.filled
    assert 49_000 < order.cost <= 50_000
    with pytest.raises(Rejection, match="too_small"):
        venue.place(OrderRequest("BTC/JPY", "buy", "market", None, quote_budget=D(500)))


def test_post_only_that_would_cross_is_accepted_then_cancelled() -> None:
    venue = venue_on(flat(range(5)))
    order = venue.place(limit("buy", "0.01", 10_100_000, "post_only"))
    assert (order.status, order.why, order.filled) == ("cancelled", "post_only_cross", 0)
    assert venue.order_by_id(order.id) is order
    assert venue.place(limit("buy", "0.01", 9_900_000, "post_only")).status == "open"


def test_ioc_takes_what_is_there_and_fok_all_or_nothing() -> None:
    venue = venue_on(flat(range(5), volume="0.1"))
    ask = venue.market("BTC/JPY").book(1)[1][0]
    all_or_nothing = venue.place(limit("buy", str(ask.size + D("0.0001")), ask.price, "fok"))
    assert (all_or_nothing.status, all_or_nothing.filled) == ("cancelled", 0)
    some = venue.place(limit("buy", str(ask.size + D("0.0001")), ask.price, "ioc"))
    assert (some.status, some.why, some.filled) == ("cancelled", "ioc", ask.size)
    assert venue.open_orders() == []


def test_a_limit_order_that_crosses_takes_then_rests_and_locks_the_rest() -> None:
    venue = venue_on(flat(range(5), volume="0.1"))
    ask = venue.market("BTC/JPY").book(1)[1][0]
    order = venue.place(limit("buy", str(ask.size + D("0.01")), ask.price))
    assert (order.status, order.filled) == ("partially_filled", ask.size)
    assert venue.balances()["JPY"][1] == ask.price * D("0.01")


def test_the_path_fills_what_rests_at_its_own_price_and_at_the_time_it_passes() -> None:
    bars = [*flat([0]), bar(1, 10_000_000, 10_000_000, 9_900_000, 9_990_000, "5"), *flat([2])]
    venue = venue_on(bars)
    order = rested(venue, "buy", "0.01", 9_950_000)
    venue.advance(MINUTE)
    assert order.is_open
    venue.advance(MINUTE)
    (fill,) = venue.fills_of(order)
    assert (fill.price, fill.maker, order.status) == (9_950_000, True, "filled")
    assert START + MINUTE < fill.at < START + 2 * MINUTE
    assert venue.balances() == {"JPY": (D(5_000_000 - 99_500), D(0)), "BTC": (D("0.11"), D(0))}


def test_no_more_is_filled_than_was_traded() -> None:
    bars = [*flat([0]), bar(1, 10_000_000, 10_000_000, 9_900_000, 9_900_000, "0.05"), *flat([2])]
    venue = venue_on(bars)
    orders = [rested(venue, "buy", "0.04", 9_990_000) for _ in range(3)]
    venue.advance(2 * MINUTE - 1)
    assert 0 < sum(order.filled for order in orders) <= D("0.05")
    assert orders[0].filled >= orders[1].filled >= orders[2].filled == 0


def test_what_trades_goes_to_the_best_price_first() -> None:
    bars = [*flat([0]), bar(1, 10_000_000, 10_000_000, 9_900_000, 9_900_000, "0.05"), *flat([2])]
    for side, better, worse in (("buy", 9_990_000, 9_980_000), ("sell", 10_010_000, 10_020_000)):
        falling = side == "buy"
        path = bars if falling else [b._replace(high=20_000_000 - b.low, low=b.open, close=20_000_000 - b.close)
                                     for b in bars]  # fmt: skip
        venue = venue_on(path)
        last, first = rested(venue, side, "0.04", worse), rested(venue, side, "0.04", better)
        venue.advance(2 * MINUTE - 1)
        assert first.filled > last.filled


def test_an_order_left_over_by_thin_trading_never_crosses_the_book() -> None:
    bars = [*flat([0]), bar(1, 10_000_000, 10_000_000, 9_900_000, 9_900_000, "0.002"), *flat([2], 9_900_000)]
    venue = venue_on(bars)
    order = rested(venue, "buy", "0.05", 9_990_000)
    venue.advance(2 * MINUTE - 1)
    assert order.status == "partially_filled"
    bids, asks = venue.market("BTC/JPY").book()
    assert bids[0] == (9_990_000, order.remaining)
    assert asks[0].price > 9_990_000


def test_at_one_price_a_client_order_stands_before_the_others() -> None:
    venue = venue_on(flat(range(5)))
    resting = rested(venue, "sell", "0.01", venue.market("BTC/JPY").book(1)[1][0].price)
    venue.place(market("buy", "0.004"))
    assert resting.filled == D("0.004")


def test_nothing_fills_while_the_venue_is_closed() -> None:
    bars = [*flat(range(3)), bar(13, 9_000_000, 9_000_000, 9_000_000, 9_000_000), *flat([14], 9_000_000)]
    venue = venue_on(bars, at_minute=2)
    order = rested(venue, "buy", "0.01", 9_500_000)
    venue.advance(2 * MINUTE)
    crossing = venue.place(limit("buy", "0.01", 10_500_000))
    assert crossing.status == "open"
    with pytest.raises(Rejection, match="closed"):
        venue.place(market("buy", "0.01"))
    assert venue.place(limit("buy", "0.01", 10_500_000, "ioc")).status == "cancelled"
    venue.advance(8 * MINUTE)
    assert order.is_open
    assert venue.fills == []
    venue.advance(2 * MINUTE)
    assert (order.status, crossing.status) == ("filled", "filled")


def test_orders_expire_and_the_dead_mans_switch_fires_on_market_time() -> None:
    venue = venue_on(flat(range(30)))
    expiring = venue.place(replace(limit("buy", "0.01", 9_000_000), expires_at=START + 90_500))
    staying = rested(venue, "buy", "0.01", 9_000_000)
    assert venue.cancel_all_after(120) == START + 120_000
    venue.advance(90_499)
    assert expiring.is_open
    venue.advance(1)
    assert (expiring.status, expiring.ended_at) == ("expired", START + 90_500)
    venue.cancel_all_after(None)
    venue.advance(5 * MINUTE)
    assert staying.is_open
    venue.cancel_all_after(10)
    venue.advance(29 * MINUTE)
    assert (staying.status, staying.why) == ("cancelled", "timer")
    assert staying.ended_at == START + 90_500 + 5 * MINUTE + 10_000
    assert venue.balances()["JPY"] == (D(5_000_000), D(0))


def test_what_expires_in_the_middle_of_a_jump_is_not_filled_after_it() -> None:
    bars = [*flat(range(10)), bar(10, 9_000_000, 9_000_000, 9_000_000, 9_000_000, "5")]
    venue = venue_on(bars)
    order = venue.place(replace(limit("buy", "0.01", 9_500_000), expires_at=START + 5 * MINUTE))
    venue.advance(20 * MINUTE)
    assert (order.status, order.filled) == ("expired", 0)


def test_a_price_moved_by_hand_fills_what_rests_on_the_way_whatever_its_size() -> None:
    venue = venue_on(flat(range(5), volume="0.01"))
    near, far = rested(venue, "sell", "0.05", 10_200_000), rested(venue, "sell", "0.05", 10_500_001)
    venue.move_price("BTC/JPY", D(10_500_000))
    assert (near.status, near.cost) == ("filled", D("0.05") * 10_200_000)
    assert far.is_open


def test_own_orders_meet_each_other_by_price_then_time() -> None:
    venue = venue_on(flat(range(5)))
    bid = venue.market("BTC/JPY").book(1)[0][0].price
    worse, first, second = (rested(venue, "buy", "0.01", bid + step) for step in (1, 2, 2))
    taker = venue.place(limit("sell", "0.015", bid + 1))
    assert [f.order for f in venue.fills if f.maker] == [first, second]
    assert (first.filled, second.filled, worse.filled) == (D("0.01"), D("0.005"), 0)
    assert taker.status == "filled"


def test_orders_are_found_by_their_ids_the_newest_client_id_first() -> None:
    venue = venue_on(flat(range(5)))
    first, again = (venue.place(replace(limit("buy", "0.01", 9_000_000), client_id="same")) for _ in range(2))
    assert venue.order_by_client_id("same") is again
    assert venue.order_by_client_id("") is None
    assert venue.order_by_id(first.id) is first
    assert venue.open_orders() == venue.open_orders("BTC/JPY") == [first, again]


@pytest.mark.parametrize(
    ("fee_in", "side", "currency", "fee"),
    [
        ("quote", "buy", "JPY", D("0.0015") * D("0.0123") * 9_876_543),
        ("base", "buy", "BTC", D("0.0015") * D("0.0123")),
        ("base", "sell", "BTC", D("0.0015") * D("0.0123")),
        ("received", "buy", "BTC", D("0.0015") * D("0.0123")),
        ("received", "sell", "JPY", D("0.0015") * D("0.0123") * 10_123_456),
    ],
)
def test_fees_are_the_stated_rate_in_the_venues_currency(fee_in: str, side: str, currency: str, fee: D) -> None:
    venue = venue_on(flat(range(5)), replace(SPOT, fee_in=fee_in, maker_rate=D("0.0015")))
    order = rested(venue, side, "0.0123", 9_876_543 if side == "buy" else 10_123_456)
    venue.move_price("BTC/JPY", D(9_800_000 if side == "buy" else 10_200_000))
    (fill,) = venue.fills
    assert (order.status, fill.fee_currency, fill.fee) == ("filled", currency, fee)


def test_fees_are_rounded_up_and_the_yen_leg_against_the_customer() -> None:
    pair = replace(SPOT, fee_in="base", maker_rate=D("0.00033333"), fee_step=D("1e-8"), quote_step=D(1))
    for side, leg in (("buy", D(121_482)), ("sell", D(121_481))):  # 121,481.4789 yen
        venue = venue_on(flat(range(5), price=9_876_543), pair)
        best = venue.market("BTC/JPY").book(1)
        assert best[0][0].price < 9_876_543 < best[1][0].price
        rested(venue, side, "0.0123", 9_876_543)
        venue.move_price("BTC/JPY", D(9_876_543))
        (fill,) = venue.fills
        assert (fill.quote, fill.fee) == (leg, D("0.00000410"))  # 0.0000040999..., up


def test_a_rebate_is_a_negative_fee() -> None:
    venue = venue_on(flat(range(5)), replace(SPOT, maker_rate=D("-0.0002")))
    rested(venue, "buy", "0.01", 9_900_000)
    venue.move_price("BTC/JPY", D(9_900_000))
    assert venue.fills[0].fee == D("-19.8")
    assert venue.balances()["JPY"][0] == D(5_000_000) - 99_000 + D("19.8")


def test_a_perpetual_books_average_entry_and_realised_profit_to_the_collateral() -> None:
    venue = venue_on(flat(range(5)), PERPETUAL, collateral={"JPY": D(1_000_000)})
    symbol = PERPETUAL.symbol
    for price in (9_900_000, 9_800_001):
        venue.place(limit("buy", "0.05", price, symbol=symbol))
        venue.move_price(symbol, D(price))
    assert venue.positions(symbol) == [("buy", D("0.1"), D("9850000.5"))]
    assert venue.position_margin(symbol) == D("492500.025")
    venue.move_price(symbol, D(10_000_000))
    assert venue.unrealised(symbol) == D("14999.95")
    venue.place(limit("sell", "0.15", 10_050_000, symbol=symbol))
    venue.move_price(symbol, D(10_050_000))
    assert venue.positions(symbol) == [("sell", D("0.05"), D(10_050_000))]
    assert venue.collateral() == {"JPY": D(1_019_999)}  # 19,999.95, floored to the yen
    assert venue.balances()["JPY"] == (D(5_000_000), D(0))


def test_a_perpetual_is_bounded_by_leverage_on_the_collateral() -> None:
    venue = venue_on(flat(range(5)), PERPETUAL, collateral={"JPY": D(1_000_000)})
    symbol = PERPETUAL.symbol
    venue.place(limit("buy", "0.2", 9_900_000, symbol=symbol))
    assert venue.order_margin(symbol) == 990_000
    with pytest.raises(Rejection, match="insufficient_funds"):
        venue.place(limit("buy", "0.01", 9_900_000, symbol=symbol))
    venue.set_leverage(symbol, D(4))
    venue.place(limit("buy", "0.01", 9_900_000, symbol=symbol))


def test_without_a_collateral_apart_a_perpetual_settles_in_the_quote_balance() -> None:
    venue = venue_on(flat(range(5)), SPOT, replace(PERPETUAL, leverage=D(10), taker_rate=D("0.00055")))
    symbol = PERPETUAL.symbol
    order = venue.place(market("buy", "1", symbol))
    assert order.status == "filled"
    assert venue.balances()["JPY"] == (D(5_000_000) - order.fee, D(0))
    assert venue.available("JPY") < 4_000_000
    with pytest.raises(Rejection, match="insufficient_funds"):
        venue.place(limit("buy", "0.45", 9_900_000))


def test_a_reduce_only_order_never_turns_a_position() -> None:
    venue = venue_on(flat(range(5)), PERPETUAL, collateral={"JPY": D(1_000_000)})
    symbol = PERPETUAL.symbol
    venue.place(market("buy", "0.05", symbol))
    resting = venue.place(replace(limit("sell", "0.05", 10_500_000, symbol=symbol), reduce_only=True))
    taking = venue.place(replace(market("sell", "0.08", symbol), reduce_only=True))
    assert taking.filled == D("0.05")
    assert venue.positions(symbol) == []
    assert (resting.status, resting.why) == ("cancelled", "reduce_only")
