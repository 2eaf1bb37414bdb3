"""The part of the ledger about its own upkeep: head and counts, restores, venue snapshots, heartbeats."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from services.ledger_accounts import issue_within, latch_within
from services.ledger_chain import append
from services.ledger_database import Database
from services.ledger_tables import (
    canonical_json,
    chain_head,
    events,
    heartbeats,
    leases,
    metadata,
    rungs,
    venue_snapshots,
)
from services.ledger_types import RungRecord
from trading.money import ZERO
from trading.stages import COMPATIBILITY

_RESTORED, _RECONCILED = "restored", "restored.reconciled"
# A lease given out after the backup was made must never fit again: its process may still be alive somewhere.
_TOKENS_LEFT_OUT = 1_000_000


@dataclass(frozen=True)
class ChainHead:
    """Where the chain of events ends."""

    seq: int
    hash: str


@dataclass(frozen=True)
class Restore:
    """A restore of the ledger that an account has not been reconciled after. Times UTC."""

    taken_at: datetime  # when the backup was made (wall)
    restored_at: datetime  # wall
    until: datetime | None  # the account's newest event in the backup (its market time); None: it had none


@dataclass(frozen=True)
class Heartbeat:
    """One process's sign of life. `code` is the fingerprint of the sources that it was started with."""

    host: str
    process: str
    pid: int
    version: str
    code: str
    started_at: datetime
    seen_at: datetime


