"""A person's approval of real money: what is proposed, what must be typed, and when it counts.

A proposal is a rung's evidence, frozen: its hash names it. Whoever approves types a name, a reason, a phrase that says
what happens, and a code that only the holder of the approval secret can compute from that hash.
"""

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

CODE_LENGTH = 10  # hex characters of an HMAC-SHA256
MOST_REFUSALS = 5  # wrong answers after which a proposal is void: nobody guesses a code
LEAST_SECRET = 16  # characters


@dataclass(frozen=True)
class Proposal:
    """A rung to go up to, or the top one to renew, with the evidence as shown. `digest` is the hash of all of it."""

    number: int  # its event in the ledger's chain
    account: str
    symbol: str
    certificate: int  # the certificate in force
    rung: str
    to: str
    digest: str
    shown: tuple[str, ...]  # the evidence in sentences
    proposed_at: datetime

    @property
    def step(self) -> str:
        """What is asked for, in a word or two."""
        return f"{self.rung} renewed" if self.to == self.rung else f"{self.rung} → {self.to}"

    @property
    def phrase(self) -> str:
        """What is typed word for word, so that nobody approves the wrong thing."""
        return f"{self.account} {self.symbol} {self.to}"


@dataclass(frozen=True)
class Answer:
    """What a person has given."""

    by: str
    reason: str
    phrase: str
    code: str


@dataclass(frozen=True)
class Approval:
    """An approval as the ledger keeps it."""

    proposal: int
    certificate: int
    to: str
    by: str
    reason: str
    at: datetime


def approval_code(secret: str, digest: str) -> str:
    """The code for a proposal: the first hex characters of HMAC-SHA256(secret, digest).

    The same anywhere: `printf %s DIGEST | openssl dgst -sha256 -hmac "$SECRET"`.
    """
    return hmac.new(secret.encode(), digest.encode(), sha256).hexdigest()[:CODE_LENGTH]


def refused_answer(
    proposal: Proposal, answer: Answer, *, secret: str, refusals: int, now: datetime, hours: float
) -> str | None:
    """Say why the answer approves nothing, or None. `refusals`: wrong answers to this proposal before."""
    if refusals >= MOST_REFUSALS:
        return f"proposal {proposal.number} is void after {refusals} wrong answers; demote and earn the rung again"
    if not timedelta(0) <= now - proposal.proposed_at <= timedelta(hours=hours):
        return f"proposal {proposal.number} is not from the last {hours:g} hours; look at the evidence again"
    if not answer.by.strip() or not answer.reason.strip():
        return "a name and a reason are needed"
    if answer.phrase.strip() != proposal.phrase:
        return f"the phrase must be typed as: {proposal.phrase}"
    if len(secret) < LEAST_SECRET:
        return f"no approval secret of at least {LEAST_SECRET} characters is set (CRYPTO_BOT_APPROVAL_SECRET)"
    if not hmac.compare_digest(answer.code.strip().lower().encode(), approval_code(secret, proposal.digest).encode()):
        return "the code is not the one for this proposal"
    return None


def still_counts(approval: Approval, certificate: int, to: str, now: datetime, hours: float) -> bool:
    """Whether an approval is for this step, from this certificate, and recent."""
    age = now - approval.at
    return (approval.certificate, approval.to) == (certificate, to) and timedelta(0) <= age <= timedelta(hours=hours)
