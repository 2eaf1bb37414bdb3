import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config.credentials import Credentials
from config.errors import ConfigurationError
from config.loader import load_settings
from config.secret import Secret
from config.settings import EXCHANGES, Settings
from exchanges import (
    ApiVersionManager,
    create_exchange_client,
    create_exchange_reader,
    requests_per_cycle,
)
from exchanges import versions as versions_module

KEYS = Credentials(Secret("a-key"), Secret("a-secret"), Secret("a-phrase"))


def settings(home: Path, *overrides: str) -> Settings:
    addresses = [f"exchanges.{name}.base_url=http://127.0.0.1:1" for name in EXCHANGES]
    return load_settings(overrides=[f"home={home}", *addresses, *overrides], environ={})


def test_importing_the_package_imports_no_ccxt() -> None:
    code = "import sys, exchanges; sys.exit('ccxt' in sys.modules or 'config' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_adapters_are_loaded_one_by_one() -> None:
    code = """if True:
        import sys
        from exchanges import create_exchange_client, ExchangeReader
        assert 'ccxt' not in sys.modules
        import exchanges.bitbank
        assert 'exchanges.bybit' not in sys.modules
    """
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", [*EXCHANGES, "okj"])
def test_a_client_is_made_for_every_name(name: str, tmp_path: Path) -> None:
    client: Any = create_exchange_client(name, settings=settings(tmp_path), credentials=KEYS)
    assert client.name == ("okcoinjp" if name == "okj" else name)
    assert client.client.wiring.may_trade
    reader: Any = create_exchange_reader(name, settings=settings(tmp_path), credentials=KEYS)
    assert not reader.client.wiring.may_trade
    assert not hasattr(reader, "place")


@pytest.mark.parametrize("name", EXCHANGES)
async def test_a_rotated_key_goes_on_with_what_was_sent_and_said_under_the_one_before(
    name: str, tmp_path: Path
) -> None:
    before: Any = create_exchange_client(name, settings=settings(tmp_path), credentials=KEYS)
    window = before.client.wiring.per_minute
    for _ in range(3):
        await before.client.wiring.budget.acquire((window,))
    before.client.wiring.budget.be_quiet(30)
    rotated = Credentials(Secret("b-key"), Secret("b-secret"), Secret("b-phrase"))
    after: Any = create_exchange_client(name, settings=settings(tmp_path), credentials=rotated)
    assert after.client.wiring.budget.used(window) == 3
    assert after.client.wiring.budget.quiet_ms() > 25_000


def test_keys_come_from_the_environment_where_none_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BITBANK_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="BITBANK_API_KEY"):
        create_exchange_client("bitbank", settings=settings(tmp_path))
    monkeypatch.setenv("BITBANK_API_KEY", "from-the-environment")
    monkeypatch.setenv("BITBANK_API_SECRET", "secret-of-a-test")
    client: Any = create_exchange_client("bitbank", settings=settings(tmp_path))
    assert client.client.apiKey == "from-the-environment"


def test_an_unknown_exchange_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"bitfyler.*bitflyer"):
        create_exchange_client("bitfyler", settings=settings(tmp_path), credentials=KEYS)


def test_a_simulated_endpoint_without_address_never_becomes_a_live_one(tmp_path: Path) -> None:
    unset = load_settings(overrides=[f"home={tmp_path}"], environ={})
    for name in EXCHANGES:
        with pytest.raises(ConfigurationError, match=rf"exchanges\.{name}\.base_url"):
            create_exchange_client(name, settings=unset, credentials=KEYS)


def test_the_testnet_is_reached_at_its_own_host(tmp_path: Path) -> None:
    overrides = [f"home={tmp_path}", "exchanges.bybit.endpoint=testnet"]
    bybit: Any = create_exchange_client(
        "bybit", settings=load_settings(overrides=overrides, environ={}), credentials=KEYS
    )
    assert "testnet" in bybit.client.urls["api"]["private"]


def test_two_endpoints_of_a_venue_do_not_share_a_budget(tmp_path: Path) -> None:
    paths = set()
    for address in ("http://127.0.0.1:1", "http://127.0.0.1:2"):
        chosen = settings(tmp_path, f"exchanges.bybit.base_url={address}")
        client: Any = create_exchange_client("bybit", settings=chosen, credentials=KEYS)
        paths.add(client.client.wiring.budget._path)
    assert len(paths) == 2
    assert all(path.parent == tmp_path / "budget" for path in paths)
    assert not any("a-key" in str(path) for path in paths)


def test_what_a_cycle_needs_is_counted_in_the_venues_own_requests(tmp_path: Path) -> None:
    need = requests_per_cycle("okj", {"instruments": 1, "ticker": 1}, settings(tmp_path))
    assert need.by_call == {"instruments": 2, "ticker": 1}
    assert need.requests_per_minute == 20
    assert need.allowed_per_minute == 12


def test_the_report_finds_everything_that_is_used_in_the_installed_ccxt() -> None:
    report = ApiVersionManager().generate_compatibility_report()
    assert report.compatible
    assert report.ccxt_pinned == report.ccxt_installed
    assert [each.name for each in report.exchanges] == list(EXCHANGES)
    assert "NOT" not in str(report)


def test_the_report_names_a_call_that_ccxt_has_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    from exchanges.bybit import BybitClient
    from exchanges.transport import Route

    lost = Route("GET", "v5/market/soothsayer", "public")
    monkeypatch.setattr(BybitClient, "routes", {**BybitClient.routes, ("public", "GET", lost.path): lost})
    monkeypatch.setattr(versions_module, "HOOKS", (*versions_module.HOOKS, "fetch3"))
    info = ApiVersionManager().get_exchange_client_info("bybit")
    assert info.missing == ("public GET v5/market/soothsayer", "bybit.fetch3")
    assert not info.compatible
    assert "soothsayer" in str(info)


def test_a_clients_description_says_where_it_goes_and_what_it_calls() -> None:
    info = ApiVersionManager().get_exchange_client_info("okj")
    assert (info.name, info.ccxt_class, info.hosts) == ("okcoinjp", "ccxt.okx", ("https://api.okj.com",))
    assert "private POST trade/order" in info.endpoints
    assert not info.has_testnet
