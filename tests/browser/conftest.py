"""A real browser that looks at real clusters; what it says and asks for is kept, and must be nothing bad."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import make_cluster, shared_cluster  # noqa: F401  fixtures
from tests.cluster.harness import Server

NODE_WAITS_MS = 60_000  # for whatever the page should show at last, on a busy machine


@dataclass
class Window:
    """One page in a context of its own. `complaints` of its console, `requests` that left the browser."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def look_at(self, server: Server) -> None:
        """Open the page of that node."""
        self.page.goto(f"http://127.0.0.1:{server.http_port}/")

    def text(self, selector: str) -> str:
        """What is shown there now; '' where nothing is."""
        found: str = self.page.evaluate(
            "selector => document.querySelector(selector)?.textContent ?? ''", selector
        )
        return found

    def wait(self, condition: str, argument: object = None) -> None:
        """Until this JavaScript is true."""
        self.page.wait_for_function(condition, arg=argument, timeout=NODE_WAITS_MS)


@pytest.fixture(scope="module")  # not longer: clusters that are timed afterwards want the processor
def chromium() -> Iterator[Any]:
    """Debian's chromium, driven by Playwright's Python package; nothing is downloaded."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright").sync_playwright()
    with playwright as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])  # CI runs as root
        yield browser
        browser.close()


@pytest.fixture
def open_window(chromium: Any) -> Iterator[Callable[..., Window]]:
    """`open_window(color_scheme="dark")`: options as of Playwright's `new_context`."""
    opened = []

    def make(**options: Any) -> Window:
        context = chromium.new_context(**{"viewport": {"width": 1100, "height": 900}, **options})
        opened.append(context)
        window = Window(context.new_page())
        context.on("request", lambda request: window.requests.append(request.url))
        window.page.on("pageerror", lambda error: window.complaints.append(str(error)))
        window.page.on(
            "console",
            lambda said: window.complaints.append(said.text) if said.type in ("error", "warning") else None,
        )
        return window

    yield make
    for context in opened:
        context.close()


@pytest.fixture
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where pictures go: `--screenshots`, or a folder that nobody keeps."""
    folder = Path(request.config.getoption("--screenshots") or tmp_path).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
