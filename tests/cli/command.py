"""The `crypto-bot` command as a person runs it: another process, real venues, real files."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 90.0  # seconds; the machine may be shared


@dataclass
class Command:
    """Runs commands under one home, and ends what is still running in the end."""

    home: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PREFECT_API_URL": ""})  # "": not set
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    def run(self, *words: str, **more: Any) -> "subprocess.CompletedProcess[str]":
        """Run one command to its end."""
        python: tuple[str, ...] = more.pop("python", ())
        return subprocess.run(
            [sys.executable, *python, "-m", "cli.main", *words],
            env=self.environ(more.pop("env", {})),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=more.pop("patience", PATIENCE),
            input=more.pop("stdin", ""),
            check=False,
        )

    def start(self, *words: str, env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        """Begin one command; its output goes to files, so that it never waits for a reader."""
        number = len(self.started)
        out, err = (self.home.with_name(f"{self.home.name}.{number}.{kind}") for kind in ("out", "err"))
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *words],
            env=self.environ(env or {}),
            cwd=ROOT,
            stdout=out.open("w"),
            stderr=err.open("w"),
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self.started.append(process)
        return process

    def said(self, process: "subprocess.Popen[str]") -> str:
        """What a started command has printed until now, on both streams."""
        number = self.started.index(process)
        return "".join(self.home.with_name(f"{self.home.name}.{number}.{kind}").read_text() for kind in ("out", "err"))

    def ended(self, process: "subprocess.Popen[str]", seconds: float = PATIENCE) -> int:
        """Wait for the end of a started command and return its exit status."""
        try:
            return process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds:g} s; it said: {self.said(process)}") from None

    def end_all(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self.started:
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def environ(self, more: Mapping[str, str]) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environ = {**kept, "CRYPTO_BOT_HOME": str(self.home), "COLUMNS": "200", **self.environment, **more}
        return {key: value for key, value in environ.items() if value}


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait until the condition gives something true, and return that."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{seconds:g} s have passed without {what}"
        time.sleep(0.05)
    return found


def one_line(text: str) -> str:
    """The only line of `text`."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    return lines[0]


def control(url: str, path: str, **body: object) -> Any:
    """Call a venue's control side: GET without a body, POST with one."""
    data = json.dumps(body).encode() if body else None
    with urlopen(Request(f"{url}/{path}", data=data), timeout=30) as reply:
        return json.load(reply)


def resting(url: str) -> list[dict[str, Any]]:
    """The orders that really rest at a venue."""
    return [one for one in control(url, "truth")["orders"] if one["status"] in ("open", "partially_filled")]


def processes_of(home: Path) -> list[str]:
    """Command lines of the processes that run now with this home in their environment (Linux; elsewhere none)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environ = (process / "environ").read_bytes().split(b"\0")
            if f"CRYPTO_BOT_HOME={home}".encode() in environ:
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it has ended, or is somebody else's
    return found
