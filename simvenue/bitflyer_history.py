"""bitFlyer's balance history: what each trade and transfer did to a currency (docs/venues.md#bitflyer)."""

from decimal import Decimal
from typing import Any

from simvenue.bitflyer_replies import iso, iso_jst
from simvenue.values import Deposit, Fill
from simvenue.venue import Venue

ZERO = Decimal(0)


def balance_rows(venue: Venue, currency: str) -> list[tuple[int, dict[str, Any]]]:
    """Give (id, row) of everything that changed one currency, oldest first, with the balance after it."""
    balance = venue.spec.opening.get(currency, ZERO)
    rows = []
    for number, event in enumerate(_events(venue), start=1):
        row = _transfer(event) if isinstance(event, Deposit) else _trade(venue, event, currency)
        if row is None or row["currency_code"] != currency:
            continue
        balance += row["amount"] - row["commission"]
        rows.append((number, {"id": number, **row, "balance": balance}))
    return rows


def _events(venue: Venue) -> list[Deposit | Fill]:
    """Put fills and deposits in the order in which they happened; it never changes later, so ids stay."""
    events: list[Deposit | Fill] = []
    done = 0
    for deposit in venue.deposits:
        events += venue.fills[done : deposit.after_fills]
        events.append(deposit)
        done = deposit.after_fills
    return events + venue.fills[done:]


def _trade(venue: Venue, fill: Fill, currency: str) -> dict[str, Any] | None:
    pair = venue.pair(fill.order.symbol)
    if pair is None:
        raise LookupError(f"fill {fill.id} names a pair that this venue lacks: {fill.order.symbol}")
    if pair.kind == "perpetual" or currency not in (pair.base, pair.quote):
        return None
    sign = 1 if fill.order.side == "buy" else -1
    return {
        "trade_date": iso_jst(fill.at),
        "event_date": iso(fill.at, milliseconds=True),
        "product_code": pair.venue_symbol,
        "currency_code": currency,
        "trade_type": fill.order.side.upper(),
        "price": fill.price,
        "amount": sign * fill.quantity if currency == pair.base else -sign * fill.quote,
        "quantity": sign * fill.quantity,
        "commission": fill.fee if fill.fee_currency == currency else ZERO,
        "order_id": fill.order.id,
    }


def _transfer(deposit: Deposit) -> dict[str, Any]:
    return {
        "trade_date": iso_jst(deposit.at),
        "event_date": iso(deposit.at, milliseconds=True),
        "product_code": deposit.asset,
        "currency_code": deposit.asset,
        "trade_type": "DEPOSIT" if deposit.change > 0 else "WITHDRAW",
        "price": ZERO,
        "amount": deposit.change,
        "quantity": ZERO,
        "commission": ZERO,
        "order_id": "",
    }
