"""Which section of the operations guide says what an error means, what to check and what to do.

Both guides (docs/operations.md, docs/ja/運用ガイド.md) have every anchor that is named here; tests/test_guide.py holds
that, and that no kind of error is forgotten.
"""

import os
from collections.abc import Mapping

ENGLISH, JAPANESE = "docs/operations.md", "docs/ja/運用ガイド.md"

# Classes of exceptions, by name; one that is not here is what its nearest base class is.
ERRORS = {
    "ConfigurationError": "configuration",
    # what a venue answers (exchanges/errors.py)
    "AuthenticationError": "authentication",
    "PermissionDenied": "permission",
    "RateLimitExceeded": "rate-limit",
    "InsufficientFunds": "funds",
    "OrderNotFound": "bad-request",
    "BadRequest": "bad-request",
    "Refused": "bad-request",
    "Maintenance": "maintenance",
    "Busy": "maintenance",
    "ClockSkew": "clock",
    "NoAnswer": "no-answer",
    # our own
    "AccountHeld": "second-instance",
    "LeaseLost": "second-instance",
    "KillSwitchSet": "kill-switch",
    "PlacementHeld": "unproved-order",
    "CertificateRefused": "certificate",
    "CheckFailed": "checks",
    "NotAsExpected": "checks",
    "NothingToApprove": "approval",
    "NotApproved": "approval",
    "TargetTooSmall": "bad-request",
    "SomethingLeft": "emergency",
    "LedgerUnavailable": "ledger",
    "LedgerConflict": "ledger",
    "ClockGone": "simulated-venue",
    "SecretMissing": "secret",
    "SecretRefused": "secret",
    "SecretUnavailable": "secret",
    "BackupFailed": "backup",
    "BackupUnreadable": "restore",
    "RestoreRefused": "restore",
    "UpkeepFailed": "upkeep",
    "DigestNotTaken": "alerts",
}

# Risk rules (trading/risk.py), and what else a cycle may be refused by.
RULES = {
    "kill_switch": "kill-switch",
    "key_rights": "key-rights",
    "certificate": "certificate",
    "unproved_order": "unproved-order",
    "venue_state": "maintenance",
    "data_age": "stale-data",
    "clock_skew": "clock",
    "order_steps": "bad-request",
    "free_balance": "funds",
    "order_notional": "limits",
    "position": "limits",
    "open_orders": "limits",
    "orders_per_minute": "limits",
    "orders_per_day": "limits",
    "price_collar": "limits",
    "duplicate": "limits",
    "own_order_crossed": "limits",
    "daily_loss": "losses",
    "drawdown": "losses",
    "repeated_execution": "kill-switch",
    "refused_in_a_row": "bad-request",
    "books": "books",
}

# Differences between ledger and venue (trading/reconcile.py, execution/search.py), which `books` is about.
DIFFERENCES = {
    "orphan": "orphans",
    "order_foreign": "orphans",
    "order_rests": "orphans",
    "unproved_order": "unproved-order",
    "several_candidates": "unproved-order",
}

# What alerts are about: one of the words of their key (trading/notices.py, trading/watches.py, tasks/keys.py,
# tasks/maintenance.py, services/monitoring.py).
ALERTS = {
    "halt": "kill-switch",
    "venue_halt": "maintenance",
    "drift": "books",
    "orphan": "orphans",
    "unknown_order": "unproved-order",
    "reduce_only": "losses",
    "certificate": "certificate",
    "clock_skew": "clock",
    "data_age": "stale-data",
    "refused_in_a_row": "bad-request",
    "key": "authentication",
    "key-secret": "secret",
    "key-rotation": "secret",
    "key-rights": "key-rights",
    "key-restriction": "keys",
    "key-expiry": "keys",
    "key-age": "secrets",
    "ledger": "ledger",
    "trader": "monitoring",
    "up": "monitoring",
    "cycle": "errors",
    "prefect": "prefect-away",
    "compatibility": "checks",
    "read_only": "checks",
    "minimal_order": "checks",
    "rung": "certificate",
    "stop": "emergency",
    "upkeep": "upkeep",
    "api_connectivity": "no-answer",
    "balance_changes": "books",
    "open_orders": "unproved-order",
    "response_latency": "metrics",
    "error_rate": "errors",
    "metrics": "metrics",
}

# What stands in no exception.
API_AWAY, APPROVAL, CERTIFICATE, CHECKS, EMERGENCY = "prefect-away", "approval", "certificate", "checks", "emergency"
KILL_SWITCH = "kill-switch"


def section_of(error: BaseException) -> str | None:
    """The anchor for an error: its own, or the one for its class or the nearest base class; None for a defect."""
    own = getattr(error, "section", None)
    if isinstance(own, str):
        return own
    return next((ERRORS[base.__name__] for base in type(error).__mro__ if base.__name__ in ERRORS), None)


def section_of_refusal(refused: str) -> str | None:
    """The anchor for what a cycle's report says of a refused order: `RULE: limit ..., observed ...`."""
    rule, _, told = refused.partition(":")
    if rule == "books":
        found = [anchor for kind, anchor in DIFFERENCES.items() if f" {kind}" in told]
        return found[0] if found else RULES[rule]
    return RULES.get(rule)


def section_of_alert(key: str) -> str | None:
    """The anchor for an alert, by its key, e.g. `bitbank:halt` or `metrics-prometheus`."""
    return next((ALERTS[word] for word in (*key.split(":"), key.partition("-")[0]) if word in ALERTS), None)


def address_of(section: str, environ: Mapping[str, str] | None = None) -> str:
    """Page and anchor, e.g. `docs/operations.md#clock`; the Japanese page for those whose locale is Japanese."""
    known = os.environ if environ is None else environ
    locale = known.get("LC_ALL") or known.get("LC_MESSAGES") or known.get("LANG") or ""
    return f"{JAPANESE if locale.startswith('ja') else ENGLISH}#{section}"


def see(section: str | None) -> str:
    """What is put behind a message: ` (docs/operations.md#clock)`; nothing where no section is known."""
    return f" ({address_of(section)})" if section else ""
