"""What commands print, where nobody reads it any more."""

import os
import subprocess
import sys

import pytest

from tests.cli.command import ROOT

_SAYS = "from cli.output import say; import sys; say('one'); say('two'); sys.stderr.write('goes on')"


@pytest.mark.parametrize("reader", ["a pipe", "a terminal"])
def test_a_reader_that_has_gone_ends_no_work(reader: str) -> None:
    reads, writes = os.pipe() if reader == "a pipe" else os.openpty()
    os.close(reads)
    done = subprocess.run(
        [sys.executable, "-c", _SAYS],
        cwd=ROOT,
        stdout=writes,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writes)
    assert done.stderr.startswith("goes on"), done.stderr
