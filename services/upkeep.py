"""Backup and restore drill as checks, for the maintenance flows and for `crypto-bot maintenance`."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from config.settings import Settings
from services.archive import BackupUnreadable
from services.backup import (
    BackupFailed,
    backup_directory,
    backup_secret,
    backups_in,
    make_backup,
    prove_backup,
    scratch,
    taken_at,
)
from services.backup_texts import settings_texts
from services.ledger import LedgerUnavailable
from trading.checks import Check


def backup_checks(settings: Settings, environ: Mapping[str, str], now: datetime) -> tuple[Check, ...]:
    """Make a backup and say what came of it. Raises ConfigurationError where there is no secret for it."""
    secret = backup_secret(settings)
    try:
        made = make_backup(settings, settings_texts(environ), secret, now)
    except (BackupFailed, LedgerUnavailable) as error:
        return (Check("backup", False, str(error)),)
    told = made.manifest
    what = (
        f"{made.path.name}, {made.bytes} bytes, {told.head.seq} events, read back; {len(made.removed)} old ones removed"
    )
    sound = "every event and row is what was written" if told.fault is None else f"{told.fault}; nothing was removed"
    return Check("backup", True, what), Check("ledger in it", told.fault is None, sound)


def drill_checks(settings: Settings, now: datetime) -> tuple[Check, ...]:
    """Restore the newest backup into a scratch place, verify its chain, and compare what it holds with what it says.

    Raises ConfigurationError where there is no secret for it.
    """
    secret, where = backup_secret(settings), backup_directory(settings)
    found = backups_in(where)
    if not found:
        return (Check("newest backup", False, f"there is none in {where}"),)
    newest, age = found[0], now - taken_at(found[0])
    young = age <= timedelta(hours=settings.maintenance.backup_max_age_hours)
    checks = [Check("newest backup", young, f"{newest.name}, {age.total_seconds() / 3600:.1f} hours old")]
    try:
        with scratch(settings.home) as room:
            proved = prove_backup(newest, secret, room)
    except (BackupUnreadable, LedgerUnavailable, OSError) as error:
        return (*checks, Check("restored", False, str(error)))
    told = proved.manifest
    chain = f"{told.head.seq} events up to {told.head.hash[:12]}"
    rows = f"{sum(told.counts.values())} rows in {len(told.counts)} tables, as the manifest says"
    return (
        *checks,
        Check("restored", True, f"{len(told.parts)} parts, each by its hash"),
        Check("chain", proved.fault is None, proved.fault or f"verified: {chain}"),
        Check("rows", not proved.differences, "; ".join(proved.differences) or rows),
    )
