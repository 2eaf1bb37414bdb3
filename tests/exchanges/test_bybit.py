import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchanges.adapter import to_ms
from exchanges.bybit import Bybit, BybitClient
from exchanges.errors import (
    AuthenticationError,
    BadRequest,
    ClockSkew,
    InsufficientFunds,
    NoAnswer,
    OrderNotFound,
    PermissionDenied,
    RateLimitExceeded,
    VenueError,
)
from exchanges.transport import connect
from tests.exchanges.loopback import NOW, Asked, StillClock, Venue, loopback, wiring
from trading.instruments import FeeIn, Side
from trading.orders import OrderIntent, OrderType, State, TimeInForce

SPOT, LINEAR = "BTC/USDT", "BTC/USDT:USDT"
CREATE = "POST /v5/order/create"
CANCEL = "POST /v5/order/cancel"
CANCEL_ALL = "POST /v5/order/cancel-all"
REALTIME = "GET /v5/order/realtime"
HISTORY = "GET /v5/order/history"
EXECUTIONS = "GET /v5/execution/list"
KLINE = "GET /v5/market/kline"
INSTRUMENTS = "GET /v5/market/instruments-info"
SYSTEM = "GET /v5/system/status"
WALLET = "GET /v5/account/wallet-balance"
KEY = "GET /v5/user/query-api"
CLIENT_ID = "0123456789abcdef0123456789abcdef"


def ok(**result: Any) -> dict[str, Any]:
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": to_ms(NOW)}


def no(code: int, message: str = "no") -> dict[str, Any]:
    return {"retCode": code, "retMsg": message, "result": {}, "retExtInfo": {}, "time": to_ms(NOW)}


def spot_row(symbol: str = "BTCUSDT", **changes: Any) -> dict[str, Any]:
    row = {
        "symbol": symbol,
        "baseCoin": "BTC",
        "quoteCoin": "USDT",
        "status": "Trading",
        "lotSizeFilter": {
            "basePrecision": "0.000001",
            "quotePrecision": "0.0000001",
            "minOrderQty": "0.000011",
            "maxOrderQty": "83",
            "maxLimitOrderQty": "83",
            "minOrderAmt": "5",
        },
        "priceFilter": {"tickSize": "0.1"},
    }
    return {**row, **changes}


def linear_row(**changes: Any) -> dict[str, Any]:
    row = {
        "symbol": "BTCUSDT",
        "contractType": "LinearPerpetual",
        "baseCoin": "BTC",
        "quoteCoin": "USDT",
        "settleCoin": "USDT",
        "status": "Trading",
        "lotSizeFilter": {
            "qtyStep": "0.001",
            "minOrderQty": "0.001",
            "maxOrderQty": "1190",
            "minNotionalValue": "5",
        },
        "priceFilter": {"tickSize": "0.10"},
    }
    return {**row, **changes}


def instruments(asked: Asked) -> Any:
    return ok(list=[spot_row() if asked.query["category"] == "spot" else linear_row()], nextPageCursor="")


def order_row(order_id: str = "1001", **changes: Any) -> dict[str, Any]:
    row = {
        "orderId": order_id,
        "orderLinkId": CLIENT_ID,
        "symbol": "BTCUSDT",
        "side": "Buy",
        "orderType": "Limit",
        "price": "50000",
        "qty": "0.001",
        "orderStatus": "New",
        "cumExecQty": "0",
        "avgPrice": "",
        "timeInForce": "GTC",
        "createdTime": "1795336919578",
    }
    return {**row, **changes}


def execution_row(number: int, at: datetime = NOW, **changes: Any) -> dict[str, Any]:
    row = {
        "symbol": "BTCUSDT",
        "orderId": "1001",
        "execId": f"e{number}",
        "side": "Buy",
        "execPrice": "50000",
        "execQty": "0.001",
        "execValue": "50",
        "execFee": "0.000001",
        "feeCurrency": "BTC",
        "isMaker": True,
        "execTime": str(to_ms(at)),
    }
    return {**row, **changes}


def candle_row(opened: datetime, price: int = 100) -> list[str]:
    return [str(to_ms(opened)), str(price), str(price + 2), str(price - 2), str(price + 1), "1.5", "150"]


