"""Prove the ledger: the chain of events holds, and every row says what its events say."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, func, select

from services.ledger_accounts import cycle_detail, equity_detail, rung_detail
from services.ledger_chain import first_bad_event
from services.ledger_rows import fill_detail, intent_detail, order_from, standing_detail
from services.ledger_tables import (
    adjustments,
    canonical_json,
    cycles,
    equity_points,
    events,
    fills,
    latches,
    openings,
    orders,
    rungs,
)
from trading.money import ZERO
from trading.orders import State

# kind of event -> the table of its rows, what the event keeps of a row, what it calls it
_COPIES: dict[str, tuple[Table, Callable[[Mapping[str, Any]], str], Callable[[Row[Any]], str]]] = {
    "fill": (fills, fill_detail, lambda row: f"{row.symbol} {row.fill_id}"),
    "rung": (rungs, rung_detail, lambda row: str(row.symbol)),
    "cycle": (cycles, cycle_detail, lambda row: str(row.cycle_id)),
    "equity": (equity_points, equity_detail, lambda row: str(row.quote)),
}


def first_fault(connection: Connection) -> str | None:
    """A sentence naming the first row that cannot be what was written, or None."""
    return (
        first_bad_event(connection)
        or _first_bad_order(connection)
        or _first_bad_copy(connection, "fill")
        or _first_bad_copy(connection, "rung")
        or _first_bad_copy(connection, "cycle")
        or _first_bad_copy(connection, "equity")
        or _first_bad_word(connection)
    )


def _first_bad_order(connection: Connection) -> str | None:
    """Compare each order with its first event (what was wanted) and its last (where it stands)."""
    ends = (
        select(
            events.c.account,
            events.c.subject,
            func.min(events.c.seq).label("first"),
            func.max(events.c.seq).label("last"),
        )
        .where(events.c.kind.like("order.%"))
        .group_by(events.c.account, events.c.subject)
        .subquery()
    )
    wanted, standing = events.alias("wanted"), events.alias("standing")
    query = (
        select(
            ends.c.account.label("event_account"),
            ends.c.subject,
            wanted.c.detail.label("wanted_detail"),
            standing.c.kind.label("standing_kind"),
            standing.c.detail.label("standing_detail"),
            orders,
        )
        .select_from(
            ends.join(wanted, wanted.c.seq == ends.c.first)
            .join(standing, standing.c.seq == ends.c.last)
            .outerjoin(
                orders,
                (orders.c.account == ends.c.account) & (orders.c.client_order_id == ends.c.subject),
            )
        )
        .order_by(ends.c.first)
        .execution_options(yield_per=500)
    )
    proved = 0
    for row in connection.execute(query):
        name = f"order {row.subject} of {row.event_account}"
        if row.id is None:
            return f"{name} is missing, its events are there"
        if row.wanted_detail != intent_detail(row._asdict()):
            return f"{name} is not what was intended"
        if not _stands_as_told(row):
            return f"{name} does not stand where its last event left it"
        proved += 1
    if connection.execute(select(func.count()).select_from(orders)).scalar_one() != proved:
        return f"an order has no events ({proved} orders have)"
    return None


def _stands_as_told(row: Row[Any]) -> bool:
    order = order_from(row)
    if row.is_open != int(not order.is_finished):
        return False
    if row.standing_kind == "order.intended":
        untouched = (State.INTENDED, None, ZERO, None, "")
        return (order.state, order.venue_order_id, order.filled, order.sent_at, order.note) == untouched
    return bool(row.standing_detail == standing_detail(order))


def _first_bad_copy(connection: Connection, kind: str) -> str | None:
    """Compare rows that never change with the one event that wrote them."""
    table, detail, subject_of = _COPIES[kind]
    query = (
        select(events.c.account.label("event_account"), events.c.subject, events.c.detail.label("told"), table)
        .select_from(events.outerjoin(table, table.c.event_seq == events.c.seq))
        .where(events.c.kind == kind)
        .order_by(events.c.seq)
        .execution_options(yield_per=500)
    )
    proved = 0
    for row in connection.execute(query):
        name = f"{kind} {row.subject} of {row.event_account}"
        if row.id is None:
            return f"{name} is missing, its event is there"
        if (row.account, subject_of(row)) != (row.event_account, row.subject) or row.told != detail(row._asdict()):
            return f"{name} is not what was written"
        proved += 1
    if connection.execute(select(func.count()).select_from(table)).scalar_one() != proved:
        return f"a {kind} has no event ({proved} have)"
    return None


def _first_bad_word(connection: Connection) -> str | None:
    """Compare what persons and the kill switch have said with its events: rows that are few, and name no event."""
    said: dict[str, list[tuple[str, datetime, str]]] = {
        "opening": [
            (row.account, row.at, canonical_json(row.balances)) for row in connection.execute(select(openings))
        ],
        "adjustment": [
            (
                row.account,
                row.at,
                canonical_json({name: getattr(row, name) for name in ("asset", "change", "by", "reason")}),
            )
            for row in connection.execute(select(adjustments))
        ],
        "latch": [],
        "rearm": [],
    }
    for row in connection.execute(select(latches)):
        said["latch"].append((row.account, row.at, canonical_json({"reason": row.reason, "by": row.by})))
        if row.rearmed_at is not None:
            told = canonical_json({"reason": row.rearmed_reason, "by": row.rearmed_by})
            said["rearm"].append((row.account, row.rearmed_at, told))
    query = select(events.c.account, events.c.at, events.c.detail, events.c.kind).where(events.c.kind.in_(said))
    written: dict[str, list[tuple[str, datetime, str]]] = {kind: [] for kind in said}
    for row in connection.execute(query):
        written[row.kind].append((row.account, row.at, row.detail))
    for kind, rows in said.items():
        missing, added = Counter(written[kind]) - Counter(rows), Counter(rows) - Counter(written[kind])
        for account, at, _ in sorted(missing):
            return f"{kind} of {account} at {at.isoformat()} is not what was written"
        for account, at, _ in sorted(added):
            return f"{kind} of {account} at {at.isoformat()} has no event"
    return None
