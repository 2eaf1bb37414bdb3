"""What a person does in Prefect's UI, done by a browser: log in, run a check from its form, approve the next rung,
report the day, stop.

With SCREENSHOTS=FOLDER it leaves pictures there (docs/images holds a set). A run begins some seconds after its form was
sent, so the forms are sent early and their results are read later.
"""

import contextlib
import importlib.util
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from cli.prefect_auth import api_password
from cli.prefect_server import free_port
from config.loader import DEMO_FILE
from config.settings import EXCHANGES
from services.ledger import Ledger
from tests.cli.accounts import settings_of
from tests.cli.browser import CHROMIUM, Browser, opened
from tests.cli.command import Command, processes_of, until
from trading.approval import approval_code

SECRET = "a secret of a test, long enough"
# Paper is earned in one cycle, a person approves, and each cycle is followed by a review.
ENVIRONMENT = {
    "CRYPTO_BOT_CONFIG": str(DEMO_FILE),
    "CRYPTO_BOT_APPROVAL_SECRET": SECRET,
    "CRYPTO_BOT__LADDER__SIMULATED_APPROVES_ITSELF": "false",
    "CRYPTO_BOT__LADDER__PAPER__MIN_CYCLES": "1",
    "CRYPTO_BOT__LADDER__PAPER__MIN_SECONDS": "1",
    "CRYPTO_BOT__EXECUTION__CYCLE_SECONDS": "15",
    **{f"CRYPTO_BOT__EXCHANGES__{name.upper()}__REQUESTS_PER_MINUTE": "600" for name in EXCHANGES},
}

pytestmark = [
    pytest.mark.walk,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is missing: apt-get install chromium"),
    pytest.mark.skipif(
        importlib.util.find_spec("playwright") is None, reason="playwright is not installed: make setup-dev"
    ),
]


@pytest.fixture
def up(command: Command) -> Iterator[tuple[str, Any]]:
    """`crypto-bot up` of bybit, ready; its address and process."""
    command.environment.update(ENVIRONMENT)
    port = free_port()
    process = command.start("up", "--port", str(port), "--exchange", "bybit")
    until(lambda: "ready after" in command.said(process) or process.poll() is not None, "a first cycle", 240)
    assert process.poll() is None, command.said(process)
    yield f"http://127.0.0.1:{port}", process
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        command.ended(process, 120)


def test_a_person_checks_approves_reads_reports_and_stops_from_the_ui(command: Command, up: tuple[str, Any]) -> None:
    base, process = up
    with opened(base, api_password(command.home), os.environ.get("SCREENSHOTS")) as browser:
        _asks_for_approval(browser)
        _asks_for_a_check(browser)
        _answers_with_a_wrong_code(browser)
        _asks_for_the_day(browser)
        _reads_the_check(browser)
        _is_refused(browser)
        _asks_for_approval(browser)
        _reads_the_day(browser)
        _approves(browser)
        with contextlib.closing(Ledger(settings_of(command.home).ledger_url)) as ledger:
            _goes_up(browser, ledger)
            _stops(browser)
            latch = ledger.latched("bybit")
            assert latch is not None and latch.reason == "emergency stop from Prefect"
            assert ledger.latched("bitbank") is None
        browser.open("Dashboard")
        browser.page.get_by_text("Active Work Pools").wait_for()
        browser.picture("dashboard", whole=True)

    process.send_signal(signal.SIGINT)
    assert command.ended(process, 120) == 0, command.said(process)
    assert processes_of(command.home) == []


def _asks_for_approval(browser: Browser) -> None:
    browser.form_of("promote-stage")
    browser.choose("bitbank", "bybit")
    browser.submit()


def _asks_for_a_check(browser: Browser) -> None:
    browser.open("Deployments")
    browser.page.get_by_text(re.compile(r"^\d+ Deployments$")).wait_for()
    browser.picture("deployments", whole=True)
    browser.form_of("compatibility")
    offered = browser.choose("bitbank", "bybit")
    assert offered == list(EXCHANGES)
    browser.picture("compatibility-form", height=630)
    browser.submit()


def _answers_with_a_wrong_code(browser: Browser) -> None:
    shown = browser.artifact("approval-bybit", "bybit BTC/USDT: paper → minimal waits for a person")
    browser.shows("of 1 cycles")
    browser.picture("approval-evidence", height=1080)
    digest = _digest(shown)
    run = browser.run_of("promote-stage", "Suspended")
    wrong = {"code": approval_code("another secret, as long", digest), "phrase": "bybit BTC/USDT minimal"}
    browser.resume(run, name="Aoki", reason="quiet days, books agree", **wrong)


def _is_refused(browser: Browser) -> None:
    run = browser.run_of("promote-stage", "Failed")
    browser.page.goto(f"{browser.base}/v2/runs/flow-run/{run}?tab=Details")
    browser.shows("Not approved: the code is not the one for this proposal")
    browser.picture("approval-refused-run", top=515, height=430)
    browser.artifact("approval-bybit", "paper → minimal NOT approved")
    browser.picture("approval-refused", height=480)


def _approves(browser: Browser) -> None:
    digest = _digest(browser.artifact("approval-bybit", "waits for a person"))
    run = browser.run_of("promote-stage", "Suspended")
    browser.resume(
        run,
        name="Aoki",
        reason="quiet days, books agree",
        phrase="bybit BTC/USDT minimal",
        code=approval_code(SECRET, digest),
        picture="approval-form",
    )
    browser.artifact("approval-bybit", "bybit BTC/USDT: paper → minimal approved")
    browser.shows("By Aoki")
    browser.picture("approval-done", height=480)
    assert browser.run_of("promote-stage", "Completed") == run


def _goes_up(browser: Browser, ledger: Ledger) -> None:
    """The approval lives in our ledger, and the trader's next review goes up by it."""
    approval = ledger.newest_approval("bybit", "BTC/USDT")
    assert approval is not None and (approval.by, approval.to) == ("Aoki", "minimal")
    assert ledger.verify_chain() is None
    browser.artifact("ladder-bybit", "bybit BTC/USDT: paper → minimal")
    browser.picture("ladder-report", height=480)
    record = ledger.rung("bybit", "BTC/USDT")
    assert record is not None and (record.rung, record.approved_by) == ("minimal", "Aoki")


def _reads_the_check(browser: Browser) -> None:
    run = browser.run_of("compatibility", "Completed")  # the trader has taken the same check before
    browser.artifact("compatibility-bybit", "compatibility at bybit: passed", run=run)
    browser.shows("Rung in force: paper")
    browser.picture("compatibility-report", height=480)


def _asks_for_the_day(browser: Browser) -> None:
    browser.form_of("day-report")
    browser.choose("yesterday", "today")
    browser.submit()


def _reads_the_day(browser: Browser) -> None:
    browser.artifact("day-bybit", "cycles / failed / missed")
    browser.picture("day-report", height=800)
    browser.artifact("day-bybit-price", "at bybit: price")
    image = browser.page.locator("img[src^='data:image/svg']").first
    image.wait_for()
    assert image.evaluate("picture => picture.naturalWidth") > 500, "the picture is not drawn"
    browser.picture("day-report-price", height=400)


def _stops(browser: Browser) -> None:
    browser.form_of("emergency-stop")
    browser.choose("all", "bybit")
    browser.picture("emergency-stop-form")
    browser.submit()
    browser.artifact("emergency-stop-verdict", "Emergency stop: nothing is left")
    browser.picture("emergency-stop-report", height=560)


def _digest(markdown: str) -> str:
    found = re.search(r"approval-code ([0-9a-f]{64})", markdown)
    assert found is not None, markdown
    return found[1]
