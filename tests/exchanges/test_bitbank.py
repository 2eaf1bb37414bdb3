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
from tests.exchanges.bitbank_answers import (
    ACTIVE,
    CANCEL,
    CANCEL_MANY,
    ORDER,
    TRADES,
    intent,
    no,
    ok,
    order_row,
    pair,
    trade_row,
)
from tests.exchanges.loopback import NOW, Said, StillClock, Venue, loopback, wiring
from trading.instruments import Side
from trading.orders import OrderType, State, TimeInForce


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


async def test_a_request_is_signed_over_its_raw_bytes_with_a_short_time_window(venue: Venue, exchange: Bitbank) -> None:
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
async def test_cancelling_an_order_that_has_ended_is_no_error(venue: Venue, exchange: Bitbank, code: int) -> None:
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


async def test_a_lost_order_that_has_filled_is_found_through_its_trades(venue: Venue, exchange: Bitbank) -> None:
    venue.answers[ACTIVE] = ok(orders=[])
    venue.answers[TRADES] = ok(trades=[trade_row(1, order_id=7), trade_row(2, order_id=7), trade_row(3, order_id=8)])
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
