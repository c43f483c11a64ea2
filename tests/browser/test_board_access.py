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

ALL_RULES = '{runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]}'
CONTRAST = '{runOnly: {type: "rule", values: ["color-contrast", "link-in-text-block"]}}'
SMALLEST, TABLET = {"width": 320, "height": 640}, {"width": 768, "height": 1024}
ZOOMED = {"width": DESKTOP["width"] // 2, "height": DESKTOP["height"] // 2}
"""What is left of the desktop at 200 %: WCAG 1.4.4 and 1.4.10 ask what a page does then."""


@pytest.fixture
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    """A scene; unless a test says otherwise the blocked night: it has something of every severity."""
    world = SCENES[getattr(request, "param", "blocked")]()
    app = App(world)
    monkeypatch.setattr(bootstrap, "basegate", lambda: app)
    return world


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """The board with its key given."""
    with looking(browser) as page:
        page.goto(f"{url}/api/board")
        give_key(page, KEY)
        page.locator(".cell").first.wait_for()
        yield page


def test_axe_finds_nothing_to_mend(page: Page, world: World, url: str, axe: str) -> None:
    for path in paths(world):
        visit(page, f"{url}/api/board{path}")
        assert violations(page, axe) == [], path
    page.goto(f"{url}/api/board")
    page.get_by_role("button", name="Hold 15-alpine").click()
    page.locator("#act-effects li").wait_for()
    assert violations(page, axe) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Forget key").click()
    page.get_by_label("Function key").wait_for()
    assert violations(page, axe) == []


@pytest.mark.parametrize("world", ["drift"], indirect=True)
def test_axe_finds_nothing_to_mend_where_alarms_stand(page: Page, url: str, axe: str) -> None:
    assert violations(page, axe) == []
    visit(page, f"{url}/api/board/drift")
    assert violations(page, axe) == []


@pytest.mark.parametrize("size", [SMALLEST, ZOOMED], ids=["320 px", "200 %"])
def test_nothing_is_cut_off_and_nothing_scrolls_sideways(
    page: Page, world: World, url: str, size: dict[str, int]
) -> None:
    page.set_viewport_size(size)  # type: ignore[arg-type]
    for path in paths(world):
        visit(page, f"{url}/api/board{path}")
        assert_it_fits(page)
    visit(page, f"{url}/api/board")
    page.get_by_role("button", name="Roll back 15-alpine").click()
    page.locator("#act-effects li").first.wait_for()
    assert page.evaluate("(act => act.scrollWidth <= act.clientWidth)(document.getElementById('act'))")
    page.locator("#act-go").scroll_into_view_if_needed()
    assert page.locator("#act-go").is_visible()


@pytest.mark.parametrize("world", ["drift"], indirect=True)
def test_alarms_and_tables_of_drift_fit_the_smallest_screen(page: Page, url: str) -> None:
    for path in ("", "/drift"):
        visit(page, f"{url}/api/board{path}")
        for size in (SMALLEST, ZOOMED, TABLET):
            page.set_viewport_size(size)  # type: ignore[arg-type]
            assert_it_fits(page)


def assert_it_fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url
    assert page.evaluate(OUTSIDE) == [], page.url


OUTSIDE = """[...document.querySelectorAll('#fragment button, #fragment a, #fragment .mark')]
    .filter(node => node.getBoundingClientRect().right > innerWidth).map(node => node.outerHTML)"""


def test_text_at_twice_its_size_still_fits(page: Page, world: World, url: str) -> None:
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert_it_fits(page)


def test_every_severity_has_a_word_beside_its_colour(page: Page) -> None:
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
        "/drift",
    ]


def visit(page: Page, address: str) -> None:
    """Open a page and wait until it shows something."""
    page.goto(address)
    page.locator("#fragment .panel").first.wait_for()


def violations(page: Page, axe: str) -> list[str]:
    """What axe-core finds on the page as it is, on a phone and on a desktop, light and dark, in words.

    A colour scheme changes colours and nothing else: in the dark, contrast alone is looked at again.
    """
    page.evaluate(axe)
    found = []
    for size in (PHONE, DESKTOP):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        for scheme, rules in (("light", ALL_RULES), ("dark", CONTRAST)):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            faults = page.evaluate(f"axe.run({rules})")["violations"]
            found += [f"{scheme} {fault['id']}: {[node['html'][:200] for node in fault['nodes']]}" for fault in faults]
    return found