def intent(symbol: str = SPOT, **changes: Any) -> OrderIntent:
    values: dict[str, Any] = {
        "client_order_id": CLIENT_ID,
        "venue": "bybit",
        "symbol": symbol,
        "side": Side.BUY,
        "type": OrderType.LIMIT,
        "quantity": Decimal("0.0010"),
        "price": Decimal("50000.0"),
        "time_in_force": TimeInForce.GOOD_TILL_CANCELLED,
        "decision_price": Decimal("50000"),
        "decided_at": NOW,
        "reason": "test",
    }
    return OrderIntent(**{**values, **changes})


@pytest.fixture
async def venue() -> AsyncIterator[Venue]:
    async with loopback() as running:
        running.answers = {
            INSTRUMENTS: instruments,
            "GET /v5/account/fee-rate": ok(
                list=[{"symbol": "BTCUSDT", "takerFeeRate": "0.0018", "makerFeeRate": "0.001"}]
            ),
        }
        yield running


@pytest.fixture
async def exchange(venue: Venue, tmp_path: Path) -> AsyncIterator[Bybit]:
    bybit = Bybit(wiring(venue, tmp_path, StillClock()))
    await bybit.instruments()
    venue.asked.clear()
    yield bybit
    await bybit.close()


# -- what is sent


async def test_requests_are_signed_over_their_raw_bytes(venue: Venue, exchange: Bybit) -> None:
    venue.answers |= {CREATE: ok(orderId="1"), WALLET: ok(list=[])}
    await exchange.place(intent())
    await exchange.balances()
    for asked, signed in zip(venue.asked, (venue.asked[0].body, "accountType=UNIFIED"), strict=True):
        told = asked.headers
        text = told["X-BAPI-TIMESTAMP"] + "test-key" + told["X-BAPI-RECV-WINDOW"] + signed
        assert told["X-BAPI-SIGN"] == hmac.new(b"test-secret", text.encode(), hashlib.sha256).hexdigest()
        assert told["X-BAPI-API-KEY"] == "test-key"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"orderType": "Limit", "price": "50000", "timeInForce": "GTC"}),
        (
            {"time_in_force": TimeInForce.POST_ONLY},
            {"orderType": "Limit", "price": "50000", "timeInForce": "PostOnly"},
        ),
        (
            {"time_in_force": TimeInForce.IMMEDIATE_OR_CANCEL},
            {"orderType": "Limit", "price": "50000", "timeInForce": "IOC"},
        ),
        # Without marketUnit the quantity of a market buy would count in USDT.
        ({"type": OrderType.MARKET, "price": None}, {"orderType": "Market", "marketUnit": "baseCoin"}),
    ],
)
async def test_a_spot_order_says_exactly_what_was_decided(
    venue: Venue, exchange: Bybit, changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    venue.answers[CREATE] = ok(orderId="1001", orderLinkId=CLIENT_ID)
    assert await exchange.place(intent(**changes)) == "1001"
    common = {
        "category": "spot",
        "symbol": "BTCUSDT",
        "side": "Buy",
        "qty": "0.001",
        "orderLinkId": CLIENT_ID,
    }
    assert [asked.told for asked in venue.asked] == [common | expected]


async def test_a_perpetual_order_says_whether_it_only_reduces(venue: Venue, exchange: Bybit) -> None:
    venue.answers[CREATE] = ok(orderId="1001")
    await exchange.place(intent(LINEAR, side=Side.SELL, reduce_only=True, type=OrderType.MARKET, price=None))
    (sent,) = (asked.told for asked in venue.asked)
    assert (sent["category"], sent["side"], sent["reduceOnly"]) == ("linear", "Sell", True)
    assert "marketUnit" not in sent


async def test_an_order_answer_without_an_id_is_no_answer(venue: Venue, exchange: Bybit) -> None:
    venue.answers[CREATE] = ok()
    with pytest.raises(NoAnswer):
        await exchange.place(intent())


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (10001, BadRequest),
        (10002, ClockSkew),
        (10003, AuthenticationError),
        (10004, AuthenticationError),
        (10005, PermissionDenied),
        (10006, RateLimitExceeded),
        (10024, PermissionDenied),
        (110007, InsufficientFunds),
        (170131, InsufficientFunds),
        (170136, BadRequest),
        (170140, BadRequest),
        # the gateway gave up, the order may be there
        (10000, NoAnswer),
        (10016, NoAnswer),
        (170007, NoAnswer),
        (170146, NoAnswer),
        # an order with our id is there
        (170141, NoAnswer),
        (110072, NoAnswer),
        (10014, NoAnswer),
    ],
)
async def test_the_code_decides_whether_an_order_may_exist(
    venue: Venue, exchange: Bybit, code: int, kind: type[VenueError]
) -> None:
    venue.answers[CREATE] = no(code)
    with pytest.raises(kind) as raised:
        await exchange.place(intent())
    assert type(raised.value) is kind
    assert len(venue.asked) == 1


