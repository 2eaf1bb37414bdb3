"""Bybit's rows read into our types: text in, Decimal and aware UTC out (docs/venues.md#bybit)."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from exchanges.adapter import from_ms
from exchanges.answers import reading
from trading.instruments import FeeIn, Instrument, Kind, Side
from trading.market import Candle
from trading.money import ZERO, amount
from trading.orders import Fill, OrderIntent, OrderType, State, VenueOrder

Row = Mapping[str, Any]

_STATES = {
    "New": State.OPEN,
    "Created": State.OPEN,
    "Untriggered": State.OPEN,
    "Triggered": State.OPEN,
    "PartiallyFilled": State.PARTIALLY_FILLED,
    "Filled": State.FILLED,
    "Cancelled": State.CANCELLED,
    "Deactivated": State.CANCELLED,
    # ccxt calls this one "closed"; the rest of the order never traded.
    "PartiallyFilledCanceled": State.CANCELLED,
    "Rejected": State.REJECTED,
}
# Executions that move what is held. The second is the venue's own reduction of a position in a crash, the third a
# liquidation: nobody sent an order for them.
_TRADES = frozenset({"Trade", "AdlTrade", "BustTrade"})


@reading("bybit")
def is_tradable(row: Row) -> bool:
    """Whether an instrument trades now, and is spot or a perpetual (futures with a delivery are not ours)."""
    contract = row.get("contractType", "LinearPerpetual")
    return bool(row["status"] == "Trading" and contract == "LinearPerpetual")


@reading("bybit")
def instrument(spot: bool, row: Row, rates: Row) -> Instrument:
    """An instruments-info row and the account's rates for it."""
    lot, base, quote = row["lotSizeFilter"], row["baseCoin"], row["quoteCoin"]
    return Instrument(
        venue="bybit",
        symbol=f"{base}/{quote}" if spot else f"{base}/{quote}:{row['settleCoin']}",
        base=base,
        quote=quote,
        kind=Kind.SPOT if spot else Kind.PERPETUAL,
        tick_size=amount(row["priceFilter"]["tickSize"]),
        lot_size=amount(lot["basePrecision"] if spot else lot["qtyStep"]),
        min_quantity=amount(lot["minOrderQty"]),
        min_notional=_number(lot, "minOrderAmt" if spot else "minNotionalValue"),
        max_quantity=_number(lot, "maxLimitOrderQty") or _number(lot, "maxOrderQty"),
        maker_fee_rate=amount(rates["makerFeeRate"]),
        taker_fee_rate=amount(rates["takerFeeRate"]),
        fee_in=FeeIn.RECEIVED if spot else FeeIn.QUOTE,
    )


@reading("bybit")
def candle(row: list[str]) -> Candle:
    """`[start ms, open, high, low, close, volume in base, turnover]`."""
    opened, *prices = row[:6]
    return Candle(from_ms(opened), *(amount(each) for each in prices))


@reading("bybit")
def order(symbol: str, row: Row) -> VenueOrder:
    """A row of the live list or the history."""
    filled = _number(row, "cumExecQty") or ZERO
    is_market = row["orderType"] == "Market"
    # A market order placed by value (not by us) names its quantity in the quote currency.
    by_value = is_market and row.get("marketUnit") == "quoteCoin"
    return VenueOrder(
        venue_order_id=row["orderId"],
        client_order_id=row.get("orderLinkId") or None,
        symbol=symbol,
        side=Side(row["side"].lower()),
        type=OrderType.MARKET if is_market else OrderType.LIMIT,
        quantity=filled if by_value else amount(row["qty"]),
        price=None if is_market else amount(row["price"]),
        filled=filled,
        average_price=_number(row, "avgPrice") or None,
        state=_STATES[row["orderStatus"]],
        created_at=from_ms(row["createdTime"]),
    )


@reading("bybit")
def orders_of_fills(intent: OrderIntent, fills: Iterable[Row]) -> list[VenueOrder]:
    """The order behind executions that carry our id, while the order lists lag behind them."""
    by_order: dict[str, list[Row]] = {}
    for row in fills:
        by_order.setdefault(row["orderId"], []).append(row)
    found = []
    for order_id, trades in by_order.items():
        filled = sum((amount(row["execQty"]) for row in trades), ZERO)
        value = sum((amount(row["execPrice"]) * amount(row["execQty"]) for row in trades), ZERO)
        found.append(
            VenueOrder(
                venue_order_id=order_id,
                client_order_id=intent.client_order_id,
                symbol=intent.symbol,
                side=intent.side,
                type=intent.type,
                quantity=intent.quantity,
                price=intent.price,
                filled=filled,
                average_price=value / filled,
                state=State.FILLED if filled >= intent.quantity else State.PARTIALLY_FILLED,
                created_at=min(from_ms(row["execTime"]) for row in trades),
            )
        )
    return found


@reading("bybit")
def is_trade(row: Row) -> bool:
    """Whether an execution moved what is held, by force or not; funding is listed among them."""
    return (row.get("execType") or "Trade") in _TRADES


@reading("bybit")
def fill(traded: Instrument, row: Row) -> Fill:
    """An execution. A fee is positive when charged; linear rows name no currency for it."""
    side = Side(row["side"].lower())
    price, quantity = amount(row["execPrice"]), amount(row["execQty"])
    value = _number(row, "execValue")
    return Fill(
        id=row["execId"],
        venue_order_id=row["orderId"],
        symbol=traded.symbol,
        side=side,
        price=price,
        quantity=quantity,
        quote_quantity=price * quantity if value is None else value,
        fee=amount(row["execFee"]),
        fee_currency=row.get("feeCurrency") or traded.fee_currency(side),
        at=from_ms(row["execTime"]),
        maker=bool(row["isMaker"]),
        sequence=int(row.get("seq") or 0),
    )


def _number(row: Row, key: str) -> Decimal | None:
    """A number, or None where the venue leaves it empty."""
    value = row.get(key)
    return None if value in (None, "") else amount(value)
