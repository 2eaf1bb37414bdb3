"""The kill switch, and how it holds when the ledger does not answer: a small file under home says the same.

Setting tries the ledger first and falls back to the file; reading looks at both; re-arming clears both.
"""

import contextlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from threading import get_native_id

from services.ledger import Latch, Ledger, LedgerUnavailable

EVERY_ACCOUNT = "*"


class KillSwitchSet(Exception):
    """The kill switch holds the account; the message says who set it and how to take it back."""


def refuse_while_set(home: Path, ledger: Ledger, account: str) -> None:
    """Raise KillSwitchSet when the account, or all, are latched; LedgerUnavailable as `kill_switch`."""
    latch = kill_switch(home, ledger, account)
    if latch is not None:
        raise KillSwitchSet(
            f"{account}: the kill switch was set by {latch.by} at {latch.at:%Y-%m-%d %H:%M:%S} UTC ({latch.reason}); "
            f"when it is safe: crypto-bot rearm {account.partition('@')[0]} --by NAME --reason TEXT"
        )


def refuse_unreconciled(ledger: Ledger, account: str) -> None:
    """Raise KillSwitchSet while the ledger was restored from a backup and does not agree with the venue yet."""
    restore = ledger.open_restore(account)
    if restore is not None:
        raise KillSwitchSet(
            f"{account}: the ledger was restored from a backup of {restore.taken_at:%Y-%m-%d %H:%M:%S} UTC; first: "
            f"crypto-bot restore --reconcile {account.partition('@')[0]} --by NAME"
        )


def kill_switch(home: Path | None, ledger: Ledger | None, account: str) -> Latch | None:
    """The latch that holds `account` (its own, or the one for all), from the file under home or from the
    ledger.

    A paper account (`bitbank:paper`) is also held by the latch of its venue account. Raises
    LedgerUnavailable when no file tells and the ledger cannot: what is not known to be free is not free.
    """
    accounts = dict.fromkeys((account, account.partition(":")[0]))
    if home is not None:
        for name in (*accounts, EVERY_ACCOUNT):
            if (latch := _read(_file(home, name), name)) is not None:
                return latch
    if ledger is not None:
        for name in accounts:
            if (latch := ledger.latched(name)) is not None:
                return latch
    return None


def set_latch(
    home: Path | None, ledger: Ledger | None, account: str, reason: str, by: str, now: datetime
) -> tuple[str, ...]:
    """Latch the kill switch of an account, or of all ("*"): in the ledger, else as a file under `home`.

    Returns what went wrong; raises OSError or LedgerUnavailable only when neither could be written.
    """
    trouble: LedgerUnavailable | None = None
    if ledger is not None:
        try:
            ledger.latch(account, reason, by, now)
            return ()
        except LedgerUnavailable as error:
            trouble = error
    if home is None:
        raise trouble or LedgerUnavailable("no ledger and no home to write the latch to")
    _write(_file(home, account), Latch(account=account, reason=reason, by=by, at=now))
    told = str(trouble) if trouble is not None else "no ledger was given"
    return (f"the kill switch of {account} was latched by a file under {home / 'latches'}: {told}",)


def rearm(home: Path | None, ledger: Ledger, account: str, by: str, reason: str, now: datetime) -> None:
    """Release the kill switch of `account` in the ledger and remove its file. Raises LedgerUnavailable."""
    ledger.rearm(account, by, reason, now)
    if home is not None:
        _file(home, account).unlink(missing_ok=True)


def _file(home: Path, account: str) -> Path:
    name = "all" if account == EVERY_ACCOUNT else account.replace(":", "_").replace("/", "_")
    return home / "latches" / f"{name}.json"


def _read(path: Path, account: str) -> Latch | None:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        told = json.loads(text)
        return Latch(
            account=str(told["account"]),
            reason=str(told["reason"]),
            by=str(told["by"]),
            at=datetime.fromisoformat(told["at"]),
        )
    except (ValueError, KeyError, TypeError):
        # Somebody meant to stop; a torn file still says so.
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return Latch(account=account, reason=f"the latch file {path} is unreadable", by="unknown", at=written)


def _write(path: Path, latch: Latch) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{get_native_id()}")  # its own: two may stop at the same moment
    draft.touch()
    told = {"account": latch.account, "reason": latch.reason, "by": latch.by, "at": latch.at.isoformat()}
    # A full disk takes a name and no words: the empty file says the same, stop (`_read`).
    with contextlib.suppress(OSError), draft.open("w", encoding="utf-8") as file:
        json.dump(told, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
