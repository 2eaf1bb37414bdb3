"""Bybit's orders by hand: what is taken, what is refused, what each list shows and for how long."""

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal as D
from urllib.parse import urlencode

import aiohttp
import pytest

from tests.simvenue.bybit_by_hand import (
    CREATE,
    DAY_MS,
    HOUR_MS,
    LINEAR,
    REALTIME,
    RESTING,
    SPOT,
    Raw,
    held,
    placed,
    seen,
    spot_price,
)
from tests.simvenue.running import RunningVenue


@pytest.fixture(scope="module")
def running() -> Iterator[RunningVenue]:
    with RunningVenue("bybit") as venue:
        yield venue


@pytest.fixture
def venue(running: RunningVenue) -> RunningVenue:
    running.advance(60_000)  # a fresh minute: no test eats another's requests
    return running


@pytest.fixture
async def raw(venue: RunningVenue) -> AsyncIterator[Raw]:
    async with aiohttp.ClientSession() as session:
        yield Raw(venue, session)


async def test_a_market_buy_is_counted_in_quote_unless_it_says_otherwise(raw: Raw) -> None:
    by_value = await placed(raw, orderType="Market", qty="100")
    by_quantity = await placed(raw, orderType="Market", qty="0.001", marketUnit="baseCoin")
    first, second = await seen(raw, by_value), await seen(raw, by_quantity)
    assert first["orderStatus"] == second["orderStatus"] == "Filled"
    assert D("99") < D(first["cumExecValue"]) <= D("100")
    assert first["qty"] == "100"
    assert second["cumExecQty"] == "0.001"


async def test_the_fee_of_a_spot_buy_is_taken_from_the_base(raw: Raw) -> None:
    coins, dollars = await held(raw, "BTC"), await held(raw, "USDT")
    order_id = await placed(raw, orderType="Market", qty="0.002", marketUnit="baseCoin")
    row = await seen(raw, order_id)
    answer = await raw.get("/v5/execution/list", category="spot", orderId=order_id)
    fills = answer["result"]["list"]
    assert row["cumFeeDetail"] == {"BTC": "0.000002"}
    assert sum(D(fill["execFee"]) for fill in fills) == D("0.000002")
    assert {fill["feeCurrency"] for fill in fills} == {"BTC"}
    assert await held(raw, "BTC") == coins + D("0.001998")
    assert await held(raw, "USDT") == dollars - D(row["cumExecValue"])


async def test_the_fee_of_a_spot_sale_is_taken_from_the_quote(raw: Raw) -> None:
    dollars = await held(raw, "USDT")
    row = await seen(raw, await placed(raw, side="Sell", orderType="Market", qty="0.001"))
    fee = D(row["cumFeeDetail"]["USDT"])
    assert fee == D(row["cumExecValue"]) * D("0.001")
    assert await held(raw, "USDT") == dollars + D(row["cumExecValue"]) - fee


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"qty": "0.00001"}, 170136),
        ({"qty": "0.0000115"}, 170137),
        ({"qty": "0.0001"}, 170140),
        ({"price": "30000.05"}, 170134),
        ({"qty": "5"}, 170131),
        ({"qty": "200"}, 170135),
        ({"price": "300000"}, 170193),
        ({"side": "Sell"}, 170194),
        ({"qty": "-1"}, 10001),
        ({"qty": "many"}, 10001),
        ({"qty": "NaN"}, 10001),
        ({"side": "buy"}, 10001),
        ({"symbol": "DOGEUSDT"}, 10001),
        ({"category": "swap"}, 10001),
        ({"orderLinkId": "no spaces"}, 10001),
        ({"orderLinkId": "x" * 37}, 10001),
        ({"triggerPrice": "50000"}, 10001),
        ({"orderFilter": "Nonsense"}, 170201),
        ({"category": "linear", "qty": "0.0001"}, 10001),
        ({"category": "linear", "price": "30000.05"}, 10001),
        ({"category": "linear", "qty": "20"}, 110007),
        ({"category": "linear", "price": "900000"}, 110003),
        ({"category": "linear", "reduceOnly": True}, 110017),
    ],
)
async def test_an_order_that_breaks_a_rule_is_refused_and_nothing_is_placed(
    raw: Raw, changes: dict[str, str], code: int
) -> None:
    orders = len(raw.venue.truth()["orders"])
    answer = await raw.post(CREATE, **(RESTING | changes))
    assert answer["retCode"] == code, answer
    assert len(raw.venue.truth()["orders"]) == orders


