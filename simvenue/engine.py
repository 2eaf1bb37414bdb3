"""Matching for one symbol: client orders against each other and the shaped book, price before time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Protocol

from simvenue.market import Market
from simvenue.values import Order

ZERO = Decimal(0)


@dataclass(frozen=True)
class Offer:
    """So much at this price: from the shaped book, or from a resting client order."""

    price: Decimal
    quantity: Decimal
    maker: Order | None


class Booker(Protocol):
    def __call__(self, order: Order, price: Decimal, quantity: Decimal, *, maker: bool, at: int) -> None:
        """Write one fill into order, account and list of fills; takes a filled order out of the book."""
        ...


class Engine:
    """Fills orders. What a fill does to money is the booker's business.

    `cap(order)` bounds what may still be filled, in base (reduce-only orders, the fault partial_fill).
    """

    def __init__(self, market: Market, book: Booker, cap: Callable[[Order], Decimal]) -> None:
        self._market = market
        self._resting = market.resting
        self._lot = market.pair.lot
        self._book = book
        self._cap = cap

    def crosses(self, order: Order) -> bool:
        """Tell whether a limit order would take something at once."""
        return next(self._offers(order), None) is not None

    def preview(self, order: Order) -> list[tuple[Decimal, Decimal]]:
        """List the (price, quantity) that an order would take at once, without touching the book."""
        taken: list[tuple[Decimal, Decimal]] = []
        left, cost = min(order.remaining, self._cap(order)), ZERO
        for offer in self._offers(order):
            quantity = self._take(order, offer, left, cost)
            if quantity <= 0:
                break
            taken.append((offer.price, quantity))
            left, cost = left - quantity, cost + quantity * offer.price
        return taken

    def take(self, order: Order, at: int) -> None:
        """Fill an arriving order as far as its price, budget and the book reach; each level is one fill."""
        taker_side = "sell" if order.side == "buy" else "buy"
        for offer in list(self._offers(order)):
            left = min(order.remaining, self._cap(order))
            if offer.maker is not None:
                if not offer.maker.is_open:
                    continue
                left = min(left, self._cap(offer.maker))
            take = self._take(order, offer, left, order.cost)
            if take <= 0:
                break
            if offer.maker is None:
                self._market.eat(taker_side, offer.price, take)
            else:
                self._book(offer.maker, offer.price, take, maker=True, at=at)
            if order.quote_budget is not None:
                order.quantity = order.filled + take
            self._book(order, offer.price, take, maker=False, at=at)

    def _take(self, order: Order, offer: Offer, left: Decimal, spent: Decimal) -> Decimal:
        if order.quote_budget is None:
            return min(left, offer.quantity)
        budget = order.quote_budget if order.reach is None else order.reach
        affordable = ((budget - spent) / offer.price / self._lot).to_integral_value(ROUND_FLOOR)
        return min(affordable * self._lot, offer.quantity)

    def _offers(self, order: Order) -> Iterator[Offer]:
        """List what the order could take, best first; at one price client orders stand before the others."""
        side = "sell" if order.side == "buy" else "buy"
        own = [Offer(maker.price, maker.remaining, maker) for maker in self._resting.on(side) if maker.price]
        others = [Offer(level.price, level.size, None) for level in self._market.offered(side)]
        sign = 1 if side == "sell" else -1
        for offer in sorted(own + others, key=lambda offer: sign * offer.price):
            if order.price is not None and sign * offer.price > sign * order.price:
                return
            yield offer

    def print_through(self, price: Decimal, size: Decimal, at: int) -> None:
        """Let one public trade fill what rests at its price or better: makers get their own price.

        Not more than the trade's size is filled, in whole lots, best price first, then earliest first.
        """
        left = (size / self._lot).to_integral_value(ROUND_FLOOR) * self._lot
        for side in ("buy", "sell"):
            for maker in list(self._resting.on(side)):
                if left <= 0 or not _reached(maker, price):
                    break
                quantity = min(left, maker.remaining, self._cap(maker))
                if quantity > 0 and maker.is_open:
                    left -= quantity
                    self._book(maker, self._price(maker), quantity, maker=True, at=at)

    def sweep(self, price: Decimal, at: int) -> None:
        """Fill everything that rests on the way to `price`, whatever its size, at its own price."""
        for side in ("buy", "sell"):
            for maker in list(self._resting.on(side)):
                if not _reached(maker, price):
                    break
                quantity = min(maker.remaining, self._cap(maker))
                if quantity > 0 and maker.is_open:
                    self._book(maker, self._price(maker), quantity, maker=True, at=at)

    def could_fill(self, low: Decimal, high: Decimal) -> bool:
        """Tell whether a market that moves between low and high reaches anything that rests."""
        bid, ask = self._resting.best("buy"), self._resting.best("sell")
        return (bid is not None and _reached(bid, low)) or (ask is not None and _reached(ask, high))

    @staticmethod
    def _price(maker: Order) -> Decimal:
        if maker.price is None:
            raise ValueError(f"order {maker.id} rests without a price")
        return maker.price


def _reached(maker: Order, price: Decimal) -> bool:
    if maker.price is None:
        return False
    return price <= maker.price if maker.side == "buy" else price >= maker.price
