"""The five watches, the standing of each exchange and our processes: a look at what runs, every five minutes."""

from prefect import flow

from config.settings import EXCHANGES
from flows.emergency_stop import Exchanges
from tasks.monitoring import look_at, look_at_processes, tell_findings
from tasks.staleness import unless_stale


@flow(name="monitoring", flow_run_name="monitoring {exchange}", retries=0, persist_result=False)
@unless_stale
async def monitoring(exchange: Exchanges = "all") -> str:
    """Watch an exchange or all; returns what was found.

    Args:
        exchange: The exchange, or all.
    """
    names = EXCHANGES if exchange == "all" else (exchange,)
    looks = [await look_at(name) for name in names]
    return await tell_findings(looks, await look_at_processes())