async def test_a_body_that_is_not_json_is_refused(raw: Raw) -> None:
    assert (await raw.send("POST", CREATE, "{"))["retCode"] == 10001
    assert (await raw.send("POST", CREATE, "[]"))["retCode"] == 10001


@pytest.mark.parametrize(("category", "code"), [("spot", 170141), ("linear", 110072)])
async def test_a_link_id_is_used_up_for_ever(raw: Raw, category: str, code: int) -> None:
    link = f"once-{category}"
    order_id = await placed(raw, category=category, orderLinkId=link)
    assert (await raw.post(CREATE, **(RESTING | {"category": category, "orderLinkId": link})))["retCode"] == code
    await raw.post("/v5/order/cancel", category=category, symbol="BTCUSDT", orderId=order_id)
    raw.venue.advance(DAY_MS)
    assert (await raw.post(CREATE, **(RESTING | {"category": category, "orderLinkId": link})))["retCode"] == code


async def test_a_post_only_order_that_would_cross_is_accepted_then_cancelled(raw: Raw) -> None:
    price = await spot_price(raw) * D("1.02")
    order_id = await placed(raw, timeInForce="PostOnly", price=str(price.quantize(D("0.1"))))
    row = await seen(raw, order_id)
    assert (row["orderStatus"], row["rejectReason"]) == ("Cancelled", "EC_PostOnlyWillTakeLiquidity")
    assert (row["cumExecQty"], row["leavesQty"]) == ("0", "0")


async def test_an_ioc_order_takes_what_it_can_and_rests_never(raw: Raw) -> None:
    row = await seen(raw, await placed(raw, timeInForce="IOC"))
    assert (row["orderStatus"], row["timeInForce"]) == ("Cancelled", "IOC")


async def test_a_price_may_rest_far_away_on_its_own_side_only(raw: Raw) -> None:
    order_id = await placed(raw, price="5000")
    assert (await seen(raw, order_id))["orderStatus"] == "New"
    await raw.post("/v5/order/cancel", **SPOT, orderId=order_id)


async def test_the_order_id_has_priority_even_when_it_is_the_text_none(raw: Raw) -> None:
    order_id = await placed(raw, orderLinkId="linked-1")
    by_link = await raw.get(REALTIME, category="spot", orderLinkId="linked-1")
    both = await raw.get(REALTIME, category="spot", orderId="None", orderLinkId="linked-1")
    await raw.post("/v5/order/cancel", **SPOT, orderLinkId="linked-1")
    closed = await raw.get(REALTIME, category="spot", orderLinkId="linked-1", openOnly="0")
    assert [row["orderId"] for row in by_link["result"]["list"]] == [order_id]
    assert both["result"]["list"] == []
    assert [row["orderStatus"] for row in closed["result"]["list"]] == ["Cancelled"]


