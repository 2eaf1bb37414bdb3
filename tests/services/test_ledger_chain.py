"""Whatever is done to the rows behind the ledger's back is found, and named."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import create_engine, text

from services.ledger import CycleRecord, Lease, Ledger, RungRecord
from tests.services.samples import ACCOUNT, NOW, SYMBOL, client_id, fill, intent, resting, write
from trading.orders import Event


@pytest.fixture
def written(ledger: Ledger, lease: Lease) -> Ledger:
    """Two orders, one of them filled, a certificate, a cycle and a worth: ten events."""
    resting(ledger, lease, 1)  # events 1 to 3
    ledger.record_fills(ACCOUNT, [fill(1)], NOW)  # 4
    ledger.record(ACCOUNT, client_id(1), Event.SEEN_PARTIAL, NOW, filled=Decimal("0.01"))  # 5
    write(ledger, lease, intent(2))  # 6
    certificate = RungRecord(
        ACCOUNT, SYMBOL, "minimal", Decimal("0.001"), {"cycles": 3}, "hanako", NOW, NOW + timedelta(days=30)
    )
    ledger.issue_rung(certificate)  # 7
    ledger.latch(ACCOUNT, "drawdown", "risk", NOW)  # 8
    cycle = CycleRecord("c1", ACCOUNT, SYMBOL, "minimal", NOW, NOW, False, None, {"breach": "drawdown", "p95": 12.5})
    ledger.record_cycle(cycle)  # 9
    ledger.record_equity(ACCOUNT, "JPY", Decimal("5000000.5"), NOW)  # 10
    return ledger


def change(url: str, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def test_an_untouched_ledger_is_proved(written: Ledger) -> None:
    assert written.verify_chain() is None


def test_an_empty_ledger_is_proved(ledger: Ledger) -> None:
    assert ledger.verify_chain() is None


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ("UPDATE events SET kind = 'order.refused' WHERE seq = 2", "event 2 .* was changed"),
        (
            "UPDATE events SET detail = replace(detail, '0.01', '0.02') WHERE seq = 4",
            "event 4 .* was changed",
        ),
        ("UPDATE events SET account = 'bybit' WHERE seq = 3", "event 3 .* was changed"),
        ("UPDATE events SET hash = previous_hash WHERE seq = 5", "event 5 .* was changed"),
        ("UPDATE events SET previous_hash = hash WHERE seq = 5", "event 5 .* does not follow"),
        ("DELETE FROM events WHERE seq = 3", "event 3 is missing"),
        ("DELETE FROM events WHERE seq = 1", "event 1 is missing"),
        ("DELETE FROM events WHERE seq = 10", "event 10 is missing"),
        ("DELETE FROM events", "event 1 is missing"),
        (
            "INSERT INTO events SELECT 11, at, account, subject, kind, detail, hash, hash FROM events WHERE seq = 10",
            "event 11 .* was changed",
        ),
        ("DELETE FROM chain_head", "head of the event chain is missing"),
        ("UPDATE chain_head SET seq = 9", "event 10 was added"),
    ],
)
def test_an_edited_deleted_or_inserted_event_is_found(written: Ledger, ledger_url: str, edit: str, said: str) -> None:
    change(ledger_url, edit)
    found = written.verify_chain()
    assert found is not None
    assert re.search(said, found), found


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ("UPDATE orders SET quantity = '0.02' WHERE id = 1", f"order {client_id(1)} of bitbank is not what"),
        (
            "UPDATE orders SET known_ids = '[\"v9\"]' WHERE id = 2",
            f"order {client_id(2)} of bitbank is not what",
        ),
        (
            "UPDATE orders SET state = 'filled' WHERE id = 1",
            f"order {client_id(1)} of bitbank does not stand",
        ),
        ("UPDATE orders SET is_open = 0 WHERE id = 2", f"order {client_id(2)} of bitbank does not stand"),
        ("UPDATE orders SET filled = '0' WHERE id = 1", f"order {client_id(1)} of bitbank does not stand"),
        ("UPDATE orders SET filled = '0.01' WHERE id = 2", f"order {client_id(2)} of bitbank does not stand"),
        ("DELETE FROM orders WHERE id = 2", f"order {client_id(2)} of bitbank is missing"),
        ("UPDATE fills SET fee = '0'", "fill BTC/JPY t1 of bitbank is not what was written"),
        ("UPDATE fills SET fill_id = 't2'", "fill BTC/JPY t1 of bitbank is not what was written"),
        ("DELETE FROM fills", "fill BTC/JPY t1 of bitbank is missing"),
        ("UPDATE rungs SET max_quantity = '10'", "rung BTC/JPY of bitbank is not what was written"),
        ("DELETE FROM rungs", "rung BTC/JPY of bitbank is missing"),
        ('UPDATE rungs SET fingerprint = \'{"code":"mine"}\'', "rung BTC/JPY of bitbank is not what was written"),
        ("UPDATE rungs SET fingerprint = NULL", "rung BTC/JPY of bitbank is not what was written"),
        ("UPDATE rungs SET max_orders_per_day = 1000", "rung BTC/JPY of bitbank is not what was written"),
        ("UPDATE cycles SET ok = true", "cycle c1 of bitbank is not what was written"),
        ("UPDATE cycles SET counted = false", "cycle c1 of bitbank is not what was written"),
        ("UPDATE cycles SET started_at = '2026-11-22 02:00:00'", "cycle c1 of bitbank is not what was written"),
        ("UPDATE cycles SET report = replace(report, 'drawdown', '')", "cycle c1 of bitbank is not what was written"),
        ("UPDATE cycles SET cycle_id = 'c2'", "cycle c1 of bitbank is not what was written"),
        ("DELETE FROM cycles", "cycle c1 of bitbank is missing"),
        ("UPDATE equity_points SET equity = '6000000'", "equity JPY of bitbank is not what was written"),
        ("UPDATE equity_points SET peak = '1'", "equity JPY of bitbank is not what was written"),
        ("DELETE FROM equity_points", "equity JPY of bitbank is missing"),
    ],
)
def test_a_row_that_differs_from_its_events_is_found(written: Ledger, ledger_url: str, edit: str, said: str) -> None:
    change(ledger_url, edit)
    found = written.verify_chain()
    assert found is not None
    assert said in found


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ('UPDATE openings SET balances = \'{"JPY":"1"}\'', "opening of bitbank .* is not what was written"),
        ("UPDATE adjustments SET change = '900000' WHERE id = 1", "adjustment of bitbank .* is not what was written"),
        ("UPDATE adjustments SET \"by\" = 'nobody'", "adjustment of bitbank .* is not what was written"),
        ("DELETE FROM adjustments", "adjustment of bitbank .* is not what was written"),
        (
            'INSERT INTO adjustments (account, asset, change, "by", reason, at) '
            'SELECT account, asset, change, "by", reason, at FROM adjustments',
            "adjustment of bitbank .* has no event",
        ),
        ("UPDATE latches SET rearmed_by = 'me', rearmed_at = at WHERE id = 2", "rearm of bitbank .* has no event"),
        ("DELETE FROM latches WHERE id = 2", "latch of bitbank .* is not what was written"),
        ("UPDATE latches SET rearmed_by = 'jiro' WHERE id = 1", "rearm of bitbank .* is not what was written"),
    ],
)
def test_what_persons_and_the_kill_switch_said_is_proved(
    written: Ledger, ledger_url: str, edit: str, said: str
) -> None:
    written.set_opening(ACCOUNT, {"JPY": Decimal(5000000), "BTC": Decimal("0.10")}, NOW)
    written.adjust(ACCOUNT, "JPY", Decimal("-100000.50"), "hanako", "出金", NOW)
    written.rearm(ACCOUNT, "hanako", "looked at", NOW)
    written.latch(ACCOUNT, "again", "taro", NOW)
    assert written.verify_chain() is None
    change(ledger_url, edit)
    found = written.verify_chain()
    assert found is not None and re.search(said, found), found


def test_a_fill_that_nobody_recorded_is_found(written: Ledger, ledger_url: str) -> None:
    columns = (
        "account, symbol, venue_order_id, side, price, quantity, quote_quantity, fee, fee_currency, at, recorded_at"
    )
    change(
        ledger_url,
        f"INSERT INTO fills (fill_id, event_seq, {columns}) SELECT 'forged', 99, {columns} FROM fills",
    )
    assert written.verify_chain() == "a fill has no event (1 have)"


def test_a_cycle_that_nobody_recorded_is_found(written: Ledger, ledger_url: str) -> None:
    columns = "account, symbol, rung, started_at, finished_at, ok, report"
    change(ledger_url, f"INSERT INTO cycles (cycle_id, {columns}) SELECT 'forged', {columns} FROM cycles")
    assert written.verify_chain() == "a cycle has no event (1 have)"


def test_a_chain_of_many_events_is_proved_and_its_last_link_counts(ledger: Ledger, ledger_url: str) -> None:
    ledger.record_fills(ACCOUNT, [fill(number) for number in range(1200)], NOW)
    assert ledger.verify_chain() is None
    change(ledger_url, "UPDATE events SET subject = 'x' WHERE seq = 1200")
    found = ledger.verify_chain()
    assert found is not None
    assert found.startswith("event 1200 ")
