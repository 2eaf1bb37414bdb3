"""The ledger's tables. A change here needs a revision in services/migrations (a test compares the two).

No SQL of one database only: SQLite and PostgreSQL hold the same tables.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

from trading.money import amount, plain

SCHEMA_VERSION = "0004"  # the newest revision in services/migrations/versions


class Amount(TypeDecorator[Decimal]):
    """A Decimal kept as plain text: no database rounds it, none turns it into a float."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        return None if value is None else plain(amount(value))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time. A naive one is refused: nobody can tell later which zone it meant."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"the ledger takes aware times only, was {value.isoformat()}")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def canonical_json(value: object) -> str:
    """Write a value as JSON, always as the same text; amounts as plain text, times as ISO 8601 in UTC."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_as_json)


def _as_json(value: object) -> object:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"the ledger cannot store a {type(value).__name__}: {value!r}")


class Json(TypeDecorator[Any]):
    """A JSON document kept as text, so that both databases give back exactly what was written."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


metadata = MetaData()
# SQLite numbers rows by itself only where the key is its plain INTEGER
_row_id = BigInteger().with_variant(Integer, "sqlite")

leases = Table(
    "leases",
    metadata,
    Column("account", String(64), primary_key=True),
    Column("token", Integer, nullable=False),
    Column("holder", String(200)),  # null: released
    Column("expires_at", UtcTime, nullable=False),
)

