"""Makes clients from settings: which venue and endpoint, whose keys, which budget. Nothing is sent here."""

import hashlib
import os
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, cast

from config.credentials import Credentials, credentials_from_environment
from config.loader import ConfigurationError, canonical_exchange, load_settings
from config.settings import Endpoint, ExchangeName, ExchangeSettings, Settings
from exchanges.budget import Need, RequestBudget, Window, requests_needed
from services.clock import Clock, WallClock

if TYPE_CHECKING:
    from types import ModuleType

    from exchanges.adapter import Reader
    from exchanges.base import Exchange, ExchangeReader
    from exchanges.transport import Wiring


def create_exchange_client(
    name: str,
    *,
    settings: Settings | None = None,
    credentials: Credentials | None = None,
    clock: Clock | None = None,
) -> "Exchange":
    """A client that reads and trades one venue account.

    What is not given is loaded: settings from their files, keys from the environment. Without a clock, market
    time is the wall clock; a stepped simulated venue needs its `MarketClock`. Raises ConfigurationError.
    """
    name = canonical_exchange(name)
    wiring = _wiring(name, settings, credentials, clock, may_trade=True)
    return cast("Exchange", _module(name).TRADER(wiring))


def create_exchange_reader(
    name: str,
    *,
    settings: Settings | None = None,
    credentials: Credentials | None = None,
    clock: Clock | None = None,
) -> "ExchangeReader":
    """A client that cannot place or cancel: its type has no such method, its transport sends no such call."""
    name = canonical_exchange(name)
    wiring = _wiring(name, settings, credentials, clock, may_trade=False)
    return cast("ExchangeReader", _module(name).READER(wiring))


def requests_per_cycle(name: str, calls: Mapping[str, float], settings: Settings) -> Need:
    """What `calls` (method name -> times a cycle) ask of the venue's budget with these settings."""
    name = canonical_exchange(name)
    execution = settings.execution
    return requests_needed(
        calls,
        reader_class(name).costs,
        cycle_seconds=execution.cycle_seconds,
        requests_per_minute=_exchange_settings(name, settings).requests_per_minute,
        margin=execution.rate_limit_margin,
        cancel_reserve=execution.cancel_reserve,
    )


def reader_class(name: str) -> "type[Reader]":
    """The adapter class of a venue; imports ccxt."""
    return cast("type[Reader]", _module(name).READER)


def _module(name: str) -> "ModuleType":
    # Importing a venue imports ccxt, which costs most of a second: not before a client is wanted.
    return import_module(f"exchanges.{name}")


def _exchange_settings(name: str, settings: Settings) -> ExchangeSettings:
    for known, found in settings.exchanges.items():
        if known == name:
            return found
    raise ConfigurationError(f"exchanges.{name} is missing from the configuration: add the block")


def _wiring(
    name: ExchangeName,
    settings: Settings | None,
    credentials: Credentials | None,
    clock: Clock | None,
    *,
    may_trade: bool,
) -> "Wiring":
    from exchanges.transport import Wiring

    settings = settings or load_settings()
    exchange = _exchange_settings(name, settings)
    base_url = _base_url(name, exchange)
    credentials = credentials or _from_environment(name, exchange.endpoint, settings)
    clock = clock or WallClock()
    per_minute = Window(f"{name} a minute", exchange.requests_per_minute, 60.0)
    return Wiring(
        clock=clock,
        budget=_budget(name, settings, per_minute, clock),
        per_minute=per_minute,
        credentials=credentials,
        base_url=base_url,
        hostname=exchange.hostname,
        testnet=exchange.endpoint is Endpoint.TESTNET,
        may_trade=may_trade,
        timeout_seconds=settings.execution.timeout,
        attempts=settings.execution.retry_attempts,
        retry_delay_seconds=settings.execution.retry_delay,
        order_lifetime_minutes=exchange.order_lifetime_minutes,
    )


def _from_environment(name: str, endpoint: Endpoint, settings: Settings) -> Credentials:
    if settings.secrets.provider != "env":
        raise ConfigurationError(
            f"secrets.provider: is {settings.secrets.provider}, so the environment is not looked at: "
            f'give the client credentials=services.secrets.credentials(settings, "{name}")'
        )
    return credentials_from_environment(name, endpoint, os.environ)


def _base_url(name: str, exchange: ExchangeSettings) -> str | None:
    """The configured host root. Raises ConfigurationError where `simulated` would end at the live host."""
    if exchange.endpoint is Endpoint.SIMULATED and exchange.base_url is None:
        raise ConfigurationError(
            f"exchanges.{name}.base_url is missing for the simulated endpoint: start "
            f"`crypto-bot venue {name}` and set it to the base_url of its first line"
        )
    return exchange.base_url


def _budget(name: ExchangeName, settings: Settings, per_minute: Window, clock: Clock) -> RequestBudget:
    """The budget file of the venue's host, under home: accounts share it and count apart in it.

    A home has one account at a venue. Whatever key opens it, the venue counts the account: a rotated key begins with
    what was sent under the one before it, and keeps the quiet that the venue has asked for.
    """
    client = reader_class(name).client_class
    windows = [per_minute, *client.windows]
    for route in client.routes.values():
        windows += route.windows
    exchange = _exchange_settings(name, settings)
    host = exchange.base_url or exchange.hostname or exchange.endpoint.value
    fingerprint = hashlib.sha256(host.encode()).hexdigest()[:8]
    return RequestBudget(
        settings.home / "budget" / f"{name}-{fingerprint}.requests",
        windows,
        clock,
        account=settings.account(name),
        margin=settings.execution.rate_limit_margin,
        cancel_reserve=settings.execution.cancel_reserve,
    )
