"""The ladder at a real venue and a real ledger: earned rung by rung, never lowered by a check."""

from datetime import datetime, timedelta

import pytest

from services.ledger import CycleRecord
from tasks.ladder import grant_rung, review_rung, rung_is_due
from tasks.session import Session, TradingSession, reading, trading
from tests.flows.conftest import Market
from trading.checks import Check, StageReport
from trading.stages import CHECKS, rungs


def report(here: Session, stage: str, *, passed: bool = True) -> StageReport:
    now = here.clock.now()
    return StageReport(stage, here.name, here.symbol, (Check("a check", passed, "seen"),), now, now)


def in_force(here: Session) -> str:
    record = here.ledger.rung(here.account, here.symbol)
    return record.rung if record else ""


def record_cycles(here: TradingSession, number: int, *, ok: bool = True, since: datetime | None = None) -> None:
    """Cycles as the flow records them, on the desk of the rung in force."""
    begun = since or here.clock.now()
    for count in range(number):
        at = begun + timedelta(seconds=count)
        here.ledger.record_cycle(
            CycleRecord(
                cycle_id=at.isoformat(),
                account=here.desk_for(in_force(here)).account,
                symbol=here.symbol,
                rung=in_force(here),
                started_at=at,
                finished_at=at,
                ok=ok,
                flow_run_id=None,
                report={"discrepancies": [], "breach": "", "refused": "", "profit": None, "error": "" if ok else "x"},
            )
        )


async def test_a_rung_is_never_skipped(market: Market) -> None:
    market("bitbank")
    async with reading("bitbank") as here:
        for stage in ("minimal_order", "read_only"):
            assert await grant_rung.fn("bitbank", report(here, stage)) == ""
        assert await grant_rung.fn("bitbank", report(here, "compatibility")) == "compatibility"
        assert await grant_rung.fn("bitbank", report(here, "minimal_order")) == "compatibility"
        assert await grant_rung.fn("bitbank", report(here, "read_only")) == "read_only"
        assert await grant_rung.fn("bitbank", report(here, "minimal_order")) == "minimal_order"


async def test_a_check_never_lowers_a_higher_rung_and_a_failed_one_grants_nothing(market: Market) -> None:
    market("bitbank")
    async with reading("bitbank") as here:
        assert await grant_rung.fn("bitbank", report(here, "compatibility", passed=False)) == ""
        await grant_rung.fn("bitbank", report(here, "compatibility"))
        await grant_rung.fn("bitbank", report(here, "read_only"))
        assert await grant_rung.fn("bitbank", report(here, "minimal_order", passed=False)) == "read_only"
        assert await grant_rung.fn("bitbank", report(here, "compatibility")) == "read_only"
        assert in_force(here) == "read_only"


async def test_the_demos_ladder_is_climbed_one_rung_a_review_and_only_on_evidence(market: Market) -> None:
    market("bybit")
    async with trading("bybit") as here:
        for stage in CHECKS:
            await grant_rung.fn("bybit", report(here, stage))
        ladder = rungs(here.settings.ladder.ramp_steps)
        for rung in ladder[ladder.index("paper") :]:
            assert rung_is_due(here)
            review = await review_rung.fn("bybit")
            assert (review.verdict, review.after) == ("promote", rung), review
            held = await review_rung.fn("bybit")
            assert held.verdict == "hold" and in_force(here) == rung, held
            record_cycles(here, 2)
            await here.clock.sleep(61)
        top = await review_rung.fn("bybit")
        assert (top.verdict, top.reasons) == ("hold", ("the top of the ladder",))
        record = here.ledger.rung(here.account, here.symbol)
        assert record is not None and record.max_quantity == here.configured.target_quantity

        await here.clock.sleep((record.expires_at - here.clock.now() - timedelta(days=6)).total_seconds())
        assert rung_is_due(here)
        renewed = await review_rung.fn("bybit")
        again = here.ledger.rung(here.account, here.symbol)
        assert (renewed.verdict, renewed.after) == ("renew", ladder[-1]), renewed
        assert again is not None and again.expires_at > record.expires_at
        assert not rung_is_due(here)


async def test_failed_cycles_hold_the_rung(market: Market) -> None:
    market("bybit")
    async with trading("bybit") as here:
        for stage in CHECKS:
            await grant_rung.fn("bybit", report(here, stage))
        await review_rung.fn("bybit")
        record_cycles(here, 2, ok=False)
        await here.clock.sleep(61)
        review = await review_rung.fn("bybit")
        assert review.verdict == "hold" and "2 of 2 cycles failed" in review.reasons, review


async def test_a_target_that_has_become_too_small_holds_the_rung(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    market("bybit")
    monkeypatch.setenv("CRYPTO_BOT__EXCHANGES__BYBIT__TARGET_QUANTITY", "0.0000001")
    async with trading("bybit") as here:
        for stage in CHECKS:
            await grant_rung.fn("bybit", report(here, stage))
        review = await review_rung.fn("bybit")
        assert review.verdict == "hold" and "target_quantity" in review.reasons[0], review
        assert in_force(here) == "minimal_order"
