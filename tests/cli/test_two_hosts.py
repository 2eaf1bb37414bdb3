"""Two hosts, one ledger: a trader moves from one to the other, killed or asleep, and no order is doubled.

A host is a home with its own configuration; PostgreSQL, the venues and Prefect's server are what both reach.
"""

import asyncio
import base64
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
from sqlalchemy import NullPool, Row, create_engine, text

from cli.prefect_auth import password_file
from cli.prefect_server import free_port
from config.loader import load_settings
from config.settings import ExchangeName, Settings
from execution.audit import audit_books
from execution.hold import LEASE_SECONDS
from services.ledger import Ledger
from services.simulated import RunningVenue, simulated_venues
from tasks.session import trading
from tests.cli.accounts import certify
from tests.cli.command import Command, control, one_line, processes_of, resting, until
from tests.cli.conftest import Venues
from tests.cli.test_trade import RESTING
from tests.cli.test_up import child
from tests.postgresql import postgresql
from trading.audit import AuditReport
from trading.orders import Order, State

KILLED: ExchangeName = "bybit"
ASLEEP: ExchangeName = "bitbank"


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgresql() as at:
        yield at


@dataclass
class Hosts:
    """Host a, host b, and what is common to them."""

    a: Command
    b: Command
    words: tuple[str, ...]
    venues: dict[ExchangeName, RunningVenue]
    ledger: Ledger
    url: str  # the ledger's

    def settings(self, host: Command) -> Settings:
        words = [word.removeprefix("--set=") for word in self.words]
        return load_settings((), words, {"CRYPTO_BOT_HOME": str(host.home)})

    def truth(self, name: ExchangeName) -> dict[str, Any]:
        told: dict[str, Any] = control(self.venues[name].address.control_url, "truth")
        return told

    def orders(self, name: ExchangeName) -> int:
        return len(self.truth(name)["orders"])

    def resting(self, name: ExchangeName) -> list[dict[str, Any]]:
        return resting(self.venues[name].address.control_url)


