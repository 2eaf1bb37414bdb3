"""What is installed, against what was examined, what is newest, and what is known to be unsafe.

The package index is asked by pip and by pip-audit, with the operator's own settings for it. One that cannot be reached
is said and is no failure: a machine that trades need not reach it.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from services.ledger import RungRecord
from trading.checks import Check

_SECONDS = 180.0
PIP = (sys.executable, "-m", "pip", "list", "--format=json", "--disable-pip-version-check", "--retries=1")
AUDIT = (sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off", "--skip-editable", "--desc=off")
# The index may hold somebody else's package of this name: nothing that it says of it is about us.
_OURS = "crypto-bot"
_EXACT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;,]+)\s*(?:;.*)?")
_DIRECT = re.compile(r"[A-Za-z0-9._-]+")


class _NotReached(Exception):
    """The program said nothing that can be read; the text is its last word."""


def dependency_checks(
    certificates: Sequence[RungRecord],
    *,
    pip: Sequence[str] = PIP,
    audit: Sequence[str] = AUDIT,
    seconds: float = _SECONDS,
) -> tuple[Check, ...]:
    """Look at the packages of this environment; `certificates` are those in force, for what a ccxt change voids.

    `pip` and `audit` are the programs that are asked, each for `seconds` at most.
    """
    return (
        _pinned(requires_of(_OURS)),
        *_certified(certificates, version("ccxt")),
        *_newest(pip, seconds),
        _notices(audit, seconds),
    )


def requires_of(package: str) -> tuple[str, ...]:
    """What a package asks for, as its metadata says; nothing where it is not installed."""
    try:
        return tuple(requires(package) or ())
    except PackageNotFoundError:
        return ()


def _pinned(wanted: Sequence[str]) -> Check:
    """Whether what is pinned to one version is installed in that one."""
    other, seen = [], 0
    for each in wanted:
        exact = _EXACT.fullmatch(each)
        if exact is None or "extra ==" in each:
            continue
        seen += 1
        installed = _installed(exact[1])
        if installed != exact[2]:
            other.append(f"{exact[1]} {installed or 'is missing'}, {exact[2]} was examined")
    told = "; ".join(other) + ": run `make setup`" if other else f"{seen} pinned packages are as they were examined"
    return Check("pinned versions", not other, told)


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _certified(certificates: Sequence[RungRecord], ccxt: str) -> list[Check]:
    """What the installed ccxt voids: a certificate is for the one that was examined."""
    found = []
    for each in certificates:
        examined = each.fingerprint.get("ccxt", "")
        if examined and examined != ccxt and each.expires_at > each.issued_at:
            told = f"ccxt {ccxt} is installed, {each.rung} was earned with {examined}: it begins with the first check"
            found.append(Check(f"ccxt and the certificate of {each.account}", False, told))
    return found


def _newest(program: Sequence[str], seconds: float) -> list[Check]:
    """What is newer in the index: news, not a fault. A newer ccxt is told apart."""
    try:
        listed = _json_of((*program, "--outdated"), seconds)
        newer = {str(row["name"]).lower(): (str(row["version"]), str(row["latest_version"])) for row in listed}
        # Of an index that it cannot reach pip says the same as of one that holds nothing newer: an empty list.
        if not newer and not _json_of((*program, "--uptodate"), seconds):
            raise _NotReached("no package was found in the index, if it was reached")
    except _NotReached as error:
        return [Check("newer versions", True, f"not known: {error}")]
    except (KeyError, TypeError):
        return [Check("newer versions", True, "not known: pip's list is not as expected")]
    newer.pop(_OURS, None)
    direct = {m[0].lower() for each in requires_of(_OURS) if (m := _DIRECT.match(each))}
    told = ", ".join(f"{name} {have} → {new}" for name, (have, new) in sorted(newer.items()) if name in direct)
    others = sum(name not in direct for name in newer)
    found = [Check("newer versions", True, f"{told or 'none of those we use directly'}; {others} below them")]
    if "ccxt" in newer:
        have, new = newer["ccxt"]
        found.append(
            Check(
                "newer ccxt", True, f"{have} → {new}: taking it voids every certificate, all begin with the first check"
            )
        )
    return found


def _notices(program: Sequence[str], seconds: float) -> Check:
    """Known vulnerabilities of what is installed."""
    try:
        told = _json_of(program, seconds)
        every: list[Mapping[str, Any]] = [row for row in told["dependencies"] if row["name"] != _OURS]
        rows = [row for row in every if "skip_reason" not in row]  # the others were not looked up
        found = [
            f"{row['name']} {row['version']}: {each['id']}, repaired in {', '.join(each['fix_versions']) or 'none yet'}"
            for row in rows
            for each in row.get("vulns", ())
        ]
    except _NotReached as error:
        return Check("security notices", True, f"not known: {error}")
    except (KeyError, TypeError):
        return Check("security notices", True, "not known: the list of pip-audit is not as expected")
    if every and not rows:
        return Check("security notices", True, f"not known: none of {len(every)} packages could be looked up")
    left = f"; {len(every) - len(rows)} packages could not be looked up" if len(rows) < len(every) else ""
    return Check("security notices", not found, ("; ".join(found) or f"none for {len(rows)} packages") + left)


def _json_of(program: Sequence[str], seconds: float) -> Any:
    """What a program prints as JSON, whatever its exit status (pip-audit ends with 1 when it has found something)."""
    try:
        done = subprocess.run(
            list(program), capture_output=True, text=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise _NotReached(f"no answer in {seconds:g} s") from None
    except OSError as error:
        raise _NotReached(f"{program[0]} cannot be run ({error.strerror})") from None
    try:
        return json.loads(done.stdout)
    except ValueError:
        words = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise _NotReached(f"{words[-1][:200] if words else 'it said nothing'}") from None
