"""What venues last told of their rules, and which processes run."""

import sqlalchemy as sa
from alembic import op

from services import ledger_tables as types

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both tables, empty."""
    op.create_table(
        "venue_snapshots",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("symbol", sa.String(length=32), nullable=False),
        sa.Column("at", types.UtcTime(timezone=True), nullable=False),
        sa.Column("told", types.Json(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("venue_snapshots_by_account", "venue_snapshots", ["account", "symbol", "id"], unique=False)
    op.create_table(
        "heartbeats",
        sa.Column("host", sa.String(length=128), nullable=False),
        sa.Column("process", sa.String(length=64), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=16), nullable=False),
        sa.Column("started_at", types.UtcTime(timezone=True), nullable=False),
        sa.Column("seen_at", types.UtcTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("host", "process"),
    )


def downgrade() -> None:
    """Refuse: a ledger does not go back."""
    raise RuntimeError("the ledger keeps its records: a copy made before the upgrade is the way back")
