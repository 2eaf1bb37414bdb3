"""The trader: its cycles, and its end. However it is ended, no order of it is left in the market."""

import re
import signal
from collections.abc import Callable
from typing import Any
from urllib.request import Request, urlopen

import pytest

from config.settings import ExchangeName
from services.ledger import Ledger
from tests.cli.accounts import certify, settings_of
from tests.cli.command import Command, control, one_line, resting, until
from tests.cli.conftest import Venues

pytestmark = pytest.mark.prefect

# Post-only orders that rest at our side of the book until the next cycle takes them back.
RESTING = (
    "--set=execution.order_style=maker",
    "--set=strategy.name=tests.cli.strategies.restless",
    "--set=risk.duplicate_window_seconds=0",
    "--set=risk.repeated_execution_limit=100000",
    "--set=risk.max_orders_per_day=100000",
)
BY_SIGNAL = pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, id="Ctrl+C"),
        pytest.param(signal.SIGTERM, id="SIGTERM"),
        pytest.param(
            signal.SIGHUP,
            id="a closed terminal",
            marks=pytest.mark.skipif(
                signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, reason="nohup: it means nothing"
            ),
        ),
    ],
)


@pytest.fixture
def trader(command: Command, venues: Venues, prefect_url: str) -> Callable[..., Any]:
    """A command whose exchange runs and is certified, and the venue's control side."""
    command.environment["PREFECT_API_URL"] = prefect_url

    def make(exchange: ExchangeName, clock: str, *words: str) -> str:
        url = venues(exchange, clock=clock)[exchange].address.control_url
        certify(command.home, exchange, *words)
        # On the wall clock a budget of 60 a minute would hold the cycles up; the venue itself allows more.
        command.environment[f"CRYPTO_BOT__EXCHANGES__{exchange.upper()}__REQUESTS_PER_MINUTE"] = "600"
        return url

    return make


