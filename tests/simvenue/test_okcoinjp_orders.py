"""OKJ's orders by hand: what is taken, what is refused, what each list shows and for how long."""

from collections.abc import AsyncIterator, Iterator
from decimal import ROUND_CEILING
from decimal import Decimal as D

import aiohttp
import pytest

from tests.simvenue.okcoinjp_by_hand import (
    BTC,
    CANCEL,
    DAY_MS,
    HISTORY,
    HOUR_MS,
    PENDING,
    PLACE,
    RESTING,
    Raw,
    held,
    placed,
    price,
    refused,
    seen,
)
from tests.simvenue.running import RunningVenue

BATCH = "/api/v5/trade/batch-orders"
CANCEL_BATCH = "/api/v5/trade/cancel-batch-orders"
TIMER = "/api/v5/trade/cancel-all-after"
SATOSHI = D("0.00000001")


@pytest.fixture(scope="module")
def running() -> Iterator[RunningVenue]:
    with RunningVenue("okcoinjp") as venue:
        yield venue


@pytest.fixture
async def raw(running: RunningVenue) -> AsyncIterator[Raw]:
    running.advance(60_000)  # a fresh minute: no test eats another's requests
    async with aiohttp.ClientSession() as session:
        hand = Raw(running, session)
        yield hand
        running.advance(2_000)
        rows = (await hand.get(PENDING))["data"]
        for start in range(0, len(rows), 20):
            named = [{"instId": row["instId"], "ordId": row["ordId"]} for row in rows[start : start + 20]]
            await hand.post(CANCEL_BATCH, named)


# --- placing ----------------------------------------------------------------------------------------------


async def test_a_market_buy_is_counted_in_quote_unless_it_says_otherwise(raw: Raw) -> None:
    by_value = await placed(raw, ordType="market", sz="20000")
    by_quantity = await placed(raw, ordType="market", sz="0.002", tgtCcy="base_ccy")
    first, second = await seen(raw, by_value), await seen(raw, by_quantity)
    assert first["state"] == second["state"] == "filled"
    assert (first["sz"], first["tgtCcy"]) == ("20000", "quote_ccy")
    assert D("19999") < D(first["accFillSz"]) * D(first["avgPx"]) <= D("20000")
    assert second["accFillSz"] == "0.002"


async def test_the_fee_is_taken_from_what_is_received_and_rounded_up(raw: Raw) -> None:
    coins, yen = await held(raw, "BTC"), await held(raw, "JPY")
    bought = await seen(raw, await placed(raw, ordType="market", sz="0.00100001", tgtCcy="base_ccy"))
    fee = (D("0.00100001") * D("0.0014")).quantize(SATOSHI, ROUND_CEILING)
    assert (D(bought["fee"]), bought["feeCcy"]) == (-fee, "BTC")  # negative is charged
    assert await held(raw, "BTC") == coins + D("0.00100001") - fee

    yen_between = await held(raw, "JPY")
    assert yen_between == yen - D(bought["avgPx"]) * D("0.00100001")
    sold = await seen(raw, await placed(raw, side="sell", ordType="market", sz="0.001"))
    assert sold["feeCcy"] == "JPY"
    assert await held(raw, "JPY") == yen_between + D(sold["avgPx"]) * D("0.001") + D(sold["fee"])
    [row] = (await raw.get("/api/v5/trade/fills", ordId=sold["ordId"]))["data"]
    assert (row["fee"], row["execType"]) == (sold["fee"], "T")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sz": "0.0009"}, "51020"),
        ({"sz": "0.001000001"}, "51121"),
        ({"px": "5000000.5"}, "51000"),
        ({"sz": "50"}, "51008"),
        ({"sz": "101"}, "51005"),
        ({"side": "sell", "sz": "5", "px": "20000000"}, "51008"),
        ({"instId": "DOGE-JPY"}, "51001"),
        ({"clOrdId": "no-dashes"}, "51000"),
        ({"clOrdId": "x" * 33}, "51000"),
        ({"tag": "x" * 17}, "51000"),
        ({"tdMode": "cross"}, "51000"),
        ({"ordType": "optimal_limit_ioc"}, "51000"),
        ({"side": "Buy"}, "51000"),
        ({"px": ""}, "51000"),
        ({"px": None}, "51000"),
        ({"sz": "NaN"}, "51000"),
        ({"ordType": "market", "side": "sell", "tgtCcy": "quote_ccy"}, "51000"),
    ],
)
async def test_an_order_that_breaks_a_rule_is_refused_and_nothing_is_placed(
    raw: Raw, changes: dict[str, str], code: str
) -> None:
    orders = len(raw.venue.truth()["orders"])
    assert await refused(raw, PLACE, RESTING | changes) == code
    assert len(raw.venue.truth()["orders"]) == orders


