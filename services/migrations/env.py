"""Alembic's entry: runs the revisions on the connection that services/ledger_database.py hands over."""

from alembic import context

from services.ledger_tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("the ledger migrates itself when it is opened: `crypto-bot status` is enough")
context.configure(
    connection=connection,
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite too: we begin the transaction ourselves
    user_module_prefix="types.",
)
with context.begin_transaction():
    context.run_migrations()
