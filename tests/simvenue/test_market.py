"""What the public sees: tape, book, ticker and candles, never anything later than now."""

from decimal import Decimal as D

from simvenue.candles import MINUTE
from tests.simvenue.material import START, bar, flat, market, rested, venue_on

LEVELS = range(10_000_000, 10_180_000, 1000)
RISING = [bar(m, level, level + 1500, level - 1000, level + 1000) for m, level in enumerate(LEVELS)]


def test_candles_are_the_recorded_minutes_and_the_running_one_is_marked() -> None:
    venue = venue_on(RISING, at_minute=30)
    venue.advance(20_000)
    bars = venue.market("BTC/JPY").candles(60, limit=10)
    assert [tuple(b)[:6] for b in bars[:-1]] == [tuple(b) for b in RISING[21:30]]
    assert [b.closed for b in bars] == [True] * 9 + [False]
    assert bars[-1].open_ms == START + 30 * MINUTE
    assert bars[-1].open == RISING[30].open
    assert bars[-1].volume < RISING[30].volume


def test_longer_candles_are_made_of_the_minutes_in_them() -> None:
    venue = venue_on(RISING, at_minute=125)
    hours = venue.market("BTC/JPY").candles(3600)
    assert [b.open_ms for b in hours] == [START, START + 60 * MINUTE, START + 120 * MINUTE]
    assert hours[0].open == RISING[0].open
    assert hours[0].close == RISING[59].close
    assert hours[0].high == max(b.high for b in RISING[:60])
    assert hours[0].volume == 60
    assert [b.closed for b in hours] == [True, True, False]
    halves = venue.market("BTC/JPY").candles(1800, START, START + 30 * MINUTE)
    assert [b.open_ms for b in halves] == [START, START + 30 * MINUTE]


