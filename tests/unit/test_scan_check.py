"""The scan check: from a run's log to a verdict, and what becomes of its report."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json

import msgspec
import pytest

from shared.checks import check_kinds
from shared.checks.approval import ApprovalCheck
from shared.checks.scan import ScanCheck
from shared.checks.task import TaskCheck
from shared.domain.candidate import CandidateState, ScanSummary, Verdict
from shared.domain.exception import StoredException
from shared.domain.image import Digest
from shared.domain.policy import CheckRule, ExceptionRule
from shared.findings.model import Severity
from shared.findings.rules import Condition
from shared.ports import RunStatus
from tests.fakes import FakeRun, World, digest, sample_policy
from tests.unit.operators import answer, gate_of, rerun

GREEN, RED = digest("green"), digest("red")
HIGH = Condition(severity=Severity.HIGH)
SCAN = ScanCheck(registry="base", task="scan-node", fail_on=(HIGH,))
OPENSSL = {
    "VulnerabilityID": "CVE-2026-1",
    "PkgName": "openssl",
    "InstalledVersion": "3.0.1",
    "FixedVersion": "3.0.2",
    "Severity": "HIGH",
}
ZLIB = OPENSSL | {"VulnerabilityID": "CVE-2026-2", "PkgName": "zlib", "Severity": "LOW"}


def scan_world(*checks: CheckRule, exceptions: tuple[ExceptionRule, ...] = ()) -> World:
    """A world whose gate scans, and whose scanner reports nothing."""
    gate = msgspec.structs.replace(sample_policy().gates["node"], checks=checks or (SCAN,))
    policy = msgspec.structs.replace(sample_policy(gates={"node": gate}, apps={}), exceptions=exceptions)
    world = World(policy)
    will_report(world)
    return world


def will_report(world: World, *vulnerabilities: dict[str, str]) -> None:
    """From now on every scan reports these."""

    def log_of(run: FakeRun) -> str:
        scans = "REPORT_NONCE" in run.values and run.status is RunStatus.SUCCEEDED
        return framed(run, report(run.values["IMAGE"], *vulnerabilities)) if scans else run.log

    world.tasks.log_of = log_of


def report(image: str, *vulnerabilities: dict[str, str], digests: list[str] | None = None) -> bytes:
    """A report of Trivy's."""
    named = [image] if digests is None else digests
    document = {
        "SchemaVersion": 2,
        "ArtifactName": image,
        "Metadata": {"RepoDigests": named},
        "Results": [{"Target": "os", "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": list(vulnerabilities)}],
    }
    return json.dumps(document).encode()


def framed(run: FakeRun, content: bytes, step: str = "scan") -> str:
    """The log of a run whose step prints a report."""
    nonce, packed = run.values["REPORT_NONCE"], base64.b64encode(gzip.compress(content)).decode()
    return (
        f"2026/11/30 12:00:00 Executing step ID: {step}. Timeout(sec): 600, Working directory: '', Network: 'x'\n"
        f"BASEGATE-REPORT-BEGIN {nonce} gzip+base64\n{packed}\n"
        f"BASEGATE-REPORT-END {nonce} {hashlib.sha256(content).hexdigest()}\n"
        f"2026/11/30 12:00:09 Successfully executed step ID: {step}\n"
    )


def push(world: World, pushed: Digest = GREEN) -> None:
    world.push("15-alpine", pushed)
    world.settle()


def summary(world: World) -> ScanSummary:
    found = world.candidate(GREEN).checks[0].evidence.scan
    assert found is not None
    return found


def change(world: World, *checks: CheckRule, exceptions: tuple[ExceptionRule, ...] = ()) -> None:
    gate = msgspec.structs.replace(gate_of(world), checks=checks)
    world.use(msgspec.structs.replace(world.policy, gates={"node": gate}, exceptions=exceptions))


def counted_reads(world: World) -> list[str]:
    """From now on, what is read from the archive."""
    read, reads = world.archive.read, list[str]()

    def counting(place: str) -> str:
        reads.append(place)
        return read(place)

    world.archive.read = counting  # type: ignore[method-assign]
    return reads


def swept(world: World) -> None:
    world.pass_time(3600)
    world.sweep_now()
    world.settle()


def accepted(until: str = "2026-12-31", vulnerability: str = "CVE-2026-1") -> ExceptionRule:
    return ExceptionRule(
        vulnerability=vulnerability, package="openssl", justification="not reachable", author="ada", until=until
    )


# verdicts


def test_an_image_without_findings_that_fail_passes_and_the_record_sums_up_what_was_found() -> None:
    world = scan_world()
    will_report(world, ZLIB)
    push(world)
    assert (world.stable_tag(), summary(world).counts, summary(world).failing) == (GREEN, {"low": 1}, 0)


