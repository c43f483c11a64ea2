"""The board for everyone: axe-core finds nothing to mend, on any size, in dark and light, and it stays readable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from shared import bootstrap
from tests.browser.conftest import DESKTOP, PHONE, give_key, looking
from tests.browser.scenes import SCENES, newest
from tests.fakes import World
from tests.served import KEY, App

pytestmark = pytest.mark.browser

RULES = '{runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]}'
SMALLEST = {"width": 320, "height": 640}
ZOOMED = {"width": DESKTOP["width"] // 2, "height": DESKTOP["height"] // 2}
"""What is left of the desktop at 200 %: WCAG 1.4.4 and 1.4.10 ask what a page does then."""


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """The blocked night: it has something of every tone."""
    world = SCENES["blocked"]()
    app = App(world)
    monkeypatch.setattr(bootstrap, "basegate", lambda: app)
    return world


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """The board with its key given."""
    with looking(browser) as page:
        page.goto(f"{url}/api/board")
        give_key(page, KEY)
        page.locator(".stage").first.wait_for()
        yield page


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_axe_finds_nothing_to_mend(
    page: Page, world: World, url: str, axe: str, scheme: str, size: dict[str, int]
) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    page.set_viewport_size(size)  # type: ignore[arg-type]
    for path in paths(world):
        visit(page, f"{url}/api/board{path}")
        assert violations(page, axe) == [], path
    visit(page, f"{url}/api/board")
    page.get_by_role("button", name="Hold 15-alpine").click()
    page.locator("#act-effects li").wait_for()
    assert violations(page, axe) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Forget key").click()
    page.get_by_label("Function key").wait_for()
    assert violations(page, axe) == []


@pytest.mark.parametrize("size", [SMALLEST, ZOOMED], ids=["320 px", "200 %"])
def test_nothing_is_cut_off_and_nothing_scrolls_sideways(
    page: Page, world: World, url: str, size: dict[str, int]
) -> None:
    page.set_viewport_size(size)  # type: ignore[arg-type]
    for path in paths(world):
        visit(page, f"{url}/api/board{path}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert page.evaluate(OUTSIDE) == [], path
    visit(page, f"{url}/api/board")
    page.get_by_role("button", name="Roll back 15-alpine").click()
    page.locator("#act-effects li").first.wait_for()
    assert page.evaluate("(act => act.scrollWidth <= act.clientWidth)(document.getElementById('act'))")
    page.locator("#act-go").scroll_into_view_if_needed()
    assert page.locator("#act-go").is_visible()


OUTSIDE = """[...document.querySelectorAll('#fragment button, #fragment a, #fragment .mark')]
    .filter(node => node.getBoundingClientRect().right > innerWidth).map(node => node.outerHTML)"""


def test_text_at_twice_its_size_still_fits(page: Page, world: World, url: str) -> None:
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(OUTSIDE) == []


def test_every_tone_has_a_word_beside_its_colour(page: Page) -> None:
    marks = page.locator("#fragment .mark").all_text_contents()
    assert marks
    assert all(mark.strip() for mark in marks)


def test_a_breach_of_the_policy_is_seen_by_these_tests(browser: Browser, url: str) -> None:
    """The guard itself: an inline script on the page must not go unnoticed."""
    with pytest.raises(AssertionError, match="Content Security Policy"), looking(browser) as page:
        page.goto(f"{url}/api/board")
        page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.x = 1'}))")
        assert page.evaluate("window.x") is None


def paths(world: World) -> list[str]:
    """One page of each kind."""
    rollout = world.rollouts()[-1]
    return [
        "",
        f"/candidates/{newest(world).id}",
        f"/rollouts/{rollout.app}.{rollout.name}",
        "/gates/node",
        "/apps/hello-world",
    ]


def visit(page: Page, address: str) -> None:
    """Open a page and wait until it shows something."""
    page.goto(address)
    page.locator("#fragment .panel").first.wait_for()


def violations(page: Page, axe: str) -> list[str]:
    """What axe-core finds, in words."""
    page.evaluate(axe)
    found = page.evaluate(f"axe.run({RULES})")["violations"]
    return [f"{fault['id']}: {[node['html'][:200] for node in fault['nodes']]}" for fault in found]
