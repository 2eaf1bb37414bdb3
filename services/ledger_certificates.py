"""The part of the ledger that asks for the certificate, inside the transaction that writes an intent."""

from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection, bindparam, func, select

from services.ledger_rows import IS_OPEN
from services.ledger_tables import fills, orders, rungs
from services.ledger_types import CertificateRefused
from trading.certificates import (
    ADOPTED,
    Certificate,
    Claim,
    Fingerprint,
    Standing,
    is_paper,
    refused_by_certificate,
)
from trading.instruments import Side
from trading.money import ZERO
from trading.orders import OrderIntent

# built once: building a statement costs as much as running it
_NEWEST = (
    select(rungs)
    .where(rungs.c.account == bindparam("of_account"), rungs.c.symbol == bindparam("of_symbol"))
    .order_by(rungs.c.id.desc())
    .limit(1)
)
_ORDERS_SINCE = (
    select(func.count())
    .select_from(orders)
    .where(
        orders.c.account == bindparam("of_account"),
        orders.c.created_at >= bindparam("since"),
        orders.c.symbol == bindparam("of_symbol"),
        orders.c.rung != ADOPTED,
    )
)


def check_certificate(connection: Connection, account: str, intent: OrderIntent, claim: Claim, now: datetime) -> None:
    """Raise CertificateRefused unless the newest certificate of account and symbol covers the order at `now`.

    Orders on paper reach no venue and are not asked.
    """
    if is_paper(account):
        return
    certificate = _newest(connection, account, intent.symbol)
    too_large = certificate is not None and intent.quantity > certificate.max_quantity
    standing = _standing(connection, account, intent, now, with_position=too_large)
    refused = refused_by_certificate(intent, claim, certificate, standing, now)
    if refused is not None:
        raise CertificateRefused(account, refused)


def _newest(connection: Connection, account: str, symbol: str) -> Certificate | None:
    row = connection.execute(_NEWEST, {"of_account": account, "of_symbol": symbol}).one_or_none()
    if row is None:
        return None
    return Certificate(
        number=row.event_seq,
        symbol=row.symbol,
        rung=row.rung,
        max_quantity=row.max_quantity,
        max_orders_per_day=row.max_orders_per_day,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        examined=Fingerprint.of(row.fingerprint or {}),
    )


def _standing(
    connection: Connection, account: str, intent: OrderIntent, now: datetime, *, with_position: bool
) -> Standing:
    since = {"of_account": account, "of_symbol": intent.symbol, "since": now - timedelta(days=1)}
    count = int(connection.execute(_ORDERS_SINCE, since).scalar_one())
    if not with_position:
        return Standing(count)
    return Standing(count, _held(connection, account, intent.symbol), _resting(connection, account, intent))


def _held(connection: Connection, account: str, symbol: str) -> Decimal:
    """The signed position (base) that the fills of our own orders have left, fees in base taken off."""
    base = symbol.partition("/")[0]
    mine = (orders.c.account == fills.c.account) & (orders.c.venue_order_id == fills.c.venue_order_id)
    query = (
        select(fills.c.side, fills.c.quantity, fills.c.fee, fills.c.fee_currency)
        .select_from(fills.join(orders, mine & (orders.c.symbol == fills.c.symbol)))
        .where(fills.c.account == account, fills.c.symbol == symbol)
    )
    held = ZERO
    for row in connection.execute(query):
        held += row.quantity * Side(row.side).sign - (row.fee if row.fee_currency == base else ZERO)
    return held


def _resting(connection: Connection, account: str, intent: OrderIntent) -> Decimal:
    query = select(orders.c.quantity, orders.c.filled).where(
        orders.c.account == account,
        orders.c.symbol == intent.symbol,
        orders.c.side == str(intent.side),
        IS_OPEN,
    )
    return sum((row.quantity - row.filled for row in connection.execute(query)), ZERO)
