"""The section `maintenance`: what is kept, for how long, and where backups go.

Not to be taken for `exchanges.NAME.maintenance`, the windows in which a venue is closed.
"""

from pydantic import Field

from config.settings_secrets import SecretName
from config.strict import Place, Strict


class UpkeepSettings(Strict):
    backup_directory: Place | None = Field(
        None, description="path of the directory for backups, best on another disk; null: <home>/backups"
    )
    backups_kept: int = Field(
        14, ge=1, description="number of backups; older ones are removed after a new one was read"
    )
    backup_max_age_hours: float = Field(
        30, gt=0, le=876000, description="hours: the restore drill complains about a newest backup that is older"
    )
    backup_secret: SecretName = Field(
        "CRYPTO_BOT_BACKUP_KEY",
        description="name of the secret that encrypts backups (provider env: of the variable); never the secret itself",
    )
    prefect_run_days: float = Field(
        14,
        gt=0,
        le=36500,
        description="days that Prefect keeps ended runs with their tasks and logs; the ledger keeps all",
    )
    prefect_artifact_days: float = Field(90, gt=0, le=36500, description="days that Prefect keeps artifacts (reports)")
    prefect_runs_at_once: int = Field(
        2000, ge=1, description="number of runs that one upkeep removes at most; the next one goes on"
    )
    log_days: float = Field(30, gt=0, le=36500, description="days that old log files are kept")
    heartbeat_max_age_seconds: float = Field(
        180, gt=0, le=86400, description="seconds after which a process that showed no sign of life counts as gone"
    )
    disk_used_percent: float = Field(90, gt=0, le=100, description="percent used from which a disk counts as full soon")
    certificate_warning_days: float = Field(
        3,
        ge=0,
        le=36500,
        description="days before its end from which a certificate is warned of, where a person must approve",
    )
    snapshots_kept: int = Field(100, ge=1, description="number of a venue's snapshots that the ledger keeps")
