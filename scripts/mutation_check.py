"""Remove one guard at a time and see that the tests notice: `make mutants`.

Each mutant is one edit in a scratch copy of the tree, and the test files that must fail with it. A mutant that survives
means that a guard is not tested. A text that is not found any more is an error too: then the mutant must follow the
code.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AT_ONCE = 2
SECONDS = 60


@dataclass(frozen=True)
class Mutant:
    """A guard, the edit that removes it, and the tests that must notice."""

    guard: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


PLACE = ("tests/execution/test_place.py",)
RECONCILE = ("tests/execution/test_reconcile.py",)
TRANSPORT = ("tests/exchanges/test_transport.py",)
BUDGET = ("tests/exchanges/test_budget.py",)

MUTANTS = (
    Mutant(
        "a key that may withdraw places nothing",
        "trading/risk.py",
        "    if not facts.key_may_withdraw:\n",
        "    if True or not facts.key_may_withdraw:\n",
        ("tests/trading/test_risk.py",),
    ),
    Mutant(
        "what the venue goes on refusing is asked less and less",
        "trading/risk.py",
        "    if in_a_row < limits.refused_in_a_row_limit:\n",
        "    if True or in_a_row < limits.refused_in_a_row_limit:\n",
        ("tests/trading/test_risk.py",),
    ),
    Mutant(
        "the top rung is renewed in its last days only",
        "trading/stages.py",
        "    if place == len(ladder) - 1 and not evidence.ends_soon:\n",
        "    if False:\n",
        ("tests/trading/test_stages.py",),
    ),
    Mutant(
        "of two stops on two hosts one closes the position",
        "execution/flatten.py",
        '            note("another stop is closing the positions of this account", other)\n            yield False\n',
        '            note("another stop is closing the positions of this account", other)\n            yield True\n',
        ("tests/execution/test_stop_under_fire.py",),
    ),
    Mutant(
        "no second order closes what one without an answer may still close",
        "execution/flatten.py",
        "                    if not _closes_already(position, awaited.get(symbol, ()), note):\n",
        "                    if True:\n",
        ("tests/execution/test_stop.py",),
    ),
    Mutant(
        "the intent is written before the order is sent",
        "execution/place.py",
        "        write_intent(desk, approved, cycle_id=cycle_id, known_ids=known_ids)\n",
        "        await desk.exchange.place(intent)\n"
        "        write_intent(desk, approved, cycle_id=cycle_id, known_ids=known_ids)\n",
        PLACE,
    ),
    Mutant(
        "SENT is written before the order is sent",
        "execution/place.py",
        "            _recorded(desk, intent, Event.SENT)\n",
        "",
        PLACE,
    ),
    Mutant(
        "the kill switch is asked before the order is written down",
        "execution/place.py",
        "        _refuse_when_held(desk, intent)\n",
        "",
        PLACE,
    ),
    Mutant(
        "the kill switch is asked again between the intent and the order",
        "execution/place.py",
        "        if (latch := kill_switch(desk.home, desk.ledger, desk.account)) is not None:\n            # Pulled",
        "        if False and (latch := kill_switch(desk.home, desk.ledger, desk.account)):\n            # Pulled",
        PLACE,
    ),
    Mutant(
        "an order of unknown outcome blocks its symbol",
        "execution/place.py",
        "_UNSETTLED = frozenset({State.INTENDED, State.SENT, State.UNKNOWN})",
        "_UNSETTLED = frozenset({State.INTENDED, State.SENT})",
        PLACE,
    ),
    Mutant(
        "placing is seen through when its task is cancelled",
        "execution/place.py",
        "return await see_through(_in_turn(desk, approved, cycle_id, known_ids))",
        "return await _in_turn(desk, approved, cycle_id, known_ids)",
        PLACE,
    ),
    Mutant(
        "an answer without an order id is no answer",
        "execution/place.py",
        "        if not venue_order_id:\n            raise",
        "        if False:\n            raise",
        PLACE,
    ),
    Mutant(
        "the baseline keeps other orders from being taken for ours",
        "execution/search.py",
        "known = desk.ledger.known_ids(order.account, order.intent.client_order_id)",
        "known: frozenset[str] = frozenset()",
        RECONCILE,
    ),
    Mutant(
        "absence is concluded only when the venue can no longer bring the order up",
        "execution/search.py",
        "return desk.clock.now() >= _sent_at(order) + desk.absence_after(accepted=accepted)",
        "return True",
        RECONCILE,
    ),
    Mutant(
        "a request that was lost at bitFlyer may arrive within the order's own lifetime",
        "execution/desk.py",
        "    longest = _LATEST_SIGHT_SECONDS if accepted else order_lifetime_minutes * 60\n",
        "    longest = _LATEST_SIGHT_SECONDS\n",
        ("tests/execution/test_reconcile_search.py::TestAtBitflyer",),
    ),
    Mutant(
        "a read on a dropped connection is repeated by us alone",
        "exchanges/transport.py",
        "        self.session._retry_connection = False\n",
        "",
        TRANSPORT,
    ),
    Mutant(
        "after a jump the new time has to be proved",
        "tasks/session.py",
        "        if has_jumped:  # whoever",
        "        if False:  # whoever",
        ("tests/tasks/test_clock_skew.py",),
    ),
    Mutant(
        "absence needs three looks",
        "execution/search.py",
        "_LOOKS_FOR_PROOF = 3",
        "_LOOKS_FOR_PROOF = 1",
        RECONCILE,
    ),
    Mutant(
        "one of several candidates is never picked",
        "execution/search.py",
        "    if len(candidates) != 1:",
        "    if not candidates:",
        RECONCILE,
    ),
    Mutant(
        "the books must agree before an order is called absent",
        "execution/books.py",
        "    return any(difference.subject == subject for difference in discrepancies)",
        "    return False",
        RECONCILE,
    ),
    Mutant(
        "a cancel is decided by the order's own state",
        "execution/cancel.py",
        "        order = await follow(desk, order, _LOOK_SECONDS)",
        "        return desk.ledger.record(\n"
        "            order.account, order.intent.client_order_id, Event.SEEN_CANCELLED, desk.clock.now()\n        )",
        ("tests/execution/test_follow_and_cancel.py",),
    ),
    Mutant(
        "a lost lease writes no intent (fencing token)",
        "services/ledger_leases.py",
        "row.token != lease.token or",
        "False or",
        ("tests/execution/test_place.py", "tests/execution/test_hold.py"),
    ),
    Mutant(
        "a second instance on this host is refused",
        "execution/hold.py",
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        ("tests/execution/test_hold.py",),
    ),
    Mutant(
        "a rejected order that is seen filled is not absorbed",
        "trading/orders.py",
        "for _event in (\n    Event.SEEN_CANCELLED,",
        "for _event in (\n    Event.SEEN_FILLED,\n    Event.SEEN_CANCELLED,",
        ("tests/trading/test_orders.py",),
    ),
    Mutant(
        "an order is never repeated by the transport",
        "exchanges/transport.py",
        "if route.purpose is Purpose.READ and not self._in_trouble else 1",
        "if not self._in_trouble else 1",
        TRANSPORT,
    ),
    Mutant(
        "a 2xx that is not the venue's form is no answer",
        "exchanges/transport.py",
        "        if envelope is None:\n",
        "        if envelope is None and 200 <= status < 300:\n            return None\n        if envelope is None:\n",
        TRANSPORT,
    ),
    Mutant(
        "an unknown code leaves an order unknown",
        "exchanges/transport.py",
        "unknown = Refused if route.purpose is Purpose.READ else NoAnswer",
        "unknown = Refused",
        TRANSPORT,
    ),
    Mutant(
        "'filled' or 'cancelled' as answer to an order leaves it unknown",
        "exchanges/transport.py",
        "if route.purpose is Purpose.PLACE and issubclass(kind, OrderNotFound):",
        "if False:",
        ("tests/exchanges/test_outcomes.py",),
    ),
    Mutant(
        "an order that would have to wait for the budget is not sent",
        "exchanges/transport.py",
        "at_most=LONGEST_ORDER_WAIT.total_seconds()",
        "at_most=3600",
        TRANSPORT,
    ),
    Mutant(
        "a venue that says too many makes us quiet",
        "exchanges/transport.py",
        "        if isinstance(error, RateLimitExceeded):\n            wish",
        "        if False:\n            wish",
        ("tests/exchanges/test_rate_limited.py",),
    ),
    Mutant(
        "a part of the budget is kept back for cancelling",
        "exchanges/budget.py",
        "self._margin if cancelling else self._margin * (1 - self._cancel_reserve)",
        "self._margin",
        BUDGET,
    ),
    Mutant(
        "the count of requests is locked between processes",
        "exchanges/budget.py",
        "            fcntl.flock(lock, fcntl.LOCK_EX)\n",
        "",
        BUDGET,
    ),
    Mutant(
        "a torn budget counts as full",
        "exchanges/budget.py",
        "book = _Book([], hold_until_ms=now_ms + HOLD_MS)",
        "book = _Book([])",
        BUDGET,
    ),
)


def check(mutant: Mutant, scratch: Path) -> str:
    """Run the tests on a copy with the guard removed: "" when they fail as they must, else what is wrong."""
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        return f"the text stands {text.count(mutant.old)} times in {mutant.file}: let the mutant follow the code"
    tree = Path(tempfile.mkdtemp(dir=scratch))
    for entry in ROOT.iterdir():
        if entry.name.startswith(".") or entry.name in ("var", "__pycache__"):
            continue
        copy = shutil.copytree if entry.is_dir() else shutil.copy2
        copy(entry, tree / entry.name)
    (tree / mutant.file).write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutant.tests]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"the tests were not through in {SECONDS} s"
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    if done.returncode == 0:
        return "SURVIVED: all tests pass without this guard"
    if done.returncode != 1 or "\nFAILED " not in done.stdout:
        return f"the tests did not run: {done.stdout[-500:]}{done.stderr[-500:]}"
    return ""


def main() -> int:
    """Check all mutants, or those whose guard holds the given words; 1 when one survives or cannot be made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only guards that hold one of these words")
    words = parser.parse_args().words
    chosen = [each for each in MUTANTS if not words or any(word in each.guard for word in words)]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch, ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda mutant: check(mutant, Path(scratch)), chosen))
    for mutant, wrong in zip(chosen, found, strict=True):
        print(f"{'noticed' if not wrong else 'WRONG  '}  {mutant.guard}{f': {wrong}' if wrong else ''}")  # noqa: T201
    bad = sum(bool(wrong) for wrong in found)
    print(f"{len(chosen) - bad} of {len(chosen)} guards are tested ({time.monotonic() - begun:.0f} s)")  # noqa: T201
    return 1 if bad or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
