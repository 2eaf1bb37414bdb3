"""What a person must hear of: reports in, notices out. Pure; services/alerts.py tells them.

A notice's key names what is so. The same key comes again as long as it is so, and once with `over` when it is no more:
what is told how often is decided where it is told.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trading.checks import StageReport
from trading.cycle import CycleReport
from trading.orders import State

INFO, WARNING, CRITICAL = "info", "warning", "critical"

_KEY_TROUBLE = frozenset({"AuthenticationError", "PermissionDenied"})
_KEY_CHECKS = frozenset({"key rights", "read-only client", "key: may read", "key: may withdraw"})
_UNPROVED = ("unproved_order", "several_candidates")
_ORPHAN = "orphan "
# Refusals that stand still until somebody does something; the others are the strategy meeting a limit.
_REFUSALS = "refused_in_a_row"  # over when the venue has taken an order
_STANDS_STILL = ("certificate", "clock_skew", "data_age", _REFUSALS)
_AMOUNT = re.compile(
    r"-?\d[\d,]*(?:\.\d+)?(?=\s(?!UTC\b|JST\b)[A-Z]{3,5}\b)|(?<=expected )-?[\d.]+|(?<=found )-?[\d.]+"
)


@dataclass(frozen=True)
class Notice:
    """One thing to tell. `over`: what was told under this key is so no more (level and text are then those of it).
    `once`: something that happened, not something that is so: told each time, and never over.
    """

    level: str
    key: str
    text: str
    over: bool = False
    once: bool = False


def without_amounts(text: str) -> str:
    """The text with dots in place of amounts of money, for messages that leave the machine."""
    return _AMOUNT.sub("…", text)


def notices_of_cycle(report: CycleReport, latch: str | None) -> tuple[Notice, ...]:
    """What a cycle that came to its end has to tell. `latch`: who set the kill switch and why; None: it is not set."""
    name, account = report.exchange, report.account.partition(":")[0]
    shown = account if account != name else f"{name} (simulated)"
    differences = [each for each in report.discrepancies if not each.startswith((_ORPHAN, *_UNPROVED))]
    orphans = [each for each in report.discrepancies if each.startswith(_ORPHAN)]
    unproved = [each for each in report.discrepancies if each.startswith(_UNPROVED)]
    troubles = (
        (latch, "halt", f" is HALTED, the kill switch is set: {latch}. When it is safe: {_rearm(name)}"),
        (report.venue_halt, "venue_halt", f": the venue has stopped trading ({report.venue_halt})"),
        (differences, "drift", f": the books do not add up, nothing is placed: {'; '.join(differences)}"),
        (orphans, "orphan", f": an order rests that the ledger does not know: {', '.join(orphans)}"),
    )
    told = [_so_or_over(so, Notice(CRITICAL, f"{name}:{what}", f"{shown}{text}")) for so, what, text in troubles]
    told.append(_unknown(name, shown, report.unknown_orders, unproved))
    state, _, why = report.trading_state.partition(": ")
    if state in ("active", "reduce_only"):  # judged, which it is only where an order was wanted
        reduced = Notice(CRITICAL, f"{name}:reduce_only", f"{shown}: only reduces its position now: {why}")
        told.append(_so_or_over(state == "reduce_only", reduced))
    rule = report.refused.partition(":")[0]
    if rule in _STANDS_STILL:
        told.append(Notice(WARNING, f"{name}:{rule}", f"{shown}: places nothing: {report.refused}"))
    elif report.order_state:  # an order has passed every rule
        ended = [rule for rule in _STANDS_STILL if rule != _REFUSALS or report.order_state != State.REJECTED]
        told += [Notice(INFO, f"{name}:{each}", "", over=True) for each in ended]
    # It ran to its end: whatever had ended one before is over.
    told += [Notice(INFO, f"{name}:{what}", "", over=True) for what in ("key", "ledger", "cycle", "trader", "prefect")]
    return tuple(told)


def _unknown(name: str, shown: str, count: int, unproved: Sequence[str]) -> Notice:
    text = f"{shown}: {count} of our orders got no answer; the bot looks for it and places nothing meanwhile"
    if unproved:
        text = f"{shown}: a person must say what became of an order (crypto-bot resolve {name}): {'; '.join(unproved)}"
    return _so_or_over(count or unproved, Notice(CRITICAL if unproved else WARNING, f"{name}:unknown_order", text))


def _so_or_over(so: object, notice: Notice) -> Notice:
    return notice if so else replace(notice, level=INFO, text="", over=True)


def _rearm(name: str) -> str:
    return f"crypto-bot rearm {name} --by NAME --reason TEXT"


def notice_of_failure(name: str, kinds: Sequence[str], text: str) -> Notice:
    """What it means that a part of the trader's work failed. `kinds`: the error's class and those above it, by name."""
    if _KEY_TROUBLE & set(kinds):
        return Notice(CRITICAL, f"{name}:key", f"{name}: trouble with the key: {text}")
    if "LedgerUnavailable" in kinds:
        return Notice(CRITICAL, f"{name}:ledger", f"{name}: the ledger does not answer, nothing is placed: {text}")
    if {"AccountHeld", "LeaseLost"} & set(kinds):
        return Notice(CRITICAL, f"{name}:trader", f"{name}: the trader ends, another process holds the account: {text}")
    return Notice(WARNING, f"{name}:cycle", f"{name}: a cycle failed, the next one reconciles first: {text}")


def notices_of_checks(report: StageReport) -> tuple[Notice, ...]:
    """What a safety step has to tell: key trouble by its own name, the other failures in one."""
    name, failures = report.exchange, report.failures
    key = [f"{each.name}: {each.detail}" for each in failures if each.name in _KEY_CHECKS]
    rest = [f"{each.name}: {each.detail}" for each in failures if each.name not in _KEY_CHECKS]
    told = [
        _so_or_over(
            rest, Notice(WARNING, f"{name}:{report.stage}", f"{name}: {report.stage} FAILED: {'; '.join(rest)}")
        )
    ]
    if any(each.name in _KEY_CHECKS for each in report.checks):
        told.append(
            _so_or_over(key, Notice(CRITICAL, f"{name}:key", f"{name}: trouble with the key: {'; '.join(key)}"))
        )
    return tuple(told)


def notice_of_review(name: str, verdict: str, before: str, after: str, reasons: Sequence[str]) -> Notice | None:
    """What a review of the rung has to tell; None where nothing changed."""
    level = {"promote": INFO, "renew": INFO, "demote": WARNING, "halt": CRITICAL}.get(verdict)
    if level is None:
        return None
    way = f"the rung went {'up' if verdict == 'promote' else 'DOWN'} from {before or 'none'} to {after}"
    if verdict == "renew":
        way = f"the certificate of {after} was renewed"
    return Notice(level, f"{name}:rung", f"{name}: {way}: {'; '.join(reasons) or 'no reason told'}", once=True)


def notice_of_stop(
    names: Sequence[str], *, clean: bool, latched: bool, by: str, reason: str, to_do: Sequence[str]
) -> Notice:
    """What an emergency stop, or a trader's own end, has to tell."""
    what = f"stop of {', '.join(names)} by {by} ({reason})"
    if not clean:
        said = "; ".join(to_do) or "look at the venues' own pages now"
        return Notice(CRITICAL, "stop", f"{what}: NOT CLEAN. {said}", once=True)
    after = f"nothing trades there until {_rearm('EXCHANGE')}" if latched else "the kill switch is as it was"
    return Notice(CRITICAL if latched else INFO, "stop", f"{what}: proved empty; {after}", once=True)