@pytest.fixture
def hosts(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    with simulated_venues(tmp_path / "venues", dict.fromkeys((KILLED, ASLEEP), ("--clock", "stepped"))) as venues:
        name = f"ledger_{uuid4().hex}"
        admin = create_engine(f"{database}/ledger", poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        url = f"{database}/{name}"
        words = [*RESTING, f"--set=ledger.url={url}", "--set=execution.timeout=20"]
        for exchange, venue in venues.items():
            at = f"--set=exchanges.{exchange}"
            words += [f"{at}.base_url={venue.address.base_url}", f"{at}.control_url={venue.address.control_url}"]
            monkeypatch.setenv(f"{exchange.upper()}_API_KEY", venue.address.api_key)
            monkeypatch.setenv(f"{exchange.upper()}_API_SECRET", venue.address.api_secret)
        made = [Command(tmp_path / host, {"PREFECT_API_URL": os.environ["PREFECT_API_URL"]}) for host in ("a", "b")]
        ledger = Ledger(url)
        try:
            yield Hosts(made[0], made[1], tuple(words), venues, ledger, url)
        finally:
            for host in made:
                host.end_all()
            ledger.close()


def in_the_middle_of_an_order(hosts: Hosts, name: ExchangeName) -> bool:
    """Whether an order was sent a moment ago and its answer has not come."""
    return [order.state for order in hosts.ledger.in_flight(name)] == [State.SENT]


def hangs_in_an_order(hosts: Hosts, name: ExchangeName) -> bool:
    """Whether an order is under way, and is half a second later: no answer takes so long."""
    if not in_the_middle_of_an_order(hosts, name):
        return False
    time.sleep(0.5)
    return in_the_middle_of_an_order(hosts, name)


def row_of(database: str, query: str, **named: object) -> Row[Any]:
    """The one row of a query, over a connection that ends with it."""
    with create_engine(database, poolclass=NullPool).connect() as connection:
        return connection.execute(text(query), named).one()


def holder(database: str, account: str) -> tuple[str, int]:
    row = row_of(database, "SELECT holder, token FROM leases WHERE account = :a", a=account)
    return str(row.holder), int(row.token)


def written_by(database: str, token: int, order: Order) -> tuple[int, int]:
    """How many intents bear a lease's token, and how many events the order has."""
    intents = "SELECT count(*) FROM orders WHERE account = :account AND lease_token = :token"
    events = "SELECT count(*) FROM events WHERE account = :account AND subject = :subject"
    named = {"account": order.account, "token": token, "subject": order.intent.client_order_id}
    return row_of(database, intents, **named)[0], row_of(database, events, **named)[0]


async def audited(hosts: Hosts, name: ExchangeName) -> AuditReport:
    async with trading(name, hosts.settings(hosts.b)) as here:
        return await audit_books(here.desk, hosts.truth(name))


@pytest.mark.prefect
@pytest.mark.walk
def test_a_trader_moves_to_another_host_after_it_was_killed_or_fell_asleep(hosts: Hosts, prefect_url: str) -> None:
    url, names = hosts.url, (KILLED, ASLEEP)
    for name in names:
        certify(hosts.a.home, name, *hosts.words)
    first = {name: hosts.a.start("trade", name, *hosts.words) for name in names}
    for name in names:
        until(lambda name=name: hosts.orders(name) >= 2, f"two orders at {name}")
    for name in names:
        control(hosts.venues[name].address.control_url, "faults", name="hang", times=1)
    for name in names:
        until(lambda name=name: hangs_in_an_order(hosts, name), f"{name} in the middle of an order")
        first[name].send_signal(signal.SIGKILL if name == KILLED else signal.SIGSTOP)
    left_at = time.monotonic()
    before = {name: holder(url, name) for name in names}
    known = {name: hosts.orders(name) for name in names}
    lost = {name: hosts.ledger.in_flight(name)[0] for name in names}

    # Fenced: nothing of the other host before the lease has run out.
    second = {name: hosts.b.start("trade", name, *hosts.words) for name in names}
    for name in names:
        until(lambda name=name: holder(url, name)[1] > before[name][1], f"{name} on the other host", 120)
    waited = time.monotonic() - left_at
    assert waited > LEASE_SECONDS - LEASE_SECONDS / 3 - 1, waited
    for name in names:
        until(lambda name=name: hosts.orders(name) > known[name] + 1 or second[name].poll() is not None, "it trades")
        assert second[name].poll() is None, hosts.b.said(second[name])
        # The order whose answer nobody heard exists once, and is known.
        found = hosts.ledger.order(name, lost[name].intent.client_order_id)
        assert found is not None and found.venue_order_id is not None, found
        assert found.state not in (State.SENT, State.UNKNOWN), found
    print(f"the other host had both accounts {waited:.1f} s after the first was gone")

    # The sleeper wakes in the middle of its order: it may write nothing any more, neither an intent nor how that order
    # came out, and leaves the orders of its successor alone.
    written = written_by(url, before[ASLEEP][1], lost[ASLEEP])
    first[ASLEEP].send_signal(signal.SIGCONT)
    assert hosts.a.ended(first[ASLEEP]) == 1, hosts.a.said(first[ASLEEP])
    assert f":{second[ASLEEP].pid} (" in hosts.a.said(first[ASLEEP])
    assert written_by(url, before[ASLEEP][1], lost[ASLEEP]) == written
    assert "cancelled" not in hosts.a.said(first[ASLEEP])

    # A stop from the host on which nothing trades: the traders of the other one hear it through the ledger.
    stopped = hosts.a.run("stop", *hosts.words)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    then = {name: hosts.orders(name) for name in names}
    for name in names:
        until(lambda name=name: "kill_switch" in hosts.b.said(second[name]), f"{name} refused by the kill switch")
        assert hosts.resting(name) == [] and hosts.orders(name) == then[name]
        second[name].send_signal(signal.SIGINT)
    for name in names:
        assert hosts.b.ended(second[name]) == 0, hosts.b.said(second[name])
        report = asyncio.run(audited(hosts, name))
        assert report.is_clean and report.orders == hosts.orders(name), report
    assert hosts.ledger.verify_chain() is None


def ask(api: str, password: str, path: str, **body: object) -> Any:
    """Call Prefect's API with its password: GET without a body, POST with one."""
    headers = {
        "Authorization": f"Basic {base64.b64encode(password.encode()).decode()}",
        "Content-Type": "application/json",
    }
    data = json.dumps(body).encode() if body else None
    with urlopen(Request(f"{api}/{path}", data=data, headers=headers), timeout=30) as reply:
        return json.load(reply)


@pytest.mark.walk
def test_up_on_postgresql_is_joined_by_another_host_whose_worker_runs_a_check(hosts: Hosts, database: str) -> None:
    certify(hosts.a.home, KILLED, *hosts.words)
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    for host in (hosts.a, hosts.b):
        host.environment["PREFECT_API_URL"] = ""
    on_postgresql = f"--set=prefect.database_url={database.replace('+psycopg', '')}/prefect"
    a = hosts.a.start("up", "--port", str(port), "-e", KILLED, *hosts.words, on_postgresql)
    until(lambda: "ready after" in hosts.a.said(a) or a.poll() is not None, "a first cycle", 240)
    assert a.poll() is None, hosts.a.said(a)
    at = f"{database}/prefect"
    assert row_of(at, "SELECT count(*) FROM deployment")[0] >= 8

    def due() -> int:
        return int(row_of(at, "SELECT count(*) FROM flow_run WHERE auto_scheduled")[0])

    until(lambda: due() > 0, "a scheduled run of the day's report: the scheduler fails (SQLAlchemy 2.1?)", 60)

    # The other host has a copy of the password and the address, nothing else.
    copy = password_file(hosts.b.home)
    copy.parent.mkdir(parents=True)
    copy.write_text(password_file(hosts.a.home).read_text())
    b = hosts.b.start("up", "-e", KILLED, *hosts.words, f"--set=prefect.api_url={api}")
    until(lambda: "the trader of bybit waits: bybit is traded by" in hosts.b.said(b) or b.poll() is not None, "b")
    workers = [until(lambda up=up: child(up.pid, "cli.prefect_worker"), "a worker") for up in (a, b)]

    os.kill(workers[0], signal.SIGSTOP)
    password = copy.read_text()
    deployment = ask(api, password, "deployments/name/read_only/read-only")["id"]
    run = ask(api, password, f"deployments/{deployment}/create_flow_run", parameters={"exchange": KILLED})["id"]
    ended = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
    until(lambda: ask(api, password, f"flow_runs/{run}")["state_type"] in ended, "the end of the check", 120)
    state = ask(api, password, f"flow_runs/{run}")["state"]
    assert state["type"] == "COMPLETED", (state, (hosts.b.home / "logs" / "worker.log").read_text()[-2000:])
    assert list((hosts.b.home / "budget").glob("bybit-*.requests")), "it ran on the other host, whose worker was asleep"
    os.kill(workers[0], signal.SIGCONT)

    # Who only waits goes without touching anything, and the other trades on.
    b.send_signal(signal.SIGINT)
    assert hosts.b.ended(b) == 0 and "cancelled" not in hosts.b.said(b), hosts.b.said(b)
    placed = hosts.orders(KILLED)
    until(lambda: hosts.orders(KILLED) > placed + 1, "two more orders")
    a.send_signal(signal.SIGINT)
    assert hosts.a.ended(a) == 0 and hosts.resting(KILLED) == [], hosts.a.said(a)


def test_a_stop_whose_kill_switch_no_other_host_can_see_is_not_clean(command: Command, venues: Venues) -> None:
    venues(KILLED)
    nobody = f"--set=ledger.url=postgresql+psycopg://bot@127.0.0.1:{free_port()}/ledger"
    stopped = command.run("stop", "-e", KILLED, "--json", nobody)
    told = json.loads(stopped.stdout)
    assert stopped.returncode == 1 and not told["latched"], told
    assert told["exchanges"][KILLED]["verified"], told  # the market itself is empty all the same
    assert any("another host does not see that file" in problem for problem in told["problems"])


def test_a_worker_needs_a_server_that_runs(command: Command) -> None:
    assert "name the server" in one_line(command.run("worker").stderr)
    refused = command.run("worker", f"--set=prefect.api_url=http://127.0.0.1:{free_port()}/api")
    assert refused.returncode == 2 and "does not answer" in one_line(refused.stderr)


@pytest.mark.prefect
def test_a_worker_by_itself_ends_in_order(command: Command, prefect_url: str) -> None:
    process = command.start("worker", f"--set=prefect.api_url={prefect_url}")
    log = command.home / "logs" / "worker.log"
    until(lambda: log.exists() and "started" in log.read_text(), "the worker", 60)
    process.send_signal(signal.SIGTERM)
    assert command.ended(process) == 0 and processes_of(command.home) == [], command.said(process)
