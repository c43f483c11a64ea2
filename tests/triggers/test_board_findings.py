"""The findings of a scan on the page of a candidate."""

from __future__ import annotations

import re

import pytest

from shared import bootstrap
from shared.domain.errors import Retry
from tests.fakes import World
from tests.triggers.test_board import App, fragment, get, text
from tests.unit.test_findings_shown import promoted_then_failed
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
        "CVE-2026-1 high new openssl 3.0.1 3.0.2 fails severity: high",
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


def test_text_of_a_report_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    world = scan_world()
    will_report(world, OPENSSL | {"Title": "<script>alert(1)</script>"})
    push(world)
    page = page_of(world, monkeypatch)
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
