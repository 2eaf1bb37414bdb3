"""What this process has open: for each exchange its settings, clock, ledger and warm client.

A trader keeps its session open for hours; a flow run in a worker opens one for its own length. Tasks take the
exchange's name and ask for the session here, so that no client and no secret is ever a task argument.
"""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from config.credentials import Credentials
from config.errors import ConfigurationError
from config.loader import canonical_exchange, load_settings
from config.settings import Endpoint, ExchangeName, ExchangeSettings, Settings
from exchanges import create_exchange_client, create_exchange_reader
from exchanges.adapter import TIMEFRAME_SECONDS
from exchanges.base import Exchange, ExchangeReader, KeyRights
from exchanges.errors import Busy, NoAnswer
from execution.connect import examine, resolve
from execution.desk import Desk
from execution.hold import beside_the_holder, hold_account, holder_elsewhere
from execution.paper import PaperExchange
from services.clock import Clock, WallClock, WallWatch, skew_bounds
from services.ledger import Ledger
from services.logs import configure_logging, mask_secrets
from services.secrets import is_from_provider
from strategies.registry import Strategy, StrategyError, strategy_from
from tasks.fingerprint import key_id, running_fingerprint
from trading.certificates import Fingerprint
from trading.instruments import Instrument, Kind
from trading.market import Candle
from trading.money import ZERO
from trading.sizing import Target
from trading.stages import PAPER

# A clock that drifts does so slowly, and the question costs a request; one that was set is asked about at once.
_SKEW_KEPT = timedelta(minutes=10)
_JUMP_SECONDS = 0.5
# Venues announce changes of their rules days before; a rule that changes without a word is seen within the hour.
_RULES_KEPT = timedelta(hours=1)
_RIGHTS_KEPT = timedelta(days=1)

log = logging.getLogger(__name__)


