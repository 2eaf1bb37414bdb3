"""What the venue says of our key, as checks: a row each in the read-only report. Plain values in, verdicts out."""

from datetime import datetime, timedelta
from ipaddress import ip_address

from exchanges.base import KeyRights
from trading.checks import Check

WITHDRAWS = "the key may withdraw: make a key without that right at the venue and use it here"
_WORDS = {True: "yes", False: "no", None: "unknown"}


def key_checks(rights: KeyRights, now: datetime, expiry_days: float) -> tuple[Check, ...]:
    """Every right a row. A key that may withdraw fails; no address restriction and a near expiry warn."""
    unknown = rights.can_withdraw is None
    told = WITHDRAWS if rights.can_withdraw else _WORDS[rights.can_withdraw]
    return (
        Check("key: may read", rights.can_read is not False, _told(rights.can_read, rights.detail)),
        Check("key: may trade", True, _WORDS[rights.can_trade]),
        Check(
            "key: may withdraw",
            rights.can_withdraw is not True,
            told,
            "the venue does not tell: look at its page that the key cannot withdraw" if unknown else "",
        ),
        Check("key: bound to addresses", True, _bound(rights), restriction_warning(rights)),
        Check("key: expires", True, _expiry(rights, now), expiry_warning(rights, now, expiry_days)),
        Check("key: our address", True, _own_address(rights)),
    )


def restriction_warning(rights: KeyRights) -> str:
    """What to say of a key that may be used from anywhere; "" where it is bound or the venue does not tell."""
    if rights.restricted_to_addresses is not False:
        return ""
    return "whoever has the key can use it from anywhere: bind it to your address at the venue"


def expiry_warning(rights: KeyRights, now: datetime, expiry_days: float) -> str:
    """What to say of a key that ends within `expiry_days`; `now` is the wall's. "" where it does not."""
    if rights.expires_at is None or rights.expires_at - now > timedelta(days=expiry_days):
        return ""
    return f"the key {_ends(rights.expires_at, now)}: make a new one and pin it (docs/secrets.md)"


def _told(value: bool | None, detail: str) -> str:
    return f"{_WORDS[value]} ({detail})" if detail else _WORDS[value]


def _bound(rights: KeyRights) -> str:
    if rights.addresses:
        return ", ".join(rights.addresses)
    return _WORDS[rights.restricted_to_addresses]


def _expiry(rights: KeyRights, now: datetime) -> str:
    if rights.expires_at is None:
        return "no date told"
    return f"{rights.expires_at:%Y-%m-%d %H:%M} UTC, {_ends(rights.expires_at, now)}"


def _ends(at: datetime, now: datetime) -> str:
    days = (at - now) / timedelta(days=1)
    return f"ends in {days:.1f} days" if days > 0 else "has expired"


def _own_address(rights: KeyRights) -> str:
    if not rights.local_address:
        return "not known"
    if rights.local_address in rights.addresses:
        return f"{rights.local_address}, which the key is bound to"
    address = ip_address(rights.local_address)
    if address.is_loopback:
        return f"{address}, the venue is on this machine"
    behind = "; it is behind a router, whose address the venue sees" if address.is_private else ""
    return f"{address}, this machine's; no venue tells which one it sees{behind}"
