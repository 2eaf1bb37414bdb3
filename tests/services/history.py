"""A ledger that has been written for months, made in bulk: what it costs to read must not grow with it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, Table, create_engine, event, insert, update

from services.ledger import Ledger
from services.ledger_chain import event_hash
from services.ledger_tables import balance_snapshots, chain_head, cycles, equity_points, events, fills, orders
from trading.identifiers import client_order_id

PRICE = Decimal(10_000_000)
QUANTITY = Decimal("0.002")
_AT_ONCE = 5000
_REPORT = {
    "breach": "",
    "discrepancies": [],
    "equity": "5000000",
    "error": "",
    "fees": "1",
    "latency_p95_ms": 50.0,
    "order_state": "filled",
    "price": str(PRICE),
    "profit": "0",
    "reason": "a test",
    "refused": "",
    "requests": 5,
}


@dataclass(frozen=True)
class History:
    """What one account did in one symbol: an order and a cycle each `every`, the newest one `every` before `until`.

    Each order has two fills and three events. The orders are bought and sold in turn, so that nothing is held at the
    end of an even number.
    """

    until: datetime
    account: str = "bitbank"
    symbol: str = "BTC/JPY"
    orders: int = 1000
    every: timedelta = timedelta(hours=1)

    def begin(self) -> datetime:
        return self.until - self.orders * self.every


@dataclass
class _Chain:
    seq: int = 0
    last: str = "0" * 64
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, at: datetime, account: str, subject: str, kind: str) -> int:
        self.seq += 1
        digest = event_hash(self.last, self.seq, at, account, subject, kind, "{}")
        told = {"at": at, "account": account, "subject": subject, "kind": kind, "detail": "{}"}
        self.rows.append({**told, "seq": self.seq, "previous_hash": self.last, "hash": digest})
        self.last = digest
        return self.seq


def write_history(url: str, *histories: History) -> None:
    """Fill a new ledger at `url`; the histories' orders lie between each other as if they had traded side by side.

    Its events are chained and say nothing: a row proved against them would be found to differ.
    """
    Ledger(url).close()
    engine = create_engine(url)
    chain = _Chain()
    rows: dict[Table, list[dict[str, Any]]] = {
        table: [] for table in (orders, fills, cycles, equity_points, balance_snapshots)
    }
    for number in range(max(history.orders for history in histories)):
        for history in histories:
            if number < history.orders:
                for table, row in _one(history, number, chain):
                    rows[table].append(row)
        if len(chain.rows) >= _AT_ONCE:
            _write(engine, rows, chain)
    _write(engine, rows, chain)
    with engine.begin() as connection:
        connection.execute(update(chain_head).values(seq=chain.seq, hash=chain.last))
    engine.dispose()


def _write(engine: Engine, rows: Mapping[Table, list[dict[str, Any]]], chain: _Chain) -> None:
    with engine.begin() as connection:
        for table, waiting in ((events, chain.rows), *rows.items()):
            if waiting:
                connection.execute(insert(table), waiting)
                waiting.clear()


def _one(history: History, number: int, chain: _Chain) -> Iterator[tuple[Table, dict[str, Any]]]:
    account, symbol = history.account, history.symbol
    at = history.begin() + number * history.every
    quote = symbol.partition("/")[2].partition(":")[0]
    name, side, venue_id = client_order_id(account + symbol, str(number)), ("buy", "sell")[number % 2], str(number)
    yield (
        orders,
        {
            "account": account,
            "client_order_id": name,
            "venue": account.partition(":")[0],
            "symbol": symbol,
            "side": side,
            "type": "limit",
            "quantity": QUANTITY,
            "price": PRICE,
            "time_in_force": "gtc",
            "decision_price": PRICE,
            "decided_at": at,
            "reason": "a test",
            "reduce_only": False,
            "rung": "minimal",
            "lease_token": 1,
            "known_ids": [],
            "created_at": at,
            "state": "filled",
            "is_open": 0,
            "venue_order_id": f"{symbol}-{venue_id}",
            "filled": QUANTITY,
            "sent_at": at,
            "updated_at": at,
            "note": "",
        },
    )
    chain.add(at, account, name, "order.intended")
    for part in range(2):
        yield (
            fills,
            {
                "account": account,
                "symbol": symbol,
                "fill_id": f"{venue_id}-{part}",
                "venue_order_id": f"{symbol}-{venue_id}",
                "side": side,
                "price": PRICE,
                "quantity": QUANTITY / 2,
                "quote_quantity": PRICE * QUANTITY / 2,
                "fee": Decimal(0),
                "fee_currency": quote,
                "at": at,
                "recorded_at": at,
                "event_seq": chain.add(at, account, f"{symbol} {venue_id}-{part}", "fill"),
            },
        )
    equity = {"account": account, "quote": quote, "at": at, "equity": Decimal(5_000_000), "peak": Decimal(5_000_000)}
    yield equity_points, equity
    yield balance_snapshots, {"account": account, "balances": {quote: ["5000000", "0"]}, "at": at}
    yield (
        cycles,
        {
            "cycle_id": f"{symbol} {number}",
            "account": account,
            "symbol": symbol,
            "rung": "minimal",
            "started_at": at,
            "finished_at": at,
            "ok": True,
            "report": _REPORT,
            "counted": True,
        },
    )


class Steps:
    """Counts the steps that SQLite takes, for every ledger opened after `watch`: no timing, the same each time."""

    def __init__(self) -> None:
        self.taken = 0
        self.plans: dict[str, list[str]] = {}  # statement -> how SQLite goes about it

    def watch(self) -> None:
        event.listen(Engine, "connect", self._on_connect)
        event.listen(Engine, "before_cursor_execute", self._on_statement)

    def unwatch(self) -> None:
        event.remove(Engine, "connect", self._on_connect)
        event.remove(Engine, "before_cursor_execute", self._on_statement)

    def _on_connect(self, connection: Any, _: object) -> None:
        connection.set_progress_handler(self._step, 1)

    def _step(self) -> int:
        self.taken += 1
        return 0

    def _on_statement(self, connection: Any, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")) and statement not in self.plans:
            before = self.taken
            explained = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            self.plans[statement] = [row[-1] for row in explained]
            self.taken = before