class Session:
    """One exchange as far as reading goes. A plain class: Prefect must not walk into it."""

    def __init__(
        self,
        name: ExchangeName,
        settings: Settings,
        ledger: Ledger,
        clock: Clock,
        reader: ExchangeReader,
        key_id: str = "unknown",
        *,
        keys_from_provider: bool = False,
    ) -> None:
        self.name = name
        self.settings = settings
        self.ledger = ledger
        self.clock = clock
        self.reader = reader
        self.wall_watch = WallWatch()
        self.key_id = key_id
        self.keys_from_provider = keys_from_provider  # not with the simulated venue itself
        self.rights: KeyRights | None = None  # as the venue last told them
        self._rights_at: datetime | None = None
        self._instrument: Instrument | None = None
        self._candles: tuple[datetime, tuple[Candle, ...]] | None = None
        self._skew: tuple[datetime, float, float | None] | None = None  # asked at, jumped by then, skew

    def running(self, instrument: Instrument | None = None) -> Fingerprint:
        """The fingerprint of what runs here, with the venue's rules as `instrument` or the last call tells them."""
        self._instrument = instrument or self._instrument
        return running_fingerprint(self.settings, self.name, self.key_id, self._instrument)

    async def listed(self) -> Instrument:
        """The traded instrument as the venue lists it, an hour ago at most. Raises BadRequest for a symbol that the
        venue lacks.

        Not as it is now: bitbank raises its smallest order for a while under load, which is no change of its rules.
        """
        known = await self.reader.instruments(read_since=self.clock.now() - _RULES_KEPT)
        return known.get(self.symbol) or await self.reader.instrument(self.symbol)

    async def key_rights(self) -> KeyRights | None:
        """What the key may do: asked when first wanted, and again after a day of market time.

        While the venue does not answer, what it said before; None where it never said anything.
        """
        now = self.clock.now()
        if self._rights_at is None or not timedelta(0) <= now - self._rights_at < _RIGHTS_KEPT:
            try:
                self.learn_rights(await self.reader.key_rights())
            except (Busy, NoAnswer) as error:
                log.warning("%s: what the key may do could not be read, asked again: %s", self.name, error)
        return self.rights

    @property
    def may_withdraw(self) -> bool:
        """Whether the venue has said that the key may withdraw."""
        return self.rights is not None and self.rights.can_withdraw is True

    def learn_rights(self, rights: KeyRights) -> None:
        """Keep what the venue has just told of the key."""
        self.rights, self._rights_at = rights, self.clock.now()

    async def clock_skew_seconds(self) -> float | None:
        """How far this machine's clock is off the venue's for certain, in seconds, ours minus theirs.

        Read every ten minutes, and at once when the wall clock has jumped. Of a venue that tells no time the `Date`
        headers of its answers are read; once the wall has jumped the most that they allow counts, and without any
        header the jump itself. None: nothing is known, and the wall has not jumped.
        """
        wall, jumped = self.wall_watch.wall, self.wall_watch.jumped_seconds()
        asked_at = wall.now()
        if not self._skew_still_holds(asked_at, jumped):
            theirs = await self.reader.server_time()
            heard_at = wall.now()
            skew = None if theirs is None else _certain_skew(asked_at, heard_at, theirs)
            self._skew = (asked_at, jumped, skew)
        assert self._skew is not None
        return self._skew[2] if self._skew[2] is not None else self._skew_by_dates(jumped)

    def _skew_by_dates(self, jumped: float) -> float | None:
        has_jumped = abs(jumped) > _JUMP_SECONDS
        bounds = skew_bounds(self.wall_watch.apart(), self.reader.dates_heard())
        if bounds is None:
            return jumped if has_jumped else None
        least, most = bounds
        if has_jumped:  # whoever set it has to be proved right
            return max(bounds, key=abs)
        return least if least > 0 else min(most, 0.0)

    def _skew_still_holds(self, now: datetime, jumped: float) -> bool:
        if self._skew is None:
            return False
        asked_at, jumped_then, _ = self._skew
        return timedelta(0) <= now - asked_at < _SKEW_KEPT and abs(jumped - jumped_then) <= _JUMP_SECONDS

    async def candles(self) -> tuple[Candle, ...]:
        """The last closed candles; those read less than `data.cache_ttl` ago, as long as no new one can have closed."""
        data, now = self.settings.data, self.clock.now()
        length = TIMEFRAME_SECONDS[data.timeframe]
        if data.cache_enabled and self._candles is not None:
            read_at, kept = self._candles
            fresh = timedelta(0) <= now - read_at < timedelta(seconds=data.cache_ttl)
            if fresh and now.timestamp() // length == read_at.timestamp() // length:
                return kept
        candles = await self.reader.candles(self.symbol, data.timeframe, data.candles)
        self._candles = (now, candles)
        return candles

    async def collateral(self, instrument: Instrument) -> Decimal | None:
        """What stands behind a perpetual's positions, in quote; None for spot. Costs 0 to 2 requests."""
        if instrument.kind is not Kind.PERPETUAL:
            return None
        apart = await self.reader.collateral()
        if instrument.quote in apart:
            return apart[instrument.quote]
        balance = (await self.reader.balances()).get(instrument.quote)
        return ZERO if balance is None else balance.total

    @property
    def configured(self) -> ExchangeSettings:
        return self.settings.exchanges[self.name]

    @property
    def account(self) -> str:
        return self.settings.account(self.name)

    @property
    def symbol(self) -> str:
        return self.settings.symbol(self.name)

    @property
    def is_simulated(self) -> bool:
        return self.configured.endpoint is Endpoint.SIMULATED


