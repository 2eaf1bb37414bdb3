"""The operations guide: what it says is what the program does, in both languages, and every error names its section."""

import ast
import re
import shlex
import socket
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer.main

import exchanges.bitbank_errors
import exchanges.bitflyer_errors
import exchanges.bybit_errors
import exchanges.okcoinjp_errors
from cli.main import app
from cli.prefect_server import free_port, refuse_used_port
from cli.settings import take_common_options
from config.errors import ConfigurationError
from config.guide import (
    ALERTS,
    DIFFERENCES,
    ERRORS,
    RULES,
    address_of,
    section_of,
    section_of_alert,
    section_of_refusal,
    see,
)
from config.settings import EXCHANGES
from exchanges.errors import RateLimitExceeded
from services.secrets import SecretMissing
from tests.cli.command import ROOT, Command, one_line
from tests.guide import OTHER, PAGES, REAL, Walk, blocks, not_shown, reader_environment
from tests.trading.test_notices import CALM
from trading.notices import notices_of_cycle
from trading.risk import RULES as RISK_RULES
from trading.watches import WATCHES

TEXT = {language: page.read_text(encoding="utf-8") for language, page in PAGES.items()}
BOTH = pytest.mark.parametrize("language", PAGES)
ROOMS = ("cli", "config", "exchanges", "execution", "flows", "services", "strategies", "tasks", "trading")
# A person never sees these: they end inside the program.
INNER = frozenset({"CallNotAllowed", "NoRoom", "IllegalTransition", "NotMoney", "StrategyError", "TraderGone"})
INNER_HERE = INNER | {"_NotApplicable", "RungMoved", "VenueError", "NotAMetric", "NotDelivered", "_NotReached"}


def anchors(text: str) -> list[str]:
    return re.findall(r'<a id="([\w-]+)"></a>', text)


def headings(text: str) -> list[str]:
    """The headings' numbers, e.g. `## 2.` and `### 2.1`; the words differ."""
    outside = re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)
    return [re.match(r"#+ *[\d.]*", line)[0].strip() for line in outside.splitlines() if line.startswith("#")]  # type: ignore[index]


def table_rows(text: str) -> list[int]:
    """How many rows each table has."""
    return [found.count("\n") for found in re.findall(r"(?:^\|.*\n)+", text, re.M)]


def without_comments(lines: tuple[str, ...]) -> list[str]:
    return [re.sub(r"\s*# .*", "", line).replace("docs/ja/運用ガイド.md", "docs/operations.md") for line in lines]


# -- two languages, one guide


def test_both_languages_have_the_same_sections_in_the_same_order() -> None:
    assert anchors(TEXT["ja"]) == anchors(TEXT["en"])
    assert headings(TEXT["ja"]) == headings(TEXT["en"])
    assert len(anchors(TEXT["en"])) == len(set(anchors(TEXT["en"])))


def test_both_languages_have_the_same_commands_answers_and_tables() -> None:
    english, japanese = blocks(TEXT["en"]), blocks(TEXT["ja"])
    assert [(each.section, each.kind, each.marker) for each in japanese] == [
        (each.section, each.kind, each.marker) for each in english
    ]
    for one, other in zip(english, japanese, strict=True):
        assert without_comments(other.lines) == without_comments(one.lines), other.section
    assert table_rows(TEXT["ja"]) == table_rows(TEXT["en"])


@BOTH
def test_every_link_of_the_guide_leads_somewhere(language: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXT[language].replace("\n", "")):
        file, _, anchor = target.partition("#")
        page = (PAGES[language].parent / file).resolve() if file else PAGES[language]
        assert page.is_file(), target
        if anchor:
            text = page.read_text(encoding="utf-8")
            slugs = [re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-") for line in text.splitlines()]
            assert f'<a id="{anchor}"></a>' in text or anchor in slugs, target


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))])
def test_every_table_has_a_head(page: Path) -> None:
    outside = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for rows in re.findall(r"(?:^ *\|.*\n)+", outside, re.M):
        assert re.match(r"[^\n]*\n *\|[-:| ]+\|\n", rows), rows  # without it the rows are shown as text


# -- every error names a section


