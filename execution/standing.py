"""Where an account stands, read from the ledger: for `status` and for the reports in Prefect's UI alike."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from config.settings import Endpoint, ExchangeName, Settings
from execution.books import deposited, purse_of
from execution.latch import kill_switch
from services.ledger import CycleRecord, Latch, Ledger, RungRecord
from trading.orders import State
from trading.pnl import EquityPoint, drawdown
from trading.stages import PAPER
from trading.standing import AccountState, Known, account_state


@dataclass(frozen=True)
class Standing:
    """One account at one moment. `traded` is the account of its rung: the venue's, or that on paper."""

    account: str
    symbol: str
    traded: str
    state: AccountState
    cause: str
    record: RungRecord | None
    latch: Latch | None
    last_cycle: CycleRecord | None
    open_orders: int
    unknown_orders: int
    equity: Decimal | None  # in the symbol's quote
    below_peak: Decimal | None  # fraction of the highest equity

    @property
    def quote(self) -> str:
        return self.symbol.partition("/")[2].partition(":")[0]


def standing_of(settings: Settings, ledger: Ledger, exchange: ExchangeName, now: datetime) -> Standing:
    """Read where an exchange's account stands. Asks no venue. Raises LedgerUnavailable."""
    account, symbol = settings.account(exchange), settings.symbol(exchange)
    record = ledger.rung(account, symbol)
    latch = kill_switch(settings.home, ledger, account)
    traded = f"{account}:{PAPER}" if record is not None and record.rung == PAPER else account
    cycles = ledger.cycles(traded, symbol, limit=1)
    in_flight = ledger.in_flight(account)
    unknown = sum(order.state is State.UNKNOWN for order in in_flight)
    report = cycles[0].report if cycles else {}
    known = Known(
        kill_switch=None if latch is None else f"{latch.reason} (by {latch.by})",
        rung=record.rung if record else None,
        expires_at=record.expires_at if record else None,
        unknown_orders=unknown,
        discrepancies=report.get("discrepancies", ()),
        told=report.get("trading_state", ""),
        to_run=f"crypto-bot check {exchange} --orders",
    )
    if cycles and settings.exchanges[exchange].endpoint is Endpoint.SIMULATED:
        now = cycles[0].finished_at  # market time may be stepped: the wall says nothing about it
    state, cause = account_state(known, now)
    purse = purse_of(ledger, traded, symbol)
    points = ledger.equity(traded, purse, limit=1)
    fall = (
        drawdown([EquityPoint(points[0].at, points[0].peak)], points[0].equity, deposited(ledger, traded, purse))
        if points
        else None
    )
    return Standing(
        account=account,
        symbol=symbol,
        traded=traded,
        state=state,
        cause=cause,
        record=record,
        latch=latch,
        last_cycle=cycles[0] if cycles else None,
        open_orders=len(in_flight) - unknown,
        unknown_orders=unknown,
        equity=points[0].equity if points else None,
        below_peak=fall,
    )
