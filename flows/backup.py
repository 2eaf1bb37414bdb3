"""Every night: ledger and settings into one encrypted file, read back before an older one goes."""

from prefect import flow

from tasks.maintenance import begun, conclude, keep_backup
from trading.checks import UpkeepReport


# Without the guard against late runs: a late backup is better than none.
@flow(name="backup", flow_run_name="backup", retries=0, persist_result=False)
async def backup() -> UpkeepReport:
    """Make a backup while traders run. Raises UpkeepFailed."""
    started_at = begun()
    return await conclude("backup", await keep_backup(), started_at)
