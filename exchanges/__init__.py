"""Talks to the venues through ccxt: our types in, our types out.

Names are loaded when they are first used: importing this package costs nothing, making a client imports ccxt.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exchanges.base import Exchange, ExchangeReader
    from exchanges.budget import urgent
    from exchanges.factory import create_exchange_client, create_exchange_reader, requests_per_cycle
    from exchanges.versions import ApiVersionManager

__all__ = [
    "ApiVersionManager",
    "Exchange",
    "ExchangeReader",
    "create_exchange_client",
    "create_exchange_reader",
    "requests_per_cycle",
    "urgent",
]

_HOMES = {
    "ApiVersionManager": "versions",
    "Exchange": "base",
    "ExchangeReader": "base",
    "create_exchange_client": "factory",
    "create_exchange_reader": "factory",
    "requests_per_cycle": "factory",
    "urgent": "budget",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"exchanges.{_HOMES[name]}"), name)
