"""Every quarter of an hour: is every process alive, is there room on the disk, does no certificate end?"""

from prefect import flow

from tasks.maintenance import begun, conclude, look_for_heartbeats
from tasks.staleness import unless_stale
from trading.checks import UpkeepReport


@flow(name="heartbeat", flow_run_name="heartbeat", retries=0, persist_result=False)
@unless_stale
async def heartbeat() -> UpkeepReport:
    """Judge signs of life, disks and certificates. Raises UpkeepFailed."""
    started_at = begun()
    return await conclude("heartbeat", await look_for_heartbeats(), started_at)