async def test_the_default_page_is_20_and_the_cursor_leads_through_all(raw: Raw) -> None:
    await raw.post("/v5/order/cancel-all", category="spot")
    ids = []
    for number in range(25):
        if number == 15:
            raw.venue.advance(1_000)  # 20 creates in a second are allowed
        ids.append(await placed(raw, price=str(20_000 + number)))
    first = (await raw.get(REALTIME, **SPOT))["result"]
    encoded = await raw.send("GET", REALTIME, f"{urlencode(SPOT)}&cursor={first['nextPageCursor']}")
    again = (await raw.get(REALTIME, **SPOT, cursor=first["nextPageCursor"]))["result"]
    rows = first["list"] + again["list"]
    assert len(first["list"]) == 20
    assert [row["orderId"] for row in rows] == ids[::-1]
    assert encoded["result"] == again
    assert again["nextPageCursor"] == ""
    assert (await raw.get(REALTIME, **SPOT, limit="51"))["retCode"] == 10001
    await raw.post("/v5/order/cancel-all", category="spot")


async def test_a_contract_list_wants_to_know_of_which(raw: Raw) -> None:
    assert (await raw.get(REALTIME, category="linear"))["retCode"] == 10001
    assert (await raw.get(REALTIME, category="linear", settleCoin="USDT"))["retCode"] == 0
    assert (await raw.post("/v5/order/cancel-all", category="linear"))["retCode"] == 10001
    assert (await raw.get("/v5/position/list", category="linear"))["retCode"] == 10001
    assert (await raw.get(REALTIME))["retCode"] == 10001


async def test_cancel_all_touches_one_category_only(raw: Raw) -> None:
    spot, contract = await placed(raw), await placed(raw, category="linear")
    answer = await raw.post("/v5/order/cancel-all", category="linear", settleCoin="USDT")
    assert [row["orderId"] for row in answer["result"]["list"]] == [contract]
    assert answer["result"]["success"] == "1"
    assert (await seen(raw, spot))["orderStatus"] == "New"
    await raw.post("/v5/order/cancel-all", category="spot")
    assert (await seen(raw, spot))["orderStatus"] == "Cancelled"


async def test_rows_of_contracts_alone_carry_the_key_by_which_clients_tell_them(raw: Raw) -> None:
    spot, contract = await placed(raw), await placed(raw, category="linear")
    assert "tpslMode" not in await seen(raw, spot)
    assert "tpslMode" in await seen(raw, contract, "linear")
    assert (await raw.get(REALTIME, category="linear", orderId=spot))["result"]["list"] == []


@pytest.mark.parametrize(("category", "code"), [("spot", 170213), ("linear", 110001)])
async def test_what_does_not_rest_cannot_be_cancelled(raw: Raw, category: str, code: int) -> None:
    order = {"category": category, "symbol": "BTCUSDT"}
    order_id = await placed(raw, category=category)
    assert (await raw.post("/v5/order/cancel", **order))["retCode"] == 10001
    assert (await raw.post("/v5/order/cancel", **order, clientOrderId="x"))["retCode"] == 10001
    assert (await raw.post("/v5/order/cancel", **order, orderId="1"))["retCode"] == code
    assert (await raw.post("/v5/order/cancel", **order, orderId=order_id))["retCode"] == 0
    assert (await raw.post("/v5/order/cancel", **order, orderId=order_id))["retCode"] == code


async def test_a_cancelled_order_leaves_history_after_a_day_and_a_filled_one_stays(raw: Raw) -> None:
    cancelled = await placed(raw)
    await raw.post("/v5/order/cancel", **SPOT, orderId=cancelled)
    filled = await placed(raw, orderType="Market", qty="50")
    since = raw.venue.now_ms() - 1000

    async def listed(**params: str) -> set[str]:
        answer = await raw.get("/v5/order/history", category="spot", limit="50", **params)
        return {row["orderId"] for row in answer["result"]["list"]}

    assert {cancelled, filled} <= await listed()
    raw.venue.advance(DAY_MS + HOUR_MS)
    assert cancelled not in await listed()
    assert filled in await listed()
    raw.venue.advance(7 * DAY_MS)
    assert filled not in await listed()
    assert filled in await listed(startTime=str(since))
    far = {"startTime": str(since), "endTime": str(since + 8 * DAY_MS)}
    assert (await raw.get("/v5/order/history", category="spot", **far))["retCode"] == 10001


