"""The database with which a new Prefect server begins."""

import contextlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import prefect.server.database
import pytest
from alembic.script import ScriptDirectory

from cli.prefect_database import NAME, begin_with_prepared, prepared_database


def test_a_home_without_a_database_begins_with_the_prepared_one_and_one_with_it_keeps_its_own(tmp_path: Path) -> None:
    prepared = tmp_path / "prepared.db"
    home = tmp_path / "home"
    home.mkdir()
    begin_with_prepared(home, prepared)
    assert list(home.iterdir()) == []  # none is prepared: the server migrates
    prepared.write_text("as prepared")
    begin_with_prepared(home, prepared)
    assert [(file.name, file.read_text()) for file in home.iterdir()] == [(NAME, "as prepared")]
    (home / NAME).write_text("with runs")
    begin_with_prepared(home, prepared)
    assert (home / NAME).read_text() == "with runs"
    begin_with_prepared(tmp_path / "nowhere", prepared)  # no place to write: left to the server


def test_two_commands_that_begin_at_once_begin_with_one_database(tmp_path: Path) -> None:
    prepared = tmp_path / "prepared.db"
    prepared.write_bytes(b"as prepared" * 100_000)

    def begun(_: int) -> int:
        begin_with_prepared(tmp_path, prepared)
        return (tmp_path / NAME).stat().st_ino

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(begun, range(8)))) == 1


def test_what_is_prepared_is_migrated_to_the_end_and_holds_nothing_of_anybody() -> None:
    if not prepared_database().is_file():
        pytest.skip("no prepared database: make setup")
    migrations = Path(prefect.server.database.__file__).parent / "_migrations"
    revisions = [str(migrations / "versions" / "sqlite")]
    last = ScriptDirectory(str(migrations), version_locations=revisions).get_current_head()
    with contextlib.closing(sqlite3.connect(prepared_database())) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [(last,)]
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        counts = {name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}
    filled = {name for name, count in counts.items() if count}
    assert filled == {"alembic_version", "block_schema", "block_schema_reference", "block_type"}
