"""Tell a person, through the channels of the section `alerts` (docs/alerts-and-logs.md).

    tell(Level.CRITICAL, "bitbank:halt", "bitbank: the kill switch is set: ...", settings=settings)
    tell(Level.INFO, "bitbank:halt", "", settings=settings, over=True)      # it is so no more

`tell` puts the message into a queue and returns: it never waits and never raises. A thread of this process looks
whether the same was told a while ago (services/alert_memory.py) and hands it to the channels, each of which has its own
thread and its own time limit: one that hangs holds up nobody. At the end of the process what waits gets a few seconds.
Without a channel `tell` does nothing at all.
"""

import atexit
import logging
import queue
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from functools import partial

from config.errors import ConfigurationError
from config.guide import section_of_alert, see
from config.settings import Settings
from services.alert_channels import Channel
from services.alert_memory import AlertMemory
from services.clock import Clock, WallClock
from services.logs import mask_secrets
from trading.day import JAPAN
from trading.notices import Notice, without_amounts

log = logging.getLogger(__name__)

_WAITING = 500  # messages of this process that may wait to be looked at
LAST_SECONDS = 5.0  # what waits at the end of a process gets no longer


class Level(StrEnum):
    """How soon a person must look: INFO with the next digest, WARNING today, CRITICAL now."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


_LEVELS = tuple(level.value for level in Level)


@dataclass(frozen=True)
class Delivery:
    """What became of one message at one channel; `problem` is "" where it was taken."""

    channel: str
    problem: str
    seconds: float


class AlertDesk:
    """The alerts of one process: a queue, the thread that empties it, and the channels."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        alerts = settings.alerts
        self._clock = clock or WallClock()
        self._show_amounts = alerts.show_amounts
        least = min((each.level for each in alerts.channels), key=_LEVELS.index, default=Level.CRITICAL.value)
        self.memory = AlertMemory(settings.home, timedelta(minutes=alerts.repeat_minutes), _LEVELS, least)
        self._channels = [Channel(each, settings) for each in alerts.channels]
        self._queue: queue.Queue[tuple[Notice, ...]] = queue.Queue(_WAITING)
        self._pending = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def take(self, notices: Sequence[Notice]) -> None:
        """Queue what there is to tell; what no longer fits is dropped, and that is logged."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
                self._thread.start()
        self._count(+1)
        try:
            self._queue.put_nowait(tuple(notices))
        except queue.Full:
            self._count(-1)
            log.warning("alerts: dropped, %d wait already: %s", _WAITING, _keys(notices))

    def flush(self, seconds: float) -> bool:
        """Wait until everything was delivered or given up, `seconds` at most; whether nothing is left."""
        with self._changed:
            return self._changed.wait_for(lambda: self._pending == 0, timeout=seconds)

    def _count(self, change: int) -> None:
        with self._changed:
            self._pending += change
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            notices = self._queue.get()
            try:
                self._tell(notices)
            except Exception:  # a defect here must not silence what comes after it
                log.exception("alerts: %s could not be told", _keys(notices))
            finally:
                self._count(-1)

    def _tell(self, notices: Sequence[Notice]) -> None:
        now = self._clock.now()
        notices = [replace(each, text=self._without_what_must_not_leave(each.text)) for each in notices]
        try:
            ready = self.memory.judge(notices, now)
        except (KeyError, TypeError, ValueError) as error:
            log.warning("alerts: what was told before is not readable (%s): told again", error)
            self.memory.forget()
            ready = self.memory.judge(notices, now)
        for notice in ready:
            where = "" if notice.over or notice.level == Level.INFO else see(section_of_alert(notice.key))
            body = f"{notice.text}\n{now.astimezone(JAPAN):%Y-%m-%d %H:%M:%S} JST, {socket.gethostname()}{where}"
            self._hand_out(notice, body)

    def _without_what_must_not_leave(self, text: str) -> str:
        return mask_secrets(text if self._show_amounts else without_amounts(text))

    def _hand_out(self, ready: Notice, body: str) -> None:
        level = _LEVELS.index(ready.level)
        channels = [each for each in self._channels if level >= _LEVELS.index(each.settings.level)]
        problems: list[str] = []

        def done(name: str, problem: str) -> None:
            try:
                with self._changed:
                    problems.append(problem)
                    nobody_took_it = len(problems) == len(channels) and all(problems)
                if problem:
                    log.error("alerts: channel %s did not take %s: %s", name, ready.key, problem)
                    self.memory.count_failure(name)
                else:
                    log.info("alerts: channel %s took %s", name, ready.key)
                if nobody_took_it:
                    self.memory.take_back(ready.key)
            finally:
                self._count(-1)

        for channel in channels:
            self._count(+1)
            channel.offer(ready.level, title_of(ready.level), body, partial(done, channel.settings.name))


def _keys(notices: Sequence[Notice]) -> str:
    return ", ".join(each.key for each in notices)


def title_of(level: str) -> str:
    """The headline of a message."""
    return f"crypto-bot: {level.upper()}"


_desks: dict[tuple[object, ...], AlertDesk] = {}
_making = threading.Lock()
_loading: list[threading.Thread] = []  # messages that came without settings


def tell(level: Level, key: str, text: str, *, settings: Settings | None = None, over: bool = False) -> None:
    """Tell a person. Returns at once and raises nothing.

    `key` names what is so (`bitbank:halt`): told again only after `alerts.repeat_minutes`, or with a graver level.
    `over`: it is so no more; says that to who was told, and nothing where nobody was. Without `settings` they are
    loaded as every command loads them. Secrets are masked, and amounts of money unless `alerts.show_amounts`.
    """
    tell_all((Notice(level.value, key, text, over),), settings)


def tell_all(notices: Sequence[Notice], settings: Settings | None = None) -> None:
    """`tell` each of them, as they come."""
    if not notices:
        return
    try:
        if settings is None:
            loading = threading.Thread(target=_tell_by_own_settings, args=(notices,), daemon=True)
            _loading.append(loading)
            loading.start()
        elif settings.alerts.channels:
            _desk_of(settings).take(notices)
    except Exception:  # whoever has trouble to tell must not get more of it here
        log.exception("alerts: %s could not be told", _keys(notices))


def _tell_by_own_settings(notices: Sequence[Notice]) -> None:
    from config.loader import load_settings

    try:
        tell_all(notices, load_settings())
    except ConfigurationError as error:
        log.error("alerts: %s could not be told: %s", _keys(notices), error)
    finally:
        _loading.remove(threading.current_thread())


def _desk_of(settings: Settings) -> AlertDesk:
    key = (settings.home, settings.alerts)
    with _making:
        if key not in _desks:
            _desks[key] = AlertDesk(settings)
        return _desks[key]


def flush(seconds: float = LAST_SECONDS) -> bool:
    """Give what waits `seconds` in all to get away; whether nothing is left. For the end of a process."""
    deadline = time.monotonic() + seconds
    for thread in list(_loading):
        thread.join(max(0.0, deadline - time.monotonic()))
    left = [desk for desk in list(_desks.values()) if not desk.flush(max(0.0, deadline - time.monotonic()))]
    return not left and not _loading


def send_now(
    settings: Settings, level: Level, title: str, text: str, channels: Sequence[str] | None = None
) -> tuple[Delivery, ...]:
    """Deliver one message to the named channels (default: all) at the same time, past every rule about repetition.

    Takes `alerts.timeout_seconds` at most.
    """
    wanted = [each for each in settings.alerts.channels if channels is None or each.name in channels]

    def deliver(channel: Channel) -> Delivery:
        began = time.monotonic()
        problem = mask_secrets(channel.deliver(level, title, mask_secrets(text)))
        return Delivery(channel.settings.name, problem, time.monotonic() - began)

    if not wanted:
        return ()
    with ThreadPoolExecutor(len(wanted)) as threads:
        return tuple(threads.map(deliver, [Channel(each, settings) for each in wanted]))


def send_digest(settings: Settings, lines: Sequence[str], clock: Clock | None = None) -> tuple[Delivery, ...]:
    """Send the digest to the channels that want it: `lines` about the day, then what was told and held back since the
    last one. It begins anew as soon as one channel has taken it.
    """
    desk = AlertDesk(settings, clock)
    since = desk.memory.since_last_digest()
    failed = [f"channel {name} did not take {count} messages" for name, count in since.failures.items()]
    alerts = ["alerts since the last digest:", *since.lines] if since.lines else ["no alert since the last digest"]
    text = "\n".join((*lines, "", *alerts, *failed))
    names = [each.name for each in settings.alerts.channels if each.digest]
    told = send_now(settings, Level.INFO, "crypto-bot: daily digest", text, names)
    if any(not each.problem for each in told):
        desk.memory.begin_new_digest()
    return told


atexit.register(flush)
