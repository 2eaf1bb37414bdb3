"""The outcome of one safety step: named checks, each with what was seen."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Check:
    """One question and its answer; `detail` is what was seen, with units; `warning` what a person should know of it."""

    name: str
    passed: bool
    detail: str
    warning: str = ""


@dataclass(frozen=True)
class StageReport:
    """All checks of one stage (compatibility, read_only, minimal_order) at one venue. Times are market time, UTC."""

    stage: str
    exchange: str
    symbol: str
    checks: tuple[Check, ...]
    started_at: datetime
    finished_at: datetime

    @property
    def passed(self) -> bool:
        """Whether every check passed; a report without checks proves nothing."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)

    @property
    def warnings(self) -> tuple[Check, ...]:
        """The checks that passed with something to look at."""
        return tuple(check for check in self.checks if check.passed and check.warning)


class CheckFailed(Exception):
    """A safety step did not pass; `report` holds every check, the text those that failed."""

    def __init__(self, report: StageReport) -> None:
        self.report = report
        told = "; ".join(f"{check.name}: {check.detail}" for check in report.failures)
        super().__init__(f"{report.stage} at {report.exchange} failed: {told or 'nothing was checked'}")


@dataclass(frozen=True)
class UpkeepReport:
    """What one maintenance flow found and did. Times are of the wall, UTC."""

    name: str
    checks: tuple[Check, ...]
    started_at: datetime
    finished_at: datetime

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong; a report without checks proves nothing."""
        return bool(self.checks) and not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)


class UpkeepFailed(Exception):
    """A maintenance flow found something that a person must look at; the text says what."""

    def __init__(self, report: UpkeepReport) -> None:
        self.report = report
        told = "; ".join(f"{check.name}: {check.detail}" for check in report.failures)
        super().__init__(f"{report.name}: {told or 'nothing was checked'}")
