"""What soon stops a bot that runs is told before it does."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from config.loader import load_settings
from config.settings import Settings
from execution.vitals import vital_checks
from services.ledger import Ledger, RungRecord
from tests.execution.venue import BEGIN, SPOT

DAY = timedelta(days=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield ledger
    ledger.close()


def settings(home: Path, *words: str) -> Settings:
    return load_settings((), [f"home={home}", "ladder.simulated_approves_itself=false", *words], {})


def certified(ledger: Ledger, rung: str, days: float) -> None:
    ends = BEGIN + days * DAY
    ledger.issue_rung(RungRecord("bitbank", SPOT, rung, Decimal(1), {}, "a test", ends - 30 * DAY, ends))


def wrong(ledger: Ledger, settings: Settings) -> list[str]:
    return [f"{each.name}: {each.detail}" for each in vital_checks(settings, ledger, BEGIN) if not each.passed]


@pytest.mark.parametrize(("rung", "asks"), [("ramp_100", "its renewal"), ("ramp_25", "the next rung")])
def test_a_certificate_that_a_person_must_see_to_is_named_before_it_ends(
    ledger: Ledger, tmp_path: Path, rung: str, asks: str
) -> None:
    patient = settings(tmp_path, "maintenance.disk_used_percent=100")
    certified(ledger, rung, 3.1)
    assert wrong(ledger, patient) == []
    certified(ledger, rung, 2.5)
    (told,) = wrong(ledger, patient)
    assert told.startswith(f"certificate of bitbank: {rung} of BTC/JPY until ") and "in 2.5 days" in told
    assert told.endswith(f"crypto-bot approve bitbank asks for {asks}")
    assert wrong(ledger, settings(tmp_path, "ladder.simulated_approves_itself=true")) == []  # nobody is waited for
    certified(ledger, rung, -0.1)
    assert wrong(ledger, patient) == []  # its rung has gone down, which was told then


def test_a_check_lasts_until_the_next_one_and_is_not_warned_of(ledger: Ledger, tmp_path: Path) -> None:
    certified(ledger, "read_only", 1)
    assert wrong(ledger, settings(tmp_path, "maintenance.disk_used_percent=100")) == []


def test_a_disk_that_fills_up_is_named_once(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (told,) = wrong(ledger, settings(tmp_path, "maintenance.disk_used_percent=0.000001"))
    assert told.startswith(f"disk of {tmp_path}: ") and "GB free: free some space" in told
