"""A headless Chromium, the board of a world, and axe-core. Where one is missing, its tests are skipped and say so."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shared import bootstrap
from tests.browser.served import KEY, App, serving
from tests.fakes import World, digest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
AXE = Path(__file__).resolve().parents[2] / ".tools" / "axe"
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


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


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


@pytest.fixture
def url(world: World) -> Iterator[str]:
    """Where the board is."""
    with serving() as url:
        yield url


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """The board with its key given; a script error or a breach of the policy fails the test."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
    page.goto(f"{url}/api/board")
    page.get_by_label("Key", exact=True).fill(KEY)
    page.get_by_role("button", name="Open the board").click()
    page.get_by_role("heading", name="Gates and apps").wait_for(state="attached")
    yield page
    page.close()
    assert faults == []


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    script = AXE / "package" / "axe.min.js"
    if not script.exists():
        _fetch_axe()
    return script.read_text(encoding="utf-8")


def _fetch_axe() -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("axe-core is not here, and there is no npm to fetch it")
    AXE.mkdir(parents=True, exist_ok=True)
    fetched = subprocess.run(
        [npm, "pack", "axe-core@4", "--silent"], cwd=AXE, capture_output=True, text=True, check=False, timeout=60
    )
    if fetched.returncode != 0:
        pytest.skip("axe-core could not be fetched")
    archive = AXE / fetched.stdout.split()[-1]
    with tarfile.open(archive) as opened:
        opened.extractall(AXE, filter="data")
    archive.unlink()
