"""What every adapter must do, against each simulated venue over its real protocol: an acceptance list."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from config.credentials import Credentials
from config.secret import Secret
from exchanges import create_exchange_client, create_exchange_reader
from exchanges.adapter import TIMEFRAME_SECONDS
from exchanges.errors import AuthenticationError, BadRequest, InsufficientFunds, OrderNotFound, Refused
from services.clock import MarketClock
from tests.exchanges.conftest import MARKETS, Market, Simulated
from trading.instruments import Instrument, Kind, Side
from trading.money import ZERO, amount
from trading.orders import Fill, OrderIntent, OrderType, State, TimeInForce, VenueOrder

_numbers = itertools.count(1)


async def intend(
    market: Market,
    side: Side,
    quantity: Decimal,
    price: Decimal | None,
    *,
    maker: bool = False,
    taker: bool = False,
) -> OrderIntent:
    """An intent as trading would make it, with the time in force that the venue has."""
    instrument = await market.exchange.instrument(market.symbol)
    time_in_force = TimeInForce.GOOD_TILL_CANCELLED
    if maker and instrument.post_only:
        time_in_force = TimeInForce.POST_ONLY
    if taker and instrument.immediate_or_cancel:
        time_in_force = TimeInForce.IMMEDIATE_OR_CANCEL
    return OrderIntent(
        client_order_id=f"{next(_numbers):032x}",
        venue=market.venue.exchange,
        symbol=market.symbol,
        side=side,
        type=OrderType.LIMIT if price is not None else OrderType.MARKET,
        quantity=quantity,
        price=price,
        time_in_force=time_in_force,
        decision_price=price if price is not None else Decimal(1),
        decided_at=market.clock.now(),
        reason="conformance",
    )


async def crossing(market: Market, side: Side, quantity: Decimal) -> OrderIntent:
    """An intent that takes from the book at once, priced one in a hundred beyond its best price."""
    instrument = await market.exchange.instrument(market.symbol)
    book = await market.exchange.order_book(market.symbol, 5)
    best = book.asks[0].price if side is Side.BUY else book.bids[0].price
    beyond = best * (1 + Decimal("0.01") * side.sign)
    return await intend(market, side, quantity, instrument.passive_price(side, beyond), taker=True)


async def small_quantity(market: Market, price: Decimal, times: int = 1) -> Decimal:
    instrument = await market.exchange.instrument(market.symbol)
    return instrument.smallest_quantity(price) * times


async def ended(market: Market, order_id: str) -> VenueOrder:
    """Read an order until it has ended; the venues answer before they have worked it off."""
    for _ in range(10):
        order = await market.exchange.order(market.symbol, order_id)
        if order.state not in (State.OPEN, State.PARTIALLY_FILLED):
            return order
        await market.clock.sleep(1)
    raise AssertionError(f"{order_id} is still {order.state}")


def moved(instrument: Instrument, fills: tuple[Fill, ...]) -> dict[str, Decimal]:
    """What fills do to a spot account's balances, by asset."""
    change: dict[str, Decimal] = {instrument.base: ZERO, instrument.quote: ZERO}
    for fill in fills:
        change[instrument.base] += fill.quantity * fill.side.sign
        change[instrument.quote] -= fill.quote_quantity * fill.side.sign
        change[fill.fee_currency] -= fill.fee
    return change


async def totals(market: Market) -> dict[str, Decimal]:
    return {asset: balance.total for asset, balance in (await market.exchange.balances()).items()}


# 1 -- what can be traded


async def place(market: Market, intent: OrderIntent) -> str:
    """As the order path does it: room in the request budget first, then the order."""
    await market.exchange.room_for_an_order()
    return await market.exchange.place(intent)


async def test_01_an_instrument_knows_its_steps_minimums_and_fees(market: Market) -> None:
    instrument = await market.exchange.instrument(market.symbol)
    assert instrument.symbol == market.symbol
    assert instrument.base == "BTC"
    assert instrument.kind is (Kind.PERPETUAL if ":" in market.symbol else Kind.SPOT)
    assert instrument.tick_size > 0
    assert instrument.lot_size > 0
    assert instrument.min_quantity >= instrument.lot_size
    assert -Decimal("0.01") < instrument.maker_fee_rate <= instrument.taker_fee_rate < Decimal("0.01")


async def test_02_instruments_are_read_once(market: Market) -> None:
    await market.exchange.instruments()
    before = market.exchange.traffic().requests
    await market.exchange.instrument(market.symbol)
    assert market.exchange.traffic().requests == before


async def test_03_an_unknown_symbol_is_a_bad_request_that_names_the_nearest(market: Market) -> None:
    with pytest.raises(BadRequest, match="BTC/"):
        await market.exchange.ticker("BTX/" + market.symbol.split("/")[1])


# 2 -- the market


