"""bitFlyer, spot and Crypto CFD (docs/venues.md#bitflyer). An order's id here is its acceptance id."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from exchanges.adapter import Reader, timeframe_seconds
from exchanges.answers import reading
from exchanges.base import KeyRights
from exchanges.bitflyer_candles import PAGE, RETENTION, CandleStore, Execution
from exchanges.bitflyer_client import (
    BALANCE,
    BOARD,
    BOARD_STATE,
    CANCEL,
    CANCEL_ALL,
    CHILD_ORDERS,
    COLLATERAL,
    COMMISSION,
    EXECUTIONS,
    PERMISSIONS,
    PLACE,
    POSITIONS,
    PUBLIC_EXECUTIONS,
    TICKER,
    BitflyerClient,
)
from exchanges.bitflyer_errors import HISTORY_TOO_OLD, NO_SUCH_PRODUCT
from exchanges.bitflyer_rows import (
    accepted_at,
    net_position,
    read_execution,
    read_fill,
    read_order,
    read_time,
)
from exchanges.errors import BadRequest, NoAnswer, OrderNotFound
from exchanges.fingerprint import looks_like
from exchanges.transport import Route, Wiring
from trading.instruments import FeeIn, Instrument, Kind
from trading.market import Balance, Candle, Level, OrderBook, Position, Ticker, VenueStatus
from trading.money import amount
from trading.orders import TERMINAL, Fill, OrderIntent, TimeInForce, VenueOrder

# The acceptance id is stamped in whole seconds, by another clock than ours.
_STAMP_TOLERANCE = timedelta(seconds=2)
# The venue's own page length: a page with fewer rows is certainly the last one.
_ROWS = 100

_READING_PATHS = frozenset(
    f"/v1/me/{path}" for path in ("getbalance", "getchildorders", "getexecutions", "gettradingcommission")
)
_TRADING_PATHS = frozenset(f"/v1/me/{path}" for path in ("sendchildorder", "cancelchildorder", "cancelallchildorders"))
_WITHDRAWING_PATHS = frozenset({"/v1/me/withdraw", "/v1/me/sendcoin"})

_TRADING_HEALTH = frozenset({"NORMAL", "BUSY"})


@dataclass(frozen=True)
class _Product:
    """What no call of the venue tells. Products whose minimum nobody has confirmed are not listed."""

    code: str
    symbol: str
    kind: Kind
    min_quantity: Decimal = Decimal("0.001")
    tick_size: Decimal = Decimal(1)
    lot_size: Decimal = Decimal("0.00000001")


_PRODUCTS: Mapping[str, _Product] = {
    product.symbol: product
    for product in (
        _Product("BTC_JPY", "BTC/JPY", Kind.SPOT),
        _Product("FX_BTC_JPY", "BTC/JPY:JPY", Kind.PERPETUAL),
    )
}


class BitflyerReader(Reader):
    """Reads one bitFlyer account."""

    name = "bitflyer"
    client_class = BitflyerClient
    costs: ClassVar[Mapping[str, int]] = {"instruments": 2}

    def __init__(self, wiring: Wiring) -> None:
        super().__init__(wiring)
        self._candles: dict[str, CandleStore] = {}

    async def load_instruments(self) -> Mapping[str, Instrument]:
        """Our own table of products, with the fee rate that the venue tells for each."""
        found = await asyncio.gather(*(self._load(product) for product in _PRODUCTS.values()))
        return {instrument.symbol: instrument for instrument in found if instrument is not None}

    async def _load(self, product: _Product) -> Instrument | None:
        try:
            told = await self.client.call(COMMISSION, {"product_code": product.code})
        except BadRequest as error:
            if error.code != NO_SUCH_PRODUCT:
                raise
            return None  # not offered to this account
        with reading(self.name):
            rate = amount(told["commission_rate"])
        spot = product.kind is Kind.SPOT
        return Instrument(
            venue=self.name,
            symbol=product.symbol,
            base="BTC",
            quote="JPY",
            kind=product.kind,
            tick_size=product.tick_size,
            lot_size=product.lot_size,
            min_quantity=product.min_quantity,
            min_notional=None,
            max_quantity=None,
            maker_fee_rate=rate,
            taker_fee_rate=rate,
            # A spot fill is charged in coin on both sides. Yen are booked whole: the yen leg of
            # a spot fill, the profit of a CFD fill.
            fee_in=FeeIn.BASE if spot else FeeIn.QUOTE,
            quote_step=Decimal(1),
            post_only=False,
        )

    async def status(self, symbol: str) -> VenueStatus:
        """Whether orders are taken and matched now: health and state of the board, in one request."""
        told = await self.client.call(BOARD_STATE, await self._product(symbol))
        with reading(self.name):
            health, state = str(told["health"]), str(told["state"])
        trading = health in _TRADING_HEALTH and state == "RUNNING"
        return VenueStatus(trading, state=state, detail=f"health {health}")

    async def server_time(self) -> datetime | None:
        """None: the venue has no clock to read, only a `Date` header behind a cache."""
        return None

    async def ticker(self, symbol: str) -> Ticker:
        """Best prices and the last trade (quote)."""
        row = await self.client.call(TICKER, await self._product(symbol))
        with reading(self.name):
            bid, ask, last = (amount(row[key]) for key in ("best_bid", "best_ask", "ltp"))
            return Ticker(symbol, bid, ask, last, read_time(row["timestamp"]))

    async def order_book(self, symbol: str, depth: int = 20) -> OrderBook:
        """The best `depth` levels of each side. The venue sends all and no time: it is ours."""
        told = await self.client.call(BOARD, await self._product(symbol))
        with reading(self.name):
            bids, asks = (
                sorted((amount(row["price"]), amount(row["size"])) for row in told[side] if row["size"])
                for side in ("bids", "asks")
            )
            return OrderBook(
                symbol,
                tuple(Level(price, size) for price, size in reversed(bids[-depth:])),
                tuple(Level(price, size) for price, size in asks[:depth]),
                self.clock.now(),
            )

    async def candles(self, symbol: str, timeframe: str, limit: int) -> tuple[Candle, ...]:
        """The last `limit` closed candles, oldest first, built from executions.

        Raises BadRequest for more than the 31 days of executions that the venue keeps.
        """
        length = timedelta(seconds=timeframe_seconds(self.name, timeframe))
        if length * limit > RETENTION:
            possible = RETENTION // length
            raise BadRequest(self.name, f"keeps 31 days of executions: {possible} candles of {timeframe}, not {limit}")
        product = await self._product(symbol)
        store = self._candles.setdefault(symbol, CandleStore(self._page_reader(product)))
        return await store.candles(length, limit, self.clock.now())

    def _page_reader(self, product: Mapping[str, Any]) -> Callable[[int | None, int | None], Any]:
        async def read_page(before: int | None, after: int | None) -> Sequence[Execution]:
            params = {**product, "count": PAGE}
            if before is not None:
                params["before"] = before
            if after is not None:
                params["after"] = after
            try:
                rows = await self.client.call(PUBLIC_EXECUTIONS, params)
            except BadRequest as error:
                if error.code != HISTORY_TOO_OLD:
                    raise
                return ()
            with reading(self.name):
                found = (read_execution(row) for row in rows)
                return sorted(found, key=lambda trade: trade.id, reverse=True)

        return read_page

    async def balances(self) -> Mapping[str, Balance]:
        """Spot assets that are not zero."""
        rows = await self.client.call(BALANCE)
        found: dict[str, Balance] = {}
        with reading(self.name):
            for row in rows:
                total, free = amount(row["amount"]), amount(row["available"])
                if total != 0:
                    found[row["currency_code"]] = Balance(row["currency_code"], free, total - free)
        return found

    async def collateral(self) -> Mapping[str, Decimal]:
        """Collateral of the CFD account, by currency."""
        rows = await self.client.call(COLLATERAL)
        with reading(self.name):
            return {row["currency_code"]: amount(row["amount"]) for row in rows}

    async def positions(self, symbol: str) -> tuple[Position, ...]:
        """The net position: the venue lists lots, which are summed; entry price weighted by their size."""
        if (await self.instrument(symbol)).kind is Kind.SPOT:
            return ()
        lots = await self.client.call(POSITIONS, await self._product(symbol))
        with reading(self.name):
            return net_position(symbol, lots)

    async def open_orders(self, symbol: str) -> tuple[VenueOrder, ...]:
        """All resting orders of the product. Raises NoAnswer where the list may have been cut."""
        active = {**self._product_by_name(symbol), "child_order_state": "ACTIVE", "count": PAGE}
        orders = self._orders(symbol, await self._pages(CHILD_ORDERS, active))
        # Asked for what is before a row, the venue leaves resting orders out: a full page may not be all.
        if len(orders) in (_ROWS, PAGE):
            raise NoAnswer(self.name, f"lists exactly {len(orders)} resting orders: there may be more")
        return orders

    async def order(self, symbol: str, venue_order_id: str) -> VenueOrder:
        """One order by its acceptance id. Raises OrderNotFound, also for one that is not visible yet."""
        product = self._product_by_name(symbol)
        rows = await self.client.call(CHILD_ORDERS, {**product, "child_order_acceptance_id": venue_order_id})
        found = self._orders(symbol, rows)
        if not found:
            raise OrderNotFound(self.name, f"lists no order {venue_order_id} (it may not be visible yet)")
        return found[0]

    async def find_order(
        self, intent: OrderIntent, sent_at: datetime, known_ids: frozenset[str]
    ) -> tuple[VenueOrder, ...]:
        """Unknown orders that look like the intent and were accepted no earlier than it was sent."""
        earliest = sent_at - _STAMP_TOLERANCE

        def is_older(row: Mapping[str, Any]) -> bool:
            return row["child_order_state"] != "ACTIVE" and read_time(row["child_order_date"]) < earliest

        # Without `before`, or the resting ones would be missing.
        rows = await self._pages(CHILD_ORDERS, await self._product(intent.symbol), is_older)
        return tuple(
            order
            for order in self._orders(intent.symbol, rows)
            if order.venue_order_id not in known_ids and accepted_at(order) >= earliest and looks_like(order, intent)
        )

    async def ended_orders(self, symbol: str, since: datetime) -> tuple[VenueOrder, ...]:
        """The list of all orders, walked back from the newest; what ended without a fill leaves it in time."""

        def is_older(row: Mapping[str, Any]) -> bool:
            return row["child_order_state"] != "ACTIVE" and read_time(row["child_order_date"]) < since

        told = self._orders(symbol, await self._pages(CHILD_ORDERS, await self._product(symbol), is_older))
        ended = [order for order in told if order.state in TERMINAL and order.created_at >= since]
        return tuple(sorted(ended, key=lambda order: order.created_at))

    async def fills(
        self, symbol: str, *, since: datetime | None = None, venue_order_id: str | None = None
    ) -> tuple[Fill, ...]:
        """Our fills, oldest first, each once; the venue filters by no time, so pages are walked back."""
        instrument = await self.instrument(symbol)
        params = dict(await self._product(symbol))
        if venue_order_id is not None:
            params["child_order_acceptance_id"] = venue_order_id

        def is_older(row: Mapping[str, Any]) -> bool:
            return since is not None and read_time(row["exec_date"]) < since

        rows = await self._pages(EXECUTIONS, params, is_older)
        with reading(self.name):
            found = {row["id"]: read_fill(instrument, row) for row in rows if not is_older(row)}
        return tuple(found[each] for each in sorted(found))

    async def key_rights(self) -> KeyRights:
        """What the key may do: the venue lists the paths that it may call."""
        paths = frozenset(str(path) for path in await self.client.call(PERMISSIONS))
        missing = sorted((_READING_PATHS | _TRADING_PATHS) - paths)
        return KeyRights(
            can_read=paths >= _READING_PATHS,
            can_trade=paths >= _TRADING_PATHS,
            can_withdraw=bool(paths & _WITHDRAWING_PATHS),
            restricted_to_addresses=None,
            detail=f"not ticked: {', '.join(missing)}" if missing else "",
            local_address=await self.client.local_address(PERMISSIONS),
        )

    async def _product(self, symbol: str) -> dict[str, Any]:
        await self.instrument(symbol)
        return {"product_code": _PRODUCTS[symbol].code}

    def _product_by_name(self, symbol: str) -> dict[str, Any]:
        """As `_product`, without asking for instruments: getting out must not hang on that list."""
        if symbol not in _PRODUCTS:
            raise BadRequest(self.name, f"has no symbol {symbol}; near: {', '.join(_PRODUCTS)}")
        return {"product_code": _PRODUCTS[symbol].code}

    async def _pages(
        self,
        route: Route,
        params: Mapping[str, Any],
        is_old_enough: Callable[[Mapping[str, Any]], bool] = lambda row: False,
    ) -> list[Mapping[str, Any]]:
        """Walk back from the newest row until a row is old enough, or the venue has no more."""
        found: list[Mapping[str, Any]] = []
        params = {"count": _ROWS, **params}
        page = await self.client.call(route, params)
        while True:
            found += page
            with reading(self.name):
                if len(page) < _ROWS or any(is_old_enough(row) for row in page):
                    return found
                # Resting orders come first whatever their age; the walk goes along the ended ones.
                ids = [row["id"] for row in page if row.get("child_order_state") != "ACTIVE"]
                before = min(ids or [row["id"] for row in page])
            page = await self.client.call(route, {**params, "before": before})

    def _orders(self, symbol: str, rows: Sequence[Mapping[str, Any]]) -> tuple[VenueOrder, ...]:
        """Orders of the rows, each once."""
        with reading(self.name):
            found = {row["child_order_acceptance_id"]: read_order(symbol, row) for row in rows}
        return tuple(found.values())


class Bitflyer(BitflyerReader):
    """Reads and trades one bitFlyer account."""

    def __init__(self, wiring: Wiring) -> None:
        super().__init__(wiring)
        self._lifetime_minutes = wiring.order_lifetime_minutes

    async def place(self, intent: OrderIntent) -> str:
        """Send the order once and return its acceptance id.

        Raises BadRequest, unsent, for what the venue cannot do; else what its answer means.
        The venue has no reduce-only: sizing alone keeps such an order within the position.
        """
        if intent.time_in_force is TimeInForce.POST_ONLY:
            raise BadRequest(self.name, "has no post-only orders: the order might take")
        at_once = intent.time_in_force is TimeInForce.IMMEDIATE_OR_CANCEL
        params: dict[str, Any] = {
            **await self._product(intent.symbol),
            "child_order_type": intent.type.name,
            "side": intent.side.name,
            "size": intent.quantity,
            # An order that nobody heard of dies by itself.
            "minute_to_expire": self._lifetime_minutes,
            "time_in_force": "IOC" if at_once else "GTC",
        }
        if intent.price is not None:
            params["price"] = intent.price
        placed = await self.client.call(PLACE, params)
        acceptance_id = placed["child_order_acceptance_id"]
        if not acceptance_id:
            raise NoAnswer(self.name, "the order was answered without an acceptance id")
        return str(acceptance_id)

    async def cancel(self, symbol: str, venue_order_id: str) -> None:
        """Ask for the cancel; the order's state tells what came of it. An ended order is no error."""
        params = {**self._product_by_name(symbol), "child_order_acceptance_id": venue_order_id}
        try:
            await self.client.call(CANCEL, params)
        except OrderNotFound:
            return  # ended, or not visible yet: the caller reads the order in either case

    async def cancel_all(self, symbol: str) -> None:
        """Ask for the cancel of every resting order of the product, in one request."""
        await self.client.call(CANCEL_ALL, self._product_by_name(symbol))


READER, TRADER = BitflyerReader, Bitflyer
