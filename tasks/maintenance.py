"""The maintenance flows' steps: each asks plain functions and comes back with checks, which are shown and told."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from datetime import datetime

from prefect import task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from config.errors import ConfigurationError
from config.loader import load_settings
from config.settings import ExchangeName, Settings
from execution.drift import drift_checks
from execution.vitals import vital_checks
from services.alerts import Level, tell
from services.clock import WallClock
from services.dependencies import dependency_checks
from services.housekeeping import database_checks, log_checks
from services.ledger import Ledger
from services.logs import configure_logging
from services.upkeep import backup_checks, drill_checks
from tasks.history import prune_history
from tasks.report import artifact_key
from trading.checks import Check, UpkeepFailed, UpkeepReport

Checks = tuple[Check, ...]

_GRAVE = ("backup", "restore-drill")  # without them a lost ledger is lost for good


def _now() -> datetime:
    return WallClock().now()


def _settings() -> Settings:
    settings = load_settings()
    configure_logging(settings)
    return settings


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def keep_backup() -> Checks:
    """Make a backup, in a thread of its own: it may take minutes."""
    settings = _settings()
    return await asyncio.to_thread(_unless_refused, "backup", lambda: backup_checks(settings, os.environ, _now()))


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def drill_restore() -> Checks:
    """Restore the newest backup into a scratch place and prove it there."""
    settings = _settings()
    return await asyncio.to_thread(_unless_refused, "newest backup", lambda: drill_checks(settings, _now()))


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def look_at_dependencies() -> Checks:
    """Installed against examined, newest and unsafe."""
    settings = _settings()
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        certificates = ledger.rungs()
    return await asyncio.to_thread(dependency_checks, certificates)


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def look_for_drift(exchanges: Sequence[ExchangeName]) -> Checks:
    """Compare each venue with what it was when it was last looked at."""
    settings = _settings()
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        found = await asyncio.gather(*(drift_checks(name, settings, ledger) for name in exchanges))
    return tuple(check for checks in found for check in checks)


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def keep_database() -> Checks:
    """Prove and tidy the ledger's database, and cut the logs."""
    settings = _settings()
    checks = await asyncio.to_thread(database_checks, settings)
    return (*checks, *log_checks(settings, _now()))


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def keep_history() -> Checks:
    """Remove what Prefect keeps longer than asked."""
    return await prune_history(_settings(), _now())


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def look_for_heartbeats() -> Checks:
    """Whether every process is alive and runs what is installed, no disk is nearly full, and no certificate ends."""
    settings = _settings()
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        return vital_checks(settings, ledger, _now())


def _unless_refused(name: str, work: Callable[[], Checks]) -> Checks:
    """A configuration under which it cannot be done is a finding here: nobody stands at the terminal."""
    try:
        return work()
    except ConfigurationError as error:
        return (Check(name, False, str(error)),)


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def publish_upkeep(report: UpkeepReport) -> None:
    """Leave the findings as markdown and as a table, and tell a person of those that are wrong."""
    told = "".join(f"\n- **{check.name}**: {check.detail}" for check in report.failures)
    verdict = "all is well" if report.passed else "LOOK AT THIS"
    await acreate_markdown_artifact(
        key=artifact_key(report.name),
        markdown=f"# {report.name}: {verdict}\n\n{report.finished_at:%Y-%m-%d %H:%M:%S} UTC\n{told}",
        description=report.name,
    )
    rows = [
        {"what": check.name, "well": "yes" if check.passed else "NO", "seen": check.detail} for check in report.checks
    ]
    await acreate_table_artifact(key=artifact_key(report.name, "checks"), table=rows, description="what was seen")
    level = Level.CRITICAL if report.name in _GRAVE else Level.WARNING
    for check in report.checks:
        told = f"{report.name}: {check.name}: {check.detail}"
        tell(level, f"upkeep:{report.name}:{check.name}", told, over=check.passed)


async def conclude(name: str, checks: Checks, started_at: datetime) -> UpkeepReport:
    """Publish what a flow found. Raises UpkeepFailed where something is wrong, so that the run is red."""
    report = UpkeepReport(name, checks, started_at, _now())
    await publish_upkeep(report)
    if not report.passed:
        raise UpkeepFailed(report)
    return report


def begun() -> datetime:
    """When a maintenance flow began (wall)."""
    return _now()
