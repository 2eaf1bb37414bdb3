"""Reconcile an account whose ledger was restored from a backup: find what happened since, prove that nothing is left.

The ledger ends where the backup did. At the venue orders may have been placed, filled and cancelled since. Orders of
ours are taken over as they stand there (rung "adopted"), so that they are known, counted and cancelled like any other;
trades of others are explained and counted in the balances alone. Whose an order is:

- Bybit and OKJ keep our client order id, 32 lower-case hex characters: such an order is ours.
- bitbank and bitFlyer keep no id of ours: a person who knows the account says it.

Nothing is placed here and nothing is cancelled.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from exchanges.errors import OrderNotFound
from execution.books import foreign_fills
from execution.desk import Desk
from execution.orphans import adopt
from execution.reconcile import Reconciliation, reconcile
from services.ledger_upkeep import Restore
from trading.money import plain
from trading.orders import Fill, VenueOrder

OUR_FORM = re.compile(r"[0-9a-f]{32}")
_ALL = "all"
_KEEPS_OUR_ID = frozenset({"bybit", "okcoinjp"})
# A fill bears the venue's time, an event of ours our own; and what the backup just missed may be a little older.
_OVERLAP = timedelta(minutes=5)
# The trader names a cycle after its minute: a cycle of the same minute would make the same client order ids again.
_LONGEST_NAME = timedelta(minutes=1)
_REASON = "adopted: made after the backup from which the ledger was restored"


@dataclass(frozen=True)
class RestoredAccount:
    """What reconciling came to. `adopted`: orders taken over, by symbol; `undecided`: a person must say whose they are.

    `foreign`: somebody else's; what rests of them is left so. `not_found`: orders with fills that the venue no longer
    knows; `not_taken`: orders of ours that would contradict the ledger. `after`: the last look, symbol by symbol.
    """

    restore: Restore | None
    adopted: tuple[VenueOrder, ...]
    foreign: tuple[VenueOrder, ...]
    undecided: tuple[VenueOrder, ...]
    not_found: tuple[str, ...]
    not_taken: tuple[VenueOrder, ...]
    new_fills: tuple[Fill, ...]
    after: Mapping[str, Reconciliation]

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the account may not be re-armed yet."""
        found = [f"whose is {in_words(each)}?" for each in self.undecided]
        found += [f"{in_words(each)} contradicts what the ledger holds of it" for each in self.not_taken]
        for name in self.not_found:
            found.append(f"there are fills of order {name}, which the venue does not know any more")
        for symbol, told in self.after.items():
            found += [f"{symbol}: {each}" for each in told.discrepancies]
            found += [f"{symbol}: order {each.intent.client_order_id} is not proved" for each in told.unknown]
        return tuple(found)

    @property
    def is_clean(self) -> bool:
        return not self.problems


def in_words(order: VenueOrder) -> str:
    """What a person looks for on the venue's page."""
    price = "the market" if order.price is None else plain(order.price)
    what = f"{order.side} {plain(order.quantity)} {order.symbol} at {price}"
    return f"order {order.venue_order_id} ({what}, {order.state}, made {order.created_at:%Y-%m-%d %H:%M:%S} UTC)"


async def reconcile_restored(
    desk: Desk, symbols: Sequence[str], *, by: str, ours: Collection[str] = (), not_ours: Collection[str] = ()
) -> RestoredAccount:
    """Bring a restored ledger up to what the venue shows, and write down that it agrees, where it does.

    `symbols`: the traded ones; those of orders in the ledger are added. `ours` and `not_ours` are venue order ids, or
    "all": what the person `by` says of orders that bear no id of ours. Costs per symbol two reconciles, the fills and
    orders since the backup, and a request or two for each order that is new. Raises the errors of exchanges and of the
    ledger; what was recorded until then stays, and it may be run again.
    """
    desk = replace(desk, settings=desk.settings.model_copy(update={"orphans": "alert"}))  # first all is looked at
    restore = desk.ledger.open_restore(desk.account)
    since = _since(desk, restore)
    known = {order.intent.symbol for order in desk.ledger.orders(desk.account)}
    every = tuple(dict.fromkeys((*symbols, *sorted(known))))
    here = _Findings()
    for symbol in every:
        if since is not None:
            told = await desk.exchange.fills(symbol, since=since)
            here.fills += desk.ledger.record_fills(desk.account, told, desk.clock.now())
        # What the ledger still holds in flight is settled next: one of the new orders may be it.
        here.fills += (await reconcile(desk, symbol)).new_fills
        for order in await _unknown_orders(desk, symbol, since, here):
            await _treat(desk, order, _is_ours(desk, order, ours, not_ours), here)
    await _leave_the_minute(desk, restore, here.adopted)
    after = {symbol: await reconcile(desk, symbol) for symbol in every}
    result = RestoredAccount(
        restore=restore,
        adopted=tuple(here.adopted),
        foreign=tuple(here.foreign),
        undecided=tuple(here.undecided),
        not_found=tuple(here.not_found),
        not_taken=tuple(here.not_taken),
        new_fills=tuple(here.fills),
        after=after,
    )
    if result.is_clean and restore is not None:
        counts = {"adopted": len(here.adopted), "foreign": len(here.foreign), "fills": len(here.fills)}
        desk.ledger.note_reconciled(desk.account, by, counts, desk.clock.now())
    return result