class Upkeep:
    """What the maintenance flows read and write."""

    _database: Database

    def head(self) -> ChainHead:
        """The number and hash of the newest event; 0 and zeros in an empty ledger."""
        with self._database.reading() as connection:
            return head_of(connection)

    def counts(self) -> dict[str, int]:
        """Rows by table."""
        with self._database.reading() as connection:
            return counts_of(connection)

    def accounts(self) -> tuple[str, ...]:
        """Every account at a venue that the ledger knows (a paper account counts as its venue's)."""
        with self._database.reading() as connection:
            return _accounts(connection)

    def live_leases(self, now: datetime) -> tuple[str, ...]:
        """Who trades which account now, in words."""
        query = select(leases).where(leases.c.holder.is_not(None), leases.c.expires_at > now)
        with self._database.reading() as connection:
            return tuple(f"{row.account} by {row.holder}" for row in connection.execute(query))

    # -- a ledger that was restored from a backup (docs/adr/0015-a-restored-ledger.md)

    def mark_restored(self, taken_at: datetime, head: ChainHead, accounts: Collection[str], now: datetime) -> None:
        """Write that the ledger ends where a backup did, all at once: every account's kill switch is set, every
        certificate is void, every lease is over, no sign of life counts.
        """
        reason = f"restored from a backup of {taken_at:%Y-%m-%d %H:%M:%S} UTC: reconcile first"
        told = {"taken_at": taken_at, "seq": head.seq, "hash": head.hash}
        newest = select(events.c.account, func.max(events.c.at).label("at")).group_by(events.c.account)
        with self._database.writing() as connection:
            connection.execute(update(leases).values(token=leases.c.token + _TOKENS_LEFT_OUT, holder=None))
            connection.execute(delete(heartbeats))
            until = {row.account: row.at for row in connection.execute(newest)}
            for account in sorted({*_accounts(connection), *accounts}):
                detail = canonical_json({**told, "until": until.get(account)})
                append(connection, account, now, [(account, _RESTORED, detail)])
                latch_within(connection, account, reason, "crypto-bot restore", now)
            for row in connection.execute(_NEWEST_RUNGS).all():
                issue_within(connection, _void(row, reason, until.get(row.account, now)))

    def open_restore(self, account: str) -> Restore | None:
        """The restore after which the account has not been reconciled yet, or None."""
        query = (
            select(events)
            .where(events.c.account == account, events.c.subject == account)
            .where(events.c.kind.in_((_RESTORED, _RECONCILED)))
            .order_by(events.c.seq.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None or row.kind == _RECONCILED:
            return None
        told = json.loads(row.detail)
        until = datetime.fromisoformat(told["until"]) if told["until"] else None
        return Restore(datetime.fromisoformat(told["taken_at"]), row.at, until)

    def note_reconciled(self, account: str, by: str, told: Mapping[str, object], now: datetime) -> None:
        """Write that the account agrees with its venue again after a restore; a person may re-arm it now."""
        detail = canonical_json({"by": by, **told})
        with self._database.writing() as connection:
            append(connection, account, now, [(account, _RECONCILED, detail)])

    # -- what a venue told of its rules

    def record_snapshot(self, account: str, symbol: str, told: Mapping[str, Any], now: datetime, keep: int) -> None:
        """Store what a venue told now; of the older ones the newest `keep` stay."""
        those = (venue_snapshots.c.account == account) & (venue_snapshots.c.symbol == symbol)
        with self._database.writing() as connection:
            values = {"account": account, "symbol": symbol, "at": now, "told": dict(told)}
            connection.execute(insert(venue_snapshots).values(values))
            kept = select(venue_snapshots.c.id).where(those).order_by(venue_snapshots.c.id.desc()).limit(keep)
            oldest = min(connection.execute(kept).scalars())
            connection.execute(delete(venue_snapshots).where(those, venue_snapshots.c.id < oldest))

    def newest_snapshot(self, account: str, symbol: str) -> tuple[Mapping[str, Any], datetime] | None:
        """What the venue told last time, and when."""
        those = (venue_snapshots.c.account == account) & (venue_snapshots.c.symbol == symbol)
        query = select(venue_snapshots).where(those).order_by(venue_snapshots.c.id.desc()).limit(1)
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else (row.told, row.at)

    # -- signs of life

    def beat(self, beat: Heartbeat) -> None:
        """Store a process's sign of life over its last one."""
        mine = (heartbeats.c.host == beat.host) & (heartbeats.c.process == beat.process)
        values = vars(beat)
        with self._database.writing() as connection:
            if connection.execute(update(heartbeats).where(mine).values(values)).rowcount == 0:
                connection.execute(insert(heartbeats).values(values))

    def end_beat(self, host: str, process: str, pid: int) -> None:
        """Take a process's sign of life away: it ended in order. One that another process has written stays."""
        mine = (heartbeats.c.host == host) & (heartbeats.c.process == process) & (heartbeats.c.pid == pid)
        with self._database.writing() as connection:
            connection.execute(delete(heartbeats).where(mine))

    def heartbeats(self) -> tuple[Heartbeat, ...]:
        """The last sign of life of every process, by host and name."""
        query = select(heartbeats).order_by(heartbeats.c.host, heartbeats.c.process)
        with self._database.reading() as connection:
            return tuple(Heartbeat(**row._asdict()) for row in connection.execute(query))


_NEWEST_RUNGS = select(rungs).where(
    rungs.c.id.in_(select(func.max(rungs.c.id)).group_by(rungs.c.account, rungs.c.symbol))
)


def _void(row: Any, reason: str, newest: datetime) -> RungRecord:
    """A certificate of the first check that covers nothing, in the account's own time: all is to be earned anew."""
    at = max(newest, row.issued_at)
    shown = {"reasons": [reason], "from": row.rung}
    return RungRecord(row.account, row.symbol, COMPATIBILITY, ZERO, shown, "crypto-bot restore", at, at, {}, ZERO, 0)


def head_of(connection: Connection) -> ChainHead:
    """The number and hash of the newest event."""
    row = connection.execute(select(chain_head.c.seq, chain_head.c.hash)).one()
    return ChainHead(row.seq, row.hash)


def counts_of(connection: Connection) -> dict[str, int]:
    """Rows by table."""
    return {
        table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
        for table in metadata.sorted_tables
    }


def _accounts(connection: Connection) -> tuple[str, ...]:
    found: set[str] = set()
    for table in metadata.sorted_tables:
        if "account" in table.c and table is not events:  # every event tells of a row, but for proposals
            found.update(connection.execute(select(table.c.account).distinct()).scalars())
    return tuple(sorted({account.partition(":")[0] for account in found} - {"*"}))