async def test_a_client_id_is_refused_only_while_its_order_is_pending(raw: Raw) -> None:
    first = await placed(raw, clOrdId="again1")
    assert await refused(raw, PLACE, RESTING | {"clOrdId": "again1"}) == "51016"
    await raw.post(CANCEL, BTC | {"clOrdId": "again1"})
    second = await placed(raw, clOrdId="again1")  # a second order: resending is no proof against doubles
    assert second != first
    [row] = (await raw.get(PLACE, **BTC, clOrdId="again1"))["data"]
    assert row["ordId"] == second


async def test_a_post_only_order_that_would_cross_is_accepted_then_cancelled(raw: Raw) -> None:
    above = str((await price(raw) * D("1.02")).quantize(D(1)))
    row = await seen(raw, await placed(raw, ordType="post_only", px=above))
    assert (row["state"], row["accFillSz"], row["ordType"]) == ("canceled", "0", "post_only")
    resting = await seen(raw, await placed(raw, ordType="post_only"))
    assert resting["state"] == "live"


@pytest.mark.parametrize("kind", ["ioc", "fok"])
async def test_what_must_fill_at_once_never_rests(raw: Raw, kind: str) -> None:
    row = await seen(raw, await placed(raw, ordType=kind))
    assert (row["state"], row["ordType"]) == ("canceled", kind)


async def test_an_underfunded_market_order_is_shrunk_unless_that_is_banned(raw: Raw) -> None:
    raw.venue.control("balances", currency="ETH", change="0.05")
    sale = {"instId": "ETH-JPY", "tdMode": "cash", "side": "sell", "ordType": "market", "sz": "0.5"}
    assert await refused(raw, PLACE, sale | {"banAmend": True}) == "51008"
    answer = await raw.post(PLACE, sale)
    [row] = (await raw.get(PLACE, instId="ETH-JPY", ordId=answer["data"][0]["ordId"]))["data"]
    assert (row["state"], row["accFillSz"]) == ("filled", "0.05")


async def test_an_underfunded_market_buy_by_quantity_buys_what_the_money_reaches(raw: Raw) -> None:
    yen = await held(raw, "JPY")
    raw.venue.control("balances", currency="JPY", change=str(D(40_000) - yen))
    buy = RESTING | {"ordType": "market", "sz": "0.5", "tgtCcy": "base_ccy"}
    assert await refused(raw, PLACE, buy | {"banAmend": True}) == "51008"
    order_id = (await raw.post(PLACE, buy))["data"][0]["ordId"]
    row = await seen(raw, order_id)
    assert row["state"] == "filled"
    assert D("0.003") < D(row["accFillSz"]) < D("0.005")
    assert 0 <= await held(raw, "JPY") < 100
    raw.venue.control("balances", currency="JPY", change="4900000")


