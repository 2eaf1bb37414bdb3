"""bitFlyer's market data: markets, ticker, board, executions, states, funding (docs/venues.md#bitflyer)."""

from decimal import Decimal
from typing import Any

from simvenue.bitflyer_replies import (
    TOO_OLD,
    BitflyerRefusal,
    Parameters,
    acceptance_id,
    count_of,
    invalid,
    iso,
    product_of,
    whole_number,
)
from simvenue.path import IDS_A_MINUTE, MINUTE
from simvenue.shown_market import gap_from
from simvenue.values import Level, Pair, Trade
from simvenue.venue import Venue

DAY_MS = 86_400_000
HISTORY_MS = 31 * DAY_MS  # older executions are refused
FUNDING_MS = 8 * 3_600_000
FUNDING_OFFSET_MS = 5 * 3_600_000  # 05, 13 and 21 o'clock UTC
# funding and leverage points are not charged here, so the rate that is stated is nought
FUNDING_RATE = Decimal(0)
CFD_LEVERAGE_FOR_COMPANIES = Decimal("5.0")


class BitflyerPublic:
    """Render what needs no key."""

    def __init__(self, venue: Venue) -> None:
        """Read from this venue."""
        self._venue = venue

    def markets(self, _: Parameters) -> list[dict[str, Any]]:
        """List the Japanese products."""
        return [
            {"product_code": pair.venue_symbol, "market_type": "FX" if pair.kind == "perpetual" else "Spot"}
            for pair in self._venue.spec.pairs
        ]

    def markets_abroad(self, _: Parameters) -> list[dict[str, Any]]:
        """List the products of the American and European lists that are simulated: the shared BTC_JPY."""
        return [{"product_code": "BTC_JPY", "market_type": "Spot"}]

    def ticker(self, parameters: Parameters) -> dict[str, Any]:
        """Give the ticker: sizes in base, volume of the last 24 hours."""
        pair = product_of(self._venue, parameters)
        market = self._venue.shown.market(pair.symbol)
        ticker = market.ticker()
        bids, asks = market.book()
        running = market.state == "running"
        # in the daily maintenance the last ticker stays as it was
        at = self._venue.shown.market_ms() if running else ticker.at
        newest = market.trades(1)
        return {
            "product_code": pair.venue_symbol,
            "state": self._state(pair),
            "timestamp": iso(at, milliseconds=True),
            "tick_id": newest[0].id if newest else 0,
            "best_bid": ticker.bid or Decimal(0),
            "best_ask": ticker.ask or Decimal(0),
            "best_bid_size": ticker.bid_size or Decimal(0),
            "best_ask_size": ticker.ask_size or Decimal(0),
            "total_bid_depth": _total(bids),
            "total_ask_depth": _total(asks),
            "market_bid_size": Decimal(0),
            "market_ask_size": Decimal(0),
            "ltp": ticker.last,
            "volume": ticker.volume24,
            "volume_by_product": ticker.volume24,
        }

    def board(self, parameters: Parameters) -> dict[str, Any]:
        """Give the whole book, best first."""
        pair = product_of(self._venue, parameters)
        market = self._venue.shown.market(pair.symbol)
        bids, asks = market.book()
        middle = (bids[0].price + asks[0].price) / 2 if bids and asks else market.ticker().last
        return {"mid_price": middle, "bids": _levels(bids), "asks": _levels(asks)}

    def executions(self, parameters: Parameters) -> list[dict[str, Any]]:
        """List public trades newest first, up to 500; -156 for those older than 31 days."""
        pair = product_of(self._venue, parameters)
        before, gap = whole_number(parameters, "before"), self._venue.faults.active("candle_gap")
        if gap is not None:  # clients make their candles of these
            absent_from = gap_from(gap, self._venue.shown.market_ms()) // MINUTE * IDS_A_MINUTE
            before = absent_from if before is None else min(before, absent_from)
        trades = self._venue.shown.market(pair.symbol).trades(
            count_of(parameters), before, whole_number(parameters, "after")
        )
        oldest_ms = self._venue.clock.now_ms() - HISTORY_MS
        if trades and trades[0].at < oldest_ms:
            raise BitflyerRefusal(TOO_OLD, "Execution history is limited to the most recent 31 days.")
        return [_execution(trade) for trade in trades if trade.at >= oldest_ms]

    def health(self, parameters: Parameters) -> dict[str, Any]:
        """Say how busy the venue is."""
        return {"status": self._health(product_of(self._venue, parameters))}

    def board_state(self, parameters: Parameters) -> dict[str, Any]:
        """Say how busy the venue is and whether the product trades."""
        pair = product_of(self._venue, parameters)
        return {"health": self._health(pair), "state": self._state(pair)}

    def funding_rate(self, parameters: Parameters) -> dict[str, Any]:
        """Give the rate of the next settlement, and when that is."""
        self._perpetual(parameters)
        due = _settled_before(self._venue.clock.now_ms()) + FUNDING_MS
        return {"current_funding_rate": FUNDING_RATE, "next_funding_rate_settledate": iso(due)}

    def funding_rate_history(self, parameters: Parameters) -> list[dict[str, Any]]:
        """List past settlements, newest first, up to 500."""
        self._perpetual(parameters)
        newest = _settled_before(self._venue.clock.now_ms())
        return [
            {
                "rate": FUNDING_RATE,
                "calculation_date": iso(newest - (number + 1) * FUNDING_MS),
                "settlement_date": iso(newest - number * FUNDING_MS),
            }
            for number in range(count_of(parameters))
        ]

    def corporate_leverage(self, _: Parameters) -> dict[str, Any]:
        """Give the leverage of companies' accounts: the same this week and next."""
        now_ms = self._venue.clock.now_ms()
        # weeks are counted from a Monday: the Unix epoch was a Thursday
        monday = now_ms - (now_ms + 3 * DAY_MS) % (7 * DAY_MS)
        return {
            "current_max": CFD_LEVERAGE_FOR_COMPANIES,
            "current_startdate": iso(monday),
            "next_max": CFD_LEVERAGE_FOR_COMPANIES,
            "next_startdate": iso(monday + 7 * DAY_MS),
        }

    def chats(self, _: Parameters) -> list[dict[str, Any]]:
        """List no message: nobody chats here."""
        return []

    def _perpetual(self, parameters: Parameters) -> Pair:
        pair = product_of(self._venue, parameters)
        if pair.kind != "perpetual":
            raise invalid("product")
        return pair

    def _state(self, pair: Pair) -> str:
        if self._venue.shown.market(pair.symbol).state != "running":
            return "CLOSED"
        return "CIRCUIT BREAK" if self._venue.is_halted else "RUNNING"

    def _health(self, pair: Pair) -> str:
        return "NORMAL" if self._venue.shown.market(pair.symbol).state == "running" else "STOP"


def _settled_before(at_ms: int) -> int:
    return at_ms - (at_ms - FUNDING_OFFSET_MS) % FUNDING_MS


def _levels(levels: list[Level]) -> list[dict[str, Decimal]]:
    return [{"price": level.price, "size": level.size} for level in levels]


def _total(levels: list[Level]) -> Decimal:
    return sum((level.size for level in levels), Decimal(0))


def _execution(trade: Trade) -> dict[str, Any]:
    return {
        "id": trade.id,
        "side": trade.side.upper(),  # "" for the prints of an opening auction
        "price": trade.price,
        "size": trade.size,
        "exec_date": iso(trade.at, milliseconds=True),
        "buy_child_order_acceptance_id": acceptance_id(trade.at, trade.id),
        "sell_child_order_acceptance_id": acceptance_id(trade.at, trade.id * 7919 + 1),
    }
