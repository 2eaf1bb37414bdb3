"""What a key may do, in the checks and in the order path, and a key that is rotated while the trader runs.

Real venues on loopback, a real ledger, Secret Manager's real client against a server on loopback.
"""

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from config.loader import DEMO_FILE
from config.settings import ExchangeName
from exchanges.base import KeyRights
from exchanges.errors import AuthenticationError
from execution.latch import kill_switch, rearm
from services.alerts import flush
from services.ledger import RungRecord
from services.simulated import RunningVenue
from tasks.account_checks import check_key
from tasks.carry_out import carry_out, reconcile_account
from tasks.decide import decide
from tasks.fingerprint import key_id
from tasks.key_report import key_checks
from tasks.keys import look_after_key
from tasks.ladder import grant_rung, place_of, review_rung
from tasks.market import read_market
from tasks.minimal_order import try_minimal_order
from tasks.session import Session, TradingSession, reading, trading
from tests.cli.command import control
from tests.flows.conftest import Market
from tests.google.secret_server import SecretServer, secret_server
from tests.services.sinks import web_sink
from trading.checks import Check, StageReport
from trading.instruments import Side
from trading.stages import CHECKS

TELLING: tuple[ExchangeName, ...] = ("bybit", "bitflyer", "okcoinjp")
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def report(here: Session, stage: str) -> StageReport:
    return report_of(here, (Check("a check", True, "seen"),), stage)


def report_of(here: Session, checks: tuple[Check, ...], stage: str = "read_only") -> StageReport:
    now = here.clock.now()
    return StageReport(stage, here.name, here.symbol, checks, now, now)


async def certify(here: TradingSession, rung: str) -> None:
    running, now = here.running(await here.listed()), here.clock.now()
    until = now + timedelta(days=30)
    here.ledger.issue_rung(
        RungRecord(here.account, here.symbol, rung, Decimal("0.01"), {}, "a test", now, until, asdict(running))
    )


async def cycle(here: TradingSession) -> str:
    """One cycle without Prefect; what it came to."""
    books = await reconcile_account.fn(here.name)
    decision = await decide.fn(here.name, here.clock.now().isoformat(), books, await read_market.fn(here.name))
    return (await carry_out.fn(here.name, here.clock.now().isoformat(), decision, books)).note


def orders_at(venue: RunningVenue) -> int:
    return len(control(venue.address.control_url, "truth")["orders"])


# -- what it may do


