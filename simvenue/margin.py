"""What positions and resting orders of a perpetual need as margin, and what an account can still spend."""

from collections.abc import Mapping
from decimal import Decimal

from simvenue.accounts import ZERO, Account, Holding, reserve_of
from simvenue.market import Market
from simvenue.values import Order, Pair


class Margin:
    """Reads account and books; changes nothing but the leverage."""

    def __init__(self, pairs: Mapping[str, Pair], markets: Mapping[str, Market], account: Account) -> None:
        self._pairs = pairs
        self._markets = markets
        self._account = account
        self.leverage = {symbol: pair.leverage for symbol, pair in pairs.items()}

    def _holding(self, symbol: str) -> Holding:
        return self._account.holdings.get(symbol, Holding())

    def unrealised(self, symbol: str) -> Decimal:
        """Give the open profit of a position at the last price, in quote."""
        held = self._holding(symbol)
        if not held.quantity:
            return ZERO
        return held.quantity * self._markets[symbol].last - held.cost * (1 if held.quantity > 0 else -1)

    def of_position(self, symbol: str) -> Decimal:
        return self._holding(symbol).cost / self.leverage[symbol]

    def in_use(self, symbol: str, arriving: Order | None = None, price: Decimal = ZERO) -> Decimal:
        """Give the margin of position and resting orders, in quote; with `arriving` valued at `price`.

        Orders that reduce the position need none; of the two directions, the dearer counts.
        """
        held = self._holding(symbol)
        worst = held.cost
        for side, sign in (("buy", 1), ("sell", -1)):
            orders = [o for o in self._markets[symbol].resting.on(side) if not o.reduce_only]
            quantity = sum((o.remaining for o in orders), ZERO)
            notional = sum((o.remaining * (o.price or ZERO) for o in orders), ZERO)
            if arriving is not None and arriving.side == side and not arriving.reduce_only:
                quantity += arriving.remaining
                notional += arriving.remaining * price
            if held.quantity * sign >= 0:
                worst = max(worst, held.cost + notional)
            elif quantity > abs(held.quantity):
                worst = max(worst, notional * (quantity - abs(held.quantity)) / quantity)
        return worst / self.leverage[symbol]

    def available(self, asset: str) -> Decimal:
        """Give what a new spot order could spend: free, less fees still to come, margin and open losses."""
        left = self._account.free.get(asset, ZERO)
        for symbol, pair in self._pairs.items():
            if pair.kind == "spot":
                for order in self._markets[symbol].resting.all():
                    currency, amount = reserve_of(pair, order.side, order.price or ZERO, order.remaining, maker=True)
                    left -= amount if currency == asset else ZERO
            elif pair.quote == asset and asset not in self._account.collateral:
                left -= self.in_use(symbol) - min(ZERO, self.unrealised(symbol))
        return left

    def spare(self, quote: str) -> Decimal:
        """Give what a new perpetual order could take as margin, in quote."""
        if quote not in self._account.collateral:
            return self.available(quote)
        perpetuals = [
            symbol for symbol, pair in self._pairs.items() if pair.kind == "perpetual" and pair.quote == quote
        ]
        bound = sum((self.in_use(symbol) - self.unrealised(symbol) for symbol in perpetuals), ZERO)
        return self._account.wallet(quote) - bound
