"""The findings of a scan on the page of a candidate."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest

from shared import bootstrap
from shared.board.buttons import Ask, Day
from shared.board.findings import FindingsSection
from shared.board.overview import overview_page
from shared.board.parts import Item
from shared.board.records import candidate_page
from shared.checks.approval import ApprovalCheck
from shared.domain.candidate import CandidateState
from shared.domain.errors import Malformed, Retry
from tests.fakes import World
from tests.triggers.test_board import App, fragment, get, text
from tests.unit.test_exceptions_granted import BOB, ask, granted, listed
from tests.unit.test_findings_shown import promoted_then_failed
from tests.unit.test_rescan import at_risk, promoted
from tests.unit.test_scan_check import GREEN, OPENSSL, SCAN, accepted, change, push, scan_world, will_report


def page_of(world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    app = App(world)
    monkeypatch.setattr(bootstrap, "basegate", lambda: app)
    return text(get(fragment("candidate"), candidate=world.candidate(GREEN).id))


def cells(page: str) -> list[str]:
    rows = re.findall(r'<tr role="row" data-key="CVE.*?</tr>', page, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in rows]


def test_the_page_lists_the_findings_those_that_fail_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cells(page_of(promoted_then_failed(), monkeypatch)) == [
        "CVE-2026-1 high new openssl 3.0.1 3.0.2 fails severity: high Accept until… CVE-2026-1 in openssl",
        "CVE-2026-2 low zlib 3.0.1 3.0.2 no rule matches",
    ]


def test_the_page_says_which_exception_covers_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    world = promoted_then_failed()
    change(world, SCAN, exceptions=(accepted(),))
    assert "the exception of ada for CVE-2026-1" in cells(page_of(world, monkeypatch))[0]


def test_an_image_without_findings_is_said_to_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    world = scan_world()
    push(world)
    assert "No vulnerability was found" in page_of(world, monkeypatch)


def test_the_page_of_a_promoted_image_says_what_fails_it_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    found = "1 of 2 findings fails: CVE-2026-1 in openssl"
    assert f"Under the rules and exceptions of today: {found}" in page_of(at_risk(), monkeypatch)
    assert "exceptions of today" not in page_of(promoted(), monkeypatch)
    assert "exceptions of today" not in page_of(promoted_then_failed(), monkeypatch), "the page begins with it"


def test_a_candidate_without_a_scan_has_no_such_section(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.push("15-alpine", GREEN)
    world.settle()
    assert "Findings" not in page_of(world, monkeypatch)


def test_while_the_archive_is_away_the_page_stands_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    world = promoted_then_failed()

    def away(place: str) -> str:
        raise Retry(f"reading {place}: 503")

    monkeypatch.setattr(world.archive, "read", away)
    page = page_of(world, monkeypatch)
    assert "The findings cannot be read now: reading" in page
    assert "Rerun" in page
    assert "Timeline" in page


# Exceptions: asked for, granted and ended by buttons.


def section(world: World) -> FindingsSection:
    shown = candidate_page(world.services, world.candidate(GREEN).id, world.clock.now()).findings
    assert shown is not None
    return shown


def labels(item: Item) -> list[str]:
    return [action.label for action in item.actions]


def test_what_fails_can_be_accepted_until_a_day_that_the_call_takes() -> None:
    world = promoted_then_failed()
    failing, other = section(world).rows
    (button,) = failing.actions
    package, until = button.asks
    assert isinstance(package, Ask)
    assert isinstance(until, Day)
    assert (button.label, button.path, other.actions) == ("Accept until…", "v1/gates/node/exceptions", ())
    assert [choice.value for choice in package.choices] == ["openssl", "openssl@3.0.1"]
    assert until.first < until.value < until.last
    for day in (until.first, until.last):
        assert ask(world, day).effects
    for day, step in ((until.first, -1), (until.last, 1)):
        with pytest.raises(Malformed):
            ask(world, f"{date.fromisoformat(day) + timedelta(days=step)}")


def test_what_puts_a_promoted_image_at_risk_can_be_accepted() -> None:
    world = at_risk()
    failing, other = section(world).rows
    assert [action.label for action in failing.actions] == ["Accept until…"]
    assert other.actions == ()
    ask(world).act()
    assert (section(world).rows[0].is_requested, section(world).rows[0].actions) == (True, ())


def test_an_image_that_did_not_fail_offers_to_accept_nothing() -> None:
    world = scan_world(SCAN, ApprovalCheck())
    will_report(world, OPENSSL)
    push(world)
    ask(world).act()
    (asked,) = listed(world)
    world.operate.exceptions.grant("node", asked.id, BOB).act()
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.AWAITING_APPROVAL
    (row,) = section(world).rows
    assert (row.item.outcome, row.actions) == ("exception", ())


def test_a_request_is_granted_or_denied_on_the_page_and_on_the_overview() -> None:
    world = promoted_then_failed()
    ask(world).act()
    (asked,) = listed(world)
    shown = section(world)
    (item,) = shown.exceptions
    assert (item.state, labels(item)) == ("exception requested", ["Grant", "Deny"])
    assert [(action.method, action.path) for action in item.actions] == [
        ("POST", f"v1/gates/node/exceptions/{asked.id}/grant"),
        ("DELETE", f"v1/gates/node/exceptions/{asked.id}"),
    ]
    assert (shown.rows[0].is_requested, shown.rows[0].actions) == (True, ())
    overview = overview_page(world.services, world.clock.now())
    assert item in overview.action_items
    assert "1 exception requested" in overview.headline


def test_a_granted_one_can_be_ended_and_needs_no_attention() -> None:
    world = promoted_then_failed()
    granted(world)
    (item,) = section(world).exceptions
    assert (item.state, labels(item)) == ("exception granted", ["End exception"])
    assert item.reason == "ada, granted by bob: TLS ends before it; bob: agreed"
    states = [one.state for one in overview_page(world.services, world.clock.now()).action_items]
    assert "exception granted" not in states
    assert "exception requested" not in states


def test_a_denied_request_is_gone_and_may_be_made_again() -> None:
    world = promoted_then_failed()
    ask(world).act()
    (asked,) = listed(world)
    world.operate.exceptions.end("node", asked.id, BOB).act()
    shown = section(world)
    assert (shown.exceptions, len(shown.rows[0].actions)) == ((), 1)


def test_a_request_about_another_package_is_not_shown_with_an_image() -> None:
    world = promoted_then_failed()
    ask(world, package="curl").act()
    shown = section(world)
    assert (shown.exceptions, shown.rows[0].is_requested) == ((), False)


def test_text_of_a_report_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    world = scan_world()
    will_report(world, OPENSSL | {"Title": "<script>alert(1)</script>"})
    push(world)
    page = page_of(world, monkeypatch)
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
