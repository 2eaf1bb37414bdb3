"""${message}"""

import sqlalchemy as sa
from alembic import op

from services import ledger_tables as types

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    # A ledger is never taken back: restore a backup instead.
    raise NotImplementedError("the ledger does not go back; restore a backup")
