"""A person's approval in Prefect: suspended with the evidence, answered in a form, judged and kept by us."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow

from config.loader import load_settings
from execution.ladder import Place, issue
from services.ledger import Ledger
from tests.flows.conftest import Market
from trading.approval import approval_code

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_url")]

SECRET = "a secret of a test, long enough"
NAME = "bitbank"


@pytest.fixture
async def on_paper(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that needs a person, on paper, with nothing left to show."""
    monkeypatch.setenv("CRYPTO_BOT__LADDER__SIMULATED_APPROVES_ITSELF", "false")
    monkeypatch.setenv("CRYPTO_BOT__LADDER__PAPER__MIN_CYCLES", "0")
    monkeypatch.setenv("CRYPTO_BOT__LADDER__PAPER__MIN_SECONDS", "0")
    monkeypatch.setenv("CRYPTO_BOT_APPROVAL_SECRET", SECRET)
    market(NAME, clock="wall")
    from tasks.ladder import place_of
    from tasks.session import reading

    async with reading(NAME) as here:
        here.running(await here.listed())
        place: Place = place_of(here)
        issue(place, "paper", here.configured.target_quantity, {}, "a test", here.clock.now())


async def asked() -> Any:
    """A run of the deployment, begun as a worker would begin it; it is suspended with the form."""
    from flows.promote_stage import promote_stage

    async with get_client() as client:
        flow_id = await client.create_flow(promote_stage)
        deployment = await client.create_deployment(
            flow_id, "promote-stage", entrypoint="flows.promote_stage.promote_stage"
        )
        run = await client.create_flow_run_from_deployment(deployment, parameters={"exchange": NAME})
    return await carried_on(run.id)


async def carried_on(run_id: Any) -> Any:
    """Run it from the top, as the process of a worker does, and read how it stands."""
    from flows.promote_stage import promote_stage

    async with get_client() as client:
        run = await client.read_flow_run(run_id)
        with contextlib.suppress(Exception, Pause):  # how it ended is read from the server
            await run_flow(promote_stage, flow_run=run, parameters={"exchange": NAME})
        return await client.read_flow_run(run_id)


async def resume(run_id: Any, **typed: str) -> Any:
    async with get_client() as client:
        return await client.resume_flow_run(run_id, run_input=typed)


def proposed() -> Any:
    with contextlib.closing(Ledger(load_settings().ledger_url)) as ledger, ledger._database.reading() as connection:
        from sqlalchemy import select

        from services.ledger_approvals import _proposal
        from services.ledger_tables import events

        rows = connection.execute(select(events).where(events.c.kind == "proposal")).all()
    (row,) = rows  # the run was begun more than once, and proposed once
    return _proposal(row)


def approval() -> Any:
    with contextlib.closing(Ledger(load_settings().ledger_url)) as ledger:
        assert ledger.verify_chain() is None
        return ledger.newest_approval(NAME, "BTC/JPY")


async def test_the_form_approves_and_the_approval_lives_in_our_ledger(on_paper: None, home: Path) -> None:
    run = await asked()
    assert run.state.is_paused(), run.state
    proposal = proposed()
    code = approval_code(SECRET, proposal.digest)
    await resume(run.id, name="Aoki", reason="quiet days", phrase=proposal.phrase, code=code)
    ended = await carried_on(run.id)
    assert ended.state.is_completed(), ended.state
    found = approval()
    assert found is not None and (found.by, found.to, found.proposal) == ("Aoki", "minimal", proposal.number)


async def test_a_wrong_code_approves_nothing_and_is_written_down(on_paper: None, home: Path) -> None:
    run = await asked()
    proposal = proposed()
    await resume(run.id, name="Aoki", reason="quiet days", phrase=proposal.phrase, code="0000000000")
    ended = await carried_on(run.id)
    assert ended.state.is_failed() and "the code is not the one" in ended.state.message
    assert approval() is None
    with contextlib.closing(Ledger(load_settings().ledger_url)) as ledger:
        assert ledger.refusals(proposal) == 1


async def test_a_wrong_phrase_approves_nothing(on_paper: None, home: Path) -> None:
    run = await asked()
    proposal = proposed()
    code = approval_code(SECRET, proposal.digest)
    await resume(run.id, name="Aoki", reason="quiet days", phrase="bitbank BTC/JPY ramp_100", code=code)
    ended = await carried_on(run.id)
    assert ended.state.is_failed() and f"must be typed as: {proposal.phrase}" in ended.state.message
    assert approval() is None


async def test_nobody_answers_in_time_and_nothing_is_approved(on_paper: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_BOT__LADDER__APPROVAL_HOURS", "0.0003")  # a second
    run = await asked()
    proposal = proposed()
    async with get_client() as client:
        for _ in range(300):
            run = await client.read_flow_run(run.id)
            if not run.state.is_paused():
                break
            await asyncio.sleep(0.1)
    assert run.state.is_failed(), run.state
    late = await resume(
        run.id, name="Aoki", reason="late", phrase=proposal.phrase, code=approval_code(SECRET, proposal.digest)
    )
    assert late.status.value == "ABORT"
    assert approval() is None


async def test_a_form_without_a_name_is_not_taken(on_paper: None, home: Path) -> None:
    run = await asked()
    answer = await resume(run.id, name="", reason="r", phrase="p", code="c")
    assert answer.status.value == "REJECT"
    assert approval() is None


async def test_nothing_is_asked_while_evidence_is_missing(on_paper: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_BOT__LADDER__PAPER__MIN_CYCLES", "10")
    run = await asked()
    assert run.state.is_failed() and "0 of 10 cycles" in run.state.message
