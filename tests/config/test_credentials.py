import copy
import json
import pickle

import pytest

from config.credentials import credentials_from_environment, without_secrets
from config.errors import ConfigurationError
from config.secret import Secret, watch_secrets
from config.settings import Endpoint


def test_every_exchange_reads_its_own_variables() -> None:
    environ = {"BITBANK_API_KEY": "key-1", "BITBANK_API_SECRET": " secret-1\n"}
    found = credentials_from_environment("bitbank", Endpoint.LIVE, environ)
    assert (found.api_key.reveal(), found.api_secret.reveal(), bool(found.passphrase)) == (
        "key-1",
        "secret-1",
        False,
    )


def test_bybits_testnet_has_keys_of_its_own() -> None:
    live = {"BYBIT_API_KEY": "live-71", "BYBIT_API_SECRET": "live-71"}
    with pytest.raises(ConfigurationError, match="set BYBIT_TESTNET_API_KEY, BYBIT_TESTNET_API_SECRET in"):
        credentials_from_environment("bybit", Endpoint.TESTNET, live)
    assert credentials_from_environment("bybit", Endpoint.SIMULATED, live).api_key.reveal() == "live-71"


def test_okj_needs_its_passphrase_and_an_empty_variable_is_a_missing_one() -> None:
    environ = {"OKCOINJP_API_KEY": "key", "OKCOINJP_API_SECRET": "", "BITBANK_API_SECRET": "other"}
    with pytest.raises(ConfigurationError) as raised:
        credentials_from_environment("okcoinjp", Endpoint.LIVE, environ)
    assert str(raised.value) == (
        "okcoinjp (live) needs credentials: set OKCOINJP_API_SECRET, OKCOINJP_PASSPHRASE in the environment"
    )


@pytest.mark.parametrize("value", ["a-key\na-secret", "a-key\u200b", "a-key\x00"])
def test_a_key_with_more_in_it_than_can_be_seen_is_refused_by_its_name_alone(value: str) -> None:
    environ = {"BITBANK_API_KEY": value, "BITBANK_API_SECRET": "秘密 with a space"}
    with pytest.raises(ConfigurationError, match="BITBANK_API_KEY holds a line break or another") as raised:
        credentials_from_environment("bitbank", Endpoint.LIVE, environ)
    assert "a-key" not in str(raised.value) and raised.value.section == "keys"


def test_whatever_prints_a_secret_prints_dots() -> None:
    credentials = credentials_from_environment(
        "bitflyer", Endpoint.LIVE, {"BITFLYER_API_KEY": "kk-1", "BITFLYER_API_SECRET": "ss-1"}
    )
    for printed in (
        repr(credentials),
        str(credentials.api_key),
        f"{credentials.api_secret:>20}",
        f"{credentials}",
    ):
        assert "••••" in printed
        assert "kk-1" not in printed
        assert "ss-1" not in printed


def test_a_secret_leaves_the_process_by_no_common_way() -> None:
    secret = Secret("stays-here")
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        copy.deepcopy(secret)


def test_a_watcher_hears_of_secrets_made_before_and_after() -> None:
    Secret("before-71")
    heard: list[str] = []
    watch_secrets(heard.append)
    Secret("after-71")
    Secret("after-71")
    assert "before-71" in heard
    assert heard.count("after-71") == 1


def test_a_child_process_is_given_the_keys_that_it_needs_and_no_others() -> None:
    environ = {
        "PATH": "/bin",
        "CRYPTO_BOT_HOME": "var",
        "CRYPTO_BOT__LEDGER__URL": "sqlite://",
        "CRYPTO_BOT_APPROVAL_SECRET": "a",
        "ALERTS_SLACK": "slack://",
        "BITBANK_API_KEY": "b",
        "BYBIT_API_SECRET": "c",
        "BYBIT_TESTNET_API_KEY": "d",
        "OKCOINJP_PASSPHRASE": "e",
    }
    plain = ["PATH", "CRYPTO_BOT_HOME", "CRYPTO_BOT__LEDGER__URL", "ALERTS_SLACK"]
    assert list(without_secrets(environ)) == plain
    assert list(without_secrets(environ, ["bybit"])) == [*plain, "BYBIT_API_SECRET", "BYBIT_TESTNET_API_KEY"]
