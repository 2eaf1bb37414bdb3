"""status, orders, fills, balances, config: what the ledger knows, for people and for programs."""

import contextlib
import json
import subprocess
import sys
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from config.settings import EXCHANGES
from services.clock import WallClock
from services.ledger import CycleRecord, Ledger
from tests.certificates import certify as certify_rung
from tests.cli.accounts import certify, settings_of
from tests.cli.command import ROOT, Command
from tests.cli.conftest import Venues

VIEWS = ("orders", "fills", "balances")


def test_an_empty_home_is_shown_as_such(command: Command) -> None:
    status = json.loads(command.run("status", "--json").stdout)
    assert list(status) == list(EXCHANGES)
    assert status["bybit"]["rung"] is None and status["bybit"]["kill_switch"] == "off"
    for view in VIEWS:
        done = command.run(view, "--json")
        assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, [], "")
        assert "none" in command.run(view).stdout
    assert "on paper is among `orders`" in command.run("fills").stdout  # a trader on paper has fills, and none of these


def test_the_status_says_what_each_account_may_do_and_why(command: Command) -> None:
    now, account, symbol = WallClock().now(), "bitbank", "BTC/JPY"
    with contextlib.closing(Ledger(settings_of(command.home).ledger_url)) as ledger:
        certify_rung(ledger, account, symbol, now, "ramp_25")
        report = {"refused": "", "discrepancies": [], "trading_state": "reduce_only: daily loss 3 JPY of 2 JPY"}
        began = now - timedelta(minutes=7)
        ledger.record_cycle(CycleRecord("c1", account, symbol, "ramp_25", began, began, True, None, report))
        ledger.record_equity(account, "JPY", Decimal(200), began)
        ledger.record_equity(account, "JPY", Decimal(150), began)
    told = json.loads(command.run("status", "--json").stdout)
    bitbank = told["bitbank"]
    assert (bitbank["state"], bitbank["cause"]) == ("REDUCE_ONLY", "daily loss 3 JPY of 2 JPY")
    assert (bitbank["rung"], bitbank["last_cycle_age"]) == ("ramp_25", "7 min")
    assert (bitbank["equity"], bitbank["below_peak"]) == ("150.00 JPY", "25.00%")
    assert datetime.fromisoformat(bitbank["expires_at"]) > now
    assert told["bybit"]["state"] == "HALT" and "crypto-bot check bybit --orders" in told["bybit"]["cause"]
    assert "REDUCE_ONLY" in command.run("status").stdout


@pytest.mark.parametrize(
    ("endpoint", "is_held", "last_cycle", "verdict"),
    [
        ("simulated", True, timedelta(minutes=1), "trades"),
        ("simulated", True, timedelta(days=900), "trades"),  # the market's own time
        ("simulated", False, timedelta(minutes=1), "no trader"),
        ("live", True, timedelta(minutes=1), "trades"),
        ("live", True, timedelta(minutes=5), "SILENT TRADER"),
        ("live", False, timedelta(minutes=5), "no trader"),
    ],
)
def test_the_verdict_says_whether_a_trader_is_there(
    command: Command, endpoint: str, is_held: bool, last_cycle: timedelta, verdict: str
) -> None:
    account, symbol, now = {"simulated": "bitbank", "live": "bitbank@live"}[endpoint], "BTC/JPY", WallClock().now()
    with contextlib.closing(Ledger(settings_of(command.home).ledger_url)) as ledger:
        certify_rung(ledger, account, symbol, now - timedelta(days=1), "ramp_25")
        report = {"refused": "", "discrepancies": [], "trading_state": ""}
        at = now - last_cycle
        ledger.record_cycle(CycleRecord("c1", account, symbol, "ramp_25", at, at, True, None, report))
        lease = ledger.take_lease(account, "host:1", now, 3600)
        if not is_held:
            ledger.release_lease(lease)
    told = command.run("status", "--json", "--set", f"exchanges.bitbank.endpoint={endpoint}")
    assert json.loads(told.stdout)["bitbank"]["verdict"] == verdict, told.stderr


@pytest.mark.prefect
def test_what_was_traded_is_shown(command: Command, venues: Venues, prefect_url: str) -> None:
    venues("bitbank", "bybit")
    certify(command.home, "bitbank", "--set=strategy.name=tests.cli.strategies.restless")
    command.environment["PREFECT_API_URL"] = prefect_url
    traded = command.run("trade", "bitbank", "--once", "--set=strategy.name=tests.cli.strategies.restless")
    assert traded.returncode == 0, traded.stderr

    status = json.loads(command.run("status", "--json").stdout)["bitbank"]
    assert status["rung"] == "ramp_100" and status["last_cycle"] and status["open_orders"] == 0
    assert status["profit"].endswith(" JPY") and status["equity"].endswith(" JPY")
    assert (status["state"], status["cause"]) == ("NORMAL", None)
    (order,) = json.loads(command.run("orders", "--json").stdout)
    assert (order["account"], order["side"], order["state"]) == ("bitbank", "buy", "filled")
    fills = json.loads(command.run("fills", "--json", "--exchange", "bitbank").stdout)
    assert {fill["venue_order_id"] for fill in fills} == {order["venue_order_id"]}
    assert sum(float(fill["quantity"]) for fill in fills) == pytest.approx(float(order["filled"]))
    balances = {row["asset"]: row for row in json.loads(command.run("balances", "--json").stdout)}
    assert set(balances) == {"BTC", "JPY"}
    assert json.loads(command.run("fills", "--json", "--exchange", "bybit").stdout) == []
    for view, seen in (("status", "ramp_100"), ("orders", "filled"), ("fills", "bitbank"), ("balances", "JPY")):
        shown = command.run(view)
        assert shown.returncode == 0 and seen in shown.stdout, shown.stdout


def test_the_configuration_is_shown_checked_and_described(command: Command) -> None:
    assert "config/default.yml" in command.run("config", "show").stdout
    assert command.run("config", "validate").stdout == "configuration is valid\n"
    assert "properties" in json.loads(command.run("config", "schema").stdout)
    assert not command.home.exists()


@pytest.mark.parametrize(
    "words", [["--help"], ["trade", "--help"], ["status"], ["ladder"], ["config", "validate"]], ids=" ".join
)
def test_light_commands_import_nothing_heavy(command: Command, words: list[str]) -> None:
    asked = (
        "import sys; from cli.main import main\n"
        f"try: main({words!r})\n"
        "except SystemExit as end: print('STATUS', end.code)\n"
        "print('HEAVY', sorted({'prefect', 'ccxt', 'pandas', 'aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked], env=command.environ({}), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "STATUS 0" in done.stdout, done.stderr
    heavy = done.stdout.rpartition("HEAVY ")[2].strip()
    assert heavy in ("[]", "['aiohttp']")
