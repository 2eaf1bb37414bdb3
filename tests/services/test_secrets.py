"""Secrets from Google Secret Manager by its real client, against a server on loopback, and from the environment."""

import gc
import json
import logging
import pickle
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

import grpc
import pytest

from config.errors import ConfigurationError
from config.loader import load_settings
from config.secret import Secret
from config.settings import Settings
from services.logs import mask_secrets
from services.secret_manager import SecretManager
from services.secrets import (
    SecretMissing,
    SecretRefused,
    SecretUnavailable,
    credentials,
    describe,
    describe_named,
    named,
    read_credentials,
)
from tests.google.secret_server import SecretServer, secret_server

BOTH = json.dumps({"api_key": "key-in-google", "api_secret": "secret-in-google"})
CANARY = "canary-3f9a-do-not-show"


@pytest.fixture
def server() -> Iterator[SecretServer]:
    with secret_server() as running:
        yield running


def settings(server: SecretServer, *more: str) -> Settings:
    """bitbank beside a venue of its own address, so that its keys come from the provider."""
    return load_settings(
        overrides=[
            "secrets.provider=gcp",
            "secrets.gcp.project=our-project",
            f"secrets.gcp.target={server.address}",
            "exchanges.bitbank.base_url=http://127.0.0.1:1",
            "exchanges.okcoinjp.base_url=http://127.0.0.1:1",
            *more,
        ],
        environ={},
    )


def manager(server: SecretServer, *, total: float = 5.0, attempt: float = 2.0) -> SecretManager:
    return SecretManager("our-project", None, server.address, attempt_seconds=attempt, total_seconds=total)


# -- what is read


def test_one_json_secret_holds_the_keys_of_an_exchange(server: SecretServer) -> None:
    server.add("crypto-bot-bitbank", BOTH)
    found = credentials(settings(server), "bitbank")
    assert (found.api_key.reveal(), found.api_secret.reveal()) == ("key-in-google", "secret-in-google")
    server.add("crypto-bot-okcoinjp", json.dumps({"api_key": "k-1", "api_secret": "s-1", "passphrase": "p-1"}))
    assert credentials(settings(server), "okcoinjp").passphrase.reveal() == "p-1"


def test_a_secret_for_each_field_is_read_by_its_own_pinned_version(server: SecretServer) -> None:
    for field in ("key", "secret"):
        for number in (1, 2, 3):
            server.add(f"prod_bitbank-api-{field}", f"{field}-{number}\n")
    versions = "{prod_bitbank-api-key: 2, prod_bitbank-api-secret: 3}"
    found = credentials(
        settings(
            server, "secrets.gcp.layout=field", "secrets.gcp.name=prod_{name}", f"secrets.gcp.versions={versions}"
        ),
        "bitbank",
    )
    assert (found.api_key.reveal(), found.api_secret.reveal()) == ("key-2", "secret-3")
    assert [name.rpartition("/")[2] for _, name in server.asked] == ["2", "3"]


def test_latest_is_the_highest_number_also_where_that_is_disabled(server: SecretServer) -> None:
    server.add("crypto-bot-bitbank", BOTH)
    assert server.add("crypto-bot-bitbank", BOTH) == 2
    assert manager(server).read("crypto-bot-bitbank", "latest", ttl=0).number == 2
    server.disable("crypto-bot-bitbank", 2)
    with pytest.raises(SecretRefused, match="FAILED_PRECONDITION"):
        manager(server).read("crypto-bot-bitbank", "latest", ttl=0)


def test_regional_secrets_are_asked_for_in_their_region(server: SecretServer) -> None:
    server.add("crypto-bot-bitbank", BOTH)
    credentials(settings(server, "secrets.gcp.location=asia-northeast1"), "bitbank")
    wanted = "projects/our-project/locations/asia-northeast1/secrets/crypto-bot-bitbank/versions/latest"
    assert server.asked == [("AccessSecretVersion", wanted)]
    assert f"name={wanted}" in server.headers[0]["x-goog-request-params"].replace("%2F", "/")


def test_any_other_secret_is_found_by_the_name_of_its_variable(server: SecretServer) -> None:
    server.add("crypto-bot-approval-secret", "a long secret of a person")
    assert named(settings(server), "CRYPTO_BOT_APPROVAL_SECRET").reveal() == "a long secret of a person"
    with pytest.raises(SecretMissing, match="secrets/crypto-bot-webhook-url/versions/latest"):
        named(settings(server), "CRYPTO_BOT_WEBHOOK_URL")


