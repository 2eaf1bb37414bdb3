"""Orders and fills as rows of the ledger: what is read from one, what the chain keeps of one."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, literal_column, select, text

from services.ledger_tables import canonical_json, fills, orders
from trading.instruments import Side
from trading.orders import Fill, Order, OrderIntent, OrderType, State, TimeInForce

# Written out, word for word as in the partial index: only then does SQLite use that.
IS_OPEN = text("orders.is_open = 1")
# all of an order but its baseline, which may be hundreds of ids
ORDER_COLUMNS = tuple(column for column in orders.c if column.name != "known_ids")
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
    names = (*_FILLED, "sequence") if row["sequence"] else _FILLED  # since revision 0003
    return canonical_json({name: row[name] for name in names})


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


def fill_from(row: Row[Any]) -> Fill:
    """A fill, from a row of `fills`."""
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
        sequence=row.sequence,
    )


def fill_values(account: str, fill: Fill, now: datetime) -> dict[str, Any]:
    """The row of `fills` for a fill, but for its event."""
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
        "sequence": fill.sequence,
        "recorded_at": now,
    }


def read_orders(connection: Connection, query: Any, **values: str) -> tuple[Order, ...]:
    """Make orders of rows; their fills are read in as few queries as possible."""
    bare = [order_from(row) for row in connection.execute(query, values)]
    own: dict[tuple[str, str], list[Fill]] = {}
    for account in {order.account for order in bare}:
        for fill in fills_of(connection, account, [order for order in bare if order.account == account]):
            own.setdefault((account, fill.symbol + fill.venue_order_id), []).append(fill)
    return tuple(
        replace(order, fills=tuple(own.get((order.account, f"{order.intent.symbol}{order.venue_order_id}"), ())))
        for order in bare
    )


def fills_of(connection: Connection, account: str, some: Sequence[Order]) -> tuple[Fill, ...]:
    """The fills of orders of one account, oldest first."""
    wanted = {(order.intent.symbol, order.venue_order_id) for order in some}
    ids = {venue_order_id for _, venue_order_id in wanted if venue_order_id is not None}
    found: list[Row[Any]] = []
    for chunk in chunks(ids):
        query = select(fills).where(fills.c.account == account, fills.c.venue_order_id.in_(chunk))
        found.extend(connection.execute(query))
    return tuple(fill_from(row) for row in oldest_first(found) if (row.symbol, row.venue_order_id) in wanted)


def sorted_by(column: ColumnElement[int]) -> ColumnElement[int]:
    """The column as a thing to sort by and nothing else: SQLite would rather read a whole table by its key, in order,
    than sort the few rows that another index leads to.
    """
    return column + literal_column("0")


def oldest_first(rows: Iterable[Row[Any]]) -> list[Row[Any]]:
    """Rows of fills by time and the venue's order; see `sorted_by`, which a time is no number for."""
    return sorted(rows, key=lambda row: (row.at, row.sequence, row.id))


def chunks(ids: Collection[str]) -> Iterable[Sequence[str]]:
    """The ids, sorted, in as many parts as a statement can take."""
    ordered = sorted(ids)
    return (ordered[start : start + _IDS_AT_ONCE] for start in range(0, len(ordered), _IDS_AT_ONCE))
