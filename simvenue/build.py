"""Puts a venue together: its wire, its market data, its clock, its credentials."""

from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Protocol, cast

from simvenue.candles import (
    DAY,
    MINUTE,
    CandleSource,
    FileCandles,
    GeneratedCandles,
    bar_length,
    read_candles,
)
from simvenue.clock import VenueClock
from simvenue.values import Candle, Secrets, VenueSpec
from simvenue.venue import Venue
from simvenue.wire import Wire

# A module is imported only when its venue starts.
WIRES = {
    "bybit": "simvenue.bybit",
    "bitbank": "simvenue.bitbank",
    "bitflyer": "simvenue.bitflyer",
    "okcoinjp": "simvenue.okcoinjp",
}
ALIASES = {"okj": "okcoinjp"}

GENERATED_START_MS = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp() * 1000)
REPLAY_HISTORY = 240 * MINUTE


class WireClass(Protocol):
    """A wire's class: made with a venue, and knows the facts before there is one."""

    spec: VenueSpec

    def __call__(self, venue: Venue) -> Wire: ...


def wire_class(exchange: str) -> WireClass:
    """Find a venue's wire. Raises ValueError for a venue that is not simulated."""
    name = ALIASES.get(exchange, exchange)
    if name not in WIRES:
        raise ValueError(f"unknown exchange {exchange}: simulated are {', '.join(WIRES)}")
    return cast(WireClass, import_module(WIRES[name]).WIRE)


def secrets_for(spec: VenueSpec, seed: int) -> Secrets:
    """Make the credentials of a venue: the same for the same seed, and plainly not real ones."""
    rng = Random(f"{seed}:{spec.name}:secrets")
    key, secret, passphrase = (f"{rng.getrandbits(bits):0{bits // 4}x}" for bits in (64, 128, 32))
    return Secrets(
        api_key=f"sim-{spec.name}-key-{key}",
        api_secret=f"sim-{spec.name}-secret-{secret}",
        passphrase=f"sim-{spec.name}-pass-{passphrase}" if spec.needs_passphrase else "",
    )


def build_venue(spec: VenueSpec, *, mode: str, candles: Path | None, seed: int) -> Venue:
    """Make a venue on a "wall" or "stepped" clock, replaying `candles` or generating.

    Raises ValueError (one line) for a candle file that cannot be used.
    """
    bars = read_candles(candles) if candles is not None else []
    wall_now = VenueClock("wall").now_ms() // MINUTE * MINUTE
    start, shift = GENERATED_START_MS if mode == "stepped" else wall_now, 0
    if bars:
        recorded = _replay_start(bars, mode)
        if mode == "wall":  # by whole bars: an hour of the file is served as one hour
            shift = (wall_now - recorded) // bar_length(bars) * bar_length(bars)
        else:
            start = recorded
    clock = VenueClock(mode, start)
    replayed = spec.pairs[0].base
    sources: dict[str, CandleSource] = {}
    for pair in spec.pairs:
        if bars and pair.base == replayed:
            sources[pair.symbol] = FileCandles(bars, pair, seed, shift)
        else:
            sources[pair.symbol] = GeneratedCandles(pair, seed, start, quiet=mode == "wall", daily_gap=spec.daily_gap)
    return Venue(spec, clock, secrets_for(spec, seed), sources, seed=seed)


def _replay_start(bars: list[Candle], mode: str) -> int:
    """Find where a replay begins: at a bar of the file, with history before it, most of it still to come."""
    span = bars[-1].open_ms + bar_length(bars) - bars[0].open_ms
    history = min(DAY, span // 2) if mode == "wall" else min(REPLAY_HISTORY, span // 10)
    earliest = bars[0].open_ms + history
    bar = next((bar for bar in bars if bar.open_ms >= earliest), bars[-1])
    return bar.open_ms
