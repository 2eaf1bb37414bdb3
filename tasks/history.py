"""Keep Prefect's history no longer than asked, by Prefect's own API. Our ledger is the record; this is the window."""

import asyncio
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas import StateType
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.sorting import ArtifactSort

from config.settings import Settings
from trading.checks import Check

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

# A batch is one transaction of Prefect's server, in which no trader's cycle is recorded; then it rests as long.
_RUNS_AT_ONCE = 50
_ARTIFACTS_AT_ONCE = 100
_BULK_DELETE: Any = "/flow_runs/bulk_delete"
_ENDED = [StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED]


async def prune_history(settings: Settings, now: datetime) -> tuple[Check, ...]:
    """Remove ended runs (with their tasks, states and logs) and artifacts that are older than the settings say.

    A run that waits, is suspended for a person's word, or runs is never removed. Raises what Prefect's client raises.
    """
    upkeep = settings.maintenance
    async with get_client() as client:
        runs = await _prune_runs(client, now - timedelta(days=upkeep.prefect_run_days), upkeep.prefect_runs_at_once)
        artifacts = await _prune_artifacts(client, now - timedelta(days=upkeep.prefect_artifact_days))
    more = ", the next upkeep goes on" if runs >= upkeep.prefect_runs_at_once else ""
    return (
        Check("Prefect's runs", True, f"{runs} removed that ended over {upkeep.prefect_run_days:g} days ago{more}"),
        Check("Prefect's artifacts", True, f"{artifacts} removed of over {upkeep.prefect_artifact_days:g} days ago"),
    )


async def _prune_runs(client: "PrefectClient", before: datetime, most: int) -> int:
    old = FlowRunFilter.model_validate({"end_time": {"before_": before}, "state": {"type": {"any_": _ENDED}}})
    told = old.model_dump(mode="json", exclude_unset=True)
    removed = 0
    while removed < most:
        began = time.monotonic()
        limit = min(_RUNS_AT_ONCE, most - removed)
        # Prefect's client has no method for this route of its server.
        reply = await client.request("POST", _BULK_DELETE, json={"flow_runs": told, "limit": limit})
        gone = len(reply.json()["deleted"])
        removed += gone
        if gone < limit:
            break
        await asyncio.sleep(time.monotonic() - began)
    return removed


async def _prune_artifacts(client: "PrefectClient", before: datetime) -> int:
    """The list goes from the newest: the old ones stand at its end."""
    removed = 0
    while True:
        began = time.monotonic()
        count = int((await client.request("POST", "/artifacts/count", json={})).json())
        tail = await client.read_artifacts(
            sort=ArtifactSort.CREATED_DESC, limit=_ARTIFACTS_AT_ONCE, offset=max(0, count - _ARTIFACTS_AT_ONCE)
        )
        old: list[UUID] = [each.id for each in tail if each.created is not None and each.created < before]
        for name in old:
            await client.delete_artifact(name)
        removed += len(old)
        if len(old) < _ARTIFACTS_AT_ONCE:
            return removed
        await asyncio.sleep(time.monotonic() - began)
