import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from execution.latch import kill_switch, rearm, set_latch
from services.ledger import Ledger, LedgerUnavailable
from tests.execution.conftest import Workplace
from tests.execution.venue import BEGIN


class DeadLedger(Ledger):
    """A ledger whose database is gone."""

    def __init__(self) -> None:
        pass

    def __getattribute__(self, name: str) -> object:
        if name.startswith("__"):
            return super().__getattribute__(name)
        raise LedgerUnavailable("the database is gone")


def test_nothing_latched_is_nothing(work: Workplace) -> None:
    assert kill_switch(work.home, work.ledger, "bitbank") is None


def test_the_latch_goes_into_the_ledger_and_is_read_from_there(work: Workplace) -> None:
    assert set_latch(work.home, work.ledger, "bitbank", "drill", "ann", BEGIN) == ()
    latch = kill_switch(work.home, work.ledger, "bitbank")
    assert latch is not None and (latch.reason, latch.by, latch.at) == ("drill", "ann", BEGIN)
    assert kill_switch(work.home, work.ledger, "bybit") is None


def test_without_a_ledger_the_latch_is_a_file_that_holds_when_the_ledger_is_back(work: Workplace) -> None:
    (problem,) = set_latch(work.home, DeadLedger(), "bitbank", "drill", "ann", BEGIN)
    assert "the database is gone" in problem
    latch = kill_switch(work.home, work.ledger, "bitbank")
    assert latch is not None and (latch.reason, latch.by, latch.at) == ("drill", "ann", BEGIN)


def test_the_latch_for_all_holds_every_account_from_either_place(work: Workplace) -> None:
    set_latch(work.home, None, "*", "drill", "ann", BEGIN)
    assert kill_switch(work.home, None, "bybit") is not None
    (work.home / "latches" / "all.json").unlink()
    work.ledger.latch("*", "drill", "ann", BEGIN)
    assert kill_switch(work.home, work.ledger, "bybit") is not None


def test_a_paper_account_is_held_by_the_latch_of_its_venue(work: Workplace) -> None:
    work.ledger.latch("bitbank", "drill", "ann", BEGIN)
    assert kill_switch(work.home, work.ledger, "bitbank:paper") is not None


_ON_A_FULL_DISK = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from execution.latch import set_latch
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
set_latch(Path(sys.argv[1]), None, "bitbank", "drill", "ann", datetime.now(UTC))
"""


def test_a_disk_that_takes_a_name_and_no_words_holds_the_latch_all_the_same(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _ON_A_FULL_DISK, tmp_path], check=True, timeout=60)
    assert [file.name for file in (tmp_path / "latches").iterdir()] == ["bitbank.json"]
    assert kill_switch(tmp_path, None, "bitbank") is not None


def test_a_torn_latch_file_still_stops(work: Workplace) -> None:
    set_latch(work.home, None, "bitbank", "drill", "ann", BEGIN)
    (work.home / "latches" / "bitbank.json").write_text("{")
    latch = kill_switch(work.home, work.ledger, "bitbank")
    assert latch is not None and "unreadable" in latch.reason


def test_several_that_stop_at_the_same_moment_all_succeed(tmp_path: Path) -> None:
    def stop(name: str) -> None:
        for _ in range(100):
            set_latch(tmp_path, None, "bitbank", "drill", name, BEGIN)

    with ThreadPoolExecutor(4) as operators:
        list(operators.map(stop, ("ann", "ben", "cho", "dai")))
    assert [file.name for file in (tmp_path / "latches").iterdir()] == ["bitbank.json"]
    latch = kill_switch(tmp_path, None, "bitbank")
    assert latch is not None and latch.reason == "drill"


def test_re_arming_clears_both_places(work: Workplace) -> None:
    work.ledger.latch("bitbank", "drill", "ann", BEGIN)
    set_latch(work.home, None, "bitbank", "drill", "ann", BEGIN)
    rearm(work.home, work.ledger, "bitbank", "ben", "over", BEGIN)
    assert kill_switch(work.home, work.ledger, "bitbank") is None


def test_what_is_not_known_to_be_free_is_not_free(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        kill_switch(tmp_path, DeadLedger(), "bitbank")
