"""The SARIF that is written of a judged report: every kind of finding, read back by the reader of the format."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from shared.findings.judge import judge
from shared.findings.model import Finding, Licence, Package, Report, Secret, Severity
from shared.findings.read import read_report
from shared.findings.rules import Condition, LicenceRule, ScanRules
from shared.findings.sarif import sarif_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = ScanRules(fail_on=(Condition(severity=Severity.HIGH),), licences=LicenceRule(deny=("GPL-*",)), secrets="fail")


def found(name: str, **changes: Any) -> Finding:
    return Finding(vulnerability="CVE-2026-1", package=Package(name=name, version="1"), **changes)


def written(**report: Any) -> dict[str, Any]:
    """The log of a report, under all kinds of rules."""
    whole = Report(format="trivy", **report)
    return sarif_of(whole, judge(whole, RULES, now=NOW))


def test_secrets_and_denied_licences_are_read_back_as_what_they_are() -> None:
    secret = Secret(rule="aws", path="app/.env", title="AWS key", severity=Severity.CRITICAL)
    licences = (Licence(name="GPL-3.0", package="bash", severity=Severity.HIGH), Licence(name="MIT", package="ash"))
    log = written(findings=(found("openssl"),), licences=licences, secrets=(secret,))
    report = read_report([msgspec.json.encode(log)])
    assert report.secrets == (secret,)
    assert [(one.name, one.package, one.severity) for one in report.licences] == [("GPL-3.0", "bash", Severity.HIGH)]
    assert [one.vulnerability for one in report.findings] == ["CVE-2026-1"]


def test_a_rule_has_the_worst_score_and_severity_of_its_results_whatever_their_order() -> None:
    mild = found("a", severity=Severity.LOW, cvss=3.1)
    scored = found("b", severity=Severity.MEDIUM, cvss=9.8)
    worded = found("c", severity=Severity.HIGH)
    for findings in ((mild, scored, worded), (worded, mild, scored), (scored, worded, mild)):
        (rule,) = written(findings=findings)["runs"][0]["tool"]["driver"]["rules"]
        assert rule["properties"] == {"security-severity": "9.8", "tags": ["security", "vulnerability", "high"]}
    (rule,) = written(findings=(mild, worded))["runs"][0]["tool"]["driver"]["rules"]
    assert rule["properties"]["security-severity"] == "8.0"
    (rule,) = written(findings=(found("d"),))["runs"][0]["tool"]["driver"]["rules"]
    assert "security-severity" not in rule["properties"]


def test_what_the_scanner_suppressed_stays_suppressed_even_where_no_rule_would_fail_it() -> None:
    low, high = (found(one, severity=one, suppressed=True) for one in (Severity.LOW, Severity.HIGH))
    secret = Secret(rule="aws", path=".env", suppressed=True)
    log = written(findings=(low, high, found("zlib", severity=Severity.LOW)), secrets=(secret,))
    report = read_report([msgspec.json.encode(log)])
    assert [one.suppressed for one in report.findings] == [True, True, False]
    assert report.secrets[0].suppressed
    why = {one["suppressions"][0]["justification"] for one in log["runs"][0]["results"] if "suppressions" in one}
    assert why == {"suppressed in the report"}


def test_rules_of_one_name_but_of_different_kinds_stay_apart() -> None:
    log = written(findings=(found("openssl"),), secrets=(Secret(rule="CVE-2026-1", path=".env"),))
    report = read_report([msgspec.json.encode(log)])
    assert (len(report.findings), len(report.secrets)) == (1, 1)