@BOTH
def test_every_message_that_the_table_of_errors_quotes_is_the_programs(language: str) -> None:
    section = TEXT[language].partition('<a id="errors"></a>')[2].partition("<!-- codes -->")[0]
    source = "".join(file.read_text(encoding="utf-8") for file in _sources())
    quoted = re.findall(r'"([^"]+)"', "".join(re.findall(r"^\|.*$", section, re.M)))
    assert len(quoted) > 15
    parts = [part.strip() for words in quoted for part in words.split("...")]
    assert [part for part in parts if part not in source] == []


@BOTH
def test_every_section_that_an_error_names_is_in_the_guide(language: str) -> None:
    named = {*ERRORS.values(), *RULES.values(), *DIFFERENCES.values()}
    named |= {
        found for file in _sources() for found in re.findall(r'section="([\w-]+)"', file.read_text(encoding="utf-8"))
    }
    assert named <= set(anchors(TEXT[language]))


def test_every_kind_of_error_that_a_person_sees_has_a_section() -> None:
    found = {
        node.name: [getattr(base, "id", "") for base in node.bases]
        for file in _sources()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    errors = {"Exception", "ValueError", "RuntimeError"}
    while more := {name for name, bases in found.items() if errors & set(bases)} - errors:
        errors |= more
    ours = errors & set(found)
    assert "RateLimitExceeded" in ours and "AccountHeld" in ours
    assert ours - INNER_HERE - set(ERRORS) == set()


def test_every_risk_rule_has_a_section() -> None:
    assert {rule.__name__ for rule in RISK_RULES} | {"books"} == set(RULES)


@BOTH
def test_every_check_that_can_fail_stands_in_the_table_of_checks(language: str) -> None:
    told = {"key: may trade", "key: bound to addresses", "key: expires", "key: our address", "read-only client"}
    checks = set[str]()
    for name in ("account_checks", "market_checks", "key_report", "minimal_order"):
        source = (ROOT / "tasks" / f"{name}.py").read_text(encoding="utf-8")
        checks |= set(re.findall(r'(?:Check)?\(\s*"([a-z][a-z :-]+)", \w', source))
        checks |= set(re.findall(r'Check\(\s*"([a-z][a-z :-]+)",', source))
    assert {"clock", "key: may withdraw", "seen open"} <= checks
    section = TEXT[language].partition('<a id="checks"></a>')[2].partition('<a id="approval"></a>')[0]
    listed = {name for row in re.findall(r"^\| ([^|]+) \|", section, re.M) for name in row.split(", ")}
    assert checks - told - listed == set()


def test_what_a_cycle_refuses_leads_to_the_section_about_it() -> None:
    assert section_of_refusal("clock_skew: limit 2 s, observed +3 s") == "clock"
    assert section_of_refusal("books: limit 0 differences, observed balance JPY: expected 1, found 2") == "books"
    assert section_of_refusal("books: limit 0 differences, observed 2 orphans") == "orphans"
    lost = "books: limit 0 differences, observed unproved_order ab12: expected x, found y"
    assert section_of_refusal(lost) == "unproved-order"
    assert section_of_refusal("nothing that is known") is None


def test_every_alert_of_trouble_leads_to_a_section() -> None:
    words = {each.key.partition(":")[2] for each in notices_of_cycle(CALM, None)}
    for file in (ROOT / "trading" / "notices.py", ROOT / "tasks" / "keys.py"):
        source = file.read_text(encoding="utf-8")
        words |= set(re.findall(r'f"\{name\}:(\w+)"', source))
        words |= {f"key-{about}" for about in re.findall(r'_tell\(here, "(?:critical|warning)", "(\w+)"', source)}
    assert 'f"{look.exchange}:{finding.watch}"' in (ROOT / "tasks" / "monitoring.py").read_text(encoding="utf-8")
    words |= set(WATCHES)
    assert {"halt", "key", "rung", "key-secret", "key-rotation", "open_orders"} <= words
    assert {word for word in words if section_of_alert(f"bitbank:{word}") is None} == set()
    assert set(ALERTS.values()) <= set(anchors(TEXT["en"]))
    assert section_of_alert("upkeep:restore-drill:chain") == "upkeep"
    assert section_of_alert("metrics-prometheus") == "metrics"
    assert section_of_alert("stop") == "emergency" and section_of_alert("nothing:known") is None


def test_an_error_without_a_section_of_its_own_has_that_of_its_kind() -> None:
    assert section_of(RateLimitExceeded("bitbank", "slow down", code="10009")) == "rate-limit"
    assert section_of(ConfigurationError("no key")) == "configuration"
    assert section_of(ConfigurationError("no key", section="keys")) == "keys"
    assert section_of(SecretMissing("ALERTS_SLACK is not set")) == "secret"
    assert section_of(KeyError("a defect")) is None and see(None) == ""


def test_a_port_in_use_leads_to_the_section_about_prefect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigurationError, match="is in use") as told:
        refuse_used_port(taken.getsockname()[1])
    assert section_of(told.value) == "prefect-away"


