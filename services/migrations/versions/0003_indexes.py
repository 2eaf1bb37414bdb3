"""Indexes with which what a cycle asks costs the same after years as on the first day; the sequence of fills."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the indexes, and the venue's own order of trades of one moment; of older rows it is not known (0)."""
    op.add_column("fills", sa.Column("sequence", sa.BigInteger(), server_default="0", nullable=False))
    op.create_index("orders_by_symbol", "orders", ["account", "symbol", "id"], unique=False)
    op.create_index("orders_by_symbol_and_time", "orders", ["account", "symbol", "created_at"], unique=False)
    op.create_index("fills_by_symbol_and_time", "fills", ["account", "symbol", "at"], unique=False)
    op.create_index("fills_by_row", "fills", ["account", "id"], unique=False)
    op.create_index("equity_points_by_time", "equity_points", ["account", "quote", "at"], unique=False)
    op.create_index("cycles_by_symbol", "cycles", ["account", "symbol", "id"], unique=False)
    op.create_index("cycles_by_symbol_and_time", "cycles", ["account", "symbol", "started_at"], unique=False)
    op.create_index("latches_by_account", "latches", ["account", "at"], unique=False)


def downgrade() -> None:
    """Refuse: a ledger does not go back."""
    raise RuntimeError("the ledger keeps its records: a copy made before the upgrade is the way back")
