"""Where an exchange is, which keys open it, and whose time counts there."""

import asyncio

import aiohttp

from config.credentials import Credentials
from config.errors import ConfigurationError
from config.secret import Secret
from config.settings import Endpoint, ExchangeName, Settings
from exchanges import create_exchange_reader
from exchanges.errors import BadRequest, VenueError
from services.clock import Clock, MarketClock, WallClock
from services.secrets import read_credentials
from services.simulated import find_venue

_CLOCK_SECONDS = 5.0  # a simulated venue on this machine answers in milliseconds


async def resolve(exchange: ExchangeName, settings: Settings) -> tuple[Settings, Credentials, Clock]:
    """Find out where the exchange is, which keys open it and whose time counts there.

    A simulated venue without `base_url` is looked for among those that run under this home. Raises
    ConfigurationError.
    """
    configured = settings.exchanges[exchange]
    if configured.endpoint is not Endpoint.SIMULATED:
        return settings, await read_credentials(settings, exchange), WallClock()
    if configured.base_url is not None:
        credentials = await read_credentials(settings, exchange)
        control_url = configured.control_url or f"{configured.base_url.rstrip('/')}/_control"
        return settings, credentials, await _market_clock(exchange, control_url)
    address = find_venue(settings.home, exchange)
    if address is None:
        raise ConfigurationError(
            f"exchanges.{exchange}: no simulated venue is running under {settings.home}; "
            f"start one with `crypto-bot venue {exchange}`, or set base_url",
            section="simulated-venue",
        )
    allowed = max(configured.requests_per_minute, address.requests_per_minute or 0)
    found = configured.model_copy(
        update={"base_url": address.base_url, "control_url": address.control_url, "requests_per_minute": allowed}
    )
    ready = settings.model_copy(update={"exchanges": {**settings.exchanges, exchange: found}})
    credentials = Credentials(Secret(address.api_key), Secret(address.api_secret), Secret(address.passphrase))
    return ready, credentials, await _market_clock(exchange, address.control_url)


async def examine(exchange: ExchangeName, settings: Settings) -> None:
    """Raise ConfigurationError for keys that are missing, a simulated venue that does not answer, and a symbol that
    the venue lacks; what a venue cannot tell now is left for later. Costs the request for its instruments.
    """
    ready, credentials, clock = await resolve(exchange, settings)
    reader = create_exchange_reader(exchange, settings=ready, credentials=credentials, clock=clock)
    try:
        await reader.instrument(ready.symbol(exchange))
    except BadRequest as error:
        set_by_data = settings.data.symbol is not None and settings.data.exchange == exchange
        raise ConfigurationError(f"{'data' if set_by_data else f'exchanges.{exchange}'}.symbol: {error}") from None
    except VenueError:
        return  # whoever asks next says so, in its own words
    finally:
        await reader.close()


async def _market_clock(exchange: ExchangeName, control_url: str) -> Clock:
    try:
        async with asyncio.timeout(_CLOCK_SECONDS):
            return await MarketClock.connect(control_url)
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"exchanges.{exchange}.base_url: no simulated venue answers at {control_url} ({type(error).__name__}); "
            f"start one with `crypto-bot venue {exchange}`",
            section="simulated-venue",
        ) from None
