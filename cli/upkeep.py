"""The commands that keep a home in order: `backup`, `restore`, `audit verify`, `maintenance`."""

from pathlib import Path
from typing import Annotated

import typer

from config.errors import ConfigurationError
from config.settings import EXCHANGES

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
_Orders = list[str] | None


def register(app: typer.Typer) -> None:
    """Add the commands to `crypto-bot`."""
    app.command()(backup)
    app.command()(restore)
    app.command()(maintenance)
    audit = typer.Typer(help="Prove the ledger.", no_args_is_help=True)
    audit.command("verify")(verify)
    # a callback keeps `verify` a word of its own while it is the only one
    audit.callback()(lambda: None)
    app.add_typer(audit, name="audit")


def backup(
    to: Annotated[
        Path | None, typer.Option("--to", help="Directory; else maintenance.backup_directory (<home>/backups).")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Ledger and settings in one encrypted file, also while traders run; read back before an older one is removed."""
    from cli.backups import run_backup

    raise typer.Exit(run_backup(to, as_json=as_json))


def restore(
    file: Annotated[Path | None, typer.Argument(help="A backup; without it, the newest one.")] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Home directory or database URL; else the ledger of this home.")
    ] = None,
    move_aside: Annotated[
        bool, typer.Option("--move-aside", help="Keep the ledger that stands there under another name.")
    ] = False,
    reconcile: Annotated[
        str | None,
        typer.Option("--reconcile", help=f"After a restore: find what happened since, at {', '.join(EXCHANGES)}."),
    ] = None,
    ours: Annotated[
        _Orders, typer.Option("--ours", help="With --reconcile: this order of the venue is the bot's (its id, or all).")
    ] = None,
    not_ours: Annotated[
        _Orders, typer.Option("--not-ours", help="With --reconcile: this order is somebody else's (its id, or all).")
    ] = None,
    by: Annotated[str, typer.Option("--by", help="With --reconcile: your name.")] = "",
    as_json: _Json = False,
) -> None:
    """Put a backup's ledger back: proved first, all trading stopped until each exchange is reconciled and re-armed."""
    from cli.backups import run_reconcile, run_restore
    from config.loader import canonical_exchange

    if reconcile is None:
        if ours or not_ours or by:
            raise ConfigurationError("restore: --ours, --not-ours and --by go with --reconcile EXCHANGE")
        raise typer.Exit(run_restore(file, to, move_aside=move_aside, as_json=as_json))
    if file is not None or to is not None or move_aside:
        raise ConfigurationError("restore: --reconcile comes after the restore, as a command of its own")
    exchange = canonical_exchange(reconcile)
    raise typer.Exit(run_reconcile(exchange, tuple(ours or ()), tuple(not_ours or ()), by=by, as_json=as_json))


def verify(as_json: _Json = False) -> None:
    """Prove that no event of the ledger was changed, and that every row says what its events say."""
    from cli.backups import run_verify

    raise typer.Exit(run_verify(as_json=as_json))


def maintenance(
    names: Annotated[list[str] | None, typer.Argument(help="Only these; without a name, all.")] = None,
    as_json: _Json = False,
) -> None:
    """The maintenance flows' work, here and now: backup, restore-drill, dependency-check, venue-drift and others."""
    from cli.maintaining import run_maintenance

    raise typer.Exit(run_maintenance(tuple(names or ()), as_json=as_json))
