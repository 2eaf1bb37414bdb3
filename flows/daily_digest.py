"""The daily digest by the alert channels: what the last 24 hours came to, and what was told or held back."""

from prefect import flow

from config.settings import EXCHANGES
from flows.emergency_stop import Exchanges
from tasks.digest import tell_digest
from tasks.staleness import unless_stale


@flow(name="daily_digest", flow_run_name="daily_digest {exchange}", retries=0, persist_result=False)
@unless_stale
async def daily_digest(exchange: Exchanges = "all") -> str:
    """Send the digest of one exchange or all; returns where it went. Raises DigestNotTaken.

    Args:
        exchange: The exchange, or all.
    """
    return await tell_digest(EXCHANGES if exchange == "all" else (exchange,))
