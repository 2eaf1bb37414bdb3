"""Certificates name what was examined and their caps; cycles and equity are covered by the event chain."""

import sqlalchemy as sa
from alembic import op

from services import ledger_tables as types
from services.ledger_accounts import cycle_detail, equity_detail
from services.ledger_chain import append

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and an event for every cycle and worth that has none.

    Certificates of before keep no fingerprint: nothing was examined, so they have to be earned again.
    """
    op.add_column("rungs", sa.Column("fingerprint", types.Json(), nullable=True))
    op.add_column("rungs", sa.Column("max_position", types.Amount(length=48), nullable=True))
    op.add_column("rungs", sa.Column("max_orders_per_day", sa.Integer(), nullable=True))
    op.add_column("cycles", sa.Column("counted", sa.Boolean(), nullable=False, server_default=sa.text("true")))
    op.add_column("cycles", sa.Column("event_seq", sa.BigInteger(), nullable=True))
    op.add_column("equity_points", sa.Column("event_seq", sa.BigInteger(), nullable=True))
    connection = op.get_bind()
    cycles, equity = types.cycles, types.equity_points
    for row in connection.execute(sa.select(cycles).order_by(cycles.c.id)).all():
        entry = (row.cycle_id, "cycle", cycle_detail(row._asdict()))
        seq = append(connection, row.account, row.finished_at, [entry])
        connection.execute(sa.update(cycles).where(cycles.c.id == row.id).values(event_seq=seq))
    for row in connection.execute(sa.select(equity).order_by(equity.c.id)).all():
        seq = append(connection, row.account, row.at, [(row.quote, "equity", equity_detail(row._asdict()))])
        connection.execute(sa.update(equity).where(equity.c.id == row.id).values(event_seq=seq))


def downgrade() -> None:
    """Refuse: a ledger does not go back."""
    raise RuntimeError("the ledger keeps its records: a copy made before the upgrade is the way back")
