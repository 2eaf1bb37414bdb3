"""Every week: the ledger's pages proved and tidied, Prefect's history and the logs cut to what is asked."""

from prefect import flow

from tasks.maintenance import begun, conclude, keep_database, keep_history
from trading.checks import UpkeepReport


# Without the guard against late runs: it does the same an hour later.
@flow(name="database_upkeep", flow_run_name="database_upkeep", retries=0, persist_result=False)
async def database_upkeep() -> UpkeepReport:
    """Look after databases and logs while traders run. Raises UpkeepFailed."""
    started_at = begun()
    checks = await keep_database()
    return await conclude("database-upkeep", (*checks, *await keep_history()), started_at)
