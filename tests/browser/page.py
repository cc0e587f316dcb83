"""A page of the browser that notes all that goes wrong in it."""

from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import ConsoleMessage, Page, Response
from tests.support import ROOT

SCREENSHOTS = ROOT / "docs" / "screenshots"
MOST_BYTES = 150_000

_PREPARE = """
// The two things that MLflow opens by itself, over what is to be seen. A frame in a sandbox has no storage.
try {
  localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
  localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');
  localStorage.setItem('mlflow.telemetry.info.alert.dismissed_v1', 'true');
} catch {}
document.addEventListener('securitypolicyviolation', event =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


@dataclass
class Watched:
    """A page, and what it complained of.

    Attributes:
        page: the page.
        url: where the front door is.
        errors: of the console, of scripts, of the content security policy, and answers of 5xx.
        foreign: requests to anywhere but the front door.
    """

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.add_init_script(_PREPARE)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.errors.append(f"script: {error}"))
        self.page.on("response", self._answered)

    def _said(self, message: ConsoleMessage) -> None:
        # MLflow's pages ask who is there, also a server without users of its own.
        asked_who = message.location.get("url", "").endswith("/mlflow/users/current")
        if message.type == "error" and not (asked_who and "404" in message.text):
            self.errors.append(f"console: {message.text}")

    def _answered(self, response: Response) -> None:
        if response.status >= 500:
            self.errors.append(f"{response.request.method} {response.url} → {response.status}")
        if not response.url.startswith((self.url, "data:", "blob:")):
            self.foreign.append(response.url)

    def open(self, path: str) -> None:
        """Go to a page of MLflow's."""
        self.page.goto(f"{self.url}/{path}", wait_until="load")

    def picture(self, name: str, *, keep: bool) -> Path | None:
        """A picture for the docs.

        Args:
            name: of the file, without its ending.
            keep: whether it is wanted.
        """
        if not keep:
            return None
        SCREENSHOTS.mkdir(exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.wait_for_timeout(1000)  # until nothing moves
        self.page.screenshot(path=path, animations="disabled")
        assert path.stat().st_size <= MOST_BYTES, f"{path}: {path.stat().st_size} bytes"
        return path
