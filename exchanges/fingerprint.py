"""What tells one of our orders at a venue that keeps no id of ours (bitbank, bitFlyer)."""

from trading.orders import OrderIntent, VenueOrder


def looks_like(order: VenueOrder, intent: OrderIntent) -> bool:
    """Whether symbol, side, type, price and quantity are the intent's; the time is judged per venue."""
    return (
        order.symbol == intent.symbol
        and order.side is intent.side
        and order.type is intent.type
        and order.price == intent.price
        and order.quantity == intent.quantity
    )
