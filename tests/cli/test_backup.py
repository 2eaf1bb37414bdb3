"""`backup`, `restore`, `audit verify` and `maintenance` as a person runs them."""

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.cli.accounts import rest_orders
from tests.cli.command import Command, control, one_line
from tests.cli.conftest import Venues


@pytest.fixture
def home(command: Command) -> Path:
    command.environment["CRYPTO_BOT_BACKUP_KEY"] = "correct horse battery staple"
    return command.home


def told(command: Command, *words: str, status: int = 0) -> dict[str, Any]:
    done = command.run(*words, "--json")
    assert done.returncode == status, done.stdout + done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def lose_the_ledger(home: Path) -> None:
    for path in home.glob("ledger.db*"):
        path.unlink()


async def test_the_restore_drill_with_a_lost_ledger_ends_with_0_differences(
    command: Command, venues: Venues, home: Path
) -> None:
    venue = venues("bitbank")["bitbank"]
    await rest_orders(home, venue, ours=1, by_hand=0)
    made = told(command, "backup")
    assert made["manifest"]["fault"] is None and made["manifest"]["counts"]["orders"] == 1
    await rest_orders(home, venue, ours=0, by_hand=1)  # what the trader did after the backup, as the venue sees it
    lose_the_ledger(home)

    restored = command.run("restore")
    assert restored.returncode == 0, restored.stderr
    assert "all trading is stopped and every certificate is void: bitbank" in restored.stdout
    refused = command.run("rearm", "bitbank", "--by", "hanako", "--reason", "it looks good")
    assert refused.returncode == 1 and "restore --reconcile bitbank" in one_line(refused.stderr)
    agreed = told(command, "restore", "--reconcile", "bitbank", "--by", "hanako", "--ours", "all")
    assert agreed["clean"] and len(agreed["adopted"]) == 1
    assert agreed["audit"]["differences"] == [] and agreed["audit"]["duplicates"] == 0
    assert len(control(venue.address.control_url, "truth")["orders"]) == 2


def test_the_audit_names_the_row_that_was_edited(command: Command, home: Path) -> None:
    assert command.run("audit", "verify").returncode == 2  # there is no ledger yet, and none is made
    assert not (home / "ledger.db").exists()
    assert command.run("stop").returncode == 0  # sets four kill switches
    assert told(command, "audit", "verify")["head"]["seq"] == 4
    with contextlib.closing(sqlite3.connect(home / "ledger.db")) as edited, edited:
        edited.execute("UPDATE events SET detail = '{}' WHERE seq = 3")
    done = command.run("audit", "verify")
    assert done.returncode == 1 and "event 3 (latch of bitflyer) was changed after it was written" in done.stdout


def test_a_missing_secret_or_a_wrong_word_is_one_line(command: Command, home: Path) -> None:
    for words in (("restore", "--reconcile", "bitbank"), ("maintenance", "bakcup")):
        done = command.run(*words)
        assert done.returncode == 2 and one_line(done.stderr)
    del command.environment["CRYPTO_BOT_BACKUP_KEY"]
    done = command.run("backup")
    assert done.returncode == 2 and "set CRYPTO_BOT_BACKUP_KEY" in one_line(done.stderr)


def test_maintenance_runs_without_a_server_and_says_what_it_found(command: Command, home: Path) -> None:
    # How full this machine's disk is, is not the test's.
    command.environment["CRYPTO_BOT__MAINTENANCE__DISK_USED_PERCENT"] = "100"
    parts = ("backup", "restore-drill", "database-upkeep", "heartbeat", "venue-drift")
    found = told(command, "maintenance", *parts)
    assert found["well"] and tuple(found["parts"]) == parts
    assert "no Prefect server runs here" in str(found["parts"]["database-upkeep"])


def test_a_ledger_that_cannot_be_read_hides_nothing_of_what_the_other_parts_found(command: Command, home: Path) -> None:
    home.mkdir(exist_ok=True)
    (home / "ledger.db").write_bytes(b"no database" * 1000)
    done = command.run("maintenance", "heartbeat", "database-upkeep", "--json")
    parts = json.loads(done.stdout)["parts"]
    assert done.returncode == 1 and tuple(parts) == ("heartbeat", "database-upkeep")
    assert "cannot be used" in parts["heartbeat"][0]["detail"]
    assert "cannot be used" in parts["database-upkeep"][0]["detail"]
