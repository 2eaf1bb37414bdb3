"""An account at a simulated venue, prepared for a command: certified, with orders resting in it."""

import contextlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from config.loader import load_settings
from config.settings import ExchangeName, Settings
from execution.place import place
from services.ledger import Ledger, RungRecord
from services.simulated import RunningVenue
from tasks.session import TradingSession, trading
from tests.cli.command import control
from trading.identifiers import client_order_id
from trading.instruments import Side
from trading.orders import OrderIntent, OrderType, State, TimeInForce
from trading.risk import Approved


def settings_of(home: Path) -> Settings:
    return load_settings(environ={"CRYPTO_BOT_HOME": str(home)})


def certify(home: Path, exchange: ExchangeName, rung: str = "ramp_100", quantity: str = "0.01") -> None:
    """Give an exchange a rung, as if the ladder had been climbed."""
    now = datetime.now(UTC)
    settings = settings_of(home)
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        ledger.issue_rung(
            RungRecord(
                account=exchange,
                symbol=settings.symbol(exchange),
                rung=rung,
                max_quantity=Decimal(quantity),
                evidence={},
                approved_by="a test",
                issued_at=now - timedelta(minutes=1),
                expires_at=now + timedelta(days=400),
            )
        )


async def rest_orders(home: Path, venue: RunningVenue, *, ours: int, by_hand: int) -> None:
    """Let buy orders rest below the market: some placed by our own order path, some that the ledger does not know."""
    exchange: ExchangeName = venue.address.exchange  # type: ignore[assignment]
    async with trading(exchange, settings_of(home)) as here:
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
