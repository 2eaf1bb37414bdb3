"""`crypto-bot secrets`: which secrets there are, from where, in which version and how old. Never a value."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.markup import escape

from cli.output import print_json, print_table, say
from config.loader import load_settings
from config.settings import EXCHANGES, Endpoint, Settings
from config.settings_secrets import LATEST
from services.clock import WallClock
from services.secrets import APPROVAL_SECRET, SecretReport, describe, describe_named

_PROVIDERS = {"env": "the environment", "gcp": "Google Secret Manager"}


def run_secrets(names: Sequence[str], *, as_json: bool) -> int:
    """Print every exchange's secrets, the approval secret, those that the settings name, and `names`.

    Exit status 1 when one that is needed is missing, refused or out of reach.
    """
    settings = load_settings()
    now = WallClock().now()
    reports = [row for exchange in EXCHANGES for row in describe(settings, exchange, now)]
    reports += [describe_named(settings, name, now) for name in dict.fromkeys((*_named(settings), *names))]
    wrong = [row for row in reports if row.problem and _is_needed(settings, row, names)]
    if as_json:
        print_json({"clean": not wrong, "provider": settings.secrets.provider, "secrets": list(map(_told, reports))})
        return 1 if wrong else 0
    _show(settings, reports, wrong)
    return 1 if wrong else 0


def _show(settings: Settings, reports: Sequence[SecretReport], wrong: Sequence[SecretReport]) -> None:
    provider = settings.secrets.provider
    columns = ("for", "secret", "state", *(("age in days",) if provider == "gcp" else ()), "key id")
    rows = [_row(row, provider) for row in reports if row.provider == provider]
    print_table(f"secrets from {_PROVIDERS[provider]}", columns, rows, "none")
    simulated = ", ".join(row.purpose for row in reports if row.provider == "simulated")
    if simulated:
        say(f"{simulated}: simulated, the keys come with the venue")
    away = [row for row in reports if row.state == "unavailable"]
    for row in reports:
        if row in away[1:]:
            continue  # the service is away: said once
        if row.problem:
            say(f"{'[red]' if row in wrong else '[dim]'}{escape(row.problem)}[/]")
        elif row.rotation_due:
            say(f"[yellow]{row.secret}: older than {settings.secrets.rotation_days:g} days, replace it[/]")


def _named(settings: Settings) -> Iterator[str]:
    """The approval secret, and every secret that a setting names: their keys end with `_secret`."""
    yield APPROVAL_SECRET
    yield from _below(settings.model_dump())


def _below(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            if isinstance(each, str) and str(key).endswith("_secret"):
                yield each
            else:
                yield from _below(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _below(each)


def _is_needed(settings: Settings, row: SecretReport, names: Sequence[str]) -> bool:
    """A person approves rungs, and has books to lose, at real exchanges alone: a simulation needs neither the approval
    secret nor the key of the backups.
    """
    if row.purpose not in (APPROVAL_SECRET, settings.maintenance.backup_secret) or row.purpose in names:
        return True
    return any(block.endpoint is not Endpoint.SIMULATED for block in settings.exchanges.values())


def _key_id(row: SecretReport) -> str:
    from tasks.fingerprint import key_id

    return key_id(row.api_key) if row.api_key is not None else ""


def _told(row: SecretReport) -> dict[str, object]:
    return {
        "for": row.purpose,
        "provider": row.provider,
        "secret": row.secret,
        "version": row.version,
        "state": row.state,
        "created_at": row.created_at,
        "age_days": None if row.age_days is None else round(row.age_days, 2),
        "rotation_due": row.rotation_due,
        "checksum_ok": row.checksum,
        "key_id": _key_id(row) or None,
        "problem": row.problem,
    }


def _row(row: SecretReport, provider: str) -> tuple[object, ...]:
    words = (
        "" if row.version is None else str(row.version) if row.version == LATEST else f"version {row.version}",
        row.state,
        {True: "checksum fits", False: "CHECKSUM DOES NOT FIT", None: ""}[row.checksum],
        "rotation due" if row.rotation_due else "",
    )
    age = ("" if row.age_days is None else f"{row.age_days:.1f}",) if provider == "gcp" else ()
    purpose = row.purpose if row.purpose in EXCHANGES else ""
    return (purpose, row.secret, ", ".join(filter(None, words)), *age, _key_id(row))
