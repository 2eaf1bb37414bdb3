from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchanges.adapter import to_ms
from exchanges.bitbank import Bitbank
from exchanges.errors import (
    BadRequest,
    NoAnswer,
)
from tests.exchanges.bitbank_answers import CIRCUIT, STATUS, TRADES, ok, order_row, pair, trade_row
from tests.exchanges.loopback import NOW, Asked, Said, StillClock, Venue, loopback, wiring
from trading.instruments import Side
from trading.orders import State


@pytest.fixture
async def venue() -> AsyncIterator[Venue]:
    async with loopback() as served:
        served.answers["GET /spot/pairs"] = ok(pairs=[pair("btc_jpy"), pair("eth_jpy")])
        yield served


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
async def exchange(venue: Venue, tmp_path: Path, clock: StillClock) -> AsyncIterator[Bitbank]:
    made = Bitbank(wiring(venue, tmp_path, clock))
    yield made
    await made.close()


# -- instruments and status


async def test_suspended_pairs_are_left_out_although_they_are_listed_as_enabled(
    venue: Venue, exchange: Bitbank
) -> None:
    venue.answers["GET /spot/pairs"] = ok(
        pairs=[
            pair("btc_jpy", maker_fee_rate_quote="0", taker_fee_rate_quote="0.001"),
            pair("old_jpy", stop_order=True),
            pair("older_jpy", stop_order_and_cancel=True),
            pair("gone_jpy", is_enabled=False),
        ]
    )
    instruments = await exchange.instruments()
    assert set(instruments) == {"BTC/JPY"}
    btc = instruments["BTC/JPY"]
    assert (btc.tick_size, btc.lot_size, btc.min_quantity) == (1, Decimal("0.0001"), Decimal("0.0001"))
    assert (btc.maker_fee_rate, btc.taker_fee_rate) == (0, Decimal("0.001"))
    assert (btc.fee_currency(Side.BUY), btc.fee_currency(Side.SELL)) == ("JPY", "JPY")
    assert btc.post_only and not btc.immediate_or_cancel


async def test_a_maker_rate_may_be_a_rebate(exchange: Bitbank) -> None:
    assert (await exchange.instrument("ETH/JPY")).maker_fee_rate == Decimal("-0.0002")


async def test_an_unknown_symbol_names_what_is_near(exchange: Bitbank) -> None:
    with pytest.raises(BadRequest, match="BTC/JPY"):
        await exchange.instrument("BTC/JPI")


async def test_the_smallest_order_rises_with_what_the_status_tells(venue: Venue, exchange: Bitbank) -> None:
    venue.answers[STATUS] = ok(statuses=[{"pair": "btc_jpy", "status": "BUSY", "min_amount": "0.01"}])
    venue.answers[CIRCUIT] = ok(mode="NONE")
    assert (await exchange.status("BTC/JPY")).trading
    assert (await exchange.instrument("BTC/JPY")).min_quantity == Decimal("0.01")
    venue.answers[STATUS] = ok(statuses=[{"pair": "btc_jpy", "status": "NORMAL", "min_amount": "0.0001"}])
    await exchange.status("BTC/JPY")
    assert (await exchange.instrument("BTC/JPY")).min_quantity == Decimal("0.0001")


@pytest.mark.parametrize(
    ("status", "mode", "trading", "state"),
    [
        ("NORMAL", "NONE", True, "NORMAL"),
        ("BUSY", "NONE", True, "BUSY"),
        ("NORMAL", "CIRCUIT_BREAK", False, "CIRCUIT_BREAK"),
        ("NORMAL", "RESUMPTION", False, "RESUMPTION"),
        ("VERY_BUSY", "NONE", False, "VERY_BUSY"),
        ("HALT", "NONE", False, "HALT"),
    ],
)
async def test_orders_are_taken_only_outside_a_halt_and_a_circuit_break(
    venue: Venue, exchange: Bitbank, status: str, mode: str, trading: bool, state: str
) -> None:
    venue.answers[STATUS] = ok(statuses=[{"pair": "btc_jpy", "status": status, "min_amount": "0.0001"}])
    venue.answers[CIRCUIT] = ok(mode=mode, reopen_timestamp=None)
    told = await exchange.status("BTC/JPY")
    assert (told.trading, told.state) == (trading, state)


async def test_a_halted_venue_is_asked_nothing_more(venue: Venue, exchange: Bitbank) -> None:
    venue.answers[STATUS] = ok(statuses=[{"pair": "btc_jpy", "status": "HALT", "min_amount": "0.0001"}])
    await exchange.status("BTC/JPY")
    assert "GET /btc_jpy/circuit_break_info" not in venue.paths()


# -- market data


async def test_a_ticker_without_prices_is_refused(venue: Venue, exchange: Bitbank) -> None:
    row = {"sell": None, "buy": None, "last": "1", "timestamp": to_ms(NOW)}
    venue.answers["GET /btc_jpy/ticker"] = ok(**row)
    with pytest.raises(BadRequest, match="suspended"):
        await exchange.ticker("BTC/JPY")


