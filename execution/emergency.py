"""The emergency stop from outside: latch, reach the exchanges, stop them, say what is left. No Prefect, no pandas."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from config.errors import ConfigurationError
from config.settings import Endpoint, ExchangeName, Settings
from exchanges import create_exchange_client
from execution.connect import resolve
from execution.hold import beside_the_holder, holder_elsewhere
from execution.reach import BUSY_SECONDS, LedgerInReach
from execution.stop import StopReport, StopTarget, VenueStop, latch_all, stop_all
from services.clock import WallClock
from services.ledger import Ledger, LedgerUnavailable
from services.simulated import find_venue
from trading.money import plain

log = logging.getLogger(__name__)

# Where a person sees and cancels orders by hand (docs/emergency-stop.md).
PAGES: dict[ExchangeName, str] = {
    "bybit": "bybit.com, Orders, Current Orders",
    "bitbank": "app.bitbank.cc, Orders, Active",
    "bitflyer": "lightning.bitflyer.com, Orders",
    "okcoinjp": "okj.com, Orders, Open Orders",
}


@dataclass(frozen=True)
class EmergencyStop:
    """What the stop came to. `idle`: exchanges at which nothing can rest; `problems`: a sentence for each exchange that
    could not be reached by its configuration, and for all else that went wrong outside the venues.
    """

    report: StopReport
    idle: tuple[ExchangeName, ...]
    unreached: tuple[ExchangeName, ...]
    problems: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Every exchange is latched, and is proved empty of orders or cannot hold one."""
        return self.report.clean and not self.unreached

    @property
    def to_do(self) -> tuple[str, ...]:
        """What a person does now, a sentence each: every order that is left, where to look, what to repeat."""
        told = []
        for venue in self.report.venues:
            if not venue.is_clean:
                told += _left_at(venue)
        told += [_look_at(name, "it was not reached") for name in self.unreached]
        if not self.report.latched:
            told.append("the kill switch is not set everywhere: end the traders yourself, or they may place again")
        return tuple(told)


def _left_at(venue: VenueStop) -> list[str]:
    name = venue.account.partition("@")[0].partition(":")[0]
    told = [
        f"{venue.account}: LEFT {order.side} {plain(order.remaining)} {order.symbol}"
        + (f" at {plain(order.price)}" if order.price is not None else "")
        + f" (order {order.venue_order_id})"
        for order in venue.left
    ]
    if not venue.flat_as_asked:
        told += [f"{venue.account}: HELD {each.side} {plain(each.quantity)} {each.symbol}" for each in venue.positions]
    why = "orders are left" if venue.left else "not proved empty" if not venue.verified else "not proved flat"
    return [*told, _look_at(name, why)]


def _look_at(name: str, why: str) -> str:
    page = {str(known): page for known, page in PAGES.items()}.get(name, "the venue's own page")
    return f"{name}: {why}; look at {page}; then repeat: crypto-bot stop --exchange {name}"


async def stop_exchanges(
    settings: Settings,
    names: Sequence[ExchangeName],
    *,
    by: str,
    reason: str,
    close_positions: bool,
    interrupted: asyncio.Event | None = None,
    latch: bool = True,
) -> EmergencyStop:
    """Latch every named exchange, reached or not, then cancel everything at those that can hold orders. Without
    `latch` the kill switch stays as it is: who calls has ended the trader, and may start it again.

    Raises nothing for what one exchange, or the ledger, does. `interrupted`, once set, ends it with a report of what
    was last seen.
    """
    # Typed into a terminal of another encoding it holds bytes that neither a ledger nor a screen takes.
    reason = reason.encode(errors="replace").decode()
    books = LedgerInReach(lambda: Ledger(settings.ledger_url, busy_seconds=BUSY_SECONDS))
    clock = WallClock()
    try:
        accounts = [settings.account(name) for name in names]
        latched, problems = True, list[str]()
        if latch:
            latched, problems = await latch_all(
                accounts, books, settings.home, by, reason, clock, shared=settings.ledger_is_shared
            )
        idle = tuple([name for name in names if await _is_idle(settings, books, name)])
        busy = [name for name in names if name not in idle]

        async def stop(name: ExchangeName) -> StopReport | str:
            """One exchange from its address to its report, waiting for no other; or why it was not reached."""
            try:
                target = await _target(await _beside_a_trader(settings, books, name), name)
            except ConfigurationError as error:
                return str(error)
            except Exception as error:  # whatever it is, the other exchanges are stopped and this one is told
                log.exception("%s: could not be reached", name)
                return f"{name} could not be reached: {type(error).__name__}: {error}"
            try:
                return await stop_all(
                    [target],
                    books,
                    clock,
                    by,
                    reason,
                    close_positions,
                    home=settings.home,
                    latch=False,
                    interrupted=interrupted,
                )
            finally:
                await _close(target)

        found = dict(zip(busy, await asyncio.gather(*(stop(name) for name in busy)), strict=True))
    finally:
        books.close()
    unreached = {name: told for name, told in found.items() if isinstance(told, str)}
    reports = [told for told in found.values() if isinstance(told, StopReport)]
    all_problems = (*problems, *unreached.values(), *(each for told in reports for each in told.problems))
    report = StopReport(
        by=by,
        reason=reason,
        at=clock.now(),
        latched=latched,
        venues=tuple(venue for told in reports for venue in told.venues),
        problems=all_problems,
    )
    return EmergencyStop(report, idle, tuple(unreached), report.problems)


async def _close(target: StopTarget) -> None:
    try:
        await target.exchange.close()
    except Exception as error:  # the report is there and counts; connections end with the process
        log.warning("%s: closing its connections: %s", target.account, error)


async def _is_idle(settings: Settings, books: LedgerInReach, name: ExchangeName) -> bool:
    """No simulated venue runs and the ledger knows of no order that may rest: there is nothing to prove."""
    configured = settings.exchanges[name]
    if configured.endpoint is not Endpoint.SIMULATED or configured.base_url is not None:
        return False
    if find_venue(settings.home, name) is not None:
        return False
    try:
        return not await books.ask(lambda ledger: ledger.in_flight(settings.account(name)))
    except LedgerUnavailable:
        return True


async def _beside_a_trader(settings: Settings, books: LedgerInReach, name: ExchangeName) -> Settings:
    """The settings with the budget that a trader on another host leaves; as they are where none is known of."""
    account = settings.account(name)
    try:
        other = await books.ask(lambda ledger: holder_elsewhere(settings.home, ledger, account, WallClock().now()))
    except LedgerUnavailable:
        return settings
    if not other:
        return settings
    return settings.model_copy(update={"execution": beside_the_holder(settings.execution)})


async def _target(settings: Settings, name: ExchangeName) -> StopTarget:
    """The exchange, opened. Raises ConfigurationError with a sentence that says why it could not be."""
    ready, credentials, clock = await resolve(name, settings)
    client = create_exchange_client(name, settings=ready, credentials=credentials, clock=clock)
    return StopTarget(
        account=ready.account(name),
        exchange=client,
        symbols=(ready.symbol(name),),
        clock=clock,
        order_lifetime_minutes=ready.exchanges[name].order_lifetime_minutes,
    )
