"""Set up what a Prefect server needs to run this bot: the work pool, every deployment, the automations.

Run as a module (`python -m cli.provision`, from a checkout) at the server that the environment names. It may run again
at any time: what exists is brought up to date, nothing is doubled.
"""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cli.prefect_server import api_is_up
from config.loader import load_settings
from config.settings import EXCHANGES, Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.events.schemas.automations import AutomationCore

POOL = "local"
STOP_DEPLOYMENT = "emergency_stop/emergency-stop"
DIGEST_DEPLOYMENT = "daily_digest/daily-digest"
# The deployments whose runs place orders: one that dies leaves them behind.
PLACING = ("minimal_order/minimal-order", "trading_cycle/trading-cycle")
# A trader that has shown no cycle for so many of them is silent. `crypto-bot up` has restarted it long before, so the
# automation speaks when that has not helped.
SILENT_CYCLES = 5


def provision() -> None:
    """Make or renew pool, deployments and automations, as soon as the API answers. Raises what Prefect raises."""
    import prefect.cli  # noqa: F401  while the server starts

    settings = load_settings()
    while not api_is_up(os.environ["PREFECT_API_URL"]):
        time.sleep(0.2)
    asyncio.run(_make_pool())
    _deploy_all()
    asyncio.run(_make_automations(settings))
    asyncio.run(_set_digest_time(settings))


async def pause_automations() -> None:
    """Let no automation act from now on: what ends during an orderly end is no crash. `provision` wakes them again."""
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        for automation in await client.read_automations():
            await client.pause_automation(automation.id)


async def _make_pool() -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.workers.process import ProcessWorker

    pool = WorkPoolCreate(
        name=POOL,
        type="process",
        description="Runs the deployments of crypto-bot as processes of this machine.",
        base_job_template=ProcessWorker.get_default_base_job_template(),
    )
    async with get_client() as client:
        await client.create_work_pool(pool, overwrite=True)


def _deploy_all() -> None:
    from prefect.cli import app

    before = sys.argv
    sys.argv = ["prefect", "--no-prompt", "deploy", "--all"]
    try:
        app()
    except SystemExit as end:
        if end.code:
            raise
    finally:
        sys.argv = before


async def _make_automations(settings: Settings) -> None:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        stop = await client.read_deployment_by_name(STOP_DEPLOYMENT)
        placing = [(await client.read_deployment_by_name(name)).id for name in PLACING]
        for wanted in _automations(settings, stop.id, placing):
            await _make(client, wanted)


async def _set_digest_time(settings: Settings) -> None:
    """Move the digest's schedule to `alerts.digest_at`, or switch it off where there is none."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.schedules import CronSchedule

    at = settings.alerts.digest_at
    hour, _, minute = (at or "08:00").partition(":")
    wanted = CronSchedule(cron=f"{int(minute)} {int(hour)} * * *", timezone="Asia/Tokyo")
    active = at is not None and any(channel.digest for channel in settings.alerts.channels)
    async with get_client() as client:
        digest = await client.read_deployment_by_name(DIGEST_DEPLOYMENT)
        for schedule in await client.read_deployment_schedules(digest.id):
            await client.update_deployment_schedule(digest.id, schedule.id, active=active, schedule=wanted)


async def _make(client: "PrefectClient", wanted: "AutomationCore") -> None:
    known = await client.read_automations_by_name(wanted.name)
    for twin in known[1:]:
        await client.delete_automation(twin.id)
    if known:
        await client.update_automation(known[0].id, wanted)
    else:
        await client.create_automation(wanted)


def _automations(settings: Settings, stop_id: Any, placing_ids: Sequence[Any]) -> list["AutomationCore"]:
    """What runs the emergency stop without a person. It is the second line: the first are the trader itself and the
    supervisor in `crypto-bot up`.
    """
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    from tasks.events import CYCLE_DONE, TRADER_ENDED, VENUE_HALTED, resource_id

    def stop(exchange: str, reason: str) -> list[Any]:
        told = {"exchange": exchange, "close_positions": False, "reason": reason}
        return [RunDeployment(source="selected", deployment_id=stop_id, parameters=told)]

    silent_for = SILENT_CYCLES * settings.execution.cycle_seconds
    found = [
        AutomationCore(
            name="a run that places orders crashed: emergency stop",
            description="Its orders may rest at the venue, and nobody looks after them.",
            trigger=EventTrigger(
                expect={"prefect.flow-run.Crashed", "prefect.flow-run.TimedOut"},
                match_related={
                    "prefect.resource.role": "deployment",
                    "prefect.resource.id": [f"prefect.deployment.{each}" for each in placing_ids],
                },
                for_each={"prefect.resource.id"},
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=stop("{{ flow_run.parameters.exchange }}", "a run that places orders crashed"),
        )
    ]
    for exchange in EXCHANGES:
        match: dict[str, str | list[str]] = {"prefect.resource.id": resource_id(exchange)}
        found += [
            AutomationCore(
                name=f"the trader of {exchange} is silent: emergency stop",
                description=f"No cycle for {silent_for} s after one, and no orderly end.",
                trigger=EventTrigger(
                    match=match,
                    after={CYCLE_DONE},
                    expect={CYCLE_DONE, TRADER_ENDED},
                    # Without it Prefect waits for the next cycle from the start on, also where none has been: an
                    # exchange that does not trade here would be stopped.
                    for_each={"prefect.resource.id"},
                    posture=Posture.Proactive,
                    threshold=1,
                    within=silent_for,
                ),
                actions=stop(exchange, f"the trader of {exchange} has been silent for {silent_for} s"),
            ),
            AutomationCore(
                name=f"{exchange} halted: emergency stop",
                description="The venue stopped trading for a reason that is no maintenance.",
                trigger=EventTrigger(
                    match=match,
                    expect={VENUE_HALTED},
                    posture=Posture.Reactive,
                    threshold=1,
                ),
                actions=stop(exchange, f"{exchange} halted"),
            ),
        ]
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["--pause"]:
        asyncio.run(pause_automations())
    else:
        provision()