async def test_a_resting_order_fills_at_its_own_price_as_the_market_comes_to_it(raw: Raw) -> None:
    below = str((await price(raw) * D("0.98")).quantize(D(1)))
    order_id = await placed(raw, px=below)
    raw.venue.control("price", symbol="BTC/JPY", price=below)
    row = await seen(raw, order_id)
    assert (row["state"], row["avgPx"]) == ("filled", below)
    assert D(row["fee"]) == -(D("0.001") * D("0.0007")).quantize(SATOSHI, ROUND_CEILING)
    [fill] = (await raw.get("/api/v5/trade/fills-history", instType="SPOT", ordId=order_id))["data"]
    assert fill["execType"] == "M"


# --- several at once --------------------------------------------------------------------------------------


async def test_a_batch_tells_each_orders_fate_and_its_own_code(raw: Raw) -> None:
    good, bad = RESTING, RESTING | {"sz": "0.0001"}
    mixed = await raw.post(BATCH, [good, bad])
    assert (mixed["code"], [row["sCode"] for row in mixed["data"]]) == ("2", ["0", "51020"])
    assert (await raw.post(BATCH, [good]))["code"] == "0"
    assert (await raw.post(BATCH, [bad, bad]))["code"] == "1"
    assert (await raw.post(BATCH, [good] * 21))["code"] == "51000"
    assert (await raw.post(BATCH, []))["code"] == "51000"


async def test_a_batch_of_cancels_takes_both_kinds_of_id(raw: Raw) -> None:
    order_id = await placed(raw)
    await placed(raw, clOrdId="mine1")
    answer = await raw.post(CANCEL_BATCH, [BTC | {"ordId": order_id}, BTC | {"clOrdId": "mine1"}])
    assert answer["code"] == "0"
    assert (await raw.get(PENDING))["data"] == []


async def test_what_does_not_rest_cannot_be_cancelled(raw: Raw) -> None:
    order_id = await placed(raw)
    assert await refused(raw, CANCEL, BTC) == "51000"
    assert await refused(raw, CANCEL, BTC | {"ordId": "1"}) == "51400"
    assert await refused(raw, CANCEL, {"instId": "ETH-JPY", "ordId": order_id}) == "51400"
    assert (await raw.post(CANCEL, BTC | {"ordId": order_id}))["code"] == "0"
    assert await refused(raw, CANCEL, BTC | {"ordId": order_id}) == "51400"


# --- the timer --------------------------------------------------------------------------------------------


async def test_the_timer_cancels_everything_when_it_is_not_renewed(raw: Raw) -> None:
    ids = [await placed(raw), await placed(raw, px="4000000")]
    [row] = (await raw.post(TIMER, {"timeOut": "10"}))["data"]
    assert int(row["triggerTime"]) == int(row["ts"]) + 10_000
    raw.venue.advance(9_000)
    assert (await raw.post(TIMER, {"timeOut": "10"}))["code"] == "0"
    raw.venue.advance(9_000)
    assert len((await raw.get(PENDING))["data"]) == 2
    raw.venue.advance(1_000)
    assert (await raw.get(PENDING))["data"] == []
    assert {(await seen(raw, order_id))["state"] for order_id in ids} == {"canceled"}


async def test_the_timer_is_disarmed_by_zero_and_takes_10_to_120_seconds(raw: Raw) -> None:
    await placed(raw)
    await raw.post(TIMER, {"timeOut": "10"})
    raw.venue.advance(1_000)
    [row] = (await raw.post(TIMER, {"timeOut": "0"}))["data"]
    assert row["triggerTime"] == "0"
    raw.venue.advance(60_000)
    assert len((await raw.get(PENDING))["data"]) == 1
    for seconds in ("9", "121"):
        assert (await raw.post(TIMER, {"timeOut": seconds}))["code"] == "51000"
        raw.venue.advance(1_000)
    await raw.post(TIMER, {"timeOut": "0"})
    assert (await raw.post(TIMER, {"timeOut": "0"}))["code"] == "50011"  # once a second


# --- finding ----------------------------------------------------------------------------------------------


