from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.examples import (
    ASK,
    BID,
    BITFLYER,
    CFD,
    FACTS,
    LIMITS,
    NOON,
    D,
    a_venue_order,
    an_intent,
    an_order,
)
from trading.instruments import Kind, Side
from trading.maintenance import maintenance_near
from trading.orders import OrderType, State
from trading.risk import RULES, Approved, Refused, TradingState, assess, trading_state
from trading.risk_facts import RecentOrder, RiskFacts


def assert_refused_by(rule: str, facts: RiskFacts = FACTS, **changes: Any) -> Refused:
    verdict = assess(an_intent(**{"symbol": facts.instrument.symbol, **changes}), facts, LIMITS)
    assert isinstance(verdict, Refused), "was approved"
    assert verdict.rule == rule, str(verdict)
    assert verdict.limit and verdict.observed
    return verdict


def assert_approved(facts: RiskFacts = FACTS, **changes: Any) -> Approved:
    verdict = assess(an_intent(**{"symbol": facts.instrument.symbol, **changes}), facts, LIMITS)
    assert isinstance(verdict, Approved), str(verdict)
    return verdict


def facts(**changes: Any) -> RiskFacts:
    return replace(FACTS, **changes)


def recent(**changes: Any) -> RecentOrder:
    order = RecentOrder.of(an_order())
    return replace(order, client_order_id="1" * 32, decided_at=NOON - timedelta(minutes=5), **changes)


HOLDING = facts(position_quantity=D("0.05"))
SELL = {"side": Side.SELL, "price": BID, "target_quantity": D(0)}


def test_an_ordinary_order_is_approved_with_the_rung_it_rests_on():
    assert assert_approved().certificate_rung == "minimal"


def test_a_refusal_names_rule_limit_and_what_was_seen():
    verdict = assess(an_intent(), FACTS, replace(LIMITS, max_order_notional=D(100_000)))
    assert str(verdict) == "order_notional: limit 100000 JPY, observed 100010 JPY"


def test_the_kill_switch_stops_every_order_even_one_that_reduces():
    assert assert_refused_by("kill_switch", facts(kill_switch="stopped by hand")).observed == "stopped by hand"
    assert_refused_by("kill_switch", replace(HOLDING, kill_switch=""), **SELL)


def test_without_a_valid_certificate_nothing_is_sent():
    assert_refused_by("certificate", facts(rung=None))
    assert FACTS.rung is not None
    assert_refused_by("certificate", facts(now=FACTS.rung.expires_at))
    assert_refused_by("certificate", facts(rung=replace(FACTS.rung, symbol="ETH/JPY")))


def test_the_certificate_caps_the_order_but_not_the_way_out():
    assert assert_refused_by("certificate", quantity=D("0.0501")).limit == "minimal: 0.05 BTC"
    assert_approved(facts(position_quantity=D("0.06")), **SELL, quantity=D("0.06"))


def test_a_key_that_may_withdraw_sends_nothing_not_even_the_way_out_and_latches():
    assert assert_refused_by("key_rights", facts(key_may_withdraw=True)).latches
    assert_refused_by("key_rights", replace(HOLDING, key_may_withdraw=True), **SELL)


def test_an_order_of_unknown_outcome_blocks_its_symbol():
    assert_refused_by("unproved_order", facts(unknown_orders=1))


def test_a_closed_venue_takes_no_order():
    assert assert_refused_by("venue_state", facts(venue_trading=False, venue_state="HALT")).observed == "HALT"


def test_the_daily_maintenance_of_bitflyer_is_known_beforehand():
    evening = NOON.replace(hour=19, minute=4)
    windows = maintenance_near("bitflyer", evening)
    assert_refused_by("venue_state", facts(now=evening, data_at=evening, maintenance=windows))
    later = NOON.replace(hour=19, minute=10)
    assert_approved(facts(now=later, data_at=later, maintenance=maintenance_near("bitflyer", later)))
    assert maintenance_near("bitbank", evening) == ()


