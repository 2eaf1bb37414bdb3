"""What the ledger knows, shown: status, orders, fills, balances. Nothing here asks a venue."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from cli.output import print_json, print_table, say
from config.guide import see
from config.loader import load_settings
from config.settings import Endpoint, ExchangeName, Settings
from execution.standing import Standing, standing_of
from services.clock import WallClock
from services.ledger import Ledger
from trading.day import JAPAN, DaySummary, bounds_of, cycle_point, summarise
from trading.orders import Fill, Order
from trading.stages import PAPER

# What is said of an exchange that needs a person, and where the guide says what to do.
_SECTIONS = {
    "STOPPED": "kill-switch",
    "AN ORDER IS NOT PROVED": "unproved-order",
    "TROUBLE TODAY": "incident",
    "SILENT TRADER": "incident",
}
_NO_FILLS = "none at a venue yet; what was filled on paper is among `orders`"
_SILENT_CYCLES = 3  # a trader without a cycle for so long is not well


@contextlib.contextmanager
def _ledger() -> Iterator[tuple[Settings, Ledger]]:
    settings = load_settings()
    ledger = Ledger(settings.ledger_url)
    try:
        yield settings, ledger
    finally:
        ledger.close()


_SHOWN = (
    "verdict",
    "state",
    "cause",
    "symbol",
    "rung",
    "cap",
    "expires_at",
    "kill_switch",
    "last_cycle",
    "last_cycle_age",
    "refused",
    "open_orders",
    "unknown_orders",
    "equity",
    "below_peak",
    "profit",
    "today",
    "errors",
    "latency_p95_ms",
    "drawdown",
)


def show_status(exchanges: Sequence[ExchangeName], *, as_json: bool) -> None:
    """Print one row per exchange: what it is allowed to do, what it did last, what it made."""
    with _ledger() as (settings, ledger):
        rows = [_status(settings, ledger, exchange) for exchange in exchanges]
    if as_json:
        print_json({row["exchange"]: row for row in rows})
        return
    print_table(
        "status",
        ("", *(str(row["exchange"]) for row in rows)),
        [(name.replace("_", " "), *(row[name] for row in rows)) for name in _SHOWN],
        "",
    )
    for row in rows:
        if section := _SECTIONS.get(str(row["verdict"])):
            say(f"{row['exchange']}: {row['verdict']}{see(section)}")


def _status(settings: Settings, ledger: Ledger, exchange: ExchangeName) -> dict[str, object]:
    now = WallClock().now()
    stands = standing_of(settings, ledger, exchange, now)
    last, rung, latch = stands.last_cycle, stands.record, stands.latch
    day = _today(settings, ledger, stands.traded, stands.symbol)
    return {
        "exchange": exchange,
        "verdict": _verdict(settings, ledger, exchange, stands, day, now),
        "state": stands.state,
        "cause": stands.cause or None,
        "symbol": stands.symbol,
        "rung": rung.rung if rung else None,
        "cap": rung.max_quantity if rung else None,
        "expires_at": rung.expires_at if rung else None,
        "kill_switch": f"SET: {latch.reason} (by {latch.by})" if latch else "off",
        "last_cycle": last.finished_at if last else None,
        "last_cycle_age": _age(now - last.finished_at) if last else None,
        "refused": (last.report["refused"] or None) if last else None,
        "open_orders": stands.open_orders,
        "unknown_orders": stands.unknown_orders,
        "equity": None if stands.equity is None else f"{stands.equity.quantize(Decimal('0.01'))} {stands.quote}",
        "below_peak": None if stands.below_peak is None else f"{float(stands.below_peak):.2%}",
        "profit": _profit(last.report, stands.symbol) if last else None,
        "today": day.verdict,
        "errors": f"{day.error_rate:.1%}",
        "latency_p95_ms": day.latency_p95_ms,
        "drawdown": f"{float(day.drawdown):.2%}",
    }


def _age(passed: timedelta) -> str:
    """How long ago, in the largest unit that fits."""
    seconds = max(0, round(passed.total_seconds()))
    for name, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {name}"
    return f"{seconds} s"


def _verdict(
    settings: Settings, ledger: Ledger, exchange: ExchangeName, stands: Standing, day: DaySummary, now: datetime
) -> str:
    """What a person must know first. Whether a trader is there says the account's lease, not a clock: a simulated
    market may have a time of its own.
    """
    if stands.latch is not None:
        return "STOPPED"
    if stands.unknown_orders:
        return "AN ORDER IS NOT PROVED"
    if day.failed:
        return "TROUBLE TODAY"
    if ledger.holder(settings.account(exchange), ledger.shared_time(now)) is None:
        return "no trader"
    quiet = timedelta(seconds=_SILENT_CYCLES * settings.execution.cycle_seconds)
    simulated = settings.exchanges[exchange].endpoint is Endpoint.SIMULATED
    if stands.last_cycle is not None and not simulated and now - stands.last_cycle.finished_at > quiet:
        return "SILENT TRADER"
    return "trades"


def _today(settings: Settings, ledger: Ledger, account: str, symbol: str) -> DaySummary:
    """The day in Japan so far, as the day's report shows it."""
    begin, _ = bounds_of(WallClock().now().astimezone(JAPAN).date())
    cycles = ledger.cycles(account, symbol, since=begin)
    return summarise([cycle_point(cycle) for cycle in reversed(cycles)], settings.execution.cycle_seconds)


