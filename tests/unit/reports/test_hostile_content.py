"""Reports and rules in which a finding must not vanish, or become harmless, by how it is written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.domain.candidate import Verdict
from shared.domain.policy import ExceptionRule
from shared.findings.judge import Judgement, judge
from shared.findings.model import BrokenReport
from shared.findings.read import read_report
from shared.findings.rules import ScanRules, is_denied
from shared.findings.vex import read_vex
from shared.rules import parse_condition

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CRITICAL = {
    "VulnerabilityID": "CVE-1",
    "PkgName": "a",
    "InstalledVersion": "1",
    "FixedVersion": "2",
    "Severity": "CRITICAL",
}
VECTOR = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"


def judged(document: Any, condition: str = "severity=low", **more: Any) -> Judgement:
    report = read_report([json.dumps(document).encode()])
    return judge(report, ScanRules(fail_on=(parse_condition(condition),)), now=NOW, **more)


def trivy(vulnerabilities: Any, **more: Any) -> dict[str, Any]:
    result = {"Target": "x", "Class": "os-pkgs", "Vulnerabilities": vulnerabilities}
    return {"SchemaVersion": 2, "ArtifactName": "n", "Results": [result], **more}


def osv(package: dict[str, str], vulnerabilities: Any, groups: Any = ()) -> dict[str, Any]:
    found = {"package": package, "vulnerabilities": vulnerabilities, "groups": list(groups)}
    return {"results": [{"packages": [found]}]}


def sarif(rule: dict[str, Any], *messages: str) -> dict[str, Any]:
    results = [{"ruleId": rule["id"], "ruleIndex": 0, "message": {"text": text}} for text in messages]
    return {"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "T", "rules": [rule]}}, "results": results}]}


def sarif_rule(word: str, score: str) -> dict[str, Any]:
    text = f"Vulnerability CVE-1\nSeverity: {word}\nPackage: a\n"
    properties = {"security-severity": score, "tags": [word]}
    return {"id": "CVE-1", "name": "OsPackageVulnerability", "help": {"text": text}, "properties": properties}


def accepted(vulnerability: str, package: str = "") -> ExceptionRule:
    return ExceptionRule(
        vulnerability=vulnerability, package=package, justification="x", author="ada", until="2026-06-30"
    )


@pytest.mark.parametrize(
    "document",
    [
        trivy({"0": CRITICAL}),
        trivy("cut off"),
        trivy([{"ID": "CVE-1", "PkgName": "a", "CVSS": {"nvd": {"V3Score": 9.8}}}]),
        osv({"name": "a"}, {"x": 1}),
        trivy([], StandIn={"Name": "osv-match", "Uncompared": ["openssl 1: no release is known"]}),
    ],
    ids=["an object", "a text", "a renamed id", "an object of OSV", "what the stand-in could not compare"],
)
def test_a_list_of_findings_that_is_none_is_broken(document: Any) -> None:
    with pytest.raises(BrokenReport):
        read_report([json.dumps(document).encode()])


@pytest.mark.parametrize("results", [[{}], [{"Target": "x", "Class": "secret", "Secrets": []}]])
def test_a_scan_that_compares_no_packages_passes_no_image(results: Any) -> None:
    judgement = judged({"SchemaVersion": 2, "ArtifactName": "n", "Results": results})
    assert judgement.verdict is Verdict.UNKNOWN
    assert "compares no package" in judgement.reason


def test_no_list_of_findings_is_nothing_found() -> None:
    assert judged(trivy(None)).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("aliases", "verdict"), [(["CVE-2026-1", "CVE-2026-2"], Verdict.FAILED), (["CVE-2026-1"], Verdict.PASSED)]
)
def test_an_exception_for_one_cve_covers_no_advisory_of_several(aliases: list[str], verdict: Verdict) -> None:
    found = {"id": "DSA-1", "aliases": aliases, "database_specific": {"severity": "HIGH"}}
    document = osv({"name": "openssl", "ecosystem": "Debian:12"}, [found])
    assert judged(document, exceptions=[accepted("CVE-2026-1")]).verdict is verdict


def test_another_spelling_of_a_package_and_a_lower_score_of_a_group_hide_neither_fix_nor_score() -> None:
    affected = {
        "package": {"name": "jinja2", "ecosystem": "PyPI"},
        "ranges": [{"events": [{"fixed": "3"}]}],
        "severity": [{"type": "CVSS_V3", "score": VECTOR}],
    }
    package = {"name": "Jinja2", "version": "2", "ecosystem": "PyPI"}
    document = osv(package, [{"id": "G", "affected": [affected]}], [{"ids": ["G"], "max_severity": "4.0"}])
    assert judged(document, "cvss=9,fixable").verdict is Verdict.FAILED


@pytest.mark.parametrize(
    ("document", "condition"),
    [
        (sarif(sarif_rule("UNKNOWN", "0.0"), "Package: a\nSeverity: UNKNOWN\n"), "severity=unknown"),
        (
            sarif(
                sarif_rule("CRITICAL", "9.8"), "Package: a\nInstalled Version: 1\nSeverity: LOW\nSeverity: CRITICAL\n"
            ),
            "severity=high",
        ),
    ],
    ids=["unknown", "a line feed in a version"],
)
def test_a_severity_of_sarif_does_not_drop(document: Any, condition: str) -> None:
    assert judged(document, condition).verdict is Verdict.FAILED


def test_the_purl_of_a_rule_of_sarif_is_not_that_of_another_version() -> None:
    text = "Vulnerability CVE-1\nSeverity: high\nPackage: lodash\nVersion: 1.0\nFix Version: 3\n"
    rule = {"id": "C-l", "help": {"text": text}, "properties": {"purls": ["pkg:npm/lodash@1.0"]}}
    warnings = "A high vulnerability in npm package: lodash, version {} was found in image at: /a"
    document = sarif(rule, warnings.format("1.0"), warnings.format("2.0"))
    judgement = judged(document, "severity=high", exceptions=[accepted("CVE-1", "pkg:npm/lodash@1.0")])
    assert judgement.verdict is Verdict.FAILED


def test_a_resolved_vulnerability_of_cyclonedx_covers_only_what_is_unaffected() -> None:
    versions = [{"version": "1.0", "status": "affected"}, {"version": "2.0", "status": "unaffected"}]
    affects = [{"ref": "pkg:npm/lodash", "versions": versions}]
    vulnerability = {"id": "CVE-1", "analysis": {"state": "resolved"}, "affects": affects}
    document = {"bomFormat": "CycloneDX", "vulnerabilities": [vulnerability]}
    finding = CRITICAL | {"PkgIdentifier": {"PURL": "pkg:npm/lodash@1.0"}}
    vex = read_vex(json.dumps(document).encode())
    assert judged(trivy([finding]), vex=vex).verdict is Verdict.FAILED


def test_a_range_of_fixed_versions_is_a_fix() -> None:
    affects = [{"ref": "pkg:a/r@1", "versions": [{"range": "vers:rpm/>=2", "status": "unaffected"}]}]
    vulnerability = {"id": "CVE-1", "ratings": [{"severity": "critical"}], "affects": affects}
    document = {"bomFormat": "CycloneDX", "vulnerabilities": [vulnerability]}
    assert judged(document, "severity=high,fixable").verdict is Verdict.FAILED


@pytest.mark.parametrize(
    ("licence", "denied"),
    [
        ("MIT and GPL-3.0-only", True),
        ("MIT/GPL-3.0-only", True),
        ("MIT, GPL-3.0-only", True),
        ("GPL-3.0-only WITH Classpath-exception-2.0", True),
        ("(MIT OR GPL-3.0-only)", False),
        ("MIT OR GPL-3.0-only", False),
        ("(MIT) OR (GPL-3.0-only)", True),
    ],
)
def test_a_licence_is_denied_in_any_spelling(licence: str, denied: bool) -> None:
    assert is_denied(licence, ("GPL-3.0-only",)) is denied
