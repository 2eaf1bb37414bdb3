from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchanges.bitflyer import Bitflyer
from exchanges.errors import (
    AuthenticationError,
    BadRequest,
    NoAnswer,
    OrderNotFound,
)
from tests.exchanges.bitflyer_answers import (
    COMMISSION,
    FILLS,
    ORDERS,
    STATE,
    TAPE,
    acceptance_id,
    fill_row,
    no,
    order_row,
    paged,
    stamp,
)
from tests.exchanges.loopback import NOW, Asked, Said, StillClock, Venue, loopback, wiring
from trading.instruments import Side
from trading.orders import State


@pytest.fixture
async def venue() -> AsyncIterator[Venue]:
    async with loopback() as served:
        rates = {"BTC_JPY": 0.0015, "FX_BTC_JPY": 0.0}
        served.answers[COMMISSION] = lambda asked: {"commission_rate": rates[asked.query["product_code"]]}
        yield served


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
async def exchange(venue: Venue, tmp_path: Path, clock: StillClock) -> AsyncIterator[Bitflyer]:
    made = Bitflyer(wiring(venue, tmp_path, clock, order_lifetime_minutes=7))
    yield made
    await made.close()


# -- instruments and status


async def test_sizes_are_our_own_table_and_fees_are_what_the_venue_tells(venue: Venue, exchange: Bitflyer) -> None:
    instruments = await exchange.instruments()
    assert set(instruments) == {"BTC/JPY", "BTC/JPY:JPY"}
    spot, cfd = instruments["BTC/JPY"], instruments["BTC/JPY:JPY"]
    assert (spot.min_quantity, spot.tick_size, spot.lot_size) == (
        Decimal("0.001"),
        1,
        Decimal("0.00000001"),
    )
    assert (spot.maker_fee_rate, spot.taker_fee_rate) == (Decimal("0.0015"), Decimal("0.0015"))
    assert (spot.fee_currency(Side.BUY), spot.fee_currency(Side.SELL)) == ("BTC", "BTC")
    assert (cfd.taker_fee_rate, cfd.fee_currency(Side.BUY)) == (0, "JPY")
    assert set(venue.paths()) == {COMMISSION}, "no other request at start"


async def test_a_product_that_the_account_does_not_have_is_left_out(venue: Venue, exchange: Bitflyer) -> None:
    spot_only = {"BTC_JPY": {"commission_rate": 0.001}}
    venue.answers[COMMISSION] = lambda asked: spot_only.get(asked.query["product_code"], no(-100, "Invalid product"))
    assert set(await exchange.instruments()) == {"BTC/JPY"}


async def test_a_missing_fee_rate_does_not_hide_a_product(venue: Venue, exchange: Bitflyer) -> None:
    venue.answers[COMMISSION] = no(-500, "Invalid signature", 401)
    with pytest.raises(AuthenticationError):
        await exchange.instruments()


@pytest.mark.parametrize(
    ("health", "state", "trading"),
    [
        ("NORMAL", "RUNNING", True),
        ("BUSY", "RUNNING", True),
        ("VERY BUSY", "RUNNING", False),
        ("SUPER BUSY", "RUNNING", False),
        ("NO ORDER", "RUNNING", False),
        ("STOP", "CLOSED", False),
        ("NORMAL", "PREOPEN", False),
        ("NORMAL", "CIRCUIT BREAK", False),
    ],
)
async def test_orders_are_taken_only_when_the_board_runs_and_is_not_overloaded(
    venue: Venue, exchange: Bitflyer, health: str, state: str, trading: bool
) -> None:
    venue.answers[STATE] = {"health": health, "state": state}
    told = await exchange.status("BTC/JPY")
    assert (told.trading, told.state) == (trading, state)
    assert health in told.detail
    assert venue.paths().count(STATE) == 1


# -- market data


async def test_a_ticker_keeps_the_venues_digits_and_its_time_is_utc(venue: Venue, exchange: Bitflyer) -> None:
    text = (
        '{"product_code":"BTC_JPY","timestamp":"2026-01-05T12:00:29.987","best_bid":13000000.10000000000000001,'
        '"best_ask":13000001.0,"ltp":13000000.0}'
    )
    venue.answers["GET /v1/getticker"] = Said(200, text)
    ticker = await exchange.ticker("BTC/JPY")
    assert ticker.bid == Decimal("13000000.10000000000000001")
    assert ticker.at == datetime(2026, 1, 5, 12, 0, 29, 987000, tzinfo=UTC)


async def test_the_book_is_sorted_and_cut_to_the_depth_that_was_asked_for(venue: Venue, exchange: Bitflyer) -> None:
    venue.answers["GET /v1/getboard"] = {
        "mid_price": 100.5,
        "bids": [{"price": 99.0, "size": 1.0}, {"price": 100.0, "size": 0.5}, {"price": 98.0, "size": 0.0}],
        "asks": [{"price": 102.0, "size": 1.0}, {"price": 101.0, "size": 0.5}, {"price": 103.0, "size": 1.0}],
    }
    book = await exchange.order_book("BTC/JPY", 2)
    assert [level.price for level in book.bids] == [100, 99]
    assert [level.price for level in book.asks] == [101, 102]
    assert book.at == NOW