async def test_04_the_venue_takes_orders_for_the_symbol(market: Market) -> None:
    assert (await market.exchange.status(market.symbol)).trading


async def test_05_the_ticker_is_inside_the_book_and_of_this_moment(market: Market) -> None:
    ticker = await market.exchange.ticker(market.symbol)
    book = await market.exchange.order_book(market.symbol)
    assert book.bids[0].price <= ticker.bid < ticker.ask <= book.asks[0].price
    assert abs(market.clock.now() - ticker.at) < timedelta(minutes=1)


async def test_06_the_book_is_sorted_best_first_and_as_deep_as_asked(market: Market) -> None:
    book = await market.exchange.order_book(market.symbol, 10)
    assert len(book.bids) == len(book.asks) == 10
    assert [level.price for level in book.bids] == sorted((each.price for each in book.bids), reverse=True)
    assert [level.price for level in book.asks] == sorted(each.price for each in book.asks)
    assert all(level.quantity > 0 for level in book.bids + book.asks)


@pytest.mark.parametrize("timeframe", TIMEFRAME_SECONDS)
async def test_07_candles_are_the_last_closed_ones_oldest_first(market: Market, timeframe: str) -> None:
    wanted = {"4h": 6, "1d": 1, "1h": 20}.get(timeframe, 40)
    length = timedelta(seconds=TIMEFRAME_SECONDS[timeframe])
    candles = await market.exchange.candles(market.symbol, timeframe, wanted)
    now = market.clock.now()
    opened = [candle.opened_at for candle in candles]
    assert opened == sorted(set(opened))
    assert opened[-1] + length <= now < opened[-1] + 3 * length
    assert all(moment.timestamp() % length.total_seconds() == 0 for moment in opened)
    assert all(each.low <= min(each.open, each.close) <= max(each.open, each.close) <= each.high for each in candles)
    assert len(candles) == wanted
    assert await market.exchange.candles(market.symbol, timeframe, 1) == candles[-1:]


async def test_08_long_candles_are_the_short_ones_put_together(market: Market) -> None:
    (hour,) = await market.exchange.candles(market.symbol, "1h", 1)
    minutes = await market.exchange.candles(market.symbol, "1m", 130)
    inside = [each for each in minutes if timedelta(0) <= each.opened_at - hour.opened_at < timedelta(hours=1)]
    assert inside, "the last closed hour lies inside the last 130 minutes"
    assert hour.high == max(each.high for each in inside)
    assert hour.low == min(each.low for each in inside)
    assert hour.open == inside[0].open
    assert hour.close == inside[-1].close


# 3 -- the account


async def test_09_balances_are_what_the_venue_has_on_record(market: Market) -> None:
    found = await market.exchange.balances()
    truth = (await market.truth())["balances"]
    held = {asset: row for asset, row in truth.items() if amount(row["free"]) or amount(row["locked"])}
    assert {asset: (each.free, each.locked) for asset, each in found.items()} == {
        asset: (amount(row["free"]), amount(row["locked"])) for asset, row in held.items()
    }


async def test_10_the_key_tells_its_rights_where_the_venue_can_be_asked(market: Market) -> None:
    rights = await market.exchange.key_rights()
    if market.venue.exchange == "bitbank":
        assert rights.can_trade is None
    else:
        assert rights.can_read
        assert rights.can_trade
        assert rights.can_withdraw is False


# 4 -- an order's life


async def test_11_a_resting_order_is_seen_found_cancelled_and_gone(market: Market) -> None:
    exchange, symbol = market.exchange, market.symbol
    before = await exchange.balances()
    price = await market.resting_price()
    intent = await intend(market, Side.BUY, await small_quantity(market, price), price, maker=True)
    sent_at = market.clock.now()

    order_id = await exchange.place(intent)

    (resting,) = [each for each in await exchange.open_orders(symbol) if each.venue_order_id == order_id]
    assert (resting.side, resting.type, resting.state) == (Side.BUY, OrderType.LIMIT, State.OPEN)
    assert (resting.quantity, resting.price, resting.filled) == (intent.quantity, intent.price, ZERO)
    assert abs(resting.created_at - sent_at) < timedelta(minutes=1)
    assert await exchange.order(symbol, order_id) == resting
    assert await exchange.find_order(intent, sent_at, frozenset()) == (resting,)
    assert await exchange.find_order(intent, sent_at, frozenset({order_id})) == ()

    await exchange.cancel(symbol, order_id)

    assert (await ended(market, order_id)).state is State.CANCELLED
    assert order_id not in [each.venue_order_id for each in await exchange.open_orders(symbol)]
    assert await exchange.fills(symbol, venue_order_id=order_id) == ()
    assert await exchange.balances() == before
    # bitbank lists no order that ended without a fill
    listed = [each.venue_order_id for each in await exchange.ended_orders(symbol, sent_at - timedelta(seconds=5))]
    assert listed == ([] if exchange.name == "bitbank" else [order_id])


