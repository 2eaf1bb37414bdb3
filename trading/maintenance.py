"""When a venue is known to be closed, before it says so itself."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta


@dataclass(frozen=True)
class Maintenance:
    """A stretch of time in which no order should be sent. Aware UTC; the end is not part of it."""

    starts_at: datetime
    ends_at: datetime
    why: str

    def covers(self, at: datetime) -> bool:
        return self.starts_at <= at < self.ends_at


# bitFlyer: every day 04:00-04:10 JST, resting orders are not executed then (docs/venues.md#bitflyer)
_DAILY = {"bitflyer": (time(19, 0), timedelta(minutes=10), "daily maintenance 04:00-04:10 JST")}


def maintenance_near(venue: str, now: datetime) -> tuple[Maintenance, ...]:
    """The venue's regular windows around `now` (aware UTC): yesterday's, today's and tomorrow's."""
    if venue not in _DAILY:
        return ()
    start, length, why = _DAILY[venue]
    today = now.astimezone(UTC).date()
    starts = [datetime.combine(today + timedelta(days=days), start, UTC) for days in (-1, 0, 1)]
    return tuple(Maintenance(at, at + length, why) for at in starts)