async def test_candles_are_built_from_executions_and_later_ones_cost_one_short_page(
    venue: Venue, exchange: Bitflyer, clock: StillClock
) -> None:
    rows = [
        {
            "id": number,
            "side": "",
            "price": 100.0 + number,
            "size": 0.1,
            "exec_date": stamp(NOW - timedelta(seconds=400 - 10 * number)),
        }
        for number in range(1, 41)
    ]

    def tape(asked: Asked) -> list[dict[str, Any]]:
        after = int(asked.query.get("after", 0))
        before = int(asked.query.get("before", 10**9))
        fitting = [row for row in reversed(rows) if after < row["id"] < before]
        return fitting[: int(asked.query["count"])]

    venue.answers[TAPE] = tape
    candles = await exchange.candles("BTC/JPY", "1m", 3)
    assert [candle.opened_at.minute for candle in candles] == [57, 58, 59]
    assert candles[-1].volume == Decimal("0.6")
    clock.time = NOW + timedelta(minutes=1)
    rows.append({"id": 41, "side": "BUY", "price": 200.0, "size": 1.0, "exec_date": stamp(NOW)})
    later = await exchange.candles("BTC/JPY", "1m", 3)
    assert (later[-1].opened_at.minute, later[-1].close) == (0, 200)
    assert venue.asked[-1].query["after"] == "40"


async def test_more_candles_than_the_venue_keeps_executions_for_are_refused(venue: Venue, exchange: Bitflyer) -> None:
    with pytest.raises(BadRequest, match="31 candles of 1d"):
        await exchange.candles("BTC/JPY", "1d", 60)
    assert TAPE not in venue.paths()


async def test_the_end_of_kept_executions_ends_the_walk_back(venue: Venue, exchange: Bitflyer) -> None:
    row = {"id": 5, "side": "BUY", "price": 100.0, "size": 0.1, "exec_date": stamp(NOW - timedelta(hours=1))}
    venue.answers[TAPE] = lambda asked: no(-156, "too old") if "before" in asked.query else [row]
    assert await exchange.candles("BTC/JPY", "1m", 3) == ()


# -- the account


async def test_what_is_not_available_is_locked(venue: Venue, exchange: Bitflyer) -> None:
    venue.answers["GET /v1/me/getbalance"] = [
        {"currency_code": "JPY", "amount": 1024078.0, "available": 508000.0},
        {"currency_code": "BTC", "amount": 0.10000001, "available": 0.1},
        {"currency_code": "ETH", "amount": 0.0, "available": 0.0},
    ]
    balances = await exchange.balances()
    assert set(balances) == {"JPY", "BTC"}
    assert (balances["JPY"].free, balances["JPY"].locked) == (508000, 516078)
    assert balances["BTC"].locked == Decimal("0.00000001")


async def test_collateral_is_apart_from_the_balances(venue: Venue, exchange: Bitflyer) -> None:
    venue.answers["GET /v1/me/getcollateralaccounts"] = [{"currency_code": "JPY", "amount": 1000000.0}]
    assert await exchange.collateral() == {"JPY": 1000000}


async def test_a_position_is_the_sum_of_its_lots_at_their_weighted_price(venue: Venue, exchange: Bitflyer) -> None:
    venue.answers["GET /v1/me/getpositions"] = [
        {"product_code": "FX_BTC_JPY", "side": "SELL", "price": 100.0, "size": 0.1},
        {"product_code": "FX_BTC_JPY", "side": "SELL", "price": 130.0, "size": 0.2},
    ]
    (position,) = await exchange.positions("BTC/JPY:JPY")
    assert (position.side, position.quantity, position.entry_price) == (Side.SELL, Decimal("0.3"), 120)
    assert venue.asked[-1].query == {"product_code": "FX_BTC_JPY"}


async def test_a_flat_account_and_spot_have_no_position(venue: Venue, exchange: Bitflyer) -> None:
    venue.answers["GET /v1/me/getpositions"] = []
    assert await exchange.positions("BTC/JPY:JPY") == ()
    assert await exchange.positions("BTC/JPY") == ()


