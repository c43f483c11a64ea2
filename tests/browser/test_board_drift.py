"""What a person sees and does on the drift page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from shared import bootstrap
from tests.browser.conftest import PHONE, give_key, looking
from tests.browser.scenes import SCENES
from tests.fakes import World, digest
from tests.served import KEY, App

pytestmark = pytest.mark.browser

STABLE = ("base", "node:15-alpine")


@pytest.fixture
def drifted(browser: Browser, server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """The board of a world in which the sweep saw what it may not repair."""
    app = App(SCENES["drift"]())
    monkeypatch.setattr(bootstrap, "basegate", lambda: app)
    with looking(browser) as page:
        page.goto(f"{server}/api/board")
        give_key(page, KEY)
        page.locator(".alarm").first.wait_for()
        yield page


def test_an_alarm_is_told_on_the_overview_and_leads_to_what_is_done_about_it(drifted: Page) -> None:
    expect(drifted.locator("#status")).to_have_text("1 failed, 1 awaiting approval, 3 alarms")
    expect(drifted.locator(".cell.bad .mark")).to_have_text(
        ["failed", "moved around the gate", "not the last good image"]
    )
    drifted.locator(".alarm a", has_text="nginx:1.29-alpine is ").click()
    alarm = drifted.locator(".action-item").first
    for expected in ("stable tag moved around the gate", "gate nginx", "8 min", "reported only"):
        expect(alarm).to_contain_text(expected)
    expect(drifted.get_by_role("table", name="Tags of nginx")).to_contain_text("moved around the gate")
    expect(drifted.get_by_text("for 40 s:").first).to_be_visible()
    expect(drifted.get_by_role("link", name="Drift")).to_have_attribute("aria-current", "page")


def test_on_a_phone_a_table_is_a_list_of_cards_and_still_a_table_to_a_screen_reader(drifted: Page) -> None:
    drifted.get_by_role("link", name="Drift").click()
    drifted.set_viewport_size(PHONE)  # type: ignore[arg-type]
    table = drifted.get_by_role("table", name="Tags of node")
    expect(table.get_by_role("columnheader")).to_have_text(["Tag", "Upstream", "Candidate", "Stable tag", "Status"])
    expect(table.get_by_role("rowheader")).to_have_text(["15-alpine"])
    cells = table.get_by_role("cell")
    labels = cells.evaluate_all("cells => cells.map(cell => getComputedStyle(cell, '::before').content)")
    assert [label.split('"')[1] for label in labels] == ["Upstream", "Candidate", "Stable tag", "Status"]
    tops = cells.evaluate_all("cells => cells.map(cell => cell.getBoundingClientRect().top)")
    assert tops == sorted(set(tops))


def test_a_sweep_shows_what_it_would_repair_and_then_repairs_it(page: Page, world: World) -> None:
    page.get_by_role("link", name="Drift").click()
    expect(page.locator("#fragment")).to_contain_text("No sweep has run yet")
    promoted, foreign = world.stable_tag(), digest("by hand")
    world.registry.tags[STABLE] = foreign
    page.get_by_role("button", name="Sweep now").click()
    expect(page.locator("#act-effects")).to_contain_text("put back")
    expect(page.locator("#act-wait")).to_be_hidden()
    assert world.stable_tag() == foreign
    page.get_by_label("Why").fill("somebody pushed by hand")
    page.locator("#act-go").click()
    expect(page.locator("#act")).to_be_hidden()
    assert world.stable_tag() == promoted
    expect(page.get_by_role("table", name="Tags of node").get_by_role("row").nth(1)).to_contain_text("same")
    expect(page.locator("#status")).to_have_text("No drift")


def test_a_sweep_can_be_asked_for_by_keyboard(page: Page) -> None:
    page.get_by_role("link", name="Drift").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Sweep now").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#act-effects")).to_have_text("nothing everything matches the ledger")
    page.keyboard.type("just asking")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text("No drift")
    expect(page.get_by_role("button", name="Sweep now")).to_be_focused()


def test_a_dialog_says_that_it_is_looking_while_a_dry_run_takes_its_time(page: Page) -> None:
    page.get_by_role("link", name="Drift").click()
    page.route("**/v1/sweep?dry_run=true", lambda route: None)  # it is never answered
    page.get_by_role("button", name="Sweep now").click()
    expect(page.locator("#act-wait")).to_have_text("Loading…")
    expect(page.locator("#act-go")).to_be_disabled()


def test_an_earlier_image_of_an_app_is_deployed_from_its_history(page: Page, world: World, url: str) -> None:
    page.goto(f"{url}/api/board/apps/hello-world")
    page.get_by_role("button", name="Deploy hello-world:ct1").click()
    expect(page.locator("#act-effects")).to_contain_text("deploy contoso.azurecr.io/hello-world:ct1 in place of")
    page.get_by_label("Why").fill("the new one is slow")
    page.locator("#act-go").click()
    expect(page.locator("#act")).to_be_hidden()
    world.settle()
    live = world.app().live
    assert live
    assert live.tag == "ct1"