async def test_the_book_is_cut_to_the_depth_that_was_asked_for(venue: Venue, exchange: Bitbank) -> None:
    asks = [[str(13000001 + step), "0.1"] for step in range(200)]
    bids = [[str(13000000 - step), "0.2"] for step in range(200)]
    venue.answers["GET /btc_jpy/depth"] = ok(asks=asks, bids=bids, timestamp=to_ms(NOW))
    book = await exchange.order_book("BTC/JPY", 5)
    assert (len(book.bids), len(book.asks), book.at) == (5, 5, NOW)
    assert (book.bids[0].price, book.asks[0].price) == (13000000, 13000001)


def bars(first: datetime, count: int, step: timedelta) -> list[list[Any]]:
    return [["1", "3", "0.5", "2", "0.25", to_ms(first + step * number)] for number in range(count)]


def candle_files(files: dict[str, list[list[Any]]], kind: str) -> dict[str, Any]:
    def answer(name: str) -> dict[str, Any]:
        return ok(candlestick=[{"type": kind, "ohlcv": files[name]}], timestamp=to_ms(NOW))

    return {f"GET /btc_jpy/candlestick/{kind}/{name}": answer(name) for name in files}


NO_FILE = Said(404, '{"success":0,"data":{"code":10000}}', "text/plain")


async def test_candles_are_the_last_closed_ones_joined_over_midnight(
    venue: Venue, exchange: Bitbank, clock: StillClock
) -> None:
    clock.time = datetime(2026, 1, 5, 0, 10, 30, tzinfo=UTC)
    midnight = datetime(2026, 1, 5, tzinfo=UTC)
    minute = timedelta(minutes=1)
    files = {
        "20260104": bars(midnight - timedelta(days=1), 1440, minute),
        "20260105": bars(midnight, 11, minute),
    }
    venue.answers.update(candle_files(files, "1min"))
    candles = await exchange.candles("BTC/JPY", "1m", 30)
    assert [candle.opened_at for candle in candles] == [midnight + minute * number for number in range(-20, 10)]
    assert (candles[-1].open, candles[-1].high, candles[-1].low) == (1, 3, Decimal("0.5"))
    assert (candles[-1].close, candles[-1].volume) == (2, Decimal("0.25"))


async def test_a_file_of_a_past_day_is_asked_for_once(venue: Venue, exchange: Bitbank, clock: StillClock) -> None:
    clock.time = datetime(2026, 1, 5, 0, 10, 30, tzinfo=UTC)
    midnight = datetime(2026, 1, 5, tzinfo=UTC)
    minute = timedelta(minutes=1)
    files = {
        "20260104": bars(midnight - timedelta(days=1), 1440, minute),
        "20260105": bars(midnight, 11, minute),
    }
    venue.answers.update(candle_files(files, "1min"))
    await exchange.candles("BTC/JPY", "1m", 30)
    await exchange.candles("BTC/JPY", "1m", 30)
    assert venue.paths().count("GET /btc_jpy/candlestick/1min/20260104") == 1
    assert venue.paths().count("GET /btc_jpy/candlestick/1min/20260105") == 2


async def test_the_file_of_a_new_day_may_be_absent(venue: Venue, exchange: Bitbank, clock: StillClock) -> None:
    clock.time = datetime(2026, 1, 5, 0, 0, 20, tzinfo=UTC)
    day_before = datetime(2026, 1, 4, tzinfo=UTC)
    venue.answers.update(candle_files({"20260104": bars(day_before, 1440, timedelta(minutes=1))}, "1min"))
    venue.answers["GET /btc_jpy/candlestick/1min/20260105"] = NO_FILE
    candles = await exchange.candles("BTC/JPY", "1m", 3)
    assert candles[-1].opened_at == datetime(2026, 1, 4, 23, 59, tzinfo=UTC)


async def test_bars_of_four_hours_and_more_come_from_year_files(
    venue: Venue, exchange: Bitbank, clock: StillClock
) -> None:
    clock.time = datetime(2026, 1, 2, 5, tzinfo=UTC)
    step = timedelta(hours=4)
    files = {
        "2025": bars(datetime(2025, 12, 1, tzinfo=UTC), 31 * 6, step),
        "2026": bars(datetime(2026, 1, 1, tzinfo=UTC), 8, step),
    }
    venue.answers.update(candle_files(files, "4hour"))
    candles = await exchange.candles("BTC/JPY", "4h", 10)
    assert [candle.opened_at for candle in candles] == [
        datetime(2026, 1, 2, tzinfo=UTC) - step * number for number in range(9, -1, -1)
    ]


