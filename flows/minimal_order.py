"""Third rung: the smallest order the venue takes goes in, is seen, comes out, and leaves the balances as before."""

from prefect import flow

from config.settings import ExchangeName
from tasks.ladder import grant_rung
from tasks.minimal_order import try_minimal_order
from tasks.report import Progress, publish_stage
from tasks.session import trading
from tasks.staleness import unless_stale
from trading.checks import CheckFailed, StageReport


@flow(name="minimal_order", flow_run_name="minimal_order {exchange}", retries=0, persist_result=False)
@unless_stale
async def minimal_order(exchange: ExchangeName) -> StageReport:
    """Place and cancel the smallest order at one exchange. Raises CheckFailed when any check fails.

    Args:
        exchange: The exchange that gets the smallest order. Its trader must not be running.
    """
    async with trading(exchange) as here:
        started_at = here.clock.now()
        progress = Progress("minimal_order", exchange, steps=2)
        await progress.step("the smallest order: place, see, cancel, compare")
        checks = await try_minimal_order(exchange)
        report = StageReport("minimal_order", exchange, here.symbol, checks, started_at, here.clock.now())
        await progress.step("rung")
        rung = await grant_rung(exchange, report)
    await publish_stage(report, rung)
    await progress.step("passed" if report.passed else "FAILED")
    if not report.passed:
        raise CheckFailed(report)
    return report
