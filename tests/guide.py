"""The operations guides as a program: their commands, typed one after the other as a reader would, at three terminals.

    make guide      # both guides from fresh clones, at their own pace; tests/test_guide.py is quicker

What the pages promise about their blocks: a line with `$` is typed; the lines below it are what is answered, in this
order, with other numbers, and anything at `...`. `# terminal N` says where; `# real venue` and `# other machine` are
not run. `^C` is pressed at the terminal. A command that looks is repeated until it shows what the guide shows.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from config.guide import ENGLISH, JAPANESE
from tests.cli.command import ROOT

PAGES = {"en": ROOT / ENGLISH, "ja": ROOT / JAPANESE}
REAL, OTHER, EVERY = "real venue", "other machine", "every terminal"
_MARKERS = {
    "すべての端末": EVERY,
    "端末1": "terminal 1",
    "端末2": "terminal 2",
    "端末3": "terminal 3",
    "実際の取引所": REAL,
    "別のマシン": OTHER,
}
_PATIENCE = 240.0  # seconds; the machine may be shared
_LOOKS = re.compile(r"crypto-bot (ladder|status|balances|fills|approve(?!.*--code))")
_STAYS = re.compile(r"crypto-bot (venue|up|trade(?!.*--once))")
_DIGEST, _CODE = re.compile(r"\b[0-9a-f]{64}\b"), re.compile(r"(?<=--code )[0-9a-f]{10}\b")
_STAYS_IN_FORCE = ("cd ", "export ", "unset ")
_PORT = "8402"
OPERATORS = ("PREFECT_", "CRYPTO_BOT_", "BYBIT_", "BITBANK_", "BITFLYER_", "OKCOINJP_")  # a reader has none of them yet


@dataclass(frozen=True)
class Step:
    """One line that is typed, and what the page shows below it."""

    section: str
    where: str  # a terminal, or why it is not run
    command: str
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """A fenced block: its kind, its lines, and the anchor of the section that it stands in."""

    section: str
    kind: str
    lines: tuple[str, ...]

    @property
    def marker(self) -> str:
        """What its first line says: a terminal, or why it is not run; "" without one."""
        said = self.lines[0].removeprefix("# ") if self.lines[0].startswith("# ") else ""
        return _MARKERS.get(said, said)

    def steps(self) -> Iterator[Step]:
        """What is typed in it, one after the other."""
        lines = list(self.lines[1:] if self.marker else self.lines)
        while lines:
            typed = lines.pop(0)
            shown = []
            while lines and not lines[0].startswith(("$ ", "^C")):
                shown.append(lines.pop(0))
            yield Step(self.section, self.marker, typed.removeprefix("$ "), tuple(shown))


def blocks(page: str) -> list[Block]:
    """Every fenced block of a page, in order."""
    found, section, inside, kind, lines = [], "", False, "", list[str]()
    for line in page.splitlines():
        text = line.strip()
        if anchor := re.match(r'<a id="([\w-]+)"></a>', text):
            section = anchor[1]
        elif text.startswith("```"):
            if inside:
                found.append(Block(section, kind, tuple(lines)))
            inside, kind, lines = not inside, text.removeprefix("```"), []
        elif inside:
            lines.append(text)
    return found


@dataclass
class Terminal:
    """One of the reader's terminals."""

    environment: dict[str, str]
    folder: Path
    process: "subprocess.Popen[bytes] | None" = None
    output: Path = field(default=Path())

    def run(self, command: str) -> str:
        """Type a command and return all that it says; `cd` and `export` stay in force."""
        if command.startswith(_STAYS_IN_FORCE):
            done = self._shell(f"{command} && env -0 && pwd")
            *variables, folder = done.split("\0")
            self.environment = dict(each.split("=", 1) for each in variables if "=" in each)
            self.folder = Path(folder.strip())
            return ""
        return self._shell(command)

    def _shell(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=900,
            check=False,
        )
        return done.stdout.decode()

    def start(self, command: str, output: Path) -> None:
        """Type a command that stays, and leave the terminal to it."""
        self.output = output
        with output.open("w") as file:
            # `exec`: Ctrl+C reaches the program itself, as it does at a terminal.
            self.process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def interrupt(self) -> int:
        """Press Ctrl+C and return the exit status."""
        assert self.process is not None, "nothing runs at this terminal"
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(timeout=60)
        self.process = None
        return status


class Astray(AssertionError):
    """The guide does not lead where it says."""


