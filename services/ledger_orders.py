"""The part of the ledger that no order is lost from: intents, order events, fills."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Row,
    bindparam,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from services.ledger_certificates import check_certificate
from services.ledger_chain import Entry, append
from services.ledger_database import Database
from services.ledger_leases import check_lease
from services.ledger_tables import canonical_json, fills, orders
from services.ledger_types import Lease, LedgerConflict, StoredFill
from trading.certificates import ADOPTED, Claim, Fingerprint
from trading.instruments import Side
from trading.money import ZERO, plain
from trading.orders import (
    SEEN,
    Event,
    Fill,
    Order,
    OrderIntent,
    OrderType,
    State,
    TimeInForce,
    advance,
)

_SIGHTINGS = frozenset(SEEN.values())
_IS_OPEN: ColumnElement[bool] = literal_column(
    "is_open = 1", Boolean
)  # written out: only then does SQLite use the partial index
# all of an order but its baseline, which may be hundreds of ids
_ORDER_COLUMNS = tuple(column for column in orders.c if column.name != "known_ids")
# what an event keeps of an intent, of where an order stands and of a fill
_INTENDED = (
    "venue",
    "symbol",
    "side",
    "type",
    "quantity",
    "price",
    "time_in_force",
    "decision_price",
    "decided_at",
    "reason",
    "reduce_only",
    "target_quantity",
    "rung",
    "cycle_id",
    "lease_token",
)
_STANDING = ("state", "venue_order_id", "filled", "sent_at", "note")
_FILLED = (
    "venue_order_id",
    "side",
    "price",
    "quantity",
    "quote_quantity",
    "fee",
    "fee_currency",
    "at",
    "maker",
)
# built once: building a statement costs as much as running it
_INSERT_ORDER = insert(orders)
_THAT_ORDER = (orders.c.account == bindparam("of_account")) & (
    orders.c.client_order_id == bindparam("of_client_order_id")
)
_ONE_ORDER = select(*_ORDER_COLUMNS).where(_THAT_ORDER)
_MOVE_ORDER = update(orders).where(_THAT_ORDER)
_OF_OUR_ORDER = exists().where(
    orders.c.account == fills.c.account,
    orders.c.venue_order_id == fills.c.venue_order_id,
    orders.c.symbol == fills.c.symbol,
)
_IS_OURS = _OF_OUR_ORDER.label("ours")
_IDS_AT_ONCE = 500  # fewer bound values than any SQLite allows


def intent_detail(row: Mapping[str, Any]) -> str:
    """The canonical JSON of what was intended, as the chain keeps it; from a row of `orders`."""
    values = {name: row[name] for name in _INTENDED}
    return canonical_json(values | {"known_ids": sorted(row["known_ids"])})


def standing_detail(order: Order) -> str:
    """The canonical JSON of where an order stands after an event, as the chain keeps it."""
    return canonical_json({name: getattr(order, name) for name in _STANDING})


def fill_detail(row: Mapping[str, Any]) -> str:
    """The canonical JSON of a fill, as the chain keeps it; from a row of `fills`."""
    return canonical_json({name: row[name] for name in _FILLED})


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
    ) -> Order:
        """Append the event, move the order along the state table and return it.

        `filled` (base, in total) never decreases; an older page that tells less is no news. A sighting that
        changes nothing is not stored. Raises IllegalTransition; LedgerConflict for an order that the ledger
        does not have, for more filled than was asked, and for another venue order id than the one known.
        """
        with self._database.writing() as connection:
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
                after = replace(after, fills=_fills_of(connection, account, [after]))
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
            rows = [_fill_values(account, fill, now) for fill in fresh.values()]
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
        query = select(*_ORDER_COLUMNS).where(orders.c.account == account, orders.c.venue_order_id == venue_order_id)
        with self._database.reading() as connection:
            found = _orders(connection, query)
        return found[0] if found else None

    def in_flight(self, account: str, symbol: str | None = None) -> tuple[Order, ...]:
        """Orders that have not ended, oldest first."""
        query = select(*_ORDER_COLUMNS).where(_IS_OPEN, orders.c.account == account).order_by(orders.c.id)
        if symbol is not None:
            query = query.where(orders.c.symbol == symbol)
        with self._database.reading() as connection:
            return _orders(connection, query)

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

    def orders(
        self,
        account: str | None = None,
        symbol: str | None = None,
        *,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> tuple[Order, ...]:
        """Orders intended since a time, newest first, each with its fills."""
        query = select(*_ORDER_COLUMNS).order_by(orders.c.id.desc()).limit(limit)
        if account is not None:
            query = query.where(orders.c.account == account)
        if symbol is not None:
            query = query.where(orders.c.symbol == symbol)
        if since is not None:
            query = query.where(orders.c.created_at >= since)
        with self._database.reading() as connection:
            return _orders(connection, query)

    def count_orders(self, account: str, *, since: datetime) -> int:
        """How many orders of an account were intended since a time."""
        query = (
            select(func.count()).select_from(orders).where(orders.c.account == account, orders.c.created_at >= since)
        )
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def fills(
        self,
        account: str,
        symbol: str | None = None,
        *,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> tuple[Fill, ...]:
        """Fills since a time, oldest first."""
        query = select(fills).where(fills.c.account == account).order_by(fills.c.at, fills.c.id).limit(limit)
        if symbol is not None:
            query = query.where(fills.c.symbol == symbol)
        if since is not None:
            query = query.where(fills.c.at >= since)
        with self._database.reading() as connection:
            return tuple(_fill(row) for row in connection.execute(query))

    def fills_after(self, account: str, row: int) -> tuple[StoredFill, ...]:
        """Fills stored after a row (0: all), oldest first."""
        query = select(fills, _IS_OURS).where(fills.c.account == account, fills.c.id > row)
        with self._database.reading() as connection:
            found = connection.execute(query.order_by(fills.c.at, fills.c.id))
            return tuple(StoredFill(each.id, _fill(each), bool(each.ours)) for each in found)

    def last_fill_row(self, account: str) -> int:
        """The row of the fill that was stored last (0: none); `fills_after` goes on from there."""
        with self._database.reading() as connection:
            newest = connection.execute(select(func.max(fills.c.id)).where(fills.c.account == account)).scalar_one()
        return int(newest or 0)

    def newest_fill(self, account: str, symbol: str) -> Fill | None:
        """The fill of a symbol that happened last, or None."""
        query = select(fills).where(fills.c.account == account, fills.c.symbol == symbol)
        with self._database.reading() as connection:
            row = connection.execute(query.order_by(fills.c.at.desc(), fills.c.id.desc()).limit(1)).one_or_none()
        return None if row is None else _fill(row)

    def count_own_fills(self, account: str, symbol: str, *, since: datetime) -> int:
        """How many fills of orders of ours happened since a time; a person's trades are not among them."""
        mine = (fills.c.account == account) & (fills.c.symbol == symbol) & (fills.c.at >= since)
        query = select(func.count()).select_from(fills).where(mine, _OF_OUR_ORDER)
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def count_warnings(self, account: str, symbol: str, *, since: datetime) -> int:
        """How many orders since a time a person should have looked at: rejected, never come to be, adopted."""
        odd = (orders.c.state == str(State.REJECTED)) | (orders.c.rung == ADOPTED)
        those = (orders.c.account == account) & (orders.c.symbol == symbol) & (orders.c.created_at >= since)
        with self._database.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(orders).where(those, odd)).scalar_one())

    def has_any_order(self, account: str, venue_order_ids: Collection[str]) -> bool:
        """Whether one of these orders of the venue is ours."""
        with self._database.reading() as connection:
            for chunk in _chunks(sorted(venue_order_ids)):
                query = select(orders.c.id).where(orders.c.account == account, orders.c.venue_order_id.in_(chunk))
                if connection.execute(query.limit(1)).first() is not None:
                    return True
        return False

    def rung_of_order(self, account: str, client_order_id: str) -> str:
        """The rung under which an order was intended. Raises LedgerConflict for an unknown order."""
        query = select(orders.c.rung).where(orders.c.account == account, orders.c.client_order_id == client_order_id)
        with self._database.reading() as connection:
            rung = connection.execute(query).scalar_one_or_none()
        if rung is None:
            raise LedgerConflict(f"{account} has no order {client_order_id}")
        return str(rung)


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
    found = _orders(connection, _ONE_ORDER, of_account=account, of_client_order_id=client_order_id)
    return found[0] if found else None


