"""The control side of a simulated venue, under /_control: what really happened, and hands on the market.

It speaks one plain language whatever the venue: amounts as strings, times in ms of market time, words in
lower case.
Its calls are not requests of the venue: they are neither counted nor limited.
"""

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from aiohttp import web

from simvenue.amounts import read_amount
from simvenue.fault_settings import FaultSetting, known_faults, not_applicable, set_fault
from simvenue.values import AccountKey, Fill, Order, OrderRequest, Rejection, Secrets, plain
from simvenue.venue import Venue

PREFIX = "/_control"
CURRENCY = re.compile(r"[A-Z0-9]{2,10}")  # "btc" would be a coin beside BTC, and bitbank writes both alike

NOT_SIMULATED = (
    "other traders who react to our orders: the market follows its candles, and a taken level of the book "
    "comes back with the next market minute (wall clock: after five seconds)",
    "our own taker trades on the public tape and in the candles",
    "a queue at our price: what trades at the price of a resting order fills it, up to the size of the trade",
    "self-trade prevention: two own orders that cross fill each other",
    "liquidation, funding payments, swap points and interest",
    "deposits, withdrawals, transfers and sub-accounts",
    "WebSocket streams",
    "an opening auction's own matching: resting orders meet its prints like any others",
    "on the wall clock without a candle file: gaps, falls and the venue's daily maintenance",
)


class Control:
    """Handlers over one venue; the server has the market catch up before each."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(PREFIX, self.about),
            web.get(f"{PREFIX}/", self.about),
            web.get(f"{PREFIX}/truth", self.truth),
            web.get(f"{PREFIX}/clock", self.clock),
            web.post(f"{PREFIX}/clock", self.advance),
            web.post(f"{PREFIX}/orders", self.place),
            web.post(f"{PREFIX}/balances", self.deposit),
            web.post(f"{PREFIX}/price", self.price),
            web.post(f"{PREFIX}/keys", self.add_key),
            web.delete(f"{PREFIX}/keys", self.revoke_key),
            web.get(f"{PREFIX}/faults", self.faults),
            web.post(f"{PREFIX}/faults", self.set_fault),
            web.delete(f"{PREFIX}/faults", self.clear_faults),
            web.route("*", PREFIX + "/{rest:.*}", self.unknown),
        ]

    async def about(self, request: web.Request) -> web.Response:
        return web.json_response({"exchange": self._venue.spec.name, "not_simulated": not_simulated(self._venue)})

    async def unknown(self, request: web.Request) -> web.Response:
        return _refused(404, f"no {request.method} {request.path}; GET {PREFIX}/ says more")

    async def truth(self, request: web.Request) -> web.Response:
        return web.json_response(truth(self._venue))

    async def clock(self, request: web.Request) -> web.Response:
        venue = self._venue
        told = {"now_ms": venue.now_ms(), "mode": venue.clock.mode, "ends_ms": venue.ends_ms()}
        return web.json_response(told)

    async def advance(self, request: web.Request) -> web.Response:
        def act(asked: dict[str, Any]) -> dict[str, Any]:
            ms = asked["advance_ms"]
            if not isinstance(ms, int) or isinstance(ms, bool):
                raise ValueError("advance_ms is a whole number of ms")
            return {"now_ms": self._venue.advance(ms)}

        return await _answer(request, act)

    async def place(self, request: web.Request) -> web.Response:
        def act(asked: dict[str, Any]) -> dict[str, Any]:
            price = asked.get("price")
            order = self._venue.place(
                OrderRequest(
                    symbol=self._symbol(asked),
                    side=_word(asked, "side", ("buy", "sell")),
                    type=_word(asked, "type", ("limit", "market")),
                    quantity=_amount(asked["quantity"]),
                    price=None if price is None else _amount(price),
                    by_hand=True,
                )
            )
            return order_row(order)

        return await _answer(request, act)

    async def deposit(self, request: web.Request) -> web.Response:
        def act(asked: dict[str, Any]) -> dict[str, Any]:
            currency = str(asked["currency"])
            if not CURRENCY.fullmatch(currency):
                raise ValueError(f"a currency is written as BTC, not {currency[:40]!r}")
            self._venue.deposit(currency, _amount(asked["change"]))
            return {currency: balance_rows(self._venue)[currency]}

        return await _answer(request, act)

    async def price(self, request: web.Request) -> web.Response:
        def act(asked: dict[str, Any]) -> dict[str, Any]:
            symbol = self._symbol(asked)
            self._venue.move_price(symbol, _amount(asked["price"]))
            return {"symbol": symbol, "price": plain(self._venue.market(symbol).last)}

        return await _answer(request, act)

    async def add_key(self, request: web.Request) -> web.Response:
        def act(asked: dict[str, Any]) -> dict[str, Any]:
            secrets = Secrets(*(str(asked.get(name, "")) for name in ("api_key", "api_secret", "passphrase")))
            if not secrets.api_key or not secrets.api_secret:
                raise ValueError("a key has api_key and api_secret")
            addresses = asked.get("addresses", ["127.0.0.1"])
            if not isinstance(addresses, list):
                raise ValueError("addresses is a list, empty for a key that is bound to none")
            key = AccountKey(
                secrets,
                may_withdraw=asked.get("may_withdraw") is True,
                addresses=tuple(map(str, addresses)),
                expires_at=str(asked.get("expires_at", "")),
            )
            self._venue.keys.add(key)
            return {"keys": len(self._venue.keys)}

        return await _answer(request, act)

    async def revoke_key(self, request: web.Request) -> web.Response:
        try:
            self._venue.keys.revoke(request.query.get("api_key", ""))
        except KeyError:
            return _refused(400, "no such key")
        return web.json_response({"keys": len(self._venue.keys)})

    async def faults(self, request: web.Request) -> web.Response:
        told = {
            "set": self._venue.faults.rows(),
            "struck": dict(self._venue.faults.struck),
            "known": known_faults(),
            "not_applicable": not_applicable(self._venue.spec.name),
        }
        return web.json_response(told)

    async def set_fault(self, request: web.Request) -> web.Response:
        def act(asked: dict[str, Any]) -> dict[str, Any]:
            set_fault(self._venue, _fault(asked))
            return {"set": self._venue.faults.rows()}

        return await _answer(request, act)

    async def clear_faults(self, request: web.Request) -> web.Response:
        name = request.query.get("name")
        if name is not None and name not in known_faults():
            return _refused(400, f"no fault {name[:40]}: there are {', '.join(known_faults())}")
        self._venue.faults.clear(name)
        return web.json_response({"set": self._venue.faults.rows()})

    def _symbol(self, asked: dict[str, Any]) -> str:
        symbol = str(asked["symbol"])
        if self._venue.pair(symbol) is None:
            known = ", ".join(pair.symbol for pair in self._venue.spec.pairs)
            raise ValueError(f"{self._venue.spec.name} has no {symbol}, but {known}")
        return symbol


def not_simulated(venue: Venue) -> list[str]:
    """List, in plain words, what this venue does not do as the real one does."""
    return [*NOT_SIMULATED, *venue.spec.not_simulated]


def truth(venue: Venue) -> dict[str, Any]:
    """Tell everything that the venue's books hold."""
    requests = venue.requests
    return {
        "orders": [order_row(order) for order in venue.orders],
        "fills": [_fill_row(fill) for fill in venue.fills],
        "balances": balance_rows(venue),
        "positions": [
            {
                "symbol": pair.symbol,
                "side": held.side,
                "quantity": plain(held.quantity),
                "price": plain(held.entry_price),
            }
            for pair in venue.spec.pairs
            for held in venue.positions(pair.symbol)
        ],
        "collateral": {asset: plain(amount) for asset, amount in venue.collateral().items()},
        "deposits": [
            {"currency": deposit.asset, "change": plain(deposit.change), "at": deposit.at} for deposit in venue.deposits
        ],
        "requests": {
            "total": requests.total,
            "by_minute": {str(minute): count for minute, count in requests.by_minute().items()},
            "refused_for_rate": requests.refused_for_rate,
        },
    }


