"""One headless Chromium for all browser tests, and pages that tell what went wrong in them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.shown_run import demo_requests, make_run, score
from videogen.storage import open_storage
from videogen_pipelines.report.build import ReportOptions, Side, build_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FAILED = {"blue-5": "CUDA out of memory: got 81 frames, tried 12.5 GiB"}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(NAMES)} is installed")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield launched
        launched.close()


@dataclass
class Shown:
    """A page, and what it should not have done."""

    page: Page
    problems: list[str] = field(default_factory=list)
    external: list[str] = field(default_factory=list)
    origin: str = "file://"

    def open(self, folder: Path, route: str = "") -> Page:
        """Open a report from disk and wait until it is drawn."""
        return self.visit(f"{(folder / 'index.html').as_uri()}{route}")

    def visit(self, address: str) -> Page:
        """Open a page and wait until it is drawn."""
        self.page.goto(address)
        self.until("performance.getEntriesByName('videogen-ready').length > 0")
        return self.page

    def until(self, expression: str, argument: Any = None, timeout_s: float = 60.0) -> None:
        """Wait until an expression is true in the page.

        Playwright's own waiting evaluates text in the page, which the page's policy forbids.
        """
        deadline = time.monotonic() + timeout_s
        while not self.page.evaluate(expression, argument):
            assert time.monotonic() < deadline, f"never became true: {expression}"
            time.sleep(0.02)


@pytest.fixture
def shown(browser: Browser) -> Iterator[Shown]:
    """A fresh page; at its end nothing was logged as an error or asked of the network."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(20_000)
    found = Shown(context.new_page())
    found.page.on("pageerror", lambda error: found.problems.append(str(error)))
    found.page.on(
        "console", lambda said: found.problems.append(said.text) if said.type == "error" else None
    )
    found.page.on(
        "request",
        lambda asked: (
            None if asked.url.startswith(found.origin) else found.external.append(asked.url)
        ),
    )
    yield found
    context.close()
    assert found.problems == []
    assert found.external == []


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six clips and a failure, evaluated."""
    folder = tmp_path_factory.mktemp("shown") / "demo"
    make_run(folder, demo_requests(), FAILED)
    score(folder)
    return folder


@pytest.fixture(scope="session")
def report(run_folder: Path) -> Path:
    """The report of that run."""
    return write_report(run_folder, run_folder / "report")


def write_report(
    run: Path, to: Path, compare: Path | None = None, options: ReportOptions | None = None
) -> Path:
    target, chosen = open_storage(str(to)), options or ReportOptions()
    sides = [Side.read(str(each), None, target, chosen) for each in (run, compare) if each]
    build_report(target, *sides, options=chosen)
    return to
