"""What operators and programs see of a scan: the query, SARIF, the board's page and the command."""

from __future__ import annotations

import io
import json

import msgspec
import pytest
from rich.console import Console

from basegate_cli import show
from shared.board.overview import overview_page
from shared.board.records import candidate_page
from shared.domain.candidate import CandidateState, Verdict
from shared.domain.errors import NotFound
from shared.findings.model import Severity
from shared.findings.read import read_report
from shared.findings.rules import Condition
from shared.queries.findings import Findings, ScanFindings
from shared.queries.records import Queries
from tests.fakes import World, sample_policy
from tests.unit.operators import rerun
from tests.unit.test_rescan import RESCAN, alarms, at_risk, promoted, rescanned, rescans, swept
from tests.unit.test_scan_check import GREEN, OPENSSL, RED, SCAN, ZLIB, accepted, change, push, scan_world, will_report


def shown(world: World) -> Findings:
    return ScanFindings(world.services).of_candidate(world.candidate(GREEN).id)


def promoted_then_failed() -> World:
    """A world whose promoted image has one finding, and whose newest image has another one, too, which fails."""
    world = scan_world()
    will_report(world, ZLIB)
    push(world, RED)
    will_report(world, ZLIB, OPENSSL)
    push(world)
    return world


def test_what_fails_comes_first_and_says_what_is_new_and_what_fixes_it() -> None:
    found = shown(promoted_then_failed())
    first, second = found.items
    assert (first.vulnerability, first.outcome, first.is_new) == ("CVE-2026-1", "fails", True)
    assert (first.fixed_in, first.condition) == (("3.0.2",), "severity: high")
    assert (second.vulnerability, second.outcome, second.is_new) == ("CVE-2026-2", "", False)
    assert (found.verdict, found.counts) == (Verdict.FAILED, {Severity.HIGH: 1, Severity.LOW: 1})


def test_without_a_promoted_image_nothing_is_said_to_be_new() -> None:
    world = scan_world()
    will_report(world, OPENSSL)
    push(world)
    assert [one.is_new for one in shown(world).items] == [None]


def test_the_rules_and_exceptions_of_today_decide_what_is_shown() -> None:
    world = promoted_then_failed()
    change(world, SCAN, exceptions=(accepted(),))
    (covered,) = (one for one in shown(world).items if one.vulnerability == "CVE-2026-1")
    assert (covered.outcome, "ada" in covered.covered_by, "not reachable" in covered.covered_by) == (
        "exception",
        True,
        True,
    )


def test_under_rules_that_do_not_scan_any_more_the_recorded_verdict_is_shown() -> None:
    world = promoted_then_failed()
    change(world, msgspec.structs.replace(SCAN, task="another-scanner"))
    found = shown(world)
    assert (found.verdict, "CVE-2026-1" in found.reason) == (Verdict.FAILED, True)
    assert "does not scan like this any more" in found.warnings[0]
    assert {one.outcome for one in found.items} == {""}


@pytest.mark.parametrize("task", ["scan-node", "another-scanner"])
def test_of_two_scans_the_one_that_fails_is_shown(task: str) -> None:
    lenient = msgspec.structs.replace(SCAN, task=task, fail_on=(Condition(severity=Severity.CRITICAL),))
    world = scan_world(lenient, SCAN)
    will_report(world, OPENSSL)
    push(world)
    assert [check.verdict for check in world.candidate(GREEN).checks] == [Verdict.PASSED, Verdict.FAILED]
    assert (shown(world).verdict, shown(world).items[0].outcome) == (Verdict.FAILED, "fails")


def test_a_candidate_without_a_report_has_no_findings_to_show() -> None:
    world = scan_world()
    world.tasks.log_of = lambda run: "no report"
    push(world)
    with pytest.raises(NotFound, match="no report of a scan"):
        shown(world)


