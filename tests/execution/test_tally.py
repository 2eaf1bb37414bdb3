"""Sums that are counted on must be what counting anew would give, however the fills came in."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from execution.tally import Tally
from tests.execution.conftest import Workplace
from tests.execution.venue import BEGIN, PERPETUAL, PRICE, SPOT, an_intent
from trading.instruments import Side
from trading.orders import Event, Fill
from trading.pnl import inventory_of
from trading.reconcile import expected_balances

OPENING = {"JPY": Decimal(5_000_000), "BTC": Decimal("0.1")}


def a_fill(number: int, *, minute: int, side: Side = Side.BUY, symbol: str = SPOT, order: str | None = None) -> Fill:
    quantity = Decimal("0.001") * (1 + number % 3)
    price = PRICE + number * 1000
    return Fill(
        id=f"t{number}",
        venue_order_id=order or f"by-hand-{number}",
        symbol=symbol,
        side=side,
        price=price,
        quantity=quantity,
        quote_quantity=price * quantity,
        fee=Decimal("1.5"),
        fee_currency="JPY",
        at=BEGIN + timedelta(minutes=minute),
    )


some_fills = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(Side), st.sampled_from((SPOT, PERPETUAL)), st.booleans()), max_size=12
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=some_fills)
async def test_counting_on_gives_what_counting_anew_gives(
    workplace: Callable[..., Workplace], told: list[tuple[int, Side, str, bool]]
) -> None:
    work = workplace()
    instruments = await work.venue.instruments()
    tally = Tally()
    for number, (minute, side, symbol, looks) in enumerate(told):  # fills may be listed out of order
        work.ledger.record_fills("bitbank", [a_fill(number, minute=minute, side=side, symbol=symbol)], BEGIN)
        if looks:
            tally.take_in(work.ledger, "bitbank", instruments)
    tally.take_in(work.ledger, "bitbank", instruments)
    every = work.ledger.fills("bitbank")
    totals = dict(OPENING)
    for moved in (tally.balances, tally.margin):
        for asset, change in moved.items():
            totals[asset] = totals.get(asset, Decimal(0)) + change
    assert totals == expected_balances(OPENING, every, instruments)
    for symbol in (SPOT, PERPETUAL):
        of_symbol = [fill for fill in every if fill.symbol == symbol]
        if of_symbol:
            assert tally.inventories[symbol] == inventory_of(of_symbol, instruments[symbol])


async def test_trades_of_one_moment_are_counted_in_the_venues_order(workplace: Callable[..., Workplace]) -> None:
    work = workplace()
    instruments = await work.venue.instruments()
    bought = replace(a_fill(0, minute=0, symbol=PERPETUAL), quantity=Decimal("0.01"), sequence=1)
    first, second = (
        replace(a_fill(number, minute=1, side=Side.SELL, symbol=PERPETUAL), quantity=Decimal(size), sequence=number)
        for number, size in ((2, "0.005"), (3, "0.01"))
    )
    tally = Tally()
    for heard in (bought, second, first):
        work.ledger.record_fills("bitbank", [heard], BEGIN)
        tally.take_in(work.ledger, "bitbank", instruments)
    in_order = inventory_of((bought, first, second), instruments[PERPETUAL])
    assert in_order != inventory_of((bought, second, first), instruments[PERPETUAL])
    assert tally.inventories[PERPETUAL] == in_order
    assert work.ledger.fills("bitbank") == (bought, first, second)
    assert work.ledger.newest_fill("bitbank", PERPETUAL) == second


async def test_coins_that_a_person_bought_are_not_the_bots(work: Workplace) -> None:
    await work.reconcile()
    work.venue.placing.append("fill")
    await work.place()
    await work.clock.sleep(60)
    work.venue.fill(work.venue.by_hand("0.05"))
    assert (await work.reconcile()).discrepancies == ()
    spot = (await work.venue.instruments())[SPOT]
    assert work.desk.tally.inventory(spot).quantity == Decimal("0.002")
    assert work.ledger.count_own_fills("bitbank", SPOT, since=BEGIN) == 1


async def test_a_fill_that_was_heard_of_before_its_orders_id_becomes_the_bots(work: Workplace) -> None:
    instruments = await work.venue.instruments()
    work.ledger.record_fills("bitbank", [a_fill(1, minute=1, order="1000")], BEGIN)
    work.desk.tally.take_in(work.ledger, "bitbank", instruments)
    assert work.desk.tally.inventory(instruments[SPOT]).quantity == 0
    intent = replace(an_intent("one"), quantity=Decimal("0.002"))
    work.ledger.write_intent(intent, work.desk.lease, rung="adopted", cycle_id=None, known_ids=frozenset(), now=BEGIN)
    for event, number in ((Event.SENT, None), (Event.ACKED, "1000")):
        work.ledger.record("bitbank", intent.client_order_id, event, BEGIN, venue_order_id=number)
    work.desk.tally.take_in(work.ledger, "bitbank", instruments)
    assert work.desk.tally.inventory(instruments[SPOT]).quantity == Decimal("0.002")


async def test_a_fill_that_may_be_the_lost_order_is_no_proof_that_it_never_was(work: Workplace) -> None:
    await work.reconcile()
    work.venue.placing.append("lost_ack_filled")
    await work.place()

    async def blind(*_: object) -> tuple[()]:
        return ()

    work.venue.find_order = blind  # type: ignore[method-assign]
    await work.clock.sleep(120)
    found = await work.reconcile()
    assert [order.intent.client_order_id for order in found.unknown]
    assert "which may be this order" in str(found.discrepancies)
    assert work.ledger.in_flight("bitbank")
