"""One life of a trader's process: it may end at any step, and nothing that it had begun goes on."""

from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Any

from execution.reach import LedgerInReach, T
from services.ledger import Ledger, LedgerUnavailable
from tests.simulation.virtual_time import VirtualClock
from trading.orders import State

# Only these can be broken by an end in between; reads are as good as not begun.
_WRITES = frozenset({"write_intent", "record", "record_fills", "set_opening", "record_cycle", "latch"})
_UNSETTLED = frozenset({State.INTENDED, State.SENT, State.UNKNOWN})


class Killed(BaseException):
    """The process is gone. No `except Exception` on the way holds it up."""


class Life:
    """What one process may still do. `death_rate`: how likely each step is its last."""

    def __init__(self, name: str, dice: Random, tell: Callable[[str], None], death_rate: float) -> None:
        self.name = name
        self.dice = dice
        self.tell = tell
        self.death_rate = death_rate
        self.dead = False

    def check(self) -> None:
        if self.dead:
            raise Killed

    def step(self, where: str, weight: float = 1.0) -> None:
        """Go on, or end here."""
        self.check()
        if self.dice.random() < self.death_rate * weight:
            self.tell(f"{self.name} dies {where}")
            self.dead = True
            raise Killed


class MortalLedger:
    """The ledger as one life uses it: every write may be the last thing done, or fail, or be done and not heard of."""

    def __init__(
        self, ledger: Ledger, life: Life, violation: Callable[[str], None], trouble_rate: Callable[[], float]
    ) -> None:
        self._ledger = ledger
        self._life = life
        self._violation = violation
        self._trouble_rate = trouble_rate

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._ledger, name)
        writes = name in _WRITES

        def call(*arguments: Any, **named: Any) -> Any:
            life = self._life
            if not writes:
                life.check()
                return method(*arguments, **named)
            what = _words(name, arguments, named)
            life.step(f"before {what}", 2)
            if life.dice.random() < self._trouble_rate():
                life.tell(f"{life.name} ledger locked at {what}")
                raise LedgerUnavailable("the ledger is locked by another process; nothing was written")
            given = method(*arguments, **named)
            if name in ("write_intent", "record"):
                life.tell(f"{life.name} ledger {what} -> {getattr(given, 'state', 'intended')}")
            if name == "write_intent":
                self._judge_intent(arguments[0].symbol, arguments[1].account)
            life.step(f"after {what}", 2)
            return given

        return call

    def _judge_intent(self, symbol: str, account: str) -> None:
        open_ones = [order for order in self._ledger.in_flight(account, symbol) if order.state in _UNSETTLED]
        if len(open_ones) > 1:
            ids = ", ".join(f"{order.intent.client_order_id} ({order.state})" for order in open_ones)
            self._violation(f"more than one unsettled order of {account} {symbol}: {ids}")


def _words(name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> str:
    if name == "write_intent":
        intent = arguments[0]
        return f"intent {intent.client_order_id[:8]} {intent.side} {intent.quantity} at {intent.price}"
    if name == "record":
        told = f" filled {named['filled']}" if named.get("filled") is not None else ""
        return f"{arguments[1][:8]} {arguments[2]} {named.get('venue_order_id') or ''}{told}"
    if name == "record_fills":
        return f"fills of {len(arguments[1])}"
    return name


class LedgerAtOnce(LedgerInReach):
    """The emergency stop's door to a ledger, without its thread: a virtual loop knows no time that a thread takes."""

    async def ask(self, work: Callable[[Ledger], T]) -> T:
        self._running += 1
        return self._answer(work)


class MortalClock:
    """Market time for one life: who is dead does not wake up."""

    def __init__(self, clock: VirtualClock, life: Life) -> None:
        self._clock = clock
        self._life = life

    def now(self) -> datetime:
        return self._clock.now()

    async def sleep(self, seconds: float) -> None:
        self._life.check()
        await self._clock.sleep(seconds)
        self._life.check()
