"""The reports of scans that are attached to promoted images, as SARIF and CycloneDX, beside the decision record."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from shared.attestation.envelope import bundle, load_keys, payload_of
from shared.attestation.proof import proof
from shared.attestation.statement import Decision
from shared.checks.scan import ScanCheckKind
from shared.checks.task import TaskCheck
from shared.domain.candidate import CheckRecord
from shared.domain.dsse import BUNDLE_TYPE
from shared.domain.errors import Retry
from shared.domain.image import Digest, ImageRef, Repository
from shared.domain.policy import CheckRule, ExceptionRule, RegistryRule
from shared.findings.documents import LIMIT_BYTES, LIMIT_FINDINGS, documents
from shared.findings.judge import judge
from shared.findings.model import Finding, Package, Rating, Report, Scanner, Secret, Severity, Subject
from shared.findings.read import read_report
from shared.findings.vex import Product, Statement, Status
from shared.ports import Artifact
from shared.settings import APP_ROOT
from tests.fakes import START, FakeRun, World
from tests.fakes.registries import FakeSigner
from tests.fakes.world import ProcessDied
from tests.unit.operators import rerun
from tests.unit.test_rescan import RESCAN, rescanned
from tests.unit.test_scan_check import (
    GREEN,
    OPENSSL,
    SCAN,
    ZLIB,
    accepted,
    change,
    framed,
    push,
    scan_world,
    swept,
    will_report,
)
from tests.unit.test_scan_check import report as report_of

IMAGE = ImageRef("contosobaseartifacts.azurecr.io", Repository("node"), GREEN)
SARIF, CYCLONEDX = "application/sarif+json", "application/vnd.basegate.cyclonedx-vdr+json"
REPORTS = APP_ROOT / "tests/data/reports"
BROKEN = ("osv-empty-file.json", "sarif-no-runs.sarif", "trivy-legacy-null.json")
SAMPLES = sorted(one.name for one in REPORTS.glob("*-*.*") if one.suffix != ".txt" and one.name not in BROKEN)


def signing_world(*checks: CheckRule, exceptions: tuple[ExceptionRule, ...] = ()) -> World:
    """A world whose gate scans and signs decision records."""
    world = scan_world(*checks, exceptions=exceptions)
    world.signer = FakeSigner()
    world.restart()
    return world


def attached(world: World, artifact_type: str = "") -> list[Artifact]:
    """What is attached to the image beside the record itself, or what of it has a type."""
    found = [one for one in world.registry.attached.get(GREEN, []) if one.media_type != BUNDLE_TYPE]
    return [one for one in found if artifact_type in ("", one.artifact_type)]


def decision(world: World) -> Decision:
    assert isinstance(world.signer, FakeSigner)
    keys, found = load_keys(world.signer.public_key), world.registry.attached[GREEN]
    proofs = [proof(one.content, keys, GREEN).decision for one in found if one.media_type == BUNDLE_TYPE]
    (made,) = filter(None, proofs)
    return made


def named(world: World) -> dict[str, str]:
    """The hashes of the documents in the decision, by name."""
    pieces = [piece for check in decision(world).checks for piece in check.evidence]
    return {one.name: one.digest["sha256"] for one in pieces if one.name in ("sarif", "cyclonedx")}


def found(name: str, **changes: Any) -> Finding:
    package = Package(name=name, version="1", purl=f"pkg:deb/debian/{name}@1")
    given: dict[str, Any] = {"vulnerability": "CVE-2026-1", "package": package, "severity": Severity.HIGH}
    return Finding(**(given | changes))


def read(sample: str) -> Report:
    with (REPORTS / sample).open("rb") as stream:
        return read_report(stream)


def written(report: Report, *exceptions: ExceptionRule) -> tuple[dict[str, Any], dict[str, Any]]:
    """The SARIF and the CycloneDX of a report."""
    made = documents(report, exceptions, IMAGE, START)
    return json.loads(made["sarif"]), json.loads(made["cyclonedx"])


# attached to the promoted image


def test_the_report_is_attached_as_sarif_and_cyclonedx_and_the_signed_record_has_their_hashes() -> None:
    world = signing_world()
    will_report(world, ZLIB)
    push(world)
    (sarif,), (cyclonedx,) = attached(world, SARIF), attached(world, CYCLONEDX)
    hashes = {"sarif": hashlib.sha256(sarif.content), "cyclonedx": hashlib.sha256(cyclonedx.content)}
    assert named(world) == {name: one.hexdigest() for name, one in hashes.items()}
    assert (sarif.media_type, cyclonedx.media_type) == (SARIF, "application/vnd.cyclonedx+json")
    assert (sarif.file_name, cyclonedx.file_name) == ("scan.sarif.json", "scan.cdx.json")
    (check,) = world.candidate(GREEN).checks
    assert check.finished_at is not None
    assert sarif.annotations["org.opencontainers.image.created"] == f"{check.finished_at:%Y-%m-%dT%H:%M:%SZ}"
    assert len(world.promotion().attached) == 4
    assert json.loads(sarif.content)["runs"][0]["properties"]["repoDigests"] == [GREEN]
    assert json.loads(cyclonedx.content)["metadata"]["component"]["version"] == GREEN


def test_of_two_scans_beside_a_test_each_has_its_documents() -> None:
    other = msgspec.structs.replace(SCAN, values={"PLATFORM": "linux/arm64"})
    world = signing_world(SCAN, TaskCheck(registry="base", task="base-import-node"), other)

    def log_of(run: FakeRun) -> str:
        if "REPORT_NONCE" not in run.values:
            return run.log
        return framed(run, report_of(run.values["IMAGE"], *([ZLIB] if "PLATFORM" in run.values else [])))

    world.tasks.log_of = log_of
    push(world)
    evidence = [{piece.name for piece in check.evidence} for check in decision(world).checks]
    assert [{"sarif", "cyclonedx"} <= names for names in evidence] == [True, False, True]
    assert (len(attached(world, SARIF)), len(attached(world, CYCLONEDX))) == (2, 2)


def test_without_a_key_no_report_is_attached() -> None:
    world = scan_world()
    push(world)
    assert not world.registry.attached


def test_a_worker_that_dies_between_the_artifacts_attaches_the_same_again() -> None:
    world = signing_world()
    will_report(world, ZLIB)
    attach, deaths = world.registry.attach, [SARIF, CYCLONEDX]

    def dying(registry: RegistryRule, repository: str, subject: Digest, artifact: Artifact) -> Digest:
        pushed = attach(registry, repository, subject, artifact)
        if artifact.artifact_type in deaths:
            deaths.remove(artifact.artifact_type)
            raise ProcessDied
        return pushed

    world.registry.attach = dying  # type: ignore[method-assign]
    world.push("15-alpine", GREEN)
    world.settle_while_crashing()
    assert (deaths, len(world.registry.attached[GREEN]), len(world.promotion().attached)) == ([], 4, 4)


def test_a_registry_that_takes_no_document_stalls_the_record_alone_and_gets_it_later() -> None:
    world = signing_world()
    attach, refusing = world.registry.attach, [True]

    def away(registry: RegistryRule, repository: str, subject: Digest, artifact: Artifact) -> Digest:
        if refusing and artifact.artifact_type == CYCLONEDX:
            raise Retry("503")
        return attach(registry, repository, subject, artifact)

    world.registry.attach = away  # type: ignore[method-assign]
    push(world)
    world.pass_time(120)
    assert (world.stable_tag(), world.promotion().state_name) == (GREEN, "stalled")
    assert len(decision(world).checks) == 1
    refusing.clear()
    world.pass_time(400)
    assert (world.promotion().state_name, len(attached(world))) == ("promoted", 2)


def test_what_the_archive_has_lost_since_it_was_signed_is_not_attached_and_the_history_says_so() -> None:
    world = signing_world()
    world.registry.attach_fault = Retry("503")
    push(world)
    world.archive.texts = {name: text for name, text in world.archive.texts.items() if "report" not in name}
    world.registry.attach_fault = None
    world.pass_time(400)
    last = world.promotion().history[-1]
    assert (last.what, last.why.partition(":")[0]) == ("report of the scan not attached", "sarif, cyclonedx")
    assert (world.promotion().settled, attached(world), len(named(world))) == (True, [], 2)


def test_a_report_that_was_lost_before_it_was_signed_is_not_named() -> None:
    world = signing_world()
    assert isinstance(world.signer, FakeSigner)
    world.signer.fault = Retry("503")
    push(world)
    world.archive.texts = {name: text for name, text in world.archive.texts.items() if "report" not in name}
    world.signer.fault = None
    world.pass_time(400)
    assert (named(world), attached(world)) == ({}, [])


def test_a_record_that_names_no_document_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ScanCheckKind.documents
    monkeypatch.setattr(ScanCheckKind, "documents", lambda *_: {})
    world = signing_world()
    world.registry.attach_fault = Retry("503")
    push(world)
    monkeypatch.setattr(ScanCheckKind, "documents", made)  # the app has been updated
    world.registry.attach_fault = None
    world.pass_time(400)
    assert (attached(world), len(world.promotion().attached)) == ([], 2)


def test_a_record_of_another_form_is_attached_alone_and_the_history_says_so() -> None:
    world = signing_world()
    world.registry.attach_fault = Retry("503")
    push(world)
    place = world.promotion().signed_record
    payloads = [payload_of(line.encode()) for line in world.archive.texts[place].splitlines()]
    others = [bundle(one.replace(b'"gate":"node"', b'"gate":7'), b"signature", "key") for one in payloads]
    world.archive.texts[place] = b"\n".join(others).decode()
    world.registry.attach_fault = None
    world.pass_time(400)
    last = world.promotion().history[-1]
    why = "the record is of another version's form: which documents it names is not known"
    assert (last.what, last.why) == ("report of the scan not attached", why)
    assert (world.promotion().state_name, len(world.promotion().attached)) == ("promoted", 2)


def test_other_bytes_than_the_record_names_are_not_attached(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ScanCheckKind.documents

    def others(kind: ScanCheckKind, check: CheckRecord, image: ImageRef) -> dict[str, Artifact]:
        found = made(kind, check, image)
        return found | {"sarif": msgspec.structs.replace(found["sarif"], content=b"{}")}

    world = signing_world()
    world.registry.attach_fault = Retry("503")
    push(world)
    monkeypatch.setattr(ScanCheckKind, "documents", others)  # the app has been updated
    world.registry.attach_fault = None
    world.pass_time(400)
    last = world.promotion().history[-1]
    assert (last.what, last.why.partition(":")[0]) == ("report of the scan not attached", "sarif")
    assert [one.artifact_type for one in attached(world)] == [CYCLONEDX]


def test_a_rescan_changes_nothing_of_what_is_attached() -> None:
    world = signing_world(RESCAN)
    push(world)
    before = list(world.registry.attached[GREEN])
    will_report(world, ZLIB, OPENSSL)
    world.sweep_now()
    rescanned(world)
    assert len(world.tasks.runs) == 2
    assert world.registry.attached[GREEN] == before


def test_a_report_that_is_judged_again_has_the_time_of_its_scan() -> None:
    world = signing_world()
    will_report(world, OPENSSL)
    push(world)
    (scanned,) = world.candidate(GREEN).checks
    assert scanned.finished_at is not None
    world.pass_time(3 * 86_400)
    change(world, SCAN, exceptions=(accepted(),))
    swept(world)
    (check,) = world.candidate(GREEN).checks
    assert (world.candidate(GREEN).attempt, world.stable_tag(), len(world.tasks.runs)) == (2, GREEN, 1)
    assert (check.started_at, check.finished_at) == (scanned.started_at, scanned.finished_at)
    (sarif,), (cyclonedx,) = attached(world, SARIF), attached(world, CYCLONEDX)
    at = f"{scanned.finished_at:%Y-%m-%dT%H:%M:%SZ}"
    assert sarif.annotations["org.opencontainers.image.created"] == at
    assert json.loads(cyclonedx.content)["metadata"]["timestamp"] == at


def test_a_scan_that_is_run_again_has_the_time_of_its_last_run() -> None:
    world = signing_world()
    will_report(world, OPENSSL)
    push(world)
    (scanned,) = world.candidate(GREEN).checks
    world.pass_time(3 * 86_400)
    will_report(world)
    rerun(world, GREEN)
    world.settle()
    (check,) = world.candidate(GREEN).checks
    assert scanned.finished_at is not None
    assert check.finished_at is not None
    assert check.finished_at - scanned.finished_at >= timedelta(days=3)


def test_another_tag_of_the_digest_has_a_record_of_its_own_and_the_same_documents() -> None:
    world = signing_world()
    push(world)
    world.push("15.1", GREEN)
    world.settle()
    assert len(world.promotions()) == 2
    assert (len(attached(world)), len(world.registry.attached[GREEN])) == (2, 6)


# what they say


def test_an_accepted_finding_is_suppressed_in_sarif_and_has_an_analysis_without_a_state_in_cyclonedx() -> None:
    world = signing_world(exceptions=(accepted(),))
    will_report(world, OPENSSL, ZLIB)
    push(world)
    (sarif,), (cyclonedx,) = attached(world, SARIF), attached(world, CYCLONEDX)
    why = "the exception of ada for CVE-2026-1 in openssl until 2026-12-31: not reachable"
    results = {one["ruleId"]: one for one in json.loads(sarif.content)["runs"][0]["results"]}
    assert results["CVE-2026-1"]["suppressions"] == [{"kind": "external", "justification": why}]
    assert "suppressions" not in results["CVE-2026-2"]
    entries = {one["id"]: one for one in json.loads(cyclonedx.content)["vulnerabilities"]}
    assert entries["CVE-2026-1"]["analysis"] == {"detail": why}
    assert "analysis" not in entries["CVE-2026-2"]
    affected = {name: entry["affects"][0]["versions"] for name, entry in entries.items()}
    said = {name: {one["version"]: one["status"] for one in versions} for name, versions in affected.items()}
    assert said["CVE-2026-1"] == {"3.0.1": "unknown", "3.0.2": "unaffected"}
    assert said["CVE-2026-2"] == {"3.0.1": "affected", "3.0.2": "unaffected"}
    assert [one.vulnerability for one in decision(world).checks[0].exceptions] == ["CVE-2026-1"]


def test_of_two_exceptions_for_a_finding_the_one_that_ends_last_is_named_as_it_is_judged() -> None:
    report = Report(format="trivy", findings=(found("openssl", aliases=("GHSA-1",)),))
    first, last = accepted(until="2026-06-30"), accepted(until="2026-12-31", vulnerability="GHSA-1")
    (judged,) = judge(report, SCAN, now=START, exceptions=(first, last)).findings
    assert judged.exception == last
    log, bom = written(report, first, last)
    (result,) = log["runs"][0]["results"]
    assert result["suppressions"][0]["justification"] == judged.covered_by
    assert bom["vulnerabilities"][0]["analysis"]["detail"] == judged.covered_by


def test_a_vulnerability_of_several_packages_is_one_entry_which_has_the_fixed_version_of_each() -> None:
    ratings = (Rating("nvd", Severity.CRITICAL, 9.8), Rating("debian", Severity.NEGLIGIBLE))
    common = {"aliases": ("GHSA-1",), "ratings": ratings, "cvss": 7.5, "epss": 0.1, "known_exploited": True}
    report = Report(
        format="trivy",
        scanner=Scanner(name="Trivy", version="0.5"),
        findings=(
            found("openssl", fixed_in=("2", "3"), **common),
            found("libssl", **common),
            found("zlib", vulnerability="CVE-2026-2", severity=Severity.LOW),
        ),
    )
    _, bom = written(report)
    first, second = bom["vulnerabilities"]
    assert [one["name"] for one in bom["components"]] == ["libssl", "openssl", "zlib"]
    assert first["affects"][1] == {
        "ref": "package-2",
        "versions": [
            {"version": "1", "status": "affected"},
            {"version": "2", "status": "unaffected"},
            {"version": "3", "status": "unaffected"},
        ],
    }
    assert first["references"] == [{"id": "GHSA-1", "source": {"name": "GHSA"}}]
    assert [(one["source"]["name"], one["severity"], one.get("score")) for one in first["ratings"]] == [
        ("Trivy", "high", 7.5),
        ("nvd", "critical", 9.8),
        ("debian", "info", None),
    ]
    assert {one["name"]: one["value"] for one in first["properties"]} == {
        "basegate:epss": "0.1",
        "basegate:known-exploited": "true",
    }
    assert (second["id"], len(second["affects"])) == ("CVE-2026-2", 1)
    assert bom["compositions"] == [{"aggregate": "incomplete", "assemblies": ["image"]}]


def test_sarif_has_the_severity_where_ratify_reads_it() -> None:
    log, _ = written(Report(format="trivy", findings=(found("openssl"),)))
    (rule,) = log["runs"][0]["tool"]["driver"]["rules"]
    assert rule["help"]["text"] == "Severity: high"


@pytest.mark.parametrize("sample", SAMPLES)
def test_what_is_written_of_each_sample_has_the_findings_of_the_sample(sample: str) -> None:
    report = read(sample)
    made = documents(report, (), IMAGE, START)
    assert made == documents(report, (), IMAGE, START)
    pairs = {(one.vulnerability, one.package.name) for one in report.findings}
    for content in made.values():
        back = read_report([content])
        assert GREEN in back.subject.digests
        assert {one.vulnerability for one in back.findings} == {name for name, _ in pairs}
    assert {(one.vulnerability, one.package.name) for one in back.findings} == pairs


def test_the_cyclonedx_is_valid_by_the_official_schema() -> None:
    """The validator carries the schema: https://github.com/CycloneDX/specification/tree/1.6.1/schema."""
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    report, others = read("trivy-alpine-310.json"), ("cyclonedx-vex-1.4.json", "grype-one-cve-several-paths.json")
    rule = msgspec.structs.replace(accepted(vulnerability=report.findings[0].vulnerability), package="")
    package = Package(name="long", version="1" * 1025)
    long = found("long", package=package, vulnerability="CVE-2026-9", fixed_in=("2" * 1025, "3" * 1024))
    findings = (*report.findings, long, *(read(one).findings[0] for one in others))
    scanner = msgspec.structs.replace(report.scanner, version="0" * 1025)
    several = msgspec.structs.replace(report, findings=findings, scanner=scanner)
    content = documents(several, (rule,), IMAGE, START)["cyclonedx"].decode()
    assert '"detail":"the exception of ada' in content
    assert '"versions":[{"version":"%s","status":"unaffected"}]' % ("3" * 1024) in content
    assert validator.validate_str(content) is None
    assert validator.validate_str(content.replace('"severity":', '"gravity":')) is not None


