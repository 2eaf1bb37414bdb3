"""A venue that is no longer what was examined takes the certificate down by itself; what does not matter is told."""

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from execution.drift import drift_checks
from services.ledger import Ledger, RungRecord
from services.simulated import RunningVenue, simulated_venues
from tests.cli.accounts import settings_of
from tests.cli.command import control
from trading.checks import Check

SYMBOL = "BTC/USDT"


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[RunningVenue]:
    with simulated_venues(tmp_path, {"bybit": ("--clock", "stepped")}) as running:
        yield running["bybit"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    with contextlib.closing(Ledger(settings.ledger_url)) as opened:
        yield opened


async def look(settings: Settings, ledger: Ledger) -> dict[str, Check]:
    return {check.name: check for check in await drift_checks("bybit", settings, ledger)}


def as_if_it_had_been(ledger: Ledger, part: str, **values: Any) -> None:
    """Change what the last look says; what the venue says now is then a change."""
    known = ledger.newest_snapshot("bybit", SYMBOL)
    assert known is not None
    told, at = known
    ledger.record_snapshot("bybit", SYMBOL, {**told, part: {**told[part], **values}}, at, keep=100)


def certified(ledger: Ledger) -> None:
    known = ledger.newest_snapshot("bybit", SYMBOL)
    assert known is not None
    since, until = known[1], known[1] + timedelta(days=30)
    ledger.issue_rung(RungRecord("bybit", SYMBOL, "ramp_50", Decimal(1), {}, "hanako", since, until))


@pytest.mark.usefixtures("venue")
async def test_a_changed_rule_or_fee_voids_the_certificate_with_the_reason(settings: Settings, ledger: Ledger) -> None:
    assert all(check.passed for check in (await look(settings, ledger)).values())
    certified(ledger)
    assert (await look(settings, ledger))["bybit rules and key"].detail.startswith("as before")
    as_if_it_had_been(ledger, "instrument", taker_fee_rate="0.0005", min_quantity="0.00001")
    found = (await look(settings, ledger))["bybit rules and key"]
    assert not found.passed
    assert "taker_fee_rate: 0.0005 → 0.001" in found.detail and "ramp_50 is void" in found.detail
    record = ledger.rung("bybit", SYMBOL)
    assert record is not None and record.rung == "compatibility" and record.expires_at == record.issued_at
    assert record.approved_by == "venue-drift" and "taker_fee_rate" in str(record.evidence["reasons"])
    assert (await look(settings, ledger))["bybit rules and key"].passed  # told once
    assert ledger.verify_chain() is None


async def test_a_key_that_may_withdraw_voids_and_one_that_is_bound_now_is_news(
    settings: Settings, ledger: Ledger, venue: RunningVenue
) -> None:
    await look(settings, ledger)
    certified(ledger)
    as_if_it_had_been(ledger, "key", restricted_to_addresses=None)
    found = (await look(settings, ledger))["bybit rules and key"]
    assert "restricted_to_addresses" in found.detail
    control(venue.address.control_url, "faults", name="withdraw_permission")
    found = (await look(settings, ledger))["bybit rules and key"]
    assert not found.passed and "can_withdraw: False → True" in found.detail
    record = ledger.rung("bybit", SYMBOL)
    assert record is not None and record.rung == "compatibility"


@pytest.mark.parametrize("fault", ["maintenance", "circuit_break", "auth_revoked"])
async def test_a_venue_that_shows_no_rules_is_told_and_voids_nothing(
    settings: Settings, ledger: Ledger, venue: RunningVenue, fault: str
) -> None:
    await look(settings, ledger)
    certified(ledger)
    control(venue.address.control_url, "faults", name=fault)
    (found,) = (await look(settings, ledger)).values()
    assert not found.passed and "not looked at" in found.detail
    record = ledger.rung("bybit", SYMBOL)
    assert record is not None and record.rung == "ramp_50"


async def test_a_venue_that_does_not_answer_keeps_its_last_look(
    settings: Settings, ledger: Ledger, venue: RunningVenue
) -> None:
    await look(settings, ledger)
    before = ledger.newest_snapshot("bybit", SYMBOL)
    venue.process.kill()
    venue.process.wait()
    found = await look(settings, ledger)
    assert "not looked at" in found["bybit"].detail
    assert ledger.newest_snapshot("bybit", SYMBOL) == before


def test_only_the_newest_looks_are_kept(settings: Settings, ledger: Ledger) -> None:
    from tests.services.samples import NOW

    for number in range(5):
        ledger.record_snapshot("bybit", SYMBOL, {"number": number}, NOW, keep=2)
    assert ledger.counts()["venue_snapshots"] == 2
    assert ledger.newest_snapshot("bybit", SYMBOL) == ({"number": 4}, NOW)