def test_a_japanese_reader_is_sent_to_the_japanese_guide() -> None:
    assert address_of("clock", {"LANG": "ja_JP.UTF-8"}) == "docs/ja/運用ガイド.md#clock"
    assert address_of("clock", {"LANG": "ja_JP.UTF-8", "LC_ALL": "C"}) == "docs/operations.md#clock"
    assert address_of("clock", {}) == "docs/operations.md#clock"


@pytest.mark.parametrize(
    ("words", "section"),
    [
        (("status", "--set", "execution.time_out=3"), "configuration"),
        (("check", "bitbank", "--set", "exchanges.bitbank.endpoint=live"), "keys"),
        (("resolve", "bitbank", "ab", "--absent", "--by", "Sato", "--reason", "seen"), "unproved-order"),
        (("adjust", "bitbank", "JPY", "0", "--by", "Sato", "--reason", "seen"), "books"),
        (
            (
                "trade",
                "bitbank",
                "--config",
                "config/practice.yml",
                "--set",
                "exchanges.bitbank.base_url=http://127.0.0.1:9",
            ),
            "keys",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_line_of_an_error_ends_with_the_place_in_the_guide(
    command: Command, words: tuple[str, ...], section: str
) -> None:
    done = command.run(*words, env={"LANG": "C.UTF-8"})
    assert done.returncode == 2
    assert one_line(done.stderr).endswith(f" (docs/operations.md#{section})")


# -- what stands in the guide is so


@BOTH
def test_the_codes_of_the_venues_are_those_of_the_program(language: str) -> None:
    tables = (exchanges.bybit_errors, exchanges.bitbank_errors, exchanges.bitflyer_errors, exchanges.okcoinjp_errors)
    between = TEXT[language].partition("<!-- codes -->")[2].partition("<!-- /codes -->")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in between.strip().splitlines()[2:]]
    for column, table in enumerate(tables, 1):
        listed = {code: row[0] for row in rows for code in _codes(row[column])}
        assert listed == {code: kind.__name__ for code, kind in table.ERRORS.items()}, EXCHANGES[column - 1]


def _codes(cell: str) -> list[str]:
    """Codes are numbers; what is told in words alone stands at the end of its cell."""
    numbers = re.findall(r"-?\d+", cell)
    words = re.sub(r"-?\d+", "", cell).strip(" –")
    return numbers + ([words] if words else [])


@BOTH
def test_the_budgets_are_those_of_the_configuration(language: str) -> None:
    from config.loader import load_settings

    settings = load_settings((), (), {})
    row = next(line for line in TEXT[language].splitlines() if line.startswith("|") and "120" in line and "96" in line)
    numbers = [int(each) for each in re.findall(r"\d+", row.partition("|")[2].partition("|")[2])]
    wanted: list[int] = []
    for name in EXCHANGES:
        allowed = settings.exchanges[name].requests_per_minute
        wanted += [allowed, int(Decimal(allowed) * Decimal(str(settings.execution.rate_limit_margin)))]
    assert numbers == wanted


@BOTH
def test_what_is_not_run_here_is_at_least_a_command(language: str) -> None:
    skipped = [step for block in blocks(TEXT[language]) if block.marker in (REAL, OTHER) for step in block.steps()]
    assert len(skipped) > 10
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    for step in skipped:
        program, *words = shlex.split(step.command)
        if program == "make":
            assert set(words) <= set(targets), step.command
        else:
            assert program == "crypto-bot"
            _parse(words)


def _parse(words: list[str]) -> None:
    """Read a command line as the program does, and run nothing. Raises what it raises for a wrong one."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("crypto-bot", take_common_options(words, {}))
    while hasattr(group, "commands"):
        name, group, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        context = group.make_context(name, rest, parent=context)


@BOTH
def test_commands_within_the_text_have_the_options_that_are_named(language: str) -> None:
    group: Any = typer.main.get_command(app)
    known = {
        name: {option for each in command.params for option in each.opts} for name, command in group.commands.items()
    }
    common = {"--home", "--config", "--set", "--help"}
    outside = re.sub(r"^ *```.*?^ *```", "", TEXT[language], flags=re.M | re.S)
    seen = 0
    for span in re.findall(r"`([^`\n]+)`", outside):
        words = span.removeprefix("crypto-bot ").split()
        if words[0] in known and len(words) > 1:
            seen += 1
            assert {word for word in words[1:] if re.match(r"--?[a-z]", word)} <= known[words[0]] | common, span
    assert seen > 10


def test_a_page_that_shows_something_else_is_noticed() -> None:
    said = "ladder\n│ rung │ paper │\nbitbank BTC/JPY: ramp_25 → ramp_50\n"
    assert not_shown(("...", "│ rung   │ paper ...", "bitbank BTC/JPY: ramp_25 → ..."), said) is None
    assert not_shown(("bitbank BTC/JPY: ramp_50 → ramp_100",), said) == "bitbank BTC/JPY: ramp_50 → ramp_100"
    assert not_shown(("bitbank BTC/JPY: ramp_25 → ramp_50", "ladder"), said) == "ladder"


# The reader's half minutes and ten-second cycles, made short; what is shown stays the same.
QUICK = {
    "CRYPTO_BOT__EXECUTION__CYCLE_SECONDS": "2",  # what a reader types takes longer, and cycles cost
    **{f"CRYPTO_BOT__EXCHANGES__{name.upper()}__REQUESTS_PER_MINUTE": "1000" for name in EXCHANGES},
    **{f"CRYPTO_BOT__LADDER__{rung}__MIN_SECONDS": "1" for rung in ("PAPER", "MINIMAL", "RAMP")},
    **{f"CRYPTO_BOT__LADDER__{rung}__MIN_CYCLES": "1" for rung in ("PAPER", "MINIMAL", "RAMP")},
}


# Done again by a command after it, or elsewhere; each costs a start of the program.
LEFT_OUT = (
    "make setup",  # this test runs in what is installed
    "crypto-bot check bitbank",  # all of it is in the check after it
    "crypto-bot trade bitbank --once",  # tests/execution/test_hold.py; it starts for five seconds to be refused
    "crypto-bot --config my.yml status",  # as in the practice, here of a ledger that is empty
    "crypto-bot --config my.yml orders --json --limit 100",
    "crypto-bot --config my.yml audit verify",
    "crypto-bot --config my.yml restore --to var/tried",  # the ledger was put back in the practice
    "crypto-bot --config my.yml audit verify --home var/tried",
    "crypto-bot balances -e bitbank",  # tests/cli/test_views.py, as the last
    "crypto-bot orders -e bitbank --limit 3",
)


@pytest.mark.prefect
@pytest.mark.walk
def test_the_guide_leads_to_a_bot_with_real_orders_and_back_from_a_lost_ledger(
    tmp_path: Path, prefect_url: str
) -> None:
    """The commands of the walk, with short rungs and one approval. In the other language the commands are the same
    (above). `make guide` takes both wholly, at their own pace, from fresh clones.
    """
    home = tmp_path / "crypto-bot"
    home.mkdir()
    (home / "config").symlink_to(ROOT / "config")
    (home / ".venv").mkdir()
    (home / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    environment = {**reader_environment(ROOT, "en"), **QUICK, "PREFECT_API_URL": prefect_url}
    walk = Walk(tmp_path, environment, free_port())
    assert walk.take(with_one_approval(TEXT["en"]), LEFT_OUT) > 30


def with_one_approval(page: str) -> str:
    """The page of a reader who is content with the first rung of real orders, and leaves it for paper."""
    approval = '\n```console\n# terminal 3\n$ crypto-bot approve bitbank --by Sato --reason "the books agree"\n'
    before, found, more = page.partition(approval)
    assert found
    after = more.partition("\n```\n")[2].replace("ramp_100", "minimal")
    return f"{before}\n{after.replace('--to ramp_25', '--to paper').replace('now on ramp_25', 'now on paper')}"


def _sources() -> list[Path]:
    return [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path / "home")
