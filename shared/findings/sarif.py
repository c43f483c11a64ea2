"""Writes a judged report as SARIF 2.1.0, as code scanning of GitHub and Azure DevOps reads it."""

from typing import Any
from urllib.parse import quote

from shared.findings.judge import Judgement, Outcome
from shared.findings.model import Finding, Report, Severity

_LEVELS = {Severity.CRITICAL: "error", Severity.HIGH: "error", Severity.MEDIUM: "warning"}
_SCORES = {Severity.CRITICAL: "9.5", Severity.HIGH: "8.0", Severity.MEDIUM: "5.5", Severity.LOW: "2.0"}
"""The `security-severity` of a finding without a CVSS score: the middle of the range that GitHub reads as its severity.

Source: https://docs.github.com/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning
"""


def sarif_of(report: Report, judgement: Judgement) -> dict[str, Any]:
    """The SARIF log of a report, with a rule for each vulnerability, and a result for each finding.

    A finding that matches a condition but does not fail is suppressed, with what covers it.
    Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
    """
    judged = {id(one.finding): one for one in judgement.findings}
    rules: dict[str, dict[str, Any]] = {}
    results = []
    for finding in report.findings:
        rules.setdefault(finding.vulnerability, _rule(finding))
        result = _result(finding)
        one = judged.get(id(finding))
        if one is not None and one.outcome is not Outcome.FAILS:
            result["suppressions"] = [{"kind": "external", "justification": one.covered_by or one.outcome.value}]
        results.append(result)
    driver: dict[str, Any] = {"name": report.scanner.name or "unknown scanner", "rules": list(rules.values())}
    if report.scanner.version:
        driver["version"] = report.scanner.version
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def _rule(finding: Finding) -> dict[str, Any]:
    score = f"{finding.cvss:.1f}" if finding.cvss is not None else _SCORES.get(finding.severity)
    rule: dict[str, Any] = {
        "id": finding.vulnerability,
        "shortDescription": {"text": finding.title or finding.vulnerability},
        "properties": {"tags": ["security", "vulnerability", finding.severity.value]},
    }
    if score:
        rule["properties"]["security-severity"] = score
    if finding.url.startswith(("https://", "http://")):
        rule["helpUri"] = finding.url
    return rule


def _result(finding: Finding) -> dict[str, Any]:
    package, fixed = finding.package, ", ".join(finding.fixed_in)
    remedy = f"fixed in {fixed}" if fixed else "no version fixes it"
    installed = f"{package.name} {package.version}".strip()
    return {
        "ruleId": finding.vulnerability,
        "level": _LEVELS.get(finding.severity, "note"),
        "message": {"text": f"{finding.vulnerability} ({finding.severity}) in {installed}: {remedy}"},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": quote(package.path or package.name)}},
                "logicalLocations": [{"fullyQualifiedName": package.purl or installed, "kind": "package"}],
            }
        ],
    }
