"""Set up Google Cloud Monitoring: the metric descriptors, made once. May run again at any time."""

from prefect import flow

from tasks.monitoring_setup import set_up_monitoring
from tasks.staleness import unless_stale


@flow(name="monitoring_setup", flow_run_name="monitoring_setup", retries=0, persist_result=False)
@unless_stale
async def monitoring_setup() -> dict[str, int]:
    """Create the descriptors that the project lacks; returns how many were created, were there, differ."""
    done = await set_up_monitoring()
    return {"created": len(done.created), "existing": len(done.existing), "different": len(done.different)}
