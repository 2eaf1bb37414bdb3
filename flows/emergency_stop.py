"""The emergency stop as a deployment: the same code as `crypto-bot stop`, which needs no Prefect and is faster."""

from typing import Literal

from prefect import flow

from config.settings import EXCHANGES
from tasks.report import publish_stop
from tasks.stop import refuse_unclean, stop_trading

# One list, so that the form shows one drop-down: "all" first.
Exchanges = Literal["all", "bybit", "bitbank", "bitflyer", "okcoinjp"]


# Without the guard against late runs: a stop is never too late.
@flow(name="emergency_stop", flow_run_name="emergency_stop {exchange}", retries=0, persist_result=False)
async def emergency_stop(
    exchange: Exchanges = "all",
    close_positions: bool = False,
    reason: str = "emergency stop from Prefect",
) -> None:
    """Stop one exchange or all: no new orders, everything cancelled, proved by reading. Raises SomethingLeft.

    Args:
        exchange: The exchange, or all.
        close_positions: Also close perpetual positions at the market.
        reason: Written with the kill switch, and shown wherever it is told.
    """
    stop = await stop_trading(EXCHANGES if exchange == "all" else (exchange,), reason, close_positions)
    await publish_stop(stop)
    refuse_unclean(stop)
