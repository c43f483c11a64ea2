"""Rescans of promoted images: when they run, what they say, whom they tell, and what they leave alone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from basegate_cli import show
from shared.board.overview import overview_page
from shared.board.parts import Severity
from shared.board.records import Filter, gate_history
from shared.checks.approval import ApprovalCheck
from shared.checks.scan import ScanCheckKind
from shared.checks.task import TaskCheck
from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.candidate import CandidateState, Verdict
from shared.domain.errors import Misconfigured, Retry
from shared.domain.exception import ExceptionGrant
from shared.domain.policy import BaseRule, CheckRule, ExceptionRule
from shared.domain.rescan import Rescan
from shared.domain.stable_tag import Claim, StableTag, TagScan
from shared.findings.model import Severity as Degree
from shared.findings.rules import Condition
from shared.queries.findings import ScanFindings
from shared.queries.records import Queries
from shared.records.alarms import Alarms
from shared.sweep.jobs.rescan import RescanJob
from tests.fakes import FakeMeter, FakeRun, ProcessDied, World, digest, sample_policy
from tests.unit.operators import answer, gate_of, hold
from tests.unit.test_scan_check import (
    GREEN,
    OPENSSL,
    RED,
    SCAN,
    ZLIB,
    accepted,
    change,
    counted_reads,
    framed,
    push,
    report,
    scan_world,
    will_report,
)

RESCAN = msgspec.structs.replace(SCAN, rescan="24h")
DAY = 86_400
SCAN_SECONDS = 1800
"""The timeout of a scan."""


def promoted(*checks: CheckRule, exceptions: tuple[ExceptionRule, ...] = ()) -> World:
    """A world that scans again once a day, and whose promoted image has one finding, which does not fail."""
    world = scan_world(*(checks or (RESCAN,)), exceptions=exceptions)
    will_report(world, ZLIB)
    push(world)
    swept(world, 0)
    return world


def swept(world: World, seconds: float = 300) -> None:
    """A sweep after some time; the runs that it starts end before the next one."""
    world.pass_time(seconds)
    world.sweep_now()


def rescanned(world: World) -> None:
    """A day passes, and the promoted image is scanned again."""
    swept(world, DAY)
    swept(world)


def alarms(world: World, kind: AlarmKind = AlarmKind.AT_RISK) -> list[Alarm]:
    return [alarm for alarm in Alarms(world.services).active("gates/node") if alarm.kind is kind]


def scan(world: World) -> TagScan:
    found = world.stable().current_scan
    assert found is not None
    return found


def at_risk() -> World:
    """A world with a promoted image in which a rescan found more."""
    world = promoted()
    will_report(world, ZLIB, OPENSSL)
    rescanned(world)
    assert len(alarms(world)) == 1
    return world


def runs(world: World) -> int:
    return len(world.tasks.runs)


def written(world: World, before: dict[tuple[str, str, str], tuple[bytes, str]]) -> set[str]:
    """The kinds of records that a rescan writes, of those that were written."""
    changed = {key[0] for key, row in world.ledger.rows.items() if before.get(key) != row}
    return changed & {"StableTag", "Rescan", "Alarm"}


def counted_lists(world: World) -> list[type]:
    """From now on, the kinds of records that are listed."""
    real, listed = world.ledger.list, list[type]()

    def counting(kind: Any, *arguments: Any) -> Any:
        listed.append(kind)
        return real(kind, *arguments)

    world.ledger.list = counting  # type: ignore[method-assign,assignment]
    return listed


def rescans(world: World) -> list[Rescan]:
    return [stored.record for stored in world.ledger.list(Rescan, "node")]


def test_a_promoted_image_is_scanned_again_when_its_report_is_a_day_old_and_not_before() -> None:
    world = promoted()
    swept(world, DAY - 600)
    assert len(world.tasks.runs) == 1
    swept(world, 600)
    assert len(world.tasks.runs) == 2
    again = list(world.tasks.runs.values())[-1].values
    assert again["IMAGE"] == f"contosobaseartifacts.azurecr.io/node@{GREEN}"


def test_a_new_finding_puts_it_at_risk_and_tells_people_and_the_tag_stays() -> None:
    world = promoted()
    will_report(world, ZLIB, OPENSSL)
    rescanned(world)
    (alarm,) = alarms(world)
    assert "CVE-2026-1" in alarm.words
    assert "1 of them new since it was promoted" in alarm.words
    assert "no candidate that repairs it" in alarm.plan
    assert (world.stable_tag(), scan(world).at_risk, scan(world).new) == (GREEN, True, 1)
    assert scan(world).counts == {"high": 1, "low": 1}
    assert world.announcer.names.count("DriftFound") == 1


def test_a_digest_that_two_tags_point_to_is_scanned_once_and_judged_for_each() -> None:
    world = promoted()
    world.push("15.14", GREEN)
    world.settle()
    will_report(world, OPENSSL)
    rescanned(world)
    assert (runs(world), [alarm.subject for alarm in alarms(world)]) == (2, ["15-alpine", "15.14"])


def test_a_scan_gets_the_tag_that_points_to_the_image_now_and_alarms_name_it() -> None:
    world = promoted()
    world.push("15.14", GREEN)
    world.settle()
    will_report(world)
    push(world, RED)
    swept(world)
    world.tasks.failing[GREEN] = "ERROR: the image cannot be read"
    swept(world, DAY)
    assert [run.values["TAG"] for run in world.tasks.runs.values() if GREEN in run.values["IMAGE"]][1:] == ["15.14"]
    for _ in range(6):
        swept(world)
    assert "cannot scan 15.14 (" in alarms(world, AlarmKind.NOT_RESCANNED)[0].words


@pytest.mark.parametrize("first", [True, False])
def test_of_two_rules_for_the_same_run_the_shorter_interval_counts(first: bool) -> None:
    often = msgspec.structs.replace(RESCAN, rescan="12h", fail_on=(Condition(severity=Degree.CRITICAL),))
    world = promoted(*((often, RESCAN) if first else (RESCAN, often)))
    before = runs(world)
    swept(world, DAY / 2)
    assert runs(world) == before + 1


def test_one_scan_at_a_time_runs_for_a_gate() -> None:
    world = promoted()
    world.push("15.14", RED)
    world.settle()
    world.tasks.seconds = 400
    swept(world, DAY)
    assert runs(world) == 3
    swept(world, 300)
    assert runs(world) == 3, "the first one still runs"
    swept(world, 300)
    assert runs(world) == 4


def test_a_newer_database_in_another_report_makes_it_due_earlier() -> None:
    world = promoted()
    built_at = {GREEN: "2026-03-01T00:00:00Z", RED: "2026-03-01T12:00:00Z"}

    def log_of(run: FakeRun) -> str:
        digest = GREEN if GREEN in run.values["IMAGE"] else RED
        scanner = {"Name": "stand-in", "Version": "1", "AdvisoriesModified": built_at[digest]}
        document = msgspec.json.decode(report(run.values["IMAGE"], ZLIB)) | {"StandIn": scanner}
        return framed(run, msgspec.json.encode(document))

    world.tasks.log_of = log_of
    rescanned(world)
    assert runs(world) == 2
    swept(world, DAY / 2)
    assert runs(world) == 2
    world.push("15.14", RED)
    world.settle()
    swept(world)
    assert runs(world) == 4, "the push, and the image with the older database"


def test_it_ends_without_another_run_when_an_exception_covers_the_finding() -> None:
    world = at_risk()
    change(world, RESCAN, exceptions=(accepted(),))
    swept(world)
    assert (alarms(world), scan(world).at_risk, runs(world)) == ([], False, 2)
    assert world.announcer.names.count("DriftResolved") == 1


def test_it_ends_when_the_tag_has_moved_to_an_image_that_passes_and_nothing_of_the_rescan_is_left() -> None:
    world = at_risk()
    will_report(world, ZLIB)
    push(world, RED)
    swept(world)
    assert (alarms(world), world.stable_tag(), scan(world).at_risk) == ([], RED, False)
    assert [one.digest for one in rescans(world)] == [RED]
    logs = [name for name in world.archive.texts if name.endswith(".report.json")]
    assert len(logs) == 2, "those of the two candidates"


def test_an_exception_that_ends_puts_at_risk_what_it_let_pass() -> None:
    world = scan_world(RESCAN, exceptions=(accepted(until="2026-03-04"),))
    will_report(world, OPENSSL)
    push(world)
    swept(world)
    assert (world.stable_tag(), alarms(world)) == (GREEN, [])
    for _ in range(4):
        rescanned(world)
    (alarm,) = alarms(world)
    assert "CVE-2026-1" in alarm.words
    assert "new since" not in alarm.words
    assert scan(world).new == 0


def test_stricter_rules_judge_the_newest_report_again_without_a_run() -> None:
    world = promoted()
    change(world, msgspec.structs.replace(RESCAN, fail_on=(Condition(severity=Degree.LOW),)))
    swept(world)
    assert (len(alarms(world)), runs(world), world.stable_tag()) == (1, 1, GREEN)


def test_a_fix_that_grows_old_puts_it_at_risk_on_that_day() -> None:
    rule = msgspec.structs.replace(RESCAN, fail_on=(Condition(severity=Degree.LOW, age_of_fix="3d"),), rescan="90d")
    world = scan_world(rule)
    grype = {
        "descriptor": {"name": "grype", "version": "0.90.0"},
        "source": {"type": "image", "target": {"userInput": "x", "repoDigests": [f"x@{GREEN}"]}},
        "matches": [
            {
                "vulnerability": {
                    "id": "CVE-2026-2",
                    "severity": "Low",
                    "fix": {
                        "versions": ["2"],
                        "state": "fixed",
                        "available": [{"version": "2", "date": "2026-03-01", "kind": "release"}],
                    },
                },
                "artifact": {"name": "zlib", "version": "1", "purl": "pkg:apk/alpine/zlib@1"},
            }
        ],
    }
    world.tasks.log_of = lambda run: framed(run, msgspec.json.encode(grype))
    push(world)
    swept(world, DAY)
    assert (world.stable_tag(), alarms(world)) == (GREEN, [])
    swept(world, 3 * DAY)
    assert (len(alarms(world)), runs(world)) == (1, 1)


def test_with_new_only_an_image_is_compared_with_the_report_that_it_was_promoted_with() -> None:
    rule = msgspec.structs.replace(RESCAN, fail_on=(Condition(severity=Degree.LOW),), new_only=True)
    world = scan_world(rule, exceptions=(msgspec.structs.replace(accepted(), vulnerability="CVE-2026-2", package=""),))
    will_report(world, ZLIB)
    push(world)
    change(world, rule)
    rescanned(world)
    assert (world.stable_tag(), alarms(world)) == (GREEN, [])
    will_report(world, ZLIB, OPENSSL)
    rescanned(world)
    assert [scan(world).failing, scan(world).new, len(alarms(world))] == [1, 1, 1]


def test_a_report_whose_database_has_grown_old_is_still_judged() -> None:
    rule = msgspec.structs.replace(RESCAN, max_database_age="2d")
    world = scan_world(rule)

    def log_of(run: FakeRun) -> str:
        scanner = {"Name": "s", "Version": "1", "AdvisoriesModified": (world.clock.now()).isoformat()}
        document = msgspec.json.decode(report(run.values["IMAGE"], *found)) | {"StandIn": scanner}
        return framed(run, msgspec.json.encode(document))

    found = [ZLIB]
    world.tasks.log_of = log_of
    push(world)
    found.append(OPENSSL)
    swept(world)
    rescanned(world)
    assert len(alarms(world)) == 1
    world.tasks.failing["scan-node"] = "the scanner is away"
    for _ in range(4):
        rescanned(world)
    assert len(alarms(world)) == 1


def dated(world: World, built_at: datetime, *vulnerabilities: dict[str, str]) -> None:
    """From now on every scan reports these, with a database of that time."""
    scanner = {"Name": "stand-in", "Version": "1", "AdvisoriesModified": built_at.isoformat()}

    def log_of(run: FakeRun) -> str:
        document = msgspec.json.decode(report(run.values["IMAGE"], *vulnerabilities)) | {"StandIn": scanner}
        return framed(run, msgspec.json.encode(document))

    world.tasks.log_of = log_of


def promoted_with_limit() -> World:
    """A world whose database may be two days old, and is as old as the image's promotion."""
    world = scan_world(msgspec.structs.replace(RESCAN, max_database_age="2d"))
    dated(world, world.clock.now())
    push(world)
    swept(world, 0)
    return world


