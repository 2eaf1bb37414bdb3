"""The part of the ledger about accounts: balances, equity, cycles, rungs, the kill switch."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, Text, func, insert, select, type_coerce, update

from services.ledger_chain import append
from services.ledger_database import Database
from services.ledger_rows import sorted_by
from services.ledger_tables import (
    adjustments,
    balance_snapshots,
    canonical_json,
    cycles,
    equity_points,
    latches,
    openings,
    rungs,
)
from services.ledger_types import (
    Adjustment,
    CycleRecord,
    CycleTally,
    EquityPoint,
    Latch,
    LedgerConflict,
    RungMoved,
    RungRecord,
)
from trading.market import Balance

ALL_ACCOUNTS = "*"
# How a report's canonical JSON says these things; inside a text its quotes would be escaped.
_NO_BREACH = '%"breach":""%'
_NO_ERROR = '%"error":""%'
_AN_ERROR = '%"error":"%'
_LATENCIES = 1000  # newest cycles whose latency is looked at


def rung_detail(row: Mapping[str, Any]) -> str:
    """The canonical JSON of a certificate, as the chain keeps it; from a row of `rungs`."""
    names = ["rung", "max_quantity", "evidence", "approved_by", "issued_at", "expires_at"]
    if row["fingerprint"] is not None:  # since revision 0002
        names += ["fingerprint", "max_position", "max_orders_per_day"]
    return canonical_json({name: row[name] for name in names})


def cycle_detail(row: Mapping[str, Any]) -> str:
    """The canonical JSON of a cycle, as the chain keeps it, the report as its hash; from a row of `cycles`."""
    names = ("symbol", "rung", "started_at", "finished_at", "ok", "flow_run_id", "counted")
    report = sha256(canonical_json(row["report"]).encode()).hexdigest()
    return canonical_json({name: row[name] for name in names} | {"report": report})


def equity_detail(row: Mapping[str, Any]) -> str:
    """The canonical JSON of a worth, as the chain keeps it; from a row of `equity_points`."""
    return canonical_json({name: row[name] for name in ("at", "equity", "peak")})


def issue_within(connection: Connection, record: RungRecord) -> int:
    """As `AccountBooks.issue_rung`, inside a writing transaction."""
    values: dict[str, Any] = {
        "account": record.account,
        "symbol": record.symbol,
        "rung": record.rung,
        "max_quantity": record.max_quantity,
        "evidence": dict(record.evidence),
        "approved_by": record.approved_by,
        "issued_at": record.issued_at,
        "expires_at": record.expires_at,
        "fingerprint": dict(record.fingerprint),
        "max_position": record.max_position,
        "max_orders_per_day": record.max_orders_per_day,
    }
    entry = (record.symbol, "rung", rung_detail(values))
    values["event_seq"] = append(connection, record.account, record.issued_at, [entry])
    connection.execute(insert(rungs).values(values))
    return int(values["event_seq"])


def latch_within(connection: Connection, account: str, reason: str, by: str, now: datetime) -> None:
    """As `AccountBooks.latch`, inside a writing transaction."""
    in_force = select(latches.c.id).where(latches.c.account == account, latches.c.rearmed_at.is_(None))
    if connection.execute(in_force).first() is not None:
        return
    connection.execute(insert(latches).values(account=account, reason=reason, by=by, at=now))
    append(connection, account, now, [(account, "latch", canonical_json({"reason": reason, "by": by}))])


class AccountBooks:
    """Balances, equity, cycles, rungs and latches."""

    _database: Database

    # -- balances: an opening balance and what changed it explain every later one

    def set_opening(self, account: str, balances: Mapping[str, Decimal], now: datetime) -> None:
        """Store the totals by asset from which expected balances are counted; once, by the first reconcile.

        Raises LedgerConflict when the account has an opening.
        """
        with self._database.writing() as connection:
            if connection.execute(select(openings.c.at).where(openings.c.account == account)).first():
                raise LedgerConflict(f"{account} has its opening balances; a later change is an adjustment")
            connection.execute(insert(openings).values(account=account, balances=dict(balances), at=now))
            append(connection, account, now, [("balances", "opening", canonical_json(balances))])

    def opening(self, account: str) -> tuple[Mapping[str, Decimal], datetime] | None:
        """Totals by asset and the time they were read, or None before the first reconcile."""
        with self._database.reading() as connection:
            row = connection.execute(select(openings).where(openings.c.account == account)).one_or_none()
        if row is None:
            return None
        return {asset: Decimal(total) for asset, total in row.balances.items()}, row.at

    def adjust(self, account: str, asset: str, change: Decimal, by: str, reason: str, now: datetime) -> None:
        """Explain a change of a balance (signed) that no fill explains, e.g. a deposit, in a person's name.

        Raises LedgerConflict for an account without opening balances.
        """
        with self._database.writing() as connection:
            values = {"asset": asset, "change": change, "by": by, "reason": reason}
            connection.execute(insert(adjustments).values(account=account, at=now, **values))
            append(connection, account, now, [(asset, "adjustment", canonical_json(values))])

    def adjustments(self, account: str) -> tuple[Adjustment, ...]:
        """All adjustments of an account, oldest first."""
        query = select(adjustments).where(adjustments.c.account == account).order_by(adjustments.c.id)
        with self._database.reading() as connection:
            return tuple(
                Adjustment(row.account, row.asset, row.change, row.by, row.reason, row.at)
                for row in connection.execute(query)
            )

    def record_balances(self, account: str, balances: Mapping[str, Balance], now: datetime) -> None:
        """Store what the venue said the account holds."""
        amounts = {asset: [balance.free, balance.locked] for asset, balance in balances.items()}
        with self._database.writing() as connection:
            connection.execute(insert(balance_snapshots).values(account=account, balances=amounts, at=now))

    def latest_balances(self, account: str) -> tuple[Mapping[str, Balance], datetime] | None:
        """The newest stored balances and their time, or None."""
        query = (
            select(balance_snapshots)
            .where(balance_snapshots.c.account == account)
            .order_by(balance_snapshots.c.id.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        balances = {
            asset: Balance(asset, Decimal(free), Decimal(locked)) for asset, (free, locked) in row.balances.items()
        }
        return balances, row.at

    def record_equity(self, account: str, quote: str, equity: Decimal, now: datetime) -> EquityPoint:
        """Store the account's worth in `quote` and return it with the highest worth until now."""
        newest = (
            select(equity_points.c.peak)
            .where(equity_points.c.account == account, equity_points.c.quote == quote)
            .order_by(equity_points.c.id.desc())
            .limit(1)
        )
        with self._database.writing() as connection:
            peak = connection.execute(newest).scalar_one_or_none()
            point = EquityPoint(now, equity, equity if peak is None else max(peak, equity))
            values: dict[str, Any] = {"at": now, "equity": equity, "peak": point.peak}
            seq = append(connection, account, now, [(quote, "equity", equity_detail(values))])
            connection.execute(insert(equity_points).values(account=account, quote=quote, event_seq=seq, **values))
        return point

    def equity(
        self, account: str, quote: str, *, since: datetime | None = None, limit: int | None = None
    ) -> tuple[EquityPoint, ...]:
        """Stored equity in `quote`, newest first."""
        query = select(equity_points).where(equity_points.c.account == account, equity_points.c.quote == quote)
        if since is None:
            query = query.order_by(equity_points.c.id.desc())
        else:
            query = query.where(equity_points.c.at >= since).order_by(sorted_by(equity_points.c.id).desc())
        with self._database.reading() as connection:
            return tuple(EquityPoint(row.at, row.equity, row.peak) for row in connection.execute(query.limit(limit)))

    # -- cycles

    def record_cycle(self, cycle: CycleRecord) -> None:
        """Store a cycle's report. The first report of a cycle stays: one that is run again proves nothing more and
        mends nothing; that it was repeated stands in the chain alone. A cycle that began no later than the newest one
        is stored and not counted.
        """
        values: dict[str, Any] = {
            "cycle_id": cycle.cycle_id,
            "account": cycle.account,
            "symbol": cycle.symbol,
            "rung": cycle.rung,
            "started_at": cycle.started_at,
            "finished_at": cycle.finished_at,
            "ok": cycle.ok,
            "flow_run_id": cycle.flow_run_id,
            "report": dict(cycle.report),
        }
        of_account = cycles.c.account == cycle.account
        with self._database.writing() as connection:
            newest = connection.execute(select(func.max(cycles.c.started_at)).where(of_account)).scalar_one()
            values["counted"] = newest is None or cycle.started_at > newest
            same = select(cycles.c.id).where(of_account, cycles.c.cycle_id == cycle.cycle_id)
            repeated = connection.execute(same).first() is not None
            kind = "cycle.repeated" if repeated else "cycle"
            seq = append(connection, cycle.account, cycle.finished_at, [(cycle.cycle_id, kind, cycle_detail(values))])
            if not repeated:
                connection.execute(insert(cycles).values(event_seq=seq, **values))

    def cycles(
        self,
        account: str,
        symbol: str | None = None,
        *,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> tuple[CycleRecord, ...]:
        """Cycles started since a time, newest first; amounts and times inside a report come back as text."""
        query = select(cycles).where(cycles.c.account == account)
        if symbol is not None:
            query = query.where(cycles.c.symbol == symbol)
        if since is None:
            query = query.order_by(cycles.c.id.desc())
        else:
            query = query.where(cycles.c.started_at >= since).order_by(sorted_by(cycles.c.id).desc())
        with self._database.reading() as connection:
            return tuple(_cycle(row) for row in connection.execute(query.limit(limit)))

    def tally_cycles(self, account: str, symbol: str, *, since: datetime) -> CycleTally:
        """What the cycles started since a time come to; only the reports that tell of trouble are read."""
        those = (cycles.c.account == account) & (cycles.c.symbol == symbol) & (cycles.c.started_at >= since)
        text, newest_first = type_coerce(cycles.c.report, Text), sorted_by(cycles.c.id).desc()
        with self._database.reading() as connection:
            counted = select(func.count().filter(cycles.c.counted), func.count().filter(cycles.c.ok.is_(False))).where(
                those
            )
            total, failed = connection.execute(counted).one()
            first = select(func.min(cycles.c.id)).where(those).scalar_subquery()  # the newest is looked for no further
            unbroken = select(cycles).where(
                those, cycles.c.id >= first, text.not_like(_AN_ERROR) | text.like(_NO_ERROR)
            )
            read = connection.execute(unbroken.order_by(cycles.c.id.desc()).limit(1)).one_or_none()
            broken = select(cycles.c.report, cycles.c.started_at).where(those, text.not_like(_NO_BREACH))
            breaches: dict[str, datetime] = {}
            for row in connection.execute(broken.order_by(newest_first)):
                if breach := row.report.get("breach", ""):
                    breaches.setdefault(breach, row.started_at)
            last = select(cycles.c.id).where(those).order_by(newest_first).limit(_LATENCIES)
            reports = select(cycles.c.report).where(cycles.c.id.in_(last))
            latencies = [report.get("latency_p95_ms") for report in connection.execute(reports).scalars()]
        return CycleTally(
            cycles=int(total),
            failed=int(failed),
            breaches=breaches,
            newest_read=None if read is None else _cycle(read),
            latencies_ms=tuple(float(each) for each in latencies if each is not None),  # milliseconds, no money
        )

    # -- rungs

    def issue_rung(self, record: RungRecord, *, follows: int | None = None) -> int:
        """Put a certificate in force; the one before it stays in the record. Returns its number.

        `follows`: the number of the certificate that must be the newest still, 0 for none; else RungMoved is raised.
        """
        with self._database.writing() as connection:
            if follows is not None:
                newest = (
                    select(rungs.c.event_seq)
                    .where(rungs.c.account == record.account, rungs.c.symbol == record.symbol)
                    .order_by(rungs.c.id.desc())
                    .limit(1)
                )
                if (connection.execute(newest).scalar_one_or_none() or 0) != follows:
                    raise RungMoved(f"{record.account} {record.symbol}: another certificate was put in force meanwhile")
            return issue_within(connection, record)

    def rung(self, account: str, symbol: str) -> RungRecord | None:
        """The newest certificate, expired or not."""
        history = self.rung_history(account, symbol, limit=1)
        return history[0] if history else None

    def rung_history(self, account: str, symbol: str, *, limit: int | None = None) -> tuple[RungRecord, ...]:
        """Every certificate of an account and symbol, newest first."""
        query = (
            select(rungs)
            .where(rungs.c.account == account, rungs.c.symbol == symbol)
            .order_by(rungs.c.id.desc())
            .limit(limit)
        )
        with self._database.reading() as connection:
            return tuple(_rung(row) for row in connection.execute(query))

    def rungs(self) -> tuple[RungRecord, ...]:
        """The newest certificate of each account and symbol, by name."""
        newest = select(func.max(rungs.c.id)).group_by(rungs.c.account, rungs.c.symbol)
        query = select(rungs).where(rungs.c.id.in_(newest)).order_by(rungs.c.account, rungs.c.symbol)
        with self._database.reading() as connection:
            return tuple(_rung(row) for row in connection.execute(query))

    # -- kill switch

    def latch(self, account: str, reason: str, by: str, now: datetime) -> None:
        """Set the kill switch of an account, or of all ("*"); where it is set, the first reason stays."""
        with self._database.writing() as connection:
            latch_within(connection, account, reason, by, now)

    def rearm(self, account: str, by: str, reason: str, now: datetime) -> None:
        """Release the kill switch of an account, or the one for all ("*"), in a person's name.

        Nothing happens where it is not set.
        """
        with self._database.writing() as connection:
            changed = connection.execute(
                update(latches)
                .where(latches.c.account == account, latches.c.rearmed_at.is_(None))
                .values(rearmed_by=by, rearmed_reason=reason, rearmed_at=now)
            )
            if changed.rowcount == 0:
                return
            detail = canonical_json({"reason": reason, "by": by})
            append(connection, account, now, [(account, "rearm", detail)])

    def latched(self, account: str) -> Latch | None:
        """The account's own latch or else the one for all, or None when trading is allowed."""
        query = select(latches).where(latches.c.account.in_((account, ALL_ACCOUNTS)), latches.c.rearmed_at.is_(None))
        with self._database.reading() as connection:
            found = {row.account: row for row in connection.execute(query)}
        row = found.get(account) or found.get(ALL_ACCOUNTS)
        return None if row is None else Latch(row.account, row.reason, row.by, row.at)

    def count_latches(self, account: str, *, since: datetime) -> int:
        """How often the account's own kill switch was set since a time."""
        query = select(func.count()).where(latches.c.account == account, latches.c.at >= since)
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def rearmed_at(self, account: str) -> datetime | None:
        """When a person last released the account's kill switch, its own or the one for all."""
        query = select(func.max(latches.c.rearmed_at)).where(latches.c.account.in_((account, ALL_ACCOUNTS)))
        with self._database.reading() as connection:
            found: datetime | None = connection.execute(query).scalar_one()
        return found


def _cycle(row: Row[Any]) -> CycleRecord:
    return CycleRecord(
        cycle_id=row.cycle_id,
        account=row.account,
        symbol=row.symbol,
        rung=row.rung,
        started_at=row.started_at,
        finished_at=row.finished_at,
        ok=row.ok,
        flow_run_id=row.flow_run_id,
        report=row.report,
    )


def _rung(row: Row[Any]) -> RungRecord:
    return RungRecord(
        account=row.account,
        symbol=row.symbol,
        rung=row.rung,
        max_quantity=row.max_quantity,
        evidence=row.evidence,
        approved_by=row.approved_by,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        fingerprint=row.fingerprint or {},
        max_position=row.max_position,
        max_orders_per_day=row.max_orders_per_day,
        number=row.event_seq,
    )
