import subprocess
import sys
from datetime import timedelta

import pytest

from services.ledger import Lease, LeaseLost, Ledger
from tests.services.samples import ACCOUNT, NOW, intent, write

LATER = NOW + timedelta(seconds=61)

CONTENDER = """
import sys
from datetime import datetime
from services.ledger import LeaseLost, Ledger
url, holder, at = sys.argv[1:]
ledger = Ledger(url)
print("ready", flush=True)
sys.stdin.readline()
try:
    print(ledger.take_lease("bitbank", holder, datetime.fromisoformat(at), 60).token)
except LeaseLost as error:
    print(error)
"""


def test_a_second_trader_is_told_who_trades(ledger: Ledger, lease: Lease) -> None:
    with pytest.raises(LeaseLost, match="bitbank is traded by host:1 until 2026-11-22 03:01:00 UTC"):
        ledger.take_lease(ACCOUNT, "host:2", NOW, 60)


def test_a_lease_that_ran_out_goes_to_the_next_with_a_higher_token(ledger: Ledger, lease: Lease) -> None:
    following = ledger.take_lease(ACCOUNT, "host:2", LATER, 60)
    assert following.token > lease.token
    with pytest.raises(LeaseLost):
        ledger.renew_lease(lease, LATER, 60)


def test_a_renewed_lease_holds_longer(ledger: Ledger, lease: Lease) -> None:
    ledger.renew_lease(lease, NOW, 120)
    with pytest.raises(LeaseLost):
        ledger.take_lease(ACCOUNT, "host:2", LATER, 60)


def test_a_released_lease_is_free_at_once_and_writes_nothing_any_more(ledger: Ledger, lease: Lease) -> None:
    ledger.release_lease(lease)
    with pytest.raises(LeaseLost, match="but by nobody"):
        write(ledger, lease, intent())
    assert ledger.take_lease(ACCOUNT, "host:2", NOW, 60).token > lease.token


def test_releasing_a_lost_lease_does_not_free_the_new_holders(ledger: Ledger, lease: Lease) -> None:
    ledger.take_lease(ACCOUNT, "host:2", LATER, 60)
    ledger.release_lease(lease)
    with pytest.raises(LeaseLost, match="host:2"):
        ledger.take_lease(ACCOUNT, "host:3", LATER, 60)


def test_the_same_holder_takes_its_lease_again_and_the_old_one_ends(ledger: Ledger, lease: Lease) -> None:
    again = ledger.take_lease(ACCOUNT, "host:1", NOW, 60)
    write(ledger, again, intent(1))
    with pytest.raises(LeaseLost):
        write(ledger, lease, intent(2))


def test_leases_of_two_accounts_do_not_meet(ledger: Ledger, lease: Lease) -> None:
    assert ledger.take_lease("bybit", "host:2", NOW, 60).account == "bybit"


def test_of_processes_that_contend_for_an_account_exactly_one_gets_it(ledger: Ledger, ledger_url: str) -> None:
    contenders = [
        subprocess.Popen(
            [sys.executable, "-c", CONTENDER, ledger_url, f"process:{number}", NOW.isoformat()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for each in contenders:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in contenders:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    answers = [each.communicate(timeout=30)[0].strip() for each in contenders]
    assert sorted(answer.startswith("bitbank is traded by process:") for answer in answers) == [
        False,
        True,
        True,
    ]


def test_leases_run_by_the_clock_of_the_database_server_where_hosts_share_one(ledger: Ledger, ledger_url: str) -> None:
    wrong = NOW - timedelta(days=400)  # a host's own clock
    told = ledger.shared_time(wrong)
    if ledger_url.startswith("sqlite"):
        assert told == wrong
    else:
        assert told != wrong and told.utcoffset() == timedelta(0)
        assert told <= ledger.shared_time(wrong) < told + timedelta(minutes=1)


def test_who_holds_an_account_is_told_as_long_as_the_lease_runs(ledger: Ledger, lease: Lease) -> None:
    assert ledger.holder(ACCOUNT, NOW) == "host:1" and ledger.holder("bybit", NOW) is None
    assert ledger.holder(ACCOUNT, LATER) is None
    ledger.release_lease(lease)
    assert ledger.holder(ACCOUNT, NOW) is None
