"""What soon stops a bot that runs: a process that died, a disk that fills up, a certificate that comes to its end."""

from datetime import datetime, timedelta

from config.settings import EXCHANGES, ExchangeName, Settings
from execution.ladder import approves_itself
from services.heartbeat import code_on_disk, heartbeat_checks
from services.housekeeping import disk_checks
from services.ledger import Ledger, RungRecord
from trading.checks import Check
from trading.stages import CHECKS, ramp_name


def vital_checks(settings: Settings, ledger: Ledger, now: datetime) -> tuple[Check, ...]:
    """Judge signs of life, disks and certificates. Asks no venue. Raises LedgerUnavailable."""
    certificates = [
        _certificate(settings, exchange, record, now)
        for exchange in EXCHANGES
        if (record := ledger.rung(settings.account(exchange), settings.symbol(exchange))) is not None
        and record.rung not in CHECKS
    ]
    return (
        *heartbeat_checks(settings, ledger.heartbeats(), code_on_disk(), now),
        *disk_checks(settings),
        *certificates,
    )


def _certificate(settings: Settings, exchange: ExchangeName, record: RungRecord, now: datetime) -> Check:
    name, left = f"certificate of {exchange}", record.expires_at - now
    said = f"{record.rung} of {record.symbol} until {record.expires_at:%Y-%m-%d %H:%M} UTC"
    warned = timedelta(days=settings.maintenance.certificate_warning_days)
    # One that has ended has taken its rung down, which was told then.
    if not timedelta(0) < left <= warned or approves_itself(settings, exchange):
        return Check(name, True, said)
    asked = "its renewal" if record.rung == ramp_name(settings.ladder.ramp_steps[-1]) else "the next rung"
    days = left / timedelta(days=1)
    return Check(name, False, f"{said}, in {days:.1f} days: crypto-bot approve {exchange} asks for {asked}")
