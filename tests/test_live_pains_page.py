"""docs/live-pains.md names only tests that exist, and faults that a simulated venue or process can have."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "live-pains.md").read_text(encoding="utf-8")
PAINS = [line for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
# The names of the survival table (docs/simulated-venues.md).
_NAMES = """
lost_ack lost_request ack_500 ack_empty ack_html ack_truncated hang slow late_visibility
list_lag duplicate_fill out_of_order_fills rate_limited rate_limited_html forbidden
auth_revoked clock_skew maintenance unavailable partial_fill fill_during_cancel cancel_500
cancel_lost_ack cancel_refused post_only_cross order_vanishes self_expiry min_size_raised
price_band balance_lag foreign_order foreign_balance_change fee_in_base stale_ticker
candle_gap crossed_book empty_book circuit_break flash_crash withdraw_permission kill_9
sigterm second_instance ledger_locked disk_full prefect_down clock_jump
"""
FAULTS = frozenset(_NAMES.split())


def test_every_pain_names_a_test() -> None:
    assert [int(line.split("|")[1]) for line in PAINS] == list(range(1, 21))
    assert all("`tests/" in line for line in PAINS)


def test_every_named_test_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 30
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        known = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in known, f"{file} has no {name}"


def test_every_named_fault_is_one_of_the_survival_table() -> None:
    for line in PAINS:
        for cells in re.findall(r"cells? ((?:`\w+` ?)+)", line):
            assert set(re.findall(r"\w+", cells)) <= FAULTS, cells
