"""`crypto-bot check`: the first rungs, all exchanges at once, each step a flow run."""

import asyncio
from collections.abc import Sequence

from cli.output import print_json, print_table, say
from cli.prefect_server import prefect_api, refuse_absent_api
from cli.running import run_until_stopped
from cli.venues import venues_ready
from config.guide import CHECKS, see
from config.loader import load_settings
from config.settings import EXCHANGES, ExchangeName
from trading.checks import Check, CheckFailed, StageReport


def run_checks(exchanges: Sequence[ExchangeName], stages: Sequence[str], *, verbose: bool, as_json: bool) -> int:
    """Run the stages at each exchange; exit status 0 when all passed, 1 when one did not."""
    settings = load_settings()
    refuse_absent_api(settings.prefect)
    reports: list[StageReport] = []
    with (
        venues_ready(settings, exchanges, trading="minimal_order" in stages),
        prefect_api(settings.home, settings.prefect),
    ):
        run_until_stopped(lambda stop: _check(exchanges, stages, reports, stop))
    names: tuple[str, ...] = EXCHANGES
    reports.sort(key=lambda report: names.index(report.exchange))
    passed = len(reports) == len(exchanges) * len(stages) and all(report.passed for report in reports)
    if as_json:
        print_json({"passed": passed, "reports": [_told(report) for report in reports]})
    else:
        _show(reports, verbose=verbose)
    return 0 if passed else 1


async def _check(
    exchanges: Sequence[ExchangeName], stages: Sequence[str], reports: list[StageReport], stop: asyncio.Event
) -> int:
    from flows.compatibility import compatibility
    from flows.minimal_order import minimal_order
    from flows.read_only import read_only

    flows = {"compatibility": compatibility, "read_only": read_only, "minimal_order": minimal_order}

    async def climb(exchange: ExchangeName) -> None:
        for stage in stages:
            if stop.is_set():
                return
            try:
                reports.append(await flows[stage](exchange))
            except CheckFailed as failed:
                # The steps build on each other: what comes after a failure would only repeat it.
                reports.append(failed.report)
                return

    # All exchanges at once, each within its own budget; one that ends badly lets the others finish first.
    ends = await asyncio.gather(*(climb(exchange) for exchange in exchanges), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
    return 0


def _told(report: StageReport) -> dict[str, object]:
    return {
        "exchange": report.exchange,
        "stage": report.stage,
        "symbol": report.symbol,
        "passed": report.passed,
        "checks": report.checks,
    }


def _show(reports: Sequence[StageReport], *, verbose: bool) -> None:
    for report in reports:
        shown = report.checks if verbose else (*report.failures, *report.warnings)
        verdict, where = ("[green]passed[/]", "") if report.passed else ("[red]FAILED[/]", see(CHECKS))
        say(
            f"{report.exchange} {report.stage}: {verdict}, "
            f"{len(report.checks) - len(report.failures)} of {len(report.checks)} checks{where}"
        )
        if shown:
            rows = [(check.name, "yes" if check.passed else "NO", _seen(check)) for check in shown]
            print_table(f"{report.exchange} {report.stage}", ("check", "passed", "seen"), rows, "")


def _seen(check: Check) -> str:
    return f"{check.detail}; warning: {check.warning}" if check.warning else check.detail
