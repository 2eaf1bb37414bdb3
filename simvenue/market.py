"""One symbol's market: the public tape, the book, the ticker, candles of any length."""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from decimal import Decimal

from simvenue.candles import HOUR, MINUTE, CandleSource
from simvenue.depth import shaped_side
from simvenue.path import IDS_A_MINUTE, tape
from simvenue.resting import RestingOrders
from simvenue.values import Bar, Candle, Level, Pair, Ticker, Trade

EATEN_FOR_WALL_MS = 5_000
TAPES_KEPT = 600
BARS_KEPT = 300_000
SHAPES_KEPT = 8


@dataclass(frozen=True)
class Move:
    """A price set by hand: from `at` on, every price of the source is multiplied by `factor`."""

    at: int
    price: Decimal
    factor: Decimal


class Market:
    """What the public sees of one symbol. Nothing later than now is ever shown."""

    def __init__(
        self,
        pair: Pair,
        source: CandleSource,
        seed: int,
        now: Callable[[], int],
        *,
        wall: bool = False,
        auctions: bool = False,
    ) -> None:
        self.pair = pair
        self.source = source
        self.resting = RestingOrders()
        self._seed = seed
        self._now = now
        self._refresh_ms = EATEN_FOR_WALL_MS if wall else MINUTE
        self._auctions = auctions
        self._moves: list[Move] = []
        self._tapes: dict[int, list[Trade]] = {}
        self._bars: dict[tuple[int, int], Bar | None] = {}
        self._sides: dict[tuple[str, Decimal], tuple[int, list[Level]]] = {}
        self._eaten: dict[tuple[str, Decimal], Decimal] = {}
        self._eaten_epoch = 0
        self._known_last: tuple[int, Trade] | None = None  # (minute, the newest print up to its end)

    def standing_still(self, at_ms: int | None = None) -> "Market":
        """Give this market as it is now, or was at an earlier time, and stays; what rests in it goes on changing."""
        still = copy(self)
        moment = self._now() if at_ms is None else at_ms
        still._now = lambda: moment
        still._moves, still._eaten = list(self._moves), dict(self._eaten)
        still._tapes, still._sides, still._known_last = {}, {}, None
        return still

    # --- state and last price -----------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """Give "running", or "closed" inside a gap of more than a minute."""
        minute = self._now() // MINUTE * MINUTE
        if self.source.at(minute) is not None:
            return "running"
        lonely = self.source.at(minute - MINUTE) is not None and self.source.at(minute + MINUTE) is not None
        return "running" if lonely else "closed"

    def last_trade(self) -> Trade:
        """Give the newest print up to now."""
        now = self._now()
        start = minute = now // MINUTE * MINUTE
        while minute >= self.source.first_ms:
            if self._known_last is not None and minute <= self._known_last[0]:
                return self._known_last[1]
            prints = self._tape(minute)
            if prints and prints[0].at <= now:
                found = prints[bisect_right(prints, now, key=_at) - 1]
                if minute < start:  # a long gap is walked back only once
                    self._known_last = (start - MINUTE, found)
                return found
            minute -= MINUTE
        raise LookupError(f"{self.pair.symbol} has no trade up to {now}")

    @property
    def last(self) -> Decimal:
        """Give the price of the newest print, quote per base."""
        return self.last_trade().price

    # --- the tape -----------------------------------------------------------------------------------------

    def trades(self, limit: int, before: int | None = None, after: int | None = None) -> list[Trade]:
        """Give prints newest first; only ids below `before` and above `after`."""
        found: list[Trade] = []
        newest = self._now() // MINUTE
        minute = newest if before is None else min(newest, (before - 1) // IDS_A_MINUTE)
        oldest = self.source.first_ms // MINUTE
        if after is not None:
            oldest = max(oldest, (after + 1) // IDS_A_MINUTE)
        while len(found) < limit and minute >= oldest:
            for trade in reversed(self._shown(minute * MINUTE)):
                if (before is None or trade.id < before) and (after is None or trade.id > after):
                    found.append(trade)
            minute -= 1
        return found[:limit]

    def trades_between(self, start_ms: int, end_ms: int) -> list[Trade]:
        """Give the prints of start_ms <= at < end_ms, oldest first."""
        start_ms = max(start_ms, self.source.first_ms)
        end_ms = min(end_ms, self._now() + 1)
        minutes = range(start_ms // MINUTE * MINUTE, end_ms, MINUTE)
        return [t for minute in minutes for t in self._tape(minute) if start_ms <= t.at < end_ms]

    def prints_in(self, after_ms: int, until_ms: int) -> list[Trade]:
        """Give the prints of after_ms < at <= until_ms, all in the minute of until_ms, for matching."""
        return [trade for trade in self._tape(until_ms // MINUTE * MINUTE) if after_ms < trade.at <= until_ms]

    def reaches(self, minute_ms: int) -> tuple[Decimal, Decimal] | None:
        """Give (low, high) of one minute, later prints included; None without a trade."""
        candle = self._whole(minute_ms)
        return None if candle is None else (candle.low, candle.high)

    def move(self, price: Decimal) -> None:
        """Put the market at `price` now, with one print there; it goes on from there."""
        now = self._now()
        factor = self._factor(now) * price / self.last
        self._moves.append(Move(now, price, factor))
        self._tapes.pop(now // MINUTE * MINUTE, None)
        self._eaten.clear()

    def _factor(self, at_ms: int) -> Decimal:
        number = bisect_right(self._moves, at_ms, key=_at)
        return self._moves[number - 1].factor if number else Decimal(1)

    def _shown(self, minute_ms: int) -> list[Trade]:
        prints = self._tape(minute_ms)
        now = self._now()
        return prints if not prints or prints[-1].at <= now else prints[: bisect_right(prints, now, key=_at)]

    def _tape(self, minute_ms: int) -> list[Trade]:
        known = self._tapes.get(minute_ms)
        if known is not None:
            return known
        candle = self.source.at(minute_ms)
        prints = [] if candle is None else tape(candle, self.pair, self._seed, auction=self._opens(minute_ms))
        if self._moves:
            prints = self._moved(prints, minute_ms)
        if len(self._tapes) >= TAPES_KEPT:
            del self._tapes[next(iter(self._tapes))]
        self._tapes[minute_ms] = prints
        return prints

    def _opens(self, minute_ms: int) -> bool:
        return (
            self._auctions
            and self.source.at(minute_ms - MINUTE) is None
            and self.source.at(minute_ms - 2 * MINUTE) is None
            and minute_ms - 2 * MINUTE >= self.source.first_ms
        )

    def _moved(self, prints: list[Trade], minute_ms: int) -> list[Trade]:
        """Scale the prints as the moves by hand demand, and put the prints of the moves between them."""
        moves = [move for move in self._moves if minute_ms <= move.at < minute_ms + MINUTE]
        factor = self._factor(minute_ms - 1)
        next_id = minute_ms // MINUTE * IDS_A_MINUTE
        result: list[Trade] = []
        for trade in [*prints, None]:
            while moves and (trade is None or moves[0].at < trade.at):
                move = moves.pop(0)
                side = "buy" if not result or move.price >= result[-1].price else "sell"
                result.append(Trade(next_id, side, move.price, self.pair.min_quantity, move.at))
                factor, next_id = move.factor, next_id + 1
            if trade is not None:
                price = trade.price if factor == 1 else self._scaled(trade.price, factor)
                result.append(trade._replace(price=price))
                next_id = trade.id + 1
        return result

    # --- candles ------------------------------------------------------------------------------------------

    def candles(
        self, seconds: int, start_ms: int | None = None, end_ms: int | None = None, limit: int | None = None
    ) -> list[Bar]:
        """Give bars whose open is in start_ms..end_ms (both included), oldest first, the newest `limit`.

        The running bar comes last with closed=False. Minutes without a trade make no bar. Bars open at
        multiples of `seconds` (whole minutes) since the Unix epoch. Without start and limit: the newest 1000.
        """
        if limit is None and start_ms is None:
            limit = 1000
        length = seconds * 1000
        now = self._now()
        open_ms = (now if end_ms is None else min(now, end_ms)) // length * length
        oldest = self.source.first_ms // length * length
        if start_ms is not None:
            oldest = max(oldest, start_ms)
        found: list[Bar] = []
        while open_ms >= oldest and (limit is None or len(found) < limit):
            bar = self.bar(open_ms, open_ms + length)
            if bar is not None:
                found.append(bar)
            open_ms -= length
        found.reverse()
        return found

    def bar(self, start_ms: int, end_ms: int) -> Bar | None:
        """Give one bar of any length (whole minutes) up to now; None without a trade in it."""
        now = self._now()
        key = ((end_ms - start_ms) // 1000, start_ms)
        if key in self._bars:  # only closed ones are kept
            return self._bars[key]
        bar = self._joined(start_ms, end_ms, now)
        if end_ms <= now:
            if len(self._bars) >= BARS_KEPT:
                self._bars.clear()
            self._bars[key] = bar
        return bar

    def _joined(self, start_ms: int, end_ms: int, now: int) -> Bar | None:
        parts = list(self._parts(start_ms, end_ms, now))
        if not parts:
            return None
        high, low = max(part.high for part in parts), min(part.low for part in parts)
        volume = sum((part.volume for part in parts), Decimal(0))
        return Bar(start_ms, parts[0].open, high, low, parts[-1].close, volume, end_ms <= now)

    def _parts(self, start_ms: int, end_ms: int, now: int) -> Iterator[Candle | Bar]:
        """Cut a span into closed hours where it has them, and minutes elsewhere."""
        at = max(start_ms, self.source.first_ms // MINUTE * MINUTE)
        end_ms = min(end_ms, now + 1)
        whole = end_ms - start_ms > HOUR
        while at < end_ms:
            part: Candle | Bar | None
            if whole and at % HOUR == 0 and at + HOUR <= end_ms and at + HOUR <= now:
                part = self.bar(at, at + HOUR)
                at += HOUR
            else:
                part = self._minute(at, now)
                at += MINUTE
            if part is not None:
                yield part

    def _minute(self, minute_ms: int, now: int) -> Candle | None:
        if minute_ms + MINUTE <= now:
            candle = self._whole(minute_ms)
            return candle if candle is not None and candle.volume > 0 else None
        return _summed(minute_ms, self._shown(minute_ms))

    def _whole(self, minute_ms: int) -> Candle | None:
        """Give one minute to its end, as the moves by hand up to now leave it."""
        candle = self.source.at(minute_ms)
        if not self._moves:
            return candle
        if any(minute_ms <= move.at < minute_ms + MINUTE for move in self._moves):
            return _summed(minute_ms, self._tape(minute_ms))
        factor = self._factor(minute_ms)
        if candle is None or factor == 1:
            return candle
        prices = [self._scaled(price, factor) for price in (candle.open, candle.high, candle.low, candle.close)]
        return Candle(minute_ms, prices[0], prices[1], prices[2], prices[3], candle.volume)

    def _scaled(self, price: Decimal, factor: Decimal) -> Decimal:
        tick = self.pair.tick
        return max(tick, (price * factor / tick).to_integral_value() * tick)

    def ticker(self) -> Ticker:
        """Give last, best bid and ask, and the figures of the 24 hours up to now."""
        now = self._now()
        minute = now // MINUTE * MINUTE
        last = self.last_trade()
        day = self._joined(minute - 24 * HOUR + MINUTE, minute + MINUTE, now)
        bids, asks = self.book(1)
        bid, ask = (bids[0] if bids else None), (asks[0] if asks else None)
        return Ticker(
            last.price,
            bid.price if bid else None,
            ask.price if ask else None,
            bid.size if bid else None,
            ask.size if ask else None,
            day.open if day else last.price,
            day.high if day else last.price,
            day.low if day else last.price,
            day.volume if day else Decimal(0),
            last.at,
        )

    # --- the book -----------------------------------------------------------------------------------------

    def book(self, depth: int | None = None) -> tuple[list[Level], list[Level]]:
        """Give (bids, asks), best first, client orders included; sizes in base."""
        return self._merged("buy", depth), self._merged("sell", depth)

    def _merged(self, side: str, depth: int | None) -> list[Level]:
        sizes: dict[Decimal, Decimal] = {level.price: level.size for level in self.offered(side)[:depth]}
        for order in self.resting.on(side):
            if order.price is not None:
                sizes[order.price] = sizes.get(order.price, Decimal(0)) + order.remaining
        return [Level(price, sizes[price]) for price in sorted(sizes, reverse=side == "buy")][:depth]

    def offered(self, side: str) -> list[Level]:
        """Give what others offer on one side ("buy" = bids), best first, less what has been eaten.

        Nobody offers through a resting client order: where thin trading has left one behind, the others stand
        beyond it, so the book never crosses.
        """
        now = self._now()
        if now // self._refresh_ms != self._eaten_epoch:
            self._eaten.clear()
            self._eaten_epoch = now // self._refresh_ms
        levels = self._shape(side, self.last, now // MINUTE * MINUTE)
        other = self.resting.best("sell" if side == "buy" else "buy")
        if levels and other is not None and other.price is not None:
            best = levels[0].price
            if best >= other.price if side == "buy" else best <= other.price:
                levels = self._shape(side, other.price, now // MINUTE * MINUTE)
        if not self._eaten:
            return levels
        left = (Level(lv.price, lv.size - self._eaten.get((side, lv.price), Decimal(0))) for lv in levels)
        return [level for level in left if level.size > 0]

    def _shape(self, side: str, around: Decimal, minute: int) -> list[Level]:
        known = self._sides.get((side, around))
        if known is None or known[0] != minute:
            candle = self.source.at(minute)
            volume = candle.volume if candle is not None else Decimal(0)
            if len(self._sides) >= SHAPES_KEPT:
                self._sides.clear()
            known = (minute, shaped_side(side, around, volume, self.pair, self._seed, minute))
            self._sides[(side, around)] = known
        return known[1]

    def eat(self, side: str, price: Decimal, quantity: Decimal) -> None:
        """Take `quantity` from a level; it comes back with the next market minute (wall clock: 5 s)."""
        key = (side, price)
        self._eaten[key] = self._eaten.get(key, Decimal(0)) + quantity


def _summed(minute_ms: int, prints: list[Trade]) -> Candle | None:
    if not prints:
        return None
    prices = [trade.price for trade in prints]
    volume = sum((trade.size for trade in prints), Decimal(0))
    return Candle(minute_ms, prices[0], max(prices), min(prices), prices[-1], volume)


def _at(event: Trade | Move) -> int:
    return event.at