def test_what_a_database_that_is_too_old_finds_counts_and_its_age_is_told_after_three_times() -> None:
    world = promoted_with_limit()
    dated(world, world.clock.now(), OPENSSL)
    swept(world, 4 * DAY)
    swept(world)
    assert (len(alarms(world)), rescans(world)[0].failures) == (1, 1)
    assert alarms(world, AlarmKind.NOT_RESCANNED) == []
    for _ in range(4):
        swept(world)
    (alarm,) = alarms(world, AlarmKind.NOT_RESCANNED)
    assert "the scanner's database is 4 days old (max_database_age: 2d)" in alarm.words
    dated(world, world.clock.now() + timedelta(days=1), OPENSSL)
    rescanned(world)
    assert (len(alarms(world)), alarms(world, AlarmKind.NOT_RESCANNED), rescans(world)[0].failures) == (1, [], 0)


def test_a_database_that_is_too_old_takes_back_nothing_that_a_newer_one_found() -> None:
    world = promoted_with_limit()
    old = world.clock.now()
    dated(world, old + timedelta(days=1), OPENSSL)
    rescanned(world)
    kept = set(world.archive.texts)
    dated(world, old)
    swept(world, 4 * DAY)
    swept(world)
    assert (len(alarms(world)), rescans(world)[0].failures, set(world.archive.texts)) == (1, 1, kept)
    assert "days old" in rescans(world)[0].run.reason