async def test_reading_does_not_hold_up_the_event_loop(server: SecretServer) -> None:
    import asyncio

    server.add("crypto-bot-bitbank", BOTH)
    server.answering.clear()
    waiting = asyncio.ensure_future(read_credentials(settings(server), "bitbank"))
    done, _ = await asyncio.wait({waiting}, timeout=0.05)  # the loop turns; held up, it would find the reading given up
    assert not done
    server.answering.set()
    assert (await waiting).api_key.reveal() == "key-in-google"


# -- what is wrong with it


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        (lambda server: server.disable("s", 1), SecretRefused, "disabled or destroyed"),
        (lambda server: server.destroy("s", 1), SecretRefused, "disabled or destroyed"),
        (lambda server: server.denied.add("s"), SecretRefused, "roles/secretmanager.secretAccessor"),
        (lambda server: server.secrets.clear(), SecretMissing, "no such secret"),
        (
            lambda server: setattr(server, "failures", [grpc.StatusCode.UNAUTHENTICATED]),
            SecretRefused,
            "workload identity",
        ),
        (lambda server: setattr(server, "failures", [grpc.StatusCode.INVALID_ARGUMENT]), SecretRefused, "INVALID"),
    ],
)
def test_a_refusal_is_told_at_once_and_forgets_what_was_kept(
    server: SecretServer, wrong: object, kind: type[Exception], said: str
) -> None:
    server.add("s", CANARY)
    reader = manager(server, total=0.3)
    assert reader.read("s", 1, ttl=0).text == Secret(CANARY)
    wrong(server)  # type: ignore[operator]
    with pytest.raises(kind, match=said):
        reader.read("s", 1, ttl=0)
    assert server.accesses() == 2  # the first reading, and this one once
    server.down = True
    with pytest.raises(SecretUnavailable):  # nothing is kept that could be given
        reader.read("s", 1, ttl=1000)


def test_a_passing_trouble_is_repeated_through(server: SecretServer) -> None:
    server.add("s", "text")
    server.failures = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL]
    assert manager(server).read("s", 1, ttl=0).text.reveal() == "text"
    assert server.accesses() == 4


@pytest.mark.parametrize("trouble", ["down", "slow", "nobody listens", "never answers"])
def test_a_service_that_is_away_costs_no_more_than_it_is_allowed(server: SecretServer, trouble: str) -> None:
    server.add("s", "text")
    reader = manager(server, total=1.2, attempt=0.5)
    if trouble == "down":
        server.down = True
    elif trouble == "slow":
        server.answering.clear()
    elif trouble == "nobody listens":
        reader = SecretManager("p", None, "127.0.0.1:1", attempt_seconds=0.5, total_seconds=1.2)
    else:
        import socket

        silent = socket.create_server(("127.0.0.1", 0))
        reader = SecretManager(
            "p", None, f"127.0.0.1:{silent.getsockname()[1]}", attempt_seconds=0.5, total_seconds=1.2
        )
    began = time.monotonic()
    with pytest.raises(SecretUnavailable, match="cannot be read now"):
        reader.read("s", 1, ttl=0)
    first, asked = time.monotonic() - began, len(server.asked)
    assert first < 3  # it is allowed 1.2 s
    began = time.monotonic()
    with pytest.raises(SecretUnavailable):  # the next secret is not waited for again
        reader.read("another", 1, ttl=0)
    assert time.monotonic() - began < first / 4 and len(server.asked) == asked


def test_a_process_that_google_does_not_know_is_told_so_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    began = time.monotonic()
    with pytest.raises(SecretRefused, match=r"UNAUTHENTICATED.*gcloud auth application-default login"):
        SecretManager("p").read("s", 1, ttl=0)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("content", [None, "[]", '"text"', "{", "\udcff"])
