"""What we tell Prefect's event stream, for its automations and its event page. Nothing depends on its arrival."""

import re

from prefect.events import emit_event

from config.settings import ExchangeName
from trading.market import VenueStatus

CYCLE_DONE = "crypto-bot.trader.cycle-done"
TRADER_ENDED = "crypto-bot.trader.ended"
VENUE_HALTED = "crypto-bot.venue.halted"

# The venues' words for a halt (docs/venues.md). A maintenance is waited for, and bitbank's HALT is one (#bitbank).
_HALT = re.compile(r"circuit|suspend|not listed", re.IGNORECASE)


def resource_id(exchange: ExchangeName) -> str:
    """How an exchange is called in events."""
    return f"crypto-bot.exchange.{exchange}"


def tell(exchange: ExchangeName, event: str, **payload: str) -> None:
    """Emit an event about an exchange; Prefect sends it in the background."""
    emit_event(
        event,
        resource={"prefect.resource.id": resource_id(exchange), "prefect.resource.name": exchange},
        payload=dict(payload),
    )


def is_halted(status: VenueStatus) -> bool:
    """Whether the venue has stopped trading for a reason that is no maintenance."""
    return not status.trading and _HALT.search(status.state) is not None