# unknown


def test_a_scan_without_a_report_is_told_once_after_three_times_and_puts_nothing_at_risk() -> None:
    world = promoted()
    world.tasks.failing["scan-node"] = "ERROR: the database cannot be read"
    swept(world, DAY)
    for times in range(1, 4):
        assert alarms(world, AlarmKind.NOT_RESCANNED) == []
        swept(world)
        assert (rescans(world)[0].failures, runs(world)) == (times, times + 1)
        swept(world)
    (alarm,) = alarms(world, AlarmKind.NOT_RESCANNED)
    assert "the database cannot be read" in alarm.words
    assert (alarm.subject, alarms(world), scan(world).at_risk) == ("scan-node", [], False)
    before = runs(world)
    swept(world, DAY / 2)
    assert runs(world) == before, "then once a day"
    world.tasks.failing.clear()
    rescanned(world)
    assert alarms(world, AlarmKind.NOT_RESCANNED) == []
    about = [one for one in world.announcer.announced if one.data.get("kind") == AlarmKind.NOT_RESCANNED.value]
    assert [one.name for one in about] == ["DriftFound", "DriftResolved"]
    assert rescans(world)[0].failures == 0


def test_of_two_rules_for_the_same_task_one_alarm_tells_that_it_gives_no_report() -> None:
    world = promoted(RESCAN, msgspec.structs.replace(RESCAN, fail_on=(Condition(severity=Degree.CRITICAL),)))
    world.tasks.failing["scan-node"] = "ERROR: the database cannot be read"
    swept(world, DAY)
    for _ in range(6):
        swept(world)
    alarms = [one for one in world.sweep_now(dry_run=True).effects if "cannot scan" in one.subject]
    assert len(alarms) == 1


