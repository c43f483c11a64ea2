"""A headless Chromium, the board of a world, and axe-core. `make browser` installs what is missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from shared import bootstrap
from tests.fakes import World, digest
from tests.served import KEY, App, serving

REMEDY = "run `make browser`, or leave these tests out: pytest -m 'not browser'"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
AXE = Path(__file__).resolve().parents[2] / ".tools/browser/node_modules/axe-core/axe.min.js"
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
]


@pytest.fixture(scope="package")  # Playwright's event loop lives as long: other tests have their own loops
def browser() -> Iterator[Browser]:
    """One browser for all tests here. Without one they fail: a board that was not rendered is not tested."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(playwright), args=FLAGS)
        yield browser
        browser.close()


def chromium(playwright: Playwright) -> str:
    """The Chromium of this machine, else the one that Playwright installed."""
    own = playwright.chromium.executable_path
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None and not Path(own).exists():
        pytest.fail(f"there is no Chromium on this machine: {REMEDY}")
    return found or own


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Two promoted digests, the newer one live."""
    world = World()
    for content in ("orange", "green"):
        world.push("15-alpine", digest(content))
        world.settle()
        world.clock.forward(180)
    app = App(world)
    monkeypatch.setattr(bootstrap, "basegate", lambda: app)
    return world


@pytest.fixture(scope="package")
def server() -> Iterator[str]:
    """One server for all tests: its functions use the world that a test patches in."""
    with serving() as url:
        yield url


@pytest.fixture
def url(world: World, server: str) -> str:
    """The URL of the board of this test's world."""
    return server


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """The board, after its key was entered; a script error or a violation of the policy fails the test."""
    with looking(browser) as page:
        page.goto(f"{url}/api/board")
        give_key(page, KEY)
        page.get_by_role("heading", name="Gates and apps").wait_for(state="attached")
        yield page


@contextmanager
def looking(browser: Browser, **options: Any) -> Iterator[Page]:
    """A page on which script errors and violations of the Content Security Policy fail the test."""
    page = browser.new_page(**{"viewport": DESKTOP, **options})
    page.set_default_timeout(10_000)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
    try:
        yield page
    finally:
        page.close()
    assert faults == []


def give_key(page: Page, key: str) -> None:
    """Fill in the form for the key, and submit it."""
    page.get_by_label("Function key").fill(key)
    page.get_by_role("button", name="Open", exact=True).click()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    if not AXE.exists():
        pytest.fail(f"there is no axe-core in {AXE.parent}: {REMEDY}")
    return AXE.read_text(encoding="utf-8")
