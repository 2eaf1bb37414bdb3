"""ladder, approve and demote, as a person runs them; Prefect is not there."""

import contextlib
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from config.loader import load_settings
from config.settings import EXCHANGES
from execution.ladder import Place, issue
from services.ledger import Ledger
from tasks.fingerprint import running_fingerprint
from tests.cli.command import Command, one_line
from trading.approval import approval_code
from trading.certificates import PARTS

SECRET = "a secret of a test, long enough"
BY = ("--by", "Aoki", "--reason", "quiet days")
NEEDS_A_PERSON = {
    "CRYPTO_BOT__LADDER__SIMULATED_APPROVES_ITSELF": "false",
    "CRYPTO_BOT__LADDER__PAPER__MIN_CYCLES": "0",
    "CRYPTO_BOT__LADDER__PAPER__MIN_FILLS": "0",
    "CRYPTO_BOT__LADDER__PAPER__MIN_SECONDS": "0",
}


@pytest.fixture
def climbed(command: Command) -> Command:
    """bitbank on minimal after paper, bybit on paper with nothing left to show."""
    settings = load_settings((), [f"home={command.home}"], {})
    now = datetime.now(UTC) - timedelta(minutes=1)
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        for exchange, *rungs in (("bitbank", "paper", "minimal"), ("bybit", "paper")):
            running = running_fingerprint(settings, exchange, "a key", None)  # type: ignore[arg-type]
            place = Place(settings, exchange, ledger, running)  # type: ignore[arg-type]
            for rung in rungs:
                issue(place, rung, Decimal("0.01"), {}, "a test", now)
        assert set(asdict(running)) == set(PARTS)
    return command


def test_the_ladder_of_an_empty_home_says_where_to_begin(command: Command) -> None:
    told = json.loads(command.run("ladder", "--json").stdout)
    assert list(told) == list(EXCHANGES)
    assert told["okcoinjp"]["rung"] is None and told["okcoinjp"]["next"] == "compatibility"
    assert told["okcoinjp"]["blocks"] == ["run `crypto-bot check okcoinjp --orders`"]


def test_the_ladder_shows_what_was_shown_what_blocks_and_until_when(climbed: Command) -> None:
    told = json.loads(climbed.run("ladder", "--json").stdout)["bitbank"]
    assert (told["rung"], told["next"], told["max_orders_per_day"]) == ("minimal", "ramp_25", 50)
    assert "0 of 1000 cycles" in told["evidence"] and "0 of 1000 cycles" in told["blocks"]
    assert told["expires_at"] > told["issued_at"]
    shown = climbed.run("ladder")
    assert shown.returncode == 0 and "ramp_25" in shown.stdout, shown.stderr


def test_a_changed_limit_is_seen_in_the_ladder(climbed: Command) -> None:
    env = {"CRYPTO_BOT__RISK__MAX_OPEN_ORDERS": "2"}
    told = json.loads(climbed.run("ladder", "--json", env=env).stdout)["bitbank"]
    assert told["blocks"] == ["the next review goes to paper: changed since it was examined: limits"]


def test_a_rung_of_other_ramp_steps_is_shown_with_where_it_goes(climbed: Command) -> None:
    settings = load_settings((), [f"home={climbed.home}"], {})
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        minimal = ledger.rung("bitbank", "BTC/JPY")
        assert minimal is not None
        ledger.issue_rung(replace(minimal, rung="ramp_25"))
    env = {"CRYPTO_BOT__LADDER__RAMP_STEPS": "[0.5, 1]", **NEEDS_A_PERSON}
    shown = climbed.run("ladder", "--json", env=env)
    told = json.loads(shown.stdout)["bitbank"]
    assert told["blocks"] == ["the next review goes to minimal: ladder.ramp_steps has no ramp_25 any more"]
    asked = climbed.run("approve", "bitbank", *BY, env=env)
    assert asked.returncode == 1 and "has no ramp_25 any more" in asked.stdout, asked.stderr


def test_nothing_is_approved_that_approves_itself_or_lacks_evidence(climbed: Command) -> None:
    itself = climbed.run("approve", "bybit", *BY)
    assert itself.returncode == 1 and "approves itself" in itself.stdout
    missing = climbed.run("approve", "bitbank", *BY, env=NEEDS_A_PERSON)
    assert missing.returncode == 1 and "0 of 1000 cycles" in missing.stdout
    below = climbed.run("approve", "okj", *BY, env=NEEDS_A_PERSON)
    assert below.returncode == 1 and "not on paper yet" in below.stdout


def test_a_person_approves_with_phrase_and_code(climbed: Command) -> None:
    asked = climbed.run("approve", "bybit", *BY, env=NEEDS_A_PERSON)
    assert asked.returncode == 1 and "paper → minimal" in asked.stdout and "openssl" in asked.stdout
    digest = asked.stdout.partition("digest ")[2].split()[0]
    phrase, env = ("--phrase", "bybit BTC/USDT minimal"), {**NEEDS_A_PERSON, "CRYPTO_BOT_APPROVAL_SECRET": SECRET}
    wrong = climbed.run("approve", "bybit", *BY, *phrase, "--code", "0123456789", env=env)
    assert wrong.returncode == 1 and "the code is not the one" in wrong.stdout
    code = approval_code(SECRET, digest)
    no_secret = climbed.run("approve", "bybit", *BY, *phrase, "--code", code, env=NEEDS_A_PERSON)
    assert no_secret.returncode == 1 and "no approval secret" in no_secret.stdout
    done = climbed.run("approve", "bybit", *BY, *phrase, "--code", code, env=env)
    assert done.returncode == 0 and "minimal approved by Aoki" in done.stdout
    blocks = json.loads(climbed.run("ladder", "--json", env=NEEDS_A_PERSON).stdout)["bybit"]["blocks"]
    assert blocks[0].startswith("the next review goes to minimal") and "approved by Aoki" in blocks[0]


def test_a_person_takes_a_rung_down(climbed: Command) -> None:
    done = climbed.run("demote", "bitbank", *BY)
    assert done.returncode == 0 and "now on paper, says Aoki" in done.stdout, done.stderr
    assert json.loads(climbed.run("status", "--json").stdout)["bitbank"]["rung"] == "paper"
    up = climbed.run("demote", "bitbank", *BY, "--to", "ramp_25")
    assert up.returncode == 2 and "is on paper; write one of" in up.stderr
    nobody = climbed.run("demote", "bitbank", "--by", " ", "--reason", "x")
    assert nobody.returncode == 2 and "must not be empty" in nobody.stderr


def test_the_code_of_a_proposal_comes_from_its_digest_and_a_secret_that_is_not_shown(command: Command) -> None:
    digest = "0a" * 32
    told = command.run("approval-code", digest, stdin=f"{SECRET}\n")
    assert told.returncode == 0 and told.stdout == f"{approval_code(SECRET, digest)}\n", told.stderr
    short = command.run("approval-code", digest, stdin="short\n")
    assert short.returncode == 2 and "at least 16 characters" in short.stderr and short.stdout == ""
    wrong = command.run("approval-code", "bybit", stdin=f"{SECRET}\n")
    assert wrong.returncode == 2 and "64 hex characters" in wrong.stderr
    assert all("#approval)" in each.stderr for each in (short, wrong))


def test_what_has_no_rung_cannot_go_down_and_the_guide_says_how_it_gets_one(command: Command) -> None:
    done = command.run("demote", "bitbank", "--by", "Sato", "--reason", "a drill")
    assert done.returncode == 2 and "bitbank has no rung (docs/operations.md#certificate)" in one_line(done.stderr)
