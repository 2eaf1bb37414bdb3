import hashlib
import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchanges.bitflyer import Bitflyer, BitflyerReader
from exchanges.bitflyer_client import PLACE
from exchanges.errors import (
    AuthenticationError,
    BadRequest,
    Busy,
    InsufficientFunds,
    Maintenance,
    NoAnswer,
    PermissionDenied,
    RateLimitExceeded,
    VenueError,
)
from tests.exchanges.bitflyer_answers import (
    CANCEL,
    CANCEL_ALL,
    COMMISSION,
    EMPTY,
    ORDER,
    ORDERS,
    acceptance_id,
    intent,
    no,
    order_row,
    paged,
)
from tests.exchanges.loopback import NOW, Asked, Said, StillClock, Venue, loopback, wiring
from trading.instruments import Side
from trading.orders import OrderType, TimeInForce


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


# -- what is sent


async def test_a_request_is_signed_over_its_raw_bytes(venue: Venue, exchange: Bitflyer) -> None:
    venue.answers[ORDER] = {"child_order_acceptance_id": acceptance_id(1)}
    await exchange.place(intent())
    asked = venue.asked[-1]
    said = asked.headers["ACCESS-TIMESTAMP"] + "POST" + "/v1/me/sendchildorder" + asked.body
    expected = hmac.new(b"test-secret", said.encode(), hashlib.sha256).hexdigest()
    assert asked.headers["ACCESS-SIGN"] == expected
    assert abs(int(asked.headers["ACCESS-TIMESTAMP"]) - datetime.now(UTC).timestamp()) < 5


async def test_an_order_carries_the_decided_digits_as_numbers_and_a_lifetime(venue: Venue, exchange: Bitflyer) -> None:
    venue.answers[ORDER] = {"child_order_acceptance_id": acceptance_id(1)}
    assert await exchange.place(intent(quantity=Decimal("0.10000001"))) == acceptance_id(1)
    asked = venue.asked[-1]
    assert '"size":0.10000001' in asked.body
    assert '"price":13000000}' in asked.body
    assert asked.told == {
        "product_code": "BTC_JPY",
        "child_order_type": "LIMIT",
        "side": "BUY",
        "size": 0.10000001,
        "minute_to_expire": 7,
        "time_in_force": "GTC",
        "price": 13000000,
    }


async def test_a_market_order_has_no_price_and_the_cfd_keeps_its_old_name(venue: Venue, exchange: Bitflyer) -> None:
    venue.answers[ORDER] = {"child_order_acceptance_id": acceptance_id(1)}
    await exchange.place(intent(symbol="BTC/JPY:JPY", type=OrderType.MARKET, price=None, side=Side.SELL))
    told = venue.asked[-1].told
    assert (told["product_code"], told["child_order_type"], told["side"]) == ("FX_BTC_JPY", "MARKET", "SELL")
    assert "price" not in told


async def test_immediate_or_cancel_is_the_venues_ioc(venue: Venue, exchange: Bitflyer) -> None:
    venue.answers[ORDER] = {"child_order_acceptance_id": acceptance_id(1)}
    await exchange.place(intent(time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL))
    assert venue.asked[-1].told["time_in_force"] == "IOC"


async def test_a_post_only_order_is_refused_unsent_because_the_venue_has_none(venue: Venue, exchange: Bitflyer) -> None:
    assert not (await exchange.instrument("BTC/JPY")).post_only
    with pytest.raises(BadRequest, match="post-only"):
        await exchange.place(intent(time_in_force=TimeInForce.POST_ONLY))
    assert ORDER not in venue.paths()


async def test_an_order_is_sent_once_whatever_comes_back(venue: Venue, tmp_path: Path) -> None:
    venue.answers[ORDER] = no(-208, "Order is not accepted. Please try again later.", 500)
    exchange = Bitflyer(wiring(venue, tmp_path, StillClock(), attempts=3))
    with pytest.raises(NoAnswer):
        await exchange.place(intent())
    assert venue.paths().count(ORDER) == 1
    await exchange.close()


# -- what an answer means


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (no(-208, http=500), NoAnswer),
        (no(-999), NoAnswer),
        ({"child_order_acceptance_id": None}, NoAnswer),
        ({"accepted": True}, NoAnswer),
        ([], NoAnswer),
        (EMPTY, NoAnswer),
        (Said(200, "<html></html>", "text/html"), NoAnswer),
        (Said(200, '{"child_order_acceptance_id":"JRF2'), NoAnswer),
        (Said(502, "<html></html>", "text/html"), NoAnswer),
        (no(-1, "Over API limit per period, per IP address", 429), RateLimitExceeded),
        (no(-508), RateLimitExceeded),
        (Said(429, "<html>slow down</html>", "text/html"), RateLimitExceeded),
        (no(-2, "Under maintenance", 503), Maintenance),
        (no(-204, "Market state is closed."), Busy),
        (no(-500, "Invalid signature", 401), AuthenticationError),
        (no(-500, "Permission denied", 401), PermissionDenied),
        (no(-121), PermissionDenied),
        (no(-200, "Insufficient funds"), InsufficientFunds),
        (no(-205), InsufficientFunds),
        (no(-110), BadRequest),
        (no(-106), BadRequest),
        (no(-159), BadRequest),
        (no(-200, "Insufficient funds", 200), InsufficientFunds),
    ],
)
async def test_the_status_in_the_body_decides_whether_an_order_may_exist(
    venue: Venue, exchange: Bitflyer, answer: Any, kind: type[VenueError]
) -> None:
    venue.answers[ORDER] = answer
    with pytest.raises(VenueError) as caught:
        await exchange.place(intent())
    assert type(caught.value) is kind


