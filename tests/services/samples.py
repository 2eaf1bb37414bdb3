"""Values for the ledger's tests."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.ledger import Lease, Ledger
from trading.certificates import ADOPTED
from trading.instruments import Side
from trading.orders import Event, Fill, OrderIntent, OrderType, TimeInForce

NOW = datetime(2026, 11, 22, 3, 0, 0, 123456, tzinfo=UTC)
ACCOUNT = "bitbank"
SYMBOL = "BTC/JPY"


def client_id(number: int) -> str:
    return f"{number:032x}"


def intent(number: int = 1, **changes: Any) -> OrderIntent:
    plain = OrderIntent(
        client_order_id=client_id(number),
        venue="bitbank",
        symbol=SYMBOL,
        side=Side.BUY,
        type=OrderType.LIMIT,
        quantity=Decimal("0.0300"),
        price=Decimal("13000001"),
        time_in_force=TimeInForce.GOOD_TILL_CANCELLED,
        decision_price=Decimal("13000000.5"),
        decided_at=NOW,
        reason="移動平均 crossed",
        target_quantity=Decimal("0.1"),
    )
    return replace(plain, **changes)


def fill(number: int = 1, **changes: Any) -> Fill:
    plain = Fill(
        id=f"t{number}",
        venue_order_id="v1",
        symbol=SYMBOL,
        side=Side.BUY,
        price=Decimal("13000000"),
        quantity=Decimal("0.01"),
        quote_quantity=Decimal("130000"),
        fee=Decimal("-26.0000000001"),
        fee_currency="JPY",
        at=NOW,
        maker=True,
    )
    return replace(plain, **changes)


def write(ledger: Ledger, lease: Lease, wanted: OrderIntent, known_ids: frozenset[str] = frozenset()) -> None:
    # adopted: needs no certificate, which is not what these tests are about
    ledger.write_intent(wanted, lease, rung=ADOPTED, cycle_id="cycle-1", known_ids=known_ids, now=NOW)


def resting(ledger: Ledger, lease: Lease, number: int = 1, **changes: Any) -> OrderIntent:
    """An order that was sent and that its venue has acknowledged as `v<number>`."""
    wanted = intent(number, **changes)
    write(ledger, lease, wanted)
    ledger.record(lease.account, wanted.client_order_id, Event.SENT, NOW)
    ledger.record(lease.account, wanted.client_order_id, Event.ACKED, NOW, venue_order_id=f"v{number}")
    return wanted