async def test_a_young_pair_gives_the_candles_that_there_are(
    venue: Venue, exchange: Bitbank, clock: StillClock
) -> None:
    clock.time = datetime(2026, 1, 5, 12, tzinfo=UTC)
    hour = timedelta(hours=1)
    venue.answers.update(candle_files({"20260105": bars(datetime(2026, 1, 5, 9, tzinfo=UTC), 3, hour)}, "1hour"))
    for day in ("20260104", "20260103", "20260102"):
        venue.answers[f"GET /btc_jpy/candlestick/1hour/{day}"] = NO_FILE
    assert len(await exchange.candles("BTC/JPY", "1h", 60)) == 3


# -- the account


async def test_balances_are_free_and_locked_and_leave_out_nothing_held(venue: Venue, exchange: Bitbank) -> None:
    venue.answers["GET /v1/user/assets"] = ok(
        assets=[
            {
                "asset": "jpy",
                "free_amount": "870000.0000",
                "locked_amount": "130000.0000",
                "onhand_amount": "1000000.0000",
            },
            {"asset": "btc", "free_amount": "0", "locked_amount": "0.1", "onhand_amount": "0.1"},
            {"asset": "eth", "free_amount": "0", "locked_amount": "0", "onhand_amount": "0"},
        ]
    )
    balances = await exchange.balances()
    assert set(balances) == {"JPY", "BTC"}
    assert (balances["JPY"].free, balances["JPY"].locked) == (870000, 130000)
    assert (balances["BTC"].free, balances["BTC"].locked) == (0, Decimal("0.1"))


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("INACTIVE", State.OPEN),
        ("UNFILLED", State.OPEN),
        ("PARTIALLY_FILLED", State.PARTIALLY_FILLED),
        ("FULLY_FILLED", State.FILLED),
        ("CANCELED_UNFILLED", State.CANCELLED),
        ("CANCELED_PARTIALLY_FILLED", State.CANCELLED),
        ("REJECTED", State.REJECTED),
    ],
)
async def test_every_word_for_an_orders_state_is_known(
    venue: Venue, exchange: Bitbank, word: str, state: State
) -> None:
    venue.answers["GET /v1/user/spot/order"] = ok(**order_row(7, status=word))
    assert (await exchange.order("BTC/JPY", "7")).state is state


async def test_an_average_price_of_zero_means_none(venue: Venue, exchange: Bitbank) -> None:
    venue.answers["GET /v1/user/spot/order"] = ok(**order_row(7))
    assert (await exchange.order("BTC/JPY", "7")).average_price is None
    row = order_row(7, average_price="12999999.5", executed_amount="0.0040", status="PARTIALLY_FILLED")
    venue.answers["GET /v1/user/spot/order"] = ok(**row)
    order = await exchange.order("BTC/JPY", "7")
    assert (order.average_price, order.filled) == (Decimal("12999999.5"), Decimal("0.004"))


async def test_fills_are_asked_for_in_milliseconds_from_the_oldest_on(venue: Venue, exchange: Bitbank) -> None:
    venue.answers[TRADES] = ok(trades=[trade_row(1)])
    (fill,) = await exchange.fills("BTC/JPY", since=NOW)
    assert venue.asked[-1].query == {
        "pair": "btc_jpy",
        "count": "1000",
        "order": "asc",
        "since": str(to_ms(NOW)),
    }
    assert (fill.fee, fill.fee_currency, fill.maker) == (130, "JPY", False)
    assert (fill.quote_quantity, fill.venue_order_id) == (130000, "7")


async def test_a_rebate_is_a_negative_fee(venue: Venue, exchange: Bitbank) -> None:
    venue.answers[TRADES] = ok(trades=[trade_row(1, maker_taker="maker", fee_amount_quote="-26")])
    (fill,) = await exchange.fills("BTC/JPY")
    assert (fill.fee, fill.maker) == (-26, True)


async def test_fills_beyond_the_first_thousand_are_read_each_once(venue: Venue, exchange: Bitbank) -> None:
    # Ten trades share each moment, so that a page ends within one.
    rows = [trade_row(number, executed_at=to_ms(NOW) + number // 10) for number in range(2503)]

    def history(asked: Asked) -> dict[str, Any]:
        since = int(asked.query.get("since", 0))
        return ok(trades=[row for row in rows if row["executed_at"] >= since][: int(asked.query["count"])])

    venue.answers[TRADES] = history
    fills = await exchange.fills("BTC/JPY")
    assert [fill.id for fill in fills] == [str(number) for number in range(2503)]


async def test_a_trade_history_that_does_not_move_on_is_not_taken_for_complete(venue: Venue, exchange: Bitbank) -> None:
    venue.answers[TRADES] = ok(trades=[trade_row(number, executed_at=to_ms(NOW)) for number in range(1000)])
    with pytest.raises(NoAnswer):
        await exchange.fills("BTC/JPY")


async def test_the_rights_of_a_key_are_unknown(exchange: Bitbank) -> None:
    rights = await exchange.key_rights()
    assert (rights.can_read, rights.can_trade, rights.can_withdraw) == (None, None, None)
