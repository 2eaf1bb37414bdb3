"""Look after the key of a running trader: what it may do, whether its secret may still be read, whether it was rotated.

Everything here only reads at the venue. Nothing is placed, and nothing that was placed is repeated
(docs/adr/0014-secrets.md).
"""

import asyncio
import logging

from config.credentials import Credentials
from config.errors import ConfigurationError
from config.loader import load_settings
from config.settings import Settings
from exchanges import create_exchange_client, create_exchange_reader
from exchanges.base import ExchangeReader, KeyRights
from exchanges.errors import Busy, NoAnswer, Refused
from execution.ladder import carry_over
from execution.latch import kill_switch, set_latch
from services.alerts import tell_all
from services.secrets import SecretUnavailable, describe, read_credentials
from tasks.fingerprint import key_id
from tasks.key_report import WITHDRAWS, expiry_warning, restriction_warning
from tasks.ladder import place_of
from tasks.session import TradingSession
from trading.notices import INFO, Notice

log = logging.getLogger(__name__)

_LOOKS = 3  # at both keys, before two accounts that change under our eyes are called different


async def look_after_key(here: TradingSession) -> bool:
    """Look at what is due before a cycle; False while the key's secret may not be read: then nothing is to be placed.

    Costs 1 request a day, and a few when the key was rotated. A key that may withdraw sets the kill switch.
    """
    await _look_at_rights(here)
    if _is_due(here):
        await take_up_rotated_key(here)
    return not here.key_trouble


async def renew_key(here: TradingSession) -> bool:
    """For a key that the venue refuses: read its secret whatever is kept; whether there is another key now."""
    return _is_renewable(here) and await take_up_rotated_key(here, fresh=True)


async def take_up_rotated_key(here: TradingSession, *, fresh: bool = False) -> bool:
    """Read the secret again, and go on with another key where it has changed; whether it has.

    The new key is examined first, by reading. `fresh`: Secret Manager is asked whatever is kept. Raises nothing of the
    venue's or of the secret's: what cannot be done now is done at the next look.
    """
    here.secret_read_at = here.wall_watch.wall.now()
    chosen = _settings_now(here)
    try:
        found = await read_credentials(chosen, here.name, fresh=fresh)
    except SecretUnavailable as error:
        log.warning("%s: the key in use is kept: %s", here.name, error)
        return False
    except ConfigurationError as error:
        here.key_trouble = str(error)
        _tell(here, "critical", "secret", f"nothing is placed, the key's secret may not be read: {error}")
        return False
    if here.key_trouble:
        here.key_trouble = ""
        log.info("%s: the key's secret is read again", here.name)
        _over(here, "secret")
    if found == here.credentials:
        here.settings = chosen
        _over(here, "rotation")
        return False
    try:
        return await _change_over(here, chosen, found)
    except (Busy, NoAnswer) as error:
        log.warning("%s: the rotated key is examined at the next look: %s", here.name, error)
        here.secret_read_at = None
    except Refused as error:
        _tell(here, "critical", "rotation", f"the rotated key is not taken up, the venue refuses it: {error}")
    return False


async def _change_over(here: TradingSession, chosen: Settings, found: Credentials) -> bool:
    new_id = key_id(found.api_key)
    examined = create_exchange_reader(here.name, settings=chosen, credentials=found, clock=here.clock)
    try:
        rights = await examined.key_rights()
        refused = _refused(here.rights, rights)
        if refused:
            _tell(here, "critical", "rotation", f"the rotated key {new_id} is not taken up: {refused}")
            return False
        proof = await _same_account(here, examined, rights)
    finally:
        await examined.close()
    client = create_exchange_client(here.name, settings=chosen, credentials=found, clock=here.clock)
    old_id = here.key_id
    await here.take_up(client, new_id, rights)
    here.settings, here.credentials = chosen, found
    carried = bool(proof) and carry_over(place_of(here), proof, here.clock.now())
    _over(here, "rotation")
    if carried:
        _tell(here, "info", "rotation", f"key {old_id} was rotated to {new_id}; the rung stays: {proof}", once=True)
    else:
        why = "more has changed than the key" if proof else "it is not shown that both keys open the same account"
        _tell(
            here,
            "warning",
            "rotation",
            f"key {old_id} was rotated to {new_id}; the ladder begins anew: {why}",
            once=True,
        )
    return True