@pytest.mark.parametrize("code", [110001, 110008, 110010, 170139, 170142, 170213])
async def test_cancelling_an_order_that_has_ended_is_no_error(venue: Venue, exchange: Bybit, code: int) -> None:
    venue.answers[CANCEL] = no(code)
    await exchange.cancel(SPOT, "1001")
    assert [asked.told["orderId"] for asked in venue.asked] == ["1001"]  # and it is not asked again


async def test_a_cancel_names_the_venues_id(venue: Venue, exchange: Bybit) -> None:
    venue.answers[CANCEL] = ok(orderId="1001")
    await exchange.cancel(SPOT, "1001")
    await exchange.cancel(LINEAR, "1002")
    where = {"symbol": "BTCUSDT"}
    assert [asked.told for asked in venue.asked] == [
        {"category": "spot", **where, "orderId": "1001", "orderFilter": "Order"},
        {"category": "linear", **where, "orderId": "1002"},
    ]


async def test_cancel_all_reaches_every_kind_of_spot_order(venue: Venue, exchange: Bybit) -> None:
    venue.answers[CANCEL_ALL] = ok(list=[], success="1")
    await exchange.cancel_all(SPOT)
    assert [asked.told["orderFilter"] for asked in venue.asked] == ["Order", "StopOrder", "tpslOrder"]
    venue.asked.clear()
    await exchange.cancel_all(LINEAR)
    assert [asked.told for asked in venue.asked] == [{"category": "linear", "symbol": "BTCUSDT"}]


# -- orders


async def test_open_orders_are_read_to_the_last_page(venue: Venue, exchange: Bybit) -> None:
    pages = {"": (range(50), "next"), "next": (range(50, 60), "")}

    def answer(asked: Asked) -> Any:
        numbers, following = pages[asked.query.get("cursor", "")]
        return ok(list=[order_row(str(number)) for number in numbers], nextPageCursor=following)

    venue.answers[REALTIME] = answer
    orders = await exchange.open_orders(SPOT)
    assert [each.venue_order_id for each in orders] == [str(number) for number in range(60)]
    assert {asked.query["limit"] for asked in venue.asked} == {"50"}


async def test_an_order_that_ended_while_the_pages_were_read_is_not_open(venue: Venue, exchange: Bybit) -> None:
    listed = [order_row("1"), order_row("2", orderStatus="Filled", cumExecQty="0.001")]
    venue.answers[REALTIME] = ok(list=listed, nextPageCursor="")
    assert [each.venue_order_id for each in await exchange.open_orders(SPOT)] == ["1"]


async def test_an_answer_without_a_list_is_not_an_empty_list(venue: Venue, exchange: Bybit) -> None:
    for result in (ok(), {**ok(), "result": None}, ok(list=None)):
        venue.answers[REALTIME] = result
        with pytest.raises(NoAnswer):
            await exchange.open_orders(SPOT)


async def test_an_order_is_looked_up_in_the_history_when_the_live_list_has_let_go_of_it(
    venue: Venue, exchange: Bybit
) -> None:
    venue.answers |= {REALTIME: ok(list=[]), HISTORY: ok(list=[order_row(orderStatus="Cancelled")])}
    order = await exchange.order(SPOT, "1001")
    assert order.state is State.CANCELLED
    assert all(asked.query["orderId"] == "1001" for asked in venue.asked)
    venue.answers[HISTORY] = ok(list=[])
    with pytest.raises(OrderNotFound):
        await exchange.order(SPOT, "1001")


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ("New", State.OPEN),
        ("Untriggered", State.OPEN),
        ("PartiallyFilled", State.PARTIALLY_FILLED),
        ("Filled", State.FILLED),
        ("Cancelled", State.CANCELLED),
        ("PartiallyFilledCanceled", State.CANCELLED),
        ("Deactivated", State.CANCELLED),
        ("Rejected", State.REJECTED),
    ],
)
async def test_every_word_for_an_orders_state_is_known(venue: Venue, exchange: Bybit, told: str, state: State) -> None:
    venue.answers[REALTIME] = ok(list=[order_row(orderStatus=told, cumExecQty="0.0004", avgPrice="49999.5")])
    order = await exchange.order(SPOT, "1001")
    assert (order.state, order.filled, order.average_price) == (state, Decimal("0.0004"), Decimal("49999.5"))
    assert (order.client_order_id, order.price) == (CLIENT_ID, Decimal(50000))


