"""What a schedule is given: a home and a ledger that are as new, settings, a venue of its own, a client that opens no
socket.
"""

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from config.credentials import Credentials
from config.loader import load_settings
from config.secret import Secret
from config.settings import ExchangeName, Settings
from exchanges import create_exchange_client
from services.ledger import Ledger
from simvenue.build import secrets_for, wire_class
from simvenue.candles import CandleSource, GeneratedCandles
from simvenue.clock import VenueClock
from simvenue.values import VenueSpec
from simvenue.venue import Venue
from tasks import session as sessions
from tests.simulation.connection import Connection, Session
from tests.simulation.life import Life
from tests.simulation.virtual_time import VirtualClock, VirtualLoop
from trading.instruments import Instrument

EXCHANGES: tuple[ExchangeName, ...] = ("bybit", "bitbank", "bitflyer", "okcoinjp")
SYMBOLS = {
    "bybit": ("BTC/USDT", "BTC/USDT", "BTC/USDT:USDT"),
    "bitbank": ("BTC/JPY",),
    "bitflyer": ("BTC/JPY", "BTC/JPY", "BTC/JPY:JPY"),
    "okcoinjp": ("BTC/JPY",),
}
STARTS = 1_767_571_200_000  # 2026-01-05 00:00 UTC, where a stepped venue begins


class Room:
    """What schedules of one process share: a home and an open ledger, both as new at the start of each."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")
        self.home = Path(tempfile.mkdtemp(prefix="crypto-bot-simulation-", dir=memory if memory.is_dir() else None))
        template = self.home / "template.db"
        Ledger(f"sqlite:///{template}").close()
        self._template = sqlite3.connect(template)
        self.ledger = Ledger(f"sqlite:///{self.home / 'ledger.db'}")

    def clear(self) -> None:
        """Forget the schedule before."""
        for name in ("budget", "latches", "locks"):
            shutil.rmtree(self.home / name, ignore_errors=True)
        connection = self.ledger._database._engine.raw_connection()
        try:
            self._template.backup(connection.driver_connection)  # type: ignore[arg-type]
        finally:
            connection.close()

    def close(self) -> None:
        self.ledger.close()
        self._template.close()
        shutil.rmtree(self.home, ignore_errors=True)


@contextmanager
def a_room() -> Iterator[Room]:
    """A room for any number of schedules."""
    room = Room()
    try:
        yield room
    finally:
        sessions._traders.clear()  # or a later test of this process would be given the simulation's session
        room.close()


@cache
def settings_of(home: Path, exchange: ExchangeName, symbol: str, style: str) -> Settings:
    risk = {
        "repeated_execution_limit": 1000,
        "refused_in_a_row_limit": 40,
        "max_orders_per_day": 10_000,
        "max_drawdown": 1,
    }
    losses = [f"risk.max_daily_loss.{quote}=1000000" for quote in ("JPY", "USDT")]
    return load_settings(
        environ={},
        overrides=[
            f"home={home}",
            f"exchanges.{exchange}.base_url=http://127.0.0.1:9",
            f"exchanges.{exchange}.symbol={symbol}",
            f"data.exchange={exchange}",
            f"execution.order_style={style}",
            "data.candles=5",
            *[f"risk.{name}={value}" for name, value in risk.items()],
            *losses,
        ],
    )


@cache
def _candles(exchange: str, seed: int) -> dict[str, CandleSource]:
    """Bars are facts that nobody changes, and dear to make: schedules with the same market share them."""
    spec = wire_class(exchange).spec
    return {
        pair.symbol: GeneratedCandles(pair, seed, STARTS, quiet=False, daily_gap=spec.daily_gap) for pair in spec.pairs
    }


def new_venue(spec: VenueSpec, seed: int) -> Venue:
    """As simvenue.build.build_venue makes a stepped one."""
    return Venue(spec, VenueClock("stepped", STARTS), secrets_for(spec, seed), _candles(spec.name, seed), seed=seed)


@cache
def listed(exchange: ExchangeName, symbol: str, home: Path) -> Instrument:
    """The instrument as our adapter reads it at a venue of the exchange, without dice: what a certificate is for."""
    loop = VirtualLoop(STARTS)
    try:
        asyncio.set_event_loop(loop)
        wire_type = wire_class(exchange)
        venue = new_venue(wire_type.spec, 0)
        connection = Connection(venue, wire_type(venue), "published", Random(0), lambda what: None)
        connection.latency = False
        client = new_client(exchange, settings_of(home, exchange, symbol, "taker"), venue, VirtualClock(loop))
        client.client.session = Session(connection, Life("the examiner", Random(0), lambda what: None, 0.0))
        return loop.run_until_complete(client.instrument(symbol))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def new_client(name: ExchangeName, settings: Settings, venue: Venue, clock: Any) -> Any:
    """A client of ours that opens no socket; its session is still to be given."""
    secrets = venue.secrets
    keys = Credentials(Secret(secrets.api_key), Secret(secrets.api_secret), Secret(secrets.passphrase))
    client: Any = create_exchange_client(name, settings=settings, credentials=keys, clock=clock)
    client.client.own_session = False
    client.client.ssl_context = False  # nothing is encrypted on no way
    return client
