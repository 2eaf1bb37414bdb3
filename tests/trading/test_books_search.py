"""Books under any sequence of trades: money is conserved to the last digit, and no mutation escapes the audit."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.trading.examples import BITBANK, BITFLYER, BYBIT, CFD, LINEAR, NOON, D, an_intent, an_order
from trading.audit import AuditReport, TruthFill, TruthOrder, audit
from trading.instruments import Instrument, Kind, Side
from trading.money import ZERO
from trading.orders import Fill, Order, State
from trading.pnl import Inventory, inventory_of
from trading.reconcile import compare_fills, expected_balances, held_quantity

SPOT = (BITBANK, BITFLYER, BYBIT)
PERPETUALS = (CFD, LINEAR)
OPENING = {"JPY": D(5_000_000), "USDT": D(50_000), "BTC": D("1.5")}
MANY = settings(max_examples=100, derandomize=True, print_blob=True)
LOTS = st.integers(1, 500)
PRICES = st.integers(9_000_000, 11_000_000)
FEES = st.integers(-3000, 9000)


@st.composite
def trades(draw: st.DrawFn, instruments: tuple[Instrument, ...]) -> tuple[Instrument, list[Fill]]:
    """Fills of one instrument as its venue books them: fee or rebate in base or quote, quote leg in its own steps."""
    instrument = draw(st.sampled_from(instruments))
    fills = []
    for number, (side, lots, price, fee) in enumerate(
        draw(st.lists(st.tuples(st.sampled_from(Side), LOTS, PRICES, FEES), max_size=12))
    ):
        quantity, at_price = lots * instrument.lot_size, price * instrument.tick_size
        in_base = instrument.kind is Kind.SPOT and draw(st.booleans())
        fills.append(
            Fill(
                id=f"f{number}",
                venue_order_id=f"v{number // 2}",
                symbol=instrument.symbol,
                side=side,
                price=at_price,
                quantity=quantity,
                quote_quantity=instrument.booked_cost(side, at_price, quantity),
                fee=D(fee) / 10**8 if in_base else D(fee) / 10**4,
                fee_currency=instrument.base if in_base else instrument.quote,
                at=NOON,
            )
        )
    return instrument, fills


def moved(fills: list[Fill], instrument: Instrument) -> dict[str, Decimal]:
    after = expected_balances(OPENING, fills, {instrument.symbol: instrument})
    return {asset: after[asset] - OPENING.get(asset, ZERO) for asset in after}


@MANY
@given(trades(SPOT))
def test_what_spot_fills_move_is_what_was_paid_and_received(case: tuple[Instrument, list[Fill]]) -> None:
    instrument, fills = case
    paid = sum((fill.quote_quantity * fill.side.sign for fill in fills), ZERO)
    bought = sum((fill.quantity * fill.side.sign for fill in fills), ZERO)
    fees = {
        asset: sum((fill.fee for fill in fills if fill.fee_currency == asset), ZERO)
        for asset in (instrument.base, instrument.quote)
    }
    changes = moved(fills, instrument)
    assert changes[instrument.quote] == -paid - fees[instrument.quote]
    assert changes[instrument.base] == bought - fees[instrument.base] == held_quantity(fills, instrument)
    assert all(not change for asset, change in changes.items() if asset not in fees)


@MANY
@given(trades(SPOT), st.randoms(use_true_random=False))
def test_spot_fills_move_the_same_in_whatever_order_they_are_told(
    case: tuple[Instrument, list[Fill]], dice: Any
) -> None:
    instrument, fills = case
    shuffled = list(fills)
    dice.shuffle(shuffled)
    assert moved(shuffled, instrument) == moved(fills, instrument)
    assert held_quantity(shuffled, instrument) == held_quantity(fills, instrument)
    assert inventory_of(shuffled, instrument).quantity == inventory_of(fills, instrument).quantity
    assert compare_fills(shuffled, fills) == ()


@MANY
@given(trades(SPOT), PRICES)
def test_an_inventory_holds_what_the_fills_left_and_its_money_is_the_cash_that_moved(
    case: tuple[Instrument, list[Fill]], price: int
) -> None:
    instrument, fills = case
    inventory = inventory_of(fills, instrument)
    assert inventory.quantity == held_quantity(fills, instrument)
    # realised profit less what is still invested is all the cash that came in and went out
    assert inventory.realised - inventory.cost == moved(fills, instrument)[instrument.quote]
    worth = moved(fills, instrument)[instrument.quote] + inventory.quantity * price
    assert inventory.profit(D(price)) == worth


@MANY
@given(trades(PERPETUALS))
def test_a_perpetual_moves_only_collateral_by_profit_less_fees_never_in_our_favour(
    case: tuple[Instrument, list[Fill]],
) -> None:
    instrument, fills = case
    inventory = inventory_of(fills, instrument)
    assert inventory.quantity == held_quantity(fills, instrument)
    changes = moved(fills, instrument)
    assert all(not change for asset, change in changes.items() if asset != instrument.quote)
    short = inventory.realised - changes[instrument.quote]
    step = instrument.quote_step or D("1E-8")
    assert 0 <= short <= step * len(fills)
    assert inventory.fees == sum((fill.fee for fill in fills), ZERO)
    # closed flat, all of it is profit: the sums of what was sold and bought, less the fees
    if inventory.quantity == 0:
        cash = sum((-fill.price * fill.quantity * fill.side.sign - fill.fee for fill in fills), ZERO)
        assert (inventory.realised, inventory.cost) == (cash, ZERO)


@MANY
@given(trades((*SPOT, *PERPETUALS)), st.data())
def test_fills_told_twice_and_known_by_their_id_change_nothing(
    case: tuple[Instrument, list[Fill]], data: st.DataObject
) -> None:
    instrument, fills = case
    again = [*fills, *data.draw(st.lists(st.sampled_from(fills), max_size=6))] if fills else []
    known = list({(fill.symbol, fill.id): fill for fill in again}.values())
    assert moved(known, instrument) == moved(fills, instrument)
    assert inventory_of(known, instrument) == inventory_of(fills, instrument) or not fills
    assert compare_fills(again, fills) == compare_fills(fills, again) == ()
    assert inventory_of([], instrument) == Inventory()


# -- the audit


@dataclass
class Account:
    """A ledger and a venue's books that agree."""

    orders: list[Order]
    fills: list[Fill]
    expected: dict[str, Decimal]
    truth_orders: list[TruthOrder]
    truth_fills: list[TruthFill]
    found: dict[str, Decimal]

    def audit(self) -> AuditReport:
        return audit(self.orders, self.fills, self.expected, self.truth_orders, self.truth_fills, self.found)