def test_what_a_scan_without_a_report_wrote_is_not_kept() -> None:
    world = promoted()
    kept = set(world.archive.texts)
    world.tasks.log_of = lambda run: "no report"
    rescanned(world)
    assert (set(world.archive.texts), rescans(world)[0].failures) == (kept, 1)


def test_of_the_reports_only_the_first_and_the_newest_are_kept() -> None:
    world = promoted()
    for _ in range(3):
        rescanned(world)
    assert len([name for name in world.archive.texts if name.endswith(".report.json")]) == 2


def test_an_image_that_was_promoted_without_this_scan_is_scanned_at_once_and_compared_from_then_on() -> None:
    world = promoted(SCAN)
    other = msgspec.structs.replace(RESCAN, task="scan-again", new_only=True)
    change(world, other)
    will_report(world, OPENSSL)
    swept(world)
    swept(world)
    assert (alarms(world), scan(world).counts) == ([], {"high": 1}), "its first report is what it is compared with"
    will_report(world, OPENSSL, ZLIB | {"Severity": "HIGH"})
    rescanned(world)
    assert (scan(world).failing, scan(world).new) == (1, 1)


# faults


def dying(world: World, name: str, *, after: bool) -> None:
    """The next call of a task's method kills the process, before or after it took effect."""
    real = getattr(world.tasks, name)

    def call(*arguments: Any) -> Any:
        setattr(world.tasks, name, real)
        if after:
            real(*arguments)
        raise ProcessDied

    setattr(world.tasks, name, call)


@pytest.mark.parametrize(("after", "started"), [(True, 2), (False, 2)])
def test_a_worker_that_dies_while_it_starts_a_scan_leaves_one_run(after: bool, started: int) -> None:
    world = promoted()
    dying(world, "start", after=after)
    with pytest.raises(ProcessDied):
        swept(world, DAY)
    world.restart()
    for _ in range(3):
        swept(world)
    assert runs(world) == started
    assert rescans(world)[0].last is not None
    scanned_at = scan(world).scanned_at
    assert scanned_at is not None
    assert world.clock.now() - scanned_at < timedelta(hours=1)


