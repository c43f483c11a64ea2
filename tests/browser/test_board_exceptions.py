"""Exceptions by the buttons of the board, on a phone: asked for by one person, granted or denied by another."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from shared import bootstrap
from shared.operations import Who
from tests.browser.conftest import PHONE, looking
from tests.browser.test_board_access import assert_it_fits, violations
from tests.fakes import World
from tests.served import App
from tests.unit.test_findings_shown import promoted_then_failed
from tests.unit.test_scan_check import GREEN, SCAN, change

pytestmark = pytest.mark.browser

ADA, BOB = "ada@contoso.com", "bob@contoso.com"
APPROVER = base64.b64encode(json.dumps({"claims": [{"typ": "roles", "val": "Basegate.Approver"}]}).encode()).decode()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """The newest image fails its scan; exceptions need two persons, who sign in."""
    monkeypatch.setenv("BASEGATE_SIGN_IN", "easy-auth")
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")
    world = promoted_then_failed()
    change(world, msgspec.structs.replace(SCAN, two_persons=True))
    app = App(world)
    monkeypatch.setattr(bootstrap, "basegate", lambda: app)
    return world


@contextmanager
def signed_in(browser: Browser, name: str, address: str) -> Iterator[Page]:
    """A page of the board on the phone of an approver."""
    headers = {"X-MS-CLIENT-PRINCIPAL": APPROVER, "X-MS-CLIENT-PRINCIPAL-NAME": name}
    with looking(browser, viewport=PHONE, has_touch=True, extra_http_headers=headers) as page:
        page.goto(address)
        yield page


def candidate(world: World, url: str) -> str:
    return f"{url}/api/board/candidates/{world.candidate(GREEN).id}"


def act(page: Page, reason: str) -> None:
    """Give the reason in the dialog, and confirm."""
    page.locator("#act-effects li").first.wait_for()
    page.get_by_label("Why").fill(reason)
    page.locator("#act-go").click()
    expect(page.locator("#act")).to_be_hidden()


def fits_a_finger(button: Locator) -> bool:
    box = button.bounding_box()
    return box is not None and box["height"] >= 44 and box["x"] + box["width"] <= PHONE["width"]


def test_one_person_asks_for_an_exception_and_another_one_grants_it(browser: Browser, world: World, url: str) -> None:
    with signed_in(browser, ADA, candidate(world, url)) as page:
        accept = page.get_by_role("button", name="Accept until… CVE-2026-1 in openssl")
        accept.wait_for()
        assert_it_fits(page)
        assert fits_a_finger(accept)
        accept.click()
        expect(page.locator("#act-title")).to_have_text("Ask to accept CVE-2026-1 in openssl")
        page.get_by_label("In", exact=True).select_option("openssl@3.0.1")
        day = page.get_by_label("Until the end of")
        day.fill("2029-01-01")
        expect(page.locator("#act-problem")).to_contain_text("more than a year")
        expect(page.locator("#act-go")).to_be_disabled()
        day.fill("2026-06-30")
        expect(page.locator("#act-effects")).to_contain_text("CVE-2026-1 in openssl@3.0.1 until 2026-06-30")
        assert fits_a_finger(day)
        assert fits_a_finger(page.locator("#act-go"))
        act(page, "TLS ends before it")
        expect(page.locator(".findings tr.bad")).to_contain_text("exception requested")
        page.get_by_role("button", name="Grant").click()
        expect(page.locator("#act-problem")).to_contain_text("requires another person")
        expect(page.locator("#act-go")).to_be_disabled()
    with signed_in(browser, BOB, f"{url}/api/board") as page:
        request = page.locator(".action-item", has_text="exception requested")
        expect(request).to_contain_text(f"{ADA}: TLS ends before it")
        assert_it_fits(page)
        grant = request.get_by_role("button", name="Grant")
        assert fits_a_finger(grant)
        grant.click()
        act(page, "agreed")
        expect(request).to_have_count(0)
    world.settle()
    assert world.stable_tag() == GREEN


def test_a_request_is_denied_on_the_page_of_the_image(browser: Browser, world: World, url: str, axe: str) -> None:
    who = Who.of(ADA, "TLS ends before it")
    world.operate.exceptions.ask("node", "CVE-2026-1", "2026-06-30", "openssl", who).act()
    with signed_in(browser, BOB, candidate(world, url)) as page:
        page.get_by_role("button", name="Deny").wait_for()
        assert violations(page, axe) == []
        page.get_by_role("button", name="Deny").click()
        act(page, "it is reachable")
        accept = page.get_by_role("button", name="Accept until…")
        expect(page.get_by_role("button", name="Deny")).to_have_count(0)
        accept.click()
        page.locator("#act-effects li").first.wait_for()
        assert violations(page, axe) == []