@st.composite
def accounts(draw: st.DrawFn) -> Account:
    """Orders in every settled state with their fills, at a venue that knows client ids or none; some never came to
    be, some were refused, one may have been killed behind a lost answer.
    """
    instrument, fills = draw(trades((*SPOT, *PERPETUALS)))
    knows_client_ids = draw(st.booleans())
    orders, truth_orders = [], []
    by_order: dict[str, list[Fill]] = {}
    sides: dict[str, Side] = {}
    kept = []
    for fill in fills:
        side = sides.setdefault(fill.venue_order_id, fill.side)
        kept.append(replace(fill, side=side))
        by_order.setdefault(fill.venue_order_id, []).append(kept[-1])
    idle = draw(st.integers(0, 3))
    names = [*by_order, *(f"idle{number}" for number in range(idle))]
    ended_idle = (State.OPEN, State.CANCELLED, State.EXPIRED, State.REJECTED)
    for number, name in enumerate(names):
        filled = sum((fill.quantity for fill in by_order.get(name, [])), ZERO)
        state = draw(st.sampled_from((State.FILLED, State.CANCELLED, State.PARTIALLY_FILLED) if filled else ended_idle))
        quantity = filled if state is State.FILLED else filled + instrument.lot_size * (number + 1)
        client_id = f"{number:032x}"
        side = sides.get(name, Side.BUY)
        intent = an_intent(
            client_order_id=client_id, symbol=instrument.symbol, side=side, quantity=quantity, price=D(100 + number)
        )
        told_id = state is not State.REJECTED
        orders.append(an_order(state, str(filled), intent=intent, venue_order_id=name if told_id else None))
        status = state if told_id or knows_client_ids else draw(st.sampled_from([None, *ended_idle[1:]]))
        if status is not None:
            client = client_id if knows_client_ids else ""
            truth_orders.append(
                TruthOrder(name, client, instrument.symbol, side, quantity, intent.price, filled, status)
            )
    told = [TruthFill(f.id, f.venue_order_id, f.price, f.quantity, f.fee, f.fee_currency) for f in kept]
    expected = expected_balances(OPENING, kept, {instrument.symbol: instrument})
    return Account(orders, kept, expected, truth_orders, told, dict(expected))


