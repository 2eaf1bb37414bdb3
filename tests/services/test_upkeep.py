"""The findings of the maintenance: drill, dependencies, database, logs, signs of life."""

import asyncio
import contextlib
import gzip
import os
import sqlite3
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

import pytest

from config.loader import load_settings
from config.settings import Settings
from services.backup import backup_directory, backups_in
from services.dependencies import dependency_checks
from services.heartbeat import code_on_disk, heartbeat_checks, heartbeat_of, showing_life
from services.housekeeping import database_checks, log_checks
from services.ledger import Ledger, RungRecord
from services.ledger_upkeep import Heartbeat
from services.logs import no_rotation
from services.upkeep import backup_checks, drill_checks
from tests.services.samples import ACCOUNT, NOW, SYMBOL
from tests.services.test_backup import some_days
from trading.checks import Check


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("CRYPTO_BOT_BACKUP_KEY", "correct horse battery staple")
    made = load_settings(overrides=[f"home={tmp_path / 'home'}"], environ={})
    with contextlib.closing(Ledger(made.ledger_url)) as ledger:
        some_days(ledger, ledger.take_lease(ACCOUNT, "host:1", NOW, 60))
    return made


def wrong(checks: Sequence[Check]) -> list[str]:
    return [f"{check.name}: {check.detail}" for check in checks if not check.passed]


def test_the_drill_proves_the_newest_backup_and_touches_nothing(settings: Settings) -> None:
    assert wrong(drill_checks(settings, NOW)) == [f"newest backup: there is none in {backup_directory(settings)}"]
    backup_checks(settings, {}, NOW)
    before = (settings.home / "ledger.db").read_bytes()
    found = drill_checks(settings, NOW + timedelta(hours=1))
    assert wrong(found) == []
    assert [check.name for check in found] == ["newest backup", "restored", "chain", "rows"]
    assert "verified: 22 events" in found[2].detail
    assert (settings.home / "ledger.db").read_bytes() == before
    (old,) = wrong(drill_checks(settings, NOW + timedelta(hours=31)))
    assert "31.0 hours old" in old


def test_the_drill_names_what_is_wrong_with_a_backup(settings: Settings) -> None:
    with contextlib.closing(sqlite3.connect(settings.home / "ledger.db")) as edited, edited:
        edited.execute("UPDATE events SET detail = '{}' WHERE seq = 7")
    assert "event 7" in wrong(backup_checks(settings, {}, NOW))[0]
    assert "event 7" in wrong(drill_checks(settings, NOW))[0]
    (path,) = backups_in(backup_directory(settings))
    path.write_bytes(path.read_bytes()[:-1])
    assert "piece 1" in wrong(drill_checks(settings, NOW))[0]


# -- dependencies


def says(text: str, *, status: int = 0, seconds: float = 0) -> tuple[str, ...]:
    code = f"import sys, time; time.sleep({seconds}); print({text!r}); print('no route to host', file=sys.stderr)"
    return (sys.executable, "-S", "-c", f"{code}; sys.exit({status})")


OUTDATED = (
    '[{"name": "ccxt", "version": "1.0", "latest_version": "2.0"},'
    ' {"name": "six", "version": "1", "latest_version": "2"}]'
)
SAFE = '{"dependencies": [{"name": "ccxt", "version": "1.0", "vulns": []}]}'
UNSAFE = (
    '{"dependencies": [{"name": "aiohttp", "version": "1.0", '
    '"vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}], "fixes": []}'
)


def certificate(ccxt: str) -> RungRecord:
    until = NOW + timedelta(days=1)
    return RungRecord(ACCOUNT, SYMBOL, "paper", Decimal(1), {}, "hanako", NOW, until, {"ccxt": ccxt})


def test_newer_packages_are_news_and_a_newer_ccxt_says_what_it_would_void() -> None:
    found = dependency_checks([certificate(version("ccxt"))], pip=says(OUTDATED), audit=says(SAFE))
    assert wrong(found) == []
    told = {check.name: check.detail for check in found}
    assert told["newer versions"] == "ccxt 1.0 → 2.0; 1 below them"
    assert "voids every certificate" in told["newer ccxt"]
    assert told["security notices"] == "none for 1 packages"


def test_a_known_vulnerability_and_a_changed_ccxt_are_wrong() -> None:
    found = dependency_checks([certificate("0.1")], pip=says("[]"), audit=says(UNSAFE, status=1))
    assert wrong(found) == [
        f"ccxt and the certificate of bitbank: ccxt {version('ccxt')} is installed, paper was earned with 0.1: "
        "it begins with the first check",
        "security notices: aiohttp 1.0: PYSEC-1, repaired in 1.1",
    ]


def test_an_index_that_is_not_reached_is_said_and_is_no_failure() -> None:
    found = dependency_checks([], pip=says("", status=1), audit=says("", seconds=30), seconds=1.0)
    assert wrong(found) == []
    told = {check.name: check.detail for check in found}
    assert told["newer versions"] == "not known: no route to host"
    assert told["security notices"] == "not known: no answer in 1 s"
    found = dependency_checks([], pip=("/no/such/program",), audit=says('{"other": 1}'))
    assert wrong(found) == [] and all("not known" in each.detail for each in found[1:])
    found = dependency_checks([], pip=says("[]"), audit=says(SAFE))  # what pip prints without an index, with status 0
    assert (
        "not known: no package was found in the index" in {each.name: each.detail for each in found}["newer versions"]
    )


