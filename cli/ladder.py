"""`crypto-bot ladder`, `approve`, `demote`: what a rung has shown, and a person's part in it. Needs no Prefect."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.markup import escape

from cli.output import print_json, print_table, say
from config.errors import ConfigurationError
from config.guide import APPROVAL, section_of, see
from config.loader import load_settings
from config.secret import Secret
from config.settings import Endpoint, ExchangeName, Settings
from execution.ladder import NothingToApprove, Place, answer_proposal, demote, evidence_of, propose, sentences
from execution.ladder import thresholds_from as rules_of
from execution.latch import kill_switch
from services.ledger import Ledger
from services.secrets import APPROVAL_SECRET, approval_secret
from trading.approval import CODE_LENGTH, Answer
from trading.stages import Demote, Halt, Hold, Promote, judge


@contextlib.contextmanager
def _place(exchange: ExchangeName) -> Iterator[tuple[Place, datetime]]:
    """The exchange on its ladder, and its time now: market time where its simulated venue runs, else the wall."""
    from execution.connect import resolve
    from services.clock import Clock, WallClock

    settings = load_settings()
    clock: Clock = WallClock()
    if settings.exchanges[exchange].endpoint is Endpoint.SIMULATED:
        with contextlib.suppress(ConfigurationError):  # it is not running: its time is the wall's
            _, _, clock = asyncio.run(resolve(exchange, settings))
    with contextlib.closing(Ledger(settings.ledger_url)) as ledger:
        yield _on_ladder(settings, exchange, ledger), clock.now()


def _on_ladder(settings: Settings, exchange: ExchangeName, ledger: Ledger) -> Place:
    from tasks.fingerprint import running_fingerprint

    return Place(settings, exchange, ledger, running_fingerprint(settings, exchange, _key_id(settings, exchange), None))


def _key_id(settings: Settings, exchange: ExchangeName) -> str:
    """Which key the provider or the running venue gives; "" where there is none, which is judged by who trades."""
    from services.secrets import credentials, is_from_provider
    from services.simulated import find_venue
    from tasks.fingerprint import key_id

    if not is_from_provider(settings, exchange):
        venue = find_venue(settings.home, exchange)
        return key_id(Secret(venue.api_key)) if venue is not None else ""
    try:
        return key_id(credentials(settings, exchange).api_key)
    except ConfigurationError:
        return ""


def show_ladder(exchanges: Sequence[ExchangeName], *, as_json: bool) -> None:
    """Print each exchange's rung, what it has shown of what is needed, what blocks it, and until when it holds."""
    rows = []
    for exchange in exchanges:
        with _place(exchange) as (place, now):
            rows.append(_row(place, now))
    if as_json:
        print_json({row["exchange"]: row for row in rows})
        return
    shown = ("symbol", "rung", "next", "max_quantity", "max_orders_per_day", "expires_at", "approved_by", "kill_switch")
    told = [(name.replace("_", " "), *(row[name] for row in rows)) for name in shown]
    for name in ("evidence", "blocks"):
        told.append((name, *("\n".join(row[name]) for row in rows)))  # type: ignore[arg-type]
    print_table("ladder", ("", *(str(row["exchange"]) for row in rows)), told, "")


def _row(place: Place, now: datetime) -> dict[str, object]:
    record, latch = place.record(), kill_switch(place.settings.home, place.ledger, place.account)
    row: dict[str, object] = {
        "exchange": place.exchange,
        "symbol": place.symbol,
        "rung": record.rung if record else None,
        "next": place.next_step(record, now) if record else place.ladder[0],
        "max_quantity": record.max_quantity if record else None,
        "max_orders_per_day": record.max_orders_per_day if record else None,
        "issued_at": record.issued_at if record else None,
        "expires_at": record.expires_at if record else None,
        "approved_by": record.approved_by if record else None,
        "kill_switch": f"{latch.reason} (by {latch.by})" if latch else None,
        "evidence": (),
        "blocks": (f"run `crypto-bot check {place.exchange} --orders`",),
        "fingerprint": record.fingerprint if record else {},
    }
    if record is not None:
        evidence, rules = evidence_of(place, record, now), rules_of(place.settings)
        verdict = judge(record.rung, evidence, rules)
        row["evidence"] = sentences(record.rung, evidence, rules)
        row["blocks"] = verdict.reasons if isinstance(verdict, Hold) else (_due(record.rung, verdict),)
    return row


def _due(rung: str, verdict: Promote | Demote | Halt) -> str:
    renewed = isinstance(verdict, Promote) and verdict.to == rung
    return f"the next review {'renews' if renewed else 'goes to'} {verdict.to}: {'; '.join(verdict.reasons)}"


def run_approve(exchange: ExchangeName, *, by: str, reason: str, phrase: str, code: str) -> int:
    """Show the evidence for the next rung or the renewal of the top one; with phrase and code, approve it.

    Exit status 0 when it is approved.
    """
    with _place(exchange) as (place, now):
        try:
            proposal = propose(place, now)
        except NothingToApprove as nothing:
            say(f"{nothing}{see(section_of(nothing))}")
            return 1
        say(f"{exchange} {proposal.symbol}: {proposal.step}")
        for sentence in proposal.shown:
            say(f"  {sentence}")
        if not phrase or not code:
            say(f"proposal {proposal.number}, digest {proposal.digest}")
            say("to approve, compute the code from your secret, and give it with the phrase:")
            say(f"  crypto-bot approval-code {proposal.digest}")
            say(f'  crypto-bot approve {exchange} --by NAME --reason TEXT --phrase "{proposal.phrase}" --code CODE')
            digest = f'printf %s {proposal.digest} | openssl dgst -sha256 -hmac "${APPROVAL_SECRET}" -r'
            say(f"the code without crypto-bot: {digest} | cut -c1-{CODE_LENGTH}")
            return 1
        secret = approval_secret(place.settings)
        answer = Answer(by, reason, phrase, code)
        refused = answer_proposal(place, proposal, answer, secret=secret.reveal(), via="crypto-bot approve", now=now)
    if refused is not None:
        say(f"[red]refused:[/] {refused}{see(APPROVAL)}")
        return 1
    say(f"{exchange}: {proposal.to} approved by {escape(by)}; the next review acts on it if the evidence still stands")
    return 0


def run_demote(exchange: ExchangeName, *, to: str | None, by: str, reason: str) -> int:
    """Take the rung down in a person's name; it holds from the next order on."""
    if not by.strip() or not reason.strip():
        raise ConfigurationError("demote: --by and --reason must not be empty", section=APPROVAL)
    with _place(exchange) as (place, now):
        record = demote(place, to, by, reason, now)
    say(f"{exchange}: now on {record.rung}, says {by}; the next order is held to it")
    return 0
