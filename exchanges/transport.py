"""One way to the wire: the mixin that stands before every ccxt class we use.

    class BybitClient(Transport, ccxt.bybit):
        venue = "bybit"
        routes = routes(Route("GET", "v5/market/time", "public"), ...)   # nothing else can be called
        errors = ERRORS                                 # the venue's code -> a class of exchanges.errors
        def read_envelope(self, route, body, decoded): ...     # the venue's own words, or None

    client = connect(BybitClient, wiring)        # cheap, opens nothing; `wiring` is made by exchanges.factory
    reply = await client.call(TIME, {...})       # decoded JSON; numbers with a fraction arrive as Decimal
    await client.close()

`call` takes a `Route`, one of the class's `routes`: a call that is not listed (a withdrawal, an amend) cannot
leave, and on a client made with `may_trade=False` nothing leaves that is not a READ. Each request, in this
order: waits for the shared budget (a CANCEL may use its reserve), is signed only then (a signature grows
old), is sent once, is timed, and its answer is judged once: a 2xx that is not the venue's envelope is
NoAnswer, an error code is looked up in `errors`, and a code that no table knows is NoAnswer unless the route
is a READ. "Too many requests" makes all processes of the account quiet, for as long as the venue tells or longer
(`asked_to_wait`): a read then waits, an order is not sent, a cancel leaves at a slow pace. READ routes are
repeated on NoAnswer and Busy (not when told to slow down), `attempts` times in all, and asked once a call while
the venue is in trouble; PLACE and CANCEL are sent exactly once, and a PLACE soon or not at all. ccxt's own limiter
and its retries are never reached.

Windows: `Transport.windows` (venue-wide facts) and the configured requests a minute count for every request,
`Route.windows` for that route; override `windows_for` where the parameters decide. Signatures use the wall
clock, waiting the given clock.
"""

import asyncio
import json
import logging
import time
from abc import ABCMeta, abstractmethod
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import aiohttp

from exchanges.base import Traffic
from exchanges.budget import NoRoom, RequestBudget, Window
from exchanges.errors import (
    AuthenticationError,
    BadRequest,
    Busy,
    NoAnswer,
    OrderNotFound,
    PermissionDenied,
    RateLimitExceeded,
    Refused,
    VenueError,
)
from exchanges.leaving import late_by
from exchanges.local_address import local_address_towards
from exchanges.wire_log import tell_verbose, wire_log
from services.clock import Clock, DateHeard, seconds_since_boot

if TYPE_CHECKING:
    from config.credentials import Credentials


class Purpose(StrEnum):
    READ = "read"
    PLACE = "place"
    CANCEL = "cancel"


@dataclass(frozen=True)
class Route:
    """One call of a venue: ccxt's path and api name, what it is for, and the venue's own limits for it."""

    method: str
    path: str
    api: str = "private"
    purpose: Purpose = Purpose.READ
    windows: tuple[Window, ...] = ()

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def routes(*listed: Route) -> Mapping[tuple[str, str, str], Route]:
    """The table that a client class keeps: (api, method, path) -> route."""
    return {(route.api, route.method, route.path): route for route in listed}


@dataclass(frozen=True)
class Envelope:
    """What the venue itself said: `ok`, or its error code and message."""

    ok: bool
    code: str = ""
    message: str = ""


@dataclass(frozen=True)
class WaitWish:
    """What goes with "too many requests": seconds to wait (0: not told), and whether every account here is meant."""

    seconds: float = 0.0
    whole_address: bool = False


def seconds_of(text: str | None) -> float:
    """Seconds that a header tells; 0 for one that is absent or no such number (a date: our own time holds)."""
    try:
        told = float(text or 0)
    except ValueError:
        return 0.0
    return told if 0 <= told < float("inf") else 0.0


@dataclass(frozen=True)
class Wiring:
    """Everything that a client needs from outside; `exchanges.factory` fills it from settings."""

    clock: Clock
    budget: RequestBudget
    per_minute: Window
    credentials: "Credentials"
    base_url: str | None = None  # host root, for every host of the venue
    hostname: str | None = None
    testnet: bool = False
    may_trade: bool = False
    timeout_seconds: float = 10.0
    attempts: int = 3
    retry_delay_seconds: float = 1.0
    order_lifetime_minutes: int = 60  # bitFlyer: bounds the life of an order that nobody knows of
    options: Mapping[str, Any] = field(default_factory=dict)  # further ccxt constructor keys


