"""A deposit is an ordinary event: a person answers for it, and the books add up again."""

import contextlib
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from services.ledger import Ledger
from tests.cli.accounts import settings_of
from tests.cli.command import Command, one_line

WHO = ("--by", "Aoki", "--reason", "deposit")
WITHDRAWN = ("JPY", Decimal(-50_000), "[/Sato]")


def test_a_deposit_and_a_withdrawal_are_answered_for_by_name(command: Command) -> None:
    url = settings_of(command.home).ledger_url
    with contextlib.closing(Ledger(url)) as ledger:
        ledger.set_opening("bitbank", {"JPY": Decimal(1)}, datetime.now(UTC))
    assert command.run("adjust", "bitbank", "jpy", "100000", *WHO).returncode == 0
    assert command.run("adjust", "bitbank", *WHO, "--", "collateral:jpy", "-0.5").returncode == 0
    done = command.run("adjust", "bitbank", "JPY", "-50000", "--by", "[/Sato]", "--reason", "withdrawal")
    assert done.returncode == 0 and "-50000 JPY answered for by [/Sato]" in done.stdout, done.stderr
    with contextlib.closing(Ledger(url)) as ledger:
        told = [(each.asset, each.change, each.by) for each in ledger.adjustments("bitbank")]
    assert told == [("JPY", Decimal(100_000), "Aoki"), ("collateral:JPY", Decimal("-0.5"), "Aoki"), WITHDRAWN]


def test_an_account_that_was_never_read_is_told_and_where_it_was_looked_for(command: Command) -> None:
    done = command.run("adjust", "bitbank", "JPY", "100000", *WHO)
    assert done.returncode == 2
    assert "has read no balances of bitbank yet: check --home" in one_line(done.stderr)


@pytest.mark.parametrize(("change", "by"), [("much", "Aoki"), ("0", "Aoki"), ("1", " ")])
def test_an_adjustment_that_means_nothing_is_refused(command: Command, change: str, by: str) -> None:
    done = command.run("adjust", "bitbank", "JPY", change, "--by", by, "--reason", "deposit")
    assert done.returncode == 2
    assert "adjust: " in one_line(done.stderr)
