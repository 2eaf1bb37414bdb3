import hashlib
import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchanges.adapter import to_ms
from exchanges.bitbank import Bitbank, BitbankReader
from exchanges.errors import (
    AuthenticationError,
    BadRequest,
    Busy,
    ClockSkew,
    InsufficientFunds,
    Maintenance,
    NoAnswer,
    OrderNotFound,
    PermissionDenied,
    RateLimitExceeded,
    VenueError,
)
from tests.exchanges.loopback import NOW, Asked, Said, StillClock, Venue, loopback, wiring
from trading.instruments import Side
from trading.orders import OrderIntent, OrderType, State, TimeInForce

ORDER = "POST /v1/user/spot/order"
CANCEL = "POST /v1/user/spot/cancel_order"
CANCEL_MANY = "POST /v1/user/spot/cancel_orders"
ACTIVE = "GET /v1/user/spot/active_orders"
TRADES = "GET /v1/user/spot/trade_history"
STATUS = "GET /v1/spot/status"
CIRCUIT = "GET /btc_jpy/circuit_break_info"


def ok(**data: Any) -> dict[str, Any]:
    return {"success": 1, "data": data}


def no(code: int) -> dict[str, Any]:
    return {"success": 0, "data": {"code": code}}


def pair(name: str, **changes: Any) -> dict[str, Any]:
    base, quote = name.split("_")
    return {
        "name": name,
        "base_asset": base,
        "quote_asset": quote,
        "maker_fee_rate_base": "0",
        "taker_fee_rate_base": "0",
        "maker_fee_rate_quote": "-0.0002",
        "taker_fee_rate_quote": "0.0012",
        "unit_amount": "0.0001",
        "limit_max_amount": "1000",
        "market_max_amount": "10",
        "market_allowance_rate": "0.2",
        "price_digits": 0,
        "amount_digits": 4,
        "is_enabled": True,
        "stop_order": False,
        "stop_order_and_cancel": False,
        **changes,
    }


def order_row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "order_id": number,
        "pair": "btc_jpy",
        "side": "buy",
        "type": "limit",
        "start_amount": "0.0100",
        "remaining_amount": "0.0100",
        "executed_amount": "0.0000",
        "price": "13000000",
        "post_only": False,
        "user_cancelable": True,
        "average_price": "0",
        "ordered_at": to_ms(NOW),
        "expire_at": to_ms(NOW + timedelta(days=180)),
        "status": "UNFILLED",
        **changes,
    }


def trade_row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "trade_id": number,
        "pair": "btc_jpy",
        "order_id": 7,
        "side": "buy",
        "type": "limit",
        "amount": "0.0100",
        "price": "13000000",
        "maker_taker": "taker",
        "fee_amount_base": "0",
        "fee_amount_quote": "130.0000",
        "executed_at": to_ms(NOW) + number,
        **changes,
    }


def intent(**changes: Any) -> OrderIntent:
    facts: dict[str, Any] = {
        "client_order_id": "0" * 32,
        "venue": "bitbank",
        "symbol": "BTC/JPY",
        "side": Side.BUY,
        "type": OrderType.LIMIT,
        "quantity": Decimal("0.01"),
        "price": Decimal("13000000"),
        "time_in_force": TimeInForce.GOOD_TILL_CANCELLED,
        "decision_price": Decimal("13000000"),
        "decided_at": NOW,
        "reason": "test",
    }
    return OrderIntent(**{**facts, **changes})


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


# -- what is sent


async def test_a_request_is_signed_over_its_raw_bytes_with_a_short_time_window(
    venue: Venue, exchange: Bitbank
) -> None:
    venue.answers[ORDER] = ok(**order_row(7))
    venue.answers[ACTIVE] = ok(orders=[])
    await exchange.place(intent())
    await exchange.open_orders("BTC/JPY")
    posted, got = venue.asked[-2], venue.asked[-1]
    for asked, said in ((posted, posted.body), (got, "/v1/user/spot/active_orders?pair=btc_jpy")):
        stamp, window = asked.headers["ACCESS-REQUEST-TIME"], asked.headers["ACCESS-TIME-WINDOW"]
        expected = hmac.new(b"test-secret", (stamp + window + said).encode(), hashlib.sha256).hexdigest()
        assert asked.headers["ACCESS-SIGNATURE"] == expected
        assert window == "3000"
        assert abs(int(stamp) - datetime.now(UTC).timestamp() * 1000) < 5000


async def test_an_order_carries_the_decided_digits_as_text_and_is_not_post_only_unless_asked(
    venue: Venue, exchange: Bitbank
) -> None:
    venue.answers[ORDER] = ok(**order_row(987654321))
    assert await exchange.place(intent(quantity=Decimal("0.0123"))) == "987654321"
    assert venue.asked[-1].told == {
        "pair": "btc_jpy",
        "amount": "0.0123",
        "side": "buy",
        "type": "limit",
        "price": "13000000",
        "post_only": False,
    }