@dataclass
class Walk:
    """A reader who types one of the guides, beginning in `folder`."""

    folder: Path
    environment: Mapping[str, str]
    port: int
    told: bool = False
    terminals: dict[str, Terminal] = field(default_factory=dict)
    digest: str = ""
    code: str = ""

    def take(self, page: str, without: Sequence[str] = ()) -> int:
        """Walk through a page; returns how many commands were run. `without`: commands that are left out.

        Raises Astray with the section and the command that did not do what the page shows.
        """
        ran = 0
        try:
            for block in blocks(page):
                if block.kind == "yaml":
                    (self._at("").folder / "my.yml").write_text("\n".join(_indented(page, block)) + "\n")
                if block.kind != "console" or block.marker in (REAL, OTHER):
                    continue
                for step in block.steps():
                    if step.command not in without:
                        self._step(step)
                        ran += 1
        finally:
            for terminal in reversed(self.terminals.values()):  # the trader before its venue
                if terminal.process is not None:
                    terminal.interrupt()
        return ran

    def _at(self, where: str) -> Terminal:
        if where not in self.terminals:
            base = self.terminals.get("")
            self.terminals[where] = Terminal(
                dict(base.environment if base else self.environment), base.folder if base else self.folder
            )
        return self.terminals[where]

    def _step(self, step: Step) -> None:
        if self.told:
            print(f"{step.where or '-':<14} {step.command}", flush=True)
        if step.where == EVERY:
            # What stays in force counts at each of them; what only looks says the same everywhere.
            stays = step.command.startswith(_STAYS_IN_FORCE)
            for where in ("", "terminal 1", "terminal 2", "terminal 3") if stays else ("terminal 1",):
                self._compare(step, self._at(where).run(step.command))
            return
        terminal = self._at(step.where)
        if step.command == "^C":
            status = terminal.interrupt()
            if status != 0:
                raise Astray(f"#{step.section}: exit status {status} after Ctrl+C: {terminal.output.read_text()}")
            self._compare(step, terminal.output.read_text())
            return
        command = self._with_own_values(step.command)
        if _STAYS.match(command):
            terminal.start(command, self.folder / f"{step.where.replace(' ', '-')}.{time.monotonic_ns()}")
            self._until_shown(step, lambda: terminal.output.read_text())
        elif _LOOKS.match(command):
            self._until_shown(step, lambda: terminal.run(command))
        else:
            self._compare(step, terminal.run(command))

    def _with_own_values(self, command: str) -> str:
        """The command with the digest and code that this reader has seen, not the page's."""
        return _CODE.sub(self.code, _DIGEST.sub(self.digest, command)).replace(_PORT, str(self.port))

    def _until_shown(self, step: Step, look: Callable[[], str]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return self._compare(step, look())
            except Astray:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def _compare(self, step: Step, said: str) -> None:
        if (missing := not_shown(step.shown, said)) is not None:
            raise Astray(f"#{step.section}: `{step.command}` does not show {missing!r}, but:\n{said}")
        if found := _DIGEST.search(said):
            self.digest = found[0]
        if re.fullmatch(r"[0-9a-f]{10}", said.strip()):
            self.code = said.strip()


def not_shown(shown: Sequence[str], said: str) -> str | None:
    """The first of the shown lines that was not said, in this order; None where all were."""
    lines = iter([_shape(line) for line in said.splitlines()])
    for line in shown:
        if line == "...":
            continue
        anything = re.escape(_shape(line)).replace(re.escape(" ..."), ".*").replace(re.escape("..."), ".*")
        wanted = re.compile(anything)
        if not any(wanted.fullmatch(each) for each in lines):
            return line
    return None


def _shape(line: str) -> str:
    """A line without what differs from one run to the next: numbers, hex, the frames and padding of tables."""
    line = re.sub(r"[┃│┏┓┗┛┡┩╇┳┻└┘┴━─╈]", " ", line)
    line = re.sub(r"\b[0-9a-f]{10,}\b", "H", line)
    line = re.sub(r"(?<![a-z_])[-+]?\d(?:[\d,:.]*\d)?", "N", line)  # not that of ramp_25
    return " ".join(line.split())


def _indented(page: str, block: Block) -> list[str]:
    """A block's lines with the indentation that they have on the page: YAML needs it."""
    found = re.search(rf"^```{block.kind}\n(.*?)^```", page, re.M | re.S)
    assert found is not None
    return found[1].splitlines()


def main() -> int:
    """Walk through both guides from fresh clones, at their own pace."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--venv", type=Path, help="use this environment instead of `make setup`")
    parser.add_argument("--language", choices=sorted(PAGES), help="only this guide")
    asked = parser.parse_args()
    for language, page in PAGES.items():
        if asked.language not in (None, language):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            began, folder = time.monotonic(), Path(scratch)
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder / "crypto-bot")], check=True)
            environment = reader_environment(folder / "crypto-bot", language)
            without = []
            if asked.venv is not None:
                (folder / "crypto-bot" / ".venv").symlink_to(asked.venv.absolute())
                without.append("make setup")
            walk = Walk(folder, environment, int(_PORT), told=True)
            ran = walk.take(page.read_text(encoding="utf-8"), without)
            print(f"{page.name}: {ran} commands in {time.monotonic() - began:.0f} s, each did what the guide shows")
    return 0


def reader_environment(code: Path, language: str) -> dict[str, str]:
    """The environment of a reader's first terminal, eighty columns wide; `code` is what the commands run."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(OPERATORS) and name != "PYTHONDONTWRITEBYTECODE"
    }
    return {
        **kept,
        "LANG": {"en": "C.UTF-8", "ja": "ja_JP.UTF-8"}[language],
        "COLUMNS": "80",
        "PYTHONPATH": str(code),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


if __name__ == "__main__":
    sys.exit(main())
