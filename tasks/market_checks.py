"""Checks of what a venue tells everybody: versions, instruments, status, prices, candles."""

from datetime import timedelta

from prefect import task
from prefect.cache_policies import NO_CACHE

from config.settings import ExchangeName
from exchanges import ApiVersionManager
from tasks.asking import Question, ask_all, expect
from tasks.session import Session, session
from trading.checks import Check
from trading.money import plain

_CANDLES = 30
_BOOK_DEPTH = 20


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def check_versions(exchange: ExchangeName) -> tuple[Check, ...]:
    """What is installed is what was examined, and it can do what we ask of it. No request."""
    report = ApiVersionManager().generate_compatibility_report()
    info = next(each for each in report.exchanges if each.name == exchange)

    async def version() -> str:
        expect(
            report.ccxt_pinned in (None, report.ccxt_installed),
            f"ccxt {report.ccxt_installed} is installed, {report.ccxt_pinned} was examined: run `make setup`",
        )
        return f"ccxt {report.ccxt_installed}, {info.ccxt_class}, API {info.api_version}"

    async def abilities() -> str:
        expect(info.compatible, f"ccxt lacks {', '.join(info.missing)}")
        return f"{len(info.endpoints)} calls of the venue are used, all known to {info.ccxt_class}"

    return await ask_all([("library version", version), ("library abilities", abilities)])


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def check_instrument(exchange: ExchangeName) -> tuple[Check, ...]:
    """The symbol exists, its steps and minimums are known, the target size fits, the venue is open."""
    here = session(exchange)

    async def listed() -> str:
        instrument = await here.reader.instrument(here.symbol)
        return (
            f"{here.symbol}: tick {plain(instrument.tick_size)}, lot {plain(instrument.lot_size)}, "
            f"minimum {plain(instrument.min_quantity)} {instrument.base}, "
            f"fees {plain(instrument.maker_fee_rate * 100)} % maker {plain(instrument.taker_fee_rate * 100)} % taker"
        )

    async def target() -> str:
        instrument = await here.reader.instrument(here.symbol)
        wanted, ticker = here.configured.target_quantity, await here.reader.ticker(here.symbol)
        least = instrument.round_trip_quantity(ticker.last)
        expect(
            wanted >= least,
            f"exchanges.{exchange}.target_quantity {plain(wanted)} could not be bought and sold again: "
            f"write at least {plain(least)}",
        )
        return f"target {plain(wanted)} {instrument.base}, smallest that can be sold again {plain(least)}"

    async def open_for_orders() -> str:
        status = await here.reader.status(here.symbol)
        expect(status.trading, f"the venue says {status.state} {status.detail}".strip())
        return f"the venue says {status.state}"

    return await ask_all([("symbol", listed), ("target size", target), ("venue status", open_for_orders)])


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def check_market_data(exchange: ExchangeName) -> tuple[Check, ...]:
    """Ticker, book and candles are there, sensible and recent."""
    here = session(exchange)
    return await ask_all(market_questions(here))


def market_questions(here: Session) -> list[Question]:
    """The questions about market data that both compatibility and read_only ask."""
    symbol, data = here.symbol, here.settings.data

    async def ticker() -> str:
        told = await here.reader.ticker(symbol)
        expect(0 < told.bid < told.ask, f"bid {plain(told.bid)} and ask {plain(told.ask)} are crossed")
        age = (here.clock.now() - told.at).total_seconds()
        limit = here.settings.risk.max_data_age_seconds
        expect(age <= limit, f"the ticker is {age:.0f} s old, at most {limit:g} s are allowed")
        return f"bid {plain(told.bid)}, ask {plain(told.ask)}, {max(age, 0):.1f} s old"

    async def book() -> str:
        told = await here.reader.order_book(symbol, _BOOK_DEPTH)
        expect(bool(told.bids and told.asks), "one side of the book is empty")
        bids, asks = [level.price for level in told.bids], [level.price for level in told.asks]
        expect(bids == sorted(bids, reverse=True) and asks == sorted(asks), "levels are out of order")
        expect(bids[0] < asks[0], f"crossed: bid {plain(bids[0])}, ask {plain(asks[0])}")
        return f"{len(bids)} bids and {len(asks)} asks, spread {plain(asks[0] - bids[0])}"

    async def candles() -> str:
        told = await here.reader.candles(symbol, data.timeframe, _CANDLES)
        expect(bool(told), "no closed candle")
        opened = [candle.opened_at for candle in told]
        expect(opened == sorted(set(opened)), "candles repeat or are out of order")
        expect(
            all(c.low <= min(c.open, c.close) <= max(c.open, c.close) <= c.high for c in told),
            "a candle's high and low do not span its open and close",
        )
        behind = here.clock.now() - opened[-1]
        expect(behind < timedelta(days=3), f"the newest candle opened {behind} ago")
        return f"{len(told)} closed {data.timeframe} candles, newest opened {opened[-1]:%Y-%m-%d %H:%M}Z"

    return [("ticker", ticker), ("order book", book), ("candles", candles)]