async def test_a_post_only_order_uses_the_venues_own_word(venue: Venue, exchange: Bitbank) -> None:
    venue.answers[ORDER] = ok(**order_row(7))
    await exchange.place(intent(time_in_force=TimeInForce.POST_ONLY))
    assert venue.asked[-1].told["post_only"] is True
    assert "postOnly" not in venue.asked[-1].told


async def test_a_market_order_has_no_price(venue: Venue, exchange: Bitbank) -> None:
    venue.answers[ORDER] = ok(**order_row(7))
    await exchange.place(intent(type=OrderType.MARKET, price=None, side=Side.SELL))
    assert venue.asked[-1].told == {"pair": "btc_jpy", "amount": "0.01", "side": "sell", "type": "market"}


@pytest.mark.parametrize(
    "impossible",
    [
        {"time_in_force": TimeInForce.IMMEDIATE_OR_CANCEL},
        {"type": OrderType.MARKET, "price": None, "quantity": Decimal("10.0001")},
        {"symbol": "DOGE/JPY"},
    ],
)
async def test_what_the_venue_cannot_do_is_refused_without_a_request(
    venue: Venue, exchange: Bitbank, impossible: dict[str, Any]
) -> None:
    with pytest.raises(BadRequest):
        await exchange.place(intent(**impossible))
    assert ORDER not in venue.paths()


async def test_an_order_is_sent_once_whatever_comes_back(venue: Venue, tmp_path: Path) -> None:
    venue.answers[ORDER] = Said(503, "<html>unavailable</html>", "text/html")
    exchange = Bitbank(wiring(venue, tmp_path, StillClock(), attempts=3))
    with pytest.raises(NoAnswer):
        await exchange.place(intent())
    assert venue.paths().count(ORDER) == 1
    await exchange.close()


# -- what an answer means


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (no(10001), NoAnswer),
        (no(10005), NoAnswer),
        (no(10008), NoAnswer),
        (no(70001), NoAnswer),
        (no(70011), NoAnswer),
        (no(99999), NoAnswer),
        (ok(), NoAnswer),
        (Said(200, ""), NoAnswer),
        (Said(200, "<html></html>", "text/html"), NoAnswer),
        (Said(200, '{"success":1,"data":{"order_'), NoAnswer),
        (Said(500, '{"success":1,"data":{"order_id":7}}'), NoAnswer),
        (no(10007), Maintenance),
        (no(10009), RateLimitExceeded),
        (Said(429, '{"success":0,"data":{"code":10009}}'), RateLimitExceeded),
        (no(20001), AuthenticationError),
        (no(20035), ClockSkew),
        (no(50008), PermissionDenied),
        (no(60001), InsufficientFunds),
        (no(60004), BadRequest),
        (no(60011), BadRequest),
        (no(40020), BadRequest),
        (no(70004), Busy),
        (no(70010), Busy),
        (no(70020), Busy),
    ],
)
async def test_the_code_in_the_body_decides_whether_an_order_may_exist(
    venue: Venue, exchange: Bitbank, answer: Any, kind: type[VenueError]
) -> None:
    venue.answers[ORDER] = answer
    with pytest.raises(VenueError) as caught:
        await exchange.place(intent())
    assert type(caught.value) is kind


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 500])
async def test_the_code_is_read_from_the_body_at_every_http_status(
    venue: Venue, exchange: Bitbank, status: int
) -> None:
    venue.answers[ORDER] = Said(status, '{"success":0,"data":{"code":60001}}', "text/plain")
    with pytest.raises(InsufficientFunds) as caught:
        await exchange.place(intent())
    assert caught.value.code == "60001"


@pytest.mark.parametrize("code", [50010, 50026, 50027])
async def test_cancelling_an_order_that_has_ended_is_no_error(
    venue: Venue, exchange: Bitbank, code: int
) -> None:
    venue.answers[CANCEL] = no(code)
    await exchange.cancel("BTC/JPY", "7")
    assert venue.asked[-1].told == {"pair": "btc_jpy", "order_id": 7}


async def test_cancelling_an_order_that_never_was_is_an_error(venue: Venue, exchange: Bitbank) -> None:
    venue.answers[CANCEL] = no(50009)
    with pytest.raises(OrderNotFound):
        await exchange.cancel("BTC/JPY", "7")


async def test_cancel_all_sends_thirty_orders_a_request(venue: Venue, exchange: Bitbank) -> None:
    venue.answers[ACTIVE] = ok(orders=[order_row(number) for number in range(1, 66)])
    venue.answers[CANCEL_MANY] = lambda asked: ok(orders=[order_row(1)])
    await exchange.cancel_all("BTC/JPY")
    sent = [asked.told["order_ids"] for asked in venue.asked if asked.path.endswith("cancel_orders")]
    assert [len(ids) for ids in sent] == [30, 30, 5]
    assert sorted(number for ids in sent for number in ids) == list(range(1, 66))


async def test_cancel_all_goes_one_by_one_when_one_of_them_had_ended(venue: Venue, exchange: Bitbank) -> None:
    venue.answers[ACTIVE] = ok(orders=[order_row(1), order_row(2)])
    venue.answers[CANCEL_MANY] = no(50027)
    venue.answers[CANCEL] = lambda asked: no(50027) if asked.told["order_id"] == 1 else ok(**order_row(2))
    await exchange.cancel_all("BTC/JPY")
    assert [asked.told["order_id"] for asked in venue.asked if asked.path.endswith("cancel_order")] == [1, 2]


