"""Every week: the newest backup is restored into a scratch place and proved there. Nothing that runs is touched."""

from prefect import flow

from tasks.maintenance import begun, conclude, drill_restore
from trading.checks import UpkeepReport


# Without the guard against late runs: a late drill says as much.
@flow(name="restore_drill", flow_run_name="restore_drill", retries=0, persist_result=False)
async def restore_drill() -> UpkeepReport:
    """Unpack the newest backup, verify its chain, compare its counts. Raises UpkeepFailed."""
    started_at = begun()
    return await conclude("restore-drill", await drill_restore(), started_at)
