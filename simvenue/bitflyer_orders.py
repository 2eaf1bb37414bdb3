"""bitFlyer's order calls: send, cancel, list orders and own executions (docs/venues.md#bitflyer)."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from simvenue.bitflyer_replies import (
    INSUFFICIENT_FUNDS,
    INSUFFICIENT_MARGIN,
    INVALID,
    MARKET_CLOSED,
    ORDER_NOT_FOUND,
    PRICE_TOO_LOW,
    TOO_SMALL,
    BitflyerRefusal,
    Parameters,
    acceptance_id,
    amount,
    count_of,
    invalid,
    iso,
    page,
    product_of,
    whole_number,
)
from simvenue.values import AlreadyEnded, Fill, Order, OrderRequest, Pair, Rejection
from simvenue.venue import Venue

LONGEST_LIFE_MINUTES = 43_200
FIRST_ROW_ID = 3_100_000_000  # the sequence by which order lists are paged

STATES = {
    "open": "ACTIVE",
    "partially_filled": "ACTIVE",
    "filled": "COMPLETED",
    "cancelled": "CANCELED",
    "expired": "EXPIRED",
    "rejected": "REJECTED",
}


def child_order_id(order: Order) -> str:
    """Give the second name of an order, which the venue gives it in the book."""
    # a factor without a common divisor with a million keeps the six digits unique
    return acceptance_id(order.created_at, order.number * 7919 + 112_233, "JOR")


class BitflyerOrders:
    """Carry out the order calls."""

    def __init__(self, venue: Venue) -> None:
        """Act on this venue's one account."""
        self._venue = venue

    def send(self, parameters: Parameters) -> dict[str, Any]:
        """Accept an order; the acceptance id is all that comes back."""
        request = self._order_request(parameters)
        if self._venue.market(request.symbol).state == "closed":
            raise BitflyerRefusal(MARKET_CLOSED, "Market state is closed.")
        try:
            order = self._venue.place(request)
        except Rejection as rejection:
            raise self._refusal(rejection, request) from rejection
        return {"child_order_acceptance_id": order.id}

    def cancel(self, parameters: Parameters) -> None:
        """Ask for one order's end; silent also when it has ended already."""
        pair = product_of(self._venue, parameters, default=None)
        if (parameters.get("child_order_acceptance_id") is None) == (parameters.get("child_order_id") is None):
            raise invalid("order id: give child_order_id or child_order_acceptance_id")
        order = next(self._orders(pair, parameters, self._venue.orders), None)
        if order is None or self._venue.shown.forgets(order):
            raise BitflyerRefusal(ORDER_NOT_FOUND, "Order not found")
        self._end(order)

    def cancel_all(self, parameters: Parameters) -> None:
        """Ask for the end of every order of a product."""
        pair = product_of(self._venue, parameters, default=None)
        for order in self._venue.open_orders(pair.symbol):
            self._end(order)

    def orders(self, parameters: Parameters) -> list[dict[str, Any]]:
        """List orders, newest first.

        Without a state the active ones come first, then the others; with before or after no active one comes.
        """
        pair = product_of(self._venue, parameters)
        state = parameters.get("child_order_state") or None
        if state is not None and state not in STATES.values():
            raise invalid("child_order_state")
        if parameters.get("parent_order_id"):
            return []  # no parent order can exist here
        known = self._known(parameters)
        paged = parameters.get("before") is not None or parameters.get("after") is not None
        active: list[Order] = []
        ended: list[Order] = []
        if state in (None, "ACTIVE") and not paged:
            active = [order for order in self._orders(pair, parameters, known) if order.is_open]
        if state != "ACTIVE":
            rows = (
                (FIRST_ROW_ID + order.number, order)
                for order in self._orders(pair, parameters, known)
                if not order.is_open and state in (None, STATES[order.status])
            )
            ended = page(rows, parameters)
        return [_order_row(pair, order) for order in active[: count_of(parameters)] + ended]

    def executions(self, parameters: Parameters) -> list[dict[str, Any]]:
        """List the account's own executions of a product, newest first."""
        pair = product_of(self._venue, parameters)
        fills = [fill for fill in self._venue.shown.fills() if fill.order.symbol == pair.symbol]
        if _names_one(parameters):
            named = {order.number for order in self._orders(pair, parameters, self._venue.orders)}
            fills = [fill for fill in fills if fill.order.number in named]
        rows = self._venue.shown.marked(fills, lambda fill: int(fill.id))
        return [_execution_row(fill) for fill in self._venue.shown.served(page(rows, parameters))]

    def parent_orders(self, parameters: Parameters) -> list[dict[str, Any]]:
        """List no parent order: this key may not send any."""
        product_of(self._venue, parameters)
        return []

    def parent_order(self, _: Parameters) -> dict[str, Any]:
        """Find no parent order."""
        raise BitflyerRefusal(ORDER_NOT_FOUND, "Order not found")

    # -- the parts

    def _known(self, parameters: Parameters) -> list[Order]:
        """Give the orders as the order list has them; a look for one order finds it as it is now."""
        if _names_one(parameters):
            return self._venue.shown.current_orders()
        active = parameters.get("child_order_state") == "ACTIVE"
        return self._venue.shown.orders("open_orders" if active else "order_history")

    def _orders(self, pair: Pair, parameters: Parameters, known: list[Order]) -> Iterator[Order]:
        """Go through the product's known orders, newest first; through one where the parameters name one."""
        by_acceptance, by_order = (
            parameters.get("child_order_acceptance_id"),
            parameters.get("child_order_id"),
        )
        orders: Iterable[Order] = reversed(known)
        if by_acceptance is not None:
            books = self._venue if known is self._venue.orders else self._venue.shown
            named = books.order_by_id(str(by_acceptance))
            orders = [] if named is None else [named]
        for order in orders:
            if order.symbol == pair.symbol and by_order in (None, child_order_id(order)):
                yield order

    def _end(self, order: Order) -> None:
        try:
            self._venue.cancel(order)
        except AlreadyEnded:
            return  # the venue acknowledges every cancel; only the order list tells the outcome

    def _order_request(self, parameters: Parameters) -> OrderRequest:
        pair = product_of(self._venue, parameters, default=None)
        kind, side = parameters.get("child_order_type"), parameters.get("side")
        in_force = parameters.get("time_in_force") or "GTC"
        minutes = whole_number(parameters, "minute_to_expire")
        if kind not in ("LIMIT", "MARKET"):
            raise invalid("child_order_type")
        if side not in ("BUY", "SELL"):
            raise invalid("side")
        if in_force not in ("GTC", "IOC", "FOK"):
            raise invalid("time_in_force")
        if minutes is None:
            minutes = LONGEST_LIFE_MINUTES
        if not 1 <= minutes <= LONGEST_LIFE_MINUTES:
            raise invalid("minute_to_expire")
        return OrderRequest(
            symbol=pair.symbol,
            side=side.lower(),
            type=kind.lower(),
            quantity=amount(parameters, "size"),
            # a market order may carry a price, which means nothing
            price=amount(parameters, "price") if kind == "LIMIT" else None,
            time_in_force=in_force.lower(),
            expires_at=self._venue.clock.now_ms() + minutes * 60_000,
        )

    def _refusal(self, rejection: Rejection, request: OrderRequest) -> BitflyerRefusal:
        pair = self._venue.rules(request.symbol)
        reason = rejection.reason
        if reason == "insufficient_funds" and pair.kind == "perpetual":
            return BitflyerRefusal(INSUFFICIENT_MARGIN, "Margin amount is insufficient for this order.")
        if reason == "too_small":
            smallest = f"{pair.min_quantity} {pair.base}"
            return BitflyerRefusal(TOO_SMALL, f"The minimum order size is {smallest}.")
        status, message = {
            "insufficient_funds": (INSUFFICIENT_FUNDS, "Insufficient funds"),
            "price_band": (PRICE_TOO_LOW, "The price is too low."),
            "off_tick": (INVALID, "Invalid price"),
            "off_lot": (INVALID, "Invalid size"),
            "too_large": (INVALID, "Invalid size"),
            "halted": (MARKET_CLOSED, "Market state is closed."),
        }[reason]
        if reason == "price_band" and self._is_above(request):
            message = "The price is too high."
        return BitflyerRefusal(status, message)

    def _is_above(self, request: OrderRequest) -> bool:
        last = self._venue.market(request.symbol).ticker().last
        return request.price is not None and request.price > last


