"""Every week: is what is installed what was examined, what is newer, and is anything known to be unsafe?"""

from prefect import flow

from tasks.maintenance import begun, conclude, look_at_dependencies
from trading.checks import UpkeepReport


# Without the guard against late runs: it says the same an hour later.
@flow(name="dependency_check", flow_run_name="dependency_check", retries=0, persist_result=False)
async def dependency_check() -> UpkeepReport:
    """Compare installed packages with pins, certificates, index and notices. Raises UpkeepFailed."""
    started_at = begun()
    return await conclude("dependency-check", await look_at_dependencies(), started_at)
