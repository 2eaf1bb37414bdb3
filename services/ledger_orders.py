"""The part of the ledger that no order is lost from: intents, order events, fills are written here."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Connection,
    bindparam,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from services.ledger_certificates import check_certificate
from services.ledger_chain import Entry, append
from services.ledger_database import Database
from services.ledger_leases import check_lease
from services.ledger_rows import (
    IS_OPEN,
    ORDER_COLUMNS,
    chunks,
    fill_detail,
    fill_values,
    fills_of,
    intent_detail,
    read_orders,
    sorted_by,
    standing_detail,
)
from services.ledger_tables import fills, orders
from services.ledger_types import Lease, LedgerConflict
from trading.certificates import Claim, Fingerprint
from trading.money import ZERO, plain
from trading.orders import (
    SEEN,
    Event,
    Fill,
    Order,
    OrderIntent,
    State,
    advance,
)

_SIGHTINGS = frozenset(SEEN.values())
# built once: building a statement costs as much as running it
_INSERT_ORDER = insert(orders)
_THAT_ORDER = (orders.c.account == bindparam("of_account")) & (
    orders.c.client_order_id == bindparam("of_client_order_id")
)
_ONE_ORDER = select(*ORDER_COLUMNS).where(_THAT_ORDER)
_MOVE_ORDER = update(orders).where(_THAT_ORDER)


class OrderBooks:
    """Orders and fills."""

    _database: Database

    def write_intent(
        self,
        intent: OrderIntent,
        lease: Lease,
        *,
        rung: str,
        cycle_id: str | None,
        known_ids: frozenset[str],
        now: datetime,
        certificate: int | None = None,
        own_cap: Decimal | None = None,
        running: Fingerprint | None = None,
    ) -> None:
        """Commit the intent (state INTENDED) before anything is sent.

        `known_ids` is the baseline of venue order ids for finding an order whose answer was lost. `rung`,
        `certificate`, `own_cap` and `running` are the order's claim (`trading.certificates.Claim`), which is proved
        here. Raises LeaseLost, CertificateRefused, LedgerConflict for a client order id that the account has used.
        """
        claim = Claim(rung, certificate, own_cap, running)
        values: dict[str, Any] = {
            "account": lease.account,
            "client_order_id": intent.client_order_id,
            "venue": intent.venue,
            "symbol": intent.symbol,
            "side": str(intent.side),
            "type": str(intent.type),
            "quantity": intent.quantity,
            "price": intent.price,
            "time_in_force": str(intent.time_in_force),
            "decision_price": intent.decision_price,
            "decided_at": intent.decided_at,
            "reason": intent.reason,
            "reduce_only": intent.reduce_only,
            "target_quantity": intent.target_quantity,
            "rung": rung,
            "cycle_id": cycle_id,
            "lease_token": lease.token,
            "known_ids": sorted(known_ids),
            "created_at": now,
            "state": str(State.INTENDED),
            "is_open": 1,
            "filled": ZERO,
            "updated_at": now,
            "note": "",
        }
        with self._database.writing() as connection:
            check_lease(connection, lease)
            check_certificate(connection, lease.account, intent, claim, now)
            try:
                connection.execute(_INSERT_ORDER, values)
            except IntegrityError as error:
                raise LedgerConflict(
                    f"{lease.account} has used the client order id {intent.client_order_id}"
                ) from error
            entry = (intent.client_order_id, "order.intended", intent_detail(values))
            append(connection, lease.account, now, [entry])

    def record(
        self,
        account: str,
        client_order_id: str,
        event: Event,
        now: datetime,
        *,
        venue_order_id: str | None = None,
        filled: Decimal | None = None,
        note: str = "",
        lease: Lease | None = None,
    ) -> Order:
        """Append the event, move the order along the state table and return it; nothing where `lease` is lost.

        `filled` (base, in total) never decreases; an older page that tells less is no news. A sighting that
        changes nothing is not stored. Raises LeaseLost; IllegalTransition; LedgerConflict for an order that the ledger
        does not have, for more filled than was asked, and for another venue order id than the one known.
        """
        with self._database.writing() as connection:
            if lease is not None:
                check_lease(connection, lease)
            known = _order(connection, account, client_order_id)
            if known is None:
                raise LedgerConflict(f"{account} has no order {client_order_id}")
            after = _after(known, event, now, venue_order_id, filled, note)
            if event in _SIGHTINGS and after == known:
                return known
            after = replace(after, updated_at=now)
            detail = standing_detail(after)
            append(connection, account, now, [(client_order_id, f"order.{event}", detail)])
            standing = {
                "of_account": account,
                "of_client_order_id": client_order_id,
                "state": str(after.state),
                "is_open": int(not after.is_finished),
                "venue_order_id": after.venue_order_id,
                "filled": after.filled,
                "sent_at": after.sent_at,
                "updated_at": now,
                "note": after.note,
            }
            connection.execute(_MOVE_ORDER, standing)
            if after.venue_order_id != known.venue_order_id:
                # a stream may have told of its fills before the order's id was known
                after = replace(after, fills=fills_of(connection, account, [after]))
        return after

    def record_fills(self, account: str, new: Sequence[Fill], now: datetime) -> tuple[Fill, ...]:
        """Store fills that are not yet known (by account, symbol and fill id) and return those.

        A fill belongs to the order of the same symbol and venue order id, also when that id is heard of
        later. What was stored first stays: a venue's fill never changes.
        """
        if not new:
            return ()
        with self._database.writing() as connection:
            known = _known_fill_ids(connection, account, new)
            fresh: dict[tuple[str, str], Fill] = {}
            for fill in new:
                if (fill.symbol, fill.id) not in known:
                    fresh.setdefault((fill.symbol, fill.id), fill)
            if not fresh:
                return ()
            rows = [fill_values(account, fill, now) for fill in fresh.values()]
            entries: list[Entry] = [(f"{row['symbol']} {row['fill_id']}", "fill", fill_detail(row)) for row in rows]
            first = append(connection, account, now, entries)
            for offset, row in enumerate(rows):
                row["event_seq"] = first + offset
            connection.execute(insert(fills), rows)
        return tuple(fresh.values())

    def order(self, account: str, client_order_id: str) -> Order | None:
        """One order with its fills, or None."""
        with self._database.reading() as connection:
            return _order(connection, account, client_order_id)

    def order_by_venue_id(self, account: str, venue_order_id: str) -> Order | None:
        """The order that the venue calls `venue_order_id`, or None."""
        query = select(*ORDER_COLUMNS).where(orders.c.account == account, orders.c.venue_order_id == venue_order_id)
        with self._database.reading() as connection:
            found = read_orders(connection, query)
        return found[0] if found else None

    def in_flight(self, account: str, symbol: str | None = None) -> tuple[Order, ...]:
        """Orders that have not ended, oldest first."""
        query = select(*ORDER_COLUMNS).where(IS_OPEN, orders.c.account == account).order_by(sorted_by(orders.c.id))
        with self._database.reading() as connection:
            found = read_orders(connection, query)
        # Not asked for by symbol: SQLite would then leave the index of open orders for that of all of the symbol's.
        return tuple(order for order in found if symbol in (None, order.intent.symbol))

    def known_ids(self, account: str, client_order_id: str) -> frozenset[str]:
        """The baseline stored with the intent, plus the venue ids of all our other orders."""
        with self._database.reading() as connection:
            mine = orders.c.client_order_id == client_order_id
            baseline = connection.execute(
                select(orders.c.known_ids).where(orders.c.account == account, mine)
            ).scalar_one_or_none()
            others = connection.execute(
                select(orders.c.venue_order_id).where(
                    orders.c.account == account, orders.c.venue_order_id.is_not(None), ~mine
                )
            ).scalars()
            return frozenset(baseline or ()).union(others)


def _after(
    order: Order, event: Event, now: datetime, venue_order_id: str | None, filled: Decimal | None, note: str
) -> Order:
    """The order as the event leaves it. Raises IllegalTransition, LedgerConflict."""
    name = f"order {order.intent.client_order_id} of {order.account}"
    total = order.filled if filled is None else max(order.filled, filled)
    if total > order.intent.quantity:
        raise LedgerConflict(f"{name}: {plain(total)} filled of {plain(order.intent.quantity)}")
    if venue_order_id and order.venue_order_id and venue_order_id != order.venue_order_id:
        raise LedgerConflict(f"{name} is {order.venue_order_id} at the venue, not {venue_order_id}")
    return replace(
        order,
        state=advance(order.state, event, filled=total),
        venue_order_id=order.venue_order_id or venue_order_id,
        filled=total,
        sent_at=now if event is Event.SENT else order.sent_at,
        note=note or order.note,
    )


def _order(connection: Connection, account: str, client_order_id: str) -> Order | None:
    found = read_orders(connection, _ONE_ORDER, of_account=account, of_client_order_id=client_order_id)
    return found[0] if found else None


def _known_fill_ids(connection: Connection, account: str, new: Sequence[Fill]) -> set[tuple[str, str]]:
    known: set[tuple[str, str]] = set()
    for symbol in {fill.symbol for fill in new}:
        for chunk in chunks({fill.id for fill in new if fill.symbol == symbol}):
            those = (fills.c.account == account) & (fills.c.symbol == symbol) & fills.c.fill_id.in_(chunk)
            found = connection.execute(select(fills.c.fill_id).where(those)).scalars()
            known.update((symbol, fill_id) for fill_id in found)
    return known
