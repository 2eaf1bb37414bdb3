import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt
import pytest

from config.credentials import Credentials
from config.secret import Secret
from exchanges.adapter import to_ms
from exchanges.budget import RequestBudget
from exchanges.errors import (
    AuthenticationError,
    BadRequest,
    ClockSkew,
    InsufficientFunds,
    Maintenance,
    NoAnswer,
    OrderNotFound,
    PermissionDenied,
    RateLimitExceeded,
    VenueError,
)
from exchanges.okcoinjp import Okj, OkjClient
from exchanges.transport import connect
from tests.exchanges.loopback import NOW, Asked, Said, StillClock, Venue, loopback, wiring
from trading.instruments import FeeIn, Side
from trading.orders import OrderIntent, OrderType, State, TimeInForce

SYMBOL = "BTC/JPY"
PLACE = "POST /api/v5/trade/order"
ORDER = "GET /api/v5/trade/order"
CANCEL = "POST /api/v5/trade/cancel-order"
CANCEL_MANY = "POST /api/v5/trade/cancel-batch-orders"
PENDING = "GET /api/v5/trade/orders-pending"
HISTORY = "GET /api/v5/trade/orders-history"
FILLS = "GET /api/v5/trade/fills"
OLD_FILLS = "GET /api/v5/trade/fills-history"
CANDLES = "GET /api/v5/market/candles"
OLD_CANDLES = "GET /api/v5/market/history-candles"
INSTRUMENTS = "GET /api/v5/public/instruments"
BALANCE = "GET /api/v5/account/balance"
CONFIG = "GET /api/v5/account/config"
CREDENTIALS = Credentials(Secret("test-key"), Secret("test-secret"), Secret("test-phrase"))
CLIENT_ID = "0123456789abcdef0123456789abcdef"


def ok(*rows: Any) -> dict[str, Any]:
    return {"code": "0", "msg": "", "data": list(rows)}


def no(code: str, message: str = "no") -> dict[str, Any]:
    return {"code": code, "msg": message, "data": []}


def refused_row(code: str, message: str = "no", outer: str = "1") -> dict[str, Any]:
    row = {"ordId": "", "clOrdId": CLIENT_ID, "sCode": code, "sMsg": message}
    return {"code": outer, "msg": "All operations failed", "data": [row]}


def instrument_row(**changes: Any) -> dict[str, Any]:
    row = {
        "instType": "SPOT",
        "instId": "BTC-JPY",
        "baseCcy": "BTC",
        "quoteCcy": "JPY",
        "lotSz": "0.00000001",
        "tickSz": "1",
        "minSz": "0.001",
        "maxLmtSz": "9999",
        "state": "live",
    }
    return {**row, **changes}


def order_row(order_id: str = "700", **changes: Any) -> dict[str, Any]:
    row = {
        "instType": "SPOT",
        "instId": "BTC-JPY",
        "ordId": order_id,
        "clOrdId": CLIENT_ID,
        "px": "10000000",
        "sz": "0.001",
        "ordType": "limit",
        "side": "buy",
        "accFillSz": "0",
        "avgPx": "",
        "state": "live",
        "tgtCcy": "",
        "cTime": "1795336966634",
    }
    return {**row, **changes}


def fill_row(number: int, at: datetime = NOW, **changes: Any) -> dict[str, Any]:
    row = {
        "instId": "BTC-JPY",
        "tradeId": f"t{number}",
        "billId": f"b{number}",
        "ordId": "700",
        "clOrdId": CLIENT_ID,
        "side": "buy",
        "fillPx": "10000001",
        "fillSz": "0.001",
        "fee": "-0.0000014",
        "feeCcy": "BTC",
        "execType": "T",
        "ts": str(to_ms(at)),
    }
    return {**row, **changes}


def candle_row(opened: datetime, now: datetime = NOW, price: int = 100, minutes: int = 1) -> list[str]:
    closed = "1" if opened + timedelta(minutes=minutes) <= now else "0"
    prices = [str(price), str(price + 2), str(price - 2), str(price + 1)]
    return [str(to_ms(opened)), *prices, "1.5", "150", "150", closed]