class TradingSession(Session):
    """One exchange with the right to write: the account is held by this process alone."""

    def __init__(
        self,
        name: ExchangeName,
        settings: Settings,
        ledger: Ledger,
        clock: Clock,
        desk: Desk,
        paper_desk: Desk,
        strategy: Strategy,
        key_id: str = "unknown",
        *,
        keys_from_provider: bool = False,
    ) -> None:
        super().__init__(name, settings, ledger, clock, desk.exchange, key_id, keys_from_provider=keys_from_provider)
        self.desk = desk
        self.paper_desk = paper_desk
        self.strategy = strategy
        self.credentials: Credentials | None = None  # in use, to see whether the secret has changed
        self.secret_read_at: datetime | None = None  # by the wall; None: at the next look
        self.key_trouble = ""  # why the key's secret may not be read now; "" while it may

    def desk_for(self, rung: str | None) -> Desk:
        """The desk on which orders of a rung are carried out: paper's own, or the venue's."""
        return self.paper_desk if rung == PAPER else self.desk

    async def take_up(self, client: Exchange, key_id: str, rights: KeyRights) -> None:
        """Go on with another key of the same account. Waits until no order is on its way; the old client is closed."""
        async with self.desk.turn, self.paper_desk.turn:
            old, self.desk.exchange, self.reader = self.desk.exchange, client, client
            if isinstance(self.paper_desk.exchange, PaperExchange):
                self.paper_desk.exchange.read_through(client)
            self.key_id = key_id
            self.learn_rights(rights)
        await old.close()


def _certain_skew(asked_at: datetime, heard_at: datetime, theirs: datetime) -> float:
    """Their clock was read at some moment between our two looks (waiting for the budget included): only what lies
    outside is skew.
    """
    if theirs < asked_at:
        return (asked_at - theirs).total_seconds()
    return min(0.0, (heard_at - theirs).total_seconds())


# Apart, so that a step that must not be able to place never gets the trader's client.
_readers: dict[str, Session] = {}
_traders: dict[str, TradingSession] = {}


def session(exchange: ExchangeName) -> Session:
    """The session in which this task reads: a reading one where it is open, else the trader's."""
    return _readers.get(exchange) or _traders[exchange]


def trading_session(exchange: ExchangeName) -> TradingSession:
    """The trading session that this process has open for an exchange."""
    return _traders[exchange]


def open_settings(exchange: ExchangeName) -> Settings | None:
    """The settings of the session that is open for an exchange, if one is."""
    opened = _readers.get(exchange) or _traders.get(exchange)
    return None if opened is None else opened.settings


@asynccontextmanager
async def reading(exchange: ExchangeName, settings: Settings | None = None) -> AsyncIterator[Session]:
    """Open an exchange for reading, or use the reading session that is open. Its client cannot place an order."""
    if exchange in _readers:
        yield _readers[exchange]
        return
    chosen = settings or _own_settings()
    async with _connected(exchange, chosen) as (ready, credentials, clock, ledger):
        reader = create_exchange_reader(
            exchange, settings=_within_the_limit(ready, exchange, ledger), credentials=credentials, clock=clock
        )
        try:
            _readers[exchange] = Session(
                exchange,
                ready,
                ledger,
                clock,
                reader,
                key_id(credentials.api_key),
                keys_from_provider=is_from_provider(chosen, exchange),
            )
            yield _readers[exchange]
        finally:
            _readers.pop(exchange, None)
            await reader.close()


def _within_the_limit(settings: Settings, exchange: ExchangeName, ledger: Ledger) -> Settings:
    """The settings with the budget that a trader on another host leaves, where one has the account: it counts apart."""
    if not holder_elsewhere(settings.home, ledger, settings.account(exchange), WallClock().now()):
        return settings
    return settings.model_copy(update={"execution": beside_the_holder(settings.execution)})