def test_a_service_that_does_not_answer_may_have_started_the_run_which_is_found_then() -> None:
    world = promoted()
    real = world.tasks.start

    def start(*arguments: Any) -> str:
        world.tasks.start = real  # type: ignore[method-assign]
        real(*arguments)
        raise Retry("504")

    world.tasks.start = start  # type: ignore[assignment,method-assign]
    swept(world, DAY)
    swept(world)
    swept(world)
    assert (runs(world), rescans(world)[0].failures) == (2, 0)


def test_a_task_that_may_not_be_run_is_told_and_scans_go_on_when_it_may() -> None:
    world = promoted()
    world.tasks.start_fault = Misconfigured("the app may not run the task", remedy="give it the role")
    swept(world, DAY)
    for _ in range(4):
        swept(world)
    (alarm,) = alarms(world, AlarmKind.NOT_RESCANNED)
    assert "give it the role" in alarm.words
    world.tasks.start_fault = None
    rescanned(world)
    assert (alarms(world, AlarmKind.NOT_RESCANNED), runs(world)) == ([], 2)


def test_a_run_that_cannot_be_read_is_read_later() -> None:
    world = promoted()
    swept(world, DAY)
    world.tasks.get_faults["scan-node"] = Retry("503")
    swept(world)
    assert (rescans(world)[0].failures, rescans(world)[0].run.reason) == (0, "503")
    world.tasks.get_faults.clear()
    swept(world)
    assert (runs(world), rescans(world)[0].failures) == (2, 0)


def test_a_run_that_can_never_be_read_counts_as_one_without_a_report_after_its_timeout_and_stops_no_other() -> None:
    world = promoted()
    world.push("15.14", RED)
    world.settle()
    swept(world, DAY)
    world.tasks.get_faults["scan-node"] = Misconfigured("the app may not read runs", remedy="give it the role")
    for _ in range(6):
        swept(world)
    assert ([one.failures for one in rescans(world)], runs(world)) == ([0, 0], 3)
    swept(world, SCAN_SECONDS)
    assert (sum(one.failures for one in rescans(world)), runs(world)) == (1, 4), "the other image is scanned"
    for _ in range(8):
        swept(world, SCAN_SECONDS + 300)
    (alarm,) = alarms(world, AlarmKind.NOT_RESCANNED)
    assert "give it the role" in alarm.words


def test_what_cannot_be_removed_now_is_removed_later_and_other_images_are_scanned_meanwhile() -> None:
    world = at_risk()
    will_report(world)
    push(world, RED)
    remove, left = world.archive.remove, {place for one in rescans(world) for place in one.owned}

    def away(place: str) -> None:
        raise Retry("the archive is away")

    world.archive.remove = away  # type: ignore[method-assign]
    swept(world, DAY)
    assert {one.digest for one in rescans(world)} == {GREEN, RED}
    scanned = runs(world)
    rescanned(world)
    assert runs(world) == scanned + 1
    world.archive.remove = remove  # type: ignore[method-assign]
    swept(world)
    swept(world)
    assert {one.digest for one in rescans(world)} == {RED}
    assert left
    assert left.isdisjoint(world.archive.texts)


def test_while_nothing_changes_a_sweep_writes_nothing_and_reads_no_report() -> None:
    world = at_risk()
    reads = counted_reads(world)
    before = dict(world.ledger.rows)
    swept(world)
    assert (written(world, before), reads) == (set(), [])


def test_the_exceptions_are_listed_once_for_a_gate_however_many_images_are_judged() -> None:
    world = scan_world(RESCAN, ApprovalCheck())
    for tag, content in {"15-alpine": GREEN, "15.14": RED}.items():
        world.push(tag, content)
        world.settle()
        answer(world, content, approved=True)
        world.settle()
    swept(world)
    will_report(world, OPENSSL)
    for _ in range(3):
        rescanned(world)
    swept(world)  # what was still running
    will_report(world, ZLIB)
    push(world, digest("blue"))
    assert len(alarms(world)) == 2
    change(world, RESCAN, ApprovalCheck(), exceptions=(accepted(vulnerability="CVE-2026-9"),))
    listed = counted_lists(world)
    world.pass_time(300)
    job = RescanJob(world.services, gate_of(world))
    world.sweep.run_job(job, world.clock.now() + timedelta(minutes=1), at_once=True)
    assert listed.count(ExceptionGrant) == 1
    assert "repairs it" in " ".join(alarm.plan for alarm in alarms(world))


