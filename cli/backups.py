"""`crypto-bot backup`, `restore` and `audit verify`. Nothing here needs Prefect."""

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from cli.output import print_json, print_table, say
from config.errors import ConfigurationError
from config.loader import load_settings
from config.settings import EXCHANGES, Endpoint, ExchangeName, Settings
from services.backup import backup_directory, backup_secret, backups_in, make_backup
from services.backup_texts import settings_texts
from services.clock import WallClock
from services.ledger import Ledger
from services.ledger_database import checked_url
from services.restore import restore
from trading.audit import AuditReport

if TYPE_CHECKING:
    from execution.restored import RestoredAccount
    from tasks.session import TradingSession


def run_backup(to: Path | None, *, as_json: bool) -> int:
    """Make a backup; exit status 1 when the ledger in it is not sound."""
    settings = load_settings()
    secret = backup_secret(settings)
    made = make_backup(settings, settings_texts(os.environ), secret, WallClock().now(), to)
    told = made.manifest
    if as_json:
        print_json({"path": made.path, "bytes": made.bytes, "manifest": told, "removed": made.removed})
    else:
        ends = f"{told.head.seq} events up to {told.head.hash[:12]}"
        say(f"{escape(str(made.path))}: {_size(made.bytes)}, {ends}, read back")
        if made.removed:
            say(f"removed: {', '.join(made.removed)}")
        if told.fault:
            say(f"[red]the ledger in it is not sound: {escape(told.fault)}; nothing older was removed[/]")
    return 0 if told.fault is None else 1


def run_restore(file: Path | None, to: str | None, *, move_aside: bool, as_json: bool) -> int:
    """Put a backup's ledger where `to` says (default: this home's) and stop all trading there."""
    settings = load_settings()
    secret = backup_secret(settings)
    home, url = _target(settings, to)
    backup = file or _newest(settings)
    accounts = [settings.account(name) for name in EXCHANGES]
    done = restore(backup, secret, home=home, url=url, accounts=accounts, now=WallClock().now(), move_aside=move_aside)
    if as_json:
        print_json(done)
        return 0
    told = done.manifest
    say(f"{escape(done.place)}: {told.head.seq} events, as of {told.taken_at:%Y-%m-%d %H:%M:%S} UTC; its chain holds")
    if done.moved_aside is not None:
        say(f"the ledger that stood there is now {escape(str(done.moved_aside))}")
    say(f"settings from the backup, to look at: {escape(str(done.settings_folder))}")
    say(f"all trading is stopped and every certificate is void: {', '.join(done.accounts)}")
    say("next, exchange by exchange: crypto-bot restore --reconcile EXCHANGE --by NAME, then crypto-bot rearm EXCHANGE")
    return 0


def _target(settings: Settings, to: str | None) -> tuple[Path, str]:
    """The home and the database URL that are meant."""
    if to is None:
        return settings.home, settings.ledger_url
    if "://" in to:
        return settings.home, to
    home = Path(to).expanduser()
    if home.is_file():
        raise ConfigurationError(f"restore: --to {to} is a file: name a home directory, or a database URL")
    return home, f"sqlite:///{home / 'ledger.db'}"


def _newest(settings: Settings) -> Path:
    where = backup_directory(settings)
    found = backups_in(where)
    if not found:
        raise ConfigurationError(f"restore: there is no backup in {where}; name the file")
    return found[0]


