"""OKJ's rows read into our types: text in, Decimal and aware UTC out (docs/venues.md#okcoinjp)."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from exchanges.adapter import from_ms
from exchanges.answers import reading
from trading.instruments import FeeIn, Instrument, Kind, Side
from trading.market import Balance, Candle
from trading.money import ZERO, amount
from trading.orders import Fill, OrderType, State, VenueOrder

Row = Mapping[str, Any]

_STATES = {
    "live": State.OPEN,
    "partially_filled": State.PARTIALLY_FILLED,
    "filled": State.FILLED,
    "canceled": State.CANCELLED,
    "mmp_canceled": State.CANCELLED,
}


@reading("okcoinjp")
def instrument(row: Row, fees: Row) -> Instrument:
    """An instruments row and the account's rates, which the venue writes negative when it charges."""
    return Instrument(
        venue="okcoinjp",
        symbol=f"{row['baseCcy']}/{row['quoteCcy']}",
        base=row["baseCcy"],
        quote=row["quoteCcy"],
        kind=Kind.SPOT,
        tick_size=amount(row["tickSz"]),
        lot_size=amount(row["lotSz"]),
        min_quantity=amount(row["minSz"]),
        min_notional=None,
        # maxLmtSz is a quantity; ccxt takes it for a value in yen.
        max_quantity=_number(row, "maxLmtSz"),
        maker_fee_rate=-amount(fees["maker"]),
        taker_fee_rate=-amount(fees["taker"]),
        fee_in=FeeIn.RECEIVED,
    )


@reading("okcoinjp")
def candle(row: list[str]) -> Candle:
    """`[start ms, open, high, low, close, volume in base, ..., confirm]`."""
    opened, *prices = row[:6]
    return Candle(from_ms(opened), *(amount(each) for each in prices))


@reading("okcoinjp")
def balance(row: Row) -> Balance:
    """A row of the trading account (the funding account is another one)."""
    return Balance(row["ccy"], _number(row, "availBal") or ZERO, _number(row, "frozenBal") or ZERO)


@reading("okcoinjp")
def order(symbol: str, row: Row) -> VenueOrder:
    """An order row. A partly filled order that was cancelled is cancelled, with what it filled."""
    filled = _number(row, "accFillSz") or ZERO
    is_market = row["ordType"] == "market"
    # A market buy may be placed by value (not by us): its size is then in the quote currency.
    by_value = is_market and row.get("tgtCcy") == "quote_ccy"
    return VenueOrder(
        venue_order_id=row["ordId"],
        client_order_id=row.get("clOrdId") or None,
        symbol=symbol,
        side=Side(row["side"]),
        type=OrderType.MARKET if is_market else OrderType.LIMIT,
        quantity=filled if by_value else amount(row["sz"]),
        price=None if is_market else amount(row["px"]),
        filled=filled,
        average_price=_number(row, "avgPx") or None,
        state=_STATES[row["state"]],
        created_at=from_ms(row["cTime"]),
    )


@reading("okcoinjp")
def fill(traded: Instrument, row: Row) -> Fill:
    """A fill row; the venue writes a charged fee negative, taken from what is received."""
    side = Side(row["side"])
    price, quantity = amount(row["fillPx"]), amount(row["fillSz"])
    return Fill(
        id=row["tradeId"],
        venue_order_id=row["ordId"],
        symbol=traded.symbol,
        side=side,
        price=price,
        quantity=quantity,
        quote_quantity=price * quantity,
        fee=-(_number(row, "fee") or ZERO),
        fee_currency=row.get("feeCcy") or traded.fee_currency(side),
        at=from_ms(row["ts"]),
        maker={"M": True, "T": False}.get(row.get("execType", "")),
        sequence=int(row["tradeId"]) if row["tradeId"].isdigit() else 0,
    )


def merge_into_days(bars: Iterable[Candle]) -> list[Candle]:
    """Days of UTC from shorter bars, oldest first; a first day that does not start at midnight is left out.

    The venue's own daily bars start at another hour, and its UTC ones are not known to exist at OKJ.
    """
    days: dict[datetime, list[Candle]] = {}
    for bar in sorted(bars, key=lambda bar: bar.opened_at):
        moment = bar.opened_at.astimezone(UTC)
        days.setdefault(moment.replace(hour=0, minute=0, second=0, microsecond=0), []).append(bar)
    first = next(iter(days), None)
    if first is not None and days[first][0].opened_at - first > timedelta(0):
        del days[first]
    return [
        Candle(
            opened_at=day,
            open=parts[0].open,
            high=max(part.high for part in parts),
            low=min(part.low for part in parts),
            close=parts[-1].close,
            volume=sum((part.volume for part in parts), ZERO),
        )
        for day, parts in days.items()
    ]


def _number(row: Row, key: str) -> Decimal | None:
    """A number, or None where the venue leaves it empty."""
    value = row.get(key)
    return None if value in (None, "") else amount(value)