def test_the_exceptions_are_listed_once_for_a_review_of_a_report() -> None:
    world = promoted()
    listed, kind = counted_lists(world), ScanCheckKind(world.services)
    assert kind.review(world.candidate(GREEN), world.candidate(GREEN).checks[0], RESCAN) is not None
    assert listed.count(ExceptionGrant) == 1


def test_a_dry_run_says_what_is_due_and_scans_nothing() -> None:
    world = promoted()
    world.pass_time(DAY)
    before = dict(world.ledger.rows)
    effects = world.sweep_now(dry_run=True).effects
    assert "scan again" in [one.what for one in effects]
    assert (runs(world), world.ledger.rows) == (1, before)


def test_a_stable_tag_that_is_being_moved_is_not_written() -> None:
    world = promoted()
    will_report(world, OPENSSL)
    stored = world.ledger.load(StableTag, "node", "15-alpine")
    assert stored is not None
    claim = Claim(mover="somebody", digest=RED, until=world.clock.now() + timedelta(days=3))
    world.ledger.save(stored, msgspec.structs.replace(stored.record, claim=claim))
    rescanned(world)
    assert (scan(world).at_risk, len(alarms(world))) == (False, 1)


def test_the_run_of_a_rescan_is_no_orphan_while_a_check_of_a_candidate_runs() -> None:
    world = promoted()
    world.tasks.seconds = 3600
    swept(world, DAY)
    world.push("15.14", RED)
    world.pass_time(10)
    assert world.candidate(RED).checks[0].is_running
    assert rescans(world)[0].is_running
    assert "ignore a run" not in [one.what for one in world.sweep_now().effects]


# rules


def test_whether_and_when_it_is_scanned_again_says_nothing_about_the_verdict() -> None:
    world = promoted(SCAN)
    change(world, RESCAN)
    push(world, GREEN)
    swept(world)
    assert (world.candidate(GREEN).attempt, gate_of(world).fingerprint, RESCAN.run_fingerprint) == (
        1,
        msgspec.structs.replace(gate_of(world), checks=(SCAN,)).fingerprint,
        SCAN.run_fingerprint,
    )


def test_without_the_rule_findings_are_counted_and_nothing_is_judged_or_run_again() -> None:
    world = promoted(SCAN)
    change(world, msgspec.structs.replace(SCAN, fail_on=(Condition(severity=Degree.LOW),)))
    rescanned(world)
    assert (alarms(world), runs(world), rescans(world)) == ([], 1, [])
    assert (scan(world).counts, scan(world).at_risk) == ({"low": 1}, False)


def test_when_the_rule_is_removed_the_alarm_ends_and_the_run_is_canceled() -> None:
    world = at_risk()
    world.tasks.seconds = 3600
    swept(world, DAY)
    change(world, SCAN)
    swept(world)
    assert (alarms(world), rescans(world), scan(world).at_risk) == ([], [], False)
    assert list(world.tasks.runs.values())[-1].cancelled


def test_when_the_scan_is_removed_the_alarm_ends() -> None:
    world = at_risk()
    change(world, TaskCheck(registry="base", task="base-import-node"))
    swept(world)
    assert (alarms(world), rescans(world)) == ([], [])


def test_when_a_scan_that_only_counted_findings_is_removed_its_counts_go() -> None:
    world = promoted(SCAN)
    assert scan(world).counts == {"low": 1}
    change(world, TaskCheck(registry="base", task="base-import-node"))
    swept(world)
    assert world.stable().scan is None


def test_of_two_scans_the_one_that_fails_puts_it_at_risk() -> None:
    other = msgspec.structs.replace(RESCAN, task="scan-too")
    world = promoted(RESCAN, other)

    def log_of(run: FakeRun) -> str:
        return framed(run, report(run.values["IMAGE"], *([OPENSSL] if run.task == "scan-too" else [ZLIB])))

    world.tasks.log_of = log_of
    rescanned(world)
    swept(world)
    (alarm,) = alarms(world)
    assert (scan(world).counts, scan(world).failing) == ({"low": 1, "high": 1}, 1)
    assert "CVE-2026-1" in alarm.words


# what repairs it, and what stands on it


