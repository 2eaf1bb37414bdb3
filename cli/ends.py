"""How a command ends that cannot go on: one sentence on stderr, with its place in the guide, and the exit status."""

import sys
from typing import NoReturn

from config.guide import section_of, see


def known_end(error: Exception) -> tuple[str, int] | None:
    """The sentence and exit status of an end that a person can do something about; None for a defect."""
    usage = getattr(error, "format_message", None)  # typer keeps its class of usage errors to itself
    if usage is not None:
        return " ".join(str(usage()).split()) or "say `crypto-bot --help`", 2
    from exchanges.errors import VenueError
    from execution.hold import AccountHeld
    from execution.latch import KillSwitchSet
    from services.archive import BackupUnreadable
    from services.backup import BackupFailed
    from services.clock import ClockGone
    from services.ledger import LeaseLost, LedgerConflict, LedgerUnavailable
    from services.restore import RestoreRefused
    from trading.checks import CheckFailed

    known = (
        VenueError,
        ClockGone,
        AccountHeld,
        KillSwitchSet,
        LeaseLost,
        LedgerConflict,
        LedgerUnavailable,
        CheckFailed,
        BackupFailed,
        BackupUnreadable,
        RestoreRefused,
    )
    return (f"{error}{see(section_of(error))}", 1) if isinstance(error, known) else None


def end_with_status(sentence: str, status: int) -> NoReturn:
    """Print the sentence, masked, and end the process."""
    from services.logs import mask_known_secrets

    sys.stderr.write(f"crypto-bot: {mask_known_secrets(sentence)}\n")
    raise SystemExit(status)
