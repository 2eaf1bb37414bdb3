"""deploy/: every command, variable and path in it exists here, and nothing in it can run a trader twice.

No container engine takes part; docs/several-machines.md says what was tried with one.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.main import app
from config.loader import load_settings
from config.settings import EXCHANGES
from execution.clearing import PATIENCE

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
COMPOSE = ("compose.yml", "compose.second-host.yml")
GKE = sorted(path.name for path in (DEPLOY / "gke").glob("*.yaml"))


def services(file: str) -> dict[str, dict[str, Any]]:
    told: dict[str, dict[str, Any]] = yaml.safe_load((DEPLOY / file).read_text())["services"]
    return told


def traders(file: str) -> dict[str, dict[str, Any]]:
    return {name: each for name, each in services(file).items() if name.startswith("trader-")}


def manifests(*files: str) -> Iterator[dict[str, Any]]:
    for file in files or GKE:
        yield from yaml.safe_load_all((DEPLOY / "gke" / file).read_text())


def containers(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
    return [*pod.get("initContainers", ()), *pod.get("containers", ())]


def is_a_command(words: list[str]) -> bool:
    if words[:2] == ["python", "-m"]:
        return find_spec(words[2]) is not None
    if words[0] == "crypto-bot":
        known = {str(each.name or each.callback.__name__) for each in app.registered_commands if each.callback}
        return words[1] in known and all(word in EXCHANGES for word in words[2:])
    return words[:3] == ["prefect", "server", "start"]


def unknown(environment: Mapping[str, str]) -> list[str]:
    """Variables that nobody reads; refuses settings that the loader does not take."""
    import prefect.settings

    load_settings(environ={k: v for k, v in environment.items() if k.startswith("CRYPTO_BOT__")})
    known = {"PGPASSWORD", "CRYPTO_BOT_CONFIG", "CRYPTO_BOT_HOME"}
    others = [name for name in environment if name not in known and not name.startswith("CRYPTO_BOT__")]
    return [name for name in others if not (name.startswith("PREFECT_") and hasattr(prefect.settings, name))]


@pytest.mark.parametrize("file", COMPOSE)
def test_what_compose_runs_and_sets_exists_here(file: str) -> None:
    for name, service in services(file).items():
        if name == "postgres":
            continue
        assert is_a_command(service["command"]), (name, service["command"])
        assert unknown(service["environment"]) == [], name
        build = service["build"]
        assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
        assert all(not each["required"] for each in service["env_file"])
    for service in services(file).values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).exists(), volume


@pytest.mark.parametrize("file", COMPOSE)
def test_every_exchange_has_one_trader_that_no_restart_doubles(file: str) -> None:
    assert sorted(each["command"][-1] for each in traders(file).values()) == sorted(EXCHANGES)
    for name, trader in traders(file).items():
        assert trader["command"] == ["crypto-bot", "trade", name.removeprefix("trader-")]
        assert trader["restart"] == "on-failure"  # an end in order is an end
        assert trader["init"] is True  # SIGTERM reaches it
        seconds = int(trader["stop_grace_period"].removesuffix("s"))
        assert seconds >= PATIENCE.total_seconds() + 20, "killed in the middle of its end"
        assert not {"deploy", "scale", "hostname", "container_name"} & set(trader)


@pytest.mark.parametrize("file", COMPOSE)
def test_all_of_a_host_count_their_requests_in_one_home(file: str) -> None:
    homes = {
        volume
        for name, service in services(file).items()
        if name not in ("postgres", "prefect")
        for volume in service["volumes"]
        if volume.endswith("/var/lib/crypto-bot")
    }
    assert homes == {"home:/var/lib/crypto-bot"}


@pytest.mark.parametrize("file", COMPOSE)
def test_nothing_listens_beyond_loopback_unless_a_person_names_an_address(file: str) -> None:
    published = [port for service in services(file).values() for port in service.get("ports", ())]
    assert all(port.startswith("${PRIVATE_ADDRESS:-127.0.0.1}:") for port in published), published


def test_no_password_stands_in_a_file_and_each_that_is_missing_is_named() -> None:
    for file in COMPOSE:
        text = (DEPLOY / file).read_text()
        for name in ("POSTGRES_PASSWORD", "PREFECT_AUTH_STRING"):
            assert f"${{{name}:?" in text
        assert not re.search(r"(PASSWORD|AUTH_STRING): (?!\$\{)", text)
    asked = set(re.findall(r"\$\{(\w+)", "".join((DEPLOY / file).read_text() for file in COMPOSE)))
    offered = set(re.findall(r"^(\w+)=", (DEPLOY / "settings.env.example").read_text(), re.MULTILINE))
    assert asked == offered
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {"deploy/settings.env", "deploy/keys.env"} <= set(ignored)


@pytest.mark.parametrize(
    "file", [".env", "deploy/settings.env", "deploy/keys.env", "deploy/config/my.yml", "var/ledger.db"]
)
def test_passwords_keys_and_a_configuration_of_yours_are_not_built_into_the_image(file: str) -> None:
    # docker's patterns are of the root alone, "**/" is any depth: https://docs.docker.com/build/concepts/context/
    patterns = (ROOT / ".dockerignore").read_text().split()
    left_out = [re.escape(each).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*") for each in patterns]
    assert any(re.fullmatch(f"{pattern}(/.*)?", file) for pattern in left_out)
    assert not any(re.fullmatch(f"{pattern}(/.*)?", "config/ladder.yml") for pattern in left_out)


def test_the_image_is_built_from_the_pins_and_runs_as_nobody_special() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    for line in lines:
        if line.startswith("COPY "):
            assert all((ROOT / source).exists() for source in shlex.split(line)[1:-1]), line
    assert any("--require-hashes -r requirements.txt" in line for line in lines)
    assert "USER crypto-bot" in lines
    assert "psycopg==" in (ROOT / "requirements.txt").read_text()


@pytest.mark.parametrize("file", GKE)
def test_what_a_manifest_runs_and_sets_exists_here(file: str) -> None:
    for manifest in manifests(file):
        assert manifest["metadata"].get("namespace", "crypto-bot") == "crypto-bot"
        for container in containers(manifest):
            assert is_a_command(container["command"]), container["command"]
            assert unknown({each["name"]: each.get("value", "") for each in container["env"]}) == []
            for each in container["env"]:
                secret = each["name"] in ("PGPASSWORD",) or each["name"].endswith("AUTH_STRING")
                assert secret == ("valueFrom" in each), each


def test_a_trader_on_gke_is_one_process_with_time_for_its_end() -> None:
    (trader,) = [each for each in manifests("trader.yaml") if each["kind"] == "StatefulSet"]
    (budget,) = [each for each in manifests("trader.yaml") if each["kind"] == "PodDisruptionBudget"]
    assert trader["spec"]["replicas"] == 1
    pod = trader["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= PATIENCE.total_seconds() + 20
    assert not any(key.endswith("Probe") for container in pod["containers"] for key in container)
    assert trader["spec"]["selector"] == budget["spec"]["selector"]
    assert budget["spec"]["maxUnavailable"] == 0


def test_one_prefect_server_at_a_time() -> None:
    (server,) = [each for each in manifests("prefect.yaml") if each["kind"] == "Deployment"]
    assert server["spec"]["replicas"] == 1 and server["spec"]["strategy"] == {"type": "Recreate"}