def _orders(connection: Connection, query: Any, **values: str) -> tuple[Order, ...]:
    """Make orders of rows; their fills are read in as few queries as possible."""
    bare = [order_from(row) for row in connection.execute(query, values)]
    own: dict[tuple[str, str], list[Fill]] = {}
    for account in {order.account for order in bare}:
        for fill in _fills_of(connection, account, [order for order in bare if order.account == account]):
            own.setdefault((account, fill.symbol + fill.venue_order_id), []).append(fill)
    return tuple(
        replace(order, fills=tuple(own.get((order.account, f"{order.intent.symbol}{order.venue_order_id}"), ())))
        for order in bare
    )


def _fills_of(connection: Connection, account: str, some: Sequence[Order]) -> tuple[Fill, ...]:
    """The fills of orders of one account, oldest first."""
    wanted = {(order.intent.symbol, order.venue_order_id) for order in some}
    ids = sorted({venue_order_id for _, venue_order_id in wanted if venue_order_id is not None})
    found: list[Fill] = []
    for chunk in _chunks(ids):
        query = (
            select(fills)
            .where(fills.c.account == account, fills.c.venue_order_id.in_(chunk))
            .order_by(fills.c.at, fills.c.id)
        )
        found.extend(_fill(row) for row in connection.execute(query))
    return tuple(fill for fill in found if (fill.symbol, fill.venue_order_id) in wanted)


