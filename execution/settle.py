"""The beginning of every cycle: take back what still rests, then make the ledger agree with the venue."""

from execution.cancel import cancel
from execution.desk import Desk
from execution.reconcile import Reconciliation, reconcile
from trading.orders import State

_RESTING = frozenset({State.OPEN, State.PARTIALLY_FILLED, State.CANCEL_SENT})


async def settle(desk: Desk, symbol: str) -> Reconciliation:
    """Cancel our resting orders of the symbol, then reconcile. Costs what `cancel` and `reconcile` cost."""
    for order in desk.ledger.in_flight(desk.account, symbol):
        if order.state in _RESTING:
            await cancel(desk, order)
    return await reconcile(desk, symbol)