def test_old_missing_or_future_data_is_no_ground_for_an_order():
    assert_refused_by("data_age", facts(data_at=NOON - timedelta(seconds=61)))
    assert_refused_by("data_age", facts(data_at=None))
    assert_refused_by("data_age", facts(data_at=NOON + timedelta(seconds=3)))
    assert_approved(facts(data_at=NOON - timedelta(seconds=60)))


def test_a_clock_that_is_off_stops_trading_in_either_direction():
    assert_refused_by("clock_skew", facts(clock_skew_seconds=2.5))
    assert_refused_by("clock_skew", facts(clock_skew_seconds=-2.5))
    assert_approved(facts(clock_skew_seconds=None))


@pytest.mark.parametrize(
    "wrong",
    [{"quantity": D("0.01005")}, {"quantity": D("0.00001")}, {"price": D("10000000.5")}, {"price": D(0)}],
)
def test_an_order_off_its_steps_is_not_sent(wrong: dict[str, Decimal]):
    assert_refused_by("order_steps", **wrong)


def test_an_order_below_the_least_notional_or_above_the_venues_largest_is_not_sent():
    least = replace(FACTS.instrument, min_notional=D(200_000))
    assert assert_refused_by("order_steps", facts(instrument=least)).limit == "at least 0.02 BTC"
    assert_refused_by("order_steps", facts(instrument=replace(FACTS.instrument, max_quantity=D("0.005"))))


def test_a_buy_must_be_paid_with_its_fee():
    cost = D("0.01") * ASK
    assert_refused_by("free_balance", facts(free={"JPY": cost}))
    assert_refused_by("free_balance", facts(free={}))
    assert_approved(facts(free={"JPY": cost * D("1.0012")}))


def test_a_sell_must_find_the_fee_in_base_where_the_venue_takes_it_there():
    selling = facts(instrument=BITFLYER, position_quantity=D("0.01"), free={"BTC": D("0.01")})
    assert_refused_by("free_balance", selling, **SELL, quantity=D("0.01"))
    assert_approved(selling, **SELL, quantity=D("0.00998"))


def test_spot_never_sells_more_than_the_bot_itself_bought():
    account_has_more = facts(position_quantity=D("0.005"), free={"BTC": D(1)})
    assert_refused_by("position", account_has_more, **SELL)
    assert_approved(account_has_more, **SELL, quantity=D("0.005"))


def test_the_fee_in_base_comes_out_of_what_the_bot_bought_too():
    account_has_more = facts(instrument=BITFLYER, position_quantity=D("0.01"), free={"BTC": D(1)})
    assert_refused_by("position", account_has_more, **SELL, quantity=D("0.01"))
    assert_approved(account_has_more, **SELL, quantity=D("0.00998"))


def test_what_rests_on_the_same_side_reduces_first():
    long = facts(
        instrument=CFD,
        position_quantity=D("0.05"),
        collateral=D(10**9),
        daily_loss=D(60_000),
        rung=replace(FACTS.rung, symbol=CFD.symbol) if FACTS.rung else None,
        open_orders=(a_venue_order(side=Side.SELL, price=D(10_100_000), quantity=D("0.045")),),
    )
    assert_refused_by("daily_loss", long, **SELL)
    assert_approved(long, **SELL, quantity=D("0.005"))


def test_what_already_rests_for_sale_is_not_sold_again():
    resting = a_venue_order(side=Side.SELL, price=D(10_100_000), quantity=D("0.045"))
    assert_refused_by("position", replace(HOLDING, open_orders=(resting,)), **SELL)


def test_the_position_counts_what_still_rests_on_the_same_side():
    resting = a_venue_order(quantity=D("0.045"), filled=D("0.003"))
    assert assert_refused_by("position", facts(open_orders=(resting,))).observed == "0.052 BTC"
    assert_approved(facts(open_orders=(replace(resting, filled=D("0.005")),)))


def test_the_position_is_bounded_in_quote_as_well():
    limits = replace(LIMITS, max_position_notional=D(500_000))
    verdict = assess(an_intent(), facts(position_quantity=D("0.04")), limits)
    assert isinstance(verdict, Refused) and verdict.rule == "position"


