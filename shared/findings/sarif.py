"""Writes a judged report as SARIF 2.1.0, as code scanning of GitHub and Azure DevOps reads it."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from shared.findings.judge import BY_SCANNER, Judgement, covers
from shared.findings.model import Finding, Licence, Report, Secret, Severity, Subject

_LEVELS = {Severity.CRITICAL: "error", Severity.HIGH: "error", Severity.MEDIUM: "warning"}
_SCORES = {Severity.CRITICAL: 9.5, Severity.HIGH: 8.0, Severity.MEDIUM: 5.5, Severity.LOW: 2.0}
"""The `security-severity` of a finding without a CVSS score: the middle of the range that GitHub reads as its severity.

Source: https://docs.github.com/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning
"""


class _Rule(Struct, kw_only=True):
    """A rule of the log: what its results have in common, and the worst of what they say of its severity.

    `number` is its place among the rules, from 0.
    """

    number: int
    id: str
    kind: str
    name: str = ""
    title: str = ""
    url: str = ""
    severity: Severity = Severity.UNKNOWN
    score: float | None = None

    def rate(self, severity: Severity, cvss: float | None = None) -> None:
        """Take over a severity and a score that are worse. A severity stands for a score where there is none."""
        self.severity = max(self.severity, severity, key=lambda one: one.rank)
        score = _SCORES.get(severity) if cvss is None else cvss
        self.score = max((one for one in (self.score, score) if one is not None), default=None)

    def written(self) -> dict[str, Any]:
        """The rule in the log."""
        properties: dict[str, Any] = {"tags": ["security", self.kind, self.severity.value]}
        if self.score is not None:
            properties["security-severity"] = f"{self.score:.1f}"
        rule = {
            "id": self.id,
            "shortDescription": {"text": self.title or self.id},
            "help": {"text": f"Severity: {self.severity.value}"},  # where Ratify reads it, as Trivy and Grype write it
            "properties": properties,
        }
        if self.name:
            rule["name"] = self.name
        if self.url.startswith(("https://", "http://")):
            rule["helpUri"] = self.url
        return rule


class _Rules:
    """The rules of a log, in the order in which results name them first."""

    def __init__(self) -> None:
        self._rules: dict[tuple[str, str], _Rule] = {}

    def of(self, kind: str, id_: str, *, name: str = "", title: str = "", url: str = "") -> _Rule:
        """The rule of a kind of results with an id."""
        new = _Rule(number=len(self._rules), id=id_, kind=kind, name=name, title=title, url=url)
        return self._rules.setdefault((kind, id_), new)

    def written(self) -> list[dict[str, Any]]:
        """The rules in the log."""
        return [rule.written() for rule in self._rules.values()]


def sarif_of(report: Report, judgement: Judgement, left_out: int = 0) -> dict[str, Any]:
    """The SARIF log of a report: a result for each vulnerability in a package, secret and denied licence.

    A finding that matches a condition but does not fail is suppressed, with what covers it; so is what the scanner was
    told to ignore. Licences that no rule denies are left out: every package has one. `left_out` is the number of
    findings that the log says to be missing. Which image it is about stands where Trivy writes that.
    Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
    """
    rules = _Rules()
    results = [
        *_vulnerabilities(report, judgement, rules),
        *(_licence(one, rules) for one in judgement.licences),
        *(_secret(one, rules) for one in report.secrets),
    ]
    driver: dict[str, Any] = {"name": report.scanner.name or "unknown scanner", "rules": rules.written()}
    if report.scanner.version:
        driver["version"] = report.scanner.version
    run: dict[str, Any] = {"tool": {"driver": driver}, "results": results}
    if subject := _subject(report.subject):
        run["properties"] = subject
    if left_out:
        note = {
            "level": "warning",
            "message": {"text": f"{left_out} further findings are left out: the log is limited"},
        }
        run["invocations"] = [{"executionSuccessful": True, "toolExecutionNotifications": [note]}]
    return {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}


def _subject(subject: Subject) -> dict[str, Any]:
    named = {"imageName": subject.name, "repoDigests": list(subject.digests), "platform": subject.platform}
    return {key: value for key, value in named.items() if value}


def _vulnerabilities(report: Report, judgement: Judgement, rules: _Rules) -> Iterator[dict[str, Any]]:
    for finding, why in covers(report, judgement):
        rule = rules.of("vulnerability", finding.vulnerability, title=finding.title, url=finding.url)
        rule.rate(finding.severity, finding.cvss)
        yield _vulnerability(finding, rule, why)


def _vulnerability(finding: Finding, rule: _Rule, why: str) -> dict[str, Any]:
    package, fixed = finding.package, ", ".join(finding.fixed_in)
    remedy = f"fixed in {fixed}" if fixed else "no version fixes it"
    installed = f"{package.name} {package.version}".strip()
    message = f"{finding.vulnerability} ({finding.severity}) in {installed}: {remedy}"
    result = _result(rule, finding.severity, message, package.path or package.name, why)
    result["locations"][0]["logicalLocations"] = [{"fullyQualifiedName": package.purl or installed, "kind": "package"}]
    return result


def _licence(licence: Licence, rules: _Rules) -> dict[str, Any]:
    """A denied licence; rule and message have the words of Trivy's, by which it is told from a vulnerability."""
    rule = rules.of("licence", licence.name, name="License")
    rule.rate(licence.severity)
    message = f"License {licence.name}\nPkgName: {licence.package}" if licence.package else f"License {licence.name}"
    return _result(rule, licence.severity, message, licence.path or licence.package)


def _secret(secret: Secret, rules: _Rules) -> dict[str, Any]:
    """A secret, never what is secret of it; its rule has the name of Trivy's."""
    rule = rules.of("secret", secret.rule, name="Secret", title=secret.title)
    rule.rate(secret.severity)
    why = BY_SCANNER if secret.suppressed else ""
    return _result(rule, secret.severity, f"{secret.title or secret.rule} in {secret.path}", secret.path, why)


def _result(rule: _Rule, severity: Severity, message: str, place: str, why: str = "") -> dict[str, Any]:
    """A result; `why` it is suppressed, "" if it is not."""
    result: dict[str, Any] = {
        "ruleId": rule.id,
        "ruleIndex": rule.number,
        "level": _LEVELS.get(severity, "note"),
        "message": {"text": message},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": quote(place)}}}],
    }
    if why:
        result["suppressions"] = [{"kind": "external", "justification": why}]
    return result