def intent(**changes: Any) -> OrderIntent:
    values: dict[str, Any] = {
        "client_order_id": CLIENT_ID,
        "venue": "okcoinjp",
        "symbol": SYMBOL,
        "side": Side.BUY,
        "type": OrderType.LIMIT,
        "quantity": Decimal("0.0010"),
        "price": Decimal("10000000"),
        "time_in_force": TimeInForce.GOOD_TILL_CANCELLED,
        "decision_price": Decimal("10000000"),
        "decided_at": NOW,
        "reason": "test",
    }
    return OrderIntent(**{**values, **changes})


@pytest.fixture
async def venue() -> AsyncIterator[Venue]:
    async with loopback() as running:
        running.answers = {
            INSTRUMENTS: ok(instrument_row(), instrument_row(baseCcy="ETH", instId="ETH-JPY", state="suspend")),
            "GET /api/v5/account/trade-fee": ok({"instType": "SPOT", "maker": "-0.0007", "taker": "-0.0014"}),
        }
        yield running


@pytest.fixture
async def exchange(venue: Venue, tmp_path: Path) -> AsyncIterator[Okj]:
    okj = Okj(wiring(venue, tmp_path, StillClock(), credentials=CREDENTIALS))
    await okj.instruments()
    venue.asked.clear()
    yield okj
    await okj.close()


# -- what is sent


