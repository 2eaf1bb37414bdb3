"""prefect.yaml and the flows fit together, and nothing in them is ever repeated by Prefect."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow, Task
from prefect.cache_policies import NO_CACHE

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
FLOWS = sorted(path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__")
TASKS = sorted(path.stem for path in (ROOT / "tasks").glob("*.py") if path.stem != "__init__")


def entrypoint(deployment: dict[str, Any]) -> Any:
    module, _, name = deployment["entrypoint"].rpartition(".")
    return getattr(import_module(module), name)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["name"])
def test_a_deployments_entrypoint_is_a_flow_that_takes_its_parameters(deployment: dict[str, Any]) -> None:
    flow = entrypoint(deployment)
    assert isinstance(flow, Flow)
    flow.validate_parameters(deployment["parameters"])
    with pytest.raises(Exception, match="exchange"):
        flow.validate_parameters({**deployment["parameters"], "exchange": "binance"})


def test_every_flow_has_its_file_and_its_deployment() -> None:
    assert sorted(each["entrypoint"] for each in DEPLOYMENTS) == sorted(f"flows.{name}.{name}" for name in FLOWS)


@pytest.mark.parametrize("name", FLOWS)
def test_the_form_of_a_flow_explains_each_field(name: str) -> None:
    fields = getattr(import_module(f"flows.{name}"), name).parameters.properties
    assert [field for field, told in fields.items() if not told.get("description")] == []


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["name"])
def test_a_deployment_and_its_schedule_stand_in_the_pages_about_the_ui(deployment: dict[str, Any]) -> None:
    pages = "".join((ROOT / "docs" / page).read_text() for page in ("prefect-ui.md", "maintenance.md"))
    found = re.search(rf"^\| `?{deployment['name']}`? \| ([^|]+) \|", pages, re.M)
    assert found is not None
    switched = {"on" if each["active"] else "off" for each in deployment.get("schedules", [])}
    assert (set(re.findall(r"\b(?:on|off)\b", found[1]))) == switched
    assert switched or found[1].startswith("none")


def test_the_page_names_every_run_that_is_made_up_for_however_late() -> None:
    told = (ROOT / "docs" / "prefect-ui.md").read_text().partition("## After downtime")[2].partition("\n## ")[0]
    late = {each["name"] for each in DEPLOYMENTS if not hasattr(entrypoint(each).fn, "__wrapped__")}  # not unless_stale
    assert {"emergency-stop", "backup"} < late
    assert {name for name in late if f"`{name}`" not in told} == set()


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_is_never_repeated_and_keeps_no_result(name: str) -> None:
    flow = getattr(import_module(f"flows.{name}"), name)
    assert flow.retries == 0 and flow.persist_result is False and flow.timeout_seconds is None
    assert flow.isasync  # a sync flow waits a second at its end


def test_a_task_is_never_repeated_and_never_answered_from_a_cache() -> None:
    found = {
        value.name: value
        for name in TASKS
        for value in vars(import_module(f"tasks.{name}")).values()
        if isinstance(value, Task)
    }
    assert len(found) >= 15, sorted(found)
    for name, task in found.items():
        assert task.retries == 0, name
        assert task.cache_policy == NO_CACHE, name
        assert task.persist_result is False, name
        assert task.timeout_seconds is None, name  # a task that is cut off has placed, or has not
