"""What bitbank's rows say, as our types (docs/venues.md#bitbank). Amounts are text, ids numbers, times ms."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from exchanges.adapter import from_ms
from trading.instruments import FeeIn, Instrument, Kind, Side
from trading.market import Candle
from trading.money import amount
from trading.orders import Fill, OrderType, State, VenueOrder

_STATES: Mapping[str, State] = {
    "INACTIVE": State.OPEN,  # a stop order that waits for its trigger
    "UNFILLED": State.OPEN,
    "PARTIALLY_FILLED": State.PARTIALLY_FILLED,
    "FULLY_FILLED": State.FILLED,
    "CANCELED_UNFILLED": State.CANCELLED,
    "CANCELED_PARTIALLY_FILLED": State.CANCELLED,
    "REJECTED": State.REJECTED,
}


def read_instrument(row: Mapping[str, Any]) -> Instrument:
    base, quote = row["base_asset"].upper(), row["quote_asset"].upper()
    return Instrument(
        venue="bitbank",
        symbol=f"{base}/{quote}",
        base=base,
        quote=quote,
        kind=Kind.SPOT,
        tick_size=Decimal(1).scaleb(-int(row["price_digits"])),
        lot_size=Decimal(1).scaleb(-int(row["amount_digits"])),
        min_quantity=amount(row["unit_amount"]),
        min_notional=None,
        max_quantity=amount(row["limit_max_amount"]),
        maker_fee_rate=amount(row["maker_fee_rate_quote"]),
        taker_fee_rate=amount(row["taker_fee_rate_quote"]),
        fee_in=FeeIn.QUOTE,
        immediate_or_cancel=False,
    )


def read_candle(row: Sequence[Any]) -> Candle:
    opened, high, low, close, volume = (amount(value) for value in row[:5])
    return Candle(from_ms(row[5]), opened, high, low, close, volume)


def read_order(symbol: str, row: Mapping[str, Any]) -> VenueOrder:
    filled = amount(row.get("executed_amount") or "0")
    # Take-profit and stop-loss orders (placed by hand) may have no amount of their own.
    quantity = row.get("start_amount")
    price = row.get("price")
    average = amount(row.get("average_price") or "0")
    return VenueOrder(
        venue_order_id=str(row["order_id"]),
        client_order_id=None,
        symbol=symbol,
        side=Side(row["side"]),
        type=OrderType.MARKET if price is None else OrderType.LIMIT,
        quantity=filled if quantity is None else amount(quantity),
        price=None if price is None else amount(price),
        filled=filled,
        average_price=average if average > 0 else None,
        state=_STATES[row["status"]],
        created_at=from_ms(row["ordered_at"]),
    )


def read_fill(instrument: Instrument, row: Mapping[str, Any]) -> Fill:
    price, quantity = amount(row["price"]), amount(row["amount"])
    in_base = amount(row.get("fee_amount_base") or "0")
    in_quote = amount(row.get("fee_amount_quote") or "0")
    return Fill(
        id=str(row["trade_id"]),
        venue_order_id=str(row["order_id"]),
        symbol=instrument.symbol,
        side=Side(row["side"]),
        price=price,
        quantity=quantity,
        quote_quantity=price * quantity,
        fee=in_base if in_base else in_quote,
        fee_currency=instrument.base if in_base else instrument.quote,
        at=from_ms(row["executed_at"]),
        maker=row["maker_taker"] == "maker",
        sequence=int(row["trade_id"]),
    )
