"""The canary: with DEBUG logging, faults and crashes no secret that was planted is found in anything that is left.

The whole of it, at four venues with every fault, is `make canary`.
"""

import gzip
import json
import os
import signal
import sqlite3
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from config.secret import Secret
from services.archive import write_archive
from services.simulated import VenueAddress, simulated_venues
from tests.canary import CRASH, SAID
from tests.cli.accounts import certify
from tests.cli.command import ROOT, Command, control, until
from tests.leaks import forms, search, search_backups, search_files
from tests.services.sinks import web_sink

VALUE = "pl4nted/Value+with=everything&more"
FAULTS = ("auth_revoked", "ack_html", "lost_ack", "rate_limited_html")
SETTINGS = (
    "--set=strategy.name=tests.canary.careless",
    "--set=risk.duplicate_window_seconds=0",
    "--set=risk.repeated_execution_limit=100000",
    "--set=risk.max_orders_per_day=100000",
    "--set=logging.level=DEBUG",
    "--set=execution.timeout=2",
)


@pytest.mark.parametrize("around", ["{}", "a{}b", "ab{}", "https://x/?k={}&z"])
def test_the_search_finds_each_form_that_it_looks_for(around: str, tmp_path: Path) -> None:
    whole = around.format(VALUE).encode()
    written = {
        "raw": whole,
        "hex": whole.hex().encode(),
        "hex, capitals": whole.hex().upper().encode(),
        "base64": b64encode(whole),
        "URL-encoded": quote(whole, safe="").encode(),
    }
    for form, data in written.items():
        found = {leak.form.partition(" at ")[0] for leak in search(b"before " + data + b" after", {"v": VALUE}, "x")}
        assert form in found
    for form, data in forms(VALUE):
        (tmp_path / "one").write_bytes(b"before " + data + b" after")
        found_in_file, files, _ = search_files(tmp_path, {"v": VALUE})
        assert form in {leak.form for leak in found_in_file} and files == 1


def test_the_search_finds_what_spans_the_pages_of_a_database_and_what_is_only_in_its_log(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "a.db")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE texts (said TEXT)")
    # The value stands across the edge of an overflow page, wherever that lies.
    database.execute("INSERT INTO texts VALUES (?)", (VALUE * 400,))
    database.commit()
    found, _, _ = search_files(tmp_path, {"v": VALUE})
    assert {"a.db, table texts", "a.db-wal"} <= {leak.place for leak in found}
    database.close()


def test_the_search_unpacks_what_is_packed_and_opens_backups(tmp_path: Path) -> None:
    (tmp_path / "prefect.log.1.gz").write_bytes(gzip.compress(f"said {VALUE}".encode()))
    part = tmp_path.parent / f"{tmp_path.name}.yml"
    part.write_text(f"password: {VALUE}")
    with (tmp_path / "crypto-bot.backup").open("wb") as file:
        write_archive(file, [("config/1-own.yml", part)], Secret("the key of the backup"))
    found, _, _ = search_files(tmp_path, {"v": VALUE})
    assert {leak.place for leak in found} == {"prefect.log.1.gz"}
    found, parts = search_backups(tmp_path, "the key of the backup", {"v": VALUE})
    assert {leak.place for leak in found} == {"crypto-bot.backup/config/1-own.yml"} and parts == ["config/1-own.yml"]


