"""What is read of each format: one made report of each whole, and the quirks of the scanners that write them."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from shared.findings.cvss import base_score_of
from shared.findings.model import (
    BrokenReport,
    Finding,
    Licence,
    Package,
    Rating,
    Report,
    Scanner,
    Secret,
    Severity,
    Subject,
)
from tests.unit.reports.made import CYCLONEDX, DIGEST, GRYPE, LAYER, OSV, SARIF, TRIVY, read

CRITICAL, HIGH, MEDIUM, LOW, UNKNOWN = (
    Severity.CRITICAL,
    Severity.HIGH,
    Severity.MEDIUM,
    Severity.LOW,
    Severity.UNKNOWN,
)
PURL = "pkg:npm/left-pad@1.0.0"
TEN = datetime(2026, 3, 1, 10, tzinfo=UTC)


def _package(path: str = "", layer: str = "", purl: str = PURL) -> Package:
    return Package(name="left-pad", version="1.0.0", purl=purl, path=path, layer=layer)


def _only(report: Report) -> Finding:
    (finding,) = report.findings
    return finding


def test_trivy() -> None:
    assert read(TRIVY) == Report(
        format="trivy",
        scanner=Scanner(name="Trivy", version="0.70.0"),
        subject=Subject(name="registry.example/node:22", digests=(DIGEST,), platform="linux/arm64/v8"),
        created_at=TEN.replace(microsecond=123456),
        findings=(
            Finding(
                vulnerability="CVE-2026-0001",
                package=_package("app/package-lock.json", LAYER),
                aliases=("GHSA-aaaa-bbbb-cccc",),
                severity=HIGH,
                ratings=(
                    Rating("ghsa", HIGH, 7.5),
                    Rating("nvd", CRITICAL, 9.8),
                    Rating("redhat", LOW),
                    Rating("bitnami", UNKNOWN, 8.0),
                ),
                fixed_in=("1.0.1", "2.0.0"),
                cvss=7.5,
                status="fixed",
                title="left-pad: pads to the right",
                url="https://avd.aquasec.com/nvd/cve-2026-0001",
            ),
        ),
    )


def test_grype() -> None:
    assert read(GRYPE) == Report(
        format="grype",
        scanner=Scanner(
            name="grype",
            version="0.94.0",
            database_built_at=datetime(2026, 2, 28, 4, tzinfo=UTC),
            database_version="v6.0.2",
        ),
        subject=Subject(name="node:22", digests=(DIGEST, f"sha256:{'3c' * 32}"), platform="linux/amd64"),
        created_at=TEN,
        findings=(
            Finding(
                vulnerability="GHSA-aaaa-bbbb-cccc",
                package=_package("/app/package.json", LAYER),
                aliases=("CVE-2026-0001",),
                severity=HIGH,
                ratings=(Rating("github", HIGH, 7.5), Rating("nvd", CRITICAL, 10.0)),
                fixed_in=("1.0.1",),
                fixed_at=datetime(2026, 2, 1, tzinfo=UTC),
                cvss=7.5,
                epss=0.5,
                known_exploited=True,
                status="fixed",
                title="left-pad pads to the right.",
                url="https://github.com/advisories/GHSA-aaaa-bbbb-cccc",
            ),
        ),
    )


def test_osv() -> None:
    assert read(OSV) == Report(
        format="osv",
        scanner=Scanner(name="OSV-Scanner"),
        findings=(
            Finding(
                vulnerability="GHSA-aaaa-bbbb-cccc",
                package=_package("/app/package-lock.json"),
                aliases=("CVE-2026-0001",),
                severity=MEDIUM,
                ratings=(Rating("osv", MEDIUM, 7.5),),
                fixed_in=("1.0.1",),
                cvss=7.9,
                title="left-pad pads to the right",
                url="https://osv.dev/vulnerability/GHSA-aaaa-bbbb-cccc",
            ),
        ),
        licences=(Licence(name="MIT", package="left-pad", path="/app/package-lock.json"),),
    )


def test_sarif_with_its_rules_after_its_results() -> None:
    assert list(SARIF["runs"][0]) == ["results", "tool"]
    assert read(SARIF) == Report(
        format="sarif",
        scanner=Scanner(name="grype", version="0.94.0"),
        findings=(
            Finding(
                vulnerability="CVE-2026-0001",
                package=_package("/app/package.json", LAYER),
                severity=HIGH,
                fixed_in=("1.0.1", "2.0.0"),
                cvss=7.5,
                title="CVE-2026-0001 high vulnerability for left-pad package",
            ),
        ),
    )


def test_sarif_with_its_rules_before_its_results() -> None:
    run = SARIF["runs"][0]
    assert read({**SARIF, "runs": [{key: run[key] for key in sorted(run, reverse=True)}]}) == read(SARIF)


def test_cyclonedx() -> None:
    assert read(CYCLONEDX) == Report(
        format="cyclonedx",
        scanner=Scanner(name="trivy", version="0.70.0"),
        subject=Subject(name="node:22", digests=(DIGEST,)),
        created_at=TEN.replace(hour=9),
        findings=(
            Finding(
                vulnerability="CVE-2026-0001",
                package=_package(),
                aliases=("GHSA-aaaa-bbbb-cccc",),
                severity=HIGH,
                ratings=(Rating("nvd", CRITICAL, 9.8), Rating("ghsa", HIGH, 7.5)),
                fixed_in=("1.0.1", "2.0.0"),
                cvss=7.5,
                status="exploitable",
            ),
        ),
        licences=(Licence(name="MIT", package="left-pad"),),
    )


@pytest.mark.parametrize("document", [TRIVY, GRYPE, CYCLONEDX], ids=["trivy", "grype", "cyclonedx"])
def test_a_report_whose_keys_were_sorted_by_another_tool_is_the_same(document: dict[str, Any]) -> None:
    assert read(json.dumps(document, sort_keys=True).encode()).findings == read(document).findings


def _trivy(result: dict[str, Any], **more: Any) -> Report:
    return read({"SchemaVersion": 2, "Results": [result], **more})


def test_trivy_finds_packages_of_the_system_in_the_image_and_others_in_the_target() -> None:
    entry = {"VulnerabilityID": "CVE-1", "PkgName": "a"}
    for class_, target, path in (
        ("os-pkgs", "node:22 (debian 12)", ""),
        ("", "node:22 (debian 12)", ""),
        ("", "app/composer.lock", "app/composer.lock"),
        ("lang-pkgs", "Node.js", "Node.js"),
    ):
        report = _trivy({"Target": target, "Class": class_, "Vulnerabilities": [entry]})
        assert _only(report).package.path == path
    inside = _trivy({"Target": "Node.js", "Vulnerabilities": [{**entry, "PkgPath": "usr/lib/package.json"}]})
    assert _only(inside).package.path == "usr/lib/package.json"


def test_trivy_before_its_package_identifiers_has_a_purl_in_ref_if_any() -> None:
    entry = {"VulnerabilityID": "CVE-1", "PkgName": "a"}
    for ref, purl in (("pkg:pypi/a@1", "pkg:pypi/a@1"), ("b7a1", "")):
        assert _only(_trivy({"Vulnerabilities": [{**entry, "Ref": ref}]})).package.purl == purl


@pytest.mark.parametrize("target_first", [True, False])
def test_what_trivy_was_told_to_suppress_is_kept_and_says_so(*, target_first: bool) -> None:
    found = {
        "vulnerability": {"VulnerabilityID": "CVE-1", "PkgName": "a", "Status": "affected"},
        "secret": {"RuleID": "aws", "Match": "KEY=hunter2"},
        "license": {"Name": "GPL-3.0", "PkgName": "bash"},
        "misconfiguration": {"ID": "DS-1", "Status": "FAIL"},
    }
    modified = [{"Type": kind, "Status": "ignored", "Finding": finding} for kind, finding in found.items()]
    result = {"ExperimentalModifiedFindings": modified, "Target": "/app/.env"}
    report = _trivy(dict(reversed(result.items())) if target_first else result)
    assert (_only(report).status, _only(report).suppressed) == ("affected", True)
    assert report.secrets == (Secret(rule="aws", path="/app/.env", suppressed=True),)
    assert report.licences == (Licence(name="GPL-3.0", package="bash", suppressed=True),)
    assert report.misconfigurations == 0


def test_a_suppressed_finding_of_trivy_without_itself_or_of_an_unknown_type_breaks_the_report() -> None:
    broken: list[dict[str, Any]] = [{"Type": "vulnerability"}, {"Type": "other", "Finding": {}}, {"Finding": {}}]
    for modified in broken:
        with pytest.raises(BrokenReport):
            _trivy({"ExperimentalModifiedFindings": [modified]})


def test_secrets_are_kept_without_what_is_secret_and_with_their_file_whatever_the_order() -> None:
    secret = {
        "RuleID": "aws",
        "Severity": "CRITICAL",
        "Title": "AWS key",
        "Match": "KEY=hunter2",
        "Code": {"Lines": []},
    }
    report = _trivy({"Class": "secret", "Secrets": [secret], "Target": "/app/.env"})
    assert report.secrets == (Secret(rule="aws", path="/app/.env", title="AWS key", severity=CRITICAL),)
    assert b"hunter2" not in msgspec.json.encode(report)


def test_only_failed_misconfigurations_count() -> None:
    statuses = [{"Status": "FAIL"}, {"Status": "PASS"}, {"Status": "EXCEPTION"}, {}]
    assert _trivy({"Class": "config", "Misconfigurations": statuses}).misconfigurations == 2


def test_a_stand_in_that_writes_trivys_format_is_not_taken_for_trivy() -> None:
    stand_in = {"Name": "osv-match", "Version": "1", "AdvisoriesModified": "2026-02-01T00:00:00Z", "Advisories": 12}
    built_at = datetime(2026, 2, 1, tzinfo=UTC)
    expected = Scanner(name="osv-match", version="1", database_built_at=built_at)
    assert _trivy({}, StandIn=stand_in).scanner == expected


def test_links_that_a_browser_should_not_follow_are_left_out_and_titles_are_one_line() -> None:
    entry = {"VulnerabilityID": "CVE-1", "PkgName": "a", "PrimaryURL": "javascript:alert(1)", "Title": "x\x1b[2J\ny"}
    finding = _only(_trivy({"Vulnerabilities": [entry]}))
    assert (finding.url, finding.title) == ("", "x\ufffd[2J")
    long = _only(_trivy({"Vulnerabilities": [{**entry, "Title": "x" * 300}]}))
    assert (len(long.title), long.title[-1]) == (200, "…")


def _grype(**changes: Any) -> Report:
    document = copy.deepcopy(GRYPE)
    document["matches"][0]["vulnerability"].update(changes)
    return read(document)


def test_what_grypes_database_does_not_list_as_exploited_is_not_and_is_not_told_without_that_list() -> None:
    document = copy.deepcopy(GRYPE)
    document["matches"][0]["relatedVulnerabilities"] = []
    assert _only(read(document)).known_exploited is False
    document["descriptor"]["db"]["providers"] = {"nvd": {}}
    assert _only(read(document)).known_exploited is None


def test_an_advisory_of_grype_is_no_alias_of_all_that_it_fixes() -> None:
    document = copy.deepcopy(GRYPE)
    (related,) = document["matches"][0]["relatedVulnerabilities"]
    document["matches"][0]["relatedVulnerabilities"] = [related, {"id": "CVE-2026-0002"}]
    assert _only(read(document)).aliases == ()


@pytest.mark.parametrize(
    ("state", "status"), [("not-fixed", "affected"), ("wont-fix", "will_not_fix"), ("unknown", ""), ("", "")]
)
def test_grypes_states_of_a_fix_are_the_statuses_of_trivy(state: str, status: str) -> None:
    finding = _only(_grype(fix={"versions": [], "state": state}))
    assert (finding.status, finding.fixable) == (status, False)


def test_grypes_database_before_schema_6_and_other_sources_than_images() -> None:
    document = copy.deepcopy(GRYPE)
    document["descriptor"]["db"] = {"built": "2024-04-10T01:25:07Z", "schemaVersion": 5, "error": None}
    document["source"] = {"type": "directory", "target": "/srv/app"}
    report = read(document)
    assert report.scanner.database_built_at == datetime(2024, 4, 10, 1, 25, 7, tzinfo=UTC)
    assert report.scanner.database_version == "5"
    assert report.subject == Subject(name="/srv/app")


def _osv(vulnerabilities: list[dict[str, Any]], groups: list[dict[str, Any]], ecosystem: str = "npm") -> Report:
    package = {"name": "left-pad", "version": "1.0.0", "ecosystem": ecosystem}
    packages = [{"package": package, "vulnerabilities": vulnerabilities, "groups": groups}]
    return read({"results": [{"packages": packages}]})


def test_the_ids_of_a_group_of_osv_are_one_finding_with_the_groups_score() -> None:
    report = _osv(
        [{"id": "PYSEC-1", "summary": "x"}, {"id": "GHSA-1", "database_specific": {"severity": "HIGH"}}, {"id": "Z-1"}],
        [{"ids": ["GHSA-1", "PYSEC-1"], "aliases": ["CVE-1", "GHSA-1"], "max_severity": "9.1"}],
    )
    one, alone = report.findings
    assert (one.vulnerability, one.aliases) == ("GHSA-1", ("PYSEC-1", "CVE-1"))
    assert (one.severity, one.cvss, one.title) == (HIGH, 9.1, "x")
    assert (alone.vulnerability, alone.severity) == ("Z-1", UNKNOWN)


def test_osv_is_fixed_in_the_release_of_the_distribution_that_the_package_is_of() -> None:
    def affected(ecosystem: str, fixed: str) -> dict[str, Any]:
        named = {"name": "left-pad", "ecosystem": ecosystem, "purl": "pkg:deb/debian/left-pad?arch=source"}
        return {"package": named, "ranges": [{"events": [{"introduced": "0"}, {"fixed": fixed}]}]}

    entry = {"id": "CVE-1", "affected": [affected("Debian:11", "1.1"), affected("Debian:12", "1.2")]}
    finding = _only(_osv([entry], [], "Debian:12"))
    assert (finding.fixed_in, finding.package.purl) == (("1.2",), "pkg:deb/debian/left-pad@1.0.0")
    assert _only(_osv([entry], [], "Debian:13")).fixed_in == ("1.1", "1.2")


def test_osv_names_a_part_of_a_package_after_its_version() -> None:
    affected = {"package": {"name": "left-pad", "ecosystem": "npm", "purl": "pkg:npm/left-pad#lib"}}
    assert _only(_osv([{"id": "A", "affected": [affected]}], [])).package.purl == "pkg:npm/left-pad@1.0.0#lib"


def test_osv_takes_a_severity_from_a_word_before_a_score_and_a_malicious_package_is_critical() -> None:
    vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"
    rated = [{"type": "CVSS_V3", "score": vector}]
    for entry, severity in (
        ({"id": "A"}, UNKNOWN),
        ({"id": "A", "severity": rated}, HIGH),
        ({"id": "A", "severity": [*rated, {"type": "Ubuntu", "score": "low"}]}, LOW),
        ({"id": "MAL-1"}, CRITICAL),
    ):
        assert _only(_osv([entry], [])).severity is severity


@pytest.mark.parametrize(
    ("vector", "score"),
    [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
        ("CVSS:3.0/AV:N/AC:H/PR:N/UI:N/S:U/C:L/I:L/A:N", 4.8),
        ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:H/I:H/A:H", 9.9),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H/E:P", 10.0),
        ("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:N/I:N/A:N", 0.0),
        ("CVSS:3.1/AV:N/AC:L", None),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", None),
        ("", None),
    ],
)
def test_the_base_score_of_a_vector_is_that_of_the_calculators(vector: str, score: float | None) -> None:
    assert base_score_of(vector) == score


def _sarif(result: dict[str, Any], *rules: dict[str, Any], **run: Any) -> Report:
    driver = {"name": "Trivy", "rules": list(rules)}
    return read({"version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": [result], **run}]})


@pytest.mark.parametrize(
    ("result", "rule", "severity"),
    [
        ({}, {}, MEDIUM),
        ({"level": "error"}, {"defaultConfiguration": {"level": "note"}}, HIGH),
        ({}, {"defaultConfiguration": {"level": "note"}}, LOW),
        ({"level": "error"}, {"properties": {"security-severity": "3.9"}}, LOW),
        ({"level": "error"}, {"properties": {"security-severity": 9.0, "tags": ["security", "LOW"]}}, LOW),
        ({"properties": {"security-severity": "9.5"}}, {"properties": {"security-severity": "1.0"}}, CRITICAL),
        ({"level": "strange"}, {}, UNKNOWN),
    ],
)
def test_sarif_takes_the_severity_from_a_word_a_score_or_a_level(
    result: dict[str, Any], rule: dict[str, Any], severity: Severity
) -> None:
    assert _only(_sarif({"ruleId": "A", "ruleIndex": 0, **result}, {"id": "A", **rule})).severity is severity


def test_sarif_of_trivy_names_what_each_result_is_about() -> None:
    message = "Package: curl\nInstalled Version: 7.1\nVulnerability CVE-1\nSeverity: LOW\nFixed Version: \nLink: x"
    place = {"physicalLocation": {"artifactLocation": {"uri": "library/node"}}}
    rule = {"id": "CVE-1", "name": "OsPackageVulnerability", "help": {"text": "Package: other\nFixed Version: 9"}}
    properties = {"imageName": "node:22", "repoDigests": [f"node@{DIGEST}"]}
    result = {"ruleId": "CVE-1", "message": {"text": message}, "locations": [place]}
    report = _sarif(result, rule, properties=properties)
    finding = _only(report)
    assert finding.package == Package(name="curl", version="7.1")
    assert (finding.severity, finding.fixed_in) == (LOW, ())
    assert report.subject == Subject(name="node:22", digests=(DIGEST,))


def test_sarif_of_trivy_has_secrets_licences_and_misconfigurations_and_no_secret_is_kept() -> None:
    place = [{"physicalLocation": {"artifactLocation": {"uri": "app/.env"}}}]
    text = "Artifact: app/.env\nSecret AWS key\nSeverity: HIGH\nMatch: KEY=hunter2\nPackage: hunter2"
    secret = {
        "id": "aws",
        "name": "Secret",
        "shortDescription": {"text": "AWS key"},
        "fullDescription": {"text": "hunter2"},
    }
    report = _sarif({"ruleId": "aws", "message": {"text": text}, "locations": place}, secret)
    assert report.secrets == (Secret(rule="aws", path="app/.env", title="AWS key", severity=HIGH),)
    assert b"hunter2" not in msgspec.json.encode(report)

    licence = {"text": "Artifact: node\nLicense GPL-3.0\nPkgName: bash\n Classification: restricted\n Path: "}
    report = _sarif({"ruleId": "bash:GPL-3.0", "message": licence}, {"id": "bash:GPL-3.0", "name": "License"})
    assert [(one.name, one.package) for one in report.licences] == [("GPL-3.0", "bash")]
    assert _sarif({"ruleId": "DS002"}, {"id": "DS002", "name": "Misconfiguration"}).misconfigurations == 1


def test_sarif_results_that_are_no_findings_are_left_out() -> None:
    for result in ({"kind": "pass"}, {"kind": "notApplicable"}, {"baselineState": "absent"}):
        assert _sarif({"ruleId": "A", **result}).findings == ()


@pytest.mark.parametrize(
    ("suppressions", "is_suppressed"),
    [
        ([], False),
        ([{"kind": "external"}], True),
        ([{"kind": "inSource", "status": "accepted"}, {"status": "underReview"}], False),
        ([{"status": "rejected"}], False),
    ],
)
def test_a_sarif_result_is_suppressed_if_all_its_suppressions_are_accepted(
    suppressions: list[dict[str, str]], is_suppressed: bool
) -> None:
    result = {"ruleId": "A", "suppressions": suppressions}
    assert _only(_sarif(result)).suppressed is is_suppressed
    (secret,) = _sarif(result, {"id": "A", "name": "Secret"}).secrets
    (licence,) = _sarif(result, {"id": "A", "name": "License"}).licences
    assert (secret.suppressed, licence.suppressed) == (is_suppressed, is_suppressed)


def test_a_sarif_rule_may_be_of_an_extension_and_a_place_in_the_list_of_artifacts() -> None:
    place = {"physicalLocation": {"artifactLocation": {"index": 1}}}
    result = {"rule": {"index": 0, "toolComponent": {"index": 0}}, "ruleId": "S/1", "locations": [place]}
    extension = {"rules": [{"id": "S", "shortDescription": {"text": "of the extension"}}]}
    tool = {"driver": {"name": "x", "rules": [{"id": "other"}]}, "extensions": [extension]}
    artifacts = [{}, {"location": {"uri": "src/a.c"}}]
    report = read({"version": "2.1.0", "runs": [{"results": [result], "tool": tool, "artifacts": artifacts}]})
    finding = _only(report)
    assert (finding.vulnerability, finding.title, finding.package.path) == ("S/1", "of the extension", "src/a.c")


def _cyclonedx(ref: str, *components: dict[str, Any], **vulnerability: Any) -> Report:
    entry = {"id": "CVE-1", "affects": [{"ref": ref}], **vulnerability}
    return read({"bomFormat": "CycloneDX", "components": list(components), "vulnerabilities": [entry]})


def test_cyclonedx_names_components_by_reference_by_link_or_by_purl() -> None:
    inner = {"bom-ref": "a b", "group": "org", "name": "inner", "version": "2"}
    outer = {"bom-ref": "outer", "name": "outer", "components": [inner]}
    for ref, name, version in (
        ("a b", "org/inner", "2"),
        ("urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#a%20b", "org/inner", "2"),
        ("pkg:npm/%40scope/pad@1.0%2B1?arch=x", "pad", "1.0+1"),
        ("pkg:npm/pad", "pad", ""),
        ("who knows", "who knows", ""),
    ):
        package = _only(_cyclonedx(ref, outer)).package
        assert (package.name, package.version) == (name, version)


def test_cyclonedx_takes_the_worst_rating_where_its_source_has_none() -> None:
    ratings = [{"severity": "low"}, {"severity": "none"}, {"score": 7.1, "method": "CVSSv31"}, {"score": 99.0}]
    finding = _only(_cyclonedx("a", ratings=ratings, source={"name": "snyk"}))
    assert (finding.severity, finding.cvss) == (HIGH, 7.1)


def test_cyclonedx_is_fixed_in_the_versions_that_are_unaffected() -> None:
    versions = [{"version": "1", "status": "affected"}, {"version": "2", "status": "unaffected"}]
    affects = [{"ref": "a", "versions": versions}, {"ref": "b"}]
    one, other = _cyclonedx("a", affects=affects).findings
    assert (one.fixed_in, other.fixed_in) == (("2",), ())
