"""What bitFlyer's rows say, as our types (docs/venues.md#bitflyer). Times are UTC and carry no zone."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from exchanges.bitflyer_candles import Execution
from trading.instruments import Instrument, Side
from trading.market import Position
from trading.money import ZERO, amount
from trading.orders import Fill, OrderType, State, VenueOrder

_STATES: Mapping[str, State] = {
    "ACTIVE": State.OPEN,
    "COMPLETED": State.FILLED,
    "CANCELED": State.CANCELLED,
    "EXPIRED": State.EXPIRED,
    "REJECTED": State.REJECTED,
}


def read_time(text: str) -> datetime:
    """The venue's times are UTC and carry no zone."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def accepted_at(order: VenueOrder) -> datetime:
    """The second (UTC) that the acceptance id is stamped with; the order's own date where it is not."""
    stamp = order.venue_order_id[3:18]
    try:
        return datetime.strptime(stamp, "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return order.created_at


def read_execution(row: Mapping[str, Any]) -> Execution:
    # `side` is empty for auction prints: they are trades all the same.
    return Execution(row["id"], amount(row["price"]), amount(row["size"]), read_time(row["exec_date"]))


def read_order(symbol: str, row: Mapping[str, Any]) -> VenueOrder:
    quantity, filled = amount(row["size"]), amount(row["executed_size"])
    state = _STATES[row["child_order_state"]]
    if state is State.OPEN and filled > 0:
        state = State.PARTIALLY_FILLED
    if state is State.FILLED and filled < quantity:
        state = State.CANCELLED  # an immediate-or-cancel order that found less
    order_type = OrderType[row["child_order_type"]]
    average = amount(row["average_price"])
    return VenueOrder(
        venue_order_id=row["child_order_acceptance_id"],
        client_order_id=None,
        symbol=symbol,
        side=Side[row["side"]],
        type=order_type,
        quantity=quantity,
        price=amount(row["price"]) if order_type is OrderType.LIMIT else None,
        filled=filled,
        average_price=average if average > 0 else None,
        state=state,
        created_at=read_time(row["child_order_date"]),
    )


def read_fill(instrument: Instrument, row: Mapping[str, Any]) -> Fill:
    side, price, quantity = Side[row["side"]], amount(row["price"]), amount(row["size"])
    return Fill(
        id=str(row["id"]),
        venue_order_id=row["child_order_acceptance_id"],
        symbol=instrument.symbol,
        side=side,
        price=price,
        quantity=quantity,
        quote_quantity=instrument.booked_cost(side, price, quantity),
        fee=amount(row["commission"]),
        fee_currency=instrument.fee_currency(side),
        at=read_time(row["exec_date"]),
        sequence=int(row["id"]),  # ascends with time (docs/venues.md#bitflyer)
    )


def net_position(symbol: str, lots: Sequence[Mapping[str, Any]]) -> tuple[Position, ...]:
    net = sum((Side[lot["side"]].sign * amount(lot["size"]) for lot in lots), ZERO)
    if net == 0:
        return ()
    side = Side.BUY if net > 0 else Side.SELL
    held = [(amount(lot["price"]), amount(lot["size"])) for lot in lots if Side[lot["side"]] is side]
    cost = sum((price * size for price, size in held), ZERO)
    return (Position(symbol, side, abs(net), cost / sum((size for _, size in held), ZERO)),)