def test_it_offers_the_candidate_that_passes_and_waits_for_a_person() -> None:
    world = scan_world(RESCAN, ApprovalCheck())
    push(world)
    answer(world, GREEN, approved=True)
    world.settle()
    swept(world)
    will_report(world, OPENSSL)
    rescanned(world)
    assert "no candidate" in alarms(world)[0].plan
    will_report(world)
    push(world, RED)
    swept(world)
    assert alarms(world)[0].plan == (
        f"candidate {world.candidate(RED).id} repairs it: its scan passes, and it is awaiting approval"
    )


def test_whether_a_waiting_candidate_repairs_it_is_read_once_and_again_when_the_rules_change() -> None:
    world = scan_world(RESCAN, ApprovalCheck())
    push(world)
    answer(world, GREEN, approved=True)
    world.settle()
    swept(world)
    will_report(world, OPENSSL)
    rescanned(world)
    will_report(world, ZLIB)
    push(world, RED)
    swept(world)
    change(world, RESCAN, ApprovalCheck(), exceptions=(accepted(vulnerability="CVE-2026-9"),))
    reads, place = counted_reads(world), world.candidate(RED).checks[0].evidence.report_blob
    for _ in range(3):
        swept(world)
    assert reads.count(place) == 1
    assert alarms(world)[0].plan.startswith(f"candidate {world.candidate(RED).id} repairs it")
    change(world, msgspec.structs.replace(RESCAN, fail_on=(Condition(severity=Degree.LOW),)), ApprovalCheck())
    swept(world)
    assert "no candidate that repairs it" in alarms(world)[0].plan


def test_a_candidate_that_fails_mends_nothing_and_one_that_is_held_does() -> None:
    world = at_risk()
    push(world, RED)
    swept(world)
    assert world.candidate(RED).state is CandidateState.FAILED
    assert "no candidate" in alarms(world)[0].plan
    hold(world)
    will_report(world)
    push(world, digest("blue"))
    swept(world)
    assert world.stable_tag() == GREEN
    assert alarms(world)[0].plan.endswith("its scan passes, and it is held")


def test_it_names_the_apps_that_run_on_it() -> None:
    gate = msgspec.structs.replace(sample_policy().gates["node"], checks=(RESCAN,))
    world = World(sample_policy(gates={"node": gate}))
    will_report(world)
    push(world)
    assert world.app().live is not None
    swept(world)
    will_report(world, OPENSSL)
    rescanned(world)
    assert "; hello-world on it" in alarms(world)[0].words


# the board


def test_the_overview_says_what_is_at_risk_and_how_old_the_scans_are() -> None:
    world = promoted()
    will_report(world, ZLIB, OPENSSL)
    rescanned(world)
    overview = overview_page(world.services, world.clock.now())
    (item,) = overview.action_items
    assert (item.state, item.severity, item.link) == (
        "at risk",
        Severity.BAD,
        f"candidates/{world.candidate(GREEN).id}",
    )
    assert "CVE-2026-1" in item.reason
    assert overview.headline == "1 at risk"
    (gate,) = overview.gates
    assert gate.scans == "1 tag at risk; 1 high, 1 lesser; scanned 4 min ago"
    stable = next(cell for cell in gate.rows[0].cells if cell.title == "Stable tag")
    assert (stable.state, stable.note) == ("at risk", "1 new, 1 fails; 1 high, 1 lesser; scanned 4 min ago")


def test_the_page_of_a_gate_lists_its_scans_those_at_risk_first() -> None:
    world = at_risk()
    will_report(world)
    world.push("15.14", RED)
    world.settle()
    swept(world)
    first, second = gate_history(world.services, "node", Filter()).scans
    assert (first.subject, first.state, first.severity) == ("15-alpine", "at risk", Severity.BAD)
    assert first.note.startswith("1 new, 1 fails; 1 high, 1 lesser; scanned ")
    assert "CVE-2026-1" in first.reason
    assert (second.subject, second.state) == ("15.14", "scanned")
    assert second.note.startswith("no findings; ")


def test_a_gate_that_does_not_scan_says_nothing_of_scans() -> None:
    world = World()
    push(world)
    swept(world)
    (gate,) = overview_page(world.services, world.clock.now()).gates
    assert (gate.scans, gate_history(world.services, "node", Filter()).scans) == ("", ())
    assert Queries(world.services).gate("node").stable[0].current_scan is None


# programs


