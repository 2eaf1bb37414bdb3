"""`crypto-bot stop` from another process: nothing is left in any market, proved by reading, without Prefect."""

import json
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest

from config.settings import EXCHANGES, ExchangeName
from execution.latch import kill_switch
from services.ledger import Ledger
from tests.cli.accounts import rest_orders, settings_of
from tests.cli.command import Command, one_line, resting, until
from tests.cli.conftest import Venues
from tests.execution.cancel_proxy import cancel_proxy


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


async def test_a_reason_typed_in_another_encoding_stops_no_stop(command: Command, venues: Venues) -> None:
    venue = venues("bybit")["bybit"]
    await rest_orders(command.home, venue, ours=1, by_hand=1)
    in_shift_jis = "緊急停止".encode("shift_jis").decode("utf-8", "surrogateescape")

    done = command.run("stop", "--exchange", "bybit", "--reason", in_shift_jis)

    assert resting(venue.address.control_url) == []
    assert done.returncode == 0, done.stderr[-2000:]
    assert latched(command.home)["bybit"]
    assert json.loads(command.run("status", "--json").stdout)["bybit"]["kill_switch"].startswith("SET: ?")


@pytest.mark.parametrize("names", [("bybit", "bitbank"), ("bybit", "ALL")])
def test_every_exchange_that_is_named_is_stopped(command: Command, names: tuple[str, str]) -> None:
    done = command.run("stop", "--exchange", names[0], "-e", names[1])
    assert done.returncode == 0, done.stderr
    every = names[1] == "ALL"
    assert latched(command.home) == {name: every or name in names for name in EXCHANGES}


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl+C", "SIGTERM"])
async def test_an_interrupted_stop_tells_what_is_left_and_what_to_do(
    command: Command, venues: Venues, number: signal.Signals
) -> None:
    venue = venues("bitbank", clock="wall")["bitbank"]
    address = venue.address
    await rest_orders(command.home, venue, ours=1, by_hand=1)
    with cancel_proxy(address.base_url, "502") as proxy:
        env = {"BITBANK_API_KEY": address.api_key, "BITBANK_API_SECRET": address.api_secret}
        words = (f"exchanges.bitbank.base_url={proxy.url}", f"exchanges.bitbank.control_url={address.control_url}")
        process = command.start(
            "stop", "--exchange", "bitbank", "--json", "--set", words[0], "--set", words[1], env=env
        )
        until(proxy.cancel_arrived.is_set, "a cancel")
        process.send_signal(number)
        assert command.ended(process, 20) == 1, command.said(process)
    said = command.said(process)
    told = json.loads(said[: said.rindex("}\n") + 1])
    assert not told["clean"]
    assert len(told["exchanges"]["bitbank"]["left"]) == 2
    assert any("interrupted before it was proved" in each for each in told["exchanges"]["bitbank"]["problems"])
    assert sum("LEFT buy" in each for each in told["to_do"]) == 2
    assert any("crypto-bot stop --exchange bitbank" in each for each in told["to_do"])
    assert "Traceback" not in said


async def test_a_terminal_that_is_closed_ends_no_stop(command: Command, venues: Venues) -> None:
    venue = venues("bitflyer", clock="wall")["bitflyer"]  # its proof takes some seconds
    await rest_orders(command.home, venue, ours=1, by_hand=1)
    process = command.start("stop", "--exchange", "bitflyer")
    until(lambda: not resting(venue.address.control_url), "an empty market")
    process.send_signal(signal.SIGHUP)
    assert command.ended(process) == 0, command.said(process)
    assert "nothing is left in the market" in command.said(process)


async def test_a_home_that_cannot_be_written_still_cancels_and_is_not_called_clean(
    command: Command, venues: Venues
) -> None:
    venue = venues("okcoinjp")["okcoinjp"]
    await rest_orders(command.home, venue, ours=0, by_hand=3)
    for each in ("latches", "budget", "logs"):  # what no right can be lacking for, root's included
        shutil.rmtree(command.home / each, ignore_errors=True)
        (command.home / each).write_text("not a folder")
    for part in command.home.glob("ledger.db*"):
        part.unlink()
    (command.home / "ledger.db").mkdir()

    done = command.run("stop", "--exchange", "okj", "--json")

    told = json.loads(done.stdout)
    assert resting(venue.address.control_url) == []
    assert done.returncode == 1
    assert not told["latched"] and told["exchanges"]["okcoinjp"]["verified"]
    assert any("could not be latched" in each for each in told["problems"])
    assert any("the kill switch is not set" in each for each in told["to_do"])


async def test_what_prefect_is_told_by_the_environment_is_nothing_to_the_stop(command: Command, venues: Venues) -> None:
    venue = venues("bybit")["bybit"]
    await rest_orders(command.home, venue, ours=1, by_hand=1)
    away = {
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "PREFECT_PROFILE": "no-such-profile",
        "PREFECT_HOME": "/dev/null",
    }
    done = command.run("stop", "--exchange", "bybit", "--json", env=away)
    assert done.returncode == 0, done.stdout + done.stderr
    assert resting(venue.address.control_url) == []


async def test_a_torn_budget_file_does_not_keep_the_stop_waiting(command: Command, venues: Venues) -> None:
    venue = venues("okcoinjp", clock="wall")["okcoinjp"]
    await rest_orders(command.home, venue, ours=0, by_hand=5)
    for file in (command.home / "budget").glob("*.requests"):
        file.write_text("torn")
    process = command.start("stop", "--exchange", "okj")
    until(lambda: not resting(venue.address.control_url), "an empty market", 30)
    process.send_signal(signal.SIGTERM)  # the proof would have to wait for the budget
    assert command.ended(process, 30) in (0, 1)
