"""The account's books: fills recorded, balances and positions compared with what our fills explain."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from execution.desk import Desk
from execution.follow import lacks_fills, with_its_fills
from execution.tally import Tally, instrument_of
from services.ledger import Ledger
from trading.instruments import Instrument, Kind
from trading.market import Balance, Position
from trading.money import ZERO
from trading.orders import Fill, Order
from trading.reconcile import (
    Discrepancy,
    compare_balances,
    compare_positions,
    expected_balances,
)

log = logging.getLogger(__name__)

# Fill lists lag and venue clocks differ by moments: read again what may have been there last time.
_OVERLAP = timedelta(minutes=2)
_RECENT_ORDERS = 30
_ROUNDS = 3
_LAG_SECONDS = 2.0  # balances follow a fill or a cancel with a delay (docs/venues.md)
# bitFlyer keeps the money behind its CFD apart from the balances; in the opening it has a name of its own.
COLLATERAL = "collateral:"
# Venues keep eight decimals; a difference below is how they round, not money. `balance_tolerance` may say otherwise.
_SMALLEST = Decimal("0.00000001")


@dataclass(frozen=True)
class Books:
    """What the account holds, and every difference from what our fills explain."""

    balances: Mapping[str, Balance]
    positions: tuple[Position, ...]
    discrepancies: tuple[Discrepancy, ...]
    new_fills: tuple[Fill, ...]


async def record_missing_fills(desk: Desk, symbol: str, *, even_if_none_missing: bool) -> tuple[Fill, ...]:
    """Record the symbol's fills since the last known one, where our orders show more filled than the ledger
    has.

    Returns those that are new. Costs 0 requests in the quiet case, else 1, and 1 for each order that is
    still short.
    """
    short = _orders_short_of_fills(desk, symbol)
    if not short and not even_if_none_missing:
        return ()
    new = await _record_fills_since(desk, symbol)
    for order in _orders_short_of_fills(desk, symbol):
        await with_its_fills(desk, order)
    return new


async def compare_books(desk: Desk, symbol: str) -> Books:
    """Compare balances (and the perpetual's position) with the opening and all fills; set the opening at
    first.

    A difference is looked at again before it is told, since balances lag and fills arrive meanwhile; for one
    that was told last time only the fills are read again. Costs 1 request (a perpetual: 2, at bitFlyer 3);
    with an old difference 1 more, with a new one up to 3 times as many and 3 more.
    """
    instruments = await desk.exchange.instruments()
    new_fills: list[Fill] = []
    opens = desk.ledger.opening(desk.account) is None
    if opens:
        # What was filled before counts as before: on a stepped clock, time would stand still in between.
        await desk.clock.sleep(0.001)
    reading = await _read(desk, symbol, instrument_of(symbol, instruments))
    if opens:
        opening = dict(reading.totals)
        opening.update({COLLATERAL + name: total for name, total in (await desk.exchange.collateral()).items()})
        desk.ledger.set_opening(desk.account, opening, desk.clock.now())
    differences = _differences(desk, symbol, instruments, reading)
    for round_ in range(1 if differences == desk.told_differences else _ROUNDS):
        if not differences:
            break
        if round_ > 0:
            await desk.clock.sleep(_LAG_SECONDS)
            reading = await _read(desk, symbol, instrument_of(symbol, instruments))
        for name in _symbols_that_may_have_moved(desk, symbol):
            new_fills += await _record_fills_since(desk, name)
        differences = _differences(desk, symbol, instruments, reading)
    desk.told_differences = differences
    desk.ledger.record_balances(desk.account, reading.balances, desk.clock.now())
    return Books(reading.balances, reading.positions, differences, tuple(new_fills))


@dataclass(frozen=True)
class _Reading:
    balances: Mapping[str, Balance]
    collateral: Mapping[str, Decimal]
    positions: tuple[Position, ...]

    @property
    def totals(self) -> dict[str, Decimal]:
        return {asset: balance.total for asset, balance in self.balances.items()}


async def _read(desk: Desk, symbol: str, instrument: Instrument) -> _Reading:
    balances = await desk.exchange.balances()
    if instrument.kind is Kind.SPOT:
        return _Reading(balances, {}, ())
    return _Reading(balances, await desk.exchange.collateral(), await desk.exchange.positions(symbol))


def explained_totals(
    opening: Mapping[str, Decimal], fills: Sequence[Fill], instruments: Mapping[str, Instrument]
) -> dict[str, Decimal]:
    """Totals by asset that the opening and the fills explain; CFD collateral under `collateral:CURRENCY`.

    Where the opening knows collateral, fills of a perpetual move that; else they move the balances.
    """
    behind = {name.removeprefix(COLLATERAL): total for name, total in opening.items() if name.startswith(COLLATERAL)}
    in_account = {name: total for name, total in opening.items() if not name.startswith(COLLATERAL)}
    apart = [fill for fill in fills if behind and instruments[fill.symbol].kind is Kind.PERPETUAL]
    together = [fill for fill in fills if not behind or instruments[fill.symbol].kind is Kind.SPOT]
    totals = expected_balances(in_account, together, instruments)
    for name, total in expected_balances(behind, apart, instruments).items():
        totals[COLLATERAL + name] = total
    return totals


def _differences(
    desk: Desk, symbol: str, instruments: Mapping[str, Instrument], reading: _Reading
) -> tuple[Discrepancy, ...]:
    desk.tally.take_in(desk.ledger, desk.account, instruments)
    expected = totals_of(_opening_and_adjustments(desk), desk.tally)
    found = reading.totals
    if reading.collateral:
        found |= {COLLATERAL + name: total for name, total in reading.collateral.items()}
    else:  # a spot symbol: the collateral was not read
        expected = {name: total for name, total in expected.items() if not name.startswith(COLLATERAL)}
    tolerated = desk.settings.balance_tolerance
    tolerance = {name: tolerated.get(name.removeprefix(COLLATERAL), _SMALLEST) for name in {*expected, *found}}
    differences = compare_balances(expected, found, tolerance)
    instrument = instrument_of(symbol, instruments)
    if instrument.kind is Kind.PERPETUAL:
        held = desk.tally.inventory(instrument).quantity
        differences += compare_positions(symbol, held, reading.positions)
    return differences


def totals_of(opening: Mapping[str, Decimal], tally: Tally) -> dict[str, Decimal]:
    """As `explained_totals`, from sums that are at hand."""
    apart = COLLATERAL if any(name.startswith(COLLATERAL) for name in opening) else ""
    totals = dict(opening)
    for asset, change in tally.balances.items():
        totals[asset] = totals.get(asset, ZERO) + change
    for quote, change in tally.margin.items():
        totals[apart + quote] = totals.get(apart + quote, ZERO) + change
    return totals


def purse_of(ledger: Ledger, account: str, symbol: str) -> str:
    """The money that a symbol is traded with, as the ledger names it: the quote currency, or a CFD's collateral where
    the account keeps that apart. Each purse has a worth of its own.
    """
    quote = symbol.partition("/")[2].partition(":")[0]
    if ":" not in symbol:  # spot, as in most cycles: nothing need be read
        return quote
    opening = ledger.opening(account)
    return COLLATERAL + quote if opening is not None and COLLATERAL + quote in opening[0] else quote


def deposited(ledger: Ledger, account: str, purse: str) -> Decimal:
    """What named persons have answered for in a purse (quote, signed)."""
    return sum((each.change for each in ledger.adjustments(account) if each.asset == purse), ZERO)


def _opening_and_adjustments(desk: Desk) -> dict[str, Decimal]:
    """What the account began with, and what a named person has explained since (a deposit, a withdrawal)."""
    told = desk.ledger.opening(desk.account)
    opening = dict(told[0]) if told is not None else {}
    for adjustment in desk.ledger.adjustments(desk.account):
        opening[adjustment.asset] = opening.get(adjustment.asset, ZERO) + adjustment.change
    return opening


async def _record_fills_since(desk: Desk, symbol: str) -> tuple[Fill, ...]:
    """Read and record the symbol's fills since the last known one, with an overlap. Costs 1 request."""
    fills = await desk.exchange.fills(symbol, since=_since(desk, symbol))
    return desk.ledger.record_fills(desk.account, fills, desk.clock.now())


def _since(desk: Desk, symbol: str) -> datetime:
    """Never before the opening: what was filled before is in it."""
    opened = desk.ledger.opening(desk.account)
    begin = opened[1] if opened is not None else desk.clock.now()
    known = desk.ledger.newest_fill(desk.account, symbol)
    if known is None:
        return begin
    moments = [order.sent_at for order in _orders_short_of_fills(desk, symbol) if order.sent_at is not None]
    if (compared := desk.ledger.latest_balances(desk.account)) is not None:
        # The newest fill may have been read for its order alone: others since the last look at the books are older.
        moments.append(compared[1])
    return max(begin, min([known.at, *moments]) - _OVERLAP)


def _is_ours(desk: Desk, fill: Fill) -> bool:
    return desk.ledger.order_by_venue_id(desk.account, fill.venue_order_id) is not None


def _orders_short_of_fills(desk: Desk, symbol: str) -> tuple[Order, ...]:
    recent = desk.ledger.orders(desk.account, symbol, limit=_RECENT_ORDERS)
    in_flight = desk.ledger.in_flight(desk.account, symbol)
    by_id = {order.intent.client_order_id: order for order in (*recent, *in_flight)}
    return tuple(order for order in by_id.values() if order.venue_order_id is not None and lacks_fills(order))


def _symbols_that_may_have_moved(desk: Desk, symbol: str) -> tuple[str, ...]:
    others = {order.intent.symbol for order in desk.ledger.in_flight(desk.account)}
    return (symbol, *sorted(others - {symbol}))


def base_is_unexplained(order: Order, instrument: Instrument, discrepancies: tuple[Discrepancy, ...]) -> bool:
    """Whether a difference may be this order's doing: every fill moves its base asset (a perpetual: its
    position).
    """
    subject = instrument.base if instrument.kind is Kind.SPOT else order.intent.symbol
    return any(difference.subject == subject for difference in discrepancies)


def foreign_fills(desk: Desk, fills: tuple[Fill, ...]) -> tuple[Fill, ...]:
    """Those fills that belong to no order of ours: somebody else trades this account."""
    return tuple(fill for fill in fills if not _is_ours(desk, fill))