async def test_requests_are_signed_over_their_raw_bytes(venue: Venue, exchange: Okj) -> None:
    venue.answers |= {PLACE: ok({"ordId": "1", "sCode": "0"}), ORDER: ok(order_row())}
    await exchange.place(intent())
    await exchange.order(SYMBOL, "700")
    for asked in venue.asked:
        query = "?" + "&".join(f"{key}={value}" for key, value in asked.query.items()) if asked.query else ""
        text = asked.headers["OK-ACCESS-TIMESTAMP"] + asked.method + asked.path + query + asked.body
        sign = hmac.new(b"test-secret", text.encode(), hashlib.sha256).digest()
        assert asked.headers["OK-ACCESS-SIGN"] == base64.b64encode(sign).decode()
        assert asked.headers["OK-ACCESS-PASSPHRASE"] == "test-phrase"
        assert "x-simulated-trading" not in {name.lower() for name in asked.headers}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"ordType": "limit", "px": "10000000"}),
        ({"time_in_force": TimeInForce.POST_ONLY}, {"ordType": "post_only", "px": "10000000"}),
        ({"time_in_force": TimeInForce.IMMEDIATE_OR_CANCEL}, {"ordType": "ioc", "px": "10000000"}),
        # A market buy would count in yen, and an underfunded one would be made smaller in silence.
        (
            {"type": OrderType.MARKET, "price": None},
            {"ordType": "market", "tgtCcy": "base_ccy", "banAmend": True},
        ),
    ],
)
async def test_an_order_says_exactly_what_was_decided_and_carries_no_brokers_tag(
    venue: Venue, exchange: Okj, changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    venue.answers[PLACE] = ok({"ordId": "700", "clOrdId": CLIENT_ID, "sCode": "0", "sMsg": ""})
    assert await exchange.place(intent(**changes)) == "700"
    common = {"instId": "BTC-JPY", "tdMode": "cash", "side": "buy", "sz": "0.001", "clOrdId": CLIENT_ID}
    assert [asked.told for asked in venue.asked] == [common | expected]


@pytest.mark.parametrize("answer", [ok(), ok({"ordId": "", "sCode": "0"}), {"code": "0", "msg": "", "data": {}}])
async def test_an_order_answer_without_an_id_is_no_answer(venue: Venue, exchange: Okj, answer: dict[str, Any]) -> None:
    venue.answers[PLACE] = answer
    with pytest.raises(NoAnswer):
        await exchange.place(intent())


@pytest.mark.parametrize("outer", ["0", "1", "2"])
async def test_a_refusal_inside_a_row_is_a_refusal_under_every_outer_code(
    venue: Venue, exchange: Okj, outer: str
) -> None:
    venue.answers[PLACE] = refused_row("51008", "insufficient balance", outer)
    with pytest.raises(InsufficientFunds) as raised:
        await exchange.place(intent())
    assert raised.value.code == "51008"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("50001", Maintenance),
        ("50011", RateLimitExceeded),
        ("50040", RateLimitExceeded),
        ("50061", RateLimitExceeded),
        ("50102", ClockSkew),
        ("50111", AuthenticationError),
        ("50113", AuthenticationError),
        ("50119", AuthenticationError),
        ("50110", PermissionDenied),
        ("50120", PermissionDenied),
        ("51000", BadRequest),
        ("51020", BadRequest),
        ("51008", InsufficientFunds),
        # timed out inside, or an order with our id is pending
        ("50004", NoAnswer),
        ("50026", NoAnswer),
        ("51016", NoAnswer),
        ("65432", NoAnswer),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
async def test_the_code_decides_at_every_http_status_whether_an_order_may_exist(
    venue: Venue, exchange: Okj, code: str, kind: type[VenueError], status: int
) -> None:
    venue.answers[PLACE] = Said(status, f'{{"code":"{code}","msg":"no","data":[]}}')
    with pytest.raises(kind) as raised:
        await exchange.place(intent())
    assert type(raised.value) is kind
    assert len(venue.asked) == 1


async def test_a_path_that_okj_lacks_is_a_bad_request_although_its_code_is_a_number(
    venue: Venue, exchange: Okj
) -> None:
    body = '{"code":404,"data":{},"error_code":"404","error_message":"Not Found","msg":"Not Found"}'
    venue.answers[CONFIG] = Said(404, body)
    with pytest.raises(BadRequest, match="Not Found"):
        await exchange.key_rights()


@pytest.mark.parametrize("code", ["51400", "51401", "51402", "51410", "51603"])
async def test_cancelling_an_order_that_has_ended_is_no_error(venue: Venue, exchange: Okj, code: str) -> None:
    venue.answers[CANCEL] = refused_row(code)
    await exchange.cancel(SYMBOL, "700")
    assert venue.asked[0].told == {"instId": "BTC-JPY", "ordId": "700"}


async def test_cancel_all_sends_twenty_orders_a_request(venue: Venue, exchange: Okj) -> None:
    venue.answers[PENDING] = ok(*(order_row(str(number)) for number in range(45)))
    venue.answers[CANCEL_MANY] = ok({"ordId": "0", "sCode": "0"})
    await exchange.cancel_all(SYMBOL)
    batches = [asked.told for asked in venue.asked if asked.method == "POST"]
    assert [len(batch) for batch in batches] == [20, 20, 5]
    assert [each["ordId"] for batch in batches for each in batch] == [str(number) for number in range(45)]


async def test_cancel_all_goes_on_past_orders_that_ended_and_tells_of_those_it_could_not_cancel(
    venue: Venue, exchange: Okj
) -> None:
    venue.answers[PENDING] = ok(*(order_row(str(number)) for number in range(21)))
    venue.answers[CANCEL_MANY] = refused_row("51400", outer="1")
    await exchange.cancel_all(SYMBOL)
    venue.answers[CANCEL_MANY] = refused_row("50011", outer="2")
    venue.asked.clear()
    with pytest.raises(RateLimitExceeded):
        await exchange.cancel_all(SYMBOL)
    assert len(venue.asked) == 3


async def test_the_reads_of_a_cancel_all_may_use_the_cancel_reserve(venue: Venue, tmp_path: Path) -> None:
    clock = StillClock()
    # A tenth of the venue's sixty in two seconds is left for everything but cancelling.
    budget = RequestBudget(tmp_path / "budget", OkjClient.windows, clock, margin=1, cancel_reserve=0.9)
    okj = Okj(wiring(venue, tmp_path, clock, credentials=CREDENTIALS, budget=budget))
    venue.answers[PENDING] = ok()
    await okj.instruments()
    for _ in range(6):
        await okj.open_orders(SYMBOL)
    started = clock.now()
    await okj.cancel_all(SYMBOL)
    assert clock.now() == started
    await okj.open_orders(SYMBOL)
    assert clock.now() > started
    await okj.close()


# -- orders


async def test_open_orders_are_read_to_the_last_page(venue: Venue, exchange: Okj) -> None:
    def answer(asked: Asked) -> Any:
        newest = int(asked.query.get("after", "231"))
        return ok(*(order_row(str(number)) for number in range(newest - 1, max(newest - 101, 0), -1)))

    venue.answers[PENDING] = answer
    orders = await exchange.open_orders(SYMBOL)
    assert [each.venue_order_id for each in orders] == [str(number) for number in range(230, 0, -1)]
    assert len(venue.asked) == 3


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ("live", State.OPEN),
        ("partially_filled", State.PARTIALLY_FILLED),
        ("filled", State.FILLED),
        ("canceled", State.CANCELLED),
        ("mmp_canceled", State.CANCELLED),
    ],
)
async def test_every_word_for_an_orders_state_is_known(venue: Venue, exchange: Okj, told: str, state: State) -> None:
    venue.answers[ORDER] = ok(order_row(state=told, accFillSz="0.0004", avgPx="9999999.5"))
    order = await exchange.order(SYMBOL, "700")
    assert (order.state, order.filled, order.average_price) == (
        state,
        Decimal("0.0004"),
        Decimal("9999999.5"),
    )
    assert order.created_at == datetime(2026, 11, 22, 8, 42, 46, 634000, tzinfo=UTC)