async def test_an_empty_body_is_the_venues_yes_to_a_cancel(venue: Venue, exchange: Bitflyer) -> None:
    venue.answers[CANCEL] = EMPTY
    venue.answers[CANCEL_ALL] = EMPTY
    await exchange.cancel("BTC/JPY", acceptance_id(1))
    assert venue.asked[-1].told == {
        "product_code": "BTC_JPY",
        "child_order_acceptance_id": acceptance_id(1),
    }
    await exchange.cancel_all("BTC/JPY:JPY")
    assert venue.asked[-1].told == {"product_code": "FX_BTC_JPY"}


@pytest.mark.parametrize("path", [CANCEL, CANCEL_ALL])
async def test_a_page_of_html_is_no_answer_to_a_cancel(venue: Venue, exchange: Bitflyer, path: str) -> None:
    venue.answers[path] = Said(200, "<html></html>", "text/html")
    with pytest.raises(NoAnswer):
        await (exchange.cancel("BTC/JPY", "JRF1") if path == CANCEL else exchange.cancel_all("BTC/JPY"))


async def test_cancelling_an_order_that_has_ended_is_no_error(venue: Venue, exchange: Bitflyer) -> None:
    venue.answers[CANCEL] = no(-111, "Order not found", 404)
    await exchange.cancel("BTC/JPY", acceptance_id(1))
    assert acceptance_id(1) in venue.asked[-1].body  # it was asked, and refused


@pytest.mark.parametrize("garbage", [EMPTY, Said(200, "<html></html>", "text/html"), {"orders": []}])
async def test_garbage_is_not_an_empty_list_of_orders(venue: Venue, exchange: Bitflyer, garbage: Any) -> None:
    venue.answers[ORDERS] = garbage
    with pytest.raises(NoAnswer):
        await exchange.open_orders("BTC/JPY")


# -- an order of which no answer came


async def test_a_lost_order_is_found_by_its_fingerprint(venue: Venue, exchange: Bitflyer) -> None:
    earlier = NOW - timedelta(seconds=5)
    venue.answers[ORDERS] = [
        order_row(9),
        order_row(8, side="SELL"),
        order_row(7, price=13000001.0),
        order_row(6, size=0.01000001),
        order_row(5, child_order_type="MARKET"),
        order_row(4, at=earlier),
        order_row(1),
    ]
    found = await exchange.find_order(intent(), NOW, frozenset({acceptance_id(1)}))
    assert [order.venue_order_id for order in found] == [acceptance_id(9)]


async def test_a_lost_order_is_looked_for_among_resting_and_ended_ones(venue: Venue, exchange: Bitflyer) -> None:
    """The first page is asked for without `before`, or the resting orders would be missing."""
    later = NOW + timedelta(seconds=1)
    ended = [
        order_row(number, at=later, size=0.5, child_order_state="COMPLETED", executed_size=0.5)
        for number in range(200, 380)
    ]
    ended[3] = order_row(203, at=later, child_order_state="COMPLETED", executed_size=0.01)
    old = [order_row(number, at=NOW - timedelta(hours=1), child_order_state="CANCELED") for number in range(10, 110)]
    resting = order_row(5, at=later)

    def listed(asked: Asked) -> list[dict[str, Any]]:
        page: list[dict[str, Any]] = paged([*ended, *old])(asked)
        return page if "before" in asked.query else [resting, *page]

    venue.answers[ORDERS] = listed
    found = await exchange.find_order(intent(), NOW, frozenset())
    assert {order.venue_order_id for order in found} == {acceptance_id(5, later), acceptance_id(203, later)}
    assert "before" not in next(asked.query for asked in venue.asked if asked.path.endswith("getchildorders"))


# -- the request budget


async def test_small_orders_have_a_limit_of_their_own(venue: Venue, exchange: Bitflyer) -> None:
    def names(size: str) -> set[str]:
        return {window.name for window in exchange.client.windows_for(PLACE, {"size": Decimal(size)})}

    assert "bitflyer small orders" in names("0.1")
    assert "bitflyer small orders" not in names("0.10000001")
    assert "bitflyer orders" in names("0.2")


# -- what cannot be done


def test_a_reader_has_no_way_to_place_or_cancel() -> None:
    assert not {"place", "cancel", "cancel_all"} & set(dir(BitflyerReader))
