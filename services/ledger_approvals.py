"""The part of the ledger about a person's approvals: proposals and answers, which are events of the chain alone."""

import json
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Row, func, select

from services.ledger_chain import append
from services.ledger_database import Database
from services.ledger_tables import canonical_json, events
from trading.approval import Answer, Approval, Proposal

_PROPOSAL, _APPROVAL, _REFUSAL = "proposal", "approval", "approval.refused"


class Approvals:
    """What was proposed to a person, and what the person answered."""

    _database: Database

    def propose(
        self,
        account: str,
        symbol: str,
        *,
        certificate: int,
        rung: str,
        to: str,
        shown: tuple[str, ...],
        evidence: Mapping[str, Any],
        since: datetime,
        now: datetime,
    ) -> Proposal:
        """Write a proposal and return it; one for the same step that was written after `since` is returned instead, so
        that what a person has been shown stays what is approved.
        """
        with self._database.writing() as connection:
            newest = connection.execute(_newest(account, symbol, _PROPOSAL)).one_or_none()
            if newest is not None:
                known = _proposal(newest)
                if (known.certificate, known.to) == (certificate, to) and since <= known.proposed_at <= now:
                    return known
            told = {"certificate": certificate, "rung": rung, "to": to, "shown": list(shown), "evidence": evidence}
            detail = canonical_json({**told, "at": now})
            seq = append(connection, account, now, [(symbol, _PROPOSAL, detail)])
        return Proposal(seq, account, symbol, certificate, rung, to, _digest(detail), shown, now)

    def answer(self, proposal: Proposal, answer: Answer, refused: str | None, *, via: str, now: datetime) -> None:
        """Write a person's answer down: an approval, or why it was none. The code itself is not kept."""
        kind = _APPROVAL if refused is None else _REFUSAL
        detail = {
            "proposal": proposal.number,
            "digest": proposal.digest,
            "certificate": proposal.certificate,
            "to": proposal.to,
            "by": answer.by,
            "reason": answer.reason,
            "via": via,
            "refused": refused or "",
        }
        with self._database.writing() as connection:
            append(connection, proposal.account, now, [(proposal.symbol, kind, canonical_json(detail))])

    def refusals(self, proposal: Proposal) -> int:
        """How many wrong answers a proposal has had."""
        query = select(func.count()).where(
            events.c.account == proposal.account,
            events.c.subject == proposal.symbol,
            events.c.kind == _REFUSAL,
            events.c.seq > proposal.number,
        )
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def newest_approval(self, account: str, symbol: str) -> Approval | None:
        """The approval that was given last, whatever it was for."""
        with self._database.reading() as connection:
            row = connection.execute(_newest(account, symbol, _APPROVAL)).one_or_none()
        if row is None:
            return None
        told = json.loads(row.detail)
        return Approval(told["proposal"], told["certificate"], told["to"], told["by"], told["reason"], row.at)


def _newest(account: str, symbol: str, kind: str) -> Any:
    those = (events.c.account == account) & (events.c.subject == symbol) & (events.c.kind == kind)
    return select(events).where(those).order_by(events.c.seq.desc()).limit(1)


def _proposal(row: Row[Any]) -> Proposal:
    told = json.loads(row.detail)
    return Proposal(
        row.seq,
        row.account,
        row.subject,
        told["certificate"],
        told["rung"],
        told["to"],
        _digest(row.detail),
        tuple(told["shown"]),
        row.at,
    )


def _digest(detail: str) -> str:
    return sha256(detail.encode()).hexdigest()