@pytest.mark.parametrize("name", TELLING)
async def test_a_key_that_may_withdraw_is_refused_by_check_order_path_and_ladder(
    market: Market, name: ExchangeName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_BOT__STRATEGY__NAME", "tests.cli.strategies.restless")
    venue = market(name)
    control(venue.address.control_url, "faults", name="withdraw_permission")
    async with reading(name) as here:
        checks = {check.name: check for check in await check_key.fn(name)}
        assert not checks["key: may withdraw"].passed and "without that right" in checks["key: may withdraw"].detail
        await grant_rung.fn(name, report(here, "compatibility"))
        assert await grant_rung.fn(name, report(here, "read_only")) == "compatibility"
    async with trading(name) as trader:
        await certify(trader, "read_only")
        (prepared,) = await try_minimal_order.fn(name)
        assert not prepared.passed and "may withdraw" in prepared.detail
        assert await grant_rung.fn(name, report(trader, "minimal_order")) == "read_only"
        for rung in (CHECKS[-1], "paper", "minimal"):
            await certify(trader, rung)
            review = await review_rung.fn(name)
            assert (review.verdict, review.after) == ("hold", rung) and "a key that cannot withdraw" in review.reasons
        told = [await cycle(trader) for _ in range(2)]
        assert any("key_rights: limit a key that cannot withdraw" in each for each in told), told
        latch = kill_switch(trader.settings.home, trader.ledger, trader.account)
        assert latch is not None and "key_rights" in latch.reason
    assert orders_at(venue) == 0


async def test_a_right_that_is_given_to_the_key_later_stops_the_trader_within_a_day(market: Market) -> None:
    venue = market("bitflyer")
    async with trading("bitflyer") as here:
        assert await look_after_key(here)
        control(venue.address.control_url, "faults", name="withdraw_permission")
        requests = here.reader.traffic().requests
        assert await look_after_key(here) and not here.may_withdraw
        assert here.reader.traffic().requests == requests  # asked once a day
        await here.clock.sleep(86_400)
        await look_after_key(here)
        latch = kill_switch(here.settings.home, here.ledger, here.account)
        assert latch is not None and "may withdraw" in latch.reason
        rearm(here.settings.home, here.ledger, here.account, "hanako", "so what", here.clock.now())
        await look_after_key(here)
        assert kill_switch(here.settings.home, here.ledger, here.account) is not None


async def test_a_venue_that_cannot_tell_is_said_to_be_unknown_and_not_held_against_the_key(market: Market) -> None:
    market("bitbank")
    async with reading("bitbank"):
        checks = {check.name: check for check in await check_key.fn("bitbank")}
    assert checks["key: may withdraw"].passed and checks["key: may withdraw"].detail == "unknown"
    assert "web page" in checks["key: may read"].detail and "does not tell" in checks["key: may withdraw"].warning


async def test_nothing_is_placed_before_the_venue_has_said_what_the_key_may_do(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTO_BOT__STRATEGY__NAME", "tests.cli.strategies.restless")
    monkeypatch.setenv("CRYPTO_BOT__EXECUTION__RETRY_ATTEMPTS", "1")
    venue = market("okcoinjp")
    async with trading("okcoinjp") as here:
        await certify(here, "minimal")
        await cycle(here)
        placed = orders_at(venue)
        here.rights, here._rights_at = None, None
        control(venue.address.control_url, "faults", name="unavailable", match="key")
        assert "has not said yet what the key may do" in await cycle(here)
        assert orders_at(venue) == placed


def test_the_report_warns_of_a_key_without_address_and_of_its_end() -> None:
    def told(**more: object) -> dict[str, Check]:
        values = {"can_read": True, "can_trade": True, "can_withdraw": False, "restricted_to_addresses": True}
        return {check.name: check for check in key_checks(KeyRights(**{**values, **more}), NOW, 14)}  # type: ignore[arg-type]

    bound = told(addresses=("192.0.2.7", "192.0.2.8"), local_address="192.0.2.8")
    assert not any(check.warning for check in bound.values()) and all(check.passed for check in bound.values())
    assert bound["key: bound to addresses"].detail == "192.0.2.7, 192.0.2.8"
    assert bound["key: our address"].detail == "192.0.2.8, which the key is bound to"
    loose = told(restricted_to_addresses=False, local_address="192.168.1.5", expires_at=NOW + timedelta(days=13))
    assert "bind it to your address" in loose["key: bound to addresses"].warning
    assert "ends in 13.0 days" in loose["key: expires"].warning
    assert "behind a router" in loose["key: our address"].detail
    assert not told(expires_at=NOW + timedelta(days=15))["key: expires"].warning
    assert "has expired" in told(expires_at=NOW - timedelta(days=1))["key: expires"].warning


async def test_what_the_venue_says_of_address_and_expiry_stands_in_the_check(market: Market) -> None:
    address = market("bybit").address
    soon = (datetime.now(UTC) + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    key = {"api_key": address.api_key, "api_secret": address.api_secret}
    async with reading("bybit") as here:
        bound = {check.name: check for check in await check_key.fn("bybit")}
        assert bound["key: bound to addresses"].detail == "127.0.0.1" and not any(
            each.warning for each in bound.values()
        )
        control(address.control_url, "keys", **key, addresses=[], expires_at=soon)
        loose = {check.name: check for check in await check_key.fn("bybit")}
        assert "from anywhere" in loose["key: bound to addresses"].warning
        assert "ends in" in loose["key: expires"].warning and all(each.passed for each in loose.values())
        assert {each.name for each in report_of(here, tuple(loose.values())).warnings} == {
            "key: bound to addresses",
            "key: expires",
        }
    for wrong, said in (({"api_key": "x"}, "api_secret"), ({**key, "addresses": "all"}, "a list")):
        with pytest.raises(HTTPError) as raised:
            control(address.control_url, "keys", **wrong)
        assert said in raised.value.read().decode()


# -- rotation


@dataclass
class Store:
    """A venue whose account is opened by keys from Secret Manager, and the configuration that pins them."""

    server: SecretServer
    venue: RunningVenue
    file: Path
    name: ExchangeName
    more: str = ""

    @property
    def secret(self) -> str:
        return f"crypto-bot-{self.name}"

    def store(self, key: str, **rights: object) -> int:
        """Make a key at the venue and put it into a new version."""
        made = {"api_key": key, "api_secret": f"{key}-secret", "passphrase": f"{key}-pass"}
        control(self.venue.address.control_url, "keys", **made, **rights)
        return self.server.add(self.secret, json.dumps(made))

    def revoke(self, key: str) -> None:
        url = f"{self.venue.address.control_url}/keys?api_key={key}"
        urlopen(Request(url, method="DELETE"), timeout=10).close()

    def pin(self, version: int) -> None:
        address = self.venue.address
        self.file.write_text(
            f"secrets:\n  provider: gcp\n  cache_ttl: 0\n  gcp:\n    project: ours\n    target: {self.server.address}\n"
            f"    total_timeout: 0.5\n    attempt_timeout: 0.5\n    versions: {{{self.secret}: {version}}}\n"
            f"exchanges:\n  {self.name}:\n    base_url: {address.base_url}\n    control_url: {address.control_url}\n"
        )

    async def rest_order(self, here: TradingSession) -> None:
        """An order that rests in the account: no other account has its id."""
        instrument, ticker = await here.reader.instrument(here.symbol), await here.reader.ticker(here.symbol)
        price = instrument.passive_price(Side.BUY, ticker.bid * Decimal("0.97"))
        quantity = str(instrument.smallest_quantity(price))
        order = {"symbol": here.symbol, "side": "buy", "type": "limit", "quantity": quantity, "price": str(price)}
        control(self.venue.address.control_url, "orders", **order)


@pytest.fixture
def store(
    market: Market, home: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Store]:
    name: ExchangeName = getattr(request, "param", "bitflyer")
    with secret_server() as server:
        made = Store(server, market(name), home / "mine.yml", name)
        made.store("first-key")
        made.pin(1)
        monkeypatch.setenv("CRYPTO_BOT_CONFIG", f"{DEMO_FILE}{os.pathsep}{made.file}")
        yield made


def in_use(here: TradingSession) -> str:
    assert here.credentials is not None
    return here.credentials.api_key.reveal()


def in_force(here: TradingSession) -> RungRecord:
    record = here.ledger.rung(here.account, here.symbol)
    assert record is not None
    return record


@pytest.mark.parametrize("store", ["bybit", "bitbank"], indirect=True)
async def test_a_rotated_key_is_taken_up_without_a_restart_and_keeps_what_its_account_has_earned(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async with trading(store.name) as here:
        await store.rest_order(here)
        await certify(here, "ramp_50")
        before = in_force(here)
        assert await look_after_key(here) and in_use(here) == "first-key"
        version = store.store("second-key")
        assert await look_after_key(here) and in_use(here) == "first-key"  # not pinned yet
        store.pin(version)
        with caplog.at_level(logging.INFO):
            assert await look_after_key(here)
        assert in_use(here) == "second-key"
        after = in_force(here)
        assert (after.rung, after.max_quantity, after.issued_at, after.expires_at) == (
            before.rung,
            before.max_quantity,
            before.issued_at,
            before.expires_at,
        )
        assert after.number != before.number and after.fingerprint["key"] == here.running().key
        assert after.evidence["key_rotated"]["proof"]
        assert here.ledger.verify_chain() is None
        store.revoke("first-key")
        await here.reader.balances()
        await here.paper_desk.exchange.order_book(here.symbol)
        assert "first-key" not in caplog.text and "second-key" not in caplog.text
        assert key_id(here.credentials.api_key) in caplog.text  # type: ignore[union-attr]


async def test_a_key_that_the_venue_has_forgotten_is_read_anew_before_the_cycle_fails(store: Store) -> None:
    async with trading(store.name) as here:
        await certify(here, "ramp_50")
        store.revoke("first-key")
        with pytest.raises(AuthenticationError):
            await reconcile_account.fn(store.name)
        asked = store.server.accesses()
        store.pin(store.store("second-key"))
        await reconcile_account.fn(store.name)
        assert in_use(here) == "second-key" and store.server.accesses() == asked + 1
        # The old key opened nothing any more: nothing shows that both open one account, and the ladder begins anew.
        assert in_force(here).fingerprint["key"] != here.running().key
        review = await review_rung.fn(store.name)
        assert (review.verdict, review.after) == ("demote", "compatibility")


@pytest.mark.parametrize("store", ["bybit"], indirect=True)
async def test_a_rotated_key_that_may_withdraw_or_does_not_open_the_account_is_not_taken_up(store: Store) -> None:
    async with trading(store.name) as here:
        await look_after_key(here)
        store.pin(store.store("greedy-key", may_withdraw=True))
        assert await look_after_key(here) and in_use(here) == "first-key"
        made = {"api_key": "unknown-key", "api_secret": "x-secret"}
        store.pin(store.server.add(store.secret, json.dumps(made)))
        assert await look_after_key(here) and in_use(here) == "first-key"
        here.learn_rights(KeyRights(True, True, False, True, account_id="somebody else's"))
        store.pin(store.store("third-key"))
        assert await look_after_key(here) and in_use(here) == "first-key"
        assert kill_switch(here.settings.home, here.ledger, here.account) is None
        await here.reader.balances()


@pytest.mark.parametrize("store", ["bybit"], indirect=True)
async def test_a_rotation_that_works_at_the_second_try_is_told_and_ends_what_was_told_of_the_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web_sink() as sink:
        monkeypatch.setenv(
            "CRYPTO_BOT__ALERTS__CHANNELS", '[{"name": "web", "url_secret": "ALERTS_WEB", "level": "info"}]'
        )
        store.server.add("crypto-bot-alerts-web", f"json://127.0.0.1:{sink.port}")
        async with trading(store.name) as here:
            await look_after_key(here)
            store.pin(store.store("greedy-key", may_withdraw=True))
            await look_after_key(here)
            store.pin(store.store("second-key"))
            await look_after_key(here)
            assert in_use(here) == "second-key"
        assert flush(10)
    told = [text.splitlines()[0] for text in sink.texts if "rotat" in text]
    assert ["not taken up" in told[0], told[1].startswith("over: "), "was rotated to" in told[2]] == [True, True, True]
    assert len(told) == 3


async def test_a_key_whose_secret_may_not_be_read_is_not_traded_with_until_it_may(store: Store) -> None:
    async with trading(store.name) as here:
        assert await look_after_key(here)
        store.server.disable(store.secret, 1)
        assert not await look_after_key(here)
        assert "disabled or destroyed" in here.key_trouble
        store.server.enable(store.secret, 1)
        assert await look_after_key(here) and not here.key_trouble


async def test_a_key_is_looked_after_though_the_clock_was_set_back_since_the_last_look(store: Store) -> None:
    async with trading(store.name) as here:
        assert await look_after_key(here)
        here.secret_read_at = here.wall_watch.wall.now() + timedelta(hours=9)
        store.server.disable(store.secret, 1)
        assert not await look_after_key(here)


async def test_an_old_version_is_warned_of_while_the_trader_runs(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.server.secrets[store.secret][0].created_at -= timedelta(days=91)
    async with trading(store.name) as here:
        await look_after_key(here)
    assert "rotation is due: crypto-bot-bitflyer version 1: enabled, 91 days old" in caplog.text


async def test_a_configuration_that_cannot_be_read_for_a_moment_changes_nothing(store: Store) -> None:
    async with trading(store.name) as here:
        assert await look_after_key(here)
        store.file.write_text("secrets:\n  provider: gcp\n  gcp: {versions: {crypto-bot-bitflyer")
        assert await look_after_key(here) and in_use(here) == "first-key"
        store.file.write_text("secrets:\n  provider: env\n")
        assert await look_after_key(here) and in_use(here) == "first-key"
        assert place_of(here).record() is None