async def test_a_state_that_nobody_knows_is_no_answer(venue: Venue, exchange: Bybit) -> None:
    venue.answers[REALTIME] = ok(list=[order_row(orderStatus="Pondering")])
    with pytest.raises(NoAnswer):
        await exchange.order(SPOT, "1001")


async def test_a_lost_order_is_looked_for_by_our_id_alone(venue: Venue, exchange: Bybit) -> None:
    """The venue heeds orderId before orderLinkId: sent together, an empty one hides the order."""
    venue.answers[REALTIME] = ok(list=[order_row()])
    (found,) = await exchange.find_order(intent(), NOW, frozenset())
    assert found.venue_order_id == "1001"
    assert venue.asked[0].query == {"category": "spot", "symbol": "BTCUSDT", "orderLinkId": CLIENT_ID}
    assert await exchange.find_order(intent(), NOW, frozenset({"1001"})) == ()


async def test_a_lost_order_that_only_its_executions_know_is_found(venue: Venue, exchange: Bybit) -> None:
    trades = [execution_row(1, execQty="0.0004"), execution_row(2, execQty="0.0006", execPrice="49000")]
    venue.answers |= {REALTIME: ok(list=[]), HISTORY: ok(list=[]), EXECUTIONS: ok(list=trades)}
    (found,) = await exchange.find_order(intent(), NOW, frozenset())
    assert (found.venue_order_id, found.filled, found.state) == ("1001", Decimal("0.0010"), State.FILLED)
    assert found.average_price == Decimal("49400")


async def test_an_order_that_no_list_knows_is_not_found(venue: Venue, exchange: Bybit) -> None:
    venue.answers |= {REALTIME: ok(list=[]), HISTORY: ok(list=[]), EXECUTIONS: ok(list=[])}
    assert await exchange.find_order(intent(), NOW, frozenset()) == ()
    assert venue.paths() == [REALTIME, HISTORY, EXECUTIONS]


# -- fills


async def test_fills_are_asked_for_a_week_at_a_time_and_come_oldest_first(venue: Venue, exchange: Bybit) -> None:
    since = NOW - timedelta(days=10)

    def answer(asked: Asked) -> Any:
        first = asked.query["startTime"] == str(to_ms(since))
        numbers = (2, 1) if first else (3, 2)  # the two stretches touch: the trade on the seam is in both
        return ok(list=[execution_row(n, since + timedelta(days=3 * n)) for n in numbers], nextPageCursor="")

    venue.answers[EXECUTIONS] = answer
    fills = await exchange.fills(SPOT, since=since)
    assert [each.id for each in fills] == ["e1", "e2", "e3"]
    assert len(venue.asked) == 2
    for asked in venue.asked:
        length = int(asked.query["endTime"]) - int(asked.query["startTime"])
        assert length == timedelta(days=7) / timedelta(milliseconds=1)


async def test_all_pages_of_one_orders_fills_are_read(venue: Venue, exchange: Bybit) -> None:
    def answer(asked: Asked) -> Any:
        if "cursor" not in asked.query:
            return ok(list=[execution_row(n) for n in range(100, 0, -1)], nextPageCursor="p2")
        return ok(list=[execution_row(0)], nextPageCursor="p3")

    venue.answers[EXECUTIONS] = answer
    fills = await exchange.fills(SPOT, venue_order_id="1001")
    assert [each.id for each in fills] == [f"e{n}" for n in range(101)]
    assert {asked.query["orderId"] for asked in venue.asked} == {"1001"}


