"""The doorway of a person's approval: the form in Prefect's UI, the evidence as markdown, the answer judged by us."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.input import RunInput
from pydantic import Field

from config.settings import ExchangeName
from execution.ladder import NothingToApprove, answer_proposal, propose
from services.secrets import approval_secret
from tasks.ladder import place_of
from tasks.report import artifact_key
from tasks.session import Session, session
from trading.approval import CODE_LENGTH, MOST_REFUSALS, Answer, Proposal


class ApprovalForm(RunInput):
    """What a person types in the UI. Prefect knows no users: the code is what proves who it is."""

    name: str = Field(min_length=1, description="Your name")
    reason: str = Field(min_length=1, description="Why the next rung is right")
    phrase: str = Field(min_length=1, description="Word for word as shown above")
    code: str = Field(min_length=1, description="Proves that it is you: nothing else here does")


@dataclass(frozen=True)
class Shown:
    """A proposal, and what stands above the form."""

    proposal: Proposal
    markdown: str

    @property
    def key(self) -> str:
        """Suspending for the same proposal is done once."""
        return f"proposal-{self.proposal.number}"


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def show_proposal(exchange: ExchangeName) -> Shown | NothingToApprove:
    """Freeze the evidence, or take the proposal that is open; or say why there is none."""
    here = session(exchange)
    here.running(await here.listed())
    await here.key_rights()
    try:
        proposal = propose(place_of(here), here.clock.now())
    except NothingToApprove as nothing:
        return nothing
    return Shown(proposal, _question(proposal))


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def publish_proposal(exchange: ExchangeName, shown: Shown) -> None:
    """Leave the evidence where people look."""
    told = _evidence(session(exchange), shown.proposal)
    await _publish(exchange, told, f"{shown.proposal.to} waits for a person's approval")


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def judge_answer(exchange: ExchangeName, shown: Shown, form: ApprovalForm) -> str | None:
    """Judge the answer against the evidence as it is now and write it down; why it approves nothing, or None."""
    here, proposal = session(exchange), shown.proposal
    answer = Answer(form.name, form.reason, form.phrase, form.code)
    secret = await asyncio.to_thread(approval_secret, here.settings)
    refused = answer_proposal(
        place_of(here),
        proposal,
        answer,
        secret=secret.reveal(),
        via="promote_stage in Prefect",
        now=here.clock.now(),
    )
    if refused is not None:
        await _publish(exchange, _refusal(here, proposal, refused), f"{proposal.to} was not approved")
    else:
        await _publish(exchange, _approval(here, proposal, form), f"{proposal.to} approved by {form.name}")
    return refused


def seconds_to_answer(exchange: ExchangeName, proposal: Proposal) -> int:
    """How long a person has: what is left of `ladder.approval_hours` since the proposal was first shown, in seconds."""
    here = session(exchange)
    left = _until(here, proposal) - here.clock.now()
    return max(1, round(left.total_seconds()))


async def _publish(exchange: ExchangeName, markdown: str, description: str) -> None:
    await acreate_markdown_artifact(
        key=artifact_key("approval", exchange), markdown=markdown, description=f"{exchange}: {description}"
    )


def _until(here: Session, proposal: Proposal) -> datetime:
    return proposal.proposed_at + timedelta(hours=here.settings.ladder.approval_hours)


def _title(proposal: Proposal) -> str:
    name = proposal.account.partition("@")[0]
    return f"{name} {proposal.symbol}: {proposal.step}"


def _evidence(here: Session, proposal: Proposal) -> str:
    """One screen: what waits until when, what was shown, what must be typed."""
    shown = "".join(f"\n- {sentence}" for sentence in proposal.shown)
    return (
        f"# {_title(proposal)} waits for a person\n\n"
        f"Until **{_until(here, proposal):%Y-%m-%d %H:%M} UTC**; without an answer nothing is approved. To answer: the "
        f"run's page, its menu ⋮, Resume.\n{shown}\n\n{_to_type(proposal)}\n"
        f"\nor the first {CODE_LENGTH} characters of the hash from\n\n"
        f'```\nprintf %s {proposal.digest} | openssl dgst -sha256 -hmac "$CRYPTO_BOT_APPROVAL_SECRET"\n```\n'
    )


def _question(proposal: Proposal) -> str:
    """The same, short enough for the dialog in which the answer is typed."""
    return f"**{_title(proposal)}**\n\n{' · '.join(proposal.shown)}\n\n{_to_type(proposal)}"


def _to_type(proposal: Proposal) -> str:
    return (
        f"Phrase: `{proposal.phrase}`\n\nCode: what this prints on your own machine\n\n"
        f"```\ncrypto-bot approval-code {proposal.digest}\n```\n"
    )


def _approval(here: Session, proposal: Proposal, form: ApprovalForm) -> str:
    return (
        f"# {_title(proposal)} approved\n\n"
        f"**By {form.name}**: {form.reason}\n\n"
        f"The next review of the rung acts on it if the evidence still stands, for "
        f"{here.settings.ladder.approval_hours:g} hours from now. Proposal {proposal.number} of the ledger's chain."
    )


def _refusal(here: Session, proposal: Proposal, refused: str) -> str:
    wrong = here.ledger.refusals(proposal)
    return (
        f"# {_title(proposal)} NOT approved\n\n"
        f"**{refused[0].upper()}{refused[1:]}.**\n\n"
        f"The rung stays as it is. Run promote-stage again to answer again; proposal {proposal.number} has had {wrong} "
        f"of {MOST_REFUSALS} wrong answers."
    )