@dataclass
class _Findings:
    adopted: list[VenueOrder] = field(default_factory=list)
    foreign: list[VenueOrder] = field(default_factory=list)
    undecided: list[VenueOrder] = field(default_factory=list)
    not_found: list[str] = field(default_factory=list)
    not_taken: list[VenueOrder] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)


def _since(desk: Desk, restore: Restore | None) -> datetime | None:
    """From when on the ledger may lack something; None where it began to keep this account only now."""
    opening = desk.ledger.opening(desk.account)
    if opening is None or restore is None or restore.until is None:
        return None
    return max(restore.until - _OVERLAP, opening[1])  # what was filled before the opening is in it


async def _unknown_orders(desk: Desk, symbol: str, since: datetime | None, here: _Findings) -> tuple[VenueOrder, ...]:
    """Orders at the venue that the ledger does not know: resting, ended since the backup, or with a fill since then."""
    told = {order.venue_order_id: order for order in await desk.exchange.open_orders(symbol)}
    if since is not None:
        told |= {order.venue_order_id: order for order in await desk.exchange.ended_orders(symbol, since)}
        traded = foreign_fills(desk, desk.ledger.fills(desk.account, symbol, since=since))
        for name in dict.fromkeys(fill.venue_order_id for fill in traded if fill.venue_order_id not in told):
            try:
                told[name] = await desk.exchange.order(symbol, name)
            except OrderNotFound:
                here.not_found.append(name)
    unknown = [
        each for each in told.values() if desk.ledger.order_by_venue_id(desk.account, each.venue_order_id) is None
    ]
    return tuple(sorted(unknown, key=lambda order: (order.created_at, order.venue_order_id)))


def _is_ours(desk: Desk, order: VenueOrder, ours: Collection[str], not_ours: Collection[str]) -> bool | None:
    """Whether the order is ours; None where nobody has said it."""
    if order.venue_order_id in ours or order.venue_order_id in not_ours:
        return order.venue_order_id in ours
    if desk.exchange.name in _KEEPS_OUR_ID:
        return OUR_FORM.fullmatch(order.client_order_id or "") is not None
    return True if _ALL in ours else False if _ALL in not_ours else None


async def _treat(desk: Desk, order: VenueOrder, is_ours: bool | None, here: _Findings) -> None:
    if is_ours is None:
        here.undecided.append(order)
    elif not is_ours:
        here.foreign.append(order)
    elif await adopt(desk, order, _REASON, keep_client_order_id=True):
        here.adopted.append(order)
    else:
        here.not_taken.append(order)


async def _leave_the_minute(desk: Desk, restore: Restore | None, adopted: Sequence[VenueOrder]) -> None:
    """Wait until no cycle can bear the name of one that ran before, a minute at most: its orders' ids would come again,
    and bitbank and bitFlyer do not know them.
    """
    now = desk.clock.now()
    # The restore's own time is the wall's: at a venue on a stepped clock it says nothing and is out of reach.
    moments = [*(order.created_at for order in adopted), *((restore.restored_at,) if restore is not None else ())]
    free_at = [moment.replace(second=0, microsecond=0) + _LONGEST_NAME for moment in moments]
    left = [at - now for at in free_at if timedelta(0) < at - now <= _LONGEST_NAME]
    if left:
        await desk.clock.sleep(max(left).total_seconds())
