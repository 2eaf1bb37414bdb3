"""Carry out what was decided: the doorway to the order path. Nothing here is ever retried."""

from dataclasses import dataclass

from prefect import task
from prefect.cache_policies import NO_CACHE

from config.settings import ExchangeName
from exchanges.errors import AuthenticationError
from execution.cancel import cancel
from execution.follow import follow
from execution.latch import set_latch
from execution.place import PlacementHeld, place
from execution.reconcile import Reconciliation
from execution.settle import settle
from services.ledger import CertificateRefused
from tasks.decide import Decision
from tasks.keys import renew_key
from tasks.session import TradingSession, trading_session
from trading.orders import Order
from trading.risk import Approved, Refused


@dataclass(frozen=True)
class Outcome:
    """What became of a decision: the order as the ledger knows it, or why there is none."""

    order: Order | None
    note: str
    refused: Refused | None = None  # by the certificate, in the transaction that would have written the intent


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def reconcile_account(exchange: ExchangeName) -> Reconciliation:
    """Take back what still rests from the cycle before, then make the ledger agree with the venue.

    A key that the venue no longer knows may have been rotated: its secret is read anew, once, before the cycle fails.
    """
    session = trading_session(exchange)
    try:
        return await _reconciled(session)
    except AuthenticationError:
        if not await renew_key(session):
            raise
        return await _reconciled(session)


async def _reconciled(session: TradingSession) -> Reconciliation:
    record = session.ledger.rung(session.account, session.symbol)
    desk = session.desk_for(record.rung if record else None)
    # The rung went down to paper, or another symbol was configured, while an order at the venue is still open to
    # question: it stays in sight.
    in_flight = {order.intent.symbol for order in session.ledger.in_flight(session.desk.account)}
    for symbol in sorted(in_flight - ({session.symbol} if desk is session.desk else set())):
        await settle(session.desk, symbol)
    return await settle(desk, session.symbol)


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def carry_out(exchange: ExchangeName, cycle_id: str, decision: Decision, books: Reconciliation) -> Outcome:
    """Place the approved order once and see what becomes of it; a taker's rest is cancelled at the end."""
    session = trading_session(exchange)
    verdict = decision.verdict
    if isinstance(verdict, Refused):
        if verdict.latches:
            set_latch(session.settings.home, session.ledger, session.account, str(verdict), "risk", session.clock.now())
        return Outcome(None, f"refused by {verdict}")
    if not isinstance(verdict, Approved):
        return Outcome(None, decision.reason)
    desk = session.desk_for(verdict.certificate_rung)
    try:
        order = await place(desk, verdict, cycle_id=cycle_id, known_ids=books.known_ids)
    except PlacementHeld as held:
        return Outcome(None, str(held))
    except CertificateRefused as error:
        return Outcome(None, str(error), error.refused)
    execution = session.settings.execution
    if execution.order_style == "taker":
        order = await follow(desk, order, execution.follow_seconds)
        order = await cancel(desk, order)
    return Outcome(order, decision.reason)
