"""First rung: what is installed can talk to the venue, and the venue is what we think it is."""

from prefect import flow

from config.settings import ExchangeName
from tasks.ladder import grant_rung
from tasks.market_checks import check_instrument, check_market_data, check_versions
from tasks.report import Progress, publish_stage
from tasks.session import reading
from tasks.staleness import unless_stale
from trading.checks import CheckFailed, StageReport


@flow(name="compatibility", flow_run_name="compatibility {exchange}", retries=0, persist_result=False)
@unless_stale
async def compatibility(exchange: ExchangeName) -> StageReport:
    """Check library, instrument and market data of one exchange. Raises CheckFailed when any check fails.

    Args:
        exchange: The exchange whose library, instrument and market data are checked.
    """
    async with reading(exchange) as here:
        started_at = here.clock.now()
        progress = Progress("compatibility", exchange, steps=4)
        await progress.step("library and versions")
        checks = await check_versions(exchange)
        await progress.step("instrument")
        checks += await check_instrument(exchange)
        await progress.step("market data")
        checks += await check_market_data(exchange)
        report = StageReport("compatibility", exchange, here.symbol, checks, started_at, here.clock.now())
        await progress.step("rung")
        rung = await grant_rung(exchange, report)
    await publish_stage(report, rung)
    await progress.step("passed" if report.passed else "FAILED")
    if not report.passed:
        raise CheckFailed(report)
    return report
