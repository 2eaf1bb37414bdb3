"""The daily digest: the last 24 hours of every exchange from our ledger, and what was told or held back since."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from prefect import task
from prefect.cache_policies import NO_CACHE

from config.loader import load_settings
from config.settings import ExchangeName, Settings
from execution.latch import kill_switch
from services.alerts import Delivery, send_digest
from services.clock import WallClock
from services.ledger import Ledger, LedgerUnavailable
from services.logs import configure_logging
from tasks.day import Day, day_of
from trading.money import plain


class DigestNotTaken(Exception):
    """A channel did not take the digest; the text says which and why."""


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def tell_digest(names: Sequence[ExchangeName]) -> str:
    """Send the digest to the channels that want it; returns where it went. Raises DigestNotTaken."""
    settings = load_settings()
    configure_logging(settings)
    if settings.alerts.digest_at is None or not settings.alerts.channels:
        return "no digest is configured (alerts.channels, alerts.digest_at)"
    told = await asyncio.to_thread(digest_now, settings, names)
    failed = [f"{each.channel}: {each.problem}" for each in told if each.problem]
    if failed:
        raise DigestNotTaken("; ".join(failed))
    return f"taken by {', '.join(each.channel for each in told) or 'no channel'}"


def digest_now(settings: Settings, names: Sequence[ExchangeName]) -> tuple[Delivery, ...]:
    """Read the last 24 hours and send the digest. Never raises for the ledger: a digest that says so is one too."""
    clock = WallClock()
    now = clock.now()
    try:
        with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
            lines = [
                line_of(
                    day_of(settings, ledger, name, now - timedelta(days=1), now),
                    halted=kill_switch(settings.home, ledger, settings.account(name)) is not None,
                    amounts=settings.alerts.show_amounts,
                )
                for name in names
            ]
    except LedgerUnavailable as error:
        lines = [f"the ledger does not answer: {error}"]
    return send_digest(settings, lines, clock)


def line_of(day: Day, *, halted: bool, amounts: bool) -> str:
    """One exchange in one line, what matters first."""
    told = day.summary
    parts = [*(["HALTED by the kill switch"] if halted else []), told.verdict]
    if told.cycles:
        parts += [f"on {told.rung or 'no rung'}", f"{len(day.fills)} fills", f"{told.refused} refused"]
        if amounts and told.change is not None:
            parts.append(f"equity {plain(told.change.quantize(Decimal('0.01')))} {day.quote}")
        if told.last_error:
            parts.append(f"last error: {told.last_error}")
    return f"{day.exchange} {day.symbol}: {', '.join(parts)}"
