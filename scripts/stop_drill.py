"""The drill of the emergency stop: from the signal to no order, at each simulated venue, against the bare sequence.

    python scripts/stop_drill.py [--exchange NAME ...] [--orders N] [--runs N] [--cancels-fail SECONDS] [--json]

Venues run on the wall clock with their published limits. Half of the orders that rest are known to the ledger, half
were placed by hand. Measured in a process that is warm (clients made, instruments read):

- stop: `execution.stop.stop_all`, until every list was first seen empty, until that was proved, and until it returned;
- bare: the venue's own requests one after the other through the raw client under the same request budget: list, cancel,
  list until empty, and after the spacing that the stop's proof asks for the second empty list.

Exit status 1 when an order is left at a venue or the stop takes more than 1.5 times the bare sequence.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from config.loader import load_settings
from config.settings import EXCHANGES, ExchangeName
from exchanges import bitbank, bitflyer_client, bybit, create_exchange_client, okcoinjp
from exchanges.base import Exchange
from exchanges.budget import urgent
from execution.clearing import SPACING, USUAL_SPACING
from execution.connect import resolve
from execution.stop import StopTarget, stop_all
from services.clock import WallClock
from services.ledger import Lease, Ledger
from services.simulated import simulated_venues
from trading.certificates import ADOPTED
from trading.identifiers import client_order_id
from trading.instruments import Side
from trading.orders import Event, OrderIntent, OrderType, TimeInForce

MOST = 1.5


@dataclass(frozen=True)
class Row:
    """One venue's figures: seconds (median of the runs), requests (of the stop, and of the bare sequence)."""

    exchange: str
    orders: int
    left: int
    clean: bool
    empty_after: float | None
    proved_after: float | None
    returned_after: float
    bare_empty_after: float
    bare_proved_after: float
    ratio: float | None
    requests: int
    bare_requests: int


class Bare:
    """The venue's own list and cancel requests, and nothing else."""

    def __init__(self, exchange: Exchange, symbol: str) -> None:
        self._client: Any = exchange.client  # type: ignore[attr-defined]
        base, _, quote = symbol.partition("/")
        self._name, self._base, self._quote = exchange.name, base, quote.partition(":")[0]

    async def listed(self) -> list[Any]:
        call = self._client.call
        asked: dict[str, Any]
        if self._name == "bybit":
            asked = {**self._bybit_pair(), "openOnly": "0", "limit": "50"}
            return [row["orderId"] for row in (await call(bybit.OPEN_ORDERS, asked))["result"]["list"]]
        if self._name == "bitbank":
            asked = {"pair": f"{self._base}_{self._quote}".lower()}
            return [row["order_id"] for row in (await call(bitbank._ACTIVE_ORDERS, asked))["data"]["orders"]]
        if self._name == "bitflyer":
            asked = {"product_code": f"{self._base}_{self._quote}", "child_order_state": "ACTIVE", "count": 100}
            return [row["child_order_acceptance_id"] for row in await call(bitflyer_client.CHILD_ORDERS, asked)]
        asked = {"instType": "SPOT", "instId": f"{self._base}-{self._quote}", "limit": "100"}
        return [row["ordId"] for row in (await call(okcoinjp.PENDING, asked))["data"]]

    async def cancel(self, ids: list[Any]) -> None:
        call = self._client.call
        if self._name == "bybit":
            await call(bybit.CANCEL_ALL, {**self._bybit_pair(), "orderFilter": "Order"})
        elif self._name == "bitbank":
            pair = f"{self._base}_{self._quote}".lower()
            for start in range(0, len(ids), 30):
                await call(bitbank._CANCEL_MANY, {"pair": pair, "order_ids": ids[start : start + 30]})
        elif self._name == "bitflyer":
            await call(bitflyer_client.CANCEL_ALL, {"product_code": f"{self._base}_{self._quote}"})
        else:
            pair = f"{self._base}-{self._quote}"
            for start in range(0, len(ids), 20):
                await call(okcoinjp.CANCEL_MANY, [{"instId": pair, "ordId": each} for each in ids[start : start + 20]])

    def _bybit_pair(self) -> dict[str, str]:
        return {"category": "spot", "symbol": f"{self._base}{self._quote}"}

    async def run(self) -> tuple[float, float]:
        """Seconds until the list was first empty, and until it was so again after the spacing."""
        began = time.perf_counter()
        await self.cancel(await self.listed())
        await self._until_empty()
        empty = time.perf_counter() - began
        await asyncio.sleep(SPACING.get(self._name, USUAL_SPACING).total_seconds())
        await self._until_empty()
        return empty, time.perf_counter() - began

    async def _until_empty(self) -> None:
        for _ in range(100):
            if not await self.listed():
                return
            await asyncio.sleep(0.25)
        raise SystemExit(f"{self._name}: the bare sequence leaves orders in the market")