def order_row(order: Order) -> dict[str, Any]:
    return {
        "id": order.id,
        "client_id": order.client_id,
        "symbol": order.symbol,
        "side": order.side,
        "type": order.type,
        "price": None if order.price is None else plain(order.price),
        "quantity": plain(order.quantity),
        "filled": plain(order.filled),
        "status": order.status,
        "created_at": order.created_at,
        "by_hand": order.by_hand,
    }


def _fill_row(fill: Fill) -> dict[str, Any]:
    return {
        "id": fill.id,
        "order_id": fill.order.id,
        "price": plain(fill.price),
        "quantity": plain(fill.quantity),
        "fee": plain(fill.fee),
        "fee_currency": fill.fee_currency,
        "at": fill.at,
    }


def balance_rows(venue: Venue) -> dict[str, dict[str, str]]:
    return {asset: {"free": plain(free), "locked": plain(locked)} for asset, (free, locked) in venue.balances().items()}


async def _answer(request: web.Request, act: Callable[[dict[str, Any]], dict[str, Any]]) -> web.Response:
    """Do what is asked, or say in one line why not (400)."""
    try:
        asked = json.loads(await request.read(), parse_float=Decimal)
        if not isinstance(asked, dict):
            raise ValueError("a JSON object is needed")
        return web.json_response(act(asked))
    except KeyError as missing:
        return _refused(400, f"{missing.args[0]} is missing")
    except RecursionError:
        return _refused(400, "the JSON is nested too deeply")
    except (ValueError, Rejection) as error:
        return _refused(400, str(error))


def _amount(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f"an amount is a string, not {value!r}")
    amount = read_amount(value)
    if amount is None:
        raise ValueError(f"{str(value)[:40]!r} is not an amount")
    return amount


def _fault(asked: dict[str, Any]) -> FaultSetting:
    unknown = sorted(set(asked) - {"name", "value", "times", "match"})
    if unknown:
        raise ValueError(f"a fault has name, value, times and match, not {unknown[0][:40]}")
    value, times, match = asked.get("value"), asked.get("times"), asked.get("match")
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal | None):
        raise ValueError(f"the value of a fault is a number or a string, not {str(value)[:40]}")
    if isinstance(times, bool) or not isinstance(times, int | None):
        raise ValueError(f"times is a whole number from 1, not {str(times)[:40]}")
    if not isinstance(match, str | None):
        raise ValueError(f"match is an operation, not {str(match)[:40]}")
    return FaultSetting(str(asked["name"])[:80], "" if value is None else str(value), times, match or "")


def _word(asked: dict[str, Any], key: str, words: tuple[str, ...]) -> str:
    if asked[key] not in words:
        raise ValueError(f"{key} is {' or '.join(words)}")
    return str(asked[key])


def _refused(status: int, why: str) -> web.Response:
    return web.json_response({"error": why}, status=status)
