"""A backup holds one moment of the ledger, opens with its secret alone, and never costs an older one."""

import contextlib
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from config.errors import ConfigurationError
from config.loader import load_settings
from config.secret import Secret
from config.settings import Settings
from services.archive import BackupUnreadable
from services.backup import (
    BackupFailed,
    backup_directory,
    backup_secret,
    backups_in,
    make_backup,
    prove_backup,
    read_backup,
    taken_at,
)
from services.backup_texts import settings_texts
from services.ledger import Lease, Ledger
from tests.services.samples import ACCOUNT, NOW, fill, resting

SECRET = Secret("a secret for the tests of backups")
TEXTS = {"settings.yml": "home: here\n", "config/1-my.yml": "risk: {}\n"}


@pytest.fixture
def settings(tmp_path: Path, ledger_url: str) -> Settings:
    return load_settings(overrides=[f"ledger.url={ledger_url}", f"home={tmp_path / 'home'}"], environ={})


def some_days(ledger: Ledger, lease: Lease) -> None:
    for number in range(1, 6):
        resting(ledger, lease, number)
    ledger.record_fills(ACCOUNT, [fill(number, venue_order_id=f"v{number}") for number in range(1, 6)], NOW)
    ledger.set_opening(ACCOUNT, {"JPY": Decimal("5000000.0001")}, NOW)
    ledger.adjust(ACCOUNT, "JPY", Decimal("-0.5"), "hanako", "手数料", NOW)


def test_a_backup_holds_the_ledger_of_that_moment_and_nothing_later(
    settings: Settings, ledger: Ledger, lease: Lease, tmp_path: Path
) -> None:
    some_days(ledger, lease)
    head, counts, orders = ledger.head(), ledger.counts(), ledger.orders(ACCOUNT)
    made = make_backup(settings, TEXTS, SECRET, NOW)
    resting(ledger, lease, 99)
    assert (made.manifest.head, made.manifest.counts, made.manifest.fault) == (head, counts, None)
    assert made.path == backup_directory(settings) / "crypto-bot-20261122T030000Z.backup"
    assert taken_at(made.path) == NOW.replace(microsecond=0)
    room = tmp_path / "room"
    room.mkdir()
    proved = prove_backup(made.path, SECRET, room)
    assert proved.is_sound
    with contextlib.closing(Ledger(f"sqlite:///{proved.ledger}")) as copied:
        assert copied.orders(ACCOUNT) == orders and copied.head() == head
        assert copied.adjustments(ACCOUNT) == ledger.adjustments(ACCOUNT)
    assert (room / "settings.yml").read_text() == "home: here\n"
    assert (room / "config" / "1-my.yml").read_text() == "risk: {}\n"


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Settings]:
    """Settings of a home whose SQLite ledger has something in it."""
    made = load_settings(overrides=[f"home={tmp_path / 'home'}"], environ={})
    with contextlib.closing(Ledger(made.ledger_url)) as ledger:
        some_days(ledger, ledger.take_lease(ACCOUNT, "host:1", NOW, 60))
    yield made


def test_backups_made_while_a_trader_writes_are_each_of_one_moment(lone: Settings, tmp_path: Path) -> None:
    stop, written = threading.Event(), 100

    def trade() -> None:
        nonlocal written
        with contextlib.closing(Ledger(lone.ledger_url)) as own:
            lease = own.take_lease(ACCOUNT, "host:1", NOW, 60)
            while not stop.is_set():
                written += 1
                resting(own, lease, written)

    thread = threading.Thread(target=trade)
    thread.start()
    try:
        made = [make_backup(lone, {}, SECRET, NOW + timedelta(seconds=each)) for each in range(2)]
    finally:
        stop.set()
        thread.join()
    for number, each in enumerate(made):
        room = tmp_path / f"room{number}"
        room.mkdir()
        assert prove_backup(each.path, SECRET, room).is_sound
    heads = [each.manifest.head.seq for each in made]
    assert heads == sorted(set(heads)), heads  # it was written all the while


def test_nothing_of_it_can_be_read_without_the_secret(lone: Settings) -> None:
    made = make_backup(lone, TEXTS, SECRET, NOW)
    written = made.path.read_bytes()
    for told in (b"BTC/JPY", b"SQLite", b"manifest", b"risk"):
        assert told not in written
    assert made.path.stat().st_mode & 0o077 == 0
    with pytest.raises(BackupUnreadable, match="the secret does not open it"):
        read_backup(made.path, Secret("another secret, also a long one"))