@pytest.mark.prefect
@pytest.mark.slow
def test_no_planted_secret_is_left_anywhere(command: Command, prefect_url: str, tmp_path: Path) -> None:
    planted = {
        "webhook": "w3bhook-T0ken/of=canary",
        "approval": "Appr0val-of-the-canary-9",
        "backup": "Back+up/of=the-canary-7",
        "ledger": "Led+ger=of-the-canary-5",
    }
    own = tmp_path / "own.yml"
    own.write_text(f"ledger:\n  url: postgresql://bot:{planted['ledger']}@127.0.0.1:9/bot\n")
    ledger = f"sqlite:///{command.home / 'ledger.db'}"  # which is used instead
    with (
        web_sink() as sink,
        simulated_venues(command.home, {"okcoinjp": ("--clock", "stepped", "--seed", "90125")}) as venues,
    ):
        address = venues["okcoinjp"].address
        planted |= {"key": address.api_key, "secret": address.api_secret, "passphrase": address.passphrase}
        command.environment |= {
            "PREFECT_API_URL": prefect_url,
            "PREFECT_LOGGING_LEVEL": "DEBUG",
            "PREFECT_LOGGING_EXTRA_LOGGERS": "ccxt,exchanges,execution,services,tasks,cli,aiohttp",
            "CRYPTO_BOT__ALERTS__CHANNELS": json.dumps([{"name": "web", "url_secret": "ALERTS_WEB", "level": "info"}]),
            "ALERTS_WEB": f"json://127.0.0.1:{sink.port}/w3bhook-T0ken%2Fof%3Dcanary",
            "CRYPTO_BOT_APPROVAL_SECRET": planted["approval"],
            "CRYPTO_BOT_BACKUP_KEY": planted["backup"],
            "CRYPTO_BOT__MONITORING__SINKS": '["file", "prometheus"]',
            SAID: address.api_secret,
        }
        certify(command.home, "okcoinjp", *SETTINGS)
        trader = command.start("trade", "okcoinjp", *SETTINGS)
        log = command.home / "logs" / "crypto-bot.log"

        def cycles() -> int:
            return command.said(trader).count("okcoinjp ramp_") + log.read_text().count("failed, the next cycle")

        until(lambda: log.exists() and cycles() >= 5, "five cycles")
        for fault in FAULTS:
            before = cycles()
            control(address.control_url, "faults", name=fault)
            until(lambda before=before: cycles() > before or trader.poll() is not None, f"a cycle with {fault}")
            _clear(address.control_url)
        trader.send_signal(signal.SIGINT)
        command.ended(trader)
        done = [
            command.run("stop", "--exchange", "okcoinjp"),
            command.run("alerts", "digest"),
            command.run("backup", env={"CRYPTO_BOT_CONFIG": str(own), "CRYPTO_BOT__LEDGER__URL": ledger}),
            command.run("secrets", "--json", env=_keys(address)),
            subprocess.run(
                [sys.executable, "-c", CRASH, address.api_secret],
                env=command.environ({}), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
            ),
        ]  # fmt: skip
        assert done[-1].returncode == 1 and "KeyError" in done[-1].stderr
        sink.wait_for(3)
        said = command.said(trader) + "".join(each.stdout + each.stderr for each in done)
        bodies = "\n".join(f"{each.body}\n{each.headers}" for each in sink.arrived)
    # The one place where the keys must stand, while the venue runs.
    assert not (command.home / "venues" / "okcoinjp.json").exists()
    text = log.read_text()
    for trace in ("DEBUG exchanges.wire_log", "RuntimeError: no signal", "'OK-ACCESS-SIGN': ••••"):
        assert trace in text  # there was something to hide
    assert "trouble with the key" in bodies or "a cycle failed" in bodies
    leaks = search(said.encode(), planted, "stdout and stderr") + search(bodies.encode(), planted, "alerts")
    for folder in (command.home, Path(os.environ["PREFECT_HOME"])):
        found, files, size = search_files(folder, planted)
        assert files and size
        leaks += found
    assert (command.home / "metrics" / "metrics.jsonl").stat().st_size
    in_backup, parts = search_backups(command.home, planted["backup"], planted)
    assert parts == ["manifest.json", "ledger.db", "settings.yml", "config/1-own.yml"]
    leaks += in_backup
    assert not leaks, "\n".join(map(str, leaks[:40]))


def _keys(address: VenueAddress) -> dict[str, str]:
    """The keys of the venue where a person puts them."""
    return {
        "CRYPTO_BOT__EXCHANGES__OKCOINJP__BASE_URL": "http://127.0.0.1:9",
        "OKCOINJP_API_KEY": address.api_key,
        "OKCOINJP_API_SECRET": address.api_secret,
        "OKCOINJP_PASSPHRASE": address.passphrase,
    }


def _clear(url: str) -> None:
    with urlopen(Request(f"{url}/faults", method="DELETE"), timeout=30) as reply:
        assert json.load(reply)["set"] == []
