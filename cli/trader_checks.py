"""A trader whose account is on the checks: a simulated one takes them itself, a real one leaves the account to a person
who runs them, and goes on when they have passed.
"""

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from rich.markup import escape

from cli.output import say
from cli.running import unless_stopped
from config.settings import Endpoint, ExchangeName, Settings
from services.clock import WallClock
from services.heartbeat import showing_life
from services.ledger import Ledger, LedgerUnavailable, RungRecord
from trading.checks import CheckFailed
from trading.stages import CHECKS

if TYPE_CHECKING:
    from tasks.session import TradingSession

log = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0


def checks_needed(record: RungRecord | None) -> bool:
    """Whether nothing can trade before the checks have passed (again); the last one leads to paper by itself."""
    return record is None or record.rung in CHECKS[:-1]


def what_to_run(exchange: ExchangeName) -> str:
    """What a person must do for an account that is on the checks."""
    return f"crypto-bot check {exchange} --orders"


async def take_checks(exchange: ExchangeName, settings: Settings, stop: asyncio.Event) -> bool:
    """Let a simulated exchange that has no rung, or has fallen back to the first checks, take its three checks; a real
    one waits for a person to run them.

    False when it was stopped before their end. Raises CheckFailed.
    """
    from flows.compatibility import compatibility
    from flows.minimal_order import minimal_order
    from flows.read_only import read_only
    from tasks.session import reading, trading

    if settings.exchanges[exchange].endpoint is not Endpoint.SIMULATED:
        return True
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        record = ledger.rung(settings.account(exchange), settings.symbol(exchange))
        if not checks_needed(record):
            return True
    below = "without a rung" if record is None else f"on {record.rung}"
    say(f"{exchange}: a simulated exchange {below} takes its three checks")
    async with reading(exchange, settings):
        for check in (compatibility, read_only):
            await unless_stopped(stop, check(exchange))
    if not stop.is_set():
        async with trading(exchange, settings):
            await unless_stopped(stop, minimal_order(exchange))
    return not stop.is_set()


class Fallen:
    """Sees to an account that falls back to the checks while its trader runs: by expiry, or because what was examined
    has changed.
    """

    def __init__(self, settings: Settings, stop: asyncio.Event, *, takes_checks: bool) -> None:
        """`takes_checks`: a simulated exchange takes its checks by itself, as at the start (`crypto-bot up`)."""
        self._settings = settings
        self._stop = stop
        self._takes_checks = takes_checks
        self.waits = False  # for a person's checks, which need the account

    async def see_to(self, here: "TradingSession") -> bool:
        """Take the checks or say, once, who must; True when they have passed. One that fails is tried at the next
        review.
        """
        record = here.ledger.rung(here.account, here.symbol)
        if not checks_needed(record):
            return False
        if self._takes_checks and here.is_simulated:
            try:
                return await take_checks(here.name, self._settings, self._stop)
            except CheckFailed as failed:
                log.error("%s: %s; tried again at the next review", here.name, failed)
                return False
        if not self.waits:
            self.waits = True
            told = (
                f"nothing is traded until a person has run `{what_to_run(here.name)}`; the account is free for it, "
                "and the trader goes on by itself then"
            )
            log.warning("%s is on %s: %s", here.account, "no rung" if record is None else record.rung, told)
            say(f"{here.name}: {escape(told)}")
        return False


async def until_examined(exchange: ExchangeName, settings: Settings, stop: asyncio.Event) -> bool:
    """Wait, without the account, until its checks have passed and nobody holds it. False when stopped before."""
    account = settings.account(exchange)
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        async with showing_life(f"trader {exchange}", ledger):
            while not stop.is_set():
                try:
                    record = ledger.rung(account, settings.symbol(exchange))
                    holder = ledger.holder(account, ledger.shared_time(WallClock().now()))
                except LedgerUnavailable as error:
                    log.warning("%s: the ledger does not say whether the checks have passed: %s", exchange, error)
                else:
                    if not checks_needed(record) and holder is None:
                        return True
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _LOOK_SECONDS)
    return False