def test_a_file_that_was_changed_cut_or_is_no_backup_is_told(lone: Settings, tmp_path: Path) -> None:
    noise = {"config/1-noise.yml": os.urandom(1_100_000).hex()}  # more than one piece
    path = make_backup(lone, noise, SECRET, NOW).path
    whole = path.read_bytes()
    assert len(whole) > 1 << 20
    bad = tmp_path / "bad.backup"
    for place in (30, len(whole) // 2, len(whole) - 1):
        bad.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(BackupUnreadable):
            read_backup(bad, SECRET)
    piece = (1 << 20) + 16
    for cut in (whole[:10], whole[: 31 + piece], whole[:-20], whole + b"more", b"", b"a text"):
        bad.write_bytes(cut)
        with pytest.raises(BackupUnreadable):
            read_backup(bad, SECRET)
    bad.write_bytes(whole[: 31 + piece] + whole[31:])  # a piece twice
    with pytest.raises(BackupUnreadable, match="piece 2"):
        read_backup(bad, SECRET)
    assert read_backup(path, SECRET).fault is None


def test_old_backups_go_when_a_new_one_was_read_and_not_while_the_ledger_is_unsound(lone: Settings) -> None:
    kept = lone.model_copy(update={"maintenance": lone.maintenance.model_copy(update={"backups_kept": 2})})
    other = backup_directory(lone) / "crypto-bot-notes.backup"
    other.parent.mkdir()
    other.write_text("somebody else's")
    for day in range(3):
        made = make_backup(kept, {}, SECRET, NOW + timedelta(days=day))
    assert made.removed == ("crypto-bot-20261122T030000Z.backup",)
    assert len(backups_in(backup_directory(lone))) == 2 and other.exists()
    with contextlib.closing(sqlite3.connect(lone.home / "ledger.db")) as edited, edited:
        edited.execute("UPDATE fills SET price = '1' WHERE id = 3")
    made = make_backup(kept, {}, SECRET, NOW + timedelta(days=4))
    assert made.manifest.fault is not None and "t3" in made.manifest.fault and made.removed == ()
    assert len(backups_in(backup_directory(lone))) == 3


def test_a_full_disk_leaves_the_last_backup_whole_and_no_half_one(lone: Settings) -> None:
    """No file of this process may grow over a size: the parts fit, the backup of all of them does not."""
    first = make_backup(lone, {}, SECRET, NOW)
    noise = {f"config/{number}.yml": os.urandom(200_000).hex() for number in range(4)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, before[1]))
    try:
        with pytest.raises(BackupFailed, match=f"still {first.path.name}"):
            make_backup(lone, noise, SECRET, NOW + timedelta(days=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in backup_directory(lone).iterdir()) == [first.path.name]
    assert read_backup(first.path, SECRET) == first.manifest
    assert list((lone.home / "scratch").iterdir()) == []


def test_what_a_killed_backup_left_is_cleared_and_two_are_not_made_at_once(lone: Settings) -> None:
    code = (
        "import sys, time\nfrom config.loader import load_settings\nfrom services import backup\n"
        "settings = load_settings(overrides=[f'home={sys.argv[1]}'], environ={})\n"
        "with backup._alone(settings.home), backup.scratch(settings.home) as room:\n"
        "    (room / 'ledger.db').write_text('in the clear')\n    print('ready', flush=True)\n    time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(lone.home)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "ready\n"
    with pytest.raises(BackupFailed, match="another backup"):
        make_backup(lone, {}, SECRET, NOW)
    other.send_signal(signal.SIGKILL)
    other.wait()
    other.stdout.close()
    assert list((lone.home / "scratch").iterdir())
    make_backup(lone, {}, SECRET, NOW)
    assert list((lone.home / "scratch").iterdir()) == []


def test_without_a_secret_or_with_a_short_one_no_backup_is_made(
    lone: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="CRYPTO_BOT_BACKUP_KEY"):
        backup_secret(lone)
    monkeypatch.setenv("CRYPTO_BOT_BACKUP_KEY", "short")
    with pytest.raises(ConfigurationError, match="shorter than 16"):
        backup_secret(lone)
    monkeypatch.setenv("CRYPTO_BOT_BACKUP_KEY", "correct horse battery staple")
    assert backup_secret(lone).reveal() == "correct horse battery staple"


def test_the_time_in_a_name_is_utc(lone: Settings) -> None:
    tokyo = datetime(2026, 11, 22, 12, 0, tzinfo=UTC).astimezone()
    assert taken_at(make_backup(lone, {}, SECRET, tokyo).path) == tokyo


def test_a_home_that_cannot_be_written_is_told_and_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    made = load_settings(overrides=[f"home={tmp_path / 'file'}"], environ={})
    with pytest.raises(BackupFailed, match=r"no backup was made in .*/backups: .*/file: File exists; there is none"):
        make_backup(made, {}, SECRET, NOW)


def test_a_configuration_file_of_any_name_goes_into_the_backup(lone: Settings, tmp_path: Path) -> None:
    named = tmp_path / "my config (本番).yml"
    named.write_text("data: {exchange: bitbank}\n", encoding="utf-8")
    texts = settings_texts({"CRYPTO_BOT_CONFIG": str(named), "CRYPTO_BOT_HOME": str(lone.home)})
    made = make_backup(lone, texts, SECRET, NOW)
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    read_backup(made.path, SECRET, unpacked)
    assert (unpacked / "config" / "1-my_config__本番_.yml").read_text(encoding="utf-8") == named.read_text("utf-8")
