"""`crypto-bot resolve`: a person has looked at the venue and says what became of an order of unknown outcome."""

import contextlib

from rich.markup import escape

from cli.output import say
from config.errors import ConfigurationError
from config.loader import load_settings
from config.settings import ExchangeName
from services.clock import WallClock
from services.ledger import Ledger
from trading.orders import Event, Order, State

_SECTION = "unproved-order"  # of the guide


def run_resolve(
    exchange: ExchangeName, order_id: str, *, venue_order_id: str | None, absent: bool, by: str, reason: str
) -> int:
    """Write the person's finding into the ledger; the next reconcile goes on from there.

    `order_id` is our id (32 hex characters) or its beginning. With `venue_order_id` the order is read at the venue by
    that id from now on; `absent` says that it never came to be. Raises ConfigurationError for what cannot be meant.
    """
    if not by.strip() or not reason.strip():
        raise ConfigurationError("resolve: --by and --reason must not be empty", section=_SECTION)
    if absent == (venue_order_id is not None):
        raise ConfigurationError("resolve: give either --venue-order ID or --absent", section=_SECTION)
    settings = load_settings()
    account = settings.account(exchange)
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        order = _unknown_order(ledger, account, order_id)
        name = order.intent.client_order_id
        if venue_order_id is not None and (other := ledger.order_by_venue_id(account, venue_order_id)) is not None:
            said = f"resolve: {venue_order_id} is order {other.intent.client_order_id} of ours"
            raise ConfigurationError(said, section=_SECTION)
        event = Event.PROVED_ABSENT if absent else Event.ACKED
        note = f"resolved by {by}: {reason}"
        ledger.record(account, name, event, WallClock().now(), venue_order_id=venue_order_id, note=note)
    told = "never came to be" if absent else f"is {venue_order_id} at the venue"
    say(f"{account}: order {name} {escape(told)}, says {escape(by)}; the next reconcile goes on from there")
    return 0


def _unknown_order(ledger: Ledger, account: str, beginning: str) -> Order:
    unknown = [order for order in ledger.in_flight(account) if order.state is State.UNKNOWN]
    found = [order for order in unknown if beginning and order.intent.client_order_id.startswith(beginning)]
    if len(found) == 1:
        return found[0]
    ids = ", ".join(order.intent.client_order_id for order in unknown) or "none"
    said = f"resolve: {beginning!r} names no single order of unknown outcome at {account}: {ids}"
    raise ConfigurationError(said, section=_SECTION)
