"""The faults that a trader has to survive, as data: what is done to it, for how long, and what is expected."""

from collections.abc import Sequence
from dataclasses import dataclass

from cli.survive_points import POINTS
from config.errors import ConfigurationError

KILL = "kill_9"


@dataclass(frozen=True)
class Drill:
    """One fault. `kind`: venue (the venue is told), kill, or the process fault's own name.

    `value`, `times`, `match`: what the venue is told. `style`: of the trader's orders. `cycles`: under the fault.
    `must_halt`: a human is called, trading must not go on. `no_orders`: none may reach the venue under the fault.
    `fewer_requests`: a cycle under the fault sends fewer than a calm one.
    `prefect`: the cycles are real flow runs.
    """

    fault: str
    group: str
    kind: str = "venue"
    value: str | None = None
    times: int | None = None
    match: str | None = None
    style: str = "taker"
    cycles: int = 3
    must_halt: bool = False
    no_orders: bool = False
    fewer_requests: bool = False
    prefect: bool = False


def _venue(group: str, *names: str, **more: object) -> tuple[Drill, ...]:
    return tuple(Drill(name, group, **more) for name in names)  # type: ignore[arg-type]


CATALOGUE: tuple[Drill, ...] = (
    *_venue("answers", "lost_ack", "lost_request", "ack_500", "ack_empty", "ack_html", "ack_truncated", times=1),
    Drill("hang", "answers", times=1),
    Drill("slow", "answers", value="1", match="place", cycles=2),
    Drill("late_visibility", "answers", value="90", times=2),
    Drill("list_lag", "answers", value="30"),
    *_venue("answers", "duplicate_fill", "out_of_order_fills"),
    *_venue("answers", "rate_limited", "rate_limited_html", no_orders=True, fewer_requests=True),
    *_venue("answers", "forbidden", "maintenance", "unavailable", no_orders=True),
    Drill("auth_revoked", "answers", no_orders=True),
    Drill("clock_skew", "answers", value="40", no_orders=True),
    Drill("partial_fill", "orders", times=2),
    Drill("late_rejection", "orders", times=2),
    *_venue("orders", "min_size_raised", "price_band"),
    Drill("fill_during_cancel", "orders", style="maker", times=1, cycles=6),
    *_venue("orders", "cancel_500", "cancel_lost_ack", "cancel_refused", style="maker", times=2),
    *_venue("orders", "post_only_cross", "self_expiry", style="maker", times=2),
    Drill("order_vanishes", "orders", style="maker"),
    Drill("balance_lag", "account and market", value="30"),
    *_venue("account and market", "fee_in_base", "candle_gap", "crossed_book"),
    Drill("stale_ticker", "account and market", cycles=6),
    *_venue("account and market", "empty_book", "circuit_break", no_orders=True),
    Drill("flash_crash", "account and market"),
    *_venue("account and market", "foreign_order", "foreign_balance_change", must_halt=True),
    Drill("withdraw_permission", "account and market", "withdraw_permission", prefect=True),
    *(Drill(f"{KILL}:{name}", "process", "kill", style=point.style, cycles=8) for name, point in POINTS.items()),
    Drill("sigterm", "process", "sigterm", prefect=True),
    Drill("second_instance", "process", "second_instance", prefect=True),
    Drill("ledger_locked", "process", "ledger_locked", cycles=1, no_orders=True),
    Drill("disk_full", "process", "disk_full", cycles=2, no_orders=True),
    Drill("prefect_down", "process", "prefect_down", style="maker", cycles=2, no_orders=True, prefect=True),
    Drill("clock_jump", "process", "clock_jump", cycles=2, no_orders=True),
)

# (exchange, fault) -> why the venue has no such thing; most of it the simulated venues tell themselves.
NOT_APPLICABLE = {("bitflyer", "clock_skew"): "bitFlyer judges no request by its time and tells no exact time"}


def drills(names: Sequence[str]) -> tuple[Drill, ...]:
    """The drills of these faults, in the order of the catalogue; all for no names. `kill_9` means every point of it.

    Raises ConfigurationError, one line, for a name that there is not.
    """
    known = {each.fault for each in CATALOGUE} | {KILL}
    for name in names:
        if name not in known:
            raise ConfigurationError(f"no fault {name}: `crypto-bot survive --list` names them all")
    return tuple(
        each for each in CATALOGUE if not names or each.fault in names or each.fault.partition(":")[0] in names
    )
