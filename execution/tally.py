"""What all fills of an account come to, counted on from the last look: a cycle costs the same after years."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from services.ledger import Ledger
from trading.instruments import FeeIn, Instrument, Kind
from trading.money import ZERO
from trading.orders import Fill
from trading.pnl import Inventory, book
from trading.reconcile import collateral_change, fee_apart, spot_changes

Totals = dict[str, Decimal]

_UNIT = Decimal("1E-8")


@dataclass
class Tally:
    """Sums over the fills of one account. Quantities base, money quote.

    `balances`: what spot fills moved, by asset, and all fees in a third currency; `margin`: what fills of perpetuals
    moved, by quote. `inventories`: by symbol, all trades of the account; `own`: by symbol, those that orders of ours
    made.
    """

    balances: Totals = field(default_factory=dict)
    margin: Totals = field(default_factory=dict)
    inventories: dict[str, Inventory] = field(default_factory=dict)
    own: dict[str, Inventory] = field(default_factory=dict)
    _row: int = 0  # the last one taken in
    _newest: tuple[datetime, int] | None = None
    _foreign: set[str] = field(default_factory=set)  # venue ids of orders that were not ours when last looked at

    def inventory(self, instrument: Instrument) -> Inventory:
        """What the bot holds: of a spot pair what its own orders left it with (a person's coins are not ours to sell);
        of a perpetual the account's one position.
        """
        told = self.own if instrument.kind is Kind.SPOT else self.inventories
        return told.get(instrument.symbol, Inventory())

    def take_in(self, ledger: Ledger, account: str, instruments: Mapping[str, Instrument]) -> None:
        """Add the fills that were stored since the last look. Raises LedgerUnavailable."""
        new = ledger.fills_after(account, self._row)
        late = bool(new) and self._newest is not None and new[0].fill.moment < self._newest
        # The order in which fills are counted matters to cost and profit; whose a fill is may be known only later.
        if late or (self._foreign and ledger.has_any_order(account, self._foreign)):
            self._begin_anew()
            new = ledger.fills_after(account, 0)
        for stored in new:
            self._add(stored.fill, stored.ours, instrument_of(stored.fill.symbol, instruments))
            self._row = max(self._row, stored.row)

    def with_more(self, fills: Sequence[Fill], instruments: Mapping[str, Instrument]) -> "Tally":
        """The sums with these fills of ours added, newest last; this tally stays as it is."""
        if not fills:
            return self
        more = Tally(dict(self.balances), dict(self.margin), dict(self.inventories), dict(self.own))
        for fill in fills:
            more._add(fill, True, instrument_of(fill.symbol, instruments))
        return more

    def _begin_anew(self) -> None:
        for sums in (self.balances, self.margin, self.inventories, self.own, self._foreign):
            sums.clear()
        self._row, self._newest = 0, None

    def _add(self, fill: Fill, ours: bool, instrument: Instrument) -> None:
        before = self.inventories.get(fill.symbol, Inventory())
        after = self.inventories[fill.symbol] = book(before, fill, instrument)
        if instrument.kind is Kind.PERPETUAL:
            change = collateral_change(before, after, fill, instrument)
            self.margin[instrument.quote] = self.margin.get(instrument.quote, ZERO) + change
            changes = fee_apart(fill, instrument)
        else:
            changes = spot_changes(fill, instrument)
        for asset, change in changes.items():
            self.balances[asset] = self.balances.get(asset, ZERO) + change
        if ours:
            self.own[fill.symbol] = book(self.own.get(fill.symbol, Inventory()), fill, instrument)
        else:
            self._foreign.add(fill.venue_order_id)
        self._newest = fill.moment


def instrument_of(symbol: str, instruments: Mapping[str, Instrument]) -> Instrument:
    """The instrument of a fill or an order that we have, for the books alone: nothing is traded by it.

    What was traded once may be listed no more (delisted, or suspended when this process began). Its symbol tells what
    its fills move, and the venue's other pairs in that quote how it is rounded.
    """
    if symbol in instruments:
        return instruments[symbol]
    pair, _, settled_in = symbol.partition(":")
    base, _, quote = pair.partition("/")
    steps = [each.quote_step for each in instruments.values() if each.quote == quote]
    return Instrument(
        venue="",
        symbol=symbol,
        base=base,
        quote=quote,
        kind=Kind.PERPETUAL if settled_in else Kind.SPOT,
        tick_size=_UNIT,
        lot_size=_UNIT,
        min_quantity=_UNIT,
        min_notional=None,
        max_quantity=None,
        maker_fee_rate=ZERO,
        taker_fee_rate=ZERO,
        fee_in=FeeIn.QUOTE,
        quote_step=steps[0] if steps else None,
    )