def test_a_scan_without_a_verdict_is_unknown_on_the_board_and_in_the_command_until_it_runs_again() -> None:
    world = scan_world()
    world.tasks.log_of = lambda run: "no report"
    push(world)
    stalled = world.candidate(GREEN)
    page = candidate_page(world.services, stalled.id, world.clock.now())
    assert [(step.state, step.severity.value) for step in page.steps] == [("unknown", "waiting")]
    assert page.state == "stalled"
    printed = io.StringIO()
    story, _ = Queries(world.services).candidate(stalled.id)
    Console(file=printed, width=200).print(show.story(json.loads(msgspec.json.encode(story))))
    assert "check scan: unknown: run" in printed.getvalue()
    will_report(world)
    world.pass_time(86_400)
    assert world.stable_tag() == GREEN


def test_as_sarif_the_findings_are_read_back_with_their_suppressions() -> None:
    world = promoted_then_failed()
    change(world, SCAN, exceptions=(accepted(),))
    document = ScanFindings(world.services).sarif(world.candidate(GREEN).id)
    report = read_report([msgspec.json.encode(document)], "sarif")
    assert {one.vulnerability: one.severity for one in report.findings} == {
        "CVE-2026-1": Severity.HIGH,
        "CVE-2026-2": Severity.LOW,
    }
    (suppressed,) = (one for one in document["runs"][0]["results"] if "suppressions" in one)
    assert suppressed["ruleId"] == "CVE-2026-1"


def test_an_address_in_a_report_that_is_no_web_page_is_left_out_of_sarif() -> None:
    world = scan_world()
    will_report(world, OPENSSL | {"PrimaryURL": "javascript:alert(1)"})
    push(world)
    assert "javascript" not in json.dumps(ScanFindings(world.services).sarif(world.candidate(GREEN).id))


def test_the_command_shows_a_table_a_person_can_read() -> None:
    printed = io.StringIO()
    answer = json.loads(msgspec.json.encode(shown(promoted_then_failed())))
    Console(file=printed, width=120).print(show.findings(answer))
    text = printed.getvalue()
    assert text.index("CVE-2026-1") < text.index("CVE-2026-2")
    assert "openssl 3.0.1" in text
    assert "1 high, 1 low" in text


# Promoted images that are scanned again.


def test_a_failed_attempt_at_a_promoted_image_shows_its_own_report_and_not_that_of_a_rescan() -> None:
    world = promoted()
    will_report(world, ZLIB, OPENSSL)
    rerun(world, GREEN)
    world.settle()
    assert world.candidate(GREEN).state is CandidateState.FAILED
    will_report(world, ZLIB)
    rescanned(world)
    assert rescans(world)[0].owned
    found = shown(world)
    assert (found.verdict, found.scanned_again_at, found.total) == (Verdict.FAILED, None, 2)
    document = ScanFindings(world.services).sarif(found.candidate)
    assert {one["ruleId"] for one in document["runs"][0]["results"]} == {"CVE-2026-1", "CVE-2026-2"}


def test_an_attempt_that_is_newer_than_the_last_rescan_shows_its_own_report() -> None:
    world = at_risk()
    will_report(world, ZLIB)
    rerun(world, GREEN)
    world.settle()
    assert world.candidate(GREEN).attempt == 2
    assert (shown(world).verdict, shown(world).scanned_again_at, shown(world).total) == (Verdict.PASSED, None, 1)


def test_before_the_first_rescan_nothing_is_said_to_be_scanned_again() -> None:
    world = promoted()
    assert len(rescans(world)) == 1
    assert shown(world).scanned_again_at is None


def test_the_overview_says_first_what_fails_and_which_apps_run_on_it() -> None:
    gate = msgspec.structs.replace(sample_policy().gates["node"], checks=(RESCAN,))
    world = World(sample_policy(gates={"node": gate}))
    will_report(world)
    push(world)
    swept(world)
    will_report(world, OPENSSL)
    rescanned(world)
    (item,) = overview_page(world.services, world.clock.now()).action_items
    assert item.reason == "1 of 1 finding fails: CVE-2026-1 in openssl 3.0.1 (high, fixed in 3.0.2)"
    assert item.advice.startswith("1 new since it was promoted. On it: hello-world. No candidate that repairs it waits")


def test_the_risk_of_an_image_that_the_tag_has_left_needs_no_attention() -> None:
    world = at_risk()
    will_report(world)
    push(world, RED)
    assert alarms(world), "the next sweep ends it"
    assert [item.state for item in overview_page(world.services, world.clock.now()).action_items] == []
