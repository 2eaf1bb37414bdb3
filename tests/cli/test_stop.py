"""`crypto-bot stop` from another process: nothing is left in any market, proved by reading, without Prefect."""

import json
import sqlite3
from pathlib import Path

import pytest

from config.settings import EXCHANGES, ExchangeName
from execution.latch import kill_switch
from services.ledger import Ledger
from tests.cli.accounts import rest_orders, settings_of
from tests.cli.command import Command, one_line, resting
from tests.cli.conftest import Venues


def latched(home: Path) -> dict[str, bool]:
    ledger = Ledger(settings_of(home).ledger_url)
    try:
        return {name: kill_switch(home, ledger, name) is not None for name in EXCHANGES}
    finally:
        ledger.close()


async def test_twenty_orders_at_each_venue_are_gone_and_the_proof_is_told(command: Command, venues: Venues) -> None:
    running = venues(*EXCHANGES)
    for venue in running.values():
        await rest_orders(command.home, venue, ours=10, by_hand=10)
        assert len(resting(venue.address.control_url)) == 20

    done = command.run("stop", "--json", python=("-X", "importtime"))

    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["clean"] and told["latched"] and not told["problems"], told
    for name, venue in running.items():
        assert resting(venue.address.control_url) == []
        assert len(told["exchanges"][name]["cancelled"]) == 20
        assert told["exchanges"][name]["verified"]
        assert told["exchanges"][name]["left"] == []
    assert latched(command.home) == dict.fromkeys(EXCHANGES, True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "ccxt" in imported  # the report of imports was read
    assert not imported & {"prefect", "pandas"}


@pytest.mark.parametrize("damage", ["corrupt", "locked"])
async def test_a_ledger_that_does_not_answer_stops_no_stop(command: Command, venues: Venues, damage: str) -> None:
    venue = venues("bybit")["bybit"]
    await rest_orders(command.home, venue, ours=2, by_hand=2)
    file = command.home / "ledger.db"
    whole = file.read_bytes()
    other = sqlite3.connect(file, isolation_level=None)
    if damage == "locked":
        other.execute("BEGIN EXCLUSIVE")
    else:
        other.close()
        for part in ("-wal", "-shm"):
            file.with_name(file.name + part).unlink(missing_ok=True)
        file.write_bytes(b"this is no database" * 1000)

    done = command.run("stop", "--exchange", "bybit", "--json")

    told = json.loads(done.stdout)
    assert resting(venue.address.control_url) == []
    assert done.returncode == 0, (told, done.stderr)
    assert told["latched"] and told["exchanges"]["bybit"]["verified"]
    assert any("latched by a file" in problem for problem in told["problems"])
    assert (command.home / "latches" / "bybit.json").exists()

    if damage == "locked":
        other.execute("ROLLBACK")
        other.close()
    else:
        file.write_bytes(whole)
    refused = command.run("trade", "bybit", "--once")
    assert refused.returncode == 1
    assert "crypto-bot rearm bybit" in one_line(refused.stderr)
    assert command.run("rearm", "bybit", "--by", "ann", "--reason", "repaired").returncode == 0
    assert not latched(command.home)["bybit"]


async def test_a_venue_that_cannot_be_reached_is_not_called_clean(command: Command, venues: Venues) -> None:
    running = venues("bitbank", "bybit")
    await rest_orders(command.home, running["bitbank"], ours=1, by_hand=0)
    await rest_orders(command.home, running["bybit"], ours=1, by_hand=1)
    running["bitbank"].process.kill()
    running["bitbank"].process.wait()

    done = command.run("stop", "--json")

    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert not told["clean"] and told["not_reached"] == ["bitbank"]
    assert any("bitbank" in problem for problem in told["problems"])
    assert told["exchanges"]["bybit"]["verified"] and resting(running["bybit"].address.control_url) == []
    assert set(told["not_running"]) == {"bitflyer", "okcoinjp"}
    assert latched(command.home) == dict.fromkeys(EXCHANGES, True)
    shown = command.run("stop", "--exchange", "bitbank")
    assert shown.returncode == 1 and "NOT CLEAN" in shown.stdout


def test_a_venue_named_by_its_url_that_is_gone_is_not_called_clean(command: Command) -> None:
    env = {"BITBANK_API_KEY": "key-of-a-test", "BITBANK_API_SECRET": "secret-of-a-test"}
    url = "exchanges.bitbank.base_url=http://127.0.0.1:9"
    done = command.run("stop", "--exchange", "bitbank", "--set", url, "--json", env=env)
    assert done.returncode == 1
    assert json.loads(done.stdout)["not_reached"] == ["bitbank"]
    assert latched(command.home)["bitbank"]


def test_where_nothing_runs_the_stop_still_latches(command: Command) -> None:
    done = command.run("stop", "--exchange", "okj", "--reason", "a drill")
    assert done.returncode == 0, done.stderr
    assert "okcoinjp: no simulated venue is running" in done.stdout
    assert latched(command.home) == {**dict.fromkeys(EXCHANGES, False), "okcoinjp": True}
    refused = command.run("trade", "okj", "--once")
    assert refused.returncode == 1
    assert "a drill" in one_line(refused.stderr)


def test_a_rearm_is_in_the_name_of_a_person_and_said_in_the_status(command: Command) -> None:
    exchange: ExchangeName = "bitflyer"
    assert command.run("stop", "--exchange", exchange).returncode == 0
    assert "SET" in json.loads(command.run("status", "--json").stdout)[exchange]["kill_switch"]
    done = command.run("rearm", exchange, "--by", "ann", "--reason", "books were checked")
    assert done.returncode == 0 and "re-armed by ann" in done.stdout
    assert json.loads(command.run("status", "--json").stdout)[exchange]["kill_switch"] == "off"
    again = command.run("rearm", exchange, "--by", "ann", "--reason", "twice")
    assert again.returncode == 0 and "is not set" in again.stdout
