"""The chain of events: append-only rows, each holding the hash of the row before it.

hash = sha256(hash of the row before + canonical JSON of the row). What a row in `orders`, `fills` or `rungs`
says must be what its events say, so that an edit there is found as well.
"""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from sqlalchemy import Connection, insert, select, update

from services.ledger_tables import canonical_json, chain_head, events

FIRST_HASH = "0" * 64
_READ_HEAD = select(chain_head.c.seq, chain_head.c.hash)
_INSERT_EVENT = insert(events)
_MOVE_HEAD = update(chain_head)
Entry = tuple[str, str, str]  # subject, kind, detail as canonical JSON


def event_hash(previous: str, seq: int, at: datetime, account: str, subject: str, kind: str, detail: str) -> str:
    """Hash one event together with the hash of the event before it."""
    row = canonical_json([seq, at, account, subject, kind, detail])
    return sha256(f"{previous}\n{row}".encode()).hexdigest()


def append(connection: Connection, account: str, at: datetime, entries: Sequence[Entry]) -> int:
    """Append events inside a writing transaction and return the sequence number of the first."""
    seq, previous = connection.execute(_READ_HEAD).one()
    first = seq + 1
    rows = []
    for subject, kind, detail in entries:
        seq += 1
        digest = event_hash(previous, seq, at, account, subject, kind, detail)
        rows.append(
            {
                "seq": seq,
                "at": at,
                "account": account,
                "subject": subject,
                "kind": kind,
                "detail": detail,
                "previous_hash": previous,
                "hash": digest,
            }
        )
        previous = digest
    connection.execute(_INSERT_EVENT, rows)
    connection.execute(_MOVE_HEAD, {"seq": seq, "hash": previous})
    return int(first)


def first_bad_event(connection: Connection) -> str | None:
    """A sentence naming the first event that does not hash to what it says, or None."""
    seq, previous = 0, FIRST_HASH
    for row in connection.execute(select(events).order_by(events.c.seq).execution_options(yield_per=500)):
        seq += 1
        if row.seq != seq:
            return f"event {seq} is missing (the next one is {row.seq}, {row.kind} of {row.subject})"
        if row.previous_hash != previous:
            return f"event {seq} ({row.kind} of {row.subject}) does not follow the event before it"
        if row.hash != event_hash(previous, seq, row.at, row.account, row.subject, row.kind, row.detail):
            return f"event {seq} ({row.kind} of {row.subject}) was changed after it was written"
        previous = row.hash
    head = connection.execute(select(chain_head.c.seq, chain_head.c.hash)).one_or_none()
    if head is None:
        return "the head of the event chain is missing"
    if head.seq > seq:
        return f"event {seq + 1} is missing (the chain was {head.seq} events long)"
    if head.seq < seq:
        return f"event {head.seq + 1} was added behind the end of the chain"
    if head.hash != previous:
        return f"event {seq} is not the one with which the chain ended"
    return None