async def test_a_fee_is_in_the_currency_that_the_venue_names(venue: Venue, exchange: Bybit) -> None:
    venue.answers[EXECUTIONS] = ok(list=[execution_row(1, execFee="-0.0000005")])
    (spot,) = await exchange.fills(SPOT, venue_order_id="1001")
    assert (spot.fee, spot.fee_currency, spot.quote_quantity) == (Decimal("-0.0000005"), "BTC", Decimal(50))
    venue.answers[EXECUTIONS] = ok(list=[execution_row(1, feeCurrency="", execFee="0.03")])
    (linear,) = await exchange.fills(LINEAR, venue_order_id="1001")
    assert linear.fee_currency == "USDT"


async def test_a_position_that_the_venue_closed_by_force_is_told_as_fills_and_funding_is_not(
    venue: Venue, exchange: Bybit
) -> None:
    words = ("Trade", "AdlTrade", "BustTrade", "Funding")
    everything = [execution_row(n, execType=word, feeCurrency="") for n, word in enumerate(words)]

    def answer(asked: Asked) -> Any:
        return ok(list=[row for row in everything if asked.query.get("execType") in (None, row["execType"])])

    venue.answers[EXECUTIONS] = answer
    assert {each.id for each in await exchange.fills(LINEAR, venue_order_id="1001")} == {"e0", "e1", "e2"}
    assert {each.id for each in await exchange.fills(LINEAR, since=NOW - timedelta(hours=1))} == {"e0", "e1", "e2"}


# -- the market and the account


async def test_only_what_trades_and_has_a_fee_rate_is_offered(venue: Venue, tmp_path: Path) -> None:
    def answer(asked: Asked) -> Any:
        if asked.query["category"] == "spot":
            halted = spot_row("ETHUSDT", baseCoin="ETH", status="PreLaunch")
            rateless = spot_row("XRPUSDT", baseCoin="XRP")
            return ok(list=[spot_row(), halted, rateless], nextPageCursor="")
        dated = linear_row(symbol="BTC-27MAR26", contractType="LinearFutures")
        return ok(list=[linear_row(), dated], nextPageCursor="")

    venue.answers[INSTRUMENTS] = answer
    bybit = Bybit(wiring(venue, tmp_path, StillClock()))
    found = await bybit.instruments()
    await bybit.close()
    assert set(found) == {SPOT, LINEAR}
    spot, linear = found[SPOT], found[LINEAR]
    assert (spot.lot_size, spot.min_quantity, spot.min_notional) == (
        Decimal("0.000001"),
        Decimal("0.000011"),
        Decimal(5),
    )
    assert (spot.maker_fee_rate, spot.taker_fee_rate) == (Decimal("0.001"), Decimal("0.0018"))
    assert (spot.fee_in, linear.fee_in) == (FeeIn.RECEIVED, FeeIn.QUOTE)
    assert (linear.lot_size, linear.min_notional) == (Decimal("0.001"), Decimal(5))


async def test_no_permission_is_asked_for_before_an_order(venue: Venue, exchange: Bybit) -> None:
    venue.answers[CREATE] = ok(orderId="1")
    await exchange.place(intent())
    assert venue.paths() == [CREATE]


async def test_the_unclosed_bar_is_left_out_and_older_pages_fill_up(venue: Venue, exchange: Bybit) -> None:
    running = NOW.replace(second=0)
    # Every second minute had no trade: five bars span ten minutes.
    bars = [running - timedelta(minutes=2 * n) for n in range(1500)]

    def answer(asked: Asked) -> Any:
        end = int(asked.query.get("end", to_ms(NOW)))
        older = [bar for bar in bars if to_ms(bar) <= end]
        return ok(list=[candle_row(bar) for bar in older[: int(asked.query["limit"])]])

    venue.answers[KLINE] = answer
    candles = await exchange.candles(SPOT, "1m", 5)
    assert [each.opened_at for each in candles] == [running - timedelta(minutes=2 * n) for n in (5, 4, 3, 2, 1)]
    assert len(venue.asked) == 1
    venue.asked.clear()
    assert len(await exchange.candles(SPOT, "1m", 1000)) == 1000
    assert len(venue.asked) == 2
    assert len(await exchange.candles(SPOT, "1m", 1000)) == 1000


async def test_a_young_symbol_gives_the_candles_that_there_are(venue: Venue, exchange: Bybit) -> None:
    venue.answers[KLINE] = ok(list=[candle_row(NOW.replace(second=0) - timedelta(minutes=n)) for n in range(3)])
    assert len(await exchange.candles(SPOT, "1m", 60)) == 2
    with pytest.raises(BadRequest, match="15m"):
        await exchange.candles(SPOT, "2m", 60)


