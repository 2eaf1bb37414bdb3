"""The canary: secrets are planted, a demo runs with DEBUG logging and every fault, and nothing of them may be left.

    python scripts/canary.py [--exchange NAME ...] [--seed N] [--keep DIR]

Planted are the keys of four simulated venues, the address of a webhook, an approval secret, the key of a backup and the
password of a ledger. A careless strategy says one of them in its errors, in every form (tests/canary.py). Then
everything that was left is searched in raw, URL-encoded, base64 and hex form (tests/leaks.py): stdout and stderr, every
file under home (logs, ledger, Prefect's database with its states, logs, parameters, artifacts and events, also cell by
cell, the alerts' memory, metrics, Prometheus's texts), the backups as they are and unpacked, the alerts that arrived,
and the tracebacks of commands that crashed.

Two places hold the keys of a simulated venue on purpose: the first line of `crypto-bot venue`, which is not part of
this, and `<home>/venues/NAME.json` (mode 600) as long as the venue runs.

The demo runs twice: its orders take from the book, then they rest in it, so that what strikes at a cancel does too.
What did not strike at a venue is listed.

Exit status 1 when anything is found, when a form planted on purpose is not found, or when nothing was there to hide.
"""

import argparse
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from config.credentials import credential_variables  # noqa: E402
from config.loader import DEMO_FILE  # noqa: E402
from config.settings import EXCHANGES, Endpoint  # noqa: E402
from simvenue.build import secrets_for, wire_class  # noqa: E402
from tests.canary import CRASH, SAID  # noqa: E402
from tests.leaks import Leak, forms, search, search_backups, search_files  # noqa: E402
from tests.services.sinks import WebSink, web_sink  # noqa: E402

_PATIENCE = 240.0  # seconds until the demo must trade
# `random` draws from the others; the right to withdraw is asked about by a check alone, which has a venue of its own.
_ELSEWHERE = {"random", "withdraw_permission"}
# After these the books differ for good and nothing is placed any more: they come last.
_LASTING = {"foreign_balance_change", "foreign_order", "order_vanishes", "price_band", "min_size_raised"}
# A fault that has not struck by then is tried again with the other style of orders, for longer.
_STRIKE_SECONDS = (15.0, 60.0)
_SETTINGS = {
    "LOGGING__LEVEL": "DEBUG",
    "STRATEGY__NAME": "tests.canary.careless",
    "EXECUTION__TIMEOUT": "1",
    "EXECUTION__RETRY_DELAY": "0.2",
    "EXECUTION__FOLLOW_SECONDS": "1",
    # Orders that rest and are taken back again and again would set the kill switch.
    "RISK__REPEATED_EXECUTION_LIMIT": "100000",
    "RISK__DUPLICATE_WINDOW_SECONDS": "0",
    "RISK__REFUSED_IN_A_ROW_LIMIT": "40",
    "ALERTS__REPEAT_MINUTES": "0.05",
    "ALERTS__TIMEOUT_SECONDS": "2",
    "MONITORING__SINKS": '["file", "prometheus"]',
}
_MONITORING = """
import asyncio
from flows.monitoring import monitoring
print(asyncio.run(monitoring()))
"""  # as its deployment runs it: a process of its own, which leaves a text for Prometheus