def test_a_finding_that_fails_is_named_in_the_reason() -> None:
    world = scan_world()
    will_report(world, ZLIB, OPENSSL)
    push(world)
    candidate = world.candidate(GREEN)
    assert (candidate.state, world.stable_tag(), summary(world).failing) == (CandidateState.FAILED, None, 1)
    assert "CVE-2026-1" in candidate.reason
    assert "openssl" in candidate.reason
    assert "3.0.2" in candidate.reason


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "report"),
        (report("", digests=["publicregistry.azurecr.io/node@" + RED]), "not about"),
        (report("", digests=[]), "about no digest"),
        (report("x")[:-20], "report"),
        (b"[" * 100_000, "report"),
    ],
    ids=["empty", "of another image", "of no image", "cut off", "nested too deeply"],
)
def test_what_is_no_report_about_the_image_is_no_verdict(content: bytes, why: str) -> None:
    world = scan_world()
    world.tasks.log_of = lambda run: framed(run, content)
    push(world)
    check = world.candidate(GREEN).checks[0]
    assert (check.verdict, world.candidate(GREEN).state, world.stable_tag()) == (None, CandidateState.EXAMINING, None)
    assert why in check.reason


@pytest.mark.parametrize(
    ("stated", "named", "promoted"),
    [(GREEN, [], GREEN), (RED, [], None), (GREEN, ["publicregistry.azurecr.io/node@" + RED], None)],
    ids=["this image", "another one", "another one in the report itself"],
)
def test_a_frame_says_what_its_report_is_about_where_that_does_not(
    stated: Digest, named: list[str], promoted: Digest | None
) -> None:
    world = scan_world()
    content = report("", digests=named)
    world.tasks.log_of = lambda run: framed(run, content).replace("gzip+base64", f"gzip+base64 {stated}")
    push(world)
    assert world.stable_tag() == promoted


def test_a_scanner_that_fails_is_no_verdict_and_it_is_run_again_without_the_test_beside_it() -> None:
    world = scan_world(SCAN, TaskCheck(registry="base", task="base-import-node"))
    world.tasks.failing["scan-node"] = "ERROR: the database cannot be read"
    push(world)
    world.pass_time(200)
    assert world.candidate(GREEN).state_name == "stalled"
    assert "the database cannot be read" in world.candidate(GREEN).why
    world.tasks.failing.clear()
    world.pass_time(86_500)
    tasks = [run.task for run in world.tasks.runs.values()]
    assert (world.stable_tag(), tasks.count("base-import-node")) == (GREEN, 1)
    assert tasks.count("scan-node") > 1


def test_a_report_printed_by_another_step_is_not_believed() -> None:
    world = scan_world()
    world.tasks.log_of = lambda run: framed(run, report(run.values["IMAGE"]), step="other")
    push(world)
    assert "scan" in world.candidate(GREEN).checks[0].reason
    assert world.stable_tag() is None


def test_a_report_with_the_nonce_of_another_run_is_not_believed() -> None:
    world = scan_world()
    world.tasks.log_of = lambda run: framed(run, report(run.values["IMAGE"])).replace(
        run.values["REPORT_NONCE"], "0" * 16
    )
    push(world)
    assert "nonce" in world.candidate(GREEN).checks[0].reason


def test_every_run_gets_a_nonce_of_its_own() -> None:
    world = scan_world()
    world.tasks.log_of = lambda run: "no report"
    push(world)
    world.pass_time(200)
    nonces = [run.values["REPORT_NONCE"] for run in world.tasks.runs.values()]
    assert len(nonces) == len(set(nonces)) > 1


def test_only_what_the_promoted_image_does_not_have_fails_if_the_rules_say_so() -> None:
    world = scan_world(msgspec.structs.replace(SCAN, fail_on=(HIGH,), new_only=True), ApprovalCheck())
    will_report(world, OPENSSL)
    push(world, RED)
    assert world.candidate(RED).state is CandidateState.FAILED, "without a promoted image every finding is new"
    change(world, SCAN, exceptions=(accepted(),))
    swept(world)
    change(world, msgspec.structs.replace(SCAN, new_only=True))
    push(world)
    assert (world.candidate(GREEN).state, world.stable_tag()) == (CandidateState.PASSED, GREEN)


# judged again


def test_an_exception_in_the_rules_lets_a_failed_image_pass_without_another_run() -> None:
    world = scan_world()
    will_report(world, OPENSSL)
    push(world)
    change(world, SCAN, exceptions=(accepted(),))
    swept(world)
    candidate = world.candidate(GREEN)
    assert (candidate.attempt, candidate.state, world.stable_tag()) == (2, CandidateState.PASSED, GREEN)
    assert (len(world.tasks.runs), summary(world).covered) == (1, 1)


