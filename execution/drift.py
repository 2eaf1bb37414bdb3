"""Whether a venue is still what it was when it was last looked at: rules, fees, what the key may do, its status.

A change of what a certificate was earned under voids it, with the reason (execution/ladder.py). The running trader
compares the instrument's rules by itself at each review; this also sees it while none runs, and says what changed.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from config.errors import ConfigurationError
from config.settings import Endpoint, ExchangeName, Settings
from exchanges import create_exchange_reader
from exchanges.base import ExchangeReader
from exchanges.errors import Busy, VenueError
from execution.connect import resolve
from execution.ladder import Place, demote
from services.clock import Clock
from services.ledger import Ledger
from services.simulated import find_venue
from trading.certificates import Fingerprint
from trading.checks import Check
from trading.stages import COMPATIBILITY

# The order of what a venue tells: told in this order, too.
_RULES, _KEY, _STATUS = "instrument", "key", "status"
_DELISTED = "not listed"  # Bybit and OKJ leave a pair out of their lists
# A right that the key has lost, or should not have got: what was examined is not this key.
_WRONG_RIGHTS = {"can_read": False, "can_trade": False, "can_withdraw": True, "restricted_to_addresses": False}


async def drift_checks(exchange: ExchangeName, settings: Settings, ledger: Ledger) -> tuple[Check, ...]:
    """Look at one venue, compare with the last look, void the certificate where a change matters, and keep the look.

    A simulated venue that does not run, and a live one that does not answer, are not compared and keep the last look.
    Costs what instruments, status and key rights cost (4 to 8 requests). Raises LedgerUnavailable.
    """
    configured = settings.exchanges[exchange]
    embedded = configured.endpoint is Endpoint.SIMULATED and configured.base_url is None
    if embedded and find_venue(settings.home, exchange) is None:
        return (Check(exchange, True, "no simulated venue is running: not looked at"),)
    try:
        ready, credentials, clock = await resolve(exchange, settings)
        reader = create_exchange_reader(exchange, settings=ready, credentials=credentials, clock=clock)
        try:
            told = await _look(reader, ready.symbol(exchange))
        finally:
            await reader.close()
    except Busy as error:  # in maintenance, or asked too often: news, it is looked at next time
        return (Check(exchange, True, f"not looked at: {error}"),)
    except (ConfigurationError, VenueError) as error:
        return (Check(exchange, False, f"not looked at: {error}"),)
    return _compare(exchange, settings, ledger, told, clock)


async def _look(reader: ExchangeReader, symbol: str) -> dict[str, Any]:
    status = await reader.status(symbol)
    told: dict[str, Any] = {_STATUS: {"trading": status.trading, "state": status.state, "detail": status.detail}}
    if not status.trading:
        return told  # what a closed venue says of its rules is not what holds when it opens
    # As the venue lists it, not as it is under load: bitbank raises its smallest order for a while (docs/venues.md).
    instrument = (await reader.instruments()).get(symbol) or await reader.instrument(symbol)
    rights = await reader.key_rights()
    told[_RULES] = {name: None if value is None else str(value) for name, value in asdict(instrument).items()}
    told[_KEY] = {name: getattr(rights, name) for name in _WRONG_RIGHTS}
    return told


def _compare(
    exchange: ExchangeName, settings: Settings, ledger: Ledger, told: Mapping[str, Any], clock: Clock
) -> tuple[Check, ...]:
    account, symbol, now = settings.account(exchange), settings.symbol(exchange), clock.now()
    before = ledger.newest_snapshot(account, symbol)
    checks = [_status(exchange, told[_STATUS])]
    if _RULES not in told:
        return tuple(checks)
    if before is None:
        checks.append(Check(f"{exchange} rules and key", True, "looked at for the first time"))
    else:
        last, at = before
        since = f"since {at:%Y-%m-%d %H:%M} UTC"
        reasons = [*changes(last, told, _RULES), *_worse(last[_KEY], told[_KEY])]
        news = [each for each in changes(last, told, _KEY) if each not in reasons]
        what = "; ".join((*reasons, *news)) or "as before"
        if reasons:
            what = f"{what}; {_void(exchange, settings, ledger, what, now)}"
        checks.append(Check(f"{exchange} rules and key", not reasons, f"{what} ({since})"))
    ledger.record_snapshot(account, symbol, told, now, settings.maintenance.snapshots_kept)
    return tuple(checks)


def _status(exchange: ExchangeName, status: Mapping[str, Any]) -> Check:
    """What the venue says of itself now. A maintenance is news, the trader waits for its end; a delisting is more."""
    words = " ".join(filter(None, (status["state"], status["detail"])))
    told = words if status["trading"] else f"not trading: {words}; rules and key are compared when it trades"
    return Check(f"{exchange} status", status["state"] != _DELISTED, told)


def changes(last: Mapping[str, Any], told: Mapping[str, Any], part: str) -> list[str]:
    """What is different in one part, each as `name: before → now`."""
    before, now = last.get(part, {}), told[part]
    names = [*now, *(name for name in before if name not in now)]
    return [f"{name}: {before.get(name)} → {now.get(name)}" for name in names if before.get(name) != now.get(name)]


def _worse(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {before.get(name)} → {now[name]}"
        for name, wrong in _WRONG_RIGHTS.items()
        if now[name] is wrong and before.get(name) is not wrong
    ]


def _void(exchange: ExchangeName, settings: Settings, ledger: Ledger, why: str, now: datetime) -> str:
    """Take the certificate down to the first check, which must itself be passed anew."""
    place = Place(settings, exchange, ledger, Fingerprint())
    record = place.record()
    if record is None or now >= record.expires_at:
        return "no certificate is in force"
    demote(place, COMPATIBILITY, "venue-drift", why, now)
    return f"the certificate for {record.rung} is void: crypto-bot check {exchange} --orders"
