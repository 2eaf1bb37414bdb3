"""Six minutes of the long run (`make soak-up`): what a day of it counts is counted, and the count itself still runs."""

import json
import subprocess
import sys

import pytest

from tests.cli.command import ROOT


@pytest.mark.walk
def test_every_minute_of_a_soak_has_one_cycle_with_its_run_at_every_exchange() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--hours", "0.1"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert told.returncode == 0, told.stdout + told.stderr
    counted = json.loads(told.stdout)
    assert {each["cycles"] for each in counted["exchanges"].values()} == {6}
