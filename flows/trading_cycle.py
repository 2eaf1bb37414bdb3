"""One trading cycle: reconcile, look, decide, carry out, close the books. The trader runs it each minute."""

from prefect import flow
from prefect.runtime import flow_run

from config.settings import ExchangeName
from tasks.books import close_books, note_failed_cycle
from tasks.carry_out import carry_out, reconcile_account
from tasks.decide import decide
from tasks.market import read_market
from tasks.session import trading
from tasks.staleness import unless_stale
from trading.cycle import CycleReport


def _run_name() -> str:
    given = flow_run.parameters
    return f"{given['exchange']} {given.get('cycle_id') or 'now'}"


# Async: a sync flow waits a second at its end (docs/adr/0007-the-cycle-is-a-flow.md). Never retried: the next cycle
# reconciles first.
@flow(name="trading_cycle", flow_run_name=_run_name, retries=0, persist_result=False)
@unless_stale
async def trading_cycle(exchange: ExchangeName, cycle_id: str = "") -> CycleReport:
    """Run one cycle at one exchange.

    Args:
        exchange: The exchange. Its trader must not be running.
        cycle_id: Makes the id of its order repeatable; empty: the current minute.
    """
    async with trading(exchange) as session:
        started_at = session.clock.now()
        cycle_id = cycle_id or f"{started_at:%Y-%m-%dT%H:%M}Z"
        try:
            books = await reconcile_account(exchange)
            market = await read_market(exchange)
            decision = await decide(exchange, cycle_id, books, market)
            outcome = await carry_out(exchange, cycle_id, decision, books)
            return await close_books(exchange, cycle_id, started_at, books, market, decision, outcome)
        except Exception as error:
            note_failed_cycle(exchange, cycle_id, started_at, error)
            raise
