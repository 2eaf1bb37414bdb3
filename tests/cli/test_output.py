"""Printing ends nothing of what a command does: the reader may go, the disk may be full, a letter may be unknown."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import ROOT, Command

# As `crypto-bot up` goes down: it says so, and then does it.
GOES_ON = """
import sys
from cli.output import print_json, print_table, say
say("going down: traders first")
print_table("emergency stop", ("exchange",), [("bitbank",)], "none")
print_json({"clean": False})
sys.stderr.write("all orders are taken back")
raise SystemExit(1)
"""


def run(code: str, stdout: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )


@pytest.mark.parametrize("make", [os.pipe, os.openpty], ids=["a pipe", "a terminal"])
def test_a_reader_that_has_gone_breaks_off_no_work(make: Callable[[], tuple[int, int]]) -> None:
    reading, writing = make()
    os.close(reading)
    try:
        done = run(GOES_ON, writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "all orders are taken back")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="stands for a full disk")
def test_a_full_disk_under_the_output_breaks_off_no_work() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = run(GOES_ON.replace('print_json({"clean": False})\n', ""), full)
    finally:
        os.close(full)
    assert done.stderr.startswith("all orders are taken back"), done.stderr
    assert done.returncode != 0


def test_a_terminal_that_lacks_a_letter_shows_its_number(command: Command) -> None:
    done = command.run("config", "show", "--set", "logging.file_path=記録.log", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert "\\u8a18\\u9332.log" in done.stdout
