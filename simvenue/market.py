"""One symbol's market: the path of the price inside each minute, the public tape, the book, candles of any length."""

from simvenue.values import Bar, Level, Pair, Ticker, Trade


class Market:
    """What the public sees of one symbol. Nothing later than the clock's now is ever shown."""

    pair: Pair

    @property
    def state(self) -> str:
        """Give "running", or "closed" inside a gap of more than a minute."""
        raise NotImplementedError

    def book(self, depth: int | None = None) -> tuple[list[Level], list[Level]]:
        """Give (bids, asks), best first, client orders included."""
        raise NotImplementedError

    def ticker(self) -> Ticker:
        raise NotImplementedError

    def candles(
        self, seconds: int, start_ms: int | None = None, end_ms: int | None = None, limit: int | None = None
    ) -> list[Bar]:
        """Give bars whose open is in start_ms..end_ms (both included), oldest first, the newest `limit` of them.

        The running bar comes last with closed=False. Minutes without a trade make no bar.
        Bars open at multiples of `seconds` since the Unix epoch.
        """
        raise NotImplementedError

    def trades(self, limit: int, before: int | None = None, after: int | None = None) -> list[Trade]:
        """Give prints newest first; only ids below `before` and above `after`."""
        raise NotImplementedError

    def trades_between(self, start_ms: int, end_ms: int) -> list[Trade]:
        """Give the prints of start_ms <= at < end_ms, oldest first."""
        raise NotImplementedError