def test_a_perpetual_is_covered_by_collateral_as_a_whole():
    short = facts(
        instrument=CFD,
        position_quantity=D("-0.02"),
        collateral=D(300_000),
        rung=replace(FACTS.rung, symbol=CFD.symbol) if FACTS.rung else None,
    )
    more = {"symbol": CFD.symbol, "side": Side.SELL, "price": BID}
    assert_approved(short, **more, quantity=D("0.01"))
    assert_refused_by("free_balance", short, **more, quantity=D("0.011"))
    assert_refused_by("free_balance", replace(short, collateral=None), **more)
    assert_approved(replace(short, collateral=None), symbol=CFD.symbol, quantity=D("0.02"))


def test_open_orders_and_orders_a_minute_and_a_day_are_counted():
    resting = tuple(a_venue_order(venue_order_id=str(n), quantity=D("0.001")) for n in range(3))
    assert_refused_by("open_orders", facts(open_orders=resting))
    assert_approved(facts(open_orders=resting[:2]))
    assert_refused_by("orders_per_minute", facts(orders_last_minute=5))
    assert_approved(facts(orders_last_minute=4))
    assert_refused_by("orders_per_day", facts(orders_today=100))


def test_a_price_far_from_the_book_is_a_slip_of_the_finger():
    assert_refused_by("price_collar", price=D(10_200_001))
    assert_refused_by("price_collar", price=D(9_799_999))
    assert_approved(price=D(10_200_000))


def test_an_empty_one_sided_or_crossed_book_gives_no_price():
    assert_refused_by("price_collar", facts(ask=None))
    assert_refused_by("price_collar", facts(bid=None))
    assert_refused_by("price_collar", facts(bid=ASK, ask=BID))
    assert_refused_by("price_collar", facts(bid=ASK))


def test_the_same_order_within_the_window_is_a_duplicate():
    twin = replace(recent(), decided_at=NOON - timedelta(seconds=29))
    assert_refused_by("duplicate", facts(recent=(twin,)))
    assert_approved(facts(recent=(replace(twin, decided_at=NOON - timedelta(seconds=30)),)))
    assert_approved(facts(recent=(replace(twin, state=State.REJECTED),)))
    assert_approved(facts(recent=(replace(twin, price=ASK - 1),)))


def test_the_same_client_order_id_is_a_duplicate_for_ever():
    old = replace(recent(quantity=D(1)), client_order_id="0" * 32, decided_at=NOON - timedelta(days=9))
    assert_refused_by("duplicate", facts(recent=(old,)))


def test_we_do_not_trade_with_ourselves():
    ours = a_venue_order(side=Side.SELL, price=ASK, quantity=D("0.001"))
    assert_refused_by("own_order_crossed", facts(open_orders=(ours,)))
    assert_approved(facts(open_orders=(replace(ours, price=ASK + 1),)))
    assert_approved(facts(open_orders=(replace(ours, filled=D("0.001")),)))
    assert_refused_by("own_order_crossed", facts(open_orders=(ours,)), type=OrderType.MARKET, price=None)
    selling = replace(HOLDING, open_orders=(a_venue_order(price=BID),))
    assert_refused_by("own_order_crossed", selling, **SELL)


def test_after_the_daily_loss_only_the_way_out_is_open():
    lost = replace(HOLDING, daily_loss=D(50_000))
    assert assert_refused_by("daily_loss", replace(lost, position_quantity=D("0.01"))).is_breach
    assert_approved(lost, **SELL)


def test_after_the_drawdown_only_the_way_out_is_open():
    down = replace(HOLDING, drawdown=D("0.1"))
    assert assert_refused_by("drawdown", replace(down, position_quantity=D("0.01"))).is_breach
    assert_approved(down, **SELL)
    assert_approved(replace(down, drawdown=D("0.0999"), position_quantity=D("0.01")))


