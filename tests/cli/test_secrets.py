"""`crypto-bot secrets` as a person runs it."""

import json
from datetime import UTC, datetime, timedelta

from tests.cli.command import Command
from tests.google.secret_server import secret_server

BOTH = json.dumps({"api_key": "canary-key-51", "api_secret": "canary-secret-51"})


def test_secrets_of_the_environment_are_told_by_name_and_never_by_value(command: Command) -> None:
    environ = {"BITBANK_API_KEY": "canary-key-51", "BITBANK_API_SECRET": "canary-secret-51"}
    live = ("--set=exchanges.bitbank.endpoint=live", "--set=exchanges.okj.endpoint=live")
    done = command.run("secrets", *live, env=environ)
    assert done.returncode == 1 and "OKCOINJP_PASSPHRASE is not set in the environment" in done.stdout
    assert "bybit, bitflyer: simulated" in done.stdout and "canary" not in done.stdout + done.stderr


def test_a_pure_simulation_lacks_no_secret_and_a_real_exchange_lacks_the_key_of_the_backups(command: Command) -> None:
    done = command.run("secrets")
    assert done.returncode == 0 and "CRYPTO_BOT_BACKUP_KEY is not set" in done.stdout
    assert command.run("secrets", "CRYPTO_BOT_BACKUP_KEY").returncode == 1  # asked for by name
    environ = {
        "BITBANK_API_KEY": "canary-key-51",
        "BITBANK_API_SECRET": "canary-secret-51",
        "CRYPTO_BOT_APPROVAL_SECRET": "canary-approval-51",
    }
    live = command.run("secrets", "--set=exchanges.bitbank.endpoint=live", env=environ)
    assert live.returncode == 1 and "CRYPTO_BOT_BACKUP_KEY is not set" in live.stdout


def test_secrets_of_secret_manager_are_told_with_version_age_and_state(command: Command) -> None:
    with secret_server() as server:
        server.add("crypto-bot-bitbank", BOTH, datetime.now(UTC) - timedelta(days=100))
        server.add("crypto-bot-bybit-testnet", BOTH)
        server.disable("crypto-bot-bybit-testnet", 1)
        gcp = (
            "--set=secrets.provider=gcp",
            "--set=secrets.gcp.project=ours",
            f"--set=secrets.gcp.target={server.address}",
            "--set=secrets.gcp.versions.crypto-bot-bitbank=1",
            "--set=exchanges.bitbank.base_url=http://127.0.0.1:1",
        )
        done = command.run("secrets", "--json", *gcp, "--set=exchanges.bybit.endpoint=testnet")
    told = json.loads(done.stdout)
    rows = {row["secret"]: row for row in told["secrets"]}
    bitbank, bybit = rows["crypto-bot-bitbank"], rows["crypto-bot-bybit-testnet"]
    assert done.returncode == 1 and not told["clean"]
    assert (bitbank["version"], bitbank["state"], bitbank["checksum_ok"], bitbank["rotation_due"]) == (
        1,
        "enabled",
        True,
        True,
    )
    assert len(bitbank["key_id"]) == 8 and 99 < bitbank["age_days"] < 101
    assert (bybit["state"], bybit["key_id"]) == ("disabled", None) and "FAILED_PRECONDITION" in bybit["problem"]
    assert rows["crypto-bot-approval-secret"]["state"] == "missing"
    assert "canary" not in done.stdout + done.stderr
