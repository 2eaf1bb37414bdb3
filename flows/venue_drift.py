"""Every day: did a venue change its rules or fees, or what the key may do? What matters voids the certificate."""

from prefect import flow

from config.settings import EXCHANGES
from flows.emergency_stop import Exchanges
from tasks.maintenance import begun, conclude, look_for_drift
from tasks.staleness import unless_stale
from trading.checks import UpkeepReport


@flow(name="venue_drift", flow_run_name="venue_drift {exchange}", retries=0, persist_result=False)
@unless_stale
async def venue_drift(exchange: Exchanges = "all") -> UpkeepReport:
    """Look at one venue or all, with clients that cannot place. Raises UpkeepFailed.

    Args:
        exchange: The exchange, or all.
    """
    started_at = begun()
    names = EXCHANGES if exchange == "all" else (exchange,)
    return await conclude("venue-drift", await look_for_drift(names), started_at)
