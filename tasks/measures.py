"""What the trader tells of each cycle, after it: values from the report, the traffic and the ledger.

It stands between two cycles, never in one, and asks nothing of a venue. Where no metrics are sent it does nothing.
"""

import logging
from collections import Counter
from collections.abc import Mapping

from execution.books import deposited, purse_of
from execution.latch import kill_switch
from services.ledger import LedgerUnavailable
from services.monitoring import is_started, push_custom_metric
from tasks.session import TradingSession
from trading.cycle import CycleReport
from trading.pnl import EquityPoint, drawdown
from trading.stages import PAPER, rungs

log = logging.getLogger(__name__)


class Measures:
    """One trading session's metrics, counted on from cycle to cycle."""

    def __init__(self, here: TradingSession) -> None:
        self._here = here
        self._errors: Mapping[str, int] = {}
        self._traffic: Counter[str] = Counter()
        self._rows: dict[str, int] = {}
        if is_started():
            self._rows = {desk.account: self._last_row(desk.account) for desk in (here.desk, here.paper_desk)}

    def after_cycle(self, report: CycleReport | None) -> None:
        """Push what the cycle came to; `report` None: it failed. Never raises."""
        if not is_started():
            return
        try:
            self._count_traffic()
            self._count_fills()
            self._tell_standing()
            if report is None:
                self._push("cycle", 1, result="failed")
            else:
                self._tell_cycle(report)
        except Exception as error:  # a defect in what is only told must not end a trader
            log.warning("%s: metrics of a cycle are lost: %s: %s", self._here.name, type(error).__name__, error)

    def _push(self, name: str, value: float, **labels: str) -> None:
        push_custom_metric(name, value, {"exchange": self._here.name, **labels})

    def _tell_cycle(self, report: CycleReport) -> None:
        mode = self._mode(report.account)
        self._push("cycle", 1, result="ok" if report.ok else "unexplained")
        self._push("cycle_seconds", (report.finished_at - report.started_at).total_seconds())
        if report.order_state:
            self._push("order", 1, state=report.order_state, mode=mode)
        if report.refused:
            self._push("order_refused", 1, rule=report.refused.partition(":")[0])
        self._push("position", float(report.position), symbol=report.symbol, mode=mode)
        self._push("unknown_orders", report.unknown_orders)
        self._push("balance_differences", len(report.discrepancies))
        if report.latency_p95_ms is not None:
            self._push("response_latency_p95_ms", report.latency_p95_ms)
        if report.budget_used is not None:
            self._push("rate_budget_used", report.budget_used)
        if report.clock_skew_seconds is not None:
            self._push("clock_skew_seconds", report.clock_skew_seconds)
        if report.equity is not None:
            quote = report.symbol.partition("/")[2].partition(":")[0]
            self._push("equity", float(report.equity), currency=quote, mode=mode)
            purse = purse_of(self._here.ledger, report.account, report.symbol)
            (point,) = self._here.ledger.equity(report.account, purse, limit=1) or (None,)
            if point is not None:
                added = deposited(self._here.ledger, report.account, purse)
                fall = drawdown([EquityPoint(point.at, point.peak)], point.equity, added)
                self._push("drawdown", float(fall), mode=mode)

    def _tell_standing(self) -> None:
        here = self._here
        record = here.ledger.rung(here.account, here.symbol)
        ladder = rungs(here.settings.ladder.ramp_steps)
        known = record is not None and record.rung in ladder
        self._push("rung", 1 + ladder.index(record.rung) if record is not None and known else 0)
        self._push("kill_switch", float(kill_switch(here.settings.home, here.ledger, here.account) is not None))

    def _count_traffic(self) -> None:
        traffic = self._here.reader.traffic()
        now = Counter(request=traffic.requests, sent=traffic.bytes_sent, received=traffic.bytes_received)
        since = now - self._traffic
        self._push("api_request", since["request"])
        for direction in ("sent", "received"):
            self._push("http_bytes", since[direction], direction=direction)
        for kind, count in traffic.errors_by_kind.items():
            if count > self._errors.get(kind, 0):
                self._push("api_error", count - self._errors.get(kind, 0), error_type=kind)
        self._traffic, self._errors = now, traffic.errors_by_kind

    def _count_fills(self) -> None:
        for account, row in self._rows.items():
            for stored in self._here.ledger.fills_after(account, row):
                self._rows[account] = max(self._rows[account], stored.row)
                if stored.ours:
                    fill = stored.fill
                    self._push("trade_executed", 1, symbol=fill.symbol, side=str(fill.side), mode=self._mode(account))

    def _last_row(self, account: str) -> int:
        try:
            return self._here.ledger.last_fill_row(account)
        except LedgerUnavailable:
            return 0

    def _mode(self, account: str) -> str:
        return PAPER if account.endswith(f":{PAPER}") else str(self._here.configured.endpoint)
