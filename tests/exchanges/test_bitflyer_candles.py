from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.bitflyer_candles import PAGE, CandleStore, Execution
from trading.market import Candle

START = datetime(2026, 1, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Tape:
    """The venue's public executions: pages of at most 500, newest first."""

    def __init__(self, trades: Sequence[Execution]) -> None:
        self.trades = list(trades)
        self.pages: list[tuple[int | None, int | None, int]] = []

    async def read(self, before: int | None, after: int | None) -> list[Execution]:
        fitting = [
            trade
            for trade in self.trades
            if (before is None or trade.id < before) and (after is None or trade.id > after)
        ]
        page = sorted(fitting, key=lambda trade: trade.id, reverse=True)[:PAGE]
        self.pages.append((before, after, len(page)))
        return page


def trade(number: int, seconds: float, price: int = 100, quantity: str = "0.1") -> Execution:
    return Execution(number, Decimal(price), Decimal(quantity), START + timedelta(seconds=seconds))


def straightforward(trades: Sequence[Execution], length: timedelta, now: datetime) -> list[Candle]:
    """The same bars by the shortest way: group, then reduce; the first bucket may be cut and is left out."""
    groups: dict[datetime, list[Execution]] = {}
    for each in sorted(trades, key=lambda trade: trade.id):
        groups.setdefault(each.at - (each.at - START) % length, []).append(each)
    oldest = min(trades, key=lambda trade: trade.id).at if trades else START
    return [
        Candle(
            opened_at,
            rows[0].price,
            max(row.price for row in rows),
            min(row.price for row in rows),
            rows[-1].price,
            sum((row.quantity for row in rows), Decimal(0)),
        )
        for opened_at, rows in sorted(groups.items())
        if opened_at > oldest and opened_at + length <= now
    ]


async def test_a_bar_holds_first_highest_lowest_and_last_price_by_id_and_the_sum_of_quantities() -> None:
    tape = Tape([trade(1, 30), trade(2, 61, 110), trade(3, 62, 90, "0.2"), trade(4, 62, 120), trade(5, 119, 105)])
    (bar,) = await CandleStore(tape.read).candles(MINUTE, 10, START + 2 * MINUTE)
    assert bar == Candle(START + MINUTE, Decimal(110), Decimal(120), Decimal(90), Decimal(105), Decimal("0.5"))


async def test_the_bar_that_is_still_open_is_left_out() -> None:
    tape = Tape([trade(1, 0), trade(2, 65), trade(3, 125)])
    bars = await CandleStore(tape.read).candles(MINUTE, 10, START + timedelta(seconds=179))
    assert [bar.opened_at for bar in bars] == [START + MINUTE]


async def test_the_bar_in_which_history_begins_is_left_out_because_it_may_be_cut() -> None:
    tape = Tape([trade(1, 10), trade(2, 70)])
    bars = await CandleStore(tape.read).candles(MINUTE, 10, START + 5 * MINUTE)
    assert [bar.opened_at for bar in bars] == [START + MINUTE]


async def test_a_minute_without_a_trade_has_no_bar() -> None:
    tape = Tape([trade(1, 0), trade(2, 60), trade(3, 240)])
    bars = await CandleStore(tape.read).candles(MINUTE, 10, START + 6 * MINUTE)
    assert [bar.opened_at for bar in bars] == [START + MINUTE, START + 4 * MINUTE]


async def test_only_newer_executions_are_asked_for_once_the_first_are_known() -> None:
    tape = Tape([trade(number, number * 10) for number in range(1, 60)])
    store = CandleStore(tape.read)
    await store.candles(MINUTE, 3, START + 10 * MINUTE)
    tape.pages.clear()
    tape.trades += [trade(60, 600), trade(61, 610)]
    bars = await store.candles(MINUTE, 3, START + 11 * MINUTE)
    assert tape.pages == [(None, 59, 2)]
    assert bars[-1].volume == Decimal("0.2")


async def test_pages_are_walked_back_until_enough_bars_are_there_and_no_further() -> None:
    tape = Tape([trade(number, number) for number in range(1, 5001)])
    bars = await CandleStore(tape.read).candles(MINUTE, 20, START + timedelta(seconds=5040))
    assert len(bars) == 20
    assert len(tape.pages) == 3


async def test_a_hole_left_by_a_busy_minute_is_closed_before_bars_are_built() -> None:
    tape = Tape([trade(number, number) for number in range(1, 301)])
    store = CandleStore(tape.read)
    await store.candles(MINUTE, 2, START + 5 * MINUTE)
    tape.trades += [trade(number, 300 + number / 100) for number in range(301, 2001)]
    now = START + 6 * MINUTE
    assert list(await store.candles(MINUTE, 4, now)) == straightforward(tape.trades, MINUTE, now)[-4:]
    assert len(tape.pages) == 6, "what was known is kept"


async def test_after_a_long_sleep_the_store_begins_anew_instead_of_walking_through_everything() -> None:
    tape = Tape([trade(number, number) for number in range(1, 301)])
    store = CandleStore(tape.read)
    await store.candles(MINUTE, 2, START + 5 * MINUTE)
    tape.trades += [trade(number, number * 2) for number in range(301, 20_001)]
    tape.pages.clear()
    now = START + timedelta(seconds=40_020)
    bars = await store.candles(MINUTE, 5, now)
    assert list(bars) == straightforward(tape.trades, MINUTE, now)[-5:]
    assert len(tape.pages) == 2


async def test_a_history_that_ends_gives_what_there_is() -> None:
    tape = Tape([trade(1, 0), trade(2, 70)])
    store = CandleStore(tape.read)
    assert len(await store.candles(MINUTE, 100, START + 5 * MINUTE)) == 1
    tape.pages.clear()
    await store.candles(MINUTE, 100, START + 5 * MINUTE)
    assert tape.pages == [(None, 2, 0)], "the end of history is asked for once"


async def test_an_empty_tape_gives_no_bars() -> None:
    assert await CandleStore(Tape([]).read).candles(MINUTE, 5, START) == ()


@settings(max_examples=60)
@given(
    steps=st.lists(st.tuples(st.integers(0, 90), st.integers(90, 110)), min_size=1, max_size=80),
    cuts=st.lists(st.integers(1, 4000), min_size=1, max_size=6),
    minutes=st.sampled_from([1, 5, 15]),
)
async def test_bars_are_the_same_whenever_they_were_asked_for(
    steps: list[tuple[int, int]], cuts: list[int], minutes: int
) -> None:
    """Reading in between, at any moments, changes nothing in what is read at the end."""
    at, trades = 0, []
    for number, (wait, price) in enumerate(steps, start=1):
        at += wait
        trades.append(trade(number, at, price))
    tape = Tape([])
    store = CandleStore(tape.read)
    length = timedelta(minutes=minutes)
    for cut in sorted(cuts):
        now = START + timedelta(seconds=cut)
        tape.trades = [each for each in trades if each.at <= now]
        await store.candles(length, 3, now)
    tape.trades = trades
    now = START + timedelta(seconds=at, days=1)
    assert list(await store.candles(length, 1000, now)) == straightforward(trades, length, now)