async def test_12_a_second_cancel_is_no_error(market: Market) -> None:
    price = await market.resting_price()
    order_id = await place(
        market, await intend(market, Side.BUY, await small_quantity(market, price), price, maker=True)
    )
    await market.exchange.cancel(market.symbol, order_id)
    await ended(market, order_id)
    await market.exchange.cancel(market.symbol, order_id)
    assert await market.exchange.open_orders(market.symbol) == ()


@pytest.mark.parametrize("side", list(Side))
async def test_13_balances_move_by_exactly_what_the_fills_say(market: Market, side: Side) -> None:
    exchange, symbol = market.exchange, market.symbol
    instrument = await exchange.instrument(symbol)
    intent = await crossing(market, side, Decimal("0.01"))
    before, since = await totals(market), market.clock.now()

    order_id = await exchange.place(intent)
    order = await ended(market, order_id)
    fills = await exchange.fills(symbol, venue_order_id=order_id)

    assert order.state is State.FILLED
    assert sum((fill.quantity for fill in fills), ZERO) == order.filled == intent.quantity
    assert order.average_price is not None
    assert {fill.side for fill in fills} == {side}
    assert {fill.fee_currency for fill in fills} == {instrument.fee_currency(side)}
    assert {fill.id for fill in fills} <= {fill.id for fill in await exchange.fills(symbol, since=since)}
    if instrument.kind is Kind.SPOT:
        after = await totals(market)
        for asset, change in moved(instrument, fills).items():
            assert after[asset] - before[asset] == change, asset
    else:
        held = await exchange.positions(symbol)
        truth = [row for row in (await market.truth())["positions"] if row["symbol"] == symbol]
        assert [(each.side, each.quantity) for each in held] == [
            (Side(row["side"]), amount(row["quantity"])) for row in truth
        ]


async def test_14_fills_are_those_that_the_venue_has_on_record(market: Market) -> None:
    order_id = await place(market, await crossing(market, Side.BUY, Decimal("0.02")))
    await ended(market, order_id)
    fills = await market.exchange.fills(market.symbol, venue_order_id=order_id)
    recorded = [row for row in (await market.truth())["fills"] if row["order_id"] == order_id]
    assert {(each.id, each.price, each.quantity, each.fee, each.fee_currency) for each in fills} == {
        (row["id"], amount(row["price"]), amount(row["quantity"]), amount(row["fee"]), row["fee_currency"])
        for row in recorded
    }
    assert list(fills) == sorted(fills, key=lambda fill: fill.at)


async def test_15_a_market_order_counts_its_quantity_in_base(market: Market) -> None:
    order_id = await place(market, await intend(market, Side.BUY, Decimal("0.002"), None))
    order = await ended(market, order_id)
    assert (order.type, order.state, order.filled) == (OrderType.MARKET, State.FILLED, Decimal("0.002"))


async def test_16_a_post_only_order_that_would_take_ends_unfilled(market: Market) -> None:
    instrument = await market.exchange.instrument(market.symbol)
    if not instrument.post_only:
        pytest.skip("the venue has no post-only")
    intent = await crossing(market, Side.BUY, Decimal("0.001"))
    order_id = await place(market, replace(intent, time_in_force=TimeInForce.POST_ONLY))
    order = await ended(market, order_id)
    assert (order.state, order.filled) == (State.CANCELLED, ZERO)


async def test_17_positions_exist_for_perpetuals_alone(market: Market) -> None:
    positions = await market.exchange.positions(market.symbol)
    if ":" not in market.symbol:
        assert positions == ()
        return
    if not positions:
        order_id = await place(market, await crossing(market, Side.SELL, Decimal("0.01")))
        await ended(market, order_id)
        positions = await market.exchange.positions(market.symbol)
    (held,) = positions
    assert held.quantity > 0
    assert held.entry_price > 0
    order_id = await place(market, await crossing(market, held.side.opposite, held.quantity))
    await ended(market, order_id)
    assert await market.exchange.positions(market.symbol) == ()


# 5 -- many orders


async def test_18_open_orders_beyond_the_first_page_are_all_seen_and_all_cancelled(market: Market) -> None:
    # bitbank allows no more than thirty for a pair; elsewhere the first page ends at twenty to a hundred.
    count = {"bitbank": 30, "bybit": 60, "bitflyer": 105, "okcoinjp": 105}[market.venue.exchange]
    price = await market.resting_price()
    quantity = await small_quantity(market, price)
    placed = {await place(market, await intend(market, Side.BUY, quantity, price, maker=True)) for _ in range(count)}
    resting = await market.exchange.open_orders(market.symbol)
    assert {each.venue_order_id for each in resting} == placed
    assert len(resting) == count

    await market.exchange.cancel_all(market.symbol)

    for _ in range(10):
        if not await market.exchange.open_orders(market.symbol):
            break
        await market.clock.sleep(1)
    assert await market.exchange.open_orders(market.symbol) == ()


