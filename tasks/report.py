"""Show a result where people look: Prefect artifacts, and alerts for what they must hear of at once.

Nothing is decided here and nothing is lost without it.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from prefect import task
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.cache_policies import NO_CACHE

from config.guide import CHECKS, address_of
from config.loader import canonical_exchange
from execution.emergency import EmergencyStop
from services.alerts import tell_all
from tasks.ladder import RungReview
from tasks.session import open_settings
from trading.checks import StageReport
from trading.money import plain
from trading.notices import notice_of_review, notice_of_stop, notices_of_checks


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def publish_stage(report: StageReport, rung: str) -> None:
    """Leave the verdict of a safety step as one screen of markdown, and its checks as a table; tell what failed."""
    tell_all(notices_of_checks(report), open_settings(canonical_exchange(report.exchange)))
    failures = "".join(f"\n- **{check.name}**: {check.detail}" for check in report.failures)
    warnings = "".join(f"\n- {check.name}: warning: {check.warning}" for check in report.warnings)
    to_do = "" if report.passed else f"\n\nWhat to do: `{address_of(CHECKS)}`"
    await acreate_markdown_artifact(
        key=artifact_key(report.stage, report.exchange),
        markdown=(
            f"# {report.stage} at {report.exchange}: {'passed' if report.passed else 'FAILED'}\n\n"
            f"{len(report.checks) - len(report.failures)} of {len(report.checks)} checks passed for {report.symbol}, "
            f"{report.finished_at:%Y-%m-%d %H:%M:%S} UTC (market time). "
            f"Rung in force: **{rung or 'none'}**.\n{failures}{warnings}{to_do}"
        ),
        description=f"{report.stage} at {report.exchange}",
    )
    rows = [
        {
            "check": check.name,
            "passed": "yes" if check.passed else "NO",
            "seen": f"{check.detail}; warning: {check.warning}" if check.warning else check.detail,
        }
        for check in report.checks
    ]
    await _table(artifact_key(report.stage, report.exchange, "checks"), rows, "every check and what was seen")


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def publish_review(review: RungReview) -> None:
    """Leave the ladder's verdict as markdown, and tell it."""
    notice = notice_of_review(review.exchange, review.verdict, review.before, review.after, review.reasons)
    tell_all(() if notice is None else (notice,), open_settings(review.exchange))
    reasons = "".join(f"\n- {reason}" for reason in review.reasons)
    await acreate_markdown_artifact(
        key=artifact_key("ladder", review.exchange),
        markdown=(
            f"# {review.exchange} {review.symbol}: {review.before or 'no rung'} → {review.after or 'no rung'}\n\n"
            f"**{review.verdict}**: up to {plain(review.max_quantity)} {review.symbol.partition('/')[0]} per order and "
            f"position, {review.reviewed_at:%Y-%m-%d %H:%M:%S} UTC (market time).\n{reasons}"
        ),
        description=f"ladder at {review.exchange}",
    )


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def publish_stop(stop: EmergencyStop) -> None:
    """Leave what the emergency stop did, venue by venue, and tell it."""
    report = stop.report
    notice = notice_of_stop(
        [*(venue.account for venue in report.venues), *stop.idle, *stop.unreached],
        clean=stop.clean,
        latched=report.latched,
        by=report.by,
        reason=report.reason,
        to_do=stop.to_do,
    )
    tell_all((notice,))
    rows = [
        {
            "exchange": venue.account,
            "cancelled": str(len(venue.cancelled)),
            "left": str(len(venue.left)),
            "verified": "yes" if venue.verified else "NO",
            "positions": ", ".join(f"{p.side} {plain(p.quantity)} {p.symbol}" for p in venue.positions) or "none",
            "problems": "; ".join(venue.problems) or "none",
        }
        for venue in stop.report.venues
    ]
    rows += [_not_asked(name, "NOT REACHED", "NO") for name in stop.unreached]
    rows += [_not_asked(name, "no simulated venue is running", "nothing to read") for name in stop.idle]
    await _table("emergency-stop", rows, "what the emergency stop did, venue by venue")
    said = "".join(f"\n- {problem}" for problem in stop.problems)
    verdict = "nothing is left" if stop.clean else "NOT CLEAN"
    latched = "The kill switch is set: `crypto-bot rearm EXCHANGE --by NAME --reason TEXT` allows trading again."
    state = latched if stop.report.latched else "**The kill switch could NOT be set everywhere.**"
    await acreate_markdown_artifact(
        key="emergency-stop-verdict",
        markdown=f"# Emergency stop: {verdict}\n\n{stop.report.reason}. {state}\n{said}\n\n{_markdown_table(rows)}",
        description="emergency stop",
    )


def _markdown_table(rows: Sequence[dict[str, str]]) -> str:
    if not rows:
        return ""
    lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0])]
    lines += [" | ".join(value.replace("|", "/") for value in row.values()) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def _not_asked(exchange: str, problem: str, verified: str) -> dict[str, str]:
    return {
        "exchange": exchange,
        "cancelled": "0",
        "left": "unknown" if verified == "NO" else "0",
        "verified": verified,
        "positions": "unknown" if verified == "NO" else "none",
        "problems": problem,
    }


class Progress:
    """How far a run has come, for who watches it: an artifact that is brought up to date, step by step."""

    def __init__(self, stage: str, exchange: str, steps: int) -> None:
        self._key = artifact_key(stage, exchange, "progress")
        self._steps = steps
        self._done = 0
        self._artifact: UUID | None = None

    async def step(self, doing: str) -> None:
        """Say what is done next; after the last step call it with what the run came to."""
        share = 100.0 * self._done / self._steps
        self._done += 1
        if self._artifact is None:
            self._artifact = await acreate_progress_artifact(progress=share, key=self._key, description=doing)
        else:
            await aupdate_progress_artifact(self._artifact, progress=share, description=doing)


def artifact_key(*words: str) -> str:
    """Prefect's keys are lower-case words joined by dashes."""
    return "-".join(words).replace("_", "-")


async def _table(key: str, rows: Sequence[dict[str, Any]], description: str) -> None:
    await acreate_table_artifact(key=key, table=list(rows), description=description)
