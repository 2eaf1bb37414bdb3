"""The faults of a venue: which are set, how often they still strike, and where.

A fault is known by a name (docs/simulated-venues.md says what each does). Its `value` says how much (seconds, a share,
an amount; each fault has its own default), `times` how often it still strikes (None: until it is cleared), and `match`
where: an operation of the wire ("place", "cancel", "open_orders" ...), "" where the fault itself would strike.

Two ways to ask: `active` for what lasts (a list that lags), `strike` for what happens (an answer that is lost): it uses
one of the fault's times up. `there` only looks.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass
class Fault:
    """One fault that is set. `since_ms`: the market time at which it was set, Unix ms."""

    name: str
    value: str = ""
    times: int | None = None
    match: str = ""
    since_ms: int = 0

    def fits(self, subject: str, usual: Iterable[str]) -> bool:
        """Tell whether it strikes at this operation; `usual` are those where it does unless told otherwise."""
        return subject == self.match if self.match else not subject or subject in usual


class FaultBoard:
    """The faults that are set now; of one name the newest."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = frozenset(known)
        self._set: dict[str, Fault] = {}
        self.struck: Counter[str] = Counter()  # how often a fault was there when somebody asked, cleared ones too
        # judges a fault that is about to be set (ValueError: not so), and tells whether it is there to stay
        self.on_set: Callable[[Fault], bool] = lambda fault: True

    def set(self, name: str, value: str = "", times: int | None = None, match: str = "", now_ms: int = 0) -> Fault:
        """Set a fault. Raises ValueError, naming what there is, for an unknown name or times below one."""
        if name not in self._known:
            raise ValueError(f"no fault {name}: there are {', '.join(sorted(self._known))}")
        if times is not None and times < 1:
            raise ValueError(f"times is a whole number from 1, not {times}")
        fault = Fault(name, value, times, match, now_ms)
        if self.on_set(fault):
            self._set[name] = fault
        else:
            self.struck[name] += 1  # it has happened already
        return fault

    def clear(self, name: str | None = None) -> None:
        """Take back one fault, or all; one that is not set is no error."""
        if name is None:
            self._set.clear()
        else:
            self._set.pop(name, None)

    def there(self, name: str, subject: str = "", usual: Iterable[str] = ()) -> Fault | None:
        """Find a fault that is set and may strike here; nothing is counted."""
        fault = self._set.get(name)
        return fault if fault is not None and fault.fits(subject, usual) else None

    def active(self, name: str, subject: str = "", usual: Iterable[str] = ()) -> Fault | None:
        """Find a fault that is set and strikes here; nothing is used up."""
        fault = self.there(name, subject, usual)
        if fault is not None:
            self.struck[name] += 1
        return fault

    def strike(self, name: str, subject: str = "", usual: Iterable[str] = ()) -> Fault | None:
        """Find a fault that strikes here, and use one of its times up."""
        fault = self.active(name, subject, usual)
        if fault is not None and fault.times is not None:
            fault.times -= 1
            if fault.times == 0:
                del self._set[name]
        return fault

    def rows(self) -> list[dict[str, Any]]:
        """List what is set, oldest first."""
        return [
            {"name": fault.name, "value": fault.value, "times": fault.times, "match": fault.match}
            for fault in self._set.values()
        ]