async def test_an_order_that_the_venue_does_not_know_is_not_found(venue: Venue, exchange: Okj) -> None:
    venue.answers[ORDER] = no("51603", "Order does not exist")
    with pytest.raises(OrderNotFound):
        await exchange.order(SYMBOL, "700")


async def test_a_lost_order_is_found_by_our_id(venue: Venue, exchange: Okj) -> None:
    venue.answers[ORDER] = ok(order_row())
    (found,) = await exchange.find_order(intent(), NOW, frozenset())
    assert found.venue_order_id == "700"
    assert venue.asked[0].query == {"instId": "BTC-JPY", "clOrdId": CLIENT_ID}
    assert await exchange.find_order(intent(), NOW, frozenset({"700"})) == ()


@pytest.mark.parametrize("where", [PENDING, HISTORY, FILLS])
async def test_a_lost_order_is_looked_for_in_every_list_before_it_is_called_absent(
    venue: Venue, exchange: Okj, where: str
) -> None:
    def order(asked: Asked) -> Any:
        return ok(order_row(state="filled")) if asked.query.get("ordId") == "700" else no("51603")

    other = order_row("1", clOrdId="f" * 32)
    venue.answers |= {ORDER: order, PENDING: ok(other), HISTORY: ok(other), FILLS: ok()}
    assert await exchange.find_order(intent(), NOW, frozenset()) == ()
    assert venue.paths() == [ORDER, PENDING, HISTORY, FILLS]
    venue.answers[where] = ok(fill_row(1)) if where == FILLS else ok(other, order_row())
    (found,) = await exchange.find_order(intent(), NOW, frozenset())
    assert found.venue_order_id == "700"


# -- fills


async def test_a_charged_fee_is_positive_and_in_the_currency_that_the_venue_names(venue: Venue, exchange: Okj) -> None:
    sold = fill_row(2, side="sell", fee="-14", feeCcy="JPY")
    venue.answers[FILLS] = ok(sold, fill_row(1))
    bought, sold_fill = await exchange.fills(SYMBOL, venue_order_id="700")
    assert (bought.fee, bought.fee_currency) == (Decimal("0.0000014"), "BTC")
    assert (sold_fill.fee, sold_fill.fee_currency) == (Decimal(14), "JPY")
    assert bought.quote_quantity == Decimal("10000.001")
    assert bought.maker is False