def test_notices_of_packages_that_were_not_looked_up_are_not_told_as_none() -> None:
    skipped = '{"name": "aiohttp", "skip_reason": "Dependency not found on PyPI and could not be audited"}'
    found = dependency_checks([], pip=says(OUTDATED), audit=says(f'{{"dependencies": [{skipped}]}}'))
    assert found[-1].detail == "not known: none of 1 packages could be looked up"
    found = dependency_checks([], pip=says(OUTDATED), audit=says(SAFE.replace("[{", f"[{skipped}, {{", 1)))
    assert found[-1].detail == "none for 1 packages; 1 packages could not be looked up"


def test_a_strangers_package_of_our_name_is_no_news() -> None:
    listed = '[{"name": "crypto-bot", "version": "0.1.0", "latest_version": "3.5.4"}]'
    unsafe = UNSAFE.replace("aiohttp", "crypto-bot")
    found = dependency_checks([], pip=says(listed), audit=says(unsafe, status=1))
    assert wrong(found) == []
    assert not [each for each in found if "3.5.4" in each.detail or "PYSEC-1" in each.detail]


# -- database and logs


def test_the_database_is_proved_and_its_log_folded_in_while_it_is_open(settings: Settings) -> None:
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        some_orders = len(ledger.orders(ACCOUNT))
        assert wrong(database_checks(settings)) == []
        assert (settings.home / "ledger.db-wal").stat().st_size == 0
        assert len(ledger.orders(ACCOUNT)) == some_orders


def test_a_damaged_page_is_named(settings: Settings) -> None:
    path = settings.home / "ledger.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'fills_by_time'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * 8)
    assert wrong(database_checks(settings))


def test_a_log_that_only_grows_is_cut_while_it_is_written_and_old_ones_go(settings: Settings) -> None:
    folder = settings.home / "logs"
    folder.mkdir()
    growing = folder / "worker.log"
    old, young, other = folder / "crypto-bot.log.3", folder / "crypto-bot.log.1", folder / "notes.txt"
    for path in (old, young, other):
        path.write_text("a line\n")
    long_ago = (NOW - timedelta(days=31)).timestamp()
    for path in (old, other):
        os.utime(path, (long_ago, long_ago))
    os.utime(young, (NOW.timestamp(), NOW.timestamp()))
    with growing.open("a") as child:
        child.write("x" * 10_000_001)
        child.flush()
        (told,) = log_checks(settings, NOW)
        child.write("after")
    assert told.detail == "1 cut (worker.log), 1 old ones removed"
    assert growing.read_text() == "after"
    assert len(gzip.decompress((folder / "worker.log.1.gz").read_bytes())) == 10_000_001
    assert not old.exists() and young.exists() and other.exists()


def test_an_old_log_is_removed_by_a_name_that_no_rotation_gives_to_another(settings: Settings) -> None:
    old, young = (settings.log_file.with_name(f"{settings.log_file.name}.{number}") for number in (2, 1))
    with ThreadPoolExecutor(1) as maintenance, no_rotation(settings.log_file):
        for path, when in ((old, NOW - timedelta(days=31)), (young, NOW)):
            path.write_text("a line\n")
            os.utime(path, (when.timestamp(), when.timestamp()))
        begun = maintenance.submit(log_checks, settings, NOW)
        with pytest.raises(TimeoutError):
            begun.result(timeout=0.2)
        old.rename(settings.log_file.with_name(f"{settings.log_file.name}.3"))
        young.rename(old)
    assert begun.result(timeout=5)[0].detail == "0 cut, 1 old ones removed"
    assert old.exists()  # the young one, which bears its name now


# -- signs of life


def beat(process: str, *, code: str = "", age: float = 10) -> Heartbeat:
    return heartbeat_of(process, 1, code or code_on_disk(), NOW, NOW - timedelta(seconds=age))


def judged(settings: Settings, *beats: Heartbeat, now: datetime = NOW) -> list[str]:
    return wrong(heartbeat_checks(settings, beats, code_on_disk(), now))


def test_a_process_that_is_silent_or_runs_older_code_is_named(settings: Settings) -> None:
    assert judged(settings) == []
    assert judged(settings, beat("worker"), beat("trader bybit", age=170)) == []
    (gone,) = judged(settings, beat("worker"), beat("trader bybit", age=190))
    assert gone.startswith("trader bybit") and "gone or hangs" in gone
    (older,) = judged(settings, beat("worker", code="0123456789ab"), beat("trader bybit"))
    assert older.startswith("worker") and "start it again" in older
    assert judged(settings, beat("trader bybit"), now=NOW + timedelta(days=8)) == []  # told long enough


async def test_a_process_leaves_its_sign_of_life_and_takes_it_away(settings: Settings) -> None:
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        async with showing_life("trader bybit", ledger):
            await asyncio.sleep(0.05)
            (told,) = ledger.heartbeats()
            assert (told.process, told.pid, told.code) == ("trader bybit", os.getpid(), code_on_disk())
        assert ledger.heartbeats() == ()
        ledger.beat(beat("worker"))
        ledger.beat(beat("worker", age=1))
        assert [each.seen_at for each in ledger.heartbeats()] == [NOW - timedelta(seconds=1)]
        ledger.end_beat(told.host, "worker", 4711)  # another process's
        assert len(ledger.heartbeats()) == 1
