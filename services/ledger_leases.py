"""The part of the ledger that lets one writer at a time into an account."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, insert, select, update

from services.ledger_database import Database
from services.ledger_tables import leases
from services.ledger_types import Lease, LeaseLost

# built once: building a statement costs as much as running it
_LEASE_OF = select(leases).where(leases.c.account == bindparam("of_account"))


class Leases:
    """Who may write intents for which account, and until when."""

    _database: Database

    def take_lease(self, account: str, holder: str, now: datetime, seconds: float) -> Lease:
        """Take the right to trade an account for `seconds`; every earlier lease of it ends with this.

        The same holder may take it again. Raises LeaseLost, naming the holder, while another's lease runs.
        """
        until = now + timedelta(seconds=seconds)
        with self._database.writing() as connection:
            row = connection.execute(select(leases).where(leases.c.account == account)).one_or_none()
            if row is None:
                connection.execute(insert(leases).values(account=account, token=1, holder=holder, expires_at=until))
                return Lease(account, holder, 1)
            if row.holder is not None and row.holder != holder and row.expires_at > now:
                raise LeaseLost(
                    f"{account} is traded by {row.holder} until {row.expires_at:%Y-%m-%d %H:%M:%S} UTC; "
                    "stop that process first"
                )
            token = row.token + 1
            connection.execute(
                update(leases).where(leases.c.account == account).values(token=token, holder=holder, expires_at=until)
            )
            return Lease(account, holder, token)

    def shared_time(self, now: datetime) -> datetime:
        """The time by which a lease runs out: the database server's where several hosts share one, else `now`.

        Two hosts whose clocks differ would else take accounts from each other too early, or wait too long.
        """
        with self._database.reading() as connection:
            return self._database.time_of(connection) or now

    def holder(self, account: str, now: datetime) -> str | None:
        """Who holds the account at `now`, None when nobody does."""
        with self._database.reading() as connection:
            row = connection.execute(_LEASE_OF, {"of_account": account}).one_or_none()
        return None if row is None or row.expires_at <= now else row.holder

    def lease_in_force(self, account: str) -> Lease | None:
        """The lease of whoever holds the account, None when nobody does.

        For the emergency stop alone, which writes its closing order in the holder's name.
        """
        with self._database.reading() as connection:
            row = connection.execute(_LEASE_OF, {"of_account": account}).one_or_none()
        return None if row is None or row.holder is None else Lease(account, row.holder, row.token)

    def renew_lease(self, lease: Lease, now: datetime, seconds: float) -> None:
        """Extend a lease to `now + seconds`. Raises LeaseLost when another holds the account since."""
        with self._database.writing() as connection:
            check_lease(connection, lease)
            connection.execute(
                update(leases)
                .where(leases.c.account == lease.account)
                .values(expires_at=now + timedelta(seconds=seconds))
            )

    def release_lease(self, lease: Lease) -> None:
        """Give the account free. A lease that was lost meanwhile is left to its new holder."""
        with self._database.writing() as connection:
            connection.execute(
                update(leases)
                .where(leases.c.account == lease.account, leases.c.token == lease.token)
                .values(holder=None)
            )


def check_lease(connection: Connection, lease: Lease) -> None:
    """Raise LeaseLost unless `lease` is the one in force, inside the transaction that writes."""
    # The token decides, not the expiry: as long as nobody has taken the account since, nobody else writes.
    row = connection.execute(_LEASE_OF, {"of_account": lease.account}).one_or_none()
    if row is None or row.token != lease.token or row.holder is None:
        other = row.holder if row is not None and row.holder is not None else "nobody"
        raise LeaseLost(f"{lease.account} is no longer held by {lease.holder} but by {other}; nothing was written")
