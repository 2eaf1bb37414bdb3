"""What all fills of an account come to, counted on from the last look: a cycle costs the same after years."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from services.ledger import Ledger
from trading.instruments import Instrument, Kind
from trading.money import ZERO
from trading.orders import Fill
from trading.pnl import Inventory, book
from trading.reconcile import collateral_change, spot_changes

Totals = dict[str, Decimal]


@dataclass
class Tally:
    """Sums over the fills of one account. Quantities base, money quote.

    `balances`: what spot fills moved, by asset; `margin`: what fills of perpetuals moved, by quote. `inventories`: by
    symbol, all trades of the account; `own`: by symbol, those that orders of ours made.
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
        """Add the fills that were stored since the last look. Raises LedgerUnavailable; KeyError without instrument."""
        new = ledger.fills_after(account, self._row)
        late = bool(new) and self._newest is not None and new[0].fill.moment < self._newest
        # The order in which fills are counted matters to cost and profit; whose a fill is may be known only later.
        if late or (self._foreign and ledger.has_any_order(account, self._foreign)):
            self._begin_anew()
            new = ledger.fills_after(account, 0)
        for stored in new:
            self._add(stored.fill, stored.ours, instruments[stored.fill.symbol])
            self._row = max(self._row, stored.row)

    def with_more(self, fills: Sequence[Fill], instruments: Mapping[str, Instrument]) -> "Tally":
        """The sums with these fills of ours added, newest last; this tally stays as it is."""
        if not fills:
            return self
        more = Tally(dict(self.balances), dict(self.margin), dict(self.inventories), dict(self.own))
        for fill in fills:
            more._add(fill, True, instruments[fill.symbol])
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
        else:
            for asset, change in spot_changes(fill, instrument).items():
                self.balances[asset] = self.balances.get(asset, ZERO) + change
        if ours:
            self.own[fill.symbol] = book(self.own.get(fill.symbol, Inventory()), fill, instrument)
        else:
            self._foreign.add(fill.venue_order_id)
        self._newest = fill.moment