def test_a_gap_makes_no_candle_and_closes_the_market() -> None:
    venue = venue_on(flat([*range(10), 11, *range(20, 30)]), at_minute=10)
    market_ = venue.market("BTC/JPY")
    assert market_.state == "running"  # one absent minute is a quiet one
    venue.advance(2 * MINUTE)
    assert market_.state == "closed"
    assert market_.last == 10_000_000
    assert market_.ticker().at < START + 12 * MINUTE
    venue.advance(8 * MINUTE)
    assert market_.state == "running"
    opens = [(b.open_ms - START) // MINUTE for b in market_.candles(60)]
    assert opens == [*range(10), 11, 20]


def test_after_the_last_candle_the_market_is_closed() -> None:
    venue = venue_on(flat(range(10)), at_minute=5)
    assert venue.ends_ms() == START + 10 * MINUTE
    venue.advance(60 * MINUTE)
    assert venue.market("BTC/JPY").state == "closed"
    assert venue.market("BTC/JPY").last == 10_000_000


def test_trades_page_by_id_newest_first_and_add_up_to_the_candles() -> None:
    venue = venue_on(RISING, at_minute=20)
    tape = venue.market("BTC/JPY")
    everything = tape.trades(100_000)
    assert [t.id for t in everything] == sorted((t.id for t in everything), reverse=True)
    assert max(t.at for t in everything) <= venue.now_ms()
    page = tape.trades(7, before=everything[10].id)
    assert page == everything[11:18]
    assert tape.trades(100_000, after=everything[5].id) == everything[:5]
    minute = tape.trades_between(START + 3 * MINUTE, START + 4 * MINUTE)
    assert sum(t.size for t in minute) == RISING[3].volume
    assert (minute[0].price, minute[-1].price) == (RISING[3].open, RISING[3].close)


def test_the_first_prints_after_a_daily_gap_have_no_side() -> None:
    bars = flat([*range(5), *range(15, 20)])
    venue = venue_on(bars, at_minute=17, daily_gap=(19 * 60, 10))
    opening = venue.market("BTC/JPY").trades_between(START + 15 * MINUTE, START + 16 * MINUTE)
    assert opening[0].side == ""
    assert opening[-1].side in ("buy", "sell")
    others = venue.market("BTC/JPY").trades_between(START + 16 * MINUTE, START + 17 * MINUTE)
    assert all(t.side for t in others)


def test_the_ticker_covers_the_day_up_to_now() -> None:
    bars = [bar(0, 9_000_000, 9_000_000, 9_000_000, 9_000_000), *flat(range(1, 1500))]
    venue = venue_on(bars, at_minute=1439)
    assert venue.market("BTC/JPY").ticker().low24 == 9_000_000
    venue.advance(MINUTE)
    ticker = venue.market("BTC/JPY").ticker()
    assert (ticker.low24, ticker.open24, ticker.last) == (10_000_000,) * 3
    assert 1439 < ticker.volume24 < 1440
    assert ticker.bid is not None
    assert ticker.ask is not None
    assert ticker.bid < ticker.last < ticker.ask


def test_the_book_is_deep_and_follows_the_volume() -> None:
    depths = []
    for volume in ("0.5", "50"):
        bids, asks = venue_on(flat(range(5), volume=volume)).market("BTC/JPY").book(20)
        assert len(bids) == len(asks) == 20
        assert [b.price for b in bids] == sorted((b.price for b in bids), reverse=True)
        assert [a.price for a in asks] == sorted(a.price for a in asks)
        assert all(level.size >= D("0.0001") for level in bids + asks)
        depths.append(sum(level.size for level in bids))
    assert depths[1] > 20 * depths[0]


def test_an_eaten_level_stays_eaten_until_the_next_minute() -> None:
    venue = venue_on(flat(range(5), volume="10"))
    tape = venue.market("BTC/JPY")
    asks = tape.book()[1]
    quantity = asks[0].size + D("0.0001")
    venue.deposit("JPY", D(1_000_000_000))
    venue.place(market("buy", str(quantity)))
    assert tape.book()[1][0] == (asks[1].price, asks[1].size - D("0.0001"))
    venue.advance(30_000)
    assert tape.book()[1][0].price == asks[1].price
    venue.advance(30_000)
    untouched = venue_on(flat(range(5), volume="10"), at_minute=1).market("BTC/JPY")
    assert tape.book() == untouched.book()


def test_a_book_that_was_eaten_empty_is_whole_again_in_the_next_minute_at_the_same_prices() -> None:
    venue = venue_on(flat(range(5), price=150, volume="10"))  # one yen between levels, whatever the minute
    venue.deposit("JPY", D(1_000_000_000))
    venue.place(market("buy", "999"))
    tape = venue.market("BTC/JPY")
    left = tape.book()[1]
    venue.advance(MINUTE)
    untouched = venue_on(flat(range(5), price=150, volume="10"), at_minute=1).market("BTC/JPY")
    assert tape.book() == untouched.book()
    assert sum(level.size for level in tape.book()[1]) > 2 * sum(level.size for level in left)


def test_client_orders_are_in_the_book() -> None:
    venue = venue_on(flat(range(5)))
    best = venue.market("BTC/JPY").book(1)[0][0].price
    rested(venue, "buy", "0.0123", best + 1)
    assert venue.market("BTC/JPY").book(1)[0] == [(best + 1, D("0.0123"))]
    assert venue.market("BTC/JPY").ticker().bid == best + 1


def test_a_price_moved_by_hand_prints_there_and_the_market_goes_on_from_there() -> None:
    venue = venue_on(RISING, at_minute=30)
    venue.advance(30_000)
    tape = venue.market("BTC/JPY")
    past = tape.candles(60, limit=20)[:-1]
    venue.move_price("BTC/JPY", D(5_000_000))
    assert tape.last == tape.trades(1)[0].price == tape.ticker().last == 5_000_000
    assert tape.candles(60, limit=20)[:-1] == past
    assert tape.candles(60, limit=1)[0].low == tape.candles(60, limit=1)[0].close == 5_000_000
    venue.advance(10 * MINUTE)
    assert 4_980_000 < tape.last < 5_030_000
    for candle in tape.candles(60, limit=9):
        prints = tape.trades_between(candle.open_ms, candle.open_ms + MINUTE)
        prices = [t.price for t in prints]
        assert (prices[0], max(prices), min(prices), prices[-1]) == candle[1:5]
        assert sum(t.size for t in prints) == candle.volume
    venue.move_price("BTC/JPY", D(7_000_000))
    assert tape.last == 7_000_000