@MANY
@given(accounts())
def test_books_that_agree_are_found_to_agree(account: Account) -> None:
    report = account.audit()
    assert report.is_clean, report


def _changed(name: str, value: Callable[[Any], Any]) -> Callable[[list[Any], int], None]:
    def change(rows: list[Any], index: int) -> None:
        rows[index] = replace(rows[index], **{name: value(getattr(rows[index], name))})

    return change


def _more(value: Decimal) -> Decimal:
    return value + D("1E-8")


def _another(state: State) -> State:
    # what was settled is open again, what was open has ended
    return State.CANCELLED if state is State.OPEN else State.OPEN


def _of_intent(name: str, value: Callable[[Any], Any]) -> Callable[[list[Any], int], None]:
    def change(rows: list[Any], index: int) -> None:
        intent = rows[index].intent
        rows[index] = replace(rows[index], intent=replace(intent, **{name: value(getattr(intent, name))}))

    return change


def _drop(rows: list[Any], index: int) -> None:
    del rows[index]


def _double(rows: list[Any], index: int) -> None:
    rows.append(rows[index])


def _again(rows: list[Any], index: int) -> None:
    rows.append(replace(rows[index], id=f"{rows[index].id} again"))


ORDER_FILLED, ORDER_STATE = _changed("filled", _more), _changed("state", _another)
MUTATIONS: dict[str, tuple[Callable[[list[Any], int], None], ...]] = {
    "orders": (
        _drop,
        _double,
        ORDER_FILLED,
        ORDER_STATE,
        _of_intent("price", _more),
        _of_intent("quantity", _more),
        _of_intent("side", lambda side: side.opposite),
        _of_intent("symbol", lambda symbol: f"X{symbol}"),
    ),
    "truth_orders": (
        _drop,
        _double,
        _again,
        _changed("filled", _more),
        _changed("status", _another),
        _changed("price", _more),
        _changed("quantity", _more),
        _changed("side", lambda side: side.opposite),
        _changed("symbol", lambda symbol: f"X{symbol}"),
        _changed("client_id", lambda told: f"{told}x"),
    ),
    "fills": (
        _drop,
        _double,
        _changed("price", _more),
        _changed("quantity", _more),
        _changed("fee", _more),
        _changed("venue_order_id", lambda told: f"{told}x"),
    ),
    "truth_fills": (
        _drop,
        _double,
        _again,
        _changed("price", _more),
        _changed("quantity", _more),
        _changed("fee", _more),
        _changed("order_id", lambda told: f"{told}x"),
    ),
}


@settings(MANY, max_examples=400)
@given(accounts(), st.data())
def test_any_single_mutation_of_ledger_or_truth_is_found(account: Account, data: st.DataObject) -> None:
    where = data.draw(st.sampled_from([name for name in MUTATIONS if getattr(account, name)] or ["none"]))
    assume(where != "none")
    rows = getattr(account, where)
    index = data.draw(st.integers(0, len(rows) - 1))
    mutate = data.draw(st.sampled_from(MUTATIONS[where]))
    assume(not _says_nothing(account, rows[index], mutate))
    mutate(rows, index)
    report = account.audit()
    assert not report.is_clean


def _says_nothing(account: Account, row: Any, mutate: Callable[[list[Any], int], None]) -> bool:
    """What came to nothing, and of which the venue never told, has no trace that could be missed: an order of the
    ledger that was rejected without an id of the venue, and is not in its books; and such an order in the venue's.
    """
    if isinstance(row, Order):
        untold = row.state is State.REJECTED and row.venue_order_id is None
        there = any(told.quantity == row.intent.quantity for told in account.truth_orders)
        return untold and (mutate is _double or not there) and mutate not in (ORDER_FILLED, ORDER_STATE)
    if isinstance(row, TruthOrder):
        ours = [order for order in account.orders if order.intent.quantity == row.quantity]
        return mutate is _drop and all(order.state is State.REJECTED for order in ours)
    return False


@MANY
@given(accounts(), st.sampled_from(["expected", "found"]), st.sampled_from(sorted(OPENING)), st.integers(-9, 9))
def test_any_balance_that_is_off_is_found(account: Account, where: str, asset: str, off: int) -> None:
    assume(off)
    getattr(account, where)[asset] += D(off).scaleb(-8)
    (difference,) = account.audit().differences
    assert (difference.kind, difference.subject) == ("balance", asset)