@asynccontextmanager
async def trading(exchange: ExchangeName, settings: Settings | None = None) -> AsyncIterator[TradingSession]:
    """Hold an exchange account for trading, or use the trading session that is open.

    Raises AccountHeld when another process trades the account, ConfigurationError, LedgerUnavailable.
    """
    if exchange in _traders:
        yield _traders[exchange]
        return
    chosen = settings or _own_settings()
    async with AsyncExitStack() as stack:
        ready, credentials, clock, ledger = await stack.enter_async_context(_connected(exchange, chosen))
        strategy = _strategy(ready)
        client = create_exchange_client(exchange, settings=ready, credentials=credentials, clock=clock)
        stack.push_async_callback(client.close)
        account = ready.account(exchange)
        on_paper = f"{account}:{PAPER}"
        desk = await _desk(stack, account, client, ready, clock, ledger)
        paper = PaperExchange(client, ledger, on_paper, await _paper_opening(ledger, on_paper, client))
        paper_desk = await _desk(stack, on_paper, paper, ready, clock, ledger)
        opened = TradingSession(
            exchange,
            ready,
            ledger,
            clock,
            desk,
            paper_desk,
            strategy,
            key_id(credentials.api_key),
            keys_from_provider=is_from_provider(chosen, exchange),
        )
        opened.credentials = credentials
        stack.push_async_callback(lambda: opened.desk.exchange.close())  # another one after a rotation
        _traders[exchange] = opened
        try:
            yield opened
        finally:
            _traders.pop(exchange, None)


async def examine_start(settings: Settings, exchanges: Sequence[ExchangeName]) -> None:
    """Raise ConfigurationError for what cannot work at these exchanges, before anything else is begun: keys that are
    missing, a simulated venue that does not answer, a symbol that the venue lacks. Costs 1 request each.
    """
    await asyncio.gather(*(examine(exchange, settings) for exchange in exchanges))


def examine_strategy(settings: Settings) -> None:
    """Raise ConfigurationError for a strategy that does not exist or does not take its parameters."""
    _strategy(settings)


def _strategy(settings: Settings) -> Strategy:
    try:
        strategy = strategy_from(settings.strategy.name, settings.strategy.parameters)
    except StrategyError as error:
        raise ConfigurationError(str(error)) from None

    def guarded(candles: Any, position: Decimal) -> Target:
        """A user's own code may say anything when it fails, and the text goes into Prefect's and our records."""
        try:
            target: object = strategy(candles, position)
        except SystemExit as error:  # it would end the trader past everything that takes its orders back
            raise StrategyError(f"{settings.strategy.name} wanted to leave the process (status {error.code})") from None
        except Exception as error:
            if (hidden := mask_secrets(str(error))) == str(error):
                raise
            raise StrategyError(f"{type(error).__name__}: {hidden}") from error
        if not isinstance(target, Target):
            raise StrategyError(f"{settings.strategy.name} gave a {type(target).__name__} instead of a Target")
        return target

    return guarded


async def _desk(
    stack: AsyncExitStack, account: str, exchange: Exchange, settings: Settings, clock: Clock, ledger: Ledger
) -> Desk:
    # In containers every trader is process 1 or 7, of a host whose name may come back: the end tells them apart.
    holder = f"{socket.gethostname()}:{os.getpid()} ({secrets.token_hex(2)})"
    lease = await stack.enter_async_context(hold_account(settings.home, account, ledger, holder))
    lifetime = settings.exchanges[canonical_exchange(exchange.name)].order_lifetime_minutes
    return Desk(
        account=account,
        exchange=exchange,
        ledger=ledger,
        clock=clock,
        lease=lease,
        settings=settings.execution,
        home=settings.home,
        order_lifetime_minutes=lifetime,
    )


async def _paper_opening(ledger: Ledger, account: str, client: Exchange) -> dict[str, Decimal]:
    """Paper begins with what the account really holds, once; later with what the ledger says it began with."""
    known = ledger.opening(account)
    if known is not None:
        return dict(known[0])
    return {asset: balance.free for asset, balance in (await client.balances()).items()}


def _own_settings() -> Settings:
    """Settings of a flow run that nobody handed any: it may be a worker's child, whose log is not masked yet."""
    settings = load_settings()
    configure_logging(settings)
    return settings


@asynccontextmanager
async def _connected(
    exchange: ExchangeName, settings: Settings
) -> AsyncIterator[tuple[Settings, Credentials, Clock, Ledger]]:
    ready, credentials, clock = await resolve(exchange, settings)
    ledger = Ledger(ready.ledger_url)
    try:
        yield ready, credentials, clock, ledger
    finally:
        ledger.close()
