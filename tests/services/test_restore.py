"""A restore puts a proved ledger back, overwrites nothing, and lets nothing trade on it."""

import contextlib
import fcntl
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from config.errors import ConfigurationError
from config.loader import load_settings
from config.settings import Settings
from services.archive import BackupUnreadable
from services.backup import make_backup
from services.ledger import Lease, LeaseLost, Ledger, RungRecord
from services.restore import Restored, RestoreRefused, restore
from tests.services.samples import ACCOUNT, NOW, SYMBOL, intent, resting, write
from tests.services.test_backup import SECRET, some_days

LATER = NOW + timedelta(hours=1)
CONFIGURED = ("bitbank", "bybit")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(overrides=[f"home={tmp_path / 'home'}"], environ={})


@pytest.fixture
def backup(settings: Settings) -> Iterator[Path]:
    """A backup of a ledger that has traded, whose trader is gone since."""
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        lease = ledger.take_lease(ACCOUNT, "host:1", NOW, 60)
        some_days(ledger, lease)
        until = NOW + timedelta(days=30)
        ledger.issue_rung(RungRecord(ACCOUNT, SYMBOL, "ramp_50", Decimal(1), {}, "hanako", NOW, until))
        yield make_backup(settings, {"settings.yml": "home: here\n"}, SECRET, NOW).path


def put_back(settings: Settings, backup: Path, url: str | None = None, *, move_aside: bool = False) -> Restored:
    where = url or settings.ledger_url
    return restore(backup, SECRET, home=settings.home, url=where, accounts=CONFIGURED, now=LATER, move_aside=move_aside)


def lose(settings: Settings) -> None:
    for path in settings.home.glob("ledger.db*"):
        path.unlink()


def test_a_restored_ledger_lets_nothing_trade(settings: Settings, backup: Path) -> None:
    lose(settings)
    done = put_back(settings, backup)
    assert done.accounts == CONFIGURED and done.moved_aside is None
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        assert ledger.verify_chain() is None
        assert len(ledger.orders(ACCOUNT)) == 5
        for account in CONFIGURED:
            latch = ledger.latched(account)
            assert latch is not None and "restored from a backup of 2026-11-22 03:00:00" in latch.reason
            told = ledger.open_restore(account)
            assert told is not None and told.taken_at == NOW
        record = ledger.rung(ACCOUNT, SYMBOL)
        assert record is not None and (record.rung, record.max_quantity) == ("compatibility", 0)
        assert record.expires_at == record.issued_at and record.evidence["from"] == "ramp_50"
    assert (done.settings_folder / "settings.yml").read_text() == "home: here\n"


def test_a_process_that_held_a_lease_after_the_backup_can_never_write_again(settings: Settings, backup: Path) -> None:
    lose(settings)
    put_back(settings, backup)
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        zombies = [Lease(ACCOUNT, "host:1", token) for token in range(1, 30)]
        for _ in range(20):
            mine = ledger.take_lease(ACCOUNT, "host:2", LATER, 60)
        for zombie in zombies:
            with pytest.raises(LeaseLost):
                write(ledger, zombie, intent(77))
        write(ledger, mine, intent(78))


def test_a_ledger_that_is_there_stays_or_is_moved_aside_whole(settings: Settings, backup: Path) -> None:
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        resting(ledger, ledger.take_lease(ACCOUNT, "host:1", NOW, 60), 6)
    with pytest.raises(RestoreRefused, match="--move-aside"):
        put_back(settings, backup)
    done = put_back(settings, backup, move_aside=True)
    assert done.moved_aside is not None and done.moved_aside.parent == settings.home
    with contextlib.closing(Ledger(f"sqlite:///{done.moved_aside}")) as old:
        assert len(old.orders(ACCOUNT)) == 6 and old.verify_chain() is None


def test_a_write_ahead_log_that_is_left_of_a_lost_ledger_is_not_played_into_the_new_one(
    settings: Settings, backup: Path
) -> None:
    lost = settings.home / "ledger.db"
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        resting(ledger, ledger.take_lease(ACCOUNT, "host:1", NOW, 60), 6)
        lost.unlink()  # its -wal and -shm stay
        assert (settings.home / "ledger.db-wal").exists()
        put_back(settings, backup)
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        assert ledger.verify_chain() is None and len(ledger.orders(ACCOUNT)) == 5
    assert (settings.home / "ledger.db.left-over-wal").exists()


def test_nothing_is_restored_under_a_trader_that_lives(settings: Settings, backup: Path) -> None:
    (settings.home / "locks").mkdir(parents=True)
    lock = settings.home / "locks" / "bitbank.lock"
    lock.write_text("host:4711 (69b5)\nhost:4242 (3b5b)")  # below: who held it before
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        lose(settings)  # the file is gone, the process that had it open is not
        with pytest.raises(RestoreRefused, match=r"^bitbank is traded by host:4711 \(69b5\); stop that process first$"):
            put_back(settings, backup)
    assert not (settings.home / "ledger.db").exists()


def test_nothing_is_restored_over_a_ledger_with_a_live_lease(settings: Settings, backup: Path) -> None:
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        ledger.take_lease(ACCOUNT, "elsewhere:1", LATER, 60)
    with pytest.raises(RestoreRefused, match="bitbank by elsewhere:1"):
        put_back(settings, backup, move_aside=True)


def test_a_damaged_backup_changes_nothing(settings: Settings, backup: Path) -> None:
    before = (settings.home / "ledger.db").read_bytes()
    text = backup.read_bytes()
    backup.write_bytes(text[:-1] + bytes([text[-1] ^ 1]))
    with pytest.raises(BackupUnreadable):
        put_back(settings, backup, move_aside=True)
    assert (settings.home / "ledger.db").read_bytes() == before
    assert list((settings.home / "scratch").iterdir()) == []


def test_a_backup_goes_into_an_empty_database_of_either_kind_and_goes_on_there(
    settings: Settings, backup: Path, ledger_url: str
) -> None:
    lose(settings)
    put_back(settings, backup, ledger_url)
    with contextlib.closing(Ledger(ledger_url)) as ledger:
        assert ledger.verify_chain() is None and len(ledger.orders(ACCOUNT)) == 5
        lease = ledger.take_lease(ACCOUNT, "host:2", LATER, 60)
        resting(ledger, lease, 6)  # rows are numbered on, not from 1 again
        ledger.adjust(ACCOUNT, "JPY", Decimal(1), "hanako", "a deposit", LATER)
        assert ledger.verify_chain() is None and len(ledger.orders(ACCOUNT)) == 6
    with pytest.raises((RestoreRefused, ConfigurationError), match=r"--move-aside|holds a ledger already|in use"):
        put_back(settings, backup, ledger_url)


def test_a_restore_that_is_interrupted_leaves_no_ledger_that_could_trade(
    settings: Settings, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file gets its name as the last step, when everything in it is stopped."""
    lose(settings)

    def power_cut(self: Path, target: object) -> Path:
        raise OSError(5, "power cut")

    monkeypatch.setattr(Path, "rename", power_cut)
    with pytest.raises(OSError, match="power cut"):
        put_back(settings, backup)
    monkeypatch.undo()
    assert not (settings.home / "ledger.db").exists()
    put_back(settings, backup)
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        assert ledger.latched(ACCOUNT) is not None
    assert list((settings.home / "scratch").iterdir()) == []