def _names_one(parameters: Parameters) -> bool:
    return bool(parameters.get("child_order_acceptance_id") or parameters.get("child_order_id"))


def _order_row(pair: Pair, order: Order) -> dict[str, Any]:
    left = order.quantity - order.filled
    # an order placed by hand on the website has the longest life
    expires_at = order.expires_at or order.created_at + LONGEST_LIFE_MINUTES * 60_000
    return {
        "id": FIRST_ROW_ID + order.number,
        "child_order_id": child_order_id(order),
        "product_code": pair.venue_symbol,
        "side": order.side.upper(),
        "child_order_type": order.type.upper(),
        "price": order.price or Decimal(0),
        "average_price": order.average_price or Decimal(0),
        "size": order.quantity,
        "child_order_state": STATES[order.status],
        "expire_date": iso(expires_at),
        "child_order_date": iso(order.created_at),
        "child_order_acceptance_id": order.id,
        "outstanding_size": left if order.is_open else Decimal(0),
        "cancel_size": Decimal(0) if order.is_open else left,
        "executed_size": order.filled,
        "total_commission": order.fee,  # in base; nought for the CFD
        "time_in_force": order.time_in_force.upper(),
    }


def _execution_row(fill: Fill) -> dict[str, Any]:
    return {
        "id": int(fill.id),
        "child_order_id": child_order_id(fill.order),
        "side": fill.order.side.upper(),
        "price": fill.price,
        "size": fill.quantity,
        "commission": fill.fee,
        "exec_date": iso(fill.shown_at, milliseconds=True),
        "child_order_acceptance_id": fill.order.id,
    }
