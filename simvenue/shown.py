"""What the venue shows of its books, as against what is true.

The wires answer from here; matching, money, /_control/truth and every check of an order go by the true books
(simvenue/venue.py). Without a fault both are the same objects. Nothing is recorded for it: how orders and
balances stood at an earlier time is worked out from the fills, deposits and times in the books.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from simvenue.accounts import ZERO, lock_of
from simvenue.fault_values import LISTS, ms_of
from simvenue.shown_market import PublicMarket, ShownMarkets
from simvenue.values import Fill, Order, Pair

if TYPE_CHECKING:
    from simvenue.venue import Venue

FOR_EVER = 1 << 62
LARGEST_SHIFT_MS = 900


class Shown:
    """The replies' view of one venue."""

    def __init__(self, venue: "Venue") -> None:
        self._venue = venue
        self._board = venue.faults
        self._hidden: dict[int, int] = {}  # number of an order: the market time from which it is shown
        self.markets = ShownMarkets(venue)

    # --- orders -------------------------------------------------------------------------------------------

    def hide(self, order: Order, until_ms: int = FOR_EVER) -> None:
        """Keep an order out of every list and lookup until a market time."""
        self._hidden[order.number] = until_ms

    def forgets(self, order: Order) -> bool:
        """Tell whether the venue no longer knows an order that ended without a fill (order_vanishes)."""
        fault = self._board.active("order_vanishes")
        if fault is None or order.filled or order.ended_at is None:
            return False
        return self._venue.now_ms() >= order.ended_at + ms_of(fault)

    def order_by_id(self, order_id: str) -> Order | None:
        """Look an order up as a client does."""
        return self._if_visible(self._venue.order_by_id(order_id))

    def order_by_client_id(self, client_id: str) -> Order | None:
        """Look the newest order with this client id up as a client does."""
        return self._if_visible(self._venue.order_by_client_id(client_id))

    def current_orders(self) -> list[Order]:
        """List all orders that a lookup would find, as they are now, oldest first. Not to be changed."""
        if not self._hides():
            return self._venue.orders
        return [order for order in self._venue.orders if self._is_visible(order)]

    def orders(self, operation: str = "order_history") -> list[Order]:
        """List all orders as the lists have them, oldest first. Not to be changed."""
        lag_ms = self._lag_ms(operation)
        if not lag_ms:
            return self.current_orders()
        return list(self._as_of(self._venue.now_ms() - lag_ms))

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """List what rests, oldest first, as the lists have it."""
        lag_ms = self._lag_ms("open_orders")
        if not lag_ms:
            return [order for order in self._venue.open_orders(symbol) if self._is_visible(order)]
        earlier = self._as_of(self._venue.now_ms() - lag_ms)
        return [order for order in earlier if order.is_open and symbol in (None, order.symbol)]

    def _if_visible(self, order: Order | None) -> Order | None:
        return order if order is not None and self._is_visible(order) else None

    def _is_visible(self, order: Order) -> bool:
        if self._hidden and self._hidden.get(order.number, 0) > self._venue.now_ms():
            return False
        return not self.forgets(order)

    def _hides(self) -> bool:
        now_ms = self._venue.now_ms()
        if self._hidden and any(until <= now_ms for until in self._hidden.values()):
            self._hidden = {number: until for number, until in self._hidden.items() if until > now_ms}
        return bool(self._hidden) or self._board.active("order_vanishes") is not None

    def _lag_ms(self, what: str) -> int:
        fault = self._board.active("list_lag", what, LISTS)
        return 0 if fault is None else ms_of(fault)

    def _as_of(self, at_ms: int) -> Iterator[Order]:
        """Go through the orders as they stood at a market time."""
        for order in self._venue.orders:
            if order.created_at <= at_ms and self._is_visible(order):
                yield self._earlier(order, at_ms)

    def _earlier(self, order: Order, at_ms: int) -> Order:
        if order.updated_at <= at_ms:
            return order
        fills = [fill for fill in self._venue.fills_of(order) if fill.at <= at_ms]
        return replace(
            order,
            filled=sum((fill.quantity for fill in fills), ZERO),
            cost=sum((fill.price * fill.quantity for fill in fills), ZERO),
            fee=sum((fill.fee for fill in fills), ZERO),
            status="partially_filled" if fills else "open",
            updated_at=fills[-1].at if fills else order.created_at,
            ended_at=None,
            why="",
        )

    # --- fills --------------------------------------------------------------------------------------------

    def fills(self) -> list[Fill]:
        """List the fills as the lists have them, oldest first, some twice. Not to be changed."""
        fills = self._venue.fills
        if lag_ms := self._lag_ms("fills"):
            at_ms = self._venue.now_ms() - lag_ms
            fills = [fill for fill in fills if fill.at <= at_ms]
        if self._hides():
            fills = [fill for fill in fills if self._is_visible(fill.order)]
        if self._board.active("duplicate_fill") is not None:
            fills = [fill for fill in fills for _ in range(2)]
        return fills

    def fills_of(self, order: Order) -> list[Fill]:
        """List the fills that an order, as it is shown, has had, oldest first."""
        done = ZERO
        fills = []
        for fill in self._venue.fills_of(order):
            done += fill.quantity
            if done > order.filled:
                break
            fills.append(fill)
        return fills

    def marked(self, fills: list[Fill], mark: Callable[[Fill], int]) -> list[tuple[int, Fill]]:
        """Give (mark, fill), newest first, for a list that is paged by marks.

        A fill's second showing has the mark below its own, so that it comes on the next page when the page
        ends between the two.
        """
        rows: list[tuple[int, Fill]] = []
        for fill in reversed(fills):
            again = bool(rows) and rows[-1][1] is fill
            rows.append((mark(fill) - again, fill))
        return rows

    def served(self, page: list[Fill]) -> list[Fill]:
        """Give one page's rows in the order and with the times in which they are served."""
        if self._board.active("out_of_order_fills") is None:
            return page
        rows = [replace(fill, told_at=fill.at - fill.number * 379 % (LARGEST_SHIFT_MS + 1)) for fill in page]
        for place in range(0, len(rows) - 1, 2):
            rows[place], rows[place + 1] = rows[place + 1], rows[place]
        return rows

    # --- money --------------------------------------------------------------------------------------------

    def balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Give {asset: (free, locked)} as the account calls have it."""
        at_ms = self._balances_at()
        if at_ms is None:
            return self._venue.balances()
        held = {asset: free + locked for asset, (free, locked) in self._venue.balances().items()}
        for asset, change in self._changes_since(at_ms, collateral=False):
            held[asset] -= change
        locked = dict.fromkeys(held, ZERO)
        for order in self._venue.orders:
            pair = self._pair(order)
            earlier = self._earlier(order, at_ms)
            if order.created_at <= at_ms and earlier.is_open and pair.kind == "spot":
                asset, amount = lock_of(pair, earlier)
                locked[asset] += amount
        return {asset: (amount - locked[asset], locked[asset]) for asset, amount in held.items()}

    def collateral(self) -> dict[str, Decimal]:
        """Give the margin account that is apart from the balances, as the account calls have it."""
        held = self._venue.collateral()
        at_ms = self._balances_at()
        if at_ms is not None:
            for asset, change in self._changes_since(at_ms, collateral=True):
                held[asset] -= change
        return held

    def _balances_at(self) -> int | None:
        fault = self._board.active("balance_lag")
        return None if fault is None else self._venue.now_ms() - ms_of(fault)

    def _changes_since(self, at_ms: int, *, collateral: bool) -> Iterator[tuple[str, Decimal]]:
        """Go through what changed the balances, or the collateral, after a market time: (asset, amount)."""
        for fill in reversed(self._venue.fills):
            if fill.at <= at_ms:
                break
            pair = self._pair(fill.order)
            if pair.kind == "perpetual":
                if collateral == (pair.quote in self._venue.spec.collateral):
                    yield pair.quote, fill.realised - fill.fee
            elif not collateral:
                sign = 1 if fill.order.side == "buy" else -1
                yield pair.base, sign * fill.quantity
                yield pair.quote, -sign * fill.quote
                yield fill.fee_currency, -fill.fee
        if not collateral:
            yield from ((each.asset, each.change) for each in self._venue.deposits if each.at > at_ms)

    def _pair(self, order: Order) -> Pair:
        return self._venue.market(order.symbol).pair

    # --- market -------------------------------------------------------------------------------------------

    def market(self, symbol: str) -> PublicMarket:
        """Give a market as the public calls have it."""
        return self.markets.market(symbol)

    def market_ms(self) -> int:
        """Give the time that the public calls put on market data, ms."""
        return self.markets.now_ms()