def test_of_many_exceptions_the_record_names_twenty_and_counts_the_others() -> None:
    found = [OPENSSL | {"VulnerabilityID": f"CVE-2026-{number}"} for number in range(25)]
    world = scan_world(exceptions=tuple(accepted(vulnerability=one["VulnerabilityID"]) for one in found))
    will_report(world, *found)
    push(world)
    used = summary(world)
    assert (len(used.exceptions), used.more_exceptions, used.covered, world.stable_tag()) == (20, 5, 25, GREEN)
    facts = check_kinds(world.services)["scan"].facts(world.candidate(GREEN).checks[0], world.candidate(GREEN).image)
    assert (len(facts.exceptions), facts.more_exceptions) == (20, 5)


def test_a_summary_that_another_version_wrote_is_readable() -> None:
    known = msgspec.to_builtins(StoredException.of(accepted()))
    written = {"exceptions": [known | {"gates": ["node"], "tags": [], "priority": "of a later version"}]}
    assert msgspec.convert(written, ScanSummary).exceptions == (StoredException.of(accepted()),)


def test_relaxed_rules_let_a_failed_image_pass_without_another_run() -> None:
    world = scan_world()
    will_report(world, OPENSSL)
    push(world)
    change(world, msgspec.structs.replace(SCAN, fail_on=(Condition(severity=Severity.CRITICAL),)))
    swept(world)
    assert (world.stable_tag(), len(world.tasks.runs)) == (GREEN, 1)


def test_a_failed_image_is_not_examined_again_while_its_report_fails() -> None:
    world = scan_world()
    will_report(world, OPENSSL)
    push(world)
    swept(world)
    swept(world)
    assert world.candidate(GREEN).attempt == 1


def test_the_report_of_a_failed_image_is_read_again_only_if_what_it_is_judged_by_has_changed() -> None:
    world = scan_world()
    will_report(world, OPENSSL)
    push(world)
    reads = counted_reads(world)
    for _ in range(3):
        swept(world)
    assert reads == []
    change(world, SCAN, exceptions=(accepted(),))
    swept(world)
    assert (len(reads) > 0, world.stable_tag()) == (True, GREEN)


def test_a_report_that_allows_no_verdict_is_not_stored() -> None:
    world = scan_world(msgspec.structs.replace(SCAN, max_database_age="1d"))
    push(world)
    assert world.candidate(GREEN).checks[0].verdict is None
    assert [name for name in world.archive.texts if "report" in name] == []


def test_stricter_rules_never_take_back_what_was_promoted() -> None:
    world = scan_world()
    will_report(world, ZLIB)
    push(world)
    change(world, msgspec.structs.replace(SCAN, fail_on=(Condition(severity=Severity.LOW),)))
    swept(world)
    assert (world.stable_tag(), len(world.tasks.runs)) == (GREEN, 1)


def test_stricter_rules_judge_a_waiting_image_again_without_another_run() -> None:
    world = scan_world(SCAN, ApprovalCheck())
    will_report(world, ZLIB)
    push(world)
    change(world, msgspec.structs.replace(SCAN, fail_on=(Condition(severity=Severity.LOW),)), ApprovalCheck())
    swept(world)
    assert (world.candidate(GREEN).state, len(world.tasks.runs)) == (CandidateState.FAILED, 1)


def test_an_exception_that_ends_while_a_person_thinks_counts_no_more() -> None:
    world = scan_world(SCAN, ApprovalCheck(), exceptions=(accepted(until="2026-03-03"),))
    will_report(world, OPENSSL)
    push(world)
    assert world.candidate(GREEN).state is CandidateState.AWAITING_APPROVAL
    world.pass_time(4 * 86_400)
    answer(world, GREEN, approved=True)
    world.settle()
    assert (world.candidate(GREEN).state, world.stable_tag()) == (CandidateState.FAILED, None)


def test_the_stored_log_and_its_last_lines_are_for_people_and_leave_the_report_out() -> None:
    world = scan_world()
    will_report(world, ZLIB)
    push(world)
    evidence = world.candidate(GREEN).checks[0].evidence
    assert "Successfully executed step ID: scan" in evidence.log_tail[-1]
    assert all("REPORT" not in line or "left out" in line for line in evidence.log_tail)
    assert "H4sI" not in world.archive.texts[evidence.log_blob]


def test_a_rerun_scans_again() -> None:
    world = scan_world()
    will_report(world, OPENSSL)
    push(world)
    will_report(world)
    rerun(world, GREEN)
    world.settle()
    assert (world.stable_tag(), len(world.tasks.runs)) == (GREEN, 2)


def test_without_its_stored_report_an_image_is_scanned_again_when_the_rules_change() -> None:
    world = scan_world(SCAN, ApprovalCheck())
    push(world)
    world.archive.texts.clear()
    change(world, msgspec.structs.replace(SCAN, fail_on=(Condition(severity=Severity.LOW),)), ApprovalCheck())
    swept(world)
    assert (world.candidate(GREEN).checks[0].verdict, len(world.tasks.runs)) == (Verdict.PASSED, 2)