# An order leaves within this time of being asked for, or never: an emergency stop, and the search for a lost order,
# both reckon from the moment at which it was written down as sent.
LONGEST_ORDER_WAIT = timedelta(seconds=2)


_log = logging.getLogger(__name__)


class CallNotAllowed(RuntimeError):
    """A call that this client was never meant to make: a defect of ours, stopped before it left."""


_DATES = 20  # newest `Date` headers that are kept

_current: ContextVar[Route] = ContextVar("route of the request under way")
_asked_at: ContextVar[float] = ContextVar("when the request under way was sent, in seconds_since_boot")
_Client = TypeVar("_Client", bound="Transport")

if TYPE_CHECKING:
    _CcxtClass = Any
else:
    _CcxtClass = object


class Transport(_CcxtClass, metaclass=ABCMeta):
    """Comes before the ccxt class among the bases; the module's docstring says what a venue's class gives."""

    venue: ClassVar[str] = ""
    routes: ClassVar[Mapping[tuple[str, str, str], Route]] = {}
    errors: ClassVar[Mapping[str, type[VenueError]]] = {}
    windows: ClassVar[tuple[Window, ...]] = ()
    # What a status means when the answer is not in the venue's form: said before an order is looked at.
    http_errors: ClassVar[Mapping[int, type[VenueError]]] = {
        401: AuthenticationError,
        403: PermissionDenied,
        429: RateLimitExceeded,
    }
    # ccxt waits a quarter of a second in close(); the emergency stop has no use for that.
    timeout_on_exit = 0
    # ccxt writes keys and signatures into its log at DEBUG.
    logger = wire_log

    wiring: Wiring
    _in_trouble: bool = False  # the last call that was repeated to its end came to nothing

    @abstractmethod
    def read_envelope(self, route: Route, body: str, decoded: object) -> Envelope | None:
        """The venue's own words in an answer, or None when the answer is not in the venue's form."""

    def windows_for(self, route: Route, params: Any) -> Sequence[Window]:
        """The route's own limits; override where the parameters decide."""
        return route.windows

    async def call(self, route: Route, params: Any = None) -> Any:
        """Make one call and return the decoded answer. Raises the errors of `exchanges.errors`."""
        return await self.request(route.path, [route.api], route.method, {} if params is None else params)

    def traffic(self) -> Traffic:
        """Requests sent by this client so far and the newest latencies."""
        return Traffic(
            requests=self._sent,
            errors=self._failed.total(),
            latencies_ms=tuple(self._latencies_ms),
            errors_by_kind=dict(self._failed),
            bytes_sent=self._bytes_sent,
            bytes_received=self._bytes_received,
            budget_used=self._budget_used(),
        )

    def _budget_used(self) -> float | None:
        budget, window = self.wiring.budget, self.wiring.per_minute
        try:
            return budget.used(window) / budget.allowed(window, cancelling=True)
        except OSError:
            return None  # a full disk: what is only shown may end no cycle

    async def fetch2(
        self, path: str, api: Any = "public", method: str = "GET", params: Any = None, config: Any = None
    ) -> Any:
        """ccxt's single gate for requests, made ours: its limiter and its retries (POSTs included) stay
        outside.
        """
        name = api if isinstance(api, str) else api[0]
        route = self.routes.get((name, method, path))
        if route is None:
            raise CallNotAllowed(f"{self.venue}: {method} {path} is not among the calls that this client makes")
        if route.purpose is not Purpose.READ and not self.wiring.may_trade:
            raise CallNotAllowed(f"{self.venue}: {route} cannot be sent, this client only reads")
        # A venue that has failed a whole call is asked once a call until it answers: trouble must not raise our rate.
        attempts = self.wiring.attempts if route.purpose is Purpose.READ and not self._in_trouble else 1
        for attempt in range(1, attempts):
            try:
                return await self._send(route, params)
            except RateLimitExceeded:
                self._in_trouble = True  # asking again at once is what it complains of
                raise
            except (NoAnswer, Busy):
                await self.wiring.clock.sleep(self.wiring.retry_delay_seconds * 2 ** (attempt - 1))
        try:
            answer = await self._send(route, params)
        except (NoAnswer, Busy):
            self._in_trouble = self._in_trouble or route.purpose is Purpose.READ
            raise
        self._in_trouble = False
        return answer

    async def room_for_an_order(self) -> None:
        """Return when the budget has room for an order, so that none is written down and then kept waiting.

        Raises RateLimitExceeded while the venue wants quiet: by its end the order would rest on old prices.
        """
        route = next(each for each in self.routes.values() if each.purpose is Purpose.PLACE)
        try:
            await self.wiring.budget.room(self._windows(route, {}))
        except NoRoom as error:
            raise RateLimitExceeded(self.venue, f"{route}: not sent: {error}") from error

    async def local_address(self, route: Route) -> str:
        """This machine's address on the way to where `route` is asked for, "" where there is none. Sends nothing."""
        return await local_address_towards(self.sign(route.path, [route.api], route.method, {})["url"])

    def _windows(self, route: Route, params: Any) -> tuple[Window, ...]:
        return (self.wiring.per_minute, *self.windows, *self.windows_for(route, params))

    async def _send(self, route: Route, params: Any) -> Any:
        if route.api == "private" and not all(
            getattr(self, name) for name, needed in self.requiredCredentials.items() if needed
        ):
            raise AuthenticationError(self.venue, f"{route}: a key, its secret or its passphrase is missing")
        windows = self._windows(route, params)
        if route.purpose is Purpose.PLACE:
            try:
                await self.wiring.budget.acquire(windows, at_most=LONGEST_ORDER_WAIT.total_seconds())
            except NoRoom as error:
                raise Busy(self.venue, f"{route}: not sent, our own request budget is used up: {error}") from error
            if (seconds := late_by()) > 0:
                raise Busy(self.venue, f"{route}: not sent, this process was held up for {seconds:.0f} s before it")
        else:
            await self.wiring.budget.acquire(windows, cancelling=route.purpose is Purpose.CANCEL)
        signed = self.sign(route.path, [route.api], route.method, {} if params is None else params)
        _current.set(route)
        return await self.fetch(signed["url"], signed["method"], signed["headers"], signed["body"])

    def open(self, lazy: bool = False) -> None:
        """Open ccxt's HTTP session, where there is none yet, with aiohttp's own repetition turned off.

        aiohttp sends a GET again when its connection is dropped (`_retry_connection`, no public setting in 3.14): a
        request that no budget has counted. A read is repeated by `fetch2`, which counts each.
        """
        super().open(lazy)
        self.session._retry_connection = False

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        """Send one signed request and time it. Everything that keeps the answer from us is NoAnswer."""
        route = _current.get()
        self._sent += 1
        _asked_at.set(seconds_since_boot())
        self._bytes_sent += len(url) + len(body or "")
        started = time.perf_counter()
        try:
            answer = await super().fetch(url, method, headers, body)
        except VenueError as error:
            self._failed[type(error).__name__] += 1
            raise
        except Exception as error:
            unheard = self._unheard(route, error)
            self._failed[type(unheard).__name__] += 1
            raise unheard from error
        finally:
            self._latencies_ms.append((time.perf_counter() - started) * 1000)
        return answer

    def _unheard(self, route: Route, error: Exception) -> VenueError:
        """No answer came; only a connection that was never made proves that nothing was taken."""
        cause = error.__cause__ or error
        if isinstance(cause, aiohttp.ClientConnectorError):
            return Busy(self.venue, f"{route}: cannot connect to the venue ({type(cause).__name__})")
        if isinstance(cause, (aiohttp.ClientError, asyncio.TimeoutError, OSError)):
            return NoAnswer(self.venue, f"{route}: no answer ({type(cause).__name__})")
        if self._without_keys(str(error)) != str(error):
            # A refused header, say, with the key in it: that text would stand in every record of the failure.
            raise NoAnswer(self.venue, f"{route}: no answer ({type(error).__name__})") from None
        raise error

    def _without_keys(self, text: str) -> str:
        """The text without our own keys: some venues repeat in an error what they were sent."""
        credentials = self.wiring.credentials
        for each in (credentials.api_key, credentials.api_secret, credentials.passphrase):
            text = text.replace(each.reveal(), "••••") if each else text
        return text

    def on_json_response(self, body: str) -> Any:
        """Decode with Decimal instead of float: the venue's digits stay as they were sent."""
        return json.loads(body, parse_float=Decimal)

    def handle_errors(
        self,
        http_code: int,
        reason: str,
        url: str,
        method: str,
        headers: Any,
        body: str,
        decoded: Any,
        request_headers: Any,
        request_body: Any,
    ) -> None:
        """ccxt's hook for every answer: raise what the answer means, by our tables and not by ccxt's."""
        told = {str(name).lower(): str(value) for name, value in dict(headers or {}).items()}
        self._note_date(told)
        self._bytes_received += len(body or "")
        error = self.judge(_current.get(), int(http_code), body, decoded)
        if isinstance(error, RateLimitExceeded):
            wish = self.asked_to_wait(error, int(http_code), told, body)
            quiet = self.wiring.budget.be_quiet(wish.seconds, whole_address=wish.whole_address)
            _log.warning("%s: %s; quiet for %g s", self.venue, error.message, quiet)
        if error is not None:
            raise error

    def dates_heard(self) -> tuple[DateHeard, ...]:
        """The newest `Date` headers, oldest first."""
        return tuple(self._dates)

    def _note_date(self, headers: Mapping[str, str]) -> None:
        if "date" not in headers or "age" in headers:  # an answer out of a cache bears the date of its first sending
            return
        try:
            told = parsedate_to_datetime(headers["date"])
        except ValueError:
            return
        told = told.replace(tzinfo=UTC) if told.tzinfo is None else told
        self._dates.append(DateHeard(_asked_at.get(), seconds_since_boot(), told))

    def asked_to_wait(self, error: VenueError, status: int, headers: Mapping[str, str], body: str) -> WaitWish:
        """How long the venue wants us to be quiet, and whether it means the whole address. Header names are in lower
        case; override for a venue's own headers.
        """
        return WaitWish(seconds_of(headers.get("retry-after")))

    def judge(self, route: Route, status: int, body: str, decoded: object) -> VenueError | None:
        """What an HTTP answer means: None when the venue said yes."""
        envelope = self.read_envelope(route, body, decoded)
        if envelope is None:
            return self._without_envelope(route, status, body)
        if envelope.ok and 200 <= status < 300:
            return None
        unknown = Refused if route.purpose is Purpose.READ else NoAnswer
        kind = self.errors.get(envelope.code, unknown) if not envelope.ok else NoAnswer
        if route.purpose is Purpose.PLACE and issubclass(kind, OrderNotFound):
            kind = NoAnswer  # "filled", "cancelled", "not there": said of an order just sent, it may be that very order
        said = self._without_keys(envelope.message) or f"HTTP {status}"
        return kind(self.venue, f"{route}: {said}", code=envelope.code)

    def _without_envelope(self, route: Route, status: int, body: str) -> VenueError:
        said = f"{route}: HTTP {status} and no answer in the venue's form ({_glimpse(self._without_keys(body))})"
        if status in self.http_errors:
            return self.http_errors[status](self.venue, said, code=str(status))
        if 400 <= status < 500 and status != 408 and route.purpose is Purpose.READ:
            return BadRequest(self.venue, said, code=str(status))
        return NoAnswer(self.venue, said)

    def log(self, *args: Any) -> None:
        """ccxt's hook for `verbose`, which would print keys and signatures to stdout."""
        tell_verbose(*args)

    def attach(self, wiring: Wiring) -> None:
        """Called once by `connect`."""
        self.wiring = wiring
        self._sent = 0
        self._failed: Counter[str] = Counter()
        self._bytes_sent = 0
        self._bytes_received = 0
        self._latencies_ms: deque[float] = deque(maxlen=500)
        self._dates: deque[DateHeard] = deque(maxlen=_DATES)


def _glimpse(body: str) -> str:
    text = " ".join(body.split())
    return "empty" if not text else repr(text[:60])


def connect(kind: type[_Client], wiring: Wiring) -> _Client:
    """Make a client of a venue's class. Opens no connection; sends nothing."""
    config: dict[str, Any] = {
        "apiKey": wiring.credentials.api_key.reveal(),
        "secret": wiring.credentials.api_secret.reveal(),
        "password": wiring.credentials.passphrase.reveal(),
        "timeout": int(wiring.timeout_seconds * 1000),
        "enableRateLimit": False,
        "enableLastHttpResponse": False,
        "enableLastResponseHeaders": False,
        "enableLastJsonResponse": False,
        **wiring.options,
    }
    if wiring.hostname is not None:
        config["hostname"] = wiring.hostname
    client = kind(config)
    if wiring.testnet:
        client.set_sandbox_mode(True)
    if wiring.base_url is not None:
        base = wiring.base_url.rstrip("/")
        client.urls["api"] = dict.fromkeys(client.urls["api"], base)
    client.attach(wiring)
    return client