def test_the_list_of_gates_has_the_scan_of_each_stable_tag() -> None:
    world = at_risk()
    (gate,) = msgspec.to_builtins(Queries(world.services).gates())["items"]
    found = gate["stable"][0]["scan"]
    assert (found["atRisk"], found["failing"], found["new"], found["counts"]) == (True, 1, 1, {"high": 1, "low": 1})
    assert "CVE-2026-1" in found["reason"]
    assert found["scannedAt"] is not None
    assert "at risk" in show.status_lines({"gates": [gate | {"latest": None}], "apps": []})[0]


def test_what_is_known_of_the_scans_of_an_earlier_digest_is_not_told_of_a_later_one() -> None:
    world = at_risk()
    will_report(world)
    push(world, RED)
    assert world.stable().scan is not None
    assert world.stable().current_scan is None
    assert Queries(world.services).gate("node").stable[0].current_scan is None


def test_the_findings_of_a_promoted_candidate_are_those_of_its_newest_scan() -> None:
    world = at_risk()
    found = ScanFindings(world.services).of_candidate(world.candidate(GREEN).id)
    assert [(one.vulnerability, one.is_new) for one in found.items] == [("CVE-2026-1", True), ("CVE-2026-2", False)]
    assert (found.verdict, found.scanned_again_at is not None) == (Verdict.FAILED, True)
    assert world.candidate(GREEN).state is CandidateState.PASSED


def test_metrics_have_the_findings_the_age_of_the_scan_and_the_risk_of_each_stable_tag() -> None:
    world = promoted()
    world.meter = meter = FakeMeter()
    world.restart()
    will_report(world, ZLIB, OPENSSL)
    rescanned(world)
    about = {"gate": "node", "tag": "15-alpine"}
    assert meter.value("basegate.at_risk", about) == 1
    assert meter.value("basegate.findings", about | {"severity": "high"}) == 1
    assert meter.value("basegate.findings", about | {"severity": "critical"}) == 0
    assert 0 < meter.value("basegate.scan.age", about) <= 300
    will_report(world)
    rescanned(world)
    assert meter.value("basegate.at_risk", about) == 0
    assert meter.value("basegate.findings", about | {"severity": "high"}) == 0


# apps


def behind() -> World:
    """A world whose app still runs on GREEN, while its stable tag has moved to RED."""
    gate = msgspec.structs.replace(sample_policy().gates["node"], checks=(RESCAN,))
    world = World(sample_policy(gates={"node": gate}))
    will_report(world)
    push(world)
    world.tasks.failing["hello-world"] = "the build fails"
    push(world, RED)
    assert world.stable_tag() == RED
    live = world.app().live
    assert live is not None
    assert live.base is not None
    assert live.base.digest == GREEN
    return world


def of_app(world: World) -> list[Alarm]:
    active = Alarms(world.services).active("apps/hello-world")
    return [alarm for alarm in active if alarm.kind is AlarmKind.AT_RISK]


def test_what_an_app_runs_on_is_scanned_again_though_no_stable_tag_points_to_it_any_more() -> None:
    world = behind()
    swept(world)
    will_report(world, OPENSSL)
    for _ in range(3):
        rescanned(world)
    (alarm,) = of_app(world)
    assert "hello-world runs on 15-alpine of gate node" in alarm.words
    assert "1 of them new since it was promoted" in alarm.words
    swept(world)  # what was still running
    before = dict(world.ledger.rows)
    swept(world)
    assert written(world, before) == set()
    world.tasks.failing.clear()
    will_report(world)
    push(world, digest("blue"))
    swept(world)
    assert (of_app(world), GREEN in {one.digest for one in rescans(world)}) == ([], False)


def test_an_app_that_moves_to_a_gate_without_rescans_has_no_alarm_of_its_last_gate() -> None:
    world = behind()
    swept(world)
    will_report(world, OPENSSL)
    for _ in range(3):
        rescanned(world)
    assert len(of_app(world)) == 1
    node, app = gate_of(world), world.policy.apps["hello-world"]
    plain = msgspec.structs.replace(
        node,
        name="plain",
        source=msgspec.structs.replace(node.source, repository="plain"),
        checks=(TaskCheck(registry="base", task="base-import-node"),),
        promote=msgspec.structs.replace(node.promote, repository="plain"),
    )
    moved = msgspec.structs.replace(app, base=BaseRule(gate="plain", tag="15-alpine"))
    gates = {"node": node, "plain": plain}
    world.use(msgspec.structs.replace(world.policy, gates=gates, apps={"hello-world": moved}))
    swept(world)
    assert of_app(world) == []