def order_from(row: Row[Any]) -> Order:
    """An order without its fills, from a row of `orders`."""
    intent = OrderIntent(
        client_order_id=row.client_order_id,
        venue=row.venue,
        symbol=row.symbol,
        side=Side(row.side),
        type=OrderType(row.type),
        quantity=row.quantity,
        price=row.price,
        time_in_force=TimeInForce(row.time_in_force),
        decision_price=row.decision_price,
        decided_at=row.decided_at,
        reason=row.reason,
        reduce_only=row.reduce_only,
        target_quantity=row.target_quantity,
    )
    return Order(
        intent=intent,
        account=row.account,
        state=State(row.state),
        venue_order_id=row.venue_order_id,
        filled=row.filled,
        sent_at=row.sent_at,
        updated_at=row.updated_at,
        note=row.note,
    )


def _fill(row: Row[Any]) -> Fill:
    return Fill(
        id=row.fill_id,
        venue_order_id=row.venue_order_id,
        symbol=row.symbol,
        side=Side(row.side),
        price=row.price,
        quantity=row.quantity,
        quote_quantity=row.quote_quantity,
        fee=row.fee,
        fee_currency=row.fee_currency,
        at=row.at,
        maker=row.maker,
    )


def _fill_values(account: str, fill: Fill, now: datetime) -> dict[str, Any]:
    return {
        "account": account,
        "symbol": fill.symbol,
        "fill_id": fill.id,
        "venue_order_id": fill.venue_order_id,
        "side": str(fill.side),
        "price": fill.price,
        "quantity": fill.quantity,
        "quote_quantity": fill.quote_quantity,
        "fee": fill.fee,
        "fee_currency": fill.fee_currency,
        "at": fill.at,
        "maker": fill.maker,
        "recorded_at": now,
    }


def _known_fill_ids(connection: Connection, account: str, new: Sequence[Fill]) -> set[tuple[str, str]]:
    known: set[tuple[str, str]] = set()
    for chunk in _chunks(sorted({fill.id for fill in new})):
        query = select(fills.c.symbol, fills.c.fill_id).where(fills.c.account == account, fills.c.fill_id.in_(chunk))
        known.update((row.symbol, row.fill_id) for row in connection.execute(query))
    return known


def _chunks(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE))
