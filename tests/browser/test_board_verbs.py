"""What a person does: first what it would do, then doing it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from shared.operations import Who
from tests.browser.scenes import newest
from tests.fakes import World

pytestmark = pytest.mark.browser


def test_a_rerun_shows_what_it_does_and_then_does_it(page: Page, world: World, url: str) -> None:
    page.goto(f"{url}/api/board/candidates/{newest(world).id}")
    page.get_by_role("button", name="Rerun").click()
    expect(page.locator("#act-effects")).to_contain_text("promote if it passes")
    assert len(world.candidates()) == 2
    page.get_by_label("Why").fill("the scanner knows more by now")
    page.locator("#act-go").click()
    expect(page.locator("#act")).to_be_hidden()
    assert len(world.candidates()) == 3
    assert newest(world).id.endswith("-002")


def test_a_rollback_names_every_app_that_it_touches_before_it_is_done(page: Page, world: World) -> None:
    before = world.stable_tag()
    page.get_by_role("button", name="Roll back 15-alpine").click()
    effects = page.locator("#act-effects li")
    expect(effects).to_have_count(3)
    expect(effects.nth(0)).to_contain_text(f"move the stable tag 15-alpine from {before}")
    expect(effects.nth(2)).to_contain_text("rebuild and redeploy hello-world")
    expect(page.get_by_label("Back to").locator("option")).to_have_text(["15-alpine-cb1, 01 Mar 12:00 UTC"])
    assert world.stable_tag() == before
    page.get_by_label("Held until").select_option("newer")
    expect(effects.nth(1)).to_contain_text("until a newer digest passes")
    page.get_by_label("Why").fill("Green hurts the eyes")
    page.locator("#act-go").click()
    page.locator(".action-item", has_text="Green hurts the eyes").wait_for()
    assert world.stable_tag() != before


def test_everything_can_be_done_by_keyboard(page: Page) -> None:
    page.get_by_role("button", name="Hold 15-alpine").focus()
    page.keyboard.press("Enter")
    page.locator("#act-effects li").wait_for()
    page.keyboard.type("a quiet weekend")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Lift hold 15-alpine").first.wait_for()
    expect(page.locator(".cell.waiting")).to_contain_text("a quiet weekend")
    assert page.evaluate("document.activeElement !== document.body")


def test_escape_leaves_everything_as_it_was(page: Page, world: World) -> None:
    opener = page.get_by_role("button", name="Hold 15-alpine")
    opener.click()
    page.locator("#act-effects li").wait_for()
    page.keyboard.press("Escape")
    expect(page.locator("#act")).to_be_hidden()
    expect(opener).to_be_focused()
    assert page.locator(".action-item").count() == 0


def test_a_refusal_is_shown_in_the_dialog(page: Page, world: World, url: str) -> None:
    page.goto(f"{url}/api/board/candidates/{newest(world).id}")
    page.get_by_role("button", name="Roll back 15-alpine to this").click()
    expect(page.locator("#act-problem")).to_contain_text("already")
    expect(page.locator("#act-go")).to_be_disabled()


def test_who_acts_on_a_stale_view_is_told_what_it_is_now(page: Page, world: World, url: str) -> None:
    page.goto(f"{url}/api/board/candidates/{newest(world).id}")
    page.get_by_role("button", name="Rerun").click()
    page.locator("#act-effects li").first.wait_for()
    stored = world.ledger.load(type(world.candidates()[0]), "node", newest(world).id.partition(".")[2])
    assert stored
    world.ledger.save(stored, stored.record.noting(world.clock.now(), "promoted again", "by someone else"))
    page.get_by_label("Why").fill("once more")
    page.locator("#act-go").click()
    expect(page.locator("#act-problem")).to_contain_text("Changed since it was read")
    expect(page.locator("#act-problem")).to_contain_text("promoted again")
    expect(page.locator("#act-go")).to_be_disabled()
    assert len(world.candidates()) == 2
    expect(page.locator(".timeline")).to_contain_text("promoted again")


def test_an_open_dialog_survives_a_refresh_with_what_was_typed(page: Page, world: World) -> None:
    page.get_by_role("button", name="Hold 15-alpine").click()
    page.get_by_label("Why").fill("half a sen")
    world.operate.apps.rebuild("hello-world", Who.of("mara", "meanwhile")).act()
    page.evaluate("document.dispatchEvent(new Event('basegate:changed'))")
    page.locator(".cell.busy").first.wait_for()
    expect(page.get_by_label("Why")).to_have_value("half a sen")
    expect(page.get_by_label("Why")).to_be_focused()


def test_a_lost_answer_is_asked_for_again_under_the_same_key(page: Page, world: World) -> None:
    page.get_by_role("button", name="Rebuild hello-world").click()
    page.locator("#act-effects li").first.wait_for()
    page.get_by_label("Why").fill("once, whatever the network does")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.headers.get("idempotency-key", "")))
    page.route("**/v1/apps/**", lambda route: (route.fetch(), route.abort()), times=1)
    page.locator("#act-go").click()
    expect(page.locator("#act-problem")).to_have_text("Basegate cannot be reached.")
    before = len(world.rollouts())
    page.locator("#act-go").click()
    expect(page.locator("#act")).to_be_hidden()
    assert len(world.rollouts()) == before
    assert len({key for key in sent if key}) == 1