async def test_pages_are_walked_by_order_id(raw: Raw) -> None:
    ids = [await placed(raw, px=str(4_000_000 + number)) for number in range(7)]

    async def page(**params: str) -> list[str]:
        return [row["ordId"] for row in (await raw.get(PENDING, instType="SPOT", **params))["data"]]

    assert await page() == ids[::-1]
    assert await page(limit="3") == ids[:3:-1]
    assert await page(limit="3", after=ids[4]) == ids[3:0:-1]
    assert await page(before=ids[4]) == [ids[6], ids[5]]
    assert await page(instId="ETH-JPY") == []
    assert await page(state="partially_filled") == []
    assert (await raw.get(PENDING, limit="101"))["code"] == "51000"
    assert (await raw.get(PENDING, instType="SPOTS"))["code"] == "51000"


async def test_an_order_cancelled_unfilled_is_invisible_after_two_hours(raw: Raw) -> None:
    cancelled = await placed(raw)
    await raw.post(CANCEL, BTC | {"ordId": cancelled})
    filled = await placed(raw, ordType="market", sz="20000")

    async def listed(path: str) -> set[str]:
        return {row["ordId"] for row in (await raw.get(path, instType="SPOT"))["data"]}

    archive = f"{HISTORY}-archive"
    assert {cancelled, filled} <= await listed(HISTORY)
    raw.venue.advance(2 * HOUR_MS + 1_000)
    assert (await raw.get(PLACE, **BTC, ordId=cancelled))["code"] == "51603"
    assert cancelled not in await listed(HISTORY) | await listed(archive)
    assert filled in await listed(HISTORY)
    raw.venue.advance(7 * DAY_MS)
    assert filled not in await listed(HISTORY)
    assert filled in await listed(archive)
    assert (await seen(raw, filled))["state"] == "filled"
    assert filled not in {row["ordId"] for row in (await raw.get("/api/v5/trade/fills"))["data"]}
    kept = await raw.get("/api/v5/trade/fills-history", instType="SPOT")
    assert filled in {row["ordId"] for row in kept["data"]}


async def test_history_wants_the_kind_of_instrument(raw: Raw) -> None:
    for path in (HISTORY, f"{HISTORY}-archive", "/api/v5/trade/fills-history"):
        assert (await raw.get(path))["code"] == "50014"
        assert raw.status == 400
        assert await raw.get(path, instType="SWAP") == {"code": "0", "msg": "", "data": []}


async def test_bills_add_up_to_the_balance(raw: Raw) -> None:
    coins, yen = await held(raw, "BTC"), await held(raw, "JPY")
    order_id = await placed(raw, ordType="market", sz="50000")
    rows = (await raw.get("/api/v5/account/bills", instType="SPOT"))["data"]
    mine = [row for row in rows if row["ordId"] == order_id]
    change = {ccy: sum(D(row["balChg"]) for row in mine if row["ccy"] == ccy) for ccy in ("BTC", "JPY")}
    assert await held(raw, "BTC") == coins + change["BTC"]
    assert await held(raw, "JPY") == yen + change["JPY"]
    assert D(next(row["bal"] for row in rows if row["ccy"] == "BTC")) == await held(raw, "BTC")


async def test_the_largest_order_follows_what_is_free(raw: Raw) -> None:
    [before] = (await raw.get("/api/v5/account/max-avail-size", **BTC, tdMode="cash"))["data"]
    await placed(raw)
    [after] = (await raw.get("/api/v5/account/max-avail-size", **BTC, tdMode="cash"))["data"]
    assert D(before["availBuy"]) - D(after["availBuy"]) == D(5_000)
    [largest] = (await raw.get("/api/v5/account/max-size", **BTC, tdMode="cash"))["data"]
    assert D(largest["maxBuy"]) * await price(raw) <= D(after["availBuy"])
    assert largest["maxSell"] == after["availSell"]
