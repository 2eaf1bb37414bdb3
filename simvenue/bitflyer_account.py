"""bitFlyer's account calls: balances, collateral, CFD lots, histories (docs/venues.md#bitflyer)."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from simvenue.bitflyer_history import balance_rows
from simvenue.bitflyer_replies import Parameters, invalid, iso, page, product_of
from simvenue.values import Fill, Pair
from simvenue.venue import Venue

ZERO = Decimal(0)
LOT_PRICE_STEP = Decimal("1e-8")


@dataclass
class Lot:
    """One opening trade of a position, or what is left of it."""

    side: str
    quantity: Decimal
    price: Decimal
    opened_at: int


def open_lots(fills: list[Fill]) -> list[Lot]:
    """Rebuild the lots of one product from its fills, oldest first.

    Closing takes the oldest lots. The engine books profit against the average entry price, so what remains
    after a close is carried at the average: the lots always add up to the position and its profit.
    """
    lots: list[Lot] = []
    for fill in fills:
        left = fill.quantity
        if lots and lots[0].side != fill.order.side:
            average = _average(lots)
            while lots and left > 0:
                closed = min(left, lots[0].quantity)
                lots[0].quantity -= closed
                left -= closed
                if not lots[0].quantity:
                    del lots[0]
            for lot in lots:
                lot.price = average
        if left > 0:
            lots.append(Lot(fill.order.side, left, fill.price, fill.at))
    return lots


def _average(lots: list[Lot]) -> Decimal:
    size = sum((lot.quantity for lot in lots), ZERO)
    return sum((lot.quantity * lot.price for lot in lots), ZERO) / size


class BitflyerAccount:
    """Render what the account holds and how it came to it."""

    def __init__(self, venue: Venue) -> None:
        """Read from this venue's one account."""
        self._venue = venue

    def balances(self, _: Parameters) -> list[dict[str, Any]]:
        """List every currency; what orders lock is in `amount` and not in `available`."""
        held = self._venue.shown.balances()
        rows = []
        for currency in self._currencies():
            free, locked = held.get(currency, (ZERO, ZERO))
            rows.append({"currency_code": currency, "amount": free + locked, "available": free})
        return rows

    def collateral(self, _: Parameters) -> dict[str, Any]:
        """Give the margin account in JPY: deposit with realised profit, open profit, what positions need."""
        deposited = self._venue.shown.collateral().get("JPY", ZERO)
        profit = sum((self._venue.unrealised(pair.symbol) for pair in self._perpetuals()), ZERO)
        needed = sum((self._venue.position_margin(pair.symbol) for pair in self._perpetuals()), ZERO)
        return {
            "collateral": deposited,
            "open_position_pnl": profit,
            "require_collateral": needed,
            "keep_rate": (deposited + profit) / needed if needed else ZERO,
            "margin_call_amount": ZERO,
            "margin_call_due_date": None,
        }

    def collateral_accounts(self, _: Parameters) -> list[dict[str, Any]]:
        """List the margin account by currency."""
        deposited = {"JPY": ZERO, "BTC": ZERO, **self._venue.shown.collateral()}
        return [{"currency_code": currency, "amount": held} for currency, held in deposited.items()]

    def positions(self, parameters: Parameters) -> list[dict[str, Any]]:
        """List the lots of a CFD position; empty when flat."""
        pair = product_of(self._venue, parameters)
        if pair.kind != "perpetual":
            raise invalid("product")
        leverage = self._venue.leverage(pair.symbol)
        last = self._venue.market(pair.symbol).ticker().last
        rows = []
        for lot in open_lots([fill for fill in self._venue.fills if fill.order.symbol == pair.symbol]):
            sign = 1 if lot.side == "buy" else -1
            rows.append(
                {
                    "product_code": pair.venue_symbol,
                    "side": lot.side.upper(),
                    "price": lot.price.quantize(LOT_PRICE_STEP),
                    "size": lot.quantity,
                    "commission": ZERO,
                    "swap_point_accumulate": ZERO,
                    "require_collateral": lot.price * lot.quantity / leverage,
                    "open_date": iso(lot.opened_at, milliseconds=True),
                    "leverage": leverage,
                    "pnl": (last - lot.price) * lot.quantity * sign,
                    "sfd": ZERO,
                    "funding_fees": ZERO,
                }
            )
        return rows

    def balance_history(self, parameters: Parameters) -> list[dict[str, Any]]:
        """List what trades and transfers did to one currency (JPY when left out), newest first."""
        currency = str(parameters.get("currency_code") or "JPY").upper()
        if currency not in self._currencies():
            raise invalid("currency_code")
        return page(reversed(balance_rows(self._venue, currency)), parameters)

    def collateral_history(self, parameters: Parameters) -> list[dict[str, Any]]:
        """List what closing positions did to the collateral, newest first."""
        held = self._venue.spec.collateral.get("JPY", ZERO)
        rows = []
        for fill in self._venue.fills:
            if fill.realised:
                change = fill.realised - fill.fee
                held += change
                row = {
                    "id": int(fill.id),
                    "currency_code": "JPY",
                    "change": change,
                    "amount": held,
                    "reason_code": "CLEARING_COLL",
                    "date": iso(fill.at, milliseconds=True),
                }
                rows.append((int(fill.id), row))
        return page(reversed(rows), parameters)

    def trading_commission(self, parameters: Parameters) -> dict[str, Any]:
        """Give the rate that executions of a product are charged at."""
        return {"commission_rate": product_of(self._venue, parameters).taker_rate}

    def nothing(self, _: Parameters) -> list[dict[str, Any]]:
        """List none: no coin, bank account or transfer belongs to a simulated account."""
        return []

    # -- the parts

    def _currencies(self) -> list[str]:
        spot = [pair for pair in self._venue.spec.pairs if pair.kind == "spot"]
        return list(dict.fromkeys(["JPY", *(pair.base for pair in spot), *self._venue.balances()]))

    def _perpetuals(self) -> list[Pair]:
        return [pair for pair in self._venue.spec.pairs if pair.kind == "perpetual"]
