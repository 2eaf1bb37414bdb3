"""Prefect's UI in Debian's chromium, as a person uses it; its API is asked only when there is something to see."""

import base64
import contextlib
import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cli.command import until

CHROMIUM = Path("/usr/bin/chromium")
_SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_MILLISECONDS = 60_000  # the machine may be shared
_WIDTH, _HEIGHT, _SIDEBAR = 1280, 1080, 256


@contextlib.contextmanager
def opened(base: str, password: str, pictures: str | None = None) -> Iterator["Browser"]:
    """A browser that has logged in with `password`; it keeps pictures in the folder `pictures`, where there is one."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(_SWITCHES))
        page = chromium.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
        page.set_default_timeout(_MILLISECONDS)
        browser = Browser(page, base, password, Path(pictures) if pictures else None)
        browser.log_in()
        yield browser
        chromium.close()


class Browser:
    """A page of Prefect's UI."""

    def __init__(self, page: Any, base: str, password: str, pictures: Path | None) -> None:
        self.page = page
        self.base = base
        self._password = password
        self._pictures = pictures

    def picture(self, name: str, *, top: int = 0, height: int = 860, whole: bool = False, of: Any = None) -> None:
        """Keep what is on the screen, where pictures are kept: `height` pixels from `top` on, without the menu unless
        `whole`; or one part `of` the page.
        """
        if self._pictures is None:
            return
        self.page.wait_for_timeout(1500)  # what fades in, and what is still loading
        path = self._pictures / f"{name}.png"
        if of is not None:
            of.screenshot(path=path)
            return
        left = 0 if whole else _SIDEBAR
        self.page.screenshot(path=path, clip={"x": left, "y": top, "width": _WIDTH - left, "height": height})

    def log_in(self) -> None:
        self.page.goto(f"{self.base}/")
        self.page.locator("input[type=password]").fill(self._password)
        self.page.get_by_role("button", name="Login").click()
        self.page.get_by_role("link", name="Deployments").wait_for()

    def open(self, menu_entry: str) -> None:
        """Open a page of the menu at the left."""
        self.page.get_by_role("link", name=menu_entry, exact=True).first.click()

    def form_of(self, deployment: str) -> None:
        """Open the form of a deployment, from the list of deployments (which shows ten at a time)."""
        self.page.goto(f"{self.base}/v2/deployments?flowOrDeploymentName={deployment}")
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
        self.page.get_by_role("tab", name="Runs").wait_for()  # of the deployment: the form has been taken

    def artifact(self, key: str, holds: str, *, run: str = "") -> str:
        """Open the newest artifact of a key (that `run` has left) as soon as it holds a text; returns what it was made
        from.
        """
        wanted = {"key": {"any_": [key]}, **({"flow_run_id": {"any_": [run]}} if run else {})}

        def newest() -> Any:
            found = self._ask("artifacts/filter", {"sort": "CREATED_DESC", "limit": 1, "artifacts": wanted})
            return found[0] if found and holds in f"{found[0]['description']}\n{found[0]['data']}" else None

        found = until(newest, f"an artifact {key} with {holds!r}", 150)
        self.page.goto(f"{self.base}/v2/artifacts/artifact/{found['id']}")
        self.page.get_by_role("tab", name="Artifact").wait_for()
        return str(found["data"])

    def shows(self, text: str) -> None:
        """Wait until a text can be seen."""
        self.page.get_by_text(text).filter(visible=True).first.wait_for()

    def run_of(self, deployment: str, state: str) -> str:
        """The id of the newest run of a deployment, as soon as it is in a state."""
        asked = {"sort": "EXPECTED_START_TIME_DESC", "limit": 1, "deployments": {"name": {"any_": [deployment]}}}

        def newest() -> Any:
            found = self._ask("flow_runs/filter", asked)
            return found[0]["id"] if found and found[0]["state_name"] == state else None

        return str(until(newest, f"{deployment} {state}", 150))

    def resume(self, run: str, *, picture: str = "", **typed: str) -> None:
        """Answer the form of a suspended run, from its page's menu."""
        self.page.goto(f"{self.base}/v2/runs/flow-run/{run}")
        self.page.get_by_role("button", name="Open menu").first.click()
        self.page.get_by_role("menuitem", name="Resume").click()
        dialog = self.page.get_by_role("dialog")
        for field, text in typed.items():
            dialog.get_by_label(field.capitalize(), exact=True).fill(text)
        if picture:
            self.picture(picture, of=dialog)
        dialog.get_by_role("button", name="Resume", exact=True).click()
        dialog.wait_for(state="hidden")

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        proof = base64.b64encode(self._password.encode()).decode()
        headers = {"Authorization": f"Basic {proof}", "Content-Type": "application/json"}
        data = json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.base}/api/{path}", data, headers)) as reply:
            return json.load(reply)