@dataclass
class Canary:
    """One run: what was planted, where it ran, what was said."""

    folder: Path
    names: Sequence[str]
    seed: int
    planted: dict[str, str] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    said: dict[str, bytes] = field(default_factory=dict)
    struck: dict[str, set[str]] = field(default_factory=dict)
    silent: dict[str, set[str]] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def folder_of(self, style: str) -> Path:
        """The home of one demo."""
        return self.home / style

    def plant(self, sink: WebSink) -> None:
        """Choose every secret and put it where the bot finds it."""
        for name in self.names:
            made = secrets_for(wire_class(name).spec, self.seed)
            self.planted |= {f"{name} key": made.api_key, f"{name} secret": made.api_secret}
            if name == "okcoinjp":
                self.planted[f"{name} passphrase"] = made.passphrase
        for what in ("webhook", "approval secret", "backup key", "another token", "ledger password"):
            self.planted[what] = f"Canary+{secrets.token_urlsafe(18)}"
        channel = [{"name": "web", "url_secret": "ALERTS_WEB", "level": "info"}]
        self.environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "CRYPTO_BOT_"))},
            **{f"CRYPTO_BOT__{key}": value for key, value in _SETTINGS.items()},
            "CRYPTO_BOT_HOME": str(self.home),
            "CRYPTO_BOT__ALERTS__CHANNELS": json.dumps(channel),
            "ALERTS_WEB": f"json://bot:{self.planted['another token']}@127.0.0.1:{sink.port}/{self.planted['webhook']}",
            "CRYPTO_BOT_APPROVAL_SECRET": self.planted["approval secret"],
            "CRYPTO_BOT_BACKUP_KEY": self.planted["backup key"],
            "PREFECT_LOGGING_LEVEL": "DEBUG",
            "PREFECT_LOGGING_EXTRA_LOGGERS": "ccxt,exchanges,execution,services,tasks,cli,aiohttp,apprise,urllib3",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            SAID: self.planted[f"{self.names[0]} secret"],
            "PYTHONPATH": str(ROOT),
        }

    def demo(self, style: str) -> None:
        """Run the demo with one style of orders, and at every venue each fault that has not struck yet while it trades;
        end it as a person would.
        """
        self.environ |= {"CRYPTO_BOT_HOME": str(self.folder_of(style)), "CRYPTO_BOT__EXECUTION__ORDER_STYLE": style}
        words = [word for name in self.names for word in ("--exchange", name)]
        with (self.folder / f"{style}.out").open("wb") as out, (self.folder / f"{style}.err").open("wb") as err:
            process = subprocess.Popen(
                self._command("demo", "--cycles", "100000", "--seed", str(self.seed), *words),
                env=self.environ, cwd=ROOT, stdout=out, stderr=err, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                threads = [threading.Thread(target=self._faults, args=(name, style, process)) for name in self.names]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                process.send_signal(signal.SIGINT)
                process.wait(timeout=90)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        self.said[f"demo ({style}), stdout"] = (self.folder / f"{style}.out").read_bytes()
        self.said[f"demo ({style}), stderr"] = (self.folder / f"{style}.err").read_bytes()

    def _faults(self, name: str, style: str, process: "subprocess.Popen[bytes]") -> None:
        """Set each fault that this venue knows, until it has struck."""
        note = self.folder_of(style) / "demo" / "venues" / f"{name}.json"
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError, ValueError, KeyError):
                url = json.loads(note.read_text())["control_url"]
                if control(url, "truth")["orders"]:
                    break  # its minimal order is in: the checks are over
            time.sleep(0.5)
        else:
            self.silent[name] = {"the demo did not begin to trade"}
            return
        known = control(url, "faults")
        struck = self.struck.setdefault(name, set())
        seconds = _STRIKE_SECONDS[name in self.silent]
        self.silent[name] = {*known["known"]} - {*known["not_applicable"]} - struck - _ELSEWHERE
        in_order = [each for each in known["known"] if each in self.silent[name]]
        for fault in sorted(in_order, key=lambda each: each in _LASTING):
            if process.poll() is not None:
                return
            self._fault(name, url, fault, process, seconds)

    def _fault(self, name: str, url: str, fault: str, process: "subprocess.Popen[bytes]", seconds: float) -> None:
        before = control(url, "faults")["struck"].get(fault, 0)
        with contextlib.suppress(OSError):  # one that needs an order to strike at may be refused for want of one
            control(url, "faults", name=fault)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and process.poll() is None:
            if control(url, "faults")["struck"].get(fault, 0) > before:
                self.struck[name].add(fault)
                self.silent[name].discard(fault)
                time.sleep(1.0)  # what follows from it
                break
            time.sleep(0.1)
        with urlopen(Request(f"{url}/faults", method="DELETE"), timeout=30):
            pass

    def commands(self) -> None:
        """Commands that use what was planted, and ones that crash, on what the demo has left."""
        home = self.folder_of("taker") / "demo"
        self.environ |= {"CRYPTO_BOT_HOME": str(home), "CRYPTO_BOT_CONFIG": str(DEMO_FILE)}
        digest = ("--phrase", "x", "--code", "y")
        with self._venue_with_a_key_that_may_withdraw():
            self._run("stop")
            self._run("status", "--json")
            self._run("alerts", "test")
            self._run("approve", self.names[0], "--by", "me", "--reason", "canary", *digest)
            self._run("config", "show")
            self._run("check", self.names[0], "-v")
            self._run("maintenance", "heartbeat", "database-upkeep", "venue-drift")
        self._run("audit", "verify")
        self._run("orders", "--json")
        self._run("secrets", "--json", env=self._keys())
        self._with_passwords_in_addresses(home)
        self._with_secrets_where_none_belongs()
        self._run(python=(_MONITORING,), env={"PREFECT_HOME": str(home / "prefect")})
        self._run("alerts", "digest")
        self._run(python=(CRASH, self.planted[f"{self.names[0]} secret"]))

    def _keys(self) -> dict[str, str]:
        """The keys of every venue where a person puts them."""
        told: dict[str, str] = {}
        for name in self.names:
            fields = ("key", "secret", "passphrase")[: 3 if name == "okcoinjp" else 2]
            variables = credential_variables(name, Endpoint.SIMULATED)
            told |= dict(zip(variables, (self.planted[f"{name} {field}"] for field in fields), strict=True))
            told[f"CRYPTO_BOT__EXCHANGES__{name.upper()}__BASE_URL"] = "http://127.0.0.1:9"
        return told

    def _with_passwords_in_addresses(self, home: Path) -> None:
        """In a file that goes into a backup, and in the addresses of a database and an API that do not answer."""
        url = f"postgresql://bot:{self.planted['ledger password']}@127.0.0.1:9/bot"
        file = self.folder / "own.yml"
        file.write_text(f"ledger:\n  url: {url}\n")
        both = f"{DEMO_FILE}{os.pathsep}{file}"
        here = {"CRYPTO_BOT_CONFIG": both, "CRYPTO_BOT__LEDGER__URL": f"sqlite:///{home / 'ledger.db'}"}
        self._run("backup", env=here)
        self._run("maintenance", "restore-drill", env=here)
        in_a_parameter = f"postgresql://127.0.0.1:9/bot?user=bot&password={self.planted['ledger password']}"
        for address in (url, in_a_parameter):
            away = {"CRYPTO_BOT__LEDGER__URL": address}
            for words in (("config", "show"), ("status",), ("stop",), ("backup",), ("audit", "verify")):
                self._run(*words, env=away, what="with its ledger away")
        api = f"http://bot:{self.planted['another token']}@127.0.0.1:9/api"
        self._run("trade", self.names[0], env={"PREFECT_API_URL": api}, what="with Prefect's API away")

    def _with_secrets_where_none_belongs(self) -> None:
        """What a person may do by mistake; the command refuses it."""
        channel = [{"name": "web", "url_secret": self.environ["ALERTS_WEB"]}]
        mistakes = {
            "CRYPTO_BOT__ALERTS__CHANNELS": json.dumps(channel),
            "CRYPTO_BOT__EXCHANGES__BYBIT__API_SECRET": self.planted[f"{self.names[0]} secret"],
            "CRYPTO_BOT__MAINTENANCE__BACKUP_SECRET": self.planted["backup key"],
        }
        for variable, value in mistakes.items():
            self._run("config", "show", env={variable: value}, what=variable)

    @contextlib.contextmanager
    def _venue_with_a_key_that_may_withdraw(self) -> Iterator[None]:
        """A venue as a person starts it, with the keys of the demo's. Its first line, which shows them, is left out."""
        words = ("venue", self.names[0], "--seed", str(self.seed), "--fault", "withdraw_permission")
        with subprocess.Popen(self._command(*words), env=self.environ, cwd=ROOT, stdout=subprocess.PIPE) as venue:
            assert venue.stdout is not None
            venue.stdout.readline()
            try:
                yield
            finally:
                venue.send_signal(signal.SIGTERM)
                venue.wait(timeout=30)

    def _run(
        self, *words: str, python: Sequence[str] = (), env: Mapping[str, str] | None = None, what: str = ""
    ) -> None:
        """Run a command, or a Python text with its arguments, to its end."""
        command = [sys.executable, "-c", *python] if python else self._command(*words)
        done = subprocess.run(
            command,
            env={**self.environ, **(env or {})},
            cwd=ROOT,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )
        name = " ".join(words or ("python",)) + f" {what}".rstrip()
        number = len(self.said)
        (self.folder / f"{number}.out").write_bytes(f"{name}: {done.returncode}\n".encode() + done.stdout + done.stderr)
        self.said[f"{number}.out, {name}"] = done.stdout + done.stderr

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "cli.main", *words]


