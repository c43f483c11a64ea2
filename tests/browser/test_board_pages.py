"""What a person sees."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from shared import bootstrap
from shared.operations import Who
from tests.browser.conftest import give_key, looking
from tests.browser.scenes import SCENES, newest
from tests.fakes import World, digest
from tests.served import KEY, App, serving

pytestmark = pytest.mark.browser


def test_the_flow_is_seen_from_the_push_to_the_container(page: Page) -> None:
    seen = page.locator(".where").all_text_contents()
    assert seen == ["Upstream", "Candidate", "Unique tag", "Stable tag", "App image", "Container"]
    expect(page.locator("#status")).to_have_text("No problems")


def test_the_key_is_in_no_address_and_no_markup(page: Page) -> None:
    assert KEY not in page.url
    assert KEY not in page.content()
    assert page.evaluate("[document.cookie, localStorage.length]") == ["", 0]
    page.get_by_role("button", name="Forget key").click()
    page.get_by_label("Function key").wait_for()
    assert page.locator(".cell").count() == 0


def test_a_wrong_key_is_told_and_asked_for_again(page: Page) -> None:
    page.get_by_role("button", name="Forget key").click()
    give_key(page, "wrong")
    expect(page.get_by_role("alert").first).to_have_text("This key is not valid.")
    give_key(page, KEY)
    page.locator(".cell").first.wait_for()


def test_with_sign_in_nobody_is_asked_for_a_key(browser: Browser, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASEGATE_SIGN_IN", "easy-auth")
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")
    reader = "eyJjbGFpbXMiOlt7InR5cCI6InJvbGVzIiwidmFsIjoiQmFzZWdhdGUuUmVhZGVyIn1dfQ=="
    with looking(browser, extra_http_headers={"X-MS-CLIENT-PRINCIPAL": reader}) as page:
        page.goto(f"{url}/api/board")
        page.locator(".cell").first.wait_for()
        assert page.get_by_label("Function key").is_hidden()
        page.get_by_role("button", name="Hold 15-alpine").click()
        expect(page.locator("#act-problem")).to_contain_text("Basegate.Operator")


def test_what_failed_says_at_once_why_since_when_and_what_to_do(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App(SCENES["blocked"]())
    monkeypatch.setattr(bootstrap, "basegate", lambda: app)
    with serving() as url, looking(browser) as page:
        page.goto(f"{url}/api/board")
        give_key(page, KEY)
        expect(page.locator("#status")).to_have_text("1 failed, 1 restored, 1 stalled, 1 awaiting approval")
        failed = page.locator(".action-item").first
        for expected in ("failed", "ERROR: Invalid Color: Red", "39 min", "stays on 15-alpine-cb4"):
            expect(failed).to_contain_text(expected)
        failed.get_by_role("button", name="Rerun").wait_for()
        assert failed.evaluate("card => card.getBoundingClientRect().bottom < innerHeight / 2")


def test_a_page_follows_what_is_under_way(page: Page, world: World, url: str) -> None:
    world.push("15-alpine", digest("blue"))
    world.pass_time(1)
    page.goto(f"{url}/api/board/candidates/{newest(world).id}")
    expect(page.locator("#status")).to_have_text("Candidate examining")
    world.settle()
    expect(page.locator("#status")).to_have_text("Candidate passed")
    expect(page.locator("dl")).to_contain_text("promoted, unique tag 15-alpine-cb3 locked")


def test_the_log_of_a_running_check_is_seen_as_it_is_written_and_as_text_only(
    page: Page, world: World, url: str
) -> None:
    world.push("15-alpine", digest("blue"))
    while not newest(world).last.startswith("task check started"):
        world.next_item()
    run = next(reversed(world.tasks.runs.values()))
    run.log = "Step 1/4\n<b>Step 2/4</b>"
    page.goto(f"{url}/api/board/candidates/{newest(world).id}")
    live = page.locator("pre[data-live]")
    expect(live).to_have_text("Step 1/4\n<b>Step 2/4</b>")
    run.log += "\nStep 3/4"
    expect(live).to_contain_text("Step 3/4")
    assert live.locator("b").count() == 0


def test_the_whole_log_is_shown_although_a_key_is_needed(page: Page, world: World, url: str) -> None:
    page.goto(f"{url}/api/board/candidates/{newest(world).id}")
    page.get_by_role("link", name="Full log").click()
    expect(page.locator("#log-text")).to_contain_text("was successful")


def test_a_history_is_filtered_by_state_and_day(page: Page, url: str) -> None:
    page.goto(f"{url}/api/board/gates/node")
    rows = page.locator(".rows li")
    expect(rows).to_have_count(2)
    page.get_by_label("From").fill("2026-03-02")
    page.get_by_role("button", name="Show").click()
    expect(rows).to_have_text(["None."])
    assert "since=2026-03-02" in page.url
    expect(page.get_by_label("From")).to_have_value("2026-03-02")


def test_the_history_of_an_app_leads_to_its_rollouts(page: Page) -> None:
    page.get_by_role("link", name="hello-world", exact=True).click()
    page.get_by_role("heading", name="History of hello-world").wait_for()
    page.locator(".rows a").first.click()
    page.get_by_role("heading", name="Timeline").wait_for()


def test_a_refresh_changes_what_changed_and_nothing_else(page: Page, world: World) -> None:
    mark = "for (const node of document.querySelectorAll('#fragment *')) node.marked = true"
    page.evaluate(mark)
    page.get_by_role("button", name="Rebuild hello-world").focus()
    world.operate.gates.hold("node", "15-alpine", until="lifted", who=Who.of("mara", "a quiet weekend")).act()  # type: ignore[arg-type]
    refresh(page)
    page.locator(".action-item").wait_for()
    new = page.evaluate(
        "[...document.querySelectorAll('#fragment *')].filter(node => !node.marked).map(n => n.className)"
    )
    kept = page.locator(".app *").evaluate_all("nodes => nodes.every(node => node.marked)")
    assert kept
    assert len(new) < 20
    expect(page.get_by_role("button", name="Rebuild hello-world")).to_be_focused()


def test_what_was_unfolded_stays_unfolded(page: Page, world: World) -> None:
    for number in range(5):
        world.push(f"15.{number}", digest(f"version {number}"))
        world.settle()
    refresh(page)
    page.get_by_text("2 more tags without problems").click()
    world.push("15.99", digest("another"))
    world.pass_time(1)
    refresh(page)
    page.locator(".cell.busy").first.wait_for()
    expect(page.locator("details .row").first).to_be_visible()


def test_without_any_change_a_refresh_touches_nothing(page: Page) -> None:
    page.evaluate(
        "window.seen = 0; new MutationObserver(all => (window.seen += all.length))"
        ".observe(document.getElementById('fragment'), {subtree: true, childList: true, attributes: true})"
    )
    refresh(page)
    assert page.evaluate("window.seen") == 0


def test_what_was_known_stays_when_basegate_cannot_be_reached(page: Page) -> None:
    page.route("**/fragments/**", lambda route: route.abort())
    page.evaluate("document.dispatchEvent(new Event('basegate:changed'))")
    expect(page.locator("#problem")).to_contain_text("cannot be reached. The data is as of 12:0")
    assert page.locator(".cell").count() == 6
    page.unroute("**/fragments/**")
    refresh(page)
    expect(page.locator("#problem")).to_be_hidden()


def test_who_wants_less_motion_sees_none(page: Page, world: World) -> None:
    world.push("15-alpine", digest("blue"))
    world.pass_time(1)
    refresh(page)
    turning = "getComputedStyle(document.querySelector('.busy > .glyph')).animationName"
    page.locator(".cell.busy").first.wait_for()
    assert page.evaluate(turning) == "turn"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(turning) == "none"


def refresh(page: Page) -> None:
    """Let the page look again now, and wait until it has."""
    with page.expect_response("**/fragments/**"):
        page.evaluate("document.dispatchEvent(new Event('basegate:changed'))")
    page.evaluate("new Promise(done => setTimeout(done, 50))")