_SEVERAL_STATEMENTS = """
import sys
from datetime import UTC, datetime
from shared.domain.image import Digest, ImageRef, Repository
from shared.findings.documents import documents
from shared.findings.judge import judge
from shared.findings.model import Finding, Package, Report
from shared.findings.purls import parse_purl
from shared.findings.vex import Product, Statement, Status

at, purl = datetime(2026, 1, 1, tzinfo=UTC), "pkg:deb/debian/openssl@1"
names = tuple(f"GHSA-{number}" for number in range(8))
about = (Product(package=parse_purl(purl)),)
vex = [Statement(vulnerability=name, products=about, status=Status.NOT_AFFECTED, stated_at=at) for name in names]
one = Finding(vulnerability="CVE-2026-1", aliases=names, package=Package(name="openssl", version="1", purl=purl))
image = ImageRef("contosobaseartifacts.azurecr.io", Repository("node"), Digest("sha256:" + "0" * 64))
made = documents(Report(format="trivy", findings=(one,)), (), image, at, vex)
sys.stdout.buffer.write(made["sarif"] + made["cyclonedx"])
"""


def test_another_process_writes_the_same_bytes_of_a_finding_with_several_statements_of_one_time() -> None:
    made = {
        subprocess.run(
            [sys.executable, "-c", _SEVERAL_STATEMENTS],
            cwd=APP_ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    (content,) = made
    assert content.count(b"the VEX statement, 2026-01-01 that GHSA-0 is not affected") == 2


# limits


def test_of_too_many_findings_the_most_severe_are_kept_and_the_others_counted() -> None:
    low = tuple(found(f"package-{number}", severity=Severity.LOW) for number in range(LIMIT_FINDINGS + 6))
    secrets = (Secret(rule="aws", path=".env"),)
    report = Report(format="trivy", findings=(*low, found("openssl")), secrets=secrets)
    log, bom = written(report)
    results = log["runs"][0]["results"]
    assert len(results) == LIMIT_FINDINGS + 1
    assert (results[0]["level"], results[-1]["ruleId"]) == ("error", "aws")
    (note,) = log["runs"][0]["invocations"][0]["toolExecutionNotifications"]
    assert note["message"]["text"].startswith("7 further findings")
    (entry,) = [one for one in bom["vulnerabilities"] if one["ratings"][0]["severity"] == "low"]
    assert len(entry["affects"]) == LIMIT_FINDINGS - 1
    assert bom["metadata"]["properties"] == [{"name": "basegate:findings:left-out", "value": "7"}]
    assert read_report([json.dumps(log).encode()]).findings


def test_a_document_of_long_texts_is_within_its_limit_too() -> None:
    report = Report(format="trivy", findings=tuple(found(f"{number}-" + "x" * 4000) for number in range(3000)))
    made = documents(report, (), IMAGE, START)
    for content in made.values():
        assert LIMIT_BYTES / 3 < len(content) <= LIMIT_BYTES
        assert b"left-out" in content or b"further findings" in content


def test_a_finding_that_no_document_has_room_for_is_counted() -> None:
    aliases = tuple(f"{number}-" + "x" * 4000 for number in range(2200))
    log = documents(Report(format="trivy", findings=(found("a", aliases=aliases),)), (), IMAGE, START)["cyclonedx"]
    assert json.loads(log)["vulnerabilities"] == []
    assert b'"basegate:findings:left-out","value":"1"' in log


@pytest.mark.parametrize("size", [LIMIT_BYTES // 3, LIMIT_BYTES // 2, LIMIT_BYTES])
def test_a_huge_finding_takes_the_room_of_no_other(size: int) -> None:
    huge = found("openssl", severity=Severity.CRITICAL, title="x" * size, aliases=("y" * size,))
    others = tuple(found(f"package-{number}", vulnerability="CVE-2026-2") for number in range(100))
    log, bom = written(Report(format="trivy", findings=(huge, *others)))
    results = [one for one in log["runs"][0]["results"] if one["ruleId"] == "CVE-2026-2"]
    (entry,) = [one for one in bom["vulnerabilities"] if one["id"] == "CVE-2026-2"]
    assert (len(results), len(entry["affects"])) == (100, 100)


def test_of_too_many_secrets_the_most_severe_are_kept() -> None:
    low = tuple(Secret(rule="key", path=f"{number}", severity=Severity.LOW) for number in range(LIMIT_FINDINGS))
    worse = (Secret(rule="aws", path="b", severity=Severity.HIGH), Secret(rule="aws", path="a", severity=Severity.HIGH))
    log, _ = written(Report(format="trivy", secrets=(*low, *worse)))
    results = log["runs"][0]["results"]
    uris = [one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in results]
    assert (len(results), uris[:3]) == (LIMIT_FINDINGS, ["a", "b", "0"])


@pytest.mark.parametrize("of_whom", ["vulnerability", "author"])
def test_a_long_text_about_why_a_finding_is_accepted_is_cut_and_takes_the_room_of_no_finding(of_whom: str) -> None:
    several = tuple(found(f"package-{number}") for number in range(100))
    report = Report(format="trivy", findings=several, subject=Subject(digests=(GREEN,)))
    texts: dict[str, Any] = {"vulnerability": "CVE-2026-1", "author": "ada"} | {of_whom: "x" * 1_000_000}
    about = (Product(digest=GREEN),)
    vex = Statement(products=about, status=Status.NOT_AFFECTED, aliases=("CVE-2026-1",), **texts)
    made = documents(report, (), IMAGE, START, (vex,))
    results = json.loads(made["sarif"])["runs"][0]["results"]
    assert len(results) == 100
    assert {len(one["suppressions"][0]["justification"]) for one in results} == {2001}
    (entry,) = json.loads(made["cyclonedx"])["vulnerabilities"]
    assert (len(entry["affects"]), len(entry["analysis"]["detail"])) == (100, 2001)