def run_verify(*, as_json: bool) -> int:
    """Prove the ledger; exit status 1 with the first row that is not what was written."""
    settings = load_settings()
    url = checked_url(settings.ledger_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise ConfigurationError(f"audit verify: there is no ledger at {url.database}; check --home")
    began = time.monotonic()
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        fault, head, counts = ledger.verify_chain(), ledger.head(), ledger.counts()
    seconds = round(time.monotonic() - began, 3)
    if as_json:
        print_json({"sound": fault is None, "fault": fault, "head": head, "rows": counts, "seconds": seconds})
    else:
        print_table("rows", ("table", "rows"), sorted(counts.items()), "none")
        say(f"head of the chain: event {head.seq}, {head.hash}")
        verdict = "every event and every row is what was written" if fault is None else f"[red]{escape(fault)}[/]"
        say(f"{verdict} ({seconds:g} s)")
    return 0 if fault is None else 1


def run_reconcile(
    exchange: ExchangeName, ours: tuple[str, ...], not_ours: tuple[str, ...], *, by: str, as_json: bool
) -> int:
    """Bring a restored ledger up to what the venue shows; exit status 0 when nothing is left to explain."""
    from execution.restored import reconcile_restored
    from services.logs import configure_logging
    from tasks.session import trading

    if not by.strip():
        raise ConfigurationError("restore: --reconcile needs --by NAME: a person answers for it")
    settings = load_settings()
    configure_logging(settings)

    async def run() -> "tuple[RestoredAccount, AuditReport | None]":
        async with trading(exchange, settings) as here:
            told = await reconcile_restored(here.desk, (here.symbol,), by=by, ours=ours, not_ours=not_ours)
            return told, await _against_truth(here)

    told, truth = asyncio.run(run())
    clean = told.is_clean and (truth is None or truth.is_clean)
    if as_json:
        print_json({"clean": clean, "problems": told.problems, "audit": truth, **_counts(told)})
        return 0 if clean else 1
    _show(exchange, told, truth)
    return 0 if clean else 1


async def _against_truth(here: "TradingSession") -> AuditReport | None:
    """A simulated venue shows its own books: every order, fill and balance is compared. None where there are none."""
    import aiohttp

    from execution.audit import audit_books

    if here.configured.endpoint is not Endpoint.SIMULATED:
        return None
    control = here.configured.control_url or f"{here.configured.base_url}/_control"
    async with aiohttp.ClientSession() as session, session.get(f"{control}/truth") as reply:
        document: Mapping[str, Any] = await reply.json()
    return await audit_books(here.desk, document)


def _counts(told: "RestoredAccount") -> dict[str, object]:
    return {
        "taken_at": told.restore.taken_at if told.restore else None,
        "new_fills": len(told.new_fills),
        "adopted": [order.venue_order_id for order in told.adopted],
        "foreign": [order.venue_order_id for order in told.foreign],
        "undecided": [order.venue_order_id for order in told.undecided],
    }


def _show(exchange: ExchangeName, told: "RestoredAccount", truth: AuditReport | None) -> None:
    if told.restore is None:
        say(f"{exchange}: its ledger was not restored since it was last reconciled; looked at all the same")
    else:
        say(f"{exchange}: since the backup of {told.restore.taken_at:%Y-%m-%d %H:%M:%S} UTC")
    rows = [
        (
            whose,
            order.venue_order_id,
            order.side,
            order.quantity,
            order.price,
            order.state,
            order.filled,
            order.created_at,
        )
        for whose, orders in (("ours", told.adopted), ("not ours", told.foreign), ("whose?", told.undecided))
        for order in orders
    ]
    columns = ("", "venue order", "side", "quantity", "price", "state", "filled", "made")
    print_table(f"orders that the ledger did not know ({len(told.new_fills)} new fills)", columns, rows, "none")
    for problem in told.problems:
        say(f"[red]{escape(problem)}[/]")
    if truth is not None:
        say(
            f"audit: {len(truth.differences)} differences, {truth.duplicates} duplicate orders, {truth.unresolved} open"
        )
        for difference in truth.differences:
            say(f"  {escape(str(difference))}")
    if told.undecided:
        say(f"{exchange} keeps no id of ours: look at its page, then repeat with --ours ID or --not-ours ID (or all)")
    elif told.is_clean and told.restore is not None:
        say(f"0 differences; when you are content: crypto-bot rearm {exchange} --by NAME --reason TEXT")


def _size(number: int) -> str:
    return f"{number / 1e6:.1f} MB" if number >= 1e6 else f"{number / 1e3:.1f} kB"