def _refused(before: KeyRights | None, rights: KeyRights) -> str:
    """Why a key must not be used, by what the venue says of it; "" where nothing is against it."""
    if rights.can_withdraw:
        return WITHDRAWS
    if rights.can_read is False or rights.can_trade is False:
        return f"it may not read or not trade ({rights.detail})"
    if before is not None and before.account_id and before.account_id != rights.account_id:
        return "it belongs to another account than the one in the ledger"
    return ""


async def _same_account(here: TradingSession, new: ExchangeReader, rights: KeyRights) -> str:
    """What shows that the new key opens the account that the old one opened; "" where nothing does.

    The venue's own name of the account where it tells one; else what both keys read, as long as it holds an order or a
    fill, whose ids no other account has.
    """
    before = here.rights
    if before is not None and before.account_id and before.account_id == rights.account_id:
        return "the venue names the same account for both keys"
    old = here.desk.exchange
    try:
        for _ in range(_LOOKS):
            seen, told = await _account(old, here.symbol), await _account(new, here.symbol)
            if seen == told and (told[1] or told[2]):
                return f"both keys read the same balances, {len(told[1])} resting orders and {len(told[2])} fills"
    except Refused:
        log.info("%s: the old key is not accepted any more", here.name)  # nothing to compare with
    return ""


async def _account(reader: ExchangeReader, symbol: str) -> tuple[object, frozenset[str], frozenset[str]]:
    balances = dict(await reader.balances())
    resting = frozenset(each.venue_order_id for each in await reader.open_orders(symbol))
    return balances, resting, frozenset(each.id for each in await reader.fills(symbol))


async def _look_at_rights(here: TradingSession) -> None:
    before = here.rights
    rights = await here.key_rights()
    if here.may_withdraw and kill_switch(here.settings.home, here.ledger, here.account) is None:
        set_latch(here.settings.home, here.ledger, here.account, WITHDRAWS, "key rights", here.clock.now())
        _tell(here, "critical", "rights", f"the kill switch is set: {WITHDRAWS}")
    if rights is None or rights is before:
        return
    days = here.settings.secrets.expiry_days
    for about, warning in (
        ("restriction", restriction_warning(rights)),
        ("expiry", expiry_warning(rights, here.wall_watch.wall.now(), days)),
    ):
        if warning:
            _tell(here, "warning", about, warning)
        else:
            _over(here, about)
    if _is_renewable(here):
        rows = await asyncio.to_thread(describe, here.settings, here.name, here.wall_watch.wall.now())
        for row in rows:
            if row.rotation_due:
                _tell(here, "warning", "age", f"rotation is due: {row}")
        if not any(row.rotation_due or row.problem for row in rows):
            _over(here, "age")


def _is_renewable(here: TradingSession) -> bool:
    # The environment of a process does not change: there is nothing to read again.
    return here.keys_from_provider and here.settings.secrets.provider != "env"


def _is_due(here: TradingSession) -> bool:
    if not _is_renewable(here) or here.secret_read_at is None:
        return _is_renewable(here)
    # A reading that lies ahead was dated by a clock that has been set back since.
    age = here.wall_watch.wall.now() - here.secret_read_at
    return not 0 <= age.total_seconds() < here.settings.secrets.cache_ttl


def _settings_now(here: TradingSession) -> Settings:
    """The session's settings with the section `secrets` as the configuration says it now, and nothing else of it."""
    try:
        secrets = load_settings().secrets
    except ConfigurationError as error:
        log.warning("%s: the configuration is not readable now, its last secrets.* hold: %s", here.name, error)
        return here.settings
    if secrets.provider != here.settings.secrets.provider:
        log.warning("%s: another secrets.provider needs a restart of the trader", here.name)
        return here.settings
    return here.settings.model_copy(update={"secrets": secrets})


def _tell(here: TradingSession, level: str, about: str, text: str, *, once: bool = False) -> None:
    log.log({"info": logging.INFO, "warning": logging.WARNING}.get(level, logging.CRITICAL), "%s: %s", here.name, text)
    tell_all((Notice(level, f"{here.account}:key-{about}", f"{here.name}: {text}", once=once),), here.settings)


def _over(here: TradingSession, about: str) -> None:
    """What may have been told is so no more."""
    tell_all((Notice(INFO, f"{here.account}:key-{about}", "", over=True),), here.settings)
