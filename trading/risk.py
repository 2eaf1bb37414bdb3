"""Risk: every order passes all rules, in this order, or it does not go out.

A rule is a function of (intent, facts, limits) that returns None or a Refused with the limit and what was
observed. Only an `Approved` can be sent. An order that can only reduce the position is not held back by the
rules that protect against a growing loss or position (certificate size, collateral, position, daily loss,
drawdown); every other rule holds for it too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum

from trading.instruments import Kind, Side
from trading.money import ZERO, plain
from trading.orders import OrderIntent, State
from trading.risk_facts import RiskFacts, RiskLimits

# A refusal by one of these means that a bound was broken, not merely met: the rung goes down.
BREACHES = frozenset({"daily_loss", "drawdown", "repeated_execution"})
# A refusal by one of these sets the kill switch, which only a named human takes back.
LATCHING = frozenset({"repeated_execution", "key_rights"})
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)  # between orders that the venue refuses


@dataclass(frozen=True)
class Approved:
    """An intent that has passed every rule; the only thing that can be placed."""

    intent: OrderIntent
    certificate_rung: str
    certificate: int | None = None  # its number in the ledger; None: the rung alone names it
    own_cap: Decimal | None = None  # base; the minimal-order check's, which no certificate covers


@dataclass(frozen=True)
class Refused:
    rule: str
    limit: str
    observed: str

    @property
    def is_breach(self) -> bool:
        """Whether the certificate must go down a rung."""
        return self.rule in BREACHES

    @property
    def latches(self) -> bool:
        """Whether the kill switch must be set until a named human re-arms it."""
        return self.rule in LATCHING

    def __str__(self) -> str:
        return f"{self.rule}: limit {self.limit}, observed {self.observed}"


class TradingState(StrEnum):
    """What an account may do now, whatever the single order looks like."""

    ACTIVE = "active"
    REDUCE_ONLY = "reduce_only"  # only orders that take the position towards zero
    HALTED = "halted"  # nothing, until a named human re-arms


Rule = Callable[[OrderIntent, RiskFacts, RiskLimits], Refused | None]


def kill_switch(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    if facts.kill_switch is None:
        return None
    return Refused("kill_switch", "trading enabled", facts.kill_switch or "set, no reason given")


def certificate(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    rung = facts.rung
    if rung is None:
        return Refused("certificate", f"a certificate for {intent.symbol}", "none")
    if rung.symbol != intent.symbol or facts.instrument.symbol != intent.symbol:
        return Refused("certificate", f"certificate and instrument for {intent.symbol}", rung.symbol)
    if rung.issued_at is not None and facts.now < rung.issued_at:
        return Refused("certificate", f"in force from {rung.issued_at.isoformat()}", facts.now.isoformat())
    if facts.now >= rung.expires_at:
        return Refused("certificate", f"valid until {rung.expires_at.isoformat()}", facts.now.isoformat())
    if rung.changed:
        return Refused("certificate", "what was examined", f"changed: {', '.join(rung.changed)}")
    if intent.quantity > rung.max_quantity and not _only_reduces(intent, facts):
        return Refused("certificate", f"{rung.rung}: {_base(rung.max_quantity, facts)}", _base(intent.quantity, facts))
    return None


def key_rights(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    """A key that can take money away is not traded with, on whatever rung."""
    if not facts.key_may_withdraw:
        return None
    return Refused("key_rights", "a key that cannot withdraw", "the venue says that it may")


def unproved_order(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    if facts.unknown_orders == 0:
        return None
    return Refused("unproved_order", "0 orders of unknown outcome", str(facts.unknown_orders))


def venue_state(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    if not facts.venue_trading:
        return Refused("venue_state", "a venue that takes orders", facts.venue_state)
    for window in facts.maintenance:
        if window.covers(facts.now):
            return Refused("venue_state", f"no maintenance until {window.ends_at.isoformat()}", window.why)
    return None


def data_age(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    limit = f"{limits.max_data_age_seconds:g} s"
    if facts.data_at is None:
        return Refused("data_age", limit, "no data")
    age = (facts.now - facts.data_at).total_seconds()
    if age > limits.max_data_age_seconds:
        return Refused("data_age", limit, f"{age:g} s")
    if -age > limits.max_clock_skew_seconds:
        return Refused("data_age", f"at most {limits.max_clock_skew_seconds:g} s ahead of us", f"{-age:g} s ahead")
    return None


def clock_skew(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    skew = facts.clock_skew_seconds
    if skew is None or abs(skew) <= limits.max_clock_skew_seconds:
        return None
    return Refused("clock_skew", f"{limits.max_clock_skew_seconds:g} s", f"{skew:+g} s")


def order_steps(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    """Lot, tick, smallest and largest order of the instrument."""
    instrument = facts.instrument
    if intent.quantity % instrument.lot_size != 0:
        return Refused("order_steps", f"multiples of {plain(instrument.lot_size)}", plain(intent.quantity))
    if intent.price is not None and (intent.price <= 0 or intent.price % instrument.tick_size != 0):
        return Refused("order_steps", f"prices in steps of {plain(instrument.tick_size)}", plain(intent.price))
    price = _price(intent)
    if not instrument.is_large_enough(intent.quantity, price):
        least = instrument.smallest_quantity(price)
        return Refused("order_steps", f"at least {_base(least, facts)}", _base(intent.quantity, facts))
    if instrument.max_quantity is not None and intent.quantity > instrument.max_quantity:
        most = instrument.max_quantity
        return Refused("order_steps", f"at most {_base(most, facts)}", _base(intent.quantity, facts))
    return None


def free_balance(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    """What the order can cost, its fee included, is there. A perpetual's whole position is covered: no
    leverage."""
    instrument = facts.instrument
    price = _price(intent)
    if instrument.kind is Kind.PERPETUAL:
        if _only_reduces(intent, facts):
            return None
        if facts.collateral is None:
            return Refused("free_balance", f"collateral in {instrument.quote}", "not known")
        needed = _largest_position(intent, facts) * price * (1 + instrument.highest_fee_rate)
        asset, available = instrument.quote, facts.collateral
    elif intent.side is Side.BUY:
        cost = instrument.booked_cost(Side.BUY, price, intent.quantity)
        needed = cost + intent.quantity * price * instrument.quote_fee_rate(Side.BUY)
        asset, available = instrument.quote, facts.free.get(instrument.quote, ZERO)
    else:
        needed = intent.quantity * (1 + instrument.base_fee_rate_of_sell)
        asset, available = instrument.base, facts.free.get(instrument.base, ZERO)
    if needed <= available:
        return None
    return Refused("free_balance", f"{plain(available)} {asset}", f"{plain(needed)} {asset}")


def order_notional(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    if intent.notional <= limits.max_order_notional:
        return None
    return Refused("order_notional", _quote(limits.max_order_notional, facts), _quote(intent.notional, facts))


def position(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    """The position if this and all our resting orders fill, in quote and against the certificate; spot never
    below 0."""
    if facts.instrument.kind is Kind.SPOT and intent.side is Side.SELL:
        ours = facts.position_quantity - _resting(facts, Side.SELL)
        leaves = intent.quantity * (1 + facts.instrument.base_fee_rate_of_sell)
        if leaves > ours:
            return Refused("position", f"sell what we hold, {_base(ours, facts)}", _base(leaves, facts))
        return None
    if _only_reduces(intent, facts):
        return None
    after = _largest_position(intent, facts)
    if facts.rung is not None and after > facts.rung.position:
        return Refused("position", f"{facts.rung.rung}: {_base(facts.rung.position, facts)}", _base(after, facts))
    value = after * _price(intent)
    if value > limits.max_position_notional:
        return Refused("position", _quote(limits.max_position_notional, facts), _quote(value, facts))
    return None


def open_orders(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    return _countable("open_orders", len(facts.open_orders) + 1, limits.max_open_orders)


def orders_per_minute(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    return _countable("orders_per_minute", facts.orders_last_minute + 1, limits.max_orders_per_minute)


def orders_per_day(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    certified = facts.rung.max_orders_per_day if facts.rung is not None else None
    most = limits.max_orders_per_day if certified is None else min(certified, limits.max_orders_per_day)
    return _countable("orders_per_day", facts.orders_today + 1, most)


def price_collar(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    if facts.bid is None or facts.ask is None or facts.bid <= 0:
        return Refused("price_collar", "a book with two sides", "bid or ask missing")
    if facts.bid >= facts.ask:
        return Refused("price_collar", "a bid below the ask", f"{plain(facts.bid)} and {plain(facts.ask)}")
    middle = (facts.bid + facts.ask) / 2
    price = _price(intent)
    if abs(price - middle) <= middle * limits.price_collar:
        return None
    return Refused("price_collar", f"{plain(limits.price_collar)} around {plain(middle)}", plain(price))


def duplicate(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    """The same id at any time, or the same side, quantity and price within the window."""
    window = timedelta(seconds=limits.duplicate_window_seconds)
    for earlier in facts.recent:
        if earlier.client_order_id == intent.client_order_id:
            return Refused("duplicate", "each client order id once", intent.client_order_id)
        age = facts.now - earlier.decided_at
        same = (earlier.side, earlier.quantity, earlier.price) == (intent.side, intent.quantity, intent.price)
        if same and age < window and earlier.state is not State.REJECTED:
            seen = f"{earlier.client_order_id}, {age.total_seconds():g} s ago"
            return Refused("duplicate", f"none alike within {limits.duplicate_window_seconds:g} s", seen)
    return None


def own_order_crossed(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    """We do not trade with ourselves."""
    for resting in facts.open_orders:
        if resting.side is intent.side or resting.remaining <= 0:
            continue
        if intent.price is None or resting.price is None or _meets(intent.side, intent.price, resting.price):
            bound = "market" if resting.price is None else plain(resting.price)
            seen = "market" if intent.price is None else plain(intent.price)
            return Refused("own_order_crossed", f"our own {resting.side} at {bound} untouched", seen)
    return None


def daily_loss(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    if facts.daily_loss < limits.max_daily_loss or _only_reduces(intent, facts):
        return None
    return Refused("daily_loss", _quote(limits.max_daily_loss, facts), _quote(facts.daily_loss, facts))


def drawdown(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    if facts.drawdown < limits.max_drawdown or _only_reduces(intent, facts):
        return None
    return Refused("drawdown", plain(limits.max_drawdown), plain(facts.drawdown))


def repeated_execution(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    """Orders that executed, alike in side, quantity and target, one after the other: the bot does not see its
    own fills.

    Orders that never filled (a maker that follows the price) are no executions and are passed over.
    """
    in_a_row = 0
    for earlier in facts.recent:
        if facts.rearmed_at is not None and earlier.decided_at <= facts.rearmed_at:
            break
        if earlier.filled <= 0:
            continue
        if (earlier.side, earlier.quantity) != (intent.side, intent.quantity):
            break
        if earlier.target_quantity != intent.target_quantity:
            break
        in_a_row += 1
    if in_a_row < limits.repeated_execution_limit:
        return None
    return Refused("repeated_execution", f"{limits.repeated_execution_limit} alike in a row", str(in_a_row))


def refused_in_a_row(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Refused | None:
    """Orders that the venue refused one after the other: each further one waits twice as long, a minute to an hour.

    What it refuses it goes on refusing until somebody looks (a right, a rule, a suspended account), and venues lock out
    whoever keeps asking.
    """
    in_a_row = 0
    for earlier in facts.recent:
        forgiven = facts.rearmed_at is not None and earlier.decided_at <= facts.rearmed_at
        if forgiven or earlier.state is not State.REJECTED:
            break
        in_a_row += 1
    if in_a_row < limits.refused_in_a_row_limit:
        return None
    pause = min(_FIRST_PAUSE * 2 ** min(in_a_row - limits.refused_in_a_row_limit, 6), _LONGEST_PAUSE)
    waited = facts.now - facts.recent[0].decided_at
    if waited >= pause:
        return None
    return Refused(
        "refused_in_a_row",
        f"{limits.refused_in_a_row_limit} by the venue, then one in {pause.total_seconds():g} s",
        f"{in_a_row}, the newest {waited.total_seconds():.0f} s ago",
    )


RULES: tuple[Rule, ...] = (
    kill_switch,
    certificate,
    key_rights,
    unproved_order,
    venue_state,
    data_age,
    clock_skew,
    order_steps,
    free_balance,
    order_notional,
    position,
    open_orders,
    orders_per_minute,
    orders_per_day,
    price_collar,
    duplicate,
    own_order_crossed,
    daily_loss,
    drawdown,
    repeated_execution,
    refused_in_a_row,
)


def assess(intent: OrderIntent, facts: RiskFacts, limits: RiskLimits) -> Approved | Refused:
    """Judge an intent by every rule in turn; the first refusal stands."""
    for rule in RULES:
        refused = rule(intent, facts, limits)
        if refused is not None:
            return refused
    assert facts.rung is not None  # the certificate rule has seen to it
    own_cap = facts.rung.max_quantity if facts.rung.number is None else None
    return Approved(intent, facts.rung.rung, facts.rung.number, own_cap)


def trading_state(facts: RiskFacts, limits: RiskLimits) -> tuple[TradingState, str]:
    """What the account may do now, and why it may not do everything ("" when it may)."""
    if facts.kill_switch is not None:
        return TradingState.HALTED, f"kill switch: {facts.kill_switch or 'set, no reason given'}"
    if facts.daily_loss >= limits.max_daily_loss:
        lost, most = _quote(facts.daily_loss, facts), _quote(limits.max_daily_loss, facts)
        return TradingState.REDUCE_ONLY, f"daily loss {lost} of {most}"
    if facts.drawdown >= limits.max_drawdown:
        return TradingState.REDUCE_ONLY, f"drawdown {plain(facts.drawdown)} of {plain(limits.max_drawdown)}"
    return TradingState.ACTIVE, ""


def _price(intent: OrderIntent) -> Decimal:
    return intent.price if intent.price is not None else intent.decision_price


def _meets(side: Side, price: Decimal, resting: Decimal) -> bool:
    return price >= resting if side is Side.BUY else price <= resting


def _resting(facts: RiskFacts, side: Side) -> Decimal:
    return sum((order.remaining for order in facts.open_orders if order.side is side), ZERO)


def _only_reduces(intent: OrderIntent, facts: RiskFacts) -> bool:
    """Whether the position shrinks towards zero, and not past it, even if everything that rests on this side
    fills."""
    held = facts.position_quantity
    if held * intent.side.sign >= 0:
        return False
    return intent.quantity + _resting(facts, intent.side) <= abs(held)


def _largest_position(intent: OrderIntent, facts: RiskFacts) -> Decimal:
    """The position (base, absolute) if this order and all that rest on its side fill, and nothing on the
    other."""
    change = (intent.quantity + _resting(facts, intent.side)) * intent.side.sign
    return abs(facts.position_quantity + change)


def _countable(rule: str, observed: int, limit: int) -> Refused | None:
    return Refused(rule, str(limit), str(observed)) if observed > limit else None


def _base(quantity: Decimal, facts: RiskFacts) -> str:
    return f"{plain(quantity)} {facts.instrument.base}"


def _quote(money: Decimal, facts: RiskFacts) -> str:
    return f"{plain(money)} {facts.instrument.quote}"
