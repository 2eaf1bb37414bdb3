"""`crypto-bot venue`: one simulated venue in the foreground, whose first line programs read."""

import json
import signal
from decimal import Decimal
from typing import Any

import pytest

from config.credentials import Credentials
from config.loader import canonical_exchange, load_settings
from config.secret import Secret
from exchanges import create_exchange_client
from tests.cli.command import Command, control, processes_of, until
from trading.identifiers import client_order_id
from trading.instruments import Side
from trading.orders import OrderIntent, OrderType, TimeInForce

KEYS = {"exchange", "base_url", "api_key", "api_secret", "passphrase", "control_url"}


def started(command: Command, name: str, *options: str) -> Any:
    process = command.start("venue", name, *options)
    line = until(lambda: command.said(process).partition("\n")[0] or process.poll() is not None, "the first line")
    return process, json.loads(line)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl+C", "SIGTERM"])
def test_its_first_line_tells_where_it_is_and_a_signal_ends_it_clean(command: Command, number: signal.Signals) -> None:
    process, told = started(command, "okj")
    assert set(told) == KEYS
    assert told["exchange"] == "okcoinjp" and told["passphrase"]
    assert told["base_url"].startswith("http://127.0.0.1:") and told["base_url"].count("/") == 2
    assert told["control_url"].startswith(told["base_url"])
    process.send_signal(number)
    assert command.ended(process) == 0, command.said(process)
    assert processes_of(command.home) == []


def test_faults_are_set_from_the_start_and_a_wrong_one_is_one_line(command: Command) -> None:
    _, told = started(command, "bitbank", "--fault", "ack_500=503@cancelx2", "--fault", "slow")
    rows = control(told["control_url"], "faults")["set"]
    assert rows == [
        {"name": "ack_500", "value": "503", "times": 2, "match": "cancel"},
        {"name": "slow", "value": "", "times": None, "match": ""},
    ]
    done = command.run("venue", "okj", "--fault", "lost_akc")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no fault lost_akc: there are" in done.stderr and done.stderr.count("\n") == 1


def test_commands_of_the_same_home_find_it_until_it_ends(command: Command) -> None:
    process, _ = started(command, "bitbank")
    done = command.run("stop", "--exchange", "bitbank", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["exchanges"]["bitbank"]["verified"]
    process.send_signal(signal.SIGINT)
    assert command.ended(process) == 0
    done = command.run("stop", "--exchange", "bitbank", "--json")
    assert json.loads(done.stdout)["not_running"] == ["bitbank"]


@pytest.mark.parametrize("name", ["bybit", "bitbank", "bitflyer", "okj"])
async def test_a_market_order_fills_on_the_wall_clock(command: Command, name: str) -> None:
    _, told = started(command, name)
    exchange = canonical_exchange(name)
    environ = {
        "CRYPTO_BOT_HOME": str(command.home),
        f"CRYPTO_BOT__EXCHANGES__{exchange.upper()}__BASE_URL": told["base_url"],
    }
    keys = Credentials(Secret(told["api_key"]), Secret(told["api_secret"]), Secret(told["passphrase"]))
    settings = load_settings(environ=environ)
    client = create_exchange_client(exchange, settings=settings, credentials=keys)
    try:
        ticker = await client.ticker(settings.symbol(exchange))
        intent = OrderIntent(
            client_order_id=client_order_id(exchange, "market"),
            venue=exchange,
            symbol=settings.symbol(exchange),
            side=Side.BUY,
            type=OrderType.MARKET,
            quantity=Decimal("0.002"),
            price=None,
            time_in_force=TimeInForce.GOOD_TILL_CANCELLED,
            decision_price=ticker.middle,
            decided_at=ticker.at,
            reason="a test",
        )
        number = await client.place(intent)
    finally:
        await client.close()
    truth = control(told["control_url"], "truth")
    (order,) = truth["orders"]
    assert (order["id"], order["status"], Decimal(order["filled"])) == (number, "filled", Decimal("0.002"))
