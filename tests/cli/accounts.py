"""An account at a simulated venue, prepared for a command: certified, with orders resting in it."""

import asyncio
import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from config.loader import load_settings
from config.settings import ExchangeName, Settings
from execution.place import place
from services.ledger import Ledger, RungRecord
from services.simulated import RunningVenue
from tasks.session import TradingSession, reading, trading
from tests.certificates import certify as certified
from tests.cli.command import control
from trading.certificates import Fingerprint
from trading.identifiers import client_order_id
from trading.instruments import Side
from trading.orders import OrderIntent, OrderType, State, TimeInForce
from trading.risk import Approved


def settings_of(home: Path) -> Settings:
    return load_settings(environ={"CRYPTO_BOT_HOME": str(home)})


def certify(home: Path, exchange: ExchangeName, *words: str, files: Sequence[Path] = ()) -> None:
    """Give an exchange its top rung, as if the ladder had been climbed with what runs now; its venue must be running.

    `words` and `files`: the settings with which the command under test will run (`--set=key=value`).
    """
    settings = load_settings(files, [word.removeprefix("--set=") for word in words], {"CRYPTO_BOT_HOME": str(home)})
    with ThreadPoolExecutor(1) as apart:  # a test may have a running event loop
        running, now = apart.submit(asyncio.run, _running(exchange, settings)).result()
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        ledger.issue_rung(
            RungRecord(
                account=exchange,
                symbol=settings.symbol(exchange),
                rung="ramp_100",
                max_quantity=Decimal("0.01"),
                evidence={},
                approved_by="a test",
                issued_at=now - timedelta(minutes=1),
                expires_at=now + timedelta(days=400),
                fingerprint=asdict(running),
            )
        )


async def _running(exchange: ExchangeName, settings: Settings) -> tuple[Fingerprint, datetime]:
    async with reading(exchange, settings) as here:
        return here.running(await here.listed()), here.clock.now()


async def rest_orders(home: Path, venue: RunningVenue, *, ours: int, by_hand: int) -> None:
    """Let buy orders rest below the market: some placed by our own order path, some that the ledger does not know."""
    exchange: ExchangeName = venue.address.exchange  # type: ignore[assignment]
    async with trading(exchange, settings_of(home)) as here:
        if here.ledger.rung(here.account, here.symbol) is None:
            certified(here.ledger, here.account, here.symbol, here.clock.now())
        instrument = await here.reader.instrument(here.symbol)
        bid = (await here.reader.ticker(here.symbol)).bid
        for number in range(ours + by_hand):
            price = instrument.passive_price(Side.BUY, bid * (Decimal("0.99") - number * Decimal("0.0005")))
            quantity = instrument.smallest_quantity(price)
            if number < ours:
                await _place(here, number, price, quantity)
            else:
                control(
                    venue.address.control_url,
                    "orders",
                    symbol=here.symbol,
                    side="buy",
                    type="limit",
                    price=str(price),
                    quantity=str(quantity),
                )


async def _place(here: TradingSession, number: int, price: Decimal, quantity: Decimal) -> None:
    intent = OrderIntent(
        client_order_id=client_order_id(here.name, "test", number),
        venue=here.name,
        symbol=here.symbol,
        side=Side.BUY,
        type=OrderType.LIMIT,
        quantity=quantity,
        price=price,
        time_in_force=TimeInForce.GOOD_TILL_CANCELLED,
        decision_price=price,
        decided_at=here.clock.now(),
        reason="a test",
    )
    order = await place(here.desk, Approved(intent, "minimal"), cycle_id=None, known_ids=frozenset())
    assert order.state is State.OPEN, order
