"""Simulated venues for the conformance cases: each is started once, when the first case asks for it."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from config.credentials import Credentials
from config.loader import load_settings
from config.secret import Secret
from config.settings import Settings
from exchanges import create_exchange_client
from exchanges.base import Exchange
from services.clock import MarketClock
from trading.instruments import Side

# So wide that only the venue's own published limits hold the cases back, not the guide's sixty a minute.
REQUESTS_PER_MINUTE = 1000
_ROOT = Path(__file__).parents[2]
# Venue and symbol; the conformance cases run once for each.
MARKETS = {
    "bybit": "BTC/USDT",
    "bybit-linear": "BTC/USDT:USDT",
    "bitbank": "BTC/JPY",
    "bitflyer": "BTC/JPY",
    "bitflyer-cfd": "BTC/JPY:JPY",
    "okcoinjp": "BTC/JPY",
}


@dataclass(frozen=True)
class Simulated:
    """A running simulated venue, as its first line tells it."""

    exchange: str
    base_url: str
    api_key: str
    api_secret: str
    passphrase: str
    control_url: str

    @property
    def credentials(self) -> Credentials:
        return Credentials(Secret(self.api_key), Secret(self.api_secret), Secret(self.passphrase))

    def settings(self, home: Path, requests_per_minute: int | None = REQUESTS_PER_MINUTE) -> Settings:
        """The defaults, this venue's address, and a budget (None: the default one)."""
        block = f"exchanges.{self.exchange}"
        overrides = [f"home={home}", f"{block}.base_url={self.base_url}"]
        if requests_per_minute is not None:
            overrides.append(f"{block}.requests_per_minute={requests_per_minute}")
        # Long enough for a hundred orders to rest side by side while the budget lets them out one by one.
        overrides.append("exchanges.bitflyer.order_lifetime_minutes=60")
        return load_settings(overrides=overrides, environ={})


@dataclass
class Market:
    """One symbol of one venue, the client that trades it, and the venue's own books."""

    venue: Simulated
    symbol: str
    exchange: Exchange
    clock: MarketClock
    settings: Settings

    async def truth(self) -> dict[str, Any]:
        """What the venue itself has on record."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.venue.control_url}/truth") as reply,
        ):
            reply.raise_for_status()
            told: dict[str, Any] = await reply.json()
            return told

    async def control(self, path: str, body: dict[str, Any]) -> None:
        """Do something at the venue as if by hand."""
        url = f"{self.venue.control_url}/{path}"
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as reply:
            assert reply.status == 200, await reply.text()

    async def resting_price(self) -> Decimal:
        """A buying price that rests: five in a hundred below the best bid."""
        instrument = await self.exchange.instrument(self.symbol)
        book = await self.exchange.order_book(self.symbol, 1)
        return instrument.passive_price(Side.BUY, book.bids[0].price * Decimal("0.95"))


@pytest.fixture(scope="session")
def simulated() -> Iterator[Callable[..., Simulated]]:
    """Start a venue, or give the one that runs already. Its market stands still until somebody sleeps."""
    running: dict[tuple[str, ...], tuple[subprocess.Popen[str], Simulated]] = {}

    def start(exchange: str, *options: str) -> Simulated:
        key = (exchange, *options)
        if key not in running:
            command = [sys.executable, "-m", "simvenue", exchange, "--clock", "stepped", *options]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=_ROOT)
            assert process.stdout is not None
            running[key] = (process, Simulated(**json.loads(process.stdout.readline())))
        return running[key][1]

    yield start
    for process, _ in running.values():
        process.terminate()
        process.wait(10)


@pytest.fixture(params=list(MARKETS))
async def market(
    request: pytest.FixtureRequest, simulated: Callable[..., Simulated], tmp_path: Path
) -> AsyncIterator[Market]:
    """Every market in turn, with nothing resting in it."""
    name = str(request.param)
    venue = simulated(name.partition("-")[0])
    # One home for all cases of a venue: the budget must outlive a case as the venue's own count does.
    settings = venue.settings(tmp_path.parent)
    clock = await MarketClock.connect(venue.control_url)
    exchange = create_exchange_client(venue.exchange, settings=settings, credentials=venue.credentials, clock=clock)
    yield Market(venue, MARKETS[name], exchange, clock, settings)
    await exchange.cancel_all(MARKETS[name])
    await exchange.close()