orders = Table(
    "orders",
    metadata,
    Column("id", _row_id, primary_key=True, autoincrement=True),
    Column("account", String(64), nullable=False),
    Column("client_order_id", String(64), nullable=False),
    Column("venue", String(32), nullable=False),
    Column("symbol", String(32), nullable=False),
    Column("side", String(8), nullable=False),
    Column("type", String(16), nullable=False),
    Column("quantity", Amount(48), nullable=False),
    Column("price", Amount(48)),
    Column("time_in_force", String(16), nullable=False),
    Column("decision_price", Amount(48), nullable=False),
    Column("decided_at", UtcTime, nullable=False),
    Column("reason", Text, nullable=False),
    Column("reduce_only", Boolean, nullable=False),
    Column("target_quantity", Amount(48)),
    Column("rung", String(32), nullable=False),
    Column("cycle_id", String(64)),
    Column("lease_token", Integer, nullable=False),
    Column("known_ids", Json, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    # where it stands: the sum of its events
    Column("state", String(20), nullable=False),
    Column("is_open", Integer, nullable=False),  # 1 until it has ended
    Column("venue_order_id", String(128)),
    Column("filled", Amount(48), nullable=False),
    Column("sent_at", UtcTime),
    Column("updated_at", UtcTime, nullable=False),
    Column("note", Text, nullable=False),
    UniqueConstraint("account", "client_order_id", name="orders_client_order_id_once"),
    # two of our orders that claim the same order at the venue: one of them is wrong
    UniqueConstraint("account", "symbol", "venue_order_id", name="orders_venue_order_id_once"),
    # a million ended orders cost nothing when the few open ones are asked for (0.04 ms; 113 ms without)
    Index(
        "orders_open",
        "account",
        "symbol",
        sqlite_where=text("is_open = 1"),
        postgresql_where=text("is_open = 1"),
    ),
    Index("orders_by_time", "account", "created_at"),
    Index("orders_by_symbol", "account", "symbol", "id"),
    Index("orders_by_symbol_and_time", "account", "symbol", "created_at"),
    Index("orders_by_venue_id", "account", "venue_order_id"),
)

fills = Table(
    "fills",
    metadata,
    Column("id", _row_id, primary_key=True, autoincrement=True),
    Column("account", String(64), nullable=False),
    Column("symbol", String(32), nullable=False),
    Column("fill_id", String(128), nullable=False),
    # A fill finds its order through (account, symbol, venue order id), so that it may be heard of before the
    # order's id
    Column("venue_order_id", String(128), nullable=False),
    Column("side", String(8), nullable=False),
    Column("price", Amount(48), nullable=False),
    Column("quantity", Amount(48), nullable=False),
    Column("quote_quantity", Amount(48), nullable=False),
    Column("fee", Amount(48), nullable=False),
    Column("fee_currency", String(16), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("maker", Boolean),
    Column("sequence", BigInteger, nullable=False, server_default="0"),
    Column("recorded_at", UtcTime, nullable=False),
    Column("event_seq", BigInteger, nullable=False),
    UniqueConstraint("account", "symbol", "fill_id", name="fills_once"),
    Index("fills_by_time", "account", "at"),
    Index("fills_by_symbol_and_time", "account", "symbol", "at"),
    Index("fills_by_row", "account", "id"),
    Index("fills_by_order", "account", "venue_order_id"),
)

# Append-only. `detail` is hashed as the text that stands here.
events = Table(
    "events",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("account", String(64), nullable=False),
    Column("subject", String(200), nullable=False),  # order: its client order id; fill: symbol and fill id; ...
    Column("kind", String(32), nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("events_by_subject", "account", "subject"),
)

# One row: where the chain ends. Without it a removed last event would leave no trace.
chain_head = Table(
    "chain_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)

openings = Table(
    "openings",
    metadata,
    Column("account", String(64), primary_key=True),
    Column("balances", Json, nullable=False),  # asset -> total
    Column("at", UtcTime, nullable=False),
)

adjustments = Table(
    "adjustments",
    metadata,
    Column("id", _row_id, primary_key=True, autoincrement=True),
    Column("account", String(64), nullable=False),
    Column("asset", String(16), nullable=False),
    Column("change", Amount(48), nullable=False),
    Column("by", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    ForeignKeyConstraint(["account"], ["openings.account"], name="adjustments_need_an_opening"),
    Index("adjustments_by_account", "account"),
)

balance_snapshots = Table(
    "balance_snapshots",
    metadata,
    Column("id", _row_id, primary_key=True, autoincrement=True),
    Column("account", String(64), nullable=False),
    Column("balances", Json, nullable=False),  # asset -> [free, locked]
    Column("at", UtcTime, nullable=False),
    Index("balance_snapshots_by_account", "account", "id"),
)

equity_points = Table(
    "equity_points",
    metadata,
    Column("id", _row_id, primary_key=True, autoincrement=True),
    Column("account", String(64), nullable=False),
    Column("quote", String(16), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("equity", Amount(48), nullable=False),
    Column("peak", Amount(48), nullable=False),
    Column("event_seq", BigInteger),  # null only in a row that nobody recorded
    Index("equity_points_by_account", "account", "quote", "id"),
    Index("equity_points_by_time", "account", "quote", "at"),
)

cycles = Table(
    "cycles",
    metadata,
    Column("id", _row_id, primary_key=True, autoincrement=True),
    Column("cycle_id", String(64), nullable=False),
    Column("account", String(64), nullable=False),
    Column("symbol", String(32), nullable=False),
    Column("rung", String(32), nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("finished_at", UtcTime, nullable=False),
    Column("ok", Boolean, nullable=False),
    Column("flow_run_id", String(64)),
    Column("report", Json, nullable=False),
    Column("counted", Boolean, nullable=False, server_default=text("true")),  # false: it began before an earlier one
    Column("event_seq", BigInteger),  # null only in a row that nobody recorded
    UniqueConstraint("account", "cycle_id", name="cycles_once"),
    Index("cycles_by_time", "account", "started_at"),
    Index("cycles_by_symbol", "account", "symbol", "id"),
    Index("cycles_by_symbol_and_time", "account", "symbol", "started_at"),
)

rungs = Table(
    "rungs",
    metadata,
    Column("id", _row_id, primary_key=True, autoincrement=True),
    Column("account", String(64), nullable=False),
    Column("symbol", String(32), nullable=False),
    Column("rung", String(32), nullable=False),
    Column("max_quantity", Amount(48), nullable=False),
    Column("evidence", Json, nullable=False),
    Column("approved_by", String(200), nullable=False),
    Column("issued_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("event_seq", BigInteger, nullable=False),
    # null in certificates of before revision 0002: nothing was examined
    Column("fingerprint", Json),
    Column("max_position", Amount(48)),
    Column("max_orders_per_day", Integer),
    Index("rungs_by_account", "account", "symbol", "id"),
)

latches = Table(
    "latches",
    metadata,
    Column("id", _row_id, primary_key=True, autoincrement=True),
    Column("account", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", String(200), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("rearmed_by", String(200)),
    Column("rearmed_reason", Text),
    Column("rearmed_at", UtcTime),
    Index("latches_by_account", "account", "at"),
    Index(
        "latches_one_in_force",
        "account",
        unique=True,
        sqlite_where=text("rearmed_at IS NULL"),
        postgresql_where=text("rearmed_at IS NULL"),
    ),
)

# What a venue told of its rules when it was last looked at. No part of the chain: it proves nothing, it is compared.
venue_snapshots = Table(
    "venue_snapshots",
    metadata,
    Column("id", _row_id, primary_key=True, autoincrement=True),
    Column("account", String(64), nullable=False),
    Column("symbol", String(32), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("told", Json, nullable=False),
    Index("venue_snapshots_by_account", "account", "symbol", "id"),
)

# Which processes run, and what. One row a process, overwritten; those that end in order take theirs away.
heartbeats = Table(
    "heartbeats",
    metadata,
    Column("host", String(128), primary_key=True),
    Column("process", String(64), primary_key=True),  # trader bybit, worker, ...
    Column("pid", Integer, nullable=False),
    Column("version", String(64), nullable=False),
    Column("code", String(16), nullable=False),  # of the sources that it was started with
    Column("started_at", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
)
