"""One line says where it is wrong, which key, what is wrong and what to write instead."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from config.loader import DEMO_FILE, ConfigurationError, canonical_exchange, load_settings, show_settings
from config.reading import DEFAULT_FILE, LADDER_FILE, PRACTICE_FILE
from config.settings import EXCHANGES, Endpoint, Settings


def file(tmp_path: Path, text: str, name: str = "my.yml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(*overrides: str, files: tuple[Path, ...] = (), environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as raised:
        load_settings(files, overrides, environ or {})
    said = str(raised.value)
    assert "\n" not in said
    return said


def test_without_anything_said_every_exchange_is_simulated() -> None:
    settings = load_settings((), (), {})
    assert set(settings.exchanges) == set(EXCHANGES)
    assert {block.endpoint for block in settings.exchanges.values()} == {Endpoint.SIMULATED}


def test_the_request_limits_and_symbols_are_those_of_the_operations_guide() -> None:
    blocks = load_settings((), (), {}).exchanges
    assert {name: (block.requests_per_minute, block.symbol) for name, block in blocks.items()} == {
        "bybit": (120, "BTC/USDT"),
        "bitbank": (60, "BTC/JPY"),
        "bitflyer": (100, "BTC/JPY"),
        "okcoinjp": (20, "BTC/JPY"),
    }


def test_later_wins_file_then_environment_then_override(tmp_path: Path) -> None:
    first = file(tmp_path, "execution: {timeout: 1, retry_delay: 1}", "first.yml")
    second = file(tmp_path, "execution: {timeout: 2, retry_delay: 2, cycle_seconds: 90}", "second.yml")
    environ = {"CRYPTO_BOT__EXECUTION__TIMEOUT": "3", "CRYPTO_BOT__EXECUTION__RETRY_DELAY": "3"}
    execution = load_settings([first, second], ["execution.timeout=4"], environ).execution
    assert (execution.timeout, execution.retry_delay, execution.cycle_seconds) == (4, 3, 90)
    assert execution.retry_attempts == 3


def test_the_environment_reaches_every_key() -> None:
    environ = {
        "CRYPTO_BOT_HOME": "/srv/bot",
        "CRYPTO_BOT__EXCHANGES__BITBANK__BASE_URL": "http://127.0.0.1:8001",
        "CRYPTO_BOT__EXCHANGES__OKJ__TARGET_QUANTITY": "0.005",
        "CRYPTO_BOT__RISK__MAX_DAILY_LOSS__JPY": "5000",
        "CRYPTO_BOT__RISK__MAX_DAILY_LOSS__EUR": "50",
        "CRYPTO_BOT__LADDER__RAMP_STEPS": "[0.1, 1]",
        "PATH": "/bin",
    }
    settings = load_settings((), (), environ)
    assert settings.home == Path("/srv/bot")
    assert settings.exchanges["bitbank"].base_url == "http://127.0.0.1:8001"
    assert settings.exchanges["okcoinjp"].target_quantity == Decimal("0.005")
    assert settings.risk.max_daily_loss["JPY"] == Decimal(5000)
    assert settings.risk.max_daily_loss["EUR"] == Decimal(50)
    assert settings.ladder.ramp_steps == (Decimal("0.1"), Decimal(1))


def test_files_named_in_the_environment_are_read(tmp_path: Path) -> None:
    path = file(tmp_path, "execution: {timeout: 7}")
    assert load_settings((), (), {"CRYPTO_BOT_CONFIG": str(path)}).execution.timeout == 7


def test_an_amount_is_what_was_written_not_its_float(tmp_path: Path) -> None:
    path = file(tmp_path, "exchanges: {bybit: {target_quantity: 0.1}}")
    assert load_settings([path], (), {}).exchanges["bybit"].target_quantity == Decimal("0.1")


def test_okj_is_accepted_wherever_an_exchange_is_named(tmp_path: Path) -> None:
    path = file(tmp_path, "data: {exchange: okj}\nexchanges: {okj: {target_quantity: 0.004}}")
    settings = load_settings([path], ["exchanges.okj.order_lifetime_minutes=5"], {})
    assert settings.data.exchange == "okcoinjp"
    assert settings.exchanges["okcoinjp"].target_quantity == Decimal("0.004")
    assert settings.exchanges["okcoinjp"].order_lifetime_minutes == 5
    assert canonical_exchange(" OKJ ") == "okcoinjp"


def test_an_unknown_exchange_is_told_what_is_near() -> None:
    with pytest.raises(ConfigurationError, match="unknown exchange 'bitbnk': did you mean bitbank"):
        canonical_exchange("bitbnk")
    assert "exchanges.bitbnk: unknown exchange 'bitbnk': did you mean bitbank" in refusal(
        "exchanges.bitbnk.symbol=BTC/JPY"
    )


def test_naming_another_strategy_leaves_the_old_ones_parameters_behind(tmp_path: Path) -> None:
    assert load_settings((), ["strategy.name=dca"], {}).strategy.parameters == {}
    path = file(tmp_path, "strategy: {name: breakout, parameters: {window: 20}}")
    assert load_settings([path], (), {}).strategy.parameters == {"window": 20}
    assert load_settings((), ["strategy.parameters.fast=3"], {}).strategy.parameters == {
        "fast": 3,
        "slow": 30,
    }


def test_the_symbol_of_the_chosen_exchange_can_be_set_apart() -> None:
    settings = load_settings((), ["data.exchange=bitbank", "data.symbol=ETH/JPY"], {})
    assert (settings.symbol("bitbank"), settings.symbol("bitflyer")) == ("ETH/JPY", "BTC/JPY")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "execution:\n  timeot: 3\n",
            "my.yml:2: execution.timeot: there is no such key; did you mean execution.timeout?",
        ),
        ("timeout: 3\n", "my.yml:1: timeout: there is no such key; did you mean execution.timeout?"),
        (
            "exchanges:\n  bitbank:\n    symbl: X\n",
            "my.yml:3: exchanges.bitbank.symbl: .* exchanges.bitbank.symbol",
        ),
        (
            "execution:\n\n  timeout: 10s\n",
            "my.yml:3: execution.timeout: must be a number, was '10s'; write seconds",
        ),
        ("execution: {cycle_seconds: 60.5}", "my.yml:1: execution.cycle_seconds: must be a whole number"),
        ("execution: {cycle_seconds: yes}", "execution.cycle_seconds: must not be yes or no"),
        (
            "exchanges: {bybit: {target_quantity: -1}}",
            "target_quantity: should be greater than 0, was -1; write base",
        ),
        (
            "risk: {max_drawdown: 5}",
            "risk.max_drawdown: should be less than or equal to 1, was 5; .* 0.05 is 5 %",
        ),
        ("risk: {price_collar: 3%}", "risk.price_collar: not a decimal number: '3%'"),
        (
            "risk: {max_order_notional: {JPY: 0}}",
            "risk.max_order_notional: the limit in JPY must be greater than 0",
        ),
        ("ladder: {ramp_steps: [1, 0.5]}", "ladder.ramp_steps: must rise from above 0"),
        ("ladder: {ramp_steps: [0.5, 2]}", "ladder.ramp_steps: must end at 1"),
        ("ladder: {paper: {min_seconds: .inf}}", "ladder.paper.min_seconds: should be a finite number"),
        ("data: {symbol: BTC-JPY}", "data.symbol: must be a symbol such as BTC/JPY, was 'BTC-JPY'"),
        (
            "monitoring: {project_id: MyProject}",
            "monitoring.project_id: has not the right form, was 'MyProject'; write Google Cloud project id, e.g.",
        ),
        (
            "alerts: {channels: [{name: slack, url: ALERTS_SLACK}]}",
            "alerts.channels.0.url: there is no such key; did you mean alerts.channels.0.url_secret",
        ),
        (
            "exchanges: {bitbank: {maintenance: [{start: 2026-12-01T02:00:00+09:00}]}}",
            "did you mean exchanges.bitbank.maintenance.0.starts_at",
        ),
        ("data: {exchange: binance}", "data.exchange: unknown exchange 'binance'"),
        ("execution:\n", "my.yml:1: execution: must be a section with keys below it, was empty"),
        ("risk: 4\n", "my.yml:1: risk: must be a section"),
        ("execution: {timeout: 3\n", "my.yml:2: is not valid YAML"),
        ("execution:\n  timeout: 3\n timeout: 4\n", "my.yml:3: is not valid YAML"),
        ("execution:\n\ttimeout: 3\n", "my.yml:2: is not valid YAML"),
        ("execution: {timeout: 3}\nexecution: {timeout: 4}\n", "my.yml:2: execution is given twice"),
        ("just text", "my.yml:1: must hold sections"),
        ("a: !!python/object:os.system {}", "my.yml:1: "),
    ],
)
def test_a_mistake_in_a_file_names_file_line_key_and_remedy(tmp_path: Path, text: str, said: str) -> None:
    assert re.search(said, refusal(files=(file(tmp_path, text),)))


def test_a_mistake_elsewhere_names_the_variable_or_the_option() -> None:
    assert refusal(environ={"CRYPTO_BOT__EXECUTION__TIMEOT": "3"}).startswith(
        "CRYPTO_BOT__EXECUTION__TIMEOT: execution.timeot: there is no such key; did you mean execution."
    )
    assert refusal("execution.timeout=soon").startswith("--set: execution.timeout: must be a number")
    assert refusal("execution.timeout").startswith("--set execution.timeout: write it as section.key=value")
    assert "single value" in refusal("execution.timeout.seconds=3")


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    assert "missing.yml: cannot be read (No such file" in refusal(files=(tmp_path / "missing.yml",))
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe\x00")
    assert "binary.yml: cannot be read (it is not UTF-8 text)" in refusal(files=(tmp_path / "binary.yml",))


def test_a_secret_in_a_file_is_refused_without_repeating_it(tmp_path: Path) -> None:
    said = refusal(files=(file(tmp_path, "exchanges: {bitbank: {api_secret: hunter2}}"),))
    assert "set them in the environment" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("secret", ["hunter2", "a+b/c=", "slack://T1JJ/A1BR/TIia"])
def test_a_secret_where_its_name_belongs_is_refused_without_repeating_it(secret: str) -> None:
    for words in (f"maintenance.backup_secret={secret}", f"alerts.channels=[{{name: a, url_secret: '{secret}'}}]"):
        said = refusal(words)
        assert "must be the name of a variable in capitals" in said
        assert secret not in said


def test_a_pace_that_the_request_budget_cannot_carry_is_refused() -> None:
    # OKJ: 20 a minute, 80 % of it ours, a fifth of that kept for cancelling
    assert refusal("execution.cycle_seconds=46") == (
        "--set: execution.cycle_seconds: a cycle every 46 s needs 13.0435 requests a minute, the budget at "
        "okcoinjp is 12.8; write 47 or more, or raise exchanges.okcoinjp.requests_per_minute "
        "if the venue allows it"
    )
    assert load_settings((), ["execution.cycle_seconds=47"], {}).execution.cycle_seconds == 47


def test_an_exchange_without_a_limit_in_its_currency_is_refused() -> None:
    assert "risk.max_order_notional: has no limit for EUR, in which bitbank trades BTC/EUR" in refusal(
        "exchanges.bitbank.symbol=BTC/EUR"
    )


def test_only_bybit_has_a_testnet() -> None:
    assert "bitbank has no testnet" in refusal("exchanges.bitbank.endpoint=testnet")
    blocks = load_settings((), ["exchanges.bybit.endpoint=testnet"], {}).exchanges
    assert blocks["bybit"].endpoint is Endpoint.TESTNET


@pytest.mark.parametrize("url", ["https://api.bitbank.cc", "http://192.0.2.1:80", "127.0.0.1:8001", "ftp://127.0.0.1"])
def test_what_is_called_simulated_runs_on_this_machine(url: str) -> None:
    assert "must be http://127.0.0.1:PORT" in refusal(f"exchanges.bitbank.base_url={url}")


def test_a_live_exchange_takes_no_address_of_a_simulated_one() -> None:
    said = refusal("exchanges.bitbank.endpoint=live", "exchanges.bitbank.base_url=http://127.0.0.1:8001")
    assert "is for a simulated venue, and the endpoint is live" in said


def test_demo_thresholds_never_meet_real_money() -> None:
    assert "config/demo.yml are for simulated venues only" in refusal(
        "exchanges.bybit.endpoint=live", files=(DEMO_FILE,)
    )


def test_practice_thresholds_never_meet_real_money_and_ask_for_a_person() -> None:
    assert "config/practice.yml are for simulated venues only" in refusal(
        "exchanges.bitbank.endpoint=live", files=(PRACTICE_FILE,)
    )
    ladder = load_settings([PRACTICE_FILE], (), {}).ladder
    assert ladder.simulated_approves_itself is False
    assert all(rung.min_fills == 1 for rung in (ladder.paper, ladder.minimal, ladder.ramp))


def test_the_demo_passes_each_rung_after_two_cycles_and_a_minute() -> None:
    ladder = load_settings([DEMO_FILE], (), {}).ladder
    for rung in (ladder.paper, ladder.minimal, ladder.ramp):
        assert (rung.min_seconds, rung.min_cycles, rung.min_fills) == (60, 2, 0)


def test_the_default_ladder_takes_days_for_every_rung() -> None:
    ladder = load_settings((), (), {}).ladder
    for rung in (ladder.paper, ladder.minimal, ladder.ramp):
        assert rung.min_seconds >= 3 * 86400
        assert rung.min_fills > 0


@pytest.mark.parametrize("path", [DEFAULT_FILE, LADDER_FILE, DEMO_FILE, PRACTICE_FILE], ids=lambda path: path.name)
def test_every_setting_in_our_files_has_a_comment(path: Path) -> None:
    bare = [
        line
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s*\w+:\s*[^\s#]", line) and "#" not in line and "*" not in line
    ]
    assert bare == []


def test_the_default_file_names_every_key_that_there_is() -> None:
    def keys(schema: dict[str, object], values: object, above: str = "") -> list[str]:
        if not isinstance(values, dict):
            return []
        return [f"{above}{key}" for key in values] + [
            each for key, value in values.items() for each in keys(schema, value, f"{above}{key}.")
        ]

    written = {
        **yaml.safe_load(DEFAULT_FILE.read_text(encoding="utf-8")),
        **yaml.safe_load(LADDER_FILE.read_text(encoding="utf-8")),
    }
    loaded = load_settings((), (), {}).model_dump()
    assert set(keys({}, loaded)) == set(keys({}, written))


def test_the_schema_describes_every_value_for_editors() -> None:
    schema = Settings.model_json_schema()
    for name in ("ExecutionSettings", "ExchangeSettings", "RiskSettings", "RungSettings"):
        for key, told in schema["$defs"][name]["properties"].items():
            assert told.get("description"), f"{name}.{key}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:hunter2@h/x", "postgresql://u:••••@h/x"),
        ("postgresql://u:hun@ter2@h/x", "postgresql://u:••••@h/x"),
        ("postgresql://h/x?user=u&password=hunter2&a=1", "postgresql://h/x?user=u&password=••••&a=1"),
        ("postgres//u:hunter2@h/x", "postgres//u:••••@h/x"),
        ("u:hunter2@h/x", "u:••••@h/x"),
        ("sqlite:////home/me@work/x", "sqlite:////home/me@work/x"),
        ("http://h:4200/api", "http://h:4200/api"),
    ],
)
def test_a_password_in_a_url_is_not_shown(url: str, shown: str) -> None:
    assert f"  url: {shown} " in show_settings(environ={"CRYPTO_BOT__LEDGER__URL": url})


def test_what_is_shown_says_where_each_value_comes_from_and_loads_again(tmp_path: Path) -> None:
    path = file(tmp_path, "execution:\n  timeout: 7\n")
    shown = show_settings(
        [path], ["risk.max_daily_loss.JPY=1"], {"CRYPTO_BOT__LEDGER__URL": "postgresql://u:hunter2@h/x"}
    )
    assert re.search(r"^  timeout: 7 +# .*my\.yml:2$", shown, re.M)
    assert re.search(r"^    JPY: 1 +# --set$", shown, re.M)
    assert re.search(r"^  retry_attempts: 3 +# config/default\.yml:\d+$", shown, re.M)
    assert re.search(r"^  url: postgresql://u:••••@h/x +# CRYPTO_BOT__LEDGER__URL$", shown, re.M)
    assert "hunter2" not in shown
    again = load_settings([file(tmp_path, shown, "again.yml")], (), {})
    assert again.execution.timeout == 7
    assert again.ladder == load_settings((), (), {}).ladder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["monitoring.flush_seconds=9"], "monitoring.flush_seconds"),
        (["monitoring.sinks=[cloud_monitoring]"], "needs monitoring.project_id"),
        (["monitoring.sinks=[statsd]"], "monitoring.sinks"),
        (["monitoring.project_id=My Project"], "monitoring.project_id"),
        (["monitoring.target=monitoring.googleapis.com:443"], "must be a loopback address"),
        (["monitoring.target=10.0.0.1:50051"], "must be a loopback address"),
        (["monitoring.target=127.0.0.1"], "must be a loopback address"),
        (["monitoring.watches.error_rate=5"], "monitoring.watches.error_rate"),
    ],
)
def test_what_monitoring_cannot_do_is_refused(words: list[str], said: str) -> None:
    assert said in refusal(*words)


def test_metrics_lie_under_home_unless_told_otherwise() -> None:
    assert load_settings(environ={"CRYPTO_BOT_HOME": "/srv/bot"}).metrics_file == Path("/srv/bot/metrics/metrics.jsonl")
    words = ["monitoring.file_path=/mnt/metrics.jsonl", "monitoring.target=127.0.0.1:50051"]
    settings = load_settings(overrides=words, environ={})
    assert settings.metrics_file == Path("/mnt/metrics.jsonl") and settings.monitoring.target == "127.0.0.1:50051"


def test_a_tilde_in_a_file_means_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    named = "home: ~/bot\nmaintenance: {backup_directory: ~/backups}\nlogging: {file_path: ~/my.log}\n"
    seen = load_settings((file(tmp_path, named),), (), {})
    assert seen.home == tmp_path / "bot"
    assert seen.maintenance.backup_directory == tmp_path / "backups"
    assert seen.log_file == tmp_path / "my.log"
    assert "names no home directory" in refusal("home=~nobody-of-this-name/bot")


def test_a_date_that_the_calendar_does_not_have_is_refused_with_its_line(tmp_path: Path) -> None:
    window = "{starts_at: 2026-11-31T10:00:00+09:00, ends_at: 2026-12-01T10:00:00+09:00, why: announced}"
    named = f"exchanges:\n  bitbank:\n    maintenance: [{window}]\n"
    said = refusal(files=(file(tmp_path, named),))
    assert "my.yml:3: exchanges.bitbank.maintenance: cannot be meant: day is out of range for month" in said
    assert "not valid YAML" in refusal("data.symbol=2026-13-45")


@pytest.mark.parametrize("key", ["log_days", "prefect_run_days", "prefect_artifact_days", "heartbeat_max_age_seconds"])
def test_a_time_that_no_calendar_reaches_is_refused(key: str) -> None:
    assert "less than or equal to" in refusal(f"maintenance.{key}=10000000")