async def test_the_long_list_is_read_for_fills_older_than_three_days(venue: Venue, exchange: Okj) -> None:
    venue.answers |= {FILLS: ok(fill_row(2)), OLD_FILLS: ok(fill_row(1, NOW - timedelta(days=5)))}
    assert [each.id for each in await exchange.fills(SYMBOL, since=NOW - timedelta(days=1))] == ["t2"]
    assert [each.id for each in await exchange.fills(SYMBOL, since=NOW - timedelta(days=6))] == ["t1"]
    assert [each.query["begin"] for each in venue.asked] == [
        str(to_ms(NOW - timedelta(days=1))),
        str(to_ms(NOW - timedelta(days=6))),
    ]


async def test_an_old_orders_fills_are_looked_for_in_both_lists(venue: Venue, exchange: Okj) -> None:
    venue.answers |= {FILLS: ok(), OLD_FILLS: ok(fill_row(1, NOW - timedelta(days=5)))}
    assert [each.id for each in await exchange.fills(SYMBOL, venue_order_id="700")] == ["t1"]


async def test_all_pages_of_fills_are_read_each_once(venue: Venue, exchange: Okj) -> None:
    def answer(asked: Asked) -> Any:
        newest = int(asked.query.get("after", "b151").removeprefix("b"))
        return ok(*(fill_row(number) for number in range(newest - 1, max(newest - 101, 0), -1)))

    venue.answers[FILLS] = answer
    fills = await exchange.fills(SYMBOL, venue_order_id="700")
    assert [each.id for each in fills] == [f"t{number}" for number in range(1, 151)]


# -- the market and the account


async def test_only_live_pairs_are_offered_at_the_accounts_rates(exchange: Okj) -> None:
    found = await exchange.instruments()
    assert set(found) == {SYMBOL}
    pair = found[SYMBOL]
    assert (pair.lot_size, pair.tick_size, pair.min_quantity) == (
        Decimal("1E-8"),
        Decimal(1),
        Decimal("0.001"),
    )
    assert (pair.maker_fee_rate, pair.taker_fee_rate) == (Decimal("0.0007"), Decimal("0.0014"))
    assert pair.fee_in is FeeIn.RECEIVED


async def test_the_unclosed_bar_is_left_out_and_pages_of_300_are_joined(venue: Venue, exchange: Okj) -> None:
    running = NOW.replace(second=0)
    bars = [running - timedelta(minutes=n) for n in range(2000)]

    def answer(bars: list[datetime]) -> Any:
        def page(asked: Asked) -> Any:
            before = int(asked.query.get("after", to_ms(NOW)))
            older = [bar for bar in bars if to_ms(bar) < before]
            return ok(*(candle_row(bar) for bar in older[: int(asked.query["limit"])]))

        return page

    venue.answers |= {CANDLES: answer(bars[:1440]), OLD_CANDLES: answer(bars)}
    candles = await exchange.candles(SYMBOL, "1m", 3)
    assert [each.opened_at for each in candles] == [running - timedelta(minutes=n) for n in (3, 2, 1)]
    assert len(venue.asked) == 1
    candles = await exchange.candles(SYMBOL, "1m", 1000)
    assert [each.opened_at for each in candles] == bars[1000:0:-1]
    assert max(int(asked.query["limit"]) for asked in venue.asked) == 300


async def test_bars_beyond_the_quick_calls_memory_come_from_the_history(venue: Venue, exchange: Okj) -> None:
    quick = [candle_row(NOW.replace(second=0) - timedelta(minutes=n)) for n in range(5)]
    old = [candle_row(NOW.replace(second=0) - timedelta(minutes=n)) for n in range(5, 9)]
    venue.answers |= {CANDLES: ok(*quick), OLD_CANDLES: ok(*old)}
    assert len(await exchange.candles(SYMBOL, "1m", 60)) == 8
    assert venue.asked[-1].query["after"] == quick[-1][0]


