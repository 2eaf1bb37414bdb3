"""The certificate: what a rung has earned, for which fingerprint, up to which caps, until when.

The ledger asks `refused_by_certificate` inside the transaction that writes an intent, so that nothing between the risk
rules and the sending (an expiry, a demotion, another process) can let an order out that has not been earned.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal

from trading.instruments import Side
from trading.money import ZERO, plain
from trading.orders import OrderIntent
from trading.risk import Refused
from trading.stages import CHECKS, COMPATIBILITY, MINIMAL_ORDER, PAPER, concerning

# Rungs of orders that no certificate covers. Each is held to a rule of its own in `refused_by_certificate`.
EMERGENCY_STOP = "emergency_stop"
ADOPTED = "adopted"


@dataclass(frozen=True)
class Fingerprint:
    """What was examined, part by part; each part is a short hash or a word. "" is not known, and equal to nothing."""

    code: str = ""  # the sources of the rooms in the order path
    ccxt: str = ""  # its version
    adapter: str = ""  # the venue's own files in exchanges/
    instrument: str = ""  # tick, lot, minimums, fee rates
    strategy: str = ""  # name, parameters, source
    limits: str = ""  # risk and execution settings, target size
    key: str = ""  # which API key, not the key

    @classmethod
    def of(cls, parts: Mapping[str, str]) -> "Fingerprint":
        """The fingerprint that was stored as a mapping; parts that are missing are not known."""
        return cls(**{part: str(parts.get(part, "")) for part in PARTS})

    def changed(self, now: "Fingerprint") -> tuple[str, ...]:
        """The names of the parts that are not now what was examined."""
        return tuple(part for part in PARTS if not getattr(self, part) or getattr(self, part) != getattr(now, part))


PARTS = tuple(each.name for each in fields(Fingerprint))


@dataclass(frozen=True)
class Certificate:
    """The newest certificate of an account and symbol as far as sending goes. Quantities base, times aware UTC."""

    number: int  # its event in the ledger's chain
    symbol: str
    rung: str
    max_quantity: Decimal  # one order
    max_orders_per_day: int | None  # None: no bound of its own
    issued_at: datetime
    expires_at: datetime
    examined: Fingerprint


@dataclass(frozen=True)
class Claim:
    """What an order says about its right to be sent.

    `certificate` is the number that the risk verdict went by (None: the rung alone names it). `own_cap` (base) is
    brought by the minimal-order check, which runs before there is a rung to trade on. `running` is the fingerprint of
    what sends (None: not known here; the risk rule has compared it).
    """

    rung: str
    certificate: int | None = None
    own_cap: Decimal | None = None
    running: Fingerprint | None = None


@dataclass(frozen=True)
class Standing:
    """What the ledger knows of the symbol in the transaction that writes. `held` is the signed position (base) of our
    own fills; both sums are asked for only when an order is larger than its cap.
    """

    orders_last_day: int
    held: Decimal = ZERO
    resting: Decimal = ZERO  # what still rests on the order's side, base

    def is_reduced_by(self, side: Side, quantity: Decimal) -> bool:
        """Whether the order only takes the position towards zero, also if all that rests on its side fills."""
        return self.held * side.sign < 0 and quantity + self.resting <= abs(self.held)


def is_paper(account: str) -> bool:
    """Whether the account is on paper: its orders never reach a venue."""
    return account.endswith(f":{PAPER}")


def refused_by_certificate(
    intent: OrderIntent, claim: Claim, certificate: Certificate | None, standing: Standing, now: datetime
) -> Refused | None:
    """Say why an order at a venue may not be sent, or None.

    Not covered by a certificate, each by its own rule: the emergency stop closes positions and nothing else; an adopted
    order rests at the venue already; the minimal-order check has a cap of its own and needs a check below it in force.
    """
    if claim.rung == EMERGENCY_STOP:
        return None if intent.reduce_only else _refused("emergency stop: reduce-only orders", "an order that may open")
    if claim.rung == ADOPTED:
        return None
    if certificate is None:
        return _refused(f"a certificate for {intent.symbol}", "none")
    for refused in (_symbol(intent, certificate), _time(certificate, now), _examined(claim, certificate)):
        if refused is not None:
            return refused
    if claim.rung == MINIMAL_ORDER:
        return _minimal_order(intent, claim, certificate)
    return _named(claim, certificate) or _caps(intent, certificate, standing)


def _symbol(intent: OrderIntent, certificate: Certificate) -> Refused | None:
    if certificate.symbol == intent.symbol:
        return None
    return _refused(f"a certificate for {intent.symbol}", certificate.symbol)


def _time(certificate: Certificate, now: datetime) -> Refused | None:
    if now < certificate.issued_at:
        return _refused(f"in force from {certificate.issued_at.isoformat()}", f"{now.isoformat()}, the clock went back")
    if now >= certificate.expires_at:
        return _refused(f"valid until {certificate.expires_at.isoformat()}", now.isoformat())
    return None


def _examined(claim: Claim, certificate: Certificate) -> Refused | None:
    if claim.running is None:
        return None
    changed = concerning(certificate.rung, certificate.examined.changed(claim.running))
    return _refused("what was examined", f"changed: {', '.join(changed)}") if changed else None


def _minimal_order(intent: OrderIntent, claim: Claim, certificate: Certificate) -> Refused | None:
    if claim.own_cap is None:
        return _refused("a cap of the minimal-order check's own", "none")
    if certificate.rung == COMPATIBILITY:
        return _refused("read_only or a higher rung in force", certificate.rung)
    if intent.quantity > claim.own_cap:
        return _refused(f"{MINIMAL_ORDER}: {plain(claim.own_cap)}", plain(intent.quantity))
    return None


def _named(claim: Claim, certificate: Certificate) -> Refused | None:
    """The certificate must be the one that the verdict went by, and one on which orders are placed at a venue."""
    if certificate.rung in (*CHECKS, PAPER):
        return _refused("a rung that trades at the venue", certificate.rung)
    if claim.rung != certificate.rung:
        return _refused(f"in force: {certificate.rung}", f"the verdict went by {claim.rung}")
    if claim.certificate is not None and claim.certificate != certificate.number:
        return _refused(f"in force: certificate {certificate.number}", f"the verdict went by {claim.certificate}")
    return None


def _caps(intent: OrderIntent, certificate: Certificate, standing: Standing) -> Refused | None:
    most = certificate.max_orders_per_day
    if most is not None and standing.orders_last_day >= most:
        return _refused(f"{certificate.rung}: {most} orders a day", f"{standing.orders_last_day + 1} orders")
    within = intent.quantity <= certificate.max_quantity
    if within or standing.is_reduced_by(intent.side, intent.quantity):
        return None
    return _refused(f"{certificate.rung}: {plain(certificate.max_quantity)}", plain(intent.quantity))


def _refused(limit: str, observed: str) -> Refused:
    return Refused("certificate", limit, observed)