async def test_a_resting_order_fills_as_the_market_comes_to_it(raw: Raw) -> None:
    order_id = await placed(raw, price=str((await spot_price(raw) * D("0.98")).quantize(D("0.1"))))
    row = await seen(raw, order_id)
    raw.venue.control("price", symbol="BTC/USDT", price=row["price"])
    after = await seen(raw, order_id)
    answer = await raw.get("/v5/execution/list", category="spot", orderId=order_id)
    assert (after["orderStatus"], after["avgPrice"]) == ("Filled", row["price"])
    assert answer["result"]["list"][0]["isMaker"] is True


async def test_a_flat_contract_has_a_row_by_symbol_and_none_by_coin(raw: Raw) -> None:
    by_symbol = await raw.get("/v5/position/list", **LINEAR)
    by_coin = await raw.get("/v5/position/list", category="linear", settleCoin="USDT")
    assert [(row["side"], row["size"]) for row in by_symbol["result"]["list"]] == [("", "0")]
    assert by_coin["result"]["list"] == []


async def test_a_short_is_opened_margined_and_reduced_to_nothing(raw: Raw) -> None:
    order = LINEAR | {"orderType": "Market", "qty": "0.004"}
    before = await held(raw, "USDT")
    await raw.post(CREATE, **order, side="Sell")
    row = (await raw.get("/v5/position/list", **LINEAR))["result"]["list"][0]
    assert (row["side"], row["size"]) == ("Sell", "0.004")
    assert D(row["positionIM"]) == pytest.approx(D(row["positionValue"]) / D(row["leverage"]), abs=D("0.001"))

    closing = await raw.post(CREATE, **(order | {"qty": "0.01"}), side="Buy", reduceOnly=True)
    assert (await seen(raw, closing["result"]["orderId"], "linear"))["cumExecQty"] == "0.004"
    flat = (await raw.get("/v5/position/list", **LINEAR))["result"]["list"][0]
    assert (flat["side"], flat["size"]) == ("", "0")
    assert await held(raw, "USDT") < before  # the fees and the spread


async def test_a_leverage_that_does_not_change_is_refused(raw: Raw) -> None:
    path = "/v5/position/set-leverage"
    assert (await raw.post(path, **LINEAR, buyLeverage="5", sellLeverage="5"))["retCode"] == 0
    assert (await raw.post(path, **LINEAR, buyLeverage="5", sellLeverage="5"))["retCode"] == 110043
    assert (await raw.post(path, **LINEAR, buyLeverage="5", sellLeverage="6"))["retCode"] == 10001
    assert (await raw.post(path, **LINEAR, buyLeverage="101", sellLeverage="101"))["retCode"] == 110013
    assert (await raw.post(path, **LINEAR, buyLeverage="10", sellLeverage="10"))["retCode"] == 0


async def test_a_pre_check_tells_the_margin_and_places_nothing(raw: Raw) -> None:
    orders = len(raw.venue.truth()["orders"])
    answer = await raw.post("/v5/order/pre-check", **(RESTING | {"category": "linear", "qty": "0.1"}))
    assert answer["result"]["postImrE4"] > answer["result"]["preImrE4"]
    assert len(raw.venue.truth()["orders"]) == orders


async def test_the_disconnection_window_protects_nobody(raw: Raw) -> None:
    path = "/v5/order/disconnected-cancel-all"
    assert (await raw.post(path, product="SPOT", timeWindow=10))["retCode"] == 0
    assert (await raw.get("/v5/account/query-dcp-info"))["result"]["dcpInfos"] == []
    assert (await raw.post(path, product="SPOT", timeWindow=1))["retCode"] == 10001
    order_id = await placed(raw)
    raw.venue.advance(HOUR_MS)
    assert (await seen(raw, order_id))["orderStatus"] == "New"