async def test_days_are_days_of_utc_made_of_four_hour_bars(venue: Venue, exchange: Okj) -> None:
    midnight = NOW.replace(hour=0, minute=0, second=0)
    opened = [midnight + timedelta(hours=4 * n) for n in range(3, -9, -1)]  # back to noon, a day and a half ago
    bars = [candle_row(each, price=100 + n, minutes=240) for n, each in enumerate(opened)]
    venue.answers |= {CANDLES: ok(*bars), OLD_CANDLES: ok()}
    days = await exchange.candles(SYMBOL, "1d", 5)
    assert [each.opened_at for each in days] == [midnight - timedelta(days=1)]
    (day,) = days
    assert (day.open, day.close, day.volume) == (Decimal(109), Decimal(105), Decimal(9))
    assert (day.high, day.low) == (Decimal(111), Decimal(102))
    assert {asked.query["bar"] for asked in venue.asked} == {"4H"}


async def test_balances_are_those_of_the_trading_account(venue: Venue, exchange: Okj) -> None:
    details = [
        {"ccy": "JPY", "cashBal": "5000000", "availBal": "4990000", "frozenBal": "10000"},
        {"ccy": "ETH", "cashBal": "0", "availBal": "0", "frozenBal": ""},
    ]
    venue.answers[BALANCE] = ok({"details": details})
    balances = await exchange.balances()
    assert set(balances) == {"JPY"}
    assert (balances["JPY"].free, balances["JPY"].locked) == (Decimal(4990000), Decimal(10000))


async def test_a_suspended_pair_and_maintenance_both_stop_trading(venue: Venue, exchange: Okj) -> None:
    assert (await exchange.status(SYMBOL)).trading
    venue.answers[INSTRUMENTS] = ok(instrument_row(state="suspend"))
    assert (await exchange.status(SYMBOL)).state == "suspend"
    venue.answers[INSTRUMENTS] = Said(503, '{"code":"50001","msg":"Service temporarily unavailable","data":[]}')
    status = await exchange.status(SYMBOL)
    assert (status.trading, status.state) == (False, "maintenance")


@pytest.mark.parametrize(
    ("perm", "ip", "expected"),
    [
        ("read_only,trade", "192.0.2.1", (True, False, True)),
        ("read_only,trade,withdraw", "", (True, True, False)),
        ("read_only", "", (False, False, False)),
    ],
)
async def test_the_venue_tells_what_the_key_may_do(
    venue: Venue, exchange: Okj, perm: str, ip: str, expected: tuple[bool, ...]
) -> None:
    venue.answers[CONFIG] = ok({"perm": perm, "ip": ip})
    rights = await exchange.key_rights()
    assert (rights.can_trade, rights.can_withdraw, rights.restricted_to_addresses) == expected


# -- our subclass of okx


def client(folder: Path, **changes: Any) -> Any:
    return connect(OkjClient, wiring(Venue(), folder, StillClock(), **{"base_url": None, **changes}))


def test_the_subclass_goes_to_okj_and_offers_spot_alone(tmp_path: Path) -> None:
    okj = client(tmp_path)
    assert okj.sign("public/time", ["public"], "GET", {})["url"] == "https://api.okj.com/api/v5/public/time"
    assert okj.options["fetchMarkets"] == {"types": ["spot"]}
    assert okj.fees["spot"]["taker"] == 0.0014
    for absent in (
        "margin",
        "swap",
        "future",
        "option",
        "withdraw",
        "transfer",
        "fetchStatus",
        "setLeverage",
    ):
        assert okj.has[absent] is False, absent


def test_there_is_no_sandbox_that_would_trade_at_the_live_host(tmp_path: Path) -> None:
    with pytest.raises(ccxt.NotSupported):
        client(tmp_path, testnet=True)


def test_the_largest_size_is_not_taken_for_a_largest_value(tmp_path: Path) -> None:
    market = client(tmp_path).parse_market({**instrument_row(), "maxMktSz": "1000", "settleCcy": ""})
    assert market["symbol"] == SYMBOL
    assert market["limits"]["cost"]["max"] is None


async def test_currencies_are_not_asked_for(tmp_path: Path) -> None:
    assert await client(tmp_path).fetch_currencies() == {}