def test_an_order_through_zero_does_not_only_reduce():
    short_of_it = facts(
        instrument=CFD,
        position_quantity=D("0.01"),
        collateral=D(10**9),
        daily_loss=D(60_000),
        rung=replace(FACTS.rung, symbol=CFD.symbol) if FACTS.rung else None,
    )
    through = {"symbol": CFD.symbol, "side": Side.SELL, "price": BID}
    assert_approved(short_of_it, **through, quantity=D("0.01"))
    assert_refused_by("daily_loss", short_of_it, **through, quantity=D("0.011"))


def test_alike_executions_in_a_row_latch_the_kill_switch():
    verdict = assert_refused_by("repeated_execution", facts(recent=(recent(),) * 3))
    assert verdict.latches and verdict.is_breach
    assert_approved(facts(recent=(recent(),) * 2))


def test_a_change_of_mind_or_side_or_size_ends_the_row():
    for change in ({"target_quantity": D("0.02")}, {"side": Side.SELL}, {"quantity": D("0.02")}):
        assert_approved(facts(recent=(recent(), recent(), recent(**change), recent())))


def test_orders_that_never_executed_are_no_executions():
    resting = recent(state=State.CANCELLED, filled=D(0))
    assert_approved(facts(recent=(resting,) * 10))
    assert_refused_by("repeated_execution", facts(recent=(recent(), resting, recent(), resting, recent())))


def test_what_was_before_a_human_rearmed_is_forgiven():
    assert_approved(facts(recent=(recent(),) * 3, rearmed_at=NOON - timedelta(minutes=1)))
    assert_refused_by("repeated_execution", facts(recent=(recent(),) * 3, rearmed_at=NOON - timedelta(hours=1)))


def refusals(number: int, *, since: timedelta = timedelta(seconds=59), **changes: Any) -> RiskFacts:
    """So many orders that the venue refused one after the other, the newest so long ago."""
    order = replace(recent(state=State.REJECTED, filled=D(0)), decided_at=NOON - since)
    return facts(recent=(order,) * number, **changes)


@pytest.mark.parametrize(("in_a_row", "minutes"), [(4, 1), (5, 2), (6, 4), (9, 32), (10, 60), (50, 60)])
def test_each_order_after_some_that_the_venue_refused_waits_twice_as_long(in_a_row: int, minutes: int):
    pause = timedelta(minutes=minutes)
    refused = assert_refused_by("refused_in_a_row", refusals(in_a_row, since=pause - timedelta(seconds=1)))
    assert not refused.is_breach and f"one in {60 * minutes} s" in refused.limit
    assert_approved(refusals(in_a_row, since=pause))


def test_fewer_refusals_or_one_that_was_taken_or_a_human_who_rearmed_ends_the_row():
    assert_approved(refusals(3))
    refused = refusals(5).recent
    assert_approved(facts(recent=(*refused[:3], recent(state=State.CANCELLED, filled=D(0)), *refused)))
    assert_approved(refusals(5, rearmed_at=NOON - timedelta(seconds=30)))


def test_the_certificates_own_bounds_hold_beside_the_limits():
    assert FACTS.rung is not None
    own = replace(FACTS.rung, max_orders_per_day=7, max_position=D("0.02"))
    assert assert_refused_by("orders_per_day", facts(rung=own, orders_today=7)).limit == "7"
    assert assert_refused_by("position", facts(rung=own, position_quantity=D("0.015"))).limit == "minimal: 0.02 BTC"
    assert_approved(facts(rung=own, orders_today=6, position_quantity=D("0.01")))


def test_a_certificate_for_something_else_or_from_the_future_is_none():
    assert FACTS.rung is not None
    drift = replace(FACTS.rung, changed=("code", "key"))
    assert assert_refused_by("certificate", facts(rung=drift)).observed == "changed: code, key"
    assert_refused_by("certificate", facts(rung=replace(FACTS.rung, issued_at=NOON + timedelta(seconds=1))))


def test_the_verdict_names_the_certificate_or_brings_the_checks_own_cap():
    assert FACTS.rung is not None
    assert assert_approved(facts(rung=replace(FACTS.rung, number=7))).certificate == 7
    assert assert_approved(facts(rung=replace(FACTS.rung, number=7))).own_cap is None
    assert assert_approved().own_cap == FACTS.rung.max_quantity


