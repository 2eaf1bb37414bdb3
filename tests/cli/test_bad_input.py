"""Bad input ends in one clear line and exit status 2, with nothing half done."""

import socket
from pathlib import Path

import pytest

from cli.prefect_server import refuse_absent_api
from config.errors import ConfigurationError
from config.settings_prefect import PrefectSettings
from services.logs import mask_known_secrets
from tests.cli.command import Command, one_line, processes_of

LIVE = "exchanges.bitbank.endpoint=live"
NOBODY = "exchanges.bitbank.base_url=http://127.0.0.1:9"
KEYS = {"BITBANK_API_KEY": "key-of-a-test", "BITBANK_API_SECRET": "secret-of-a-test"}


def refused(command: Command, *words: str, env: dict[str, str] | None = None) -> str:
    """Run a command that must be refused; return its one line."""
    done = command.run(*words, env=env or {})
    line = one_line(done.stderr)
    assert done.returncode == 2, (done.returncode, line)
    assert done.stdout == ""
    assert line.startswith("crypto-bot: ")
    assert not command.home.exists(), list(command.home.rglob("*"))
    assert processes_of(command.home) == []
    return line


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("trade", "binance"), "unknown exchange 'binance'"),
        (("demo", "--exchange", "kraken"), "unknown exchange 'kraken'"),
        (("check",), "name one exchange, or give --all"),
        (("check", "bitbank", "--all"), "name one exchange, or give --all"),
        (("trade",), "Missing argument 'exchange'"),
        (("frobnicate",), "No such command 'frobnicate'"),
        (("demo", "--cycles", "0"), "--cycles"),
        (("venue", "bitbank", "--port", "99999"), "--port"),
        (("status", "--set"), "--set needs a value"),
        (("status", "--set", "execution.timeout"), "write it as section.key=value"),
        (("status", "--set", "=5"), "write it as section.key=value"),
        (("status", "--set", "execution.cycle_second=60"), "did you mean execution.cycle_seconds?"),
        (("status", "--set", "exchanges.bitbank.target_quantity=-0.01"), "should be greater than 0"),
        (("status", "--set", "execution.cycle_seconds=1"), "requests a minute"),
        (("status", "--config", "nowhere.yml"), "nowhere.yml: cannot be read"),
        (("trade", "bitbank", "--set", "strategy.name=sma_cros"), "did you mean sma_cross?"),
        (("trade", "bitbank", "--set", "strategy.name=no.such.module"), "cannot import 'no.such'"),
        (("trade", "bitbank", "--set", "strategy.parameters.fast=99"), "0 < fast < slow"),
        (("trade", "bitbank", "--set", "strategy.parameters.quick=1"), "quick"),
        (("trade", "bitbank", "--set", LIVE), "set BITBANK_API_KEY, BITBANK_API_SECRET"),
        (("check", "bitbank", "--set", LIVE), "set BITBANK_API_KEY, BITBANK_API_SECRET"),
        (("trade", "bitbank", "--set", NOBODY), "set BITBANK_API_KEY, BITBANK_API_SECRET"),
        (("trade", "bitbank", "--set", "exchanges.bitbank.base_url=http://example.com"), "must be http://127.0.0.1"),
        (("check", "bitbank", "--set", "exchanges.bitbank.symbol=DOGE/JPY"), "bitbank: has no symbol DOGE/JPY"),
        (("trade", "bitbank", "--set", "data.symbol=DOGE/JPY"), "data.symbol: bitbank: has no symbol DOGE/JPY"),
        (("venue", "bitbank", "--limits", "none"), "invalid choice: 'none'"),
        (("venue", "bitbank", "--candles", "nowhere.csv"), "nowhere.csv: cannot be read"),
        (("demo", "--candles", "nowhere.csv"), "nowhere.csv: cannot be read"),
        (("rearm", "bitbank", "--by", " ", "--reason", "checked"), "--by and --reason must not be empty"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_ends_in_one_line_and_nothing_is_begun(command: Command, words: tuple[str, ...], told: str) -> None:
    assert told in refused(command, *words)


@pytest.mark.parametrize("words", [("trade", "bitbank"), ("check", "bitbank")], ids=" ".join)
def test_a_simulated_venue_that_does_not_answer_is_named(command: Command, words: tuple[str, ...]) -> None:
    line = refused(command, *words, "--set", NOBODY, env=KEYS)
    assert "no simulated venue answers at http://127.0.0.1:9" in line
    assert "crypto-bot venue bitbank" in line


def test_a_venue_that_listens_and_never_answers_is_not_waited_for(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"exchanges.bitbank.base_url=http://127.0.0.1:{silent.getsockname()[1]}"
        assert "no simulated venue answers" in refused(command, "trade", "bitbank", "--set", url, env=KEYS)


def test_a_password_in_the_address_of_an_api_that_is_away_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://me:of-the-ap1@127.0.0.1:9/api")
    with pytest.raises(ConfigurationError) as raised:
        refuse_absent_api(PrefectSettings())
    assert mask_known_secrets(str(raised.value)).startswith("PREFECT_API_URL http://me:••••@127.0.0.1:9/api does not")


def test_a_strategy_that_does_not_parse_is_told_in_one_line(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def trend(candles, position)\n    return None\n")
    line = refused(command, "trade", "bitbank", "--set", "strategy.name=mine.trend", env={"PYTHONPATH": str(tmp_path)})
    assert "cannot import 'mine'" in line and "SyntaxError" in line


def test_bad_yaml_is_told_with_file_and_line(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "mine.yml"
    file.write_text("risk:\n  max_drawdown: 0.05\n  price_collar: [0.01\nlogging: {}\n")
    assert f"{file}:4: is not valid YAML" in refused(command, "status", "--config", str(file))


def test_a_negative_size_is_told_with_file_and_line(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "mine.yml"
    file.write_text("exchanges:\n  bitflyer:\n    target_quantity: -0.5\n")
    line = refused(command, "trade", "bitflyer", "--config", str(file))
    assert f"{file}:3: exchanges.bitflyer.target_quantity" in line


def test_an_unknown_key_is_told_with_what_is_near(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "mine.yml"
    file.write_text("execution:\n  time_out: 3\n")
    line = refused(command, "demo", "--config", str(file))
    assert f"{file}:2: execution.time_out: there is no such key; did you mean execution.timeout?" in line


@pytest.mark.parametrize("words", [("venue", "bitbank"), ("demo", "-e", "bitbank")], ids=" ".join)
def test_a_candle_file_with_wrong_columns_is_told_with_the_right_ones(
    command: Command, tmp_path: Path, words: tuple[str, ...]
) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("time,price\n1516460400000,1407186\n")
    line = refused(command, *words, "--candles", str(file))
    assert "needed are the columns timestamp,open,high,low,close,volume" in line


def test_bad_candles_leave_the_last_demo_as_it_was(command: Command, tmp_path: Path) -> None:
    kept = command.home / "demo" / "ledger.db"
    kept.parent.mkdir(parents=True)
    kept.write_text("the last demo's")
    done = command.run("demo", "--candles", str(tmp_path / "nowhere.csv"))
    assert done.returncode == 2
    assert kept.read_text() == "the last demo's"


@pytest.mark.parametrize("words", [("venue", "bitbank"), ("up",)], ids=" ".join)
def test_a_port_in_use_is_named(command: Command, words: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(command, *words, "--port", str(port))
    assert f"port {port}" in line and "in use" in line


@pytest.mark.parametrize(
    "words",
    [("status",), ("demo",), ("trade", "bitbank"), ("check", "bitbank"), ("venue", "bitbank"), ("stop",), ("up",)],
    ids=" ".join,
)
def test_a_home_that_cannot_be_written_is_named(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("not a folder")
    command = Command(tmp_path / "file" / "home")
    done = command.run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert str(command.home) in one_line(done.stderr)


@pytest.mark.parametrize("words", [("trade", "bitbank"), ("check", "bitbank")], ids=" ".join)
@pytest.mark.parametrize("url", ["http://127.0.0.1:9/api", "somewhere"])
def test_a_prefect_api_that_does_not_answer_is_named(command: Command, words: tuple[str, ...], url: str) -> None:
    assert f"PREFECT_API_URL {url} does not answer" in refused(command, *words, env={"PREFECT_API_URL": url})