async def test_what_orders_and_positions_hold_is_locked(venue: Venue, exchange: Bybit) -> None:
    coins = [
        {
            "coin": "USDT",
            "walletBalance": "1000",
            "locked": "100",
            "totalOrderIM": "20",
            "totalPositionIM": "30",
        },
        {"coin": "BTC", "walletBalance": "0.1", "locked": "0", "totalOrderIM": "", "availableToWithdraw": ""},
        {"coin": "ETH", "walletBalance": "0", "locked": "0"},
    ]
    venue.answers[WALLET] = ok(list=[{"accountType": "UNIFIED", "coin": coins}])
    balances = await exchange.balances()
    assert set(balances) == {"USDT", "BTC"}
    assert (balances["USDT"].free, balances["USDT"].locked) == (Decimal(850), Decimal(150))


@pytest.mark.parametrize(
    ("event", "trading"),
    [
        ({"state": "ongoing", "product": [2], "env": 1}, False),
        ({"state": "ongoing", "product": [1], "env": 1}, True),  # derivatives alone
        ({"state": "ongoing", "product": [2], "env": 2}, True),  # the demo site
        ({"state": "scheduled", "product": [2], "env": 1}, True),
        ({"state": "ongoing"}, False),
    ],
)
async def test_only_a_running_maintenance_of_the_product_stops_trading(
    venue: Venue, exchange: Bybit, event: dict[str, Any], trading: bool
) -> None:
    venue.answers[SYSTEM] = ok(list=[{"title": "upgrade", **event}])
    status = await exchange.status(SPOT)
    assert status.trading is trading


async def test_a_symbol_that_stopped_trading_is_told_in_the_venues_word(venue: Venue, exchange: Bybit) -> None:
    venue.answers |= {SYSTEM: ok(list=[]), INSTRUMENTS: ok(list=[spot_row(status="Settling")])}
    status = await exchange.status(SPOT)
    assert (status.trading, status.state) == (False, "Settling")


@pytest.mark.parametrize(
    ("ips", "read_only", "wallet", "expected"),
    [
        (["192.0.2.1"], 0, [], (True, False, True)),
        (["*"], 0, ["AccountTransfer", "Withdraw"], (True, True, False)),
        ([], 1, ["Withdraw"], (False, False, False)),
    ],
)
async def test_the_venue_tells_what_the_key_may_do(
    venue: Venue,
    exchange: Bybit,
    ips: list[str],
    read_only: int,
    wallet: list[str],
    expected: tuple[bool, ...],
) -> None:
    permissions = {"Spot": ["SpotTrade"], "ContractTrade": [], "Wallet": wallet}
    venue.answers[KEY] = ok(readOnly=read_only, permissions=permissions, ips=ips, expiredAt="2026-12-01T00:00:00Z")
    rights = await exchange.key_rights()
    assert (rights.can_trade, rights.can_withdraw, rights.restricted_to_addresses) == expected


async def test_the_venues_clock_is_read_to_the_microsecond(venue: Venue, exchange: Bybit) -> None:
    venue.answers["GET /v5/market/time"] = ok(timeSecond="1795336919", timeNano="1795336919578123456")
    assert await exchange.server_time() == datetime(2026, 11, 22, 8, 41, 59, 578123, tzinfo=UTC)


# -- where it goes


@pytest.mark.parametrize(
    ("changes", "address"),
    [
        ({}, "https://api.bybit.com/v5/market/time"),
        ({"testnet": True}, "https://api-testnet.bybit.com/v5/market/time"),
        ({"hostname": "manepa.jp"}, "https://api.manepa.jp/v5/market/time"),
        ({"hostname": "manepa.jp", "testnet": True}, "https://api-testnet.manepa.jp/v5/market/time"),
        ({"base_url": "http://127.0.0.1:1/", "testnet": True}, "http://127.0.0.1:1/v5/market/time"),
    ],
)
def test_the_address_follows_host_testnet_and_simulation(tmp_path: Path, changes: dict[str, Any], address: str) -> None:
    client: Any = connect(BybitClient, wiring(Venue(), tmp_path, StillClock(), **{"base_url": None, **changes}))
    signed: Callable[..., dict[str, str]] = client.sign
    assert signed("v5/market/time", ["public"], "GET", {})["url"] == address