def test_credentials_for_google_that_are_none_are_told_as_such(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "google.json"
    if content is None:
        path.mkdir()  # as Docker makes it of a file that is to be mounted and is not there
    else:
        path.write_text(content, encoding="utf-8", errors="surrogateescape")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with pytest.raises(SecretRefused, match=r"UNAUTHENTICATED.*gcloud auth application-default login"):
        SecretManager("p").read("s", 1, ttl=0)


def test_five_seconds_are_the_most_that_can_be_set() -> None:
    for key in ("attempt_timeout", "total_timeout"):
        with pytest.raises(ConfigurationError, match=f"secrets.gcp.{key}: .*less than or equal to 5"):
            load_settings(overrides=[f"secrets.gcp.{key}=6"], environ={})


def test_a_damaged_payload_is_asked_for_again_and_never_used(server: SecretServer) -> None:
    server.add("s", "text")
    server.damaged = 1
    reader = manager(server, total=1.0)
    assert reader.read("s", 1, ttl=0).text.reveal() == "text"
    server.damaged = 1000
    assert reader.read("s", 1, ttl=0).text.reveal() == "text"  # the last good one
    with pytest.raises(SecretUnavailable, match="comes damaged"):
        manager(server, total=0.5).read("s", 1, ttl=0)
    server.damaged, server.without_checksum = 0, True
    with pytest.raises(SecretUnavailable, match="comes damaged"):
        manager(server, total=0.5).read("s", 1, ttl=0)


def test_a_checksum_of_the_published_vector_is_the_one_that_google_uses() -> None:
    import google_crc32c

    assert google_crc32c.value(b"123456789") == 0xE3069283


@pytest.mark.parametrize(
    "payload",
    [
        "",
        CANARY,
        f'["{CANARY}"]',
        f'{{"api_key": "{CANARY}"}}',
        f'{{"api_key": "{CANARY}", "api_secret": 7}}x',
        b"\xff" + CANARY.encode(),
        json.dumps({"api_key": "two", "api_secret": f"lines\n{CANARY}"}),
        json.dumps({"api_key": f"{CANARY}\u200b", "api_secret": "with a space that cannot be seen"}),
    ],
)
def test_a_secret_that_is_no_key_is_refused_without_telling_what_it_is(
    server: SecretServer, payload: str | bytes
) -> None:
    server.add("crypto-bot-bitbank", payload)
    with pytest.raises(SecretRefused) as raised:
        credentials(settings(server), "bitbank")
    assert_told_nowhere(raised.value)


def test_a_field_of_two_lines_is_refused_by_the_name_of_its_secret(server: SecretServer) -> None:
    server.add("crypto-bot-bitbank-api-key", f"a-key\n{CANARY}\n")
    server.add("crypto-bot-bitbank-api-secret", CANARY)
    with pytest.raises(SecretRefused, match="crypto-bot-bitbank-api-key holds a line break") as raised:
        credentials(settings(server, "secrets.gcp.layout=field"), "bitbank")
    assert_told_nowhere(raised.value)


def test_a_secret_that_windows_saved_with_its_mark_is_read(server: SecretServer) -> None:
    server.add("crypto-bot-bitbank", b"\xef\xbb\xbf" + BOTH.encode())
    assert credentials(settings(server), "bitbank").api_key.reveal() == "key-in-google"


# -- how long it is kept


def test_a_value_is_asked_for_again_after_its_time_and_a_pinned_change_at_once(server: SecretServer) -> None:
    server.add("s", "one")
    now = [1000.0]
    reader = SecretManager("our-project", None, server.address, steady=lambda: now[0])
    for _ in range(3):
        assert reader.read("s", 1, ttl=300).text.reveal() == "one"
    assert server.accesses() == 1
    server.add("s", "two")
    assert reader.read("s", 2, ttl=300).text.reveal() == "two"
    now[0] += 301
    reader.read("s", 1, ttl=300)
    assert server.accesses() == 3
    reader.read("s", 1, ttl=300, fresh=True)
    assert server.accesses() == 4


def test_the_last_good_value_is_used_while_the_service_is_away_and_not_once_it_is_denied(
    server: SecretServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.add("s", CANARY)
    reader = manager(server, total=0.5)
    reader.read("s", 1, ttl=0)
    server.down = True
    for _ in range(2):
        assert reader.read("s", 1, ttl=0).text == Secret(CANARY)
    assert "is used" in caplog.text and CANARY not in caplog.text
    server.down = False
    server.denied.add("s")
    reader._away_until = 0.0  # ten seconds later
    with pytest.raises(SecretRefused):
        reader.read("s", 1, ttl=0)


# -- no fallback


def test_no_provider_stands_in_for_the_other(server: SecretServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITBANK_API_KEY", "key-of-the-environment")
    monkeypatch.setenv("BITBANK_API_SECRET", "secret-of-the-environment")
    with pytest.raises(SecretMissing):
        credentials(settings(server), "bitbank")
    server.add("crypto-bot-bitbank", BOTH)
    monkeypatch.delenv("BITBANK_API_KEY")
    with pytest.raises(ConfigurationError, match="set BITBANK_API_KEY in the environment"):
        credentials(settings(server, "secrets.provider=env"), "bitbank")


@pytest.mark.parametrize("pinned", ["{}", "{crypto-bot-bitbank: latest}"])
def test_latest_is_refused_for_a_live_exchange(pinned: str) -> None:
    gcp = ["secrets.provider=gcp", "secrets.gcp.project=p", f"secrets.gcp.versions={pinned}"]
    with pytest.raises(ConfigurationError, match="bitbank is live, and no version of crypto-bot-bitbank is pinned"):
        load_settings(overrides=[*gcp, "exchanges.bitbank.endpoint=live"], environ={})
    found = load_settings(overrides=[*gcp, "exchanges.bybit.endpoint=testnet"], environ={})
    assert found.secrets.gcp.version_of("crypto-bot-bybit-testnet") == "latest"


def test_other_secrets_are_pinned_too_once_an_exchange_is_live() -> None:
    live = load_settings(
        overrides=[
            "secrets.provider=gcp",
            "secrets.gcp.project=p",
            "secrets.gcp.versions={crypto-bot-bitbank: 3}",
            "exchanges.bitbank.endpoint=live",
        ],
        environ={},
    )
    with pytest.raises(ConfigurationError, match="add crypto-bot-approval-secret: NUMBER"):
        named(live, "CRYPTO_BOT_APPROVAL_SECRET")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("secrets.gcp.target=secretmanager.googleapis.com:443", "must be 127.0.0.1:PORT"),
        ("secrets.gcp.target=127.0.0.1.example.com:1", "must be 127.0.0.1:PORT"),
        ("secrets.gcp.location=example.com/x", "one word"),
        ("secrets.gcp.name=bitbank", "must hold {name} once"),
        ("secrets.gcp.versions.s=0", "must be the number of a version"),
        ("secrets.gcp.versions.s=yes", "must be the number of a version"),
        ("secrets.provider=vault", "'env' or 'gcp'"),
        ("secrets.provider=gcp", "secrets.gcp.project: is missing"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(wrong: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        load_settings(overrides=[wrong], environ={})
    assert "\n" not in str(raised.value)


def test_a_server_in_googles_place_is_refused_beside_a_live_exchange() -> None:
    with pytest.raises(ConfigurationError, match="is for development, and bitbank is live"):
        load_settings(
            overrides=["secrets.gcp.target=127.0.0.1:9", "exchanges.bitbank.endpoint=live"],
            environ={},
        )


# -- what is told of it


def test_a_report_tells_version_age_and_state_and_never_a_value(server: SecretServer) -> None:
    now = datetime.now(UTC)
    server.add("crypto-bot-bitbank", BOTH, now - timedelta(days=100))
    server.add("crypto-bot-okcoinjp", CANARY)
    server.disable("crypto-bot-okcoinjp", 1)
    chosen = settings(server, "secrets.gcp.versions.crypto-bot-bitbank=1")
    (row,) = describe(chosen, "bitbank", now)
    assert (row.provider, row.secret, row.version, row.state, row.checksum) == (
        "gcp",
        "crypto-bot-bitbank",
        1,
        "enabled",
        True,
    )
    assert row.age_days == pytest.approx(100, abs=0.01) and row.rotation_due and not row.problem
    (disabled,) = describe(chosen, "okcoinjp", now)
    assert (disabled.version, disabled.state, disabled.api_key) == (1, "disabled", None)
    missing = describe_named(chosen, "CRYPTO_BOT_APPROVAL_SECRET", now)
    assert missing.state == "missing" and "no such secret" in missing.problem
    assert not any(text in repr((row, disabled, missing)) for text in ("in-google", CANARY))
    server.metadata_denied = True
    (bare,) = describe(chosen, "bitbank", now)
    assert (bare.version, bare.state, bare.age_days, bare.problem) == (1, "enabled", None, "")


# -- where it must not turn up


def assert_told_nowhere(error: BaseException) -> None:
    """The canary is in no text of an error, of what stands behind it, or of its frames."""
    seen: set[int] = set()
    chain: list[BaseException | None] = [error]
    while chain:
        each = chain.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        chain += [each.__cause__, each.__context__]
        assert CANARY not in str(each) + repr(each) + repr(vars(each)), type(each)
        assert CANARY not in "".join(traceback.format_exception(each))
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if "/tests/" not in frame.f_code.co_filename:
                assert CANARY not in locals_of(frame), frame.f_code.co_qualname


def locals_of(frame: FrameType) -> str:
    return " ".join(repr(value) for value in frame.f_locals.values())


def test_a_value_is_masked_before_it_is_used_and_left_by_no_answer_in_memory(
    server: SecretServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mask_secrets("")  # the mask listens
    server.add("crypto-bot-bitbank", json.dumps({"api_key": "kk-1", "api_secret": CANARY}))
    with caplog.at_level(logging.DEBUG):
        found = credentials(settings(server), "bitbank")
        logging.getLogger("anybody").warning("leaked %s", CANARY)
    assert CANARY not in caplog.text
    assert mask_secrets(f"x {CANARY} y") == "x •••• y"
    assert CANARY not in repr(found) + str(vars(found))
    with pytest.raises(TypeError):
        pickle.dumps(found)
    gc.collect()
    answers = [each for each in gc.get_objects() if type(each).__name__ == "AccessSecretVersionResponse"]
    assert not any(CANARY.encode() in each.payload.data for each in answers)
