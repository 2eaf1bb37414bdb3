"""The client orders that rest in one symbol's book, in price-time priority."""

from bisect import bisect_left, insort
from decimal import Decimal

from simvenue.values import Order


def _rank(order: Order) -> tuple[Decimal, int]:
    price = order.price if order.price is not None else Decimal(0)
    return (-price if order.side == "buy" else price, order.number)


class RestingOrders:
    """Two sorted sides; the best price first, at one price the earliest first."""

    def __init__(self) -> None:
        self._sides: dict[str, list[Order]] = {"buy": [], "sell": []}

    def add(self, order: Order) -> None:
        insort(self._sides[order.side], order, key=_rank)

    def remove(self, order: Order) -> None:
        side = self._sides[order.side]
        place = bisect_left(side, _rank(order), key=_rank)
        if place == len(side) or side[place] is not order:
            raise LookupError(f"order {order.id} does not rest")
        del side[place]

    def on(self, side: str) -> list[Order]:
        """List one side, best first. Not to be changed."""
        return self._sides[side]

    def best(self, side: str) -> Order | None:
        orders = self._sides[side]
        return orders[0] if orders else None

    def all(self) -> list[Order]:
        """List both sides, oldest first."""
        return sorted(self._sides["buy"] + self._sides["sell"], key=lambda order: order.number)

    def __len__(self) -> int:
        return len(self._sides["buy"]) + len(self._sides["sell"])
