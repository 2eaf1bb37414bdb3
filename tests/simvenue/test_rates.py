"""Rate limits count market time, and remember enough to prove afterwards that they were kept."""

from aiohttp.test_utils import make_mocked_request

from simvenue.rates import MINUTES_REMEMBERED, RateWindow, RequestCounts, first_full

GET, POST = make_mocked_request("GET", "/"), make_mocked_request("POST", "/")


def test_a_window_rolls_with_the_market_clock() -> None:
    window = RateWindow("query", 2, 1000, lambda request, body: 1)
    assert first_full([window], GET, b"", 0) is None
    assert first_full([window], GET, b"", 400) is None
    assert first_full([window], GET, b"", 999) is window
    assert window.remaining(999) == 0
    assert window.resets_at(999) == 1000
    assert first_full([window], GET, b"", 1000) is None
    assert first_full([window], GET, b"", 1399) is window
    assert first_full([window], GET, b"", 1400) is None


def test_a_refused_request_counts_in_no_window() -> None:
    wide = RateWindow("all", 10, 1000, lambda request, body: 1)
    narrow = RateWindow("orders", 1, 1000, lambda request, body: int(request.method == "POST"))
    for _ in range(3):
        first_full([wide, narrow], POST, b"", 5)
    assert (wide.used(5), narrow.used(5)) == (1, 1)
    assert first_full([wide, narrow], GET, b"", 5) is None
    assert (wide.used(5), narrow.used(5)) == (2, 1)


def test_a_request_may_weigh_more_than_one() -> None:
    window = RateWindow("weighted", 10, 1000, lambda request, body: len(body))
    assert first_full([window], POST, b"1234567", 0) is None
    assert first_full([window], POST, b"1234", 0) is window
    assert first_full([window], POST, b"123", 0) is None


def test_requests_are_counted_by_market_minute_for_months_and_then_forgotten_oldest_first() -> None:
    counts = RequestCounts()
    for minute in range(MINUTES_REMEMBERED + 10):
        counts.count(minute * 60_000 + 59_999)
    counts.count((MINUTES_REMEMBERED + 9) * 60_000)
    by_minute = counts.by_minute()
    assert counts.total == MINUTES_REMEMBERED + 11
    assert len(by_minute) == MINUTES_REMEMBERED
    assert min(by_minute) == 10 * 60_000
    assert by_minute[(MINUTES_REMEMBERED + 9) * 60_000] == 2
