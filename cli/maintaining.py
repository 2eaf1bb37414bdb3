"""`crypto-bot maintenance`: the work of the maintenance flows, here and now, without Prefect where it needs none."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from difflib import get_close_matches

from cli.ends import known_end
from cli.output import print_json, print_table, remarks
from cli.prefect_server import running_api
from config.errors import ConfigurationError
from config.loader import load_settings
from config.settings import EXCHANGES, Settings
from services.clock import WallClock
from services.ledger import Ledger
from services.logs import configure_logging
from trading.checks import Check

Work = Callable[[Settings, datetime], tuple[Check, ...]]


def run_maintenance(names: tuple[str, ...], *, as_json: bool) -> int:
    """Do the named parts, or all; exit status 1 when one of them found something wrong."""
    wanted = [_known(name) for name in names] or list(_PARTS)
    settings = load_settings()
    configure_logging(settings)
    found: dict[str, tuple[Check, ...]] = {}
    for name in dict.fromkeys(wanted):
        remarks.print(f"{name} ...")
        try:
            found[name] = _PARTS[name](settings, WallClock().now())
        except ConfigurationError as error:
            if len(wanted) == 1:
                raise
            found[name] = (Check(name, False, str(error)),)  # the others are done all the same
        except Exception as error:  # as `crypto-bot` itself: a defect keeps its traceback
            known = known_end(error)
            if known is None or len(wanted) == 1:
                raise
            found[name] = (Check(name, False, known[0]),)
    well = all(check.passed for checks in found.values() for check in checks)
    if as_json:
        print_json({"well": well, "parts": found})
    else:
        rows = [
            (name, check.name, "yes" if check.passed else "NO", check.detail)
            for name, checks in found.items()
            for check in checks
        ]
        print_table("maintenance", ("part", "what", "well", "seen"), rows, "nothing was done")
    return 0 if well else 1


def _known(name: str) -> str:
    typed = name.replace("_", "-").lower()
    if typed in _PARTS:
        return typed
    near = get_close_matches(typed, _PARTS, 1, 0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigurationError(f"maintenance: unknown part {name!r}: {hint}there are {', '.join(_PARTS)}")


def _backup(settings: Settings, now: datetime) -> tuple[Check, ...]:
    from services.upkeep import backup_checks

    return backup_checks(settings, os.environ, now)


def _drill(settings: Settings, now: datetime) -> tuple[Check, ...]:
    from services.upkeep import drill_checks

    return drill_checks(settings, now)


def _dependencies(settings: Settings, now: datetime) -> tuple[Check, ...]:
    from services.dependencies import dependency_checks

    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        certificates = ledger.rungs()
    return dependency_checks(certificates)


def _drift(settings: Settings, now: datetime) -> tuple[Check, ...]:
    from execution.drift import drift_checks

    async def look() -> list[tuple[Check, ...]]:
        with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
            return await asyncio.gather(*(drift_checks(name, settings, ledger) for name in EXCHANGES))

    return tuple(check for checks in asyncio.run(look()) for check in checks)


def _database(settings: Settings, now: datetime) -> tuple[Check, ...]:
    from services.housekeeping import database_checks, log_checks

    return *database_checks(settings), *log_checks(settings, now), *_history(settings, now)


def _history(settings: Settings, now: datetime) -> tuple[Check, ...]:
    """Prefect's history, where its server runs."""
    with running_api(settings.home, settings.prefect) as api:
        if api is None:
            return (Check("Prefect's history", True, "no Prefect server runs here: nothing was removed"),)
        from tasks.history import prune_history

        return asyncio.run(prune_history(settings, now))


def _heartbeat(settings: Settings, now: datetime) -> tuple[Check, ...]:
    from execution.vitals import vital_checks

    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        return vital_checks(settings, ledger, now)


_PARTS: Mapping[str, Work] = {
    "backup": _backup,
    "restore-drill": _drill,
    "dependency-check": _dependencies,
    "venue-drift": _drift,
    "database-upkeep": _database,
    "heartbeat": _heartbeat,
}
