"""What a cycle reads and writes costs the same after months as on the first day.

Counted in SQLite's own steps, on a ledger and on one ten times as long: no timing that a busy machine could spoil.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from services.ledger import CycleRecord, Ledger, RungRecord
from tests.services.history import History, Steps, write_history
from tests.services.samples import ACCOUNT, NOW, SYMBOL, fill, intent
from trading.certificates import ADOPTED
from trading.orders import Event

RARE = "XRP/JPY"  # traded long ago, and not since
SINCE = NOW - timedelta(hours=30)
FEW, MANY = 100, 1000


@pytest.fixture(scope="module")
def steps() -> Iterator[Steps]:
    counted = Steps()
    counted.watch()
    yield counted
    counted.unwatch()


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory: pytest.TempPathFactory, steps: Steps) -> Iterator[tuple[Ledger, Ledger]]:
    opened = [_ledger(tmp_path_factory.mktemp(f"{orders}"), orders) for orders in (FEW, MANY)]
    yield opened[0], opened[1]
    for ledger in opened:
        ledger.close()


def _ledger(home: Path, orders: int) -> Ledger:
    url = f"sqlite:///{home / 'ledger.db'}"
    history = History(NOW, ACCOUNT, SYMBOL, orders)
    write_history(
        url,
        history,
        replace(history, symbol="ETH/JPY"),
        replace(history, account=f"{ACCOUNT}:paper"),
        replace(history, symbol=RARE, until=NOW - timedelta(days=60), orders=20),
    )
    ledger = Ledger(url)
    ledger.set_opening(ACCOUNT, {"JPY": Decimal(5_000_000)}, history.begin())
    ledger.adjust(ACCOUNT, "JPY", Decimal(1), "a test", "a test", NOW)
    rung = RungRecord(ACCOUNT, SYMBOL, "minimal", Decimal(1), {}, "a test", SINCE, NOW + timedelta(days=30))
    ledger.issue_rung(rung)
    return ledger


READS: dict[str, Callable[[Ledger], object]] = {
    "orders in flight of an account": lambda ledger: ledger.in_flight(ACCOUNT),
    "orders in flight of a symbol": lambda ledger: ledger.in_flight(ACCOUNT, SYMBOL),
    "an order": lambda ledger: ledger.order(ACCOUNT, "none"),
    "an order by the venue's id": lambda ledger: ledger.order_by_venue_id(ACCOUNT, f"{SYMBOL}-5"),
    "the newest orders of an account": lambda ledger: ledger.orders(ACCOUNT, limit=50),
    "the newest orders of a symbol": lambda ledger: ledger.orders(ACCOUNT, SYMBOL, limit=50),
    "the newest orders of a symbol that is rarely traded": lambda ledger: ledger.orders(ACCOUNT, RARE, limit=50),
    "the orders of a rung": lambda ledger: ledger.orders(ACCOUNT, SYMBOL, since=SINCE, limit=1000),
    "how many orders since a time": lambda ledger: ledger.count_orders(ACCOUNT, since=SINCE),
    "how many warnings": lambda ledger: ledger.count_warnings(ACCOUNT, SYMBOL, since=SINCE),
    "the fills since a time": lambda ledger: ledger.fills(ACCOUNT, SYMBOL, since=SINCE),
    "the fills of an account since a time": lambda ledger: ledger.fills(ACCOUNT, since=SINCE),
    "the newest fill": lambda ledger: ledger.newest_fill(ACCOUNT, SYMBOL),
    "the newest fill of a symbol that is rarely traded": lambda ledger: ledger.newest_fill(ACCOUNT, RARE),
    "the newest fill of a symbol that was never traded": lambda ledger: ledger.newest_fill(ACCOUNT, "none"),
    "how many fills of our own": lambda ledger: ledger.count_own_fills(ACCOUNT, SYMBOL, since=SINCE),
    "whether an order is ours": lambda ledger: ledger.has_any_order(ACCOUNT, {f"foreign {n}" for n in range(5)}),
    "the newest cycle": lambda ledger: ledger.cycles(ACCOUNT, SYMBOL, limit=1),
    "the newest cycle of a symbol that is rarely traded": lambda ledger: ledger.cycles(ACCOUNT, RARE, limit=1),
    "the day's cycles": lambda ledger: ledger.cycles(ACCOUNT, SYMBOL, since=SINCE),
    "what the rung's cycles come to": lambda ledger: ledger.tally_cycles(ACCOUNT, SYMBOL, since=SINCE),
    "what the cycles of a rung without any come to": lambda ledger: ledger.tally_cycles(ACCOUNT, SYMBOL, since=NOW),
    "the newest worth": lambda ledger: ledger.equity(ACCOUNT, "JPY", limit=1),
    "the rung's worths": lambda ledger: ledger.equity(ACCOUNT, "JPY", since=SINCE),
    "the newest balances": lambda ledger: ledger.latest_balances(ACCOUNT),
    "the opening": lambda ledger: ledger.opening(ACCOUNT),
    "the adjustments": lambda ledger: ledger.adjustments(ACCOUNT),
    "the newest fills of an account": lambda ledger: ledger.newest_fills(ACCOUNT, limit=50),
    "the fills of an order": lambda ledger: ledger.fills_of_order(ACCOUNT, SYMBOL, f"{SYMBOL}-5"),
    "the rung": lambda ledger: ledger.rung(ACCOUNT, SYMBOL),
    "all rungs": lambda ledger: ledger.rungs(),
    "a person's approval": lambda ledger: ledger.newest_approval(ACCOUNT, SYMBOL),
    "the kill switch": lambda ledger: ledger.latched(ACCOUNT),
    "how often the kill switch was set": lambda ledger: ledger.count_latches(ACCOUNT, since=SINCE),
    "when the kill switch was released": lambda ledger: ledger.rearmed_at(ACCOUNT),
}


def _steps_of(steps: Steps, work: Callable[[], object]) -> int:
    before = steps.taken
    work()
    return steps.taken - before


def _costs(steps: Steps, ledgers: tuple[Ledger, Ledger], work: Callable[[Ledger], object]) -> tuple[int, float]:
    """The steps after ten times as long, and how many may be taken for the same."""
    few, many = (_steps_of(steps, partial(work, ledger)) for ledger in ledgers)
    return many, 1.3 * few + 50


@pytest.mark.parametrize("name", READS)
def test_a_read_costs_the_same_after_ten_times_as_long(ledgers: tuple[Ledger, Ledger], steps: Steps, name: str) -> None:
    many, most = _costs(steps, ledgers, READS[name])
    assert many <= most


def test_the_fills_stored_since_the_last_look_cost_the_same(ledgers: tuple[Ledger, Ledger], steps: Steps) -> None:
    newest = {id(ledger): ledger.fills_after(ACCOUNT, 0)[-1].row for ledger in ledgers}
    many, most = _costs(steps, ledgers, lambda ledger: ledger.fills_after(ACCOUNT, newest[id(ledger)] - 10))
    assert many <= most


def _trade(ledger: Ledger) -> None:
    """All that a cycle with an order writes."""
    wanted, at = intent(decided_at=NOW), NOW + timedelta(seconds=1)
    lease = ledger.take_lease(ACCOUNT, "host:1", NOW, 60)
    ledger.write_intent(wanted, lease, rung=ADOPTED, cycle_id="c", known_ids=frozenset(), now=at)
    ledger.record(ACCOUNT, wanted.client_order_id, Event.SENT, at)
    ledger.record(ACCOUNT, wanted.client_order_id, Event.ACKED, at, venue_order_id="v1")
    assert len(ledger.record_fills(ACCOUNT, [fill(number) for number in range(20)], at)) == 20
    assert not ledger.record_fills(ACCOUNT, [fill(number) for number in range(20)], at)
    ledger.record_equity(ACCOUNT, "JPY", Decimal(5_000_000), at)
    ledger.record_balances(ACCOUNT, {}, at)
    ledger.record_cycle(CycleRecord("c", ACCOUNT, SYMBOL, "minimal", at, at, True, None, {"error": "", "breach": ""}))
    ledger.renew_lease(lease, at, 60)
    ledger.release_lease(lease)


def test_what_a_cycle_writes_costs_the_same_after_ten_times_as_long(
    ledgers: tuple[Ledger, Ledger], steps: Steps
) -> None:
    many, most = _costs(steps, ledgers, _trade)
    assert many <= most


def test_nothing_that_a_cycle_asks_reads_a_whole_table(ledgers: tuple[Ledger, Ledger], steps: Steps) -> None:
    steps.plans.clear()
    for read in READS.values():
        read(ledgers[0])
    steps_of_a_table_that_grows = [
        (statement, step)
        for statement, plan in steps.plans.items()
        for step in plan
        if step.startswith("SCAN") and not step.startswith("SCAN rungs")  # one row for each change of a rung
    ]
    assert len(steps.plans) > 30 and not steps_of_a_table_that_grows
