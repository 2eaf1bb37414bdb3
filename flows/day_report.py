"""The report of a trading day in Japan: what it came to, with pictures. Reads our ledger, asks no venue."""

from datetime import timedelta
from typing import Literal

from prefect import flow

from config.settings import EXCHANGES
from flows.emergency_stop import Exchanges
from tasks.day import report_day, today_in_japan
from tasks.staleness import unless_stale


@flow(name="day_report", flow_run_name="day_report {exchange} {day}", retries=0, persist_result=False)
@unless_stale
async def day_report(exchange: Exchanges = "all", day: Literal["yesterday", "today"] = "yesterday") -> dict[str, str]:
    """Report a day at one exchange or all; returns each exchange's verdict.

    Args:
        exchange: The exchange, or all.
        day: Yesterday as a whole, or today as far as it has come (Japanese time).
    """
    named = today_in_japan() - timedelta(days=day == "yesterday")
    names = EXCHANGES if exchange == "all" else (exchange,)
    return {name: await report_day(name, named) for name in names}