@pytest.mark.parametrize(
    ("word", "executed", "state"),
    [
        ("ACTIVE", 0.0, State.OPEN),
        ("ACTIVE", 0.004, State.PARTIALLY_FILLED),
        ("COMPLETED", 0.01, State.FILLED),
        ("COMPLETED", 0.004, State.CANCELLED),
        ("CANCELED", 0.004, State.CANCELLED),
        ("EXPIRED", 0.0, State.EXPIRED),
        ("REJECTED", 0.0, State.REJECTED),
    ],
)
async def test_every_word_for_an_orders_state_is_known(
    venue: Venue, exchange: Bitflyer, word: str, executed: float, state: State
) -> None:
    venue.answers[ORDERS] = [order_row(1, child_order_state=word, executed_size=executed)]
    order = await exchange.order("BTC/JPY", acceptance_id(1))
    assert (order.state, order.filled) == (state, Decimal(str(executed)))
    assert venue.asked[-1].query["child_order_acceptance_id"] == acceptance_id(1)


async def test_the_average_price_comes_from_the_row(venue: Venue, exchange: Bitflyer) -> None:
    row = order_row(
        1,
        child_order_type="MARKET",
        price=0.0,
        average_price=12999999.5,
        child_order_state="COMPLETED",
        executed_size=0.01,
    )
    venue.answers[ORDERS] = [row]
    order = await exchange.order("BTC/JPY", acceptance_id(1))
    assert (order.price, order.average_price) == (None, Decimal("12999999.5"))


async def test_an_order_that_is_not_listed_is_not_found(venue: Venue, exchange: Bitflyer) -> None:
    venue.answers[ORDERS] = []
    with pytest.raises(OrderNotFound):
        await exchange.order("BTC/JPY", acceptance_id(1))


async def test_more_open_orders_than_one_default_page_are_read(venue: Venue, exchange: Bitflyer) -> None:
    venue.answers[ORDERS] = paged([order_row(number) for number in range(1, 251)])
    assert len(await exchange.open_orders("BTC/JPY")) == 250
    assert venue.asked[-1].query["child_order_state"] == "ACTIVE"


async def test_a_list_of_open_orders_that_may_have_been_cut_is_no_answer(venue: Venue, exchange: Bitflyer) -> None:
    rows = [order_row(number) for number in range(1, 101)]
    venue.answers[ORDERS] = lambda asked: [] if "before" in asked.query else rows
    with pytest.raises(NoAnswer, match="100"):
        await exchange.open_orders("BTC/JPY")


async def test_the_commission_is_in_coin_and_the_yen_leg_is_booked_in_whole_yen_against_us(
    venue: Venue, exchange: Bitflyer
) -> None:
    venue.answers[FILLS] = [fill_row(2, side="SELL"), fill_row(1)]
    bought, sold = await exchange.fills("BTC/JPY", venue_order_id=acceptance_id(1))
    assert (bought.fee, bought.fee_currency) == (Decimal("0.00000185"), "BTC")
    assert (sold.fee, sold.fee_currency) == (Decimal("0.00000185"), "BTC")
    assert (bought.quote_quantity, sold.quote_quantity) == (12346, 12345)
    assert venue.asked[-1].query["child_order_acceptance_id"] == acceptance_id(1)


async def test_fills_are_walked_back_to_the_time_and_no_further(venue: Venue, exchange: Bitflyer) -> None:
    rows = [fill_row(number, NOW - timedelta(minutes=1000 - number)) for number in range(1, 1001)]
    venue.answers[FILLS] = paged(rows)
    fills = await exchange.fills("BTC/JPY", since=NOW - timedelta(minutes=150))
    assert [fill.id for fill in fills] == [str(number) for number in range(850, 1001)]
    assert venue.paths().count(FILLS) == 2


async def test_all_pages_of_one_orders_fills_are_read_each_once(venue: Venue, exchange: Bitflyer) -> None:
    venue.answers[FILLS] = paged([fill_row(number) for number in range(1, 251)])
    fills = await exchange.fills("BTC/JPY", venue_order_id=acceptance_id(1))
    assert [fill.id for fill in fills] == [str(number) for number in range(1, 251)]


@pytest.mark.parametrize(
    ("extra", "withdraw"),
    [((), False), (("/v1/me/withdraw",), True), (("/v1/me/sendcoin",), True)],
)
async def test_the_venue_tells_what_the_key_may_do(
    venue: Venue, exchange: Bitflyer, extra: tuple[str, ...], withdraw: bool
) -> None:
    paths = [
        f"/v1/me/{path}"
        for path in (
            "getbalance",
            "getchildorders",
            "getexecutions",
            "gettradingcommission",
            "sendchildorder",
            "cancelchildorder",
            "cancelallchildorders",
        )
    ]
    venue.answers["GET /v1/me/getpermissions"] = [*paths, *extra]
    rights = await exchange.key_rights()
    assert (rights.can_read, rights.can_trade, rights.can_withdraw) == (True, True, withdraw)


async def test_a_key_that_cannot_cancel_cannot_trade(venue: Venue, exchange: Bitflyer) -> None:
    venue.answers["GET /v1/me/getpermissions"] = ["/v1/me/getbalance", "/v1/me/sendchildorder"]
    rights = await exchange.key_rights()
    assert (rights.can_read, rights.can_trade) == (False, False)
    assert "/v1/me/cancelchildorder" in rights.detail
