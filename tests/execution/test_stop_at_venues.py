"""The emergency stop against the four simulated venues while their cancels fail: adapters, wire and ledger are real."""

import contextlib
from collections.abc import AsyncIterator
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
from execution.stop import StopReport, StopTarget, stop_all
from services.clock import Clock, MarketClock
from services.ledger import Ledger
from services.simulated import VenueAddress, simulated_venues
from tests.execution.cancel_proxy import CancelProxy, cancel_proxy
from tests.execution.test_against_venues import EXCHANGES
from trading.instruments import Side


@dataclass
class At:
    """A running venue, the proxy before it, our client through the proxy, and an account in the ledger."""

    address: VenueAddress
    proxy: CancelProxy
    settings: Settings
    exchange: Exchange
    ledger: Ledger
    clock: Clock
    home: Path

    @property
    def symbol(self) -> str:
        return self.settings.symbol(self.exchange.name)  # type: ignore[arg-type]

    async def rest(self, orders: int, symbol: str = "") -> None:
        """Orders that the ledger does not know: by hand."""
        symbol = symbol or self.symbol
        instrument = await self.exchange.instrument(symbol)
        bid = (await self.exchange.ticker(symbol)).bid
        for number in range(orders):
            price = instrument.passive_price(Side.BUY, bid * (Decimal("0.97") - number * Decimal("0.0005")))
            asked = {"symbol": symbol, "side": "buy", "type": "limit", "price": str(price)}
            asked["quantity"] = str(instrument.smallest_quantity(price))
            await self.control("orders", asked)

    async def control(self, path: str, body: dict[str, Any] | None = None) -> Any:
        url = f"{self.address.control_url}/{path}"
        async with aiohttp.ClientSession() as session, session.request("POST" if body else "GET", url, json=body) as it:
            assert it.status == 200, await it.text()
            return await it.json()

    async def resting(self) -> int:
        orders = (await self.control("truth"))["orders"]
        return sum(order["status"] in ("open", "partially_filled") for order in orders)

    async def stop(self) -> StopReport:
        target = StopTarget(self.exchange.name, self.exchange, (self.symbol,), clock=self.clock)
        return await stop_all([target], self.ledger, self.clock, "ann", "drill", home=self.home)


@contextlib.asynccontextmanager
async def at(exchange: str, home: Path, fails: str = "", times: int | None = None) -> AsyncIterator[At]:
    with simulated_venues(home, {exchange: ("--clock", "stepped")}) as running:  # type: ignore[dict-item]
        address = running[exchange].address  # type: ignore[index]
        with cancel_proxy(address.base_url, fails, times) as proxy:
            overrides = [
                f"home={home}",
                f"exchanges.{exchange}.base_url={proxy.url}",
                f"exchanges.{exchange}.control_url={address.control_url}",
                "execution.timeout=1",
            ]
            settings = load_settings(overrides=overrides, environ={})
            clock = await MarketClock.connect(address.control_url)
            credentials = Credentials(Secret(address.api_key), Secret(address.api_secret), Secret(address.passphrase))
            client = create_exchange_client(exchange, settings=settings, credentials=credentials, clock=clock)
            ledger = Ledger(settings.ledger_url)
            try:
                yield At(address, proxy, settings, client, ledger, clock, home)
            finally:
                await client.close()
                ledger.close()


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_with_cancels_answered_502_for_ten_seconds_it_still_ends_at_zero(exchange: str, tmp_path: Path) -> None:
    async with at(exchange, tmp_path, "502") as here:
        await here.rest(20)
        began = here.clock.now()
        really_sleep = here.clock.sleep

        async def sleep(seconds: float) -> None:
            await really_sleep(seconds)
            if (here.clock.now() - began).total_seconds() >= 10:
                here.proxy.fails = ""

        here.clock.sleep = sleep  # type: ignore[method-assign]
        report = await here.stop()
        assert report.clean, report
        assert len(report.venues[0].cancelled) == 20
        assert await here.resting() == 0
        assert (here.clock.now() - began).total_seconds() >= 10


@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_a_cancel_that_hangs_is_given_up_after_the_timeout_and_repeated(exchange: str, tmp_path: Path) -> None:
    async with at(exchange, tmp_path, "hang", times=1) as here:
        await here.rest(3)
        report = await here.stop()
        assert report.clean, report
        assert await here.resting() == 0
        assert any("no answer" in problem for problem in report.venues[0].problems)


async def test_more_orders_than_one_batch_or_one_page_holds_are_all_cancelled(tmp_path: Path) -> None:
    async with at("okcoinjp", tmp_path) as here:  # lists 100 a page, cancels 20 a request
        await here.rest(145)
        report = await here.stop()
        assert report.clean, report
        assert len(report.venues[0].cancelled) == 145
        assert await here.resting() == 0


@pytest.mark.parametrize("exchange", ["bybit", "bitflyer", "okcoinjp"])  # bitbank takes 30 a pair
async def test_forty_five_orders_are_gone_and_proved_gone(exchange: str, tmp_path: Path) -> None:
    async with at(exchange, tmp_path) as here:
        await here.rest(45)
        report = await here.stop()
        assert report.clean, report
        assert len(report.venues[0].cancelled) == 45
        assert await here.resting() == 0
