"""`python -m tests.browser.screenshots FOLDER`: the board's pictures for the documents, from the real functions.

World and clock are those of the scenes, so that the same code renders the same pictures.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from shared import bootstrap
from tests.browser.conftest import FLAGS, chromium, give_key, looking
from tests.browser.scenes import SCENES
from tests.served import KEY, App, serving

SIZES = {
    "desktop": {"viewport": {"width": 1280, "height": 800}, "device_scale_factor": 1},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5},
}
VIEWS = tuple((size, scheme) for size in SIZES for scheme in ("light", "dark"))
DRIFT_VIEWS = (("desktop", "light"), ("phone", "dark"))
LIMIT_BYTES = 150_000


def main(folder: Path) -> int:
    """Write `board-<scene>-<size>-<scheme>.png`; returns 1 if one is too large."""
    logging.disable(logging.WARNING)  # scenes are about failures, and those are logged
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(playwright), args=FLAGS)
        files = [file for scene in SCENES for file in pictures(browser, scene, folder)]
        browser.close()
    large = [file.name for file in files if file.stat().st_size > LIMIT_BYTES]
    sys.stdout.write(
        f"{len(files)} pictures in {folder}" + (f"; too large: {', '.join(large)}" if large else "") + "\n"
    )
    return 1 if large else 0


def pictures(browser: Browser, scene: str, folder: Path) -> list[Path]:
    """One scene in every size, light and dark; for the scene about drift, the drift page."""
    app = App(SCENES[scene]())
    bootstrap.basegate = lambda: app  # type: ignore[assignment, return-value]
    path, views = ("/drift", DRIFT_VIEWS) if scene == "drift" else ("", VIEWS)
    files = []
    with serving() as url:
        for size, scheme in views:
            with looking(browser, color_scheme=scheme, reduced_motion="reduce", **SIZES[size]) as page:
                page.goto(f"{url}/api/board{path}")
                give_key(page, KEY)
                page.locator("#fragment .panel").first.wait_for()
                page.mouse.move(0, 0)
                if (scene, size) == ("drift", "phone"):  # the cards below the alarms
                    page.locator(".drift").first.evaluate("panel => panel.scrollIntoView()")
                files.append(folder / f"board-{scene}-{size}-{scheme}.png")
                page.screenshot(path=files[-1], animations="disabled")
    return files


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
