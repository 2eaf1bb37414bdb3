"""The part of the ledger that looks back on orders and fills; what a cycle asks costs the same after years."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import exists, func, select

from services.ledger_database import Database
from services.ledger_rows import ORDER_COLUMNS, chunks, fill_from, oldest_first, read_orders, sorted_by
from services.ledger_tables import fills, orders
from services.ledger_types import LedgerConflict, StoredFill
from trading.certificates import ADOPTED
from trading.orders import Fill, Order, State

_OF_OUR_ORDER = exists().where(
    orders.c.account == fills.c.account,
    orders.c.venue_order_id == fills.c.venue_order_id,
    orders.c.symbol == fills.c.symbol,
)
_IS_OURS = _OF_OUR_ORDER.label("ours")
_OLDEST_FIRST = (fills.c.at, fills.c.sequence, fills.c.id)


class OrderHistory:
    """Orders and fills of before."""

    _database: Database

    def orders(
        self,
        account: str | None = None,
        symbol: str | None = None,
        *,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> tuple[Order, ...]:
        """Orders intended since a time, newest first, each with its fills."""
        query = select(*ORDER_COLUMNS).limit(limit)
        if account is not None:
            query = query.where(orders.c.account == account)
        if symbol is not None:
            query = query.where(orders.c.symbol == symbol)
        if since is not None:
            query = query.where(orders.c.created_at >= since).order_by(sorted_by(orders.c.id).desc())
        elif account is not None and symbol is None:
            query = query.order_by(orders.c.created_at.desc(), orders.c.id.desc())
        else:
            query = query.order_by(orders.c.id.desc())
        with self._database.reading() as connection:
            return read_orders(connection, query)

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
        query = select(fills).where(fills.c.account == account).order_by(*_OLDEST_FIRST).limit(limit)
        if symbol is not None:
            query = query.where(fills.c.symbol == symbol)
        if since is not None:
            query = query.where(fills.c.at >= since)
        with self._database.reading() as connection:
            return tuple(fill_from(row) for row in connection.execute(query))

    def fills_of_order(self, account: str, symbol: str, venue_order_id: str) -> tuple[Fill, ...]:
        """The fills of one order of the venue, ours or not, oldest first."""
        mine = (fills.c.account == account) & (fills.c.venue_order_id == venue_order_id)
        with self._database.reading() as connection:
            found = oldest_first(connection.execute(select(fills).where(mine)))
        return tuple(fill_from(row) for row in found if row.symbol == symbol)

    def fills_after(self, account: str, row: int) -> tuple[StoredFill, ...]:
        """Fills stored after a row (0: all), oldest first."""
        query = select(fills, _IS_OURS).where(fills.c.account == account, fills.c.id > row)
        with self._database.reading() as connection:
            found = oldest_first(connection.execute(query))
            return tuple(StoredFill(each.id, fill_from(each), bool(each.ours)) for each in found)

    def last_fill_row(self, account: str) -> int:
        """The row of the fill that was stored last (0: none); `fills_after` goes on from there."""
        with self._database.reading() as connection:
            newest = connection.execute(select(func.max(fills.c.id)).where(fills.c.account == account)).scalar_one()
        return int(newest or 0)

    def newest_fills(self, account: str, symbol: str | None = None, *, limit: int) -> tuple[Fill, ...]:
        """The fills of an account, or of its symbol, that happened last, newest first."""
        query = select(fills).where(fills.c.account == account).order_by(*(each.desc() for each in _OLDEST_FIRST))
        if symbol is not None:
            query = query.where(fills.c.symbol == symbol)
        with self._database.reading() as connection:
            return tuple(fill_from(row) for row in connection.execute(query.limit(limit)))

    def newest_fill(self, account: str, symbol: str) -> Fill | None:
        """The fill of a symbol that happened last, or None."""
        found = self.newest_fills(account, symbol, limit=1)
        return found[0] if found else None

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
            for chunk in chunks(venue_order_ids):
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
