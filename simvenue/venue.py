"""One simulated venue: markets, books and account put together. A wire talks to nothing else of the core.

A wire module (simvenue/bitbank.py ...) has one class that fits `Wire` and names it: `WIRE = BitbankWire`.
`spec` is an attribute of the class; the server builds `Venue(WIRE.spec, ...)`, then `WIRE(venue)`.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from heapq import heappop, heappush
from random import Random

from simvenue.accounts import ZERO, Account, lock_of
from simvenue.answer_faults import ANSWER_FAULTS
from simvenue.candles import MINUTE, CandleSource
from simvenue.clock import VenueClock
from simvenue.doorman import check_money, check_shape
from simvenue.engine import Engine
from simvenue.fault_values import check_setting, ms_of, number_of
from simvenue.faults import Fault, FaultBoard
from simvenue.keys import Keys
from simvenue.margin import Margin
from simvenue.market import Market
from simvenue.market_faults import MARKET_FAULTS, happen
from simvenue.order_faults import ORDER_FAULTS, part_of, reach_of, rules_now
from simvenue.rates import RequestCounts
from simvenue.shown import Shown
from simvenue.values import (
    AlreadyEnded,
    Deposit,
    Fill,
    Order,
    OrderRequest,
    Pair,
    Position,
    Rejection,
    Secrets,
    VenueSpec,
    plain,
)

UNBOUNDED = Decimal("Infinity")

# What strikes at answers (simvenue/answer_faults.py), and what befalls orders, account and market.
FAULT_NAMES: tuple[str, ...] = (*ANSWER_FAULTS, *ORDER_FAULTS, *MARKET_FAULTS)


class Venue:
    """One account at one venue, with its markets, on its own clock.

    The wire sets `order_id_maker` and `fill_id_maker` (the server does it for every wire).
    """

    def __init__(
        self,
        spec: VenueSpec,
        clock: VenueClock,
        secrets: Secrets,
        sources: Mapping[str, CandleSource],
        *,
        seed: int,
    ) -> None:
        self.spec = spec
        self.clock = clock
        self.secrets = secrets
        self.keys = Keys(secrets)
        self.rng = Random(f"{seed}:{spec.name}:ids")
        self.fault_rng = Random(f"{seed}:{spec.name}:faults")
        self.requests = RequestCounts()
        self.faults = FaultBoard(FAULT_NAMES)
        self.orders: list[Order] = []
        self.fills: list[Fill] = []
        self.deposits: list[Deposit] = []
        self.order_id_maker: Callable[[Order], str] = lambda order: str(order.number)
        self.fill_id_maker: Callable[[int, Order, int], str] = lambda number, order, at: str(number)
        self._now = clock.now_ms()
        self._pairs = {pair.symbol: pair for pair in spec.pairs}
        self._markets = {
            pair.symbol: Market(
                pair,
                sources[pair.symbol],
                seed,
                self.now_ms,
                wall=not clock.stepped,
                auctions=spec.daily_gap is not None,
            )
            for pair in spec.pairs
        }
        self._account = Account(spec.opening, spec.collateral)
        self._margin = Margin(self._pairs, self._markets, self._account)
        self._engines = {symbol: Engine(market, self._book, self._cap) for symbol, market in self._markets.items()}
        self._by_id: dict[str, Order] = {}
        self._by_client_id: dict[str, Order] = {}
        self._fills_of: dict[int, list[Fill]] = {}
        self._expiries: list[tuple[int, int, Order]] = []
        self._cancel_all_at: int | None = None
        self._scalings: list[tuple[int, str, Decimal]] = []  # (when, symbol, factor) of price moves to come
        self.faults.on_set = self._judge_fault
        self.shown = Shown(self)

    # --- looking ------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Give the market time up to which everything here has happened."""
        return self._now

    def pair(self, symbol: str) -> Pair | None:
        """Find a pair by the symbol that ccxt writes."""
        return self._pairs.get(symbol)

    def pair_by_venue_symbol(self, text: str, category: str | None = None) -> Pair | None:
        """Find a pair by the venue's own symbol, exactly as written; in any category, or in one."""
        for pair in self.spec.pairs:
            if pair.venue_symbol == text and category in (None, pair.category):
                return pair
        return None

    def market(self, symbol: str) -> Market:
        return self._markets[symbol]

    def rules(self, symbol: str) -> Pair:
        """Give a pair with the rules that hold now: a fault may have changed them."""
        return rules_now(self._pairs[symbol], self.faults)

    @property
    def is_halted(self) -> bool:
        """Tell whether a circuit breaker keeps everything from being matched."""
        return self.faults.active("circuit_break") is not None

    def order_by_id(self, order_id: str) -> Order | None:
        return self._by_id.get(order_id)

    def order_by_client_id(self, client_id: str) -> Order | None:
        """Find the newest order with this client id ("" finds nothing)."""
        return self._by_client_id.get(client_id)

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """List what rests, oldest first."""
        if symbol is not None:
            return self._markets[symbol].resting.all()
        resting = [order for market in self._markets.values() for order in market.resting.all()]
        return sorted(resting, key=lambda order: order.number)

    def fills_of(self, order: Order) -> list[Fill]:
        """List the fills of one order, oldest first."""
        return list(self._fills_of.get(order.number, []))

    def balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Give {asset: (free, locked)}; locked is what resting spot orders hold, margin is part of free."""
        return {asset: (free, self._account.locked[asset]) for asset, free in self._account.free.items()}

    def available(self, asset: str) -> Decimal:
        """Give what a new spot order could spend: free, less fees still to come, margin and open losses."""
        return self._margin.available(asset)

    def positions(self, symbol: str) -> list[Position]:
        """Give the net position: one item, or none when flat."""
        holding = self._account.holdings.get(symbol)
        return [holding.as_position()] if holding is not None and holding.quantity else []

    def collateral(self) -> dict[str, Decimal]:
        """Give the margin account that is apart from the balances (bitFlyer), realised profit included."""
        return dict(self._account.collateral)

    def unrealised(self, symbol: str) -> Decimal:
        """Give the open profit of the position at the last price, in quote."""
        return self._margin.unrealised(symbol)

    def position_margin(self, symbol: str) -> Decimal:
        """Give the margin that the position needs: quantity x entry price / leverage, in quote."""
        return self._margin.of_position(symbol)

    def order_margin(self, symbol: str) -> Decimal:
        """Give the further margin that the resting orders of a perpetual need, in quote."""
        return self._margin.in_use(symbol) - self._margin.of_position(symbol)

    def leverage(self, symbol: str) -> Decimal:
        return self._margin.leverage[symbol]

    def set_leverage(self, symbol: str, leverage: Decimal) -> None:
        """Set the leverage of a perpetual. Whether the venue allows it is the wire's question."""
        self._margin.leverage[symbol] = leverage

    # --- placing and cancelling ---------------------------------------------------------------------------

    def place(self, request: OrderRequest, id_maker: Callable[[Order], str] | None = None) -> Order:
        """Accept an order and match it at once; without `id_maker` the wire's order_id makes its id.

        Raises Rejection. A post-only order that would cross is accepted, then cancelled (post_only_cross).
        """
        market = self._markets[request.symbol]
        pair = self._pairs[request.symbol] if request.by_hand else self.rules(request.symbol)
        band = None if request.by_hand else self.faults.active("price_band")
        check_shape(request, pair, market, self.spec, None if band is None else number_of(band))
        if self.is_halted and request.type == "market":
            raise Rejection("halted", "no market order while nothing is matched")
        order = self._new_order(request)
        if order.reduce_only and not self._fillable(order):
            raise Rejection("reduce_only", "there is no position to reduce")
        check_money(order, pair, market, self._engines[order.symbol], self._margin)
        order.id = (id_maker or self.order_id_maker)(order)
        self.orders.append(order)
        self._by_id[order.id] = order
        if order.client_id:
            self._by_client_id[order.client_id] = order
        if order.by_hand or not self._refuses_late(order):
            self._match(order, market)
        return order

    def _refuses_late(self, order: Order) -> bool:
        """Let the faults of an order that has just been accepted strike; True where one has ended it."""
        late = self.faults.strike("late_visibility", "place", ("place",))
        if late is not None:
            self.shown.hide(order, self._now + ms_of(late))
        partial = self.faults.strike("partial_fill", "place", ("place",))
        if partial is not None:
            order.reach = reach_of(order, number_of(partial), self._pairs[order.symbol].lot)
        if order.time_in_force == "post_only" and self.faults.strike("post_only_cross", "place", ("place",)):
            self._end(order, "cancelled", "post_only_cross")
            return True
        refused = self.faults.strike("late_rejection", "place", ("place",))
        if refused is not None:
            self._end(order, "rejected", "refused_late")
            if refused.value == "unlisted":
                self.shown.hide(order)
        return refused is not None

    def _new_order(self, request: OrderRequest) -> Order:
        return Order(
            number=len(self.orders) + 1,
            id="",
            client_id=request.client_id,
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            price=request.price if request.type == "limit" else None,
            quantity=request.quantity if request.quantity is not None else ZERO,
            quote_budget=request.quote_budget if request.quantity is None else None,
            time_in_force=request.time_in_force,
            created_at=self._now,
            updated_at=self._now,
            expires_at=request.expires_at,
            reduce_only=request.reduce_only,
            by_hand=request.by_hand,
            wire=dict(request.wire),
        )

    def _match(self, order: Order, market: Market) -> None:
        """Take what the order may take, then rest it or end it."""
        engine = self._engines[order.symbol]
        if market.state == "running" and not self.is_halted:
            if order.time_in_force == "post_only" and engine.crosses(order):
                self._end(order, "cancelled", "post_only_cross")
                return
            if order.time_in_force == "fok":
                reach = sum((quantity for _, quantity in engine.preview(order)), ZERO)
                if reach < order.quantity:
                    self._end(order, "cancelled", "fok")
                    return
            engine.take(order, self._now)
        if not order.is_open:
            return
        if order.quote_budget is not None:
            self._end_bought_by_cost(order)
        elif order.type == "market":
            self._end(order, "cancelled", "no_liquidity")
        elif order.time_in_force in ("ioc", "fok"):
            self._end(order, "cancelled", order.time_in_force)
        elif not self._fillable(order):
            self._end(order, "cancelled", "reduce_only")
        else:
            self._rest(order, market)

    def _end_bought_by_cost(self, order: Order) -> None:
        """A market buy by cost is filled when what is left buys no further lot."""
        fills = self._fills_of.get(order.number, [])
        left = (order.quote_budget or ZERO) - order.cost
        done = bool(fills) and left < fills[-1].price * self._pairs[order.symbol].lot
        self._end(order, "filled" if done else "cancelled", "" if done else "no_liquidity")

    def _rest(self, order: Order, market: Market) -> None:
        market.resting.add(order)
        if market.pair.kind == "spot":
            self._account.lock(*lock_of(market.pair, order))
        ends_at = [] if order.expires_at is None else [order.expires_at]
        early = None if order.by_hand else self.faults.strike("self_expiry", "place", ("place",))
        if early is not None:
            ends_at.append(self._now + ms_of(early))
        if ends_at:
            heappush(self._expiries, (min(ends_at), order.number, order))

    def cancel(self, order: Order, why: str = "client", status: str = "cancelled") -> None:
        """Cancel an open order and free what it locked. Raises AlreadyEnded."""
        if order.is_open and why == "client":
            self._fill_before_cancel(order)
        if not order.is_open:
            raise AlreadyEnded(order)
        market = self._markets[order.symbol]
        market.resting.remove(order)
        if market.pair.kind == "spot":
            asset, amount = lock_of(market.pair, order)
            self._account.lock(asset, -amount)
        self._end(order, status, why)

    def _fill_before_cancel(self, order: Order) -> None:
        fault = self.faults.strike("fill_during_cancel", "cancel", ("cancel",))
        if fault is None or order.price is None:
            return
        share = number_of(fault)
        wanted = order.remaining if share == 1 else part_of(order.remaining, share, self._pairs[order.symbol].lot)
        quantity = min(wanted, self._fillable(order))
        if quantity > 0:
            self._book(order, order.price, quantity, maker=True, at=self._now)

    def _end(self, order: Order, status: str, why: str, at: int | None = None) -> None:
        order.status, order.why = status, why
        order.updated_at = order.ended_at = self._now if at is None else at

    # --- fills --------------------------------------------------------------------------------------------

    def _cap(self, order: Order) -> Decimal:
        """Give how much of an order the market may still fill."""
        if order.reach is None or order.quote_budget is not None:
            return self._fillable(order)
        return min(self._fillable(order), max(ZERO, order.reach - order.filled))

    def _fillable(self, order: Order) -> Decimal:
        """Give how much of an order may still be filled: a reduce-only order never turns a position."""
        if not order.reduce_only:
            return UNBOUNDED
        holding = self._account.holdings.get(order.symbol)
        held = holding.quantity if holding is not None else ZERO
        return max(ZERO, -held if order.side == "buy" else held)

    def _book(self, order: Order, price: Decimal, quantity: Decimal, *, maker: bool, at: int) -> None:
        pair = self.rules(order.symbol)
        realised, leg = ZERO, price * quantity
        if pair.kind == "spot":
            leg, fee, currency = self._account.book_spot(pair, order, price, quantity, maker=maker)
        else:
            realised, fee, currency = self._account.book_perpetual(pair, order, price, quantity, maker=maker)
        order.filled += quantity
        order.cost += price * quantity
        order.fee += fee
        order.fee_currency = currency
        order.updated_at = at
        order.status = "partially_filled"
        number = len(self.fills) + 1
        fill_id = self.fill_id_maker(number, order, at)
        fill = Fill(number, fill_id, order, price, quantity, leg, fee, currency, maker, at, realised)
        self.fills.append(fill)
        self._fills_of.setdefault(order.number, []).append(fill)
        if order.quote_budget is None and not order.remaining:
            if maker:
                self._markets[order.symbol].resting.remove(order)
            self._end(order, "filled", "", at)
        if pair.kind == "perpetual":
            self._drop_idle_reducers(order.symbol)

    def _drop_idle_reducers(self, symbol: str) -> None:
        for resting in self._markets[symbol].resting.all():
            if resting.reduce_only and not self._fillable(resting):
                self.cancel(resting, "reduce_only")

    # --- time ---------------------------------------------------------------------------------------------

    def cancel_all_after(self, seconds: int | None) -> int | None:
        """Arm the dead man's switch in market time and give the ms at which it fires; None disarms."""
        self._cancel_all_at = None if seconds is None else self._now + seconds * 1000
        return self._cancel_all_at

    def catch_up(self) -> None:
        """Move the market to the clock's now; on a stepped clock it is there already."""
        self._walk(self.clock.now_ms())

    def advance(self, ms: int) -> int:
        """Move a stepped clock on, filling what rests on the way; give the new time in ms.

        Raises ValueError on a wall clock.
        """
        self._walk(self.clock.advance(ms))
        return self._now

    def _walk(self, until: int) -> None:
        """Go minute by minute, stopping wherever an order expires or the dead man's switch fires."""
        self._fire()
        while self._now < until:
            waits = self._cancel_all_at is not None or self._scalings
            if not waits and not any(len(m.resting) for m in self._markets.values()):
                self._now = until
                return
            minute = (self._now + 1) // MINUTE * MINUTE
            stop = min(until, minute + MINUTE - 1, *self._timers())
            for symbol, market in self._markets.items():
                if len(market.resting):
                    self._fill_between(symbol, market, minute, stop)
            self._now = stop
            self._fire()

    def _fill_between(self, symbol: str, market: Market, minute: int, stop: int) -> None:
        engine = self._engines[symbol]
        reach = None if self.is_halted else market.reaches(minute)
        if reach is None or not engine.could_fill(*reach):
            return
        for trade in market.prints_in(self._now, stop):
            engine.print_through(trade.price, trade.size, trade.at)

    def _timers(self) -> list[int]:
        timers = [] if self._cancel_all_at is None else [self._cancel_all_at]
        timers += [at for at, _, _ in self._scalings]
        while self._expiries and not self._expiries[0][2].is_open:
            heappop(self._expiries)
        return [*timers, self._expiries[0][0]] if self._expiries else timers

    def _fire(self) -> None:
        """Expire what is due, and cancel everything where the switch is due."""
        while self._expiries and self._expiries[0][0] <= self._now:
            order = heappop(self._expiries)[2]
            if order.is_open:
                self.cancel(order, "expired", "expired" if self.spec.expires else "cancelled")
        if self._cancel_all_at is not None and self._cancel_all_at <= self._now:
            self._cancel_all_at = None
            for order in self.open_orders():
                self.cancel(order, "timer")
        for due in [each for each in self._scalings if each[0] <= self._now]:
            self._scalings.remove(due)
            self.scale_price(due[1], due[2])

    # --- faults -------------------------------------------------------------------------------------------

    def _judge_fault(self, fault: Fault) -> bool:
        """Check a fault that is being set and let it happen where it happens at once: then it does not stay."""
        if fault.name not in ORDER_FAULTS and fault.name not in MARKET_FAULTS:
            return True
        check_setting(fault)
        fault.since_ms = fault.since_ms or self._now
        if happen(self, fault):
            return False
        if fault.name in ("stale_ticker", "circuit_break"):
            self.shown.markets.stand_still(fault)
        return True

    # --- by hand (the control side) -----------------------------------------------------------------------

    def deposit(self, asset: str, change: Decimal) -> None:
        """Change a balance as a deposit or withdrawal would. ValueError when more is taken than is free."""
        if self._account.free.get(asset, ZERO) + change < 0:
            raise ValueError(f"{asset}: only {plain(self._account.free.get(asset, ZERO))} is free")
        self._account.change(asset, change)
        self.deposits.append(Deposit(asset, change, self._now, len(self.fills)))

    def move_price(self, symbol: str, price: Decimal) -> None:
        """Move a market to `price`, filling what rests on the way; it goes on from there."""
        pair = self._pairs[symbol]
        if price <= 0 or price % pair.tick:
            raise ValueError(f"price {plain(price)} is not a multiple of {plain(pair.tick)}")
        if not self.is_halted:
            self._engines[symbol].sweep(price, self._now)
        self._markets[symbol].move(price)

    def scale_price(self, symbol: str, factor: Decimal) -> None:
        """Move a market to `factor` times its last price, as move_price does."""
        tick = self._pairs[symbol].tick
        ticks = (self._markets[symbol].last * factor / tick).to_integral_value()
        self.move_price(symbol, max(tick, ticks * tick))

    def scale_price_later(self, symbol: str, factor: Decimal, after_ms: int) -> None:
        """Do that when so much market time has passed."""
        self._scalings.append((self._now + after_ms, symbol, factor))

    def ends_ms(self) -> int | None:
        """Give the end of the last recorded candle; None when the market never ends."""
        ends = [market.source.ends_ms for market in self._markets.values() if market.source.ends_ms is not None]
        return min(ends) if ends else None