def control(url: str, path: str, **body: object) -> Any:
    """Call a venue's control side."""
    data = json.dumps(body).encode() if body else None
    with urlopen(Request(f"{url}/{path}", data=data), timeout=30) as reply:
        return json.load(reply)


def self_check(planted: Mapping[str, str]) -> list[str]:
    """Every form of every planted value, written on purpose, must be found; returns those that were not."""
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        for name, value in planted.items():
            for form, text in forms(value):
                (Path(folder) / "one").write_bytes(b"before " + text + b" after")
                found, _, _ = search_files(Path(folder), planted)
                if not any(leak.name == name and leak.form == form for leak in found):
                    missed.append(f"{name} ({form})")
    return missed


def run(folder: Path, names: Sequence[str], seed: int) -> int:
    """One canary; its exit status."""
    began = time.monotonic()
    canary = Canary(folder, names, seed)
    with web_sink() as sink:
        canary.plant(sink)
        for style in ("taker", "maker"):
            canary.demo(style)
        canary.commands()
        bodies = "\n".join(f"{each.body}\n{ {**each.headers, 'Authorization': ''} }" for each in sink.arrived)
    (folder / "alerts.txt").write_text(bodies)
    leaks: list[Leak] = search(bodies.encode(), canary.planted, "the alerts that arrived")
    for place, text in canary.said.items():
        leaks += search(text, canary.planted, place)
    found, files, size = search_files(canary.home, canary.planted)
    in_backups, parts = search_backups(canary.home, canary.planted["backup key"], canary.planted)
    leaks += found + in_backups
    missed = self_check(canary.planted)
    logs = "".join(path.read_text(errors="replace") for path in canary.home.rglob("crypto-bot.log*"))
    masked = logs.count("••••")
    out = sys.stdout.write
    out(f"{len(canary.planted)} values planted, {sum(len(list(forms(v))) for v in canary.planted.values())} forms\n")
    out(f"searched {files} files with {size / 1e6:.1f} MB, {len(canary.said)} outputs, {len(sink.arrived)} alerts\n")
    metrics = [len(list(canary.home.rglob(each))) for each in ("metrics.jsonl*", "*.prom")]
    out(f"{len(parts)} parts of backups; {metrics[0]} files of metrics, {metrics[1]} texts for Prometheus\n")
    out(f"{logs.count(chr(10))} lines of log, {logs.count(' DEBUG ')} at DEBUG; {masked} times something was masked\n")
    for name in names:
        never = ", ".join(sorted(canary.silent.get(name, ()))) or "none"
        out(f"{name}: {len(canary.struck.get(name, ()))} faults struck; never: {never}\n")
    for leak in leaks[:50]:
        out(f"LEAK: {leak}\n")
    for each in missed:
        out(f"NOT FOUND THOUGH PLANTED ON PURPOSE: {each}\n")
    tried = all(canary.struck.get(name) for name in names) and masked and "may withdraw" in bodies
    tried = tried and {"ledger.db", "settings.yml", "config/2-own.yml"} <= set(parts) and all(metrics)
    verdict = "nothing is left anywhere" if not leaks and not missed and tried else "FAILED"
    out(f"{verdict} ({len(leaks)} leaks, {len(missed)} forms missed; {time.monotonic() - began:.0f} s)\n")
    return 0 if not leaks and not missed and tried else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--exchange", "-e", action="append", choices=EXCHANGES, help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--keep", type=Path, help="leave everything in this folder, which must not exist")
    asked = parser.parse_args()
    names = tuple(asked.exchange or EXCHANGES)
    if asked.keep is not None:
        asked.keep.mkdir(parents=True)
        raise SystemExit(run(asked.keep.resolve(), names, asked.seed))
    with tempfile.TemporaryDirectory(prefix="crypto-bot-canary-") as folder:
        raise SystemExit(run(Path(folder), names, asked.seed))


if __name__ == "__main__":
    main()