async def test_19_an_order_placed_by_hand_is_seen_and_cancelled_with_the_rest(market: Market) -> None:
    price = await market.resting_price()
    quantity = await small_quantity(market, price)
    by_hand = {"symbol": market.symbol, "side": "buy", "type": "limit"}
    await market.control("orders", {**by_hand, "price": str(price), "quantity": str(quantity)})
    (seen,) = await market.exchange.open_orders(market.symbol)
    assert (seen.price, seen.quantity) == (price, quantity)
    await market.exchange.cancel_all(market.symbol)
    await ended(market, seen.venue_order_id)


async def test_20_cancel_all_with_nothing_resting_is_no_error(market: Market) -> None:
    await market.exchange.cancel_all(market.symbol)
    assert await market.exchange.open_orders(market.symbol) == ()


# 6 -- refusals


async def test_21_an_order_that_the_venue_lacks_is_not_found(market: Market) -> None:
    absent = {"bitflyer": "JRF20260101-000000-999999"}.get(market.venue.exchange, "999999999999")
    with pytest.raises(OrderNotFound):
        await market.exchange.order(market.symbol, absent)


async def test_22_an_order_below_the_minimum_is_refused(market: Market) -> None:
    instrument = await market.exchange.instrument(market.symbol)
    price = await market.resting_price()
    too_small = instrument.min_quantity - instrument.lot_size or instrument.lot_size / 10
    with pytest.raises(Refused):
        await place(market, await intend(market, Side.BUY, too_small, price))


async def test_23_an_order_beyond_the_funds_is_refused_as_such(market: Market) -> None:
    price = await market.resting_price()
    with pytest.raises(InsufficientFunds):
        await place(market, await intend(market, Side.BUY, Decimal(20), price))
    assert await market.exchange.open_orders(market.symbol) == ()


async def test_24_a_wrong_secret_is_an_authentication_error(market: Market) -> None:
    true = market.venue.credentials
    credentials = Credentials(true.api_key, Secret("not-the-secret"), true.passphrase)
    reader = create_exchange_reader(
        market.venue.exchange, settings=market.settings, credentials=credentials, clock=market.clock
    )
    with pytest.raises(AuthenticationError) as refused:
        await reader.balances()
    await reader.close()
    assert "not-the-secret" not in str(refused.value)
    assert true.api_key.reveal() not in str(refused.value)


@pytest.mark.parametrize("name", ["bybit", "bitbank", "bitflyer", "okcoinjp"])
async def test_25_a_reader_has_no_way_to_place_or_cancel(
    name: str, simulated: Callable[..., Simulated], tmp_path: Path
) -> None:
    venue = simulated(name)
    settings = venue.settings(tmp_path)
    reader: Any = create_exchange_reader(name, settings=settings, credentials=venue.credentials)
    for method in ("place", "cancel", "cancel_all"):
        assert not hasattr(reader, method)
    await reader.close()


# 7 -- limits


@pytest.mark.parametrize("name", ["bybit", "bitbank", "bitflyer", "okcoinjp"])
async def test_26_the_guides_limits_are_kept_with_the_default_budget(
    name: str, simulated: Callable[..., Simulated], tmp_path: Path
) -> None:
    venue = simulated(name, "--limits", "guide")
    clock = await MarketClock.connect(venue.control_url)
    settings = venue.settings(tmp_path, requests_per_minute=None)
    exchange = create_exchange_client(name, settings=settings, credentials=venue.credentials, clock=clock)
    market = Market(venue, MARKETS[name], exchange, clock, settings)
    started = clock.now()
    limit = settings.exchanges[name].requests_per_minute  # type: ignore[index]
    for _ in range(limit):
        await exchange.ticker(market.symbol)
        await exchange.balances()
    await exchange.close()
    requests = (await market.truth())["requests"]
    assert requests["refused_for_rate"] == 0
    assert requests["total"] == exchange.traffic().requests > 2 * limit
    # Twice the limit, at four fifths of it less the fifth kept for cancelling: three minutes at least.
    assert clock.now() - started > timedelta(minutes=3)


@pytest.mark.parametrize("name", ["bybit", "bitbank", "bitflyer", "okcoinjp"])
async def test_27_no_request_of_all_these_was_refused_for_its_rate(
    name: str, simulated: Callable[..., Simulated]
) -> None:
    """Everything above was sent in bursts, against the venue's published limits."""
    venue = simulated(name)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{venue.control_url}/truth") as reply,
    ):
        assert (await reply.json())["requests"]["refused_for_rate"] == 0