def test_what_an_account_may_do_is_one_of_three_states():
    assert trading_state(FACTS, LIMITS) == (TradingState.ACTIVE, "")
    assert trading_state(facts(daily_loss=D(50_000)), LIMITS)[0] is TradingState.REDUCE_ONLY
    assert trading_state(facts(drawdown=D("0.1")), LIMITS) == (TradingState.REDUCE_ONLY, "drawdown 0.1 of 0.1")
    halted = facts(kill_switch="stopped by hand", daily_loss=D(50_000))
    assert trading_state(halted, LIMITS) == (TradingState.HALTED, "kill switch: stopped by hand")


@given(
    st.sampled_from([{}, {"daily_loss": D(50_000)}, {"drawdown": D("0.2")}, {"kill_switch": "x"}]),
    st.sampled_from([D("-0.05"), D(0), D("0.05")]),
    st.sampled_from(Side),
)
def test_what_goes_out_agrees_with_the_state(trouble: dict[str, Any], held: Any, side: Side):
    assert FACTS.rung is not None
    now = facts(
        instrument=CFD,
        rung=replace(FACTS.rung, symbol=CFD.symbol),
        collateral=D(10**9),
        position_quantity=held,
        **trouble,
    )
    intent = an_intent(symbol=CFD.symbol, side=side, quantity=D("0.01"))
    state, _ = trading_state(now, LIMITS)
    out = isinstance(assess(intent, now, LIMITS), Approved)
    if state is TradingState.HALTED:
        assert not out
    if state is TradingState.REDUCE_ONLY:
        assert out == (held * side.sign < 0)


def test_a_loss_does_not_latch():
    assert not assert_refused_by("daily_loss", facts(daily_loss=D(50_000))).latches


def test_the_rules_stand_in_the_order_of_the_design():
    assert [rule.__name__ for rule in RULES] == [
        "kill_switch",
        "certificate",
        "key_rights",
        "unproved_order",
        "venue_state",
        "data_age",
        "clock_skew",
        "order_steps",
        "free_balance",
        "order_notional",
        "position",
        "open_orders",
        "orders_per_minute",
        "orders_per_day",
        "price_collar",
        "duplicate",
        "own_order_crossed",
        "daily_loss",
        "drawdown",
        "repeated_execution",
        "refused_in_a_row",
    ]


WANTED = st.tuples(st.sampled_from(Side), st.integers(1, 2000), st.integers(9_700_000, 10_300_000))


@given(st.lists(WANTED, max_size=25), st.sampled_from([FACTS.instrument, BITFLYER, CFD]))
def test_no_sequence_of_orders_gets_past_a_cap(wanted: list[tuple[Side, int, int]], instrument: Any):
    """Whatever is approved fills at once and in full: the worst case for the caps."""
    assert FACTS.rung is not None
    rung = replace(FACTS.rung, symbol=instrument.symbol)
    held, jpy, approvals = D(0), D(600_000), 0
    for number, (side, lots, price) in enumerate(wanted):
        now = facts(
            instrument=instrument,
            rung=rung,
            position_quantity=held,
            free={"JPY": jpy, "BTC": max(held, D(0))},
            collateral=jpy,
            orders_today=approvals,
            orders_last_minute=0,
        )
        intent = an_intent(
            client_order_id=f"{number:032x}",
            symbol=instrument.symbol,
            side=side,
            quantity=lots * D("0.0001"),
            price=D(price),
        )
        before = held
        if isinstance(assess(intent, now, LIMITS), Refused):
            continue
        approvals += 1
        held += intent.quantity * side.sign
        assert intent.notional <= LIMITS.max_order_notional
        assert approvals <= LIMITS.max_orders_per_day
        assert abs(D(price) - 10_000_000) <= 10_000_000 * LIMITS.price_collar
        if instrument.kind is Kind.SPOT:
            jpy -= intent.notional * side.sign
            held -= intent.quantity * instrument.base_fee_rate_of_sell
            assert held >= 0 and jpy >= 0
        assert abs(held) <= max(rung.max_quantity, abs(before))
