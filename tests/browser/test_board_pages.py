"""What a person sees and does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.workflow.report import Report
from tests.browser.served import KEY
from tests.fakes import World, digest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

DARK_AND_LIGHT = ("dark", "light")
PHONE, DESKTOP = {"width": 375, "height": 800}, {"width": 1280, "height": 900}


def newest(world: World) -> str:
    return str(Report(world.services).candidates("node", 1, "")["items"][0]["id"])


def test_the_flow_is_seen_from_the_push_to_the_container(page: Page) -> None:
    seen = page.locator(".where").all_text_contents()
    assert seen == ["Upstream", "Candidate", "Unique tag", "Stable tag", "App image", "Container"]
    assert page.locator("#status").text_content() == "All quiet"


def test_the_key_is_in_no_address_and_no_markup(page: Page) -> None:
    assert KEY not in page.url
    assert KEY not in page.content()
    page.get_by_role("button", name="Forget key").click()
    page.get_by_label("Key", exact=True).wait_for()
    assert page.locator(".stage").count() == 0


def test_a_wrong_key_is_told_and_asked_for_again(page: Page) -> None:
    page.get_by_role("button", name="Forget key").click()
    page.get_by_label("Key", exact=True).fill("wrong")
    page.get_by_role("button", name="Open the board").click()
    page.get_by_text("That key does not open this board.").wait_for()


def test_a_rerun_shows_what_it_does_and_then_does_it(page: Page, world: World, url: str) -> None:
    page.goto(f"{url}/api/board/candidates/{newest(world)}")
    page.get_by_role("button", name="Rerun").click()
    page.locator("#act-effects").get_by_text("promote if it passes").wait_for()
    assert len(world.candidates()) == 2
    page.get_by_label("Why").fill("the scanner knows more by now")
    page.get_by_role("button", name="Do it").click()
    page.locator("#act").wait_for(state="hidden")
    assert len(world.candidates()) == 3
    assert newest(world).endswith("-002")


def test_everything_can_be_done_by_keyboard(page: Page, world: World) -> None:
    page.get_by_role("button", name="Hold 15-alpine").focus()
    page.keyboard.press("Enter")
    page.locator("#act-effects li").wait_for()
    page.keyboard.type("a quiet weekend")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Lift hold of 15-alpine").wait_for()
    assert "a quiet weekend" in (page.locator(".stage.waiting").text_content() or "")


def test_a_refusal_is_shown_in_the_dialog(page: Page, world: World, url: str) -> None:
    page.goto(f"{url}/api/board/candidates/{newest(world)}")
    page.get_by_role("button", name="Roll 15-alpine back to this").click()
    page.locator("#act-problem").get_by_text("already").wait_for()
    assert page.get_by_role("button", name="Do it").is_disabled()


def test_a_page_follows_what_is_under_way(page: Page, world: World, url: str) -> None:
    world.push("15-alpine", digest("blue"))
    page.goto(f"{url}/api/board/candidates/{newest(world)}")
    page.locator("#status", has_text="Candidate examining").wait_for()
    world.settle()
    page.locator("#status", has_text="Candidate promoted").wait_for()


def test_the_whole_log_is_shown_although_a_key_is_needed(page: Page, world: World, url: str) -> None:
    page.goto(f"{url}/api/board/candidates/{newest(world)}")
    page.get_by_role("link", name="The whole log").click()
    page.locator("#log-text", has_text="was successful").wait_for()


@pytest.mark.parametrize("scheme", DARK_AND_LIGHT)
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_axe_finds_nothing_to_mend(
    page: Page, world: World, url: str, axe: str, scheme: str, size: dict[str, int]
) -> None:
    world.tasks.failing["node@"] = "not this one"
    world.push("15-alpine", digest("red"))
    world.settle()
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size(size)  # type: ignore[arg-type]
    for path in ("", f"/candidates/{newest(world)}", "/gates/node"):
        page.goto(f"{url}/api/board{path}")
        page.locator("#fragment .panel").first.wait_for()
        assert violations(page, axe) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.goto(f"{url}/api/board")
    page.get_by_role("button", name="Hold 15-alpine").click()
    page.locator("#act-effects li").wait_for()
    assert violations(page, axe) == []


def violations(page: Page, axe: str) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate("axe.run()")["violations"]
    return [f"{fault['id']}: {[node['html'][:200] for node in fault['nodes']]}" for fault in found]
