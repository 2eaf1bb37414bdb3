"""What a person does in Prefect's UI, done by a browser: log in, run a check from its form, read its report, report
the day, stop.

With SCREENSHOTS=FOLDER it leaves pictures there (docs/images holds a set).
"""

import importlib.util
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.prefect_auth import api_password
from cli.prefect_server import free_port
from services.ledger import Ledger
from tests.cli.accounts import settings_of
from tests.cli.command import Command, processes_of, until

CHROMIUM = Path("/usr/bin/chromium")
SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MILLISECONDS = 60_000  # the machine may be shared

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is missing: apt-get install chromium"),
    pytest.mark.skipif(
        importlib.util.find_spec("playwright") is None, reason="playwright is not installed: make setup-dev"
    ),
]


@pytest.fixture
def up(command: Command) -> Iterator[tuple[str, Any]]:
    """`crypto-bot up` of bybit and bitbank, ready; its address and process."""
    port = free_port()
    process = command.start("up", "--port", str(port), "--exchange", "bybit", "--exchange", "bitbank")
    until(lambda: "ready after" in command.said(process) or process.poll() is not None, "a first cycle", 240)
    assert process.poll() is None, command.said(process)
    yield f"http://127.0.0.1:{port}", process
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        command.ended(process, 120)


class Browser:
    """A page of Prefect's UI, as a person sees it."""

    def __init__(self, page: Any, base: str) -> None:
        self.page = page
        self.base = base

    def picture(self, name: str) -> None:
        """Keep what is on the screen, where the environment asks for pictures."""
        folder = os.environ.get("SCREENSHOTS")
        if folder:
            self.page.wait_for_timeout(1500)
            self.page.screenshot(path=Path(folder) / f"{name}.png")

    def log_in(self, password: str) -> None:
        self.page.goto(f"{self.base}/")
        self.page.locator("input[type=password]").fill(password)
        self.page.get_by_role("button", name="Login").click()
        self.page.get_by_role("link", name="Deployments").wait_for()

    def form_of(self, deployment: str) -> None:
        """Open the form of a deployment, from the list of deployments."""
        self.page.get_by_role("link", name="Deployments", exact=True).click()
        self.page.get_by_role("link", name=deployment, exact=True).first.click()
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Custom run").click()
        self.page.get_by_role("button", name="Submit").wait_for()

    def choose(self, shown: str, wanted: str) -> list[str]:
        """Open the drop-down that shows one value and take another; returns what it offered."""
        self.page.locator("button").filter(has_text=re.compile(f"^{shown}$")).first.click()
        self.page.get_by_role("option").first.wait_for()
        offered: list[str] = self.page.get_by_role("option").all_inner_texts()
        self.page.get_by_role("option", name=wanted, exact=True).click()
        return offered

    def submit(self) -> None:
        self.page.get_by_role("button", name="Submit").click()

    def artifact(self, key: str, holds: str) -> None:
        """Open the newest artifact of a key, waiting until a run has left it."""
        address = f"{self.base}/v2/artifacts/key/{key}"
        newest = self.page.locator("a[href*='/artifacts/artifact/']").first

        def is_there() -> bool:
            self.page.goto(address)
            self.page.wait_for_timeout(2000)
            return newest.count() > 0

        until(is_there, f"an artifact {key}", 150)
        newest.click()
        self.page.get_by_text(holds).first.wait_for()


def test_a_person_checks_reads_reports_and_stops_from_the_ui(command: Command, up: tuple[str, Any]) -> None:
    from playwright.sync_api import sync_playwright

    base, process = up
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(SWITCHES))
        page = chromium.new_page(viewport={"width": 1280, "height": 860})
        page.set_default_timeout(MILLISECONDS)
        browser = Browser(page, base)

        browser.log_in(api_password(command.home))
        browser.picture("dashboard")
        page.get_by_role("link", name="Deployments", exact=True).click()
        page.get_by_text(re.compile(r"^\d+ Deployments$")).wait_for()
        browser.picture("deployments")

        browser.form_of("compatibility")
        offered = browser.choose("bitbank", "bybit")
        assert offered == ["bybit", "bitbank", "bitflyer", "okcoinjp"]
        browser.picture("compatibility-form")
        browser.submit()
        browser.artifact("compatibility-bybit", "compatibility at bybit: passed")
        browser.picture("compatibility-report")

        browser.form_of("day-report")
        browser.choose("yesterday", "today")
        browser.submit()
        browser.artifact("day-bybit", "cycles / failed / missed")
        browser.picture("day-report")
        browser.artifact("day-bybit-price", "at bybit: price")
        image = page.locator("img[src^='data:image/svg']").first
        image.wait_for()
        assert image.evaluate("picture => picture.naturalWidth") > 500, "the picture is not drawn"
        browser.picture("day-report-price")

        browser.form_of("emergency-stop")
        browser.choose("all", "bybit")
        browser.picture("emergency-stop-form")
        browser.submit()
        browser.artifact("emergency-stop-verdict", "Emergency stop: nothing is left")
        browser.picture("emergency-stop-report")
        chromium.close()

    ledger = Ledger(settings_of(command.home).ledger_url)
    try:
        assert ledger.latched("bybit") is not None and ledger.latched("bitbank") is None
    finally:
        ledger.close()
    process.send_signal(signal.SIGINT)
    assert command.ended(process, 120) == 0, command.said(process)
    assert processes_of(command.home) == []
