"""Second rung: the key is what it should be and the account can be read. No order is possible by construction."""

from prefect import flow

from config.settings import ExchangeName
from tasks.account_checks import check_account, check_key
from tasks.ladder import grant_rung
from tasks.market_checks import check_market_data
from tasks.report import Progress, publish_stage
from tasks.session import reading
from tasks.staleness import unless_stale
from trading.checks import CheckFailed, StageReport


@flow(name="read_only", flow_run_name="read_only {exchange}", retries=0, persist_result=False)
@unless_stale
async def read_only(exchange: ExchangeName) -> StageReport:
    """Check key, account and market data of one exchange. Raises CheckFailed when any check fails.

    Args:
        exchange: The exchange whose key, account and market data are checked.
    """
    async with reading(exchange) as here:
        started_at = here.clock.now()
        progress = Progress("read_only", exchange, steps=4)
        await progress.step("key")
        checks = await check_key(exchange)
        await progress.step("account")
        checks += await check_account(exchange)
        await progress.step("market data")
        checks += await check_market_data(exchange)
        report = StageReport("read_only", exchange, here.symbol, checks, started_at, here.clock.now())
        await progress.step("rung")
        rung = await grant_rung(exchange, report)
    await publish_stage(report, rung)
    await progress.step("passed" if report.passed else "FAILED")
    if not report.passed:
        raise CheckFailed(report)
    return report