def _profit(report: Mapping[str, Any], symbol: str) -> str | None:
    told = report.get("profit")
    quote = symbol.partition("/")[2].partition(":")[0]
    return None if told is None else f"{Decimal(told).quantize(Decimal('0.01'))} {quote}"


def show_orders(exchanges: Sequence[ExchangeName], *, limit: int, as_json: bool) -> None:
    """Print our orders, newest first, paper orders among them under their own account."""
    with _ledger() as (settings, ledger):
        venue_accounts = [settings.account(exchange) for exchange in exchanges]
        accounts = [name for account in venue_accounts for name in (account, f"{account}:{PAPER}")]
        found = [order for account in accounts for order in ledger.orders(account, limit=limit)]
    found = sorted(found, key=lambda order: order.intent.decided_at, reverse=True)[:limit]
    if as_json:
        print_json([_order(order) for order in found])
        return
    columns = (
        "at",
        "account",
        "symbol",
        "side",
        "quantity",
        "price",
        "state",
        "filled",
        "venue_order_id",
        "reason",
    )
    print_table("orders", columns, [[_order(order)[column] for column in columns] for order in found], "none yet")


def _order(order: Order) -> dict[str, object]:
    intent = order.intent
    return {
        "at": intent.decided_at,
        "account": order.account,
        "symbol": intent.symbol,
        "side": intent.side,
        "type": intent.type,
        "quantity": intent.quantity,
        "price": intent.price,
        "state": order.state,
        "filled": order.filled,
        "client_order_id": intent.client_order_id,
        "venue_order_id": order.venue_order_id,
        "reason": intent.reason,
        "note": order.note,
    }


def show_fills(exchanges: Sequence[ExchangeName], *, limit: int, as_json: bool) -> None:
    """Print our fills at the venues, newest first: what must agree with the venues' own pages."""
    with _ledger() as (settings, ledger):
        found = [
            (name, fill) for name in exchanges for fill in ledger.newest_fills(settings.account(name), limit=limit)
        ]
    found.sort(key=lambda each: each[1].at, reverse=True)
    rows = [_fill(exchange, fill) for exchange, fill in found[:limit]]
    if as_json:
        print_json(rows)
        return
    columns = ("at", "exchange", "symbol", "side", "quantity", "price", "fee", "fee_currency", "id")
    print_table("fills", columns, [[row[column] for column in columns] for row in rows], _NO_FILLS)


def _fill(exchange: ExchangeName, fill: Fill) -> dict[str, object]:
    return {
        "at": fill.at,
        "exchange": exchange,
        "symbol": fill.symbol,
        "side": fill.side,
        "quantity": fill.quantity,
        "price": fill.price,
        "quote_quantity": fill.quote_quantity,
        "fee": fill.fee,
        "fee_currency": fill.fee_currency,
        "maker": fill.maker,
        "id": fill.id,
        "venue_order_id": fill.venue_order_id,
    }


def show_balances(exchanges: Sequence[ExchangeName], *, as_json: bool) -> None:
    """Print the balances that the last reconcile read, with the time at which they were true."""
    rows = []
    with _ledger() as (settings, ledger):
        for exchange in exchanges:
            told = ledger.latest_balances(settings.account(exchange))
            for asset, balance in sorted(told[0].items()) if told else ():
                rows.append(
                    {
                        "exchange": exchange,
                        "asset": asset,
                        "free": balance.free,
                        "locked": balance.locked,
                        "total": balance.total,
                        "read_at": told[1] if told else None,
                    }
                )
    if as_json:
        print_json(rows)
        return
    columns = ("exchange", "asset", "free", "locked", "total", "read_at")
    print_table("balances", columns, [[row[column] for column in columns] for row in rows], "none read yet")
