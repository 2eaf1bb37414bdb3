import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, insert, make_url, text

import services
from config.errors import ConfigurationError
from services.ledger import CycleRecord, Lease, Ledger, LedgerUnavailable, RungRecord
from services.ledger_chain import append
from services.ledger_tables import SCHEMA_VERSION, canonical_json, cycles, equity_points, metadata, rungs
from tests.services.samples import ACCOUNT, NOW, SYMBOL, client_id, intent, resting, write
from trading.orders import State


def file_url(path: Path) -> str:
    return f"sqlite:///{path}"


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_opening_creates_the_home_and_every_table(tmp_path: Path) -> None:
    Ledger(file_url(tmp_path / "new" / "home" / "ledger.db")).close()
    assert (tmp_path / "new" / "home" / "ledger.db").exists()


def test_the_migrations_lead_to_the_tables_that_the_code_uses(ledger: Ledger, ledger_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(str(services.__file__)).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA_VERSION
    engine = create_engine(ledger_url)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    assert differences == []


def test_a_ledger_of_the_first_version_is_brought_up_with_its_chain_whole(ledger: Ledger, ledger_url: str) -> None:
    """Certificates of then name nothing that was examined; cycles and worths of then get their events."""
    cycle = CycleRecord("c1", ACCOUNT, SYMBOL, "paper", NOW, NOW, True, None, {"error": "", "breach": ""})
    certificate = RungRecord(ACCOUNT, SYMBOL, "paper", Decimal(1), {}, "hanako", NOW, NOW + timedelta(days=1))
    ledger.close()
    engine = create_engine(ledger_url)
    with engine.begin() as connection:
        metadata.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
        config = Config()
        config.set_main_option("script_location", str(Path(str(services.__file__)).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        told = ("rung", "max_quantity", "evidence", "approved_by", "issued_at", "expires_at")
        detail = canonical_json({name: getattr(certificate, name) for name in told})
        seq = append(connection, ACCOUNT, NOW, [(SYMBOL, "rung", detail)])
        old = {"account": ACCOUNT, "symbol": SYMBOL, "event_seq": seq, **{n: getattr(certificate, n) for n in told}}
        connection.execute(insert(rungs).values(old))
        row = {n: getattr(cycle, n) for n in ("cycle_id", "account", "symbol", "rung", "started_at", "finished_at")}
        connection.execute(insert(cycles).values({**row, "ok": True, "report": dict(cycle.report)}))
        worth = {"account": ACCOUNT, "quote": "JPY", "at": NOW, "equity": Decimal(5), "peak": Decimal(6)}
        connection.execute(insert(equity_points).values(worth))
    engine.dispose()
    brought_up = Ledger(ledger_url)
    assert brought_up.verify_chain() is None
    assert brought_up.cycles(ACCOUNT) == (cycle,)
    record = brought_up.rung(ACCOUNT, SYMBOL)
    assert record is not None and record.fingerprint == {} and record.max_orders_per_day is None
    assert brought_up.record_equity(ACCOUNT, "JPY", Decimal(1), NOW).peak == 6
    brought_up.close()


def test_a_ledger_that_is_up_to_date_opens_without_importing_alembic(ledger: Ledger, ledger_url: str) -> None:
    done = run(
        "import sys\nfrom services.ledger import Ledger\nLedger(sys.argv[1])\nprint('alembic' in sys.modules)",
        ledger_url,
    )
    assert done.stdout == "False\n", done.stderr


def test_a_postgresql_that_was_set_up_without_a_locale_keeps_japanese_words(postgres_url: str) -> None:
    url = make_url(postgres_url).set(drivername="postgresql+psycopg")
    name = f"ascii_{uuid4().hex}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(
            text(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        )
    ledger = Ledger(url.set(database=name).render_as_string(hide_password=False))
    ledger.latch(ACCOUNT, "値動きが荒い", "花子", NOW)
    latch = ledger.latched(ACCOUNT)
    assert latch is not None and (latch.by, latch.reason) == ("花子", "値動きが荒い")
    assert ledger.verify_chain() is None
    ledger.close()
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name}"))
    admin.dispose()


def test_opening_prints_nothing(tmp_path: Path) -> None:
    code = (
        "import logging, sys\nlogging.basicConfig(level=logging.INFO)\n"
        "from services.ledger import Ledger\nLedger(sys.argv[1])"
    )
    done = run(code, file_url(tmp_path / "ledger.db"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_processes_that_open_a_new_ledger_at_once_all_succeed(tmp_path: Path, ledger_url: str) -> None:
    code = (
        "import sys\nfrom services.ledger import Ledger\nprint('ready', flush=True)\nsys.stdin.readline()\n"
        "print(Ledger(sys.argv[1]).verify_chain())"
    )
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", code, ledger_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for each in openers:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in openers:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    answers = [each.communicate(timeout=60) for each in openers]
    assert [out for out, _ in answers] == ["None\n"] * 3, answers


def test_a_ledger_of_a_newer_version_is_not_touched(ledger: Ledger, ledger_url: str) -> None:
    engine = create_engine(ledger_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(ConfigurationError, match="written by a newer crypto-bot"):
        Ledger(ledger_url)


def test_a_committed_intent_survives_the_kill_of_its_process(tmp_path: Path) -> None:
    url = file_url(tmp_path / "ledger.db")
    code = (
        "import os, signal, sys\n"
        "from services.ledger import Ledger\n"
        "from tests.services.samples import *\n"
        "ledger = Ledger(sys.argv[1])\n"
        "write(ledger, ledger.take_lease(ACCOUNT, 'host:1', NOW, 60), intent())\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert run(code, url).returncode == -signal.SIGKILL
    ledger = Ledger(url)
    assert [order.intent for order in ledger.in_flight(ACCOUNT)] == [intent()]
    assert ledger.verify_chain() is None
    ledger.close()


def test_every_connection_is_durable_and_keeps_foreign_keys(tmp_path: Path) -> None:
    ledger = Ledger(file_url(tmp_path / "ledger.db"))
    with ledger._database.reading() as first, ledger._database.reading() as second:
        for connection in (first, second):
            settings = [
                connection.execute(text(f"PRAGMA {name}")).scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            ]
            assert settings == ["wal", 2, 1, 5000]
    ledger.close()


def test_open_orders_are_found_through_their_own_index(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger(file_url(path)).close()
    with sqlite3.connect(path) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT id FROM orders WHERE is_open = 1 AND account = ? ORDER BY id",
            [ACCOUNT],
        ).fetchall()
    connection.close()
    assert "orders_open" in plan[0][3]


def test_a_locked_ledger_refuses_the_intent_and_still_answers_questions(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(file_url(path), busy_seconds=0.1)
    lease = ledger.take_lease(ACCOUNT, "host:1", NOW, 60)
    resting(ledger, lease, 1)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailable, match=r"is locked by another process \(waited 0.1 s\)"):
        write(ledger, lease, intent(2))
    assert len(ledger.in_flight(ACCOUNT)) == 1
    holder.execute("ROLLBACK")
    holder.close()
    write(ledger, lease, intent(2))
    assert len(ledger.in_flight(ACCOUNT)) == 2
    ledger.close()


FILL_THE_DISK = """
import resource, sys
from services.ledger import Ledger, LedgerUnavailable
from tests.services.samples import *
ledger = Ledger(sys.argv[1])
lease = ledger.take_lease(ACCOUNT, "host:1", NOW, 60)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
number = 0
try:
    while True:
        write(ledger, lease, intent(number + 1, reason="x" * 4000))
        number += 1
except LedgerUnavailable as error:
    print(number, error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(len(ledger.orders()), ledger.verify_chain())
"""


def test_when_the_disk_takes_no_more_the_intent_is_refused_whole(tmp_path: Path) -> None:
    done = run(FILL_THE_DISK, file_url(tmp_path / "ledger.db"))
    refusal, after = done.stdout.splitlines()
    written = refusal.split()[0]
    assert int(written) > 0
    assert "cannot be used" in refusal or "is full" in refusal
    assert after == f"{written} None"


def test_a_full_disk_is_called_a_full_disk(tmp_path: Path) -> None:
    ledger = Ledger(file_url(tmp_path / "ledger.db"))
    lease = ledger.take_lease(ACCOUNT, "host:1", NOW, 60)
    with ledger._database.reading() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count={pages}"))
    with pytest.raises(LedgerUnavailable, match=r"the disk of the ledger .* is full .* free some space"):
        for number in range(200):
            write(ledger, lease, intent(number, reason="x" * 4000))
    ledger.close()


def test_a_home_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError) as raised:
        Ledger(file_url(tmp_path / "file" / "ledger.db"))
    assert "set CRYPTO_BOT_HOME" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_home_is_one_clear_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="set CRYPTO_BOT_HOME"):
        Ledger(file_url(tmp_path / "ledger.db"))


def test_a_file_that_is_no_database_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_text("shopping list " * 100)
    with pytest.raises(LedgerUnavailable, match="not a database"):
        Ledger(file_url(path))
    assert path.read_text().startswith("shopping list")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ledger.db", "not a database URL"),
        ("postgresql://u:hunter2@host:port/name", "not a database URL"),
        ("mysql://host/name", "mysql is not supported"),
        ("sqlite://", "in memory would forget"),
        ("sqlite:///:memory:", "in memory would forget"),
        ("postgresql+pg8000://u:hunter2@host/name", "driver pg8000 .* is not installed"),
    ],
)
def test_a_url_that_cannot_work_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        Ledger(url)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("url", ["u:hunter2@127.0.0.1:1/name?", "127.0.0.1:1/name?user=u&password=hunter2&"])
def test_a_database_server_that_does_not_answer_is_unavailable(url: str) -> None:
    pytest.importorskip("psycopg", reason="the PostgreSQL driver is not installed")
    with pytest.raises(LedgerUnavailable) as raised:
        Ledger(f"postgresql+psycopg://{url}connect_timeout=2")
    assert "hunter2" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_two_connections_write_one_after_the_other(ledger: Ledger, lease: Lease, ledger_url: str) -> None:
    other = Ledger(ledger_url)
    for number in range(1, 21):
        write(ledger if number % 2 else other, lease, intent(number))
    other.close()
    assert ledger.verify_chain() is None
    found = ledger.order(ACCOUNT, client_id(20))
    assert found is not None
    assert found.state is State.INTENDED


def test_a_server_that_takes_the_connection_and_says_nothing_is_not_waited_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable):
            Ledger(f"postgresql://bot@127.0.0.1:{silent.getsockname()[1]}/ledger", busy_seconds=1)
    assert time.monotonic() - began < 8