def orders(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = control(url, "truth")["orders"]
    return found


def in_flight(command: Command, exchange: str) -> int:
    ledger = Ledger(settings_of(command.home).ledger_url)
    try:
        return len(ledger.in_flight(exchange))
    finally:
        ledger.close()


@BY_SIGNAL
def test_a_signal_in_the_middle_of_a_cycle_leaves_no_order(
    command: Command, trader: Callable[..., str], number: signal.Signals
) -> None:
    url = trader("bybit", "stepped", *RESTING)  # market time leaps: cycles follow each other without a pause
    process = command.start("trade", "bybit", *RESTING)
    until(lambda: len(orders(url)) >= 3 or process.poll() is not None, "three orders")
    assert resting(url) or process.poll() is None, command.said(process)
    process.send_signal(number)
    assert command.ended(process) == 0, command.said(process)
    assert resting(url) == []
    assert in_flight(command, "bybit") == 0
    assert "0 left, proved by reading again" in command.said(process)
    assert "Traceback" not in command.said(process)


@BY_SIGNAL
def test_a_signal_between_two_cycles_takes_the_resting_order_back(
    command: Command, trader: Callable[..., str], number: signal.Signals
) -> None:
    url = trader("bitbank", "wall", *RESTING, "--set=execution.cycle_seconds=3600")
    process = command.start("trade", "bitbank", *RESTING, "--set=execution.cycle_seconds=3600")
    # The cycle's line is printed after its end; an hour passes before the next.
    until(lambda: "ramp_100:" in command.said(process) or process.poll() is not None, "the first cycle")
    assert len(resting(url)) == 1, command.said(process)
    process.send_signal(number)
    process.send_signal(number)  # an impatient second one changes nothing
    assert command.ended(process) == 0, command.said(process)
    assert resting(url) == []
    assert in_flight(command, "bitbank") == 0
    assert "1 cancelled, 0 left, proved by reading again" in command.said(process)


def test_once_is_one_cycle_that_fills_and_clears_up(command: Command, trader: Callable[..., str]) -> None:
    url = trader("bitflyer", "stepped", "--set=strategy.name=tests.cli.strategies.restless")
    done = command.run("trade", "bitflyer", "--once", "--set=strategy.name=tests.cli.strategies.restless")
    assert done.returncode == 0, done.stderr
    assert "filled" in done.stdout and "proved by reading again" in done.stdout
    assert len(orders(url)) == 1 and orders(url)[0]["status"] == "filled"
    assert resting(url) == []
    assert done.stderr == ""


def test_a_strategy_that_wants_to_leave_the_process_ends_no_trader(
    command: Command, trader: Callable[..., str]
) -> None:
    words = "--set=strategy.name=tests.cli.strategies.leaves"
    trader("bitflyer", "stepped", words)
    done = command.run("trade", "bitflyer", "--once", words)
    assert done.returncode == 0 and "proved by reading again" in done.stdout, done.stderr
    assert "tests.cli.strategies.leaves wanted to leave the process (status 3)" in done.stderr


def test_a_second_trader_is_refused_and_told_who_the_first_is(command: Command, trader: Callable[..., str]) -> None:
    trader("okcoinjp", "wall", *RESTING, "--set=execution.cycle_seconds=3600")
    first = command.start("trade", "okcoinjp", *RESTING, "--set=execution.cycle_seconds=3600")
    until(lambda: "trading BTC/JPY" in command.said(first) or first.poll() is not None, "the first trader")
    second = command.run("trade", "okj", "--once")
    assert second.returncode == 1
    assert re.search(rf":{first.pid} \(\w+\); stop that process first", one_line(second.stderr))
    first.send_signal(signal.SIGTERM)
    assert command.ended(first) == 0, command.said(first)


def test_a_stop_while_the_trader_runs_lets_it_place_nothing_more(command: Command, trader: Callable[..., str]) -> None:
    url = trader("bybit", "stepped", *RESTING)
    process = command.start("trade", "bybit", *RESTING)
    until(lambda: orders(url) or process.poll() is not None, "an order")
    stopped = command.run("stop", "--exchange", "bybit")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert resting(url) == []
    placed = len(orders(url))
    until(lambda: "kill_switch" in command.said(process) or process.poll() is not None, "a refused cycle")
    told = command.said(process).count("\n")
    until(lambda: command.said(process).count("\n") > told + 2, "two more cycles")
    assert len(orders(url)) == placed
    process.send_signal(signal.SIGINT)
    assert command.ended(process) == 0, command.said(process)


def test_a_venue_in_maintenance_at_the_start_is_waited_for(command: Command, trader: Callable[..., str]) -> None:
    url = trader("bitbank", "stepped", *RESTING)
    control(url, "faults", name="maintenance")
    process = command.start("trade", "bitbank", *RESTING)
    until(lambda: "cannot begin yet" in command.said(process), "the trader waiting")
    assert process.poll() is None and not orders(url)
    with urlopen(Request(f"{url}/faults", method="DELETE"), timeout=30):
        pass
    until(lambda: orders(url), "an order once the venue is back")
    process.send_signal(signal.SIGINT)
    assert command.ended(process) == 0, command.said(process)
    assert not resting(url)


def test_a_trader_without_a_rung_leaves_the_account_to_the_checks_and_goes_on_when_they_have_passed(
    command: Command, venues: Venues, prefect_url: str
) -> None:
    command.environment["PREFECT_API_URL"] = prefect_url
    command.environment["CRYPTO_BOT__EXCHANGES__BITBANK__REQUESTS_PER_MINUTE"] = "600"
    url = venues("bitbank", clock="stepped")["bitbank"].address.control_url
    process = command.start("trade", "bitbank")
    until(lambda: "the trader goes on by itself" in command.said(process) or process.poll() is not None, "its waiting")
    until(lambda: "0 left, proved by reading again" in command.said(process) or process.poll() is not None, "its leave")
    assert process.poll() is None and not orders(url), command.said(process)
    checked = command.run("check", "bitbank", "--orders")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    until(lambda: "bitbank paper:" in command.said(process) or process.poll() is not None, "a cycle on paper")
    process.send_signal(signal.SIGINT)
    assert command.ended(process) == 0, command.said(process)
    assert not resting(url) and "Traceback" not in command.said(process)


def test_a_trader_that_waits_for_the_checks_ends_at_once(command: Command, venues: Venues, prefect_url: str) -> None:
    command.environment["PREFECT_API_URL"] = prefect_url
    venues("bybit", clock="wall")
    process = command.start("trade", "bybit")
    until(lambda: "0 left, proved by reading again" in command.said(process) or process.poll() is not None, "its leave")
    process.send_signal(signal.SIGTERM)
    assert command.ended(process) == 0, command.said(process)