async def test_no_list_of_orders_is_not_an_empty_list(venue: Venue, exchange: Bitbank) -> None:
    venue.answers[ACTIVE] = ok()
    with pytest.raises(NoAnswer):
        await exchange.open_orders("BTC/JPY")


@pytest.mark.parametrize("broken", [{"status": "NEW_WORD"}, {"start_amount": "much"}, {"side": None}])
async def test_an_order_that_cannot_be_read_is_no_answer(
    venue: Venue, exchange: Bitbank, broken: dict[str, Any]
) -> None:
    venue.answers[ACTIVE] = ok(orders=[order_row(1, **broken)])
    with pytest.raises(NoAnswer):
        await exchange.open_orders("BTC/JPY")


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
    assert [candle.opened_at for candle in candles] == [
        midnight + minute * number for number in range(-20, 10)
    ]
    assert (candles[-1].open, candles[-1].high, candles[-1].low) == (1, 3, Decimal("0.5"))
    assert (candles[-1].close, candles[-1].volume) == (2, Decimal("0.25"))


async def test_a_file_of_a_past_day_is_asked_for_once(
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
    await exchange.candles("BTC/JPY", "1m", 30)
    await exchange.candles("BTC/JPY", "1m", 30)
    assert venue.paths().count("GET /btc_jpy/candlestick/1min/20260104") == 1
    assert venue.paths().count("GET /btc_jpy/candlestick/1min/20260105") == 2


async def test_the_file_of_a_new_day_may_be_absent(
    venue: Venue, exchange: Bitbank, clock: StillClock
) -> None:
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
    venue.answers.update(
        candle_files({"20260105": bars(datetime(2026, 1, 5, 9, tzinfo=UTC), 3, hour)}, "1hour")
    )
    for day in ("20260104", "20260103", "20260102"):
        venue.answers[f"GET /btc_jpy/candlestick/1hour/{day}"] = NO_FILE
    assert len(await exchange.candles("BTC/JPY", "1h", 60)) == 3


# -- the account


async def test_balances_are_free_and_locked_and_leave_out_nothing_held(
    venue: Venue, exchange: Bitbank
) -> None:
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


async def test_fills_are_asked_for_in_milliseconds_from_the_oldest_on(
    venue: Venue, exchange: Bitbank
) -> None:
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


async def test_a_trade_history_that_does_not_move_on_is_not_taken_for_complete(
    venue: Venue, exchange: Bitbank
) -> None:
    venue.answers[TRADES] = ok(trades=[trade_row(number, executed_at=to_ms(NOW)) for number in range(1000)])
    with pytest.raises(NoAnswer):
        await exchange.fills("BTC/JPY")


async def test_the_rights_of_a_key_are_unknown(exchange: Bitbank) -> None:
    rights = await exchange.key_rights()
    assert (rights.can_read, rights.can_trade, rights.can_withdraw) == (None, None, None)


# -- an order of which no answer came


async def test_a_lost_order_is_found_resting_by_its_fingerprint(venue: Venue, exchange: Bitbank) -> None:
    venue.answers[ACTIVE] = ok(
        orders=[
            order_row(1),
            order_row(2, side="sell"),
            order_row(3, price="13000001"),
            order_row(4, start_amount="0.0101"),
            order_row(5, ordered_at=to_ms(NOW - timedelta(seconds=2))),
            order_row(6, ordered_at=to_ms(NOW + timedelta(minutes=5))),
            order_row(8, type="market", price=None),
            order_row(9),
        ]
    )
    venue.answers[TRADES] = ok(trades=[])
    found = await exchange.find_order(intent(), NOW, frozenset({"1"}))
    assert [order.venue_order_id for order in found] == ["9"]


async def test_a_lost_order_that_has_filled_is_found_through_its_trades(
    venue: Venue, exchange: Bitbank
) -> None:
    venue.answers[ACTIVE] = ok(orders=[])
    venue.answers[TRADES] = ok(
        trades=[trade_row(1, order_id=7), trade_row(2, order_id=7), trade_row(3, order_id=8)]
    )
    venue.answers["GET /v1/user/spot/order"] = lambda asked: ok(
        **order_row(int(asked.query["order_id"]), status="FULLY_FILLED", executed_amount="0.0100")
    )
    found = await exchange.find_order(intent(), NOW, frozenset({"8"}))
    assert [(order.venue_order_id, order.state) for order in found] == [("7", State.FILLED)]
    assert venue.paths().count("GET /v1/user/spot/order") == 1
    since = next(asked.query["since"] for asked in venue.asked if asked.path.endswith("trade_history"))
    assert since == str(to_ms(NOW - timedelta(seconds=5)))


# -- what cannot be done


def test_a_reader_has_no_way_to_place_or_cancel() -> None:
    assert not {"place", "cancel", "cancel_all"} & set(dir(BitbankReader))
