"""The first tables, and the head of an empty event chain."""

import sqlalchemy as sa
from alembic import op

from services import ledger_tables as types

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "balance_snapshots",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("balances", types.Json(), nullable=False),
        sa.Column("at", types.UtcTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("balance_snapshots_by_account", "balance_snapshots", ["account", "id"], unique=False)
    op.create_table(
        "chain_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "cycles",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("cycle_id", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("symbol", sa.String(length=32), nullable=False),
        sa.Column("rung", sa.String(length=32), nullable=False),
        sa.Column("started_at", types.UtcTime(timezone=True), nullable=False),
        sa.Column("finished_at", types.UtcTime(timezone=True), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("flow_run_id", sa.String(length=64), nullable=True),
        sa.Column("report", types.Json(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account", "cycle_id", name="cycles_once"),
    )
    op.create_index("cycles_by_time", "cycles", ["account", "started_at"], unique=False)
    op.create_table(
        "equity_points",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("quote", sa.String(length=16), nullable=False),
        sa.Column("at", types.UtcTime(timezone=True), nullable=False),
        sa.Column("equity", types.Amount(length=48), nullable=False),
        sa.Column("peak", types.Amount(length=48), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("equity_points_by_account", "equity_points", ["account", "quote", "id"], unique=False)
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", types.UtcTime(timezone=True), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("events_by_subject", "events", ["account", "subject"], unique=False)
    op.create_table(
        "fills",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("symbol", sa.String(length=32), nullable=False),
        sa.Column("fill_id", sa.String(length=128), nullable=False),
        sa.Column("venue_order_id", sa.String(length=128), nullable=False),
        sa.Column("side", sa.String(length=8), nullable=False),
        sa.Column("price", types.Amount(length=48), nullable=False),
        sa.Column("quantity", types.Amount(length=48), nullable=False),
        sa.Column("quote_quantity", types.Amount(length=48), nullable=False),
        sa.Column("fee", types.Amount(length=48), nullable=False),
        sa.Column("fee_currency", sa.String(length=16), nullable=False),
        sa.Column("at", types.UtcTime(timezone=True), nullable=False),
        sa.Column("maker", sa.Boolean(), nullable=True),
        sa.Column("recorded_at", types.UtcTime(timezone=True), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account", "symbol", "fill_id", name="fills_once"),
    )
    op.create_index("fills_by_order", "fills", ["account", "venue_order_id"], unique=False)
    op.create_index("fills_by_time", "fills", ["account", "at"], unique=False)
    op.create_table(
        "latches",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("at", types.UtcTime(timezone=True), nullable=False),
        sa.Column("rearmed_by", sa.String(length=200), nullable=True),
        sa.Column("rearmed_reason", sa.Text(), nullable=True),
        sa.Column("rearmed_at", types.UtcTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "latches_one_in_force",
        "latches",
        ["account"],
        unique=True,
        sqlite_where=sa.text("rearmed_at IS NULL"),
        postgresql_where=sa.text("rearmed_at IS NULL"),
    )
    op.create_table(
        "leases",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(length=200), nullable=True),
        sa.Column("expires_at", types.UtcTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "openings",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("balances", types.Json(), nullable=False),
        sa.Column("at", types.UtcTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("client_order_id", sa.String(length=64), nullable=False),
        sa.Column("venue", sa.String(length=32), nullable=False),
        sa.Column("symbol", sa.String(length=32), nullable=False),
        sa.Column("side", sa.String(length=8), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("quantity", types.Amount(length=48), nullable=False),
        sa.Column("price", types.Amount(length=48), nullable=True),
        sa.Column("time_in_force", sa.String(length=16), nullable=False),
        sa.Column("decision_price", types.Amount(length=48), nullable=False),
        sa.Column("decided_at", types.UtcTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("reduce_only", sa.Boolean(), nullable=False),
        sa.Column("target_quantity", types.Amount(length=48), nullable=True),
        sa.Column("rung", sa.String(length=32), nullable=False),
        sa.Column("cycle_id", sa.String(length=64), nullable=True),
        sa.Column("lease_token", sa.Integer(), nullable=False),
        sa.Column("known_ids", types.Json(), nullable=False),
        sa.Column("created_at", types.UtcTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("is_open", sa.Integer(), nullable=False),
        sa.Column("venue_order_id", sa.String(length=128), nullable=True),
        sa.Column("filled", types.Amount(length=48), nullable=False),
        sa.Column("sent_at", types.UtcTime(timezone=True), nullable=True),
        sa.Column("updated_at", types.UtcTime(timezone=True), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account", "client_order_id", name="orders_client_order_id_once"),
        sa.UniqueConstraint("account", "symbol", "venue_order_id", name="orders_venue_order_id_once"),
    )
    op.create_index("orders_by_time", "orders", ["account", "created_at"], unique=False)
    op.create_index("orders_by_venue_id", "orders", ["account", "venue_order_id"], unique=False)
    op.create_index(
        "orders_open",
        "orders",
        ["account", "symbol"],
        unique=False,
        sqlite_where=sa.text("is_open = 1"),
        postgresql_where=sa.text("is_open = 1"),
    )
    op.create_table(
        "rungs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("symbol", sa.String(length=32), nullable=False),
        sa.Column("rung", sa.String(length=32), nullable=False),
        sa.Column("max_quantity", types.Amount(length=48), nullable=False),
        sa.Column("evidence", types.Json(), nullable=False),
        sa.Column("approved_by", sa.String(length=200), nullable=False),
        sa.Column("issued_at", types.UtcTime(timezone=True), nullable=False),
        sa.Column("expires_at", types.UtcTime(timezone=True), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("rungs_by_account", "rungs", ["account", "symbol", "id"], unique=False)
    op.create_table(
        "adjustments",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("asset", sa.String(length=16), nullable=False),
        sa.Column("change", types.Amount(length=48), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", types.UtcTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["openings.account"], name="adjustments_need_an_opening"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("adjustments_by_account", "adjustments", ["account"], unique=False)
    # the hash before the first event is 64 zeros
    op.execute("INSERT INTO chain_head (id, seq, hash) VALUES (1, 0, '" + "0" * 64 + "')")


def downgrade() -> None:
    """Refuse: a ledger does not go back."""
    raise RuntimeError("the ledger keeps its records: a copy made before the upgrade is the way back")
