"""The doorway of a person's approval: the form in Prefect's UI, the evidence as markdown, the answer judged by us."""

import asyncio
from dataclasses import dataclass

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.input import RunInput
from pydantic import Field

from config.settings import ExchangeName
from execution.ladder import answer_proposal, propose
from services.secrets import approval_secret
from tasks.ladder import place_of
from tasks.session import session
from trading.approval import Answer, Proposal


class NotApproved(Exception):
    """The answer approves nothing; the message says why."""


class ApprovalForm(RunInput):
    """What a person types in the UI. Prefect knows no users: the code is what proves who it is."""

    name: str = Field(min_length=1, description="Your name")
    reason: str = Field(min_length=1, description="Why the next rung is right")
    phrase: str = Field(min_length=1, description="Word for word as shown above")
    code: str = Field(min_length=1, description="Computed from the digest above with your secret")


@dataclass(frozen=True)
class Shown:
    """A proposal as a person sees it."""

    proposal: Proposal
    markdown: str

    @property
    def key(self) -> str:
        """Suspending for the same proposal is done once."""
        return f"proposal-{self.proposal.number}"


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def show_proposal(exchange: ExchangeName) -> Shown:
    """Freeze the evidence, or take the proposal that is open. Raises NothingToApprove."""
    here = session(exchange)
    here.running(await here.listed())
    await here.key_rights()
    proposal = propose(place_of(here), here.clock.now())
    return Shown(proposal, _markdown(exchange, proposal))


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def publish_proposal(shown: Shown) -> None:
    """Leave the evidence where people look."""
    name = shown.proposal.account.partition("@")[0]
    await acreate_markdown_artifact(
        key=f"approval-{name}", markdown=shown.markdown, description=f"{name}: {shown.proposal.to} waits for approval"
    )


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
async def judge_answer(exchange: ExchangeName, shown: Shown, form: ApprovalForm) -> str:
    """Judge the answer against the evidence as it is now, write it down, and say what was approved.

    Raises NotApproved.
    """
    here = session(exchange)
    answer = Answer(form.name, form.reason, form.phrase, form.code)
    secret = await asyncio.to_thread(approval_secret, here.settings)
    refused = answer_proposal(
        place_of(here),
        shown.proposal,
        answer,
        secret=secret.reveal(),
        via="promote_stage in Prefect",
        now=here.clock.now(),
    )
    if refused is not None:
        raise NotApproved(f"{exchange}: {refused}")
    return f"{shown.proposal.phrase} approved by {form.name}"


def seconds_to_answer(exchange: ExchangeName) -> int:
    """How long a person has, in seconds of the wall clock."""
    return max(1, round(session(exchange).settings.ladder.approval_hours * 3600))


def _markdown(exchange: ExchangeName, proposal: Proposal) -> str:
    evidence = "".join(f"\n- {sentence}" for sentence in proposal.shown)
    return (
        f"# {exchange} {proposal.symbol}: {proposal.rung} → {proposal.to}\n{evidence}\n\n"
        f"Proposal {proposal.number}, digest `{proposal.digest}`\n\n"
        f"Phrase to type: `{proposal.phrase}`\n\n"
        f'Code: the first 10 characters of `printf %s DIGEST | openssl dgst -sha256 -hmac "$SECRET"`'
    )