@dataclass
class Place:
    """One running venue, a warm client of ours, and the account in a ledger."""

    name: ExchangeName
    symbol: str
    exchange: Exchange
    ledger: Ledger
    lease: Lease
    control_url: str
    session: aiohttp.ClientSession

    async def rest(self, orders: int) -> None:
        """Let orders rest at the venue by its control side, which no limit counts; each second one is in the ledger."""
        instrument = await self.exchange.instrument(self.symbol)
        bid = (await self.exchange.ticker(self.symbol)).bid
        for number in range(orders):
            price = instrument.passive_price(Side.BUY, bid * (Decimal("0.97") - number * Decimal("0.0005")))
            asked = {"symbol": self.symbol, "side": "buy", "type": "limit", "price": str(price)}
            asked["quantity"] = str(quantity := instrument.smallest_quantity(price))
            told = await self.control("orders", asked)
            if number % 2:
                self._write(told["id"], price, quantity)

    def _write(self, venue_order_id: str, price: Decimal, quantity: Decimal) -> None:
        now, number = WallClock().now(), client_order_id(self.name, "drill", venue_order_id)
        intent = OrderIntent(
            client_order_id=number,
            venue=self.name,
            symbol=self.symbol,
            side=Side.BUY,
            type=OrderType.LIMIT,
            quantity=quantity,
            price=price,
            time_in_force=TimeInForce.GOOD_TILL_CANCELLED,
            decision_price=price,
            decided_at=now,
            reason="a drill",
        )
        self.ledger.write_intent(intent, self.lease, rung=ADOPTED, cycle_id=None, known_ids=frozenset(), now=now)
        self.ledger.record(self.name, number, Event.SENT, now)
        self.ledger.record(self.name, number, Event.ACKED, now, venue_order_id=venue_order_id)

    async def control(self, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        async with self.session.request(method, f"{self.control_url}/{path}", json=body) as reply:
            if reply.status != 200:
                raise SystemExit(f"{self.name}: {method} {path}: {await reply.text()}")
            return await reply.json()

    async def left(self) -> int:
        truth = await self.control("truth", method="GET")
        return sum(order["status"] in ("open", "partially_filled") for order in truth["orders"])


@contextlib.asynccontextmanager
async def _at(name: ExchangeName, home: Path) -> AsyncIterator[Place]:
    settings = load_settings(overrides=[f"home={home}"], environ={})
    ready, credentials, clock = await resolve(name, settings)
    exchange = create_exchange_client(name, settings=ready, credentials=credentials, clock=clock)
    ledger = Ledger(settings.ledger_url)
    lease = ledger.take_lease(name, "drill", WallClock().now(), 3600)
    async with aiohttp.ClientSession() as session:
        control_url = str(ready.exchanges[name].control_url)
        try:
            yield Place(name, settings.symbol(name), exchange, ledger, lease, control_url, session)
        finally:
            await exchange.close()
            ledger.release_lease(lease)
            ledger.close()


async def _stopped(place: Place, home: Path, fail_seconds: float) -> tuple[Any, float, int]:
    """Seconds until the stop returned, its report for the venue, and its requests."""
    if fail_seconds:
        await place.control("faults", {"name": "cancel_500"})
        asyncio.get_running_loop().call_later(fail_seconds, lambda: asyncio.ensure_future(_calm(place)))
    before, began = place.exchange.traffic().requests, time.perf_counter()
    report = await stop_all(
        [StopTarget(place.name, place.exchange, (place.symbol,))],
        place.ledger,
        WallClock(),
        "drill",
        "drill",
        home=home,
    )
    seconds = time.perf_counter() - began
    return report.venues[0], seconds, place.exchange.traffic().requests - before


async def _calm(place: Place) -> None:
    await place.control("faults", method="DELETE")


async def drill(name: ExchangeName, orders: int, runs: int, fail_seconds: float) -> Row:
    """Measure one venue; each run has a venue, a ledger and budgets of its own: none waits for the one before."""
    stops, returned, bares, requests, left = [], [], [], [(0, 0)], 0
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            with simulated_venues(home, {name: ("--clock", "wall", "--limits", "published")}):
                async with _at(name, home) as place:
                    await _prepare(place, home, orders)
                    stop, seconds, asked = await _stopped(place, home, fail_seconds)
                    left += await place.left()
                    stops.append(stop)
                    returned.append(seconds)
                    await _prepare(place, home, orders)
                    before = place.exchange.traffic().requests
                    with urgent():
                        bares.append(await Bare(place.exchange, place.symbol).run())
                    requests.append((asked, place.exchange.traffic().requests - before))
    empty = [stop.empty_after for stop in stops if stop.empty_after is not None]
    proved = [stop.proved_after for stop in stops if stop.proved_after is not None]
    bare_proved = statistics.median(seconds for _, seconds in bares)
    whole = len(proved) == runs
    return Row(
        exchange=name,
        orders=orders,
        left=left,
        clean=all(stop.is_clean for stop in stops),
        empty_after=round(statistics.median(empty), 3) if empty else None,
        proved_after=round(statistics.median(proved), 3) if whole else None,
        returned_after=round(statistics.median(returned), 3),
        bare_empty_after=round(statistics.median(seconds for seconds, _ in bares), 3),
        bare_proved_after=round(bare_proved, 3),
        ratio=round(statistics.median(proved) / bare_proved, 2) if whole else None,
        requests=max(asked for asked, _ in requests),
        bare_requests=max(asked for _, asked in requests),
    )


async def _prepare(place: Place, home: Path, orders: int) -> None:
    _forget_budget(home)
    await place.rest(orders)
    _forget_budget(home)


def _forget_budget(home: Path) -> None:
    for file in (home / "budget").glob("*.requests"):
        file.unlink()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _print(rows: Sequence[Row]) -> None:
    titles = ("venue", "orders", "left", "empty s", "proved s", "returned s", "bare empty", "bare proved", "ratio")
    _say(("{:<10}" + "{:>12}" * 8 + "{:>12}").format(*titles, "requests"))
    for row in rows:
        shown = [
            row.orders,
            row.left,
            *(
                "never" if value is None else f"{value:.2f}"
                for value in (row.empty_after, row.proved_after, row.returned_after)
            ),
            f"{row.bare_empty_after:.2f}",
            f"{row.bare_proved_after:.2f}",
            "-" if row.ratio is None else f"{row.ratio:.2f}",
            f"{row.requests} ({row.bare_requests})",
        ]
        _say(("{:<10}" + "{:>12}" * 9).format(row.exchange, *shown))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--exchange", action="append", choices=EXCHANGES, help="all four unless named")
    parser.add_argument("--orders", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cancels-fail", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = [
        asyncio.run(drill(name, asked.orders, asked.runs, asked.cancels_fail))
        for name in asked.exchange or list(EXCHANGES)
    ]
    if asked.json:
        _say(json.dumps({"rows": [asdict(row) for row in rows]}))
    else:
        _print(rows)
    slow = [row for row in rows if not asked.cancels_fail and (row.ratio is None or row.ratio > MOST)]
    return 1 if slow or any(row.left or not row.clean for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
